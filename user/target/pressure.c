/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "target/pressure.h"
#include "target/proc.h"
#include "target/target.h"

#define RECORD_BYTES_MAX 8192	/* CONSOLE_EXT_LOG_MAX of kernel/printk/internal.h */
#define RECORDS_MAX	(1u << 20)

struct pressure_stall pressure_stall_parse(const char *text)
{
	const char *some = strstr(text, "some "), *full = strstr(text, "full ");
	struct pressure_stall s = { 0 };
	unsigned long long some_us = 0, full_us = 0;

	s.known = some && sscanf(some, "some avg10=%lf avg60=%lf avg300=%*f total=%llu", &s.some_avg10, &s.some_avg60, &some_us) == 3;
	if (s.known && full)
		sscanf(full, "full avg10=%lf avg60=%lf avg300=%*f total=%llu", &s.full_avg10, &s.full_avg60, &full_us);
	s.some_total_us = some_us;
	s.full_total_us = full_us;
	return s;
}

bool pressure_event_parse(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, key, len) || line[len] != ' ')
			continue;
		*ret = strtoull(line + len + 1, NULL, 10);
		return true;
	}
	return false;
}

/* What stands between ",KEY=" and the next end; NULL when it is not there. The caller frees it. */
static char *member(const char *text, const char *key, const char *end)
{
	const char *at = strstr(text, key), *stop;

	if (!at)
		return NULL;
	at += strlen(key);
	stop = strstr(at, end);
	return strndup(at, stop ? (size_t)(stop - at) : strcspn(at, "\n"));
}

/*
 *	6,1234,83971761180,-;oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a,task_memcg=/a/b,task=name,pid=12,uid=0
 *	3,1235,83971761190,-;Memory cgroup out of memory: Killed process 12 (name) total-vm:…kB, anon-rss:…kB, …
 *
 * The first has the cgroups, from 5.0 on; the second is all that older ones say. A name may hold anything, so the last
 * ",pid=" ends it.
 */
bool pressure_kill_parse(const char *record, uint64_t now_us, struct pressure_kill *ret)
{
	const char *text = strchr(record, ';'), *at;
	unsigned long long us = 0, kib = 0;
	struct pressure_kill kill = { 0 };
	int pid = 0;

	if (!text || sscanf(record, "%*u,%*u,%llu", &us) != 1)
		return false;
	text++;
	kill.ago_ns = now_us > us ? (now_us - us) * 1000 : 0;
	if (!strncmp(text, "oom-kill:", 9)) {
		const char *task = strstr(text, ",task="), *behind = NULL;

		for (at = task; at && (at = strstr(at, ",pid=")); at++)
			behind = at;
		if (!behind || sscanf(behind, ",pid=%d", &pid) != 1)
			return false;
		kill.comm = strndup(task + 6, behind - task - 6);
		kill.cgroup = member(text, ",task_memcg=", ",task=");
		kill.limited = member(text, ",oom_memcg=", ",task_memcg=");
	} else if ((at = strstr(text, "Killed process ")) && sscanf(at, "Killed process %d (", &pid) == 1) {
		at = strchr(at, '(') + 1;
		kill.comm = member(at, "", ") total-vm:");
		at = strstr(at, "anon-rss:");
		if (at && sscanf(at, "anon-rss:%llukB", &kib) == 1)
			kill.rss_bytes = kib << 10;
	} else {
		return false;
	}
	kill.pid = pid;
	*ret = kill;
	return true;
}

static void kill_free(struct pressure_kill *k)
{
	free(k->comm);
	free(k->cgroup);
	free(k->limited);
}

/* Both records of one kill become one; those of others go. Takes over `kill`. */
static int kills_add(struct pressure_kills *k, struct pressure_kill *kill, const char *cgroup, const char *comm)
{
	struct pressure_kill *last = k->cnt ? &k->list[k->cnt - 1] : NULL, *more;

	if (last && last->pid == kill->pid && kill->rss_bytes && !last->rss_bytes) {
		last->rss_bytes = kill->rss_bytes;
		kill_free(kill);
		return 0;
	}
	if (!(cgroup && kill->cgroup && strcmp(cgroup, "/") && !strcmp(kill->cgroup, cgroup)) &&
	    !(comm && kill->comm && !strcmp(kill->comm, comm))) {
		kill_free(kill);
		return 0;
	}
	more = realloc(k->list, (k->cnt + 1) * sizeof(*more));
	if (!more) {
		kill_free(kill);
		return -ENOMEM;
	}
	k->list = more;
	k->list[k->cnt++] = *kill;
	return 0;
}

int pressure_kills_read(const char *cgroup, const char *comm, struct pressure_kills *ret)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), err = 0;
	struct pressure_kills k = { 0 };
	struct timespec now;
	char record[RECORD_BYTES_MAX + 1];
	ssize_t len;

	*ret = k;
	if (fd < 0) {
		ret->err = -errno;
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned int i = 0; i < RECORDS_MAX && !err; i++) {
		struct pressure_kill kill;

		len = read(fd, record, sizeof(record) - 1);
		/* EPIPE: records were overwritten before we came to them */
		if (len < 0 && (errno == EPIPE || errno == EINTR || errno == EINVAL))
			continue;
		if (len <= 0) {
			k.err = len < 0 && errno != EAGAIN ? -errno : 0;
			break;
		}
		record[len] = '\0';
		if (pressure_kill_parse(record, now.tv_sec * 1000000ull + now.tv_nsec / 1000, &kill))
			err = kills_add(&k, &kill, cgroup, comm);
	}
	close(fd);
	if (err)
		pressure_kills_free(&k);
	else
		*ret = k;
	return err;
}

