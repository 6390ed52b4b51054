/* SPDX-License-Identifier: GPL-2.0-only */
/* The regions of a process: its maps and its threads read, and looked up. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "target/maps.h"
#include "target/proc.h"
#include "target/region.h"

#define SEGMENTS_MAX	64	/* real files have about ten */

static int compare_addrs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * "NR arg … SP PC" of a thread in a system call, "-1 SP PC" of one that waits elsewhere, "running". 0 = it does not say.
 */
static uint64_t sp_parse(const char *text)
{
	const char *pc = strrchr(text, ' '), *sp = pc;

	if (!pc)
		return 0;
	while (sp > text && *--sp != ' ')
		;
	return *sp == ' ' ? strtoull(sp + 1, NULL, 16) : 0;
}

static int thread_read(int task_fd, const char *tid, struct text *text, struct region_threads *t)
{
	char name[64];
	uint64_t sp;

	text_clear(text);
	snprintf(name, sizeof(name), "%.32s/syscall", tid);
	if (!proc_read(task_fd, name, text)) {
		sp = sp_parse(text_str(text));
		if (sp) {
			/* doubled at each power of two */
			if (!(t->sps_cnt & (t->sps_cnt - 1))) {
				uint64_t *more = realloc(t->sp_addrs, (t->sps_cnt ? t->sps_cnt * 2 : 1) * sizeof(*more));

				if (!more)
					return -ENOMEM;
				t->sp_addrs = more;
			}
			t->sp_addrs[t->sps_cnt++] = sp;
		}
	}
	text_clear(text);
	snprintf(name, sizeof(name), "%.32s/comm", tid);
	if (!proc_read(task_fd, name, text)) {
		t->threads_cnt++;
		if (!strncmp(text_str(text), ".NET ", 5))
			t->runtime = REGION_RUNTIME_DOTNET;
	}
	return 0;
}

int region_threads_read(int proc_fd, struct region_threads *ret)
{
	int task_fd = openat(proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	struct region_threads t = { 0 };
	struct text text = { 0 };
	struct dirent *entry;
	DIR *dir;

	if (task_fd < 0)
		return -errno;
	dir = fdopendir(task_fd);
	if (!dir) {
		err = -errno;
		close(task_fd);
		return err;
	}
	while (!err && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			err = thread_read(task_fd, entry->d_name, &text, &t);
	closedir(dir);
	text_free(&text);
	if (err) {
		region_threads_free(&t);
		return err;
	}
	if (t.sps_cnt)
		qsort(t.sp_addrs, t.sps_cnt, sizeof(*t.sp_addrs), compare_addrs);
	*ret = t;
	return 0;
}

void region_threads_free(struct region_threads *t)
{
	free(t->sp_addrs);
	*t = (struct region_threads){ 0 };
}

/* 0 = that is no file of which it can be told. */
static uint64_t image_end(int mem_fd, uint64_t start, uint64_t page_bytes)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	uint64_t first_va = 0, end_va = 0;
	bool has_first = false;
	Elf64_Ehdr head;
	ssize_t want;

	if (pread(mem_fd, &head, sizeof(head), start) != sizeof(head) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof(*segments) || head.e_phnum > SEGMENTS_MAX)
		return 0;
	want = head.e_phnum * sizeof(*segments);
	if (pread(mem_fd, segments, want, start + head.e_phoff) != want)
		return 0;
	for (size_t i = 0; i < head.e_phnum; i++) {
		const Elf64_Phdr *p = &segments[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (!has_first)
			first_va = p->p_vaddr & ~(page_bytes - 1);
		has_first = true;
		/* numbers that overflow give an end that no mapping has */
		if (p->p_vaddr + p->p_memsz > end_va)
			end_va = p->p_vaddr + p->p_memsz;
	}
	return has_first ? (start + end_va - first_va + page_bytes - 1) & ~(page_bytes - 1) : 0;
}

int region_image_ends_read(int proc_fd, const struct target_mapping *maps, size_t cnt, uint64_t **ret, size_t *ret_cnt)
{
	int mem_fd = openat(proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	uint64_t page_bytes = sysconf(_SC_PAGESIZE), *ends, end;
	size_t files = 0, ends_cnt = 0;

	*ret = NULL;
	*ret_cnt = 0;
	if (mem_fd < 0)
		return 0;
	for (size_t i = 0; i < cnt; i++)
		files += maps[i].inode && !maps[i].off;
	ends = calloc(files + 1, sizeof(*ends));
	for (size_t i = 0; ends && i < cnt; i++) {
		/* a file that is only data begins with its own text, and costs one read */
		if (!maps[i].inode || maps[i].off || maps[i].prot[0] != 'r' || maps[i].prot[3] != 'p')
			continue;
		end = image_end(mem_fd, maps[i].start, page_bytes);
		if (end)
			ends[ends_cnt++] = end;
	}
	close(mem_fd);
	if (!ends)
		return -ENOMEM;
	qsort(ends, ends_cnt, sizeof(*ends), compare_addrs);
	*ret = ends;
	*ret_cnt = ends_cnt;
	return 0;
}

static int regions_make(const struct target_mapping *maps, size_t cnt, const struct region_facts *facts, struct regions *ret)
{
	enum region_kind *kinds = calloc(cnt + 1, sizeof(*kinds));
	struct regions r = { .list = calloc(cnt + 1, sizeof(*r.list)) };
	int err = kinds && r.list ? regions_classify(maps, cnt, facts, kinds) : -ENOMEM;

	for (size_t i = 0; i < cnt && !err; i++) {
		struct region *last = r.cnt ? &r.list[r.cnt - 1] : NULL;

		if (last && last->end == maps[i].start && last->kind == kinds[i])
			last->end = maps[i].end;
		else
			r.list[r.cnt++] = (struct region){ maps[i].start, maps[i].end, kinds[i] };
	}
	free(kinds);
	if (err)
		regions_free(&r);
	else
		*ret = r;
	return err;
}

int regions_read(int proc_fd, struct regions *ret)
{
	struct target_mapping *maps = NULL;
	struct region_threads threads = { 0 };
	struct region_facts facts = { 0 };
	uint64_t *ends = NULL;
	struct text text = { 0 };
	size_t cnt = 0;
	int err;

	err = proc_read(proc_fd, "maps", &text);
	if (!err)
		err = text.len ? maps_parse(text.str, text.len, &maps, &cnt) : -ESRCH;
	/* a thread whose stack pointer is not shown: the other rules are left */
	if (!err && region_threads_read(proc_fd, &threads) == -ENOMEM)
		err = -ENOMEM;
	if (!err)
		err = region_image_ends_read(proc_fd, maps, cnt, &ends, &facts.image_ends_cnt);
	if (!err) {
		facts.image_end_addrs = ends;
		facts.runtime = threads.runtime ? threads.runtime : region_runtime_of(maps, cnt);
		facts.sp_addrs = threads.sp_addrs;
		facts.sps_cnt = threads.sps_cnt;
		err = regions_make(maps, cnt, &facts, ret);
	}
	free(ends);
	region_threads_free(&threads);
	maps_free(maps, cnt);
	text_free(&text);
	return err;
}

void regions_free(struct regions *r)
{
	free(r->list);
	*r = (struct regions){ 0 };
}

const struct region *regions_at(const struct regions *r, uint64_t addr)
{
	size_t low = 0, high = r->cnt;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r->list[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->cnt && r->list[low].start <= addr ? &r->list[low] : NULL;
}
