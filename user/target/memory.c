/* SPDX-License-Identifier: GPL-2.0-only */
/* What a process takes: memory, CPU time, threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "target/maps.h"
#include "target/proc.h"
#include "target/target.h"

static uint64_t status_kib(const char *status, const char *key)
{
	uint64_t kib = 0;

	proc_status_u64(status, key, &kib);
	return kib << 10;
}

/* Address at which the heap begins, 0 when it is not shown to us. */
static int read_start_brk(const struct target *t, uint64_t *ret)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int err;

	err = proc_read(t->proc_fd, "stat", &text);
	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	if (!err)
		*ret = stat.start_brk_addr;
	text_free(&text);
	return err;
}

/*
 * Adds up Rss of the [heap] entries of smaps and stops behind them: the kernel walks the page tables
 * of a mapping when its entry is read, and most of the mappings of a large process lie behind the heap.
 */
static uint64_t sum_heap(FILE *smaps, uint64_t start_brk_addr)
{
	uint64_t heap_bytes = 0, kib;
	struct target_mapping map;
	const char *path;
	size_t size = 0, path_len;
	char *line = NULL;
	bool in_heap = false;
	ssize_t len;

	while ((len = getline(&line, &size, smaps)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (maps_line_parse(line, len, &map, &path, &path_len)) {
			bool was_heap = in_heap;

			in_heap = path_len == 6 && !memcmp(path, "[heap]", 6);
			if (!in_heap && (was_heap || (start_brk_addr && map.start > start_brk_addr)))
				break;
		} else if (in_heap && proc_status_u64(line, "Rss", &kib)) {
			heap_bytes += kib << 10;
		}
	}
	free(line);
	return heap_bytes;
}

static int read_heap(const struct target *t, uint64_t *ret_bytes)
{
	uint64_t start_brk_addr = 0;
	FILE *smaps;
	int err, fd;

	err = read_start_brk(t, &start_brk_addr);
	if (err)
		return err;
	fd = openat(t->proc_fd, "smaps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	smaps = fdopen(fd, "r");
	if (!smaps) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_bytes = sum_heap(smaps, start_brk_addr);
	fclose(smaps);
	return 0;
}

/*
 * The counters of status are batched: a thread adds its pages to the process's sum every 64 page
 * faults (6.2 and later: a per-CPU counter, off by up to a batch a CPU). Right to some hundred KiB.
 * Exact figures need a walk of all page tables (smaps_rollup), which a look every few seconds at a
 * large process should not pay for.
 */
int target_memory_counters(const struct target *t, struct target_memory *ret)
{
	struct text status = { 0 };
	int err = proc_read(t->proc_fd, "status", &status);

	if (!err && !proc_status_line(text_str(&status), "VmRSS", &(size_t){ 0 }))
		err = -ESRCH;	/* no memory any more: a zombie */
	if (!err) {
		ret->rss_bytes = status_kib(status.str, "VmRSS");
		ret->anon_bytes = status_kib(status.str, "RssAnon");
		ret->file_bytes = status_kib(status.str, "RssFile");
		ret->shmem_bytes = status_kib(status.str, "RssShmem");
	}
	text_free(&status);
	return err;
}

int target_memory_read(const struct target *t, struct target_memory *ret)
{
	struct target_memory memory = { 0 };
	int err = target_memory_counters(t, &memory);

	if (!err)
		err = read_heap(t, &memory.heap_bytes);
	if (!err)
		*ret = memory;
	return err;
}

int target_cpu_ns(const struct target *t, uint64_t *ret_ns)
{
	struct timespec now;
	clockid_t clock;
	int err;

	/* the number is its own only while it lives; of the dead the last figure is not known */
	err = clock_getcpuclockid(t->pid, &clock);
	if (err)
		return -err;
	if (clock_gettime(clock, &now)) {
		err = -errno;
		return err == -EINVAL ? -ESRCH : err;
	}
	if (!target_is_alive(t))
		return -ESRCH;
	*ret_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	return 0;
}

int target_threads_cnt(const struct target *t)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int err;

	err = proc_read(t->proc_fd, "stat", &text);
	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	text_free(&text);
	return err ? err : (int)stat.threads_cnt;
}

int target_faults_read(const struct target *t, uint64_t *ret_minor, uint64_t *ret_major)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int err = proc_read(t->proc_fd, "stat", &text);

	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	text_free(&text);
	if (err)
		return err;
	*ret_minor = stat.minflt;
	*ret_major = stat.majflt;
	return 0;
}

int target_huge_read(const struct target *t, uint64_t *ret_bytes)
{
	struct text text = { 0 };
	int err = proc_read(t->proc_fd, "smaps_rollup", &text);
	uint64_t kib = 0;

	if (!err && !proc_status_u64(text_str(&text), "AnonHugePages", &kib))
		err = -ENOENT;
	text_free(&text);
	if (!err)
		*ret_bytes = kib << 10;
	return err;
}