void pressure_kills_free(struct pressure_kills *k)
{
	for (size_t i = 0; i < k->cnt; i++)
		kill_free(&k->list[i]);
	free(k->list);
	*k = (struct pressure_kills){ 0 };
}

static int file_read(const char *path, struct text *ret)
{
	int dir_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), err;

	if (dir_fd < 0)
		return -errno;
	err = proc_read(dir_fd, path + strspn(path, "/"), ret);
	close(dir_fd);
	return err;
}

/* A file of a cgroup's directory; false: it is not there. */
static bool cgroup_file(const char *dir, const char *name, struct text *ret)
{
	struct text path = { 0 };
	bool is;

	text_clear(ret);
	text_printf(&path, "%s/%s", dir, name);
	is = !path.failed && !file_read(path.str, ret) && !ret->failed;
	text_free(&path);
	return is;
}

static uint64_t cgroup_number(const char *dir, const char *name, uint64_t otherwise)
{
	struct text text = { 0 };
	unsigned long long n;
	uint64_t value = otherwise;

	if (cgroup_file(dir, name, &text) && sscanf(text_str(&text), "%llu", &n) == 1)
		value = n;
	text_free(&text);
	return value;
}

/* Where the files of the cgroup are; NULL: not seen from here. */
static char *cgroup_dir(const struct cgroup_mount *m, const char *path)
{
	size_t root_len = strcmp(m->root, "/") ? strlen(m->root) : 0;
	struct text dir = { 0 };

	if (!path || strncmp(path, m->root, root_len) || !strncmp(path, "/..", 3))
		return NULL;
	text_printf(&dir, "%s%s", m->path, path + root_len);
	return dir.str;
}

void pressure_cgroup_look(const char *dir, struct pressure *p)
{
	struct text text = { 0 };

	p->used_bytes = cgroup_number(dir, p->is_v2 ? "memory.current" : "memory.usage_in_bytes", 0);
	if (p->is_v2) {
		p->swap_used_bytes = cgroup_number(dir, "memory.swap.current", UINT64_MAX);
		p->swap_limit_bytes = cgroup_number(dir, "memory.swap.max", UINT64_MAX);
	}
	if (cgroup_file(dir, p->is_v2 ? "memory.events" : "memory.oom_control", &text)) {
		p->has_events = pressure_event_parse(text_str(&text), "oom_kill", &p->oom_kills_cnt);
		pressure_event_parse(text_str(&text), "oom", &p->ooms_cnt);
		pressure_event_parse(text_str(&text), "max", &p->max_cnt);
	}
	if (p->is_v2 && cgroup_file(dir, "memory.pressure", &text))
		p->own = pressure_stall_parse(text_str(&text));
	text_free(&text);
}

static int cgroup_read(const struct target *t, struct pressure *p)
{
	struct text mounts = { 0 };
	struct cgroup_mount m = { .path = NULL };
	char *dir = NULL, *limited = NULL;
	int err = cgroup_memory_read(t->pid, &p->cgroup);

	if (err || !p->cgroup.path)
		return err;
	err = file_read("/proc/self/mountinfo", &mounts);
	if (!err)
		err = cgroup_mount_parse(text_str(&mounts), &m);
	if (!err) {
		p->is_v2 = m.is_v2;
		dir = cgroup_dir(&m, p->cgroup.path);
		limited = cgroup_dir(&m, p->cgroup.limited);
	}
	if (dir)
		pressure_cgroup_look(dir, p);
	if (limited)
		p->limited_used_bytes = cgroup_number(limited, p->is_v2 ? "memory.current" : "memory.usage_in_bytes", 0);
	free(dir);
	free(limited);
	cgroup_mount_free(&m);
	text_free(&mounts);
	return err == -ENOMEM ? err : 0;
}

static int number_read(const struct target *t, const char *name, int otherwise)
{
	struct text text = { 0 };
	int n = otherwise;

	if (proc_read(t->proc_fd, name, &text) || sscanf(text_str(&text), "%d", &n) != 1)
		n = otherwise;
	text_free(&text);
	return n;
}

static uint64_t meminfo_bytes(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	unsigned long long kib = 0;

	return line && sscanf(line + strlen(key), "%llu", &kib) == 1 ? kib << 10 : 0;
}

static uint64_t age_ns(const struct target *t)
{
	struct timespec now;
	uint64_t start_ns = t->start_ticks * (1000000000ull / sysconf(_SC_CLK_TCK)), ns;

	clock_gettime(CLOCK_BOOTTIME, &now);
	ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	return ns > start_ns ? ns - start_ns : 0;
}

int pressure_read(const struct target *t, struct pressure *ret)
{
	struct pressure p = { .swap_used_bytes = UINT64_MAX, .swap_limit_bytes = UINT64_MAX };
	struct text text = { 0 };
	int err = cgroup_read(t, &p);

	if (err)
		return err;
	p.oom_score = number_read(t, "oom_score", -1);
	p.oom_score_adj = number_read(t, "oom_score_adj", 0);
	if (!file_read("/proc/pressure/memory", &text))
		p.machine = pressure_stall_parse(text_str(&text));
	text_clear(&text);
	if (!file_read("/proc/meminfo", &text)) {
		p.available_bytes = meminfo_bytes(text_str(&text), "MemAvailable:");
		p.swap_total_bytes = meminfo_bytes(text_str(&text), "SwapTotal:");
		p.swap_free_bytes = meminfo_bytes(text_str(&text), "SwapFree:");
	}
	text_free(&text);
	p.age_ns = age_ns(t);
	*ret = p;
	return 0;
}

void pressure_free(struct pressure *p)
{
	cgroup_memory_free(&p->cgroup);
}
