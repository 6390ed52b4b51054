/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "trace/attach.h"

/* BPF_F_UPROBE_MULTI_RETURN of include/uapi/linux/bpf.h. */
#define MULTI_RETURN	1u

struct link {
	int fd;
	int event_fd;	/* ATTACH_PERF: the perf event, -1 else */
	int rank;	/* links of one rank may go in any order */
	const struct target_module *module;
};

struct attach {
	struct link *links;	/* in the order of attaching */
	size_t links_cnt;
};

static const char *const mode_names[ATTACH_MODES] = { "session", "multi", "perf" };

const char *attach_mode_name(enum attach_mode mode)
{
	return mode_names[mode];
}

int attach_mode_parse(const char *name, enum attach_mode *ret)
{
	for (int i = 0; i < ATTACH_MODES; i++) {
		if (strcmp(name, mode_names[i]))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

int attach_type(enum attach_mode mode)
{
	return mode == ATTACH_PERF ? 0 : ATTACH_TYPE_MULTI;
}

/* A file that stays the same one whatever happens to its path. */
static void file_path(char path[64], int fd)
{
	snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* The part of union bpf_attr for BPF_LINK_CREATE of a uprobe.multi link; libbpf 1.1 does not have it. */
struct multi_attr {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid, pad;
};

static int link_multi(int type, int prog_fd, int file_fd, const __u64 *offs, const __u64 *cookies, __u32 cnt,
		      bool is_return, pid_t pid)
{
	char path[64];
	struct multi_attr attr = {
		.prog_fd = prog_fd,
		.attach_type = type,
		.path = (__u64)(uintptr_t)path,
		.offsets = (__u64)(uintptr_t)offs,
		.cookies = (__u64)(uintptr_t)cookies,
		.cnt = cnt,
		.multi_flags = is_return ? MULTI_RETURN : 0,
		.pid = pid,
	};
	int fd;

	file_path(path, file_fd);
	/* without the last word: kernels refuse what they do not know only if it is not 0 */
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

/* A number out of a file of sysfs such as "8" or "config:0". */
static int sysfs_number(const char *path, const char *fmt, int *ret)
{
	FILE *f = fopen(path, "re");
	int n, err = 0;

	if (!f)
		return -errno;
	if (fscanf(f, fmt, &n) != 1)
		err = -EINVAL;
	else
		*ret = n;
	fclose(f);
	return err;
}

static int event_open(int file_fd, uint64_t off, bool is_return, pid_t pid)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	int type, return_bit, err, fd;
	char path[64];

	err = sysfs_number("/sys/bus/event_source/devices/uprobe/type", "%d", &type);
	if (!err)
		err = sysfs_number("/sys/bus/event_source/devices/uprobe/format/retprobe", "config:%d", &return_bit);
	if (err)
		return err;
	file_path(path, file_fd);
	attr.type = type;
	attr.config = is_return ? 1ull << return_bit : 0;
	attr.uprobe_path = (__u64)(uintptr_t)path;
	attr.probe_offset = off;
	fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int link_perf(int prog_fd, int file_fd, uint64_t off, uint64_t cookie, bool is_return, pid_t pid,
		     int *ret_event_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = cookie);
	int event_fd, fd;

	event_fd = event_open(file_fd, off, is_return, pid);
	if (event_fd < 0)
		return event_fd;
	fd = bpf_link_create(prog_fd, event_fd, BPF_PERF_EVENT, &opts);
	if (fd < 0) {
		close(event_fd);
		return fd;
	}
	*ret_event_fd = event_fd;
	return fd;
}

int attach_one(enum attach_mode mode, int prog_fd, int file_fd, uint64_t off, uint64_t cookie, bool is_return,
	       pid_t pid, int *ret_event_fd)
{
	__u64 off64 = off;
	__u64 cookie64 = cookie;

	*ret_event_fd = -1;
	if (mode == ATTACH_PERF)
		return link_perf(prog_fd, file_fd, off, cookie, is_return, pid, ret_event_fd);
	return link_multi(mode == ATTACH_SESSION ? ATTACH_TYPE_SESSION : ATTACH_TYPE_MULTI, prog_fd, file_fd, &off64,
			  &cookie64, 1, mode == ATTACH_MULTI && is_return, pid);
}

/* Sites that are attached together: of one rank (the order of attaching) in one file. */
struct group {
	const struct target_module *module;
	int rank;
	__u64 *offs;
	__u64 *cookies;
	__u32 cnt;
};

static int link_keep(struct attach *a, const struct group *g, int fd, int event_fd)
{
	struct link *links = realloc(a->links, (a->links_cnt + 1) * sizeof(*links));

	if (!links) {
		close(fd);
		if (event_fd >= 0)
			close(event_fd);
		return -ENOMEM;
	}
	a->links = links;
	a->links[a->links_cnt++] = (struct link){ .fd = fd, .event_fd = event_fd, .rank = g->rank, .module = g->module };
	return 0;
}

/* What is attached together, in this order. */
enum rank { RANK_LOADED, RANK_FREE, RANK_RELEASE, RANK_MOVE, RANK_RET, RANK_BEGIN, RANK_CALL, RANKS };

static enum rank site_rank(const struct plan_site *s)
{
	if (s->role == PLAN_ENTRY)
		return s->kind == PROBE_LOADED ? RANK_LOADED : s->kind == PROBE_RELEASE ? RANK_RELEASE : RANK_FREE;
	if (s->role == PLAN_RET)
		return RANK_RET;
	if (s->role == PLAN_BEGIN)
		return RANK_BEGIN;
	switch (s->kind) {
	case PROBE_REALLOC:
	case PROBE_RALLOCX:
	case PROBE_REALLOCARRAY:
	case PROBE_XALLOCX:
		return RANK_MOVE;
	default:
		return RANK_CALL;
	}
}

static __u64 site_cookie(const struct plan_site *s)
{
	return s->kind | s->shape | (s->insn.emulated ? 0 : COOKIE_STEPPED);
}

static int attach_program(struct attach *a, const struct group *g, const struct target *t, enum attach_mode mode,
			  int prog_fd, bool is_return)
{
	int fd, event_fd, err;

	if (mode != ATTACH_PERF) {
		fd = link_multi(mode == ATTACH_SESSION ? ATTACH_TYPE_SESSION : ATTACH_TYPE_MULTI, prog_fd,
				g->module->fd, g->offs, g->cookies, g->cnt, is_return, t->pid);
		return fd < 0 ? fd : link_keep(a, g, fd, -1);
	}
	for (__u32 i = 0; i < g->cnt; i++) {
		fd = link_perf(prog_fd, g->module->fd, g->offs[i], g->cookies[i], is_return, t->pid, &event_fd);
		if (fd < 0)
			return fd;
		err = link_keep(a, g, fd, event_fd);
		if (err)
			return err;
	}
	return 0;
}

static int attach_group(struct attach *a, const struct group *g, const struct target *t, enum attach_mode mode,
			const struct attach_programs *progs)
{
	/* of what is probed at one place only */
	const int *const fds[RANKS] = {
		[RANK_LOADED] = &progs->loaded_fd, [RANK_FREE] = &progs->free_fd, [RANK_RELEASE] = &progs->release_fd,
		[RANK_RET] = &progs->ret_fd, [RANK_BEGIN] = &progs->begin_fd,
	};
	enum attach_mode plain = mode == ATTACH_SESSION ? ATTACH_MULTI : mode;
	int err;

	if (g->rank < RANK_MOVE || g->rank == RANK_RET || g->rank == RANK_BEGIN)
		return attach_program(a, g, t, plain, *fds[g->rank], false);
	if (mode == ATTACH_SESSION)
		return attach_program(a, g, t, mode, progs->session_fd, false);
	/* The return first: an entry whose return is not seen would leave its call behind. */
	err = attach_program(a, g, t, mode, progs->return_fd, true);
	return err ? err : attach_program(a, g, t, mode, progs->enter_fd, false);
}

/* The sites of one rank, file by file. */
static int attach_rank(struct attach *a, const struct plan *p, int rank, const struct target *t,
		       enum attach_mode mode, const struct attach_programs *progs)
{
	struct group g = { .rank = rank };
	int err = 0;

	g.offs = calloc(p->sites_cnt + 1, sizeof(*g.offs));
	g.cookies = calloc(p->sites_cnt + 1, sizeof(*g.cookies));
	if (!g.offs || !g.cookies)
		err = -ENOMEM;
	for (size_t m = 0; !err && m < t->modules_cnt; m++) {
		g.module = t->modules[m];
		g.cnt = 0;
		for (size_t i = 0; i < p->sites_cnt; i++) {
			const struct plan_site *s = &p->sites[i];

			if (s->module != g.module || (int)site_rank(s) != rank)
				continue;
			g.offs[g.cnt] = s->off;
			g.cookies[g.cnt++] = site_cookie(s);
		}
		if (g.cnt)
			err = attach_group(a, &g, t, mode, progs);
	}
	free(g.offs);
	free(g.cookies);
	return err;
}

int attach_plan(const struct plan *p, const struct target *t, enum attach_mode mode,
		const struct attach_programs *progs, struct attach **ret)
{
	struct attach *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	for (int rank = 0; rank < RANKS; rank++) {
		int err = attach_rank(a, p, rank, t, mode, progs);

		if (err) {
			attach_free(a);
			return err;
		}
	}
	*ret = a;
	return 0;
}

static void *link_close(void *arg)
{
	struct link *l = arg;

	close(l->fd);
	if (l->event_fd >= 0)
		close(l->event_fd);
	return NULL;
}

/*
 * Closes links [first, end), which are of one rank. The kernel takes a grace period to drop a perf link, 50 ms
 * and more: one after the other they would take seconds to come off, so each is closed by a thread of its own.
 */
static void links_close(struct attach *a, size_t first, size_t end)
{
	pthread_t threads[64];
	size_t started = 0;

	while (first < end) {
		struct link *l = &a->links[first++];

		if (first == end || started == sizeof(threads) / sizeof(threads[0]) ||
		    pthread_create(&threads[started], NULL, link_close, l))
			link_close(l);
		else
			started++;
	}
	while (started)
		pthread_join(threads[--started], NULL);
}

static void *link_close_and_free(void *arg)
{
	link_close(arg);
	free(arg);
	return NULL;
}

/* Nobody waits for the grace periods: in an unmapped file there is nothing left to be met. */
static void link_drop(struct attach *a, size_t at)
{
	struct link *l = malloc(sizeof(*l));
	pthread_t thread;

	if (l)
		*l = a->links[at];
	if (!l)
		link_close(&a->links[at]);
	else if (pthread_create(&thread, NULL, link_close_and_free, l))
		link_close_and_free(l);
	else
		pthread_detach(thread);
	memmove(&a->links[at], &a->links[at + 1], (a->links_cnt - at - 1) * sizeof(*a->links));
	a->links_cnt--;
}

void attach_forget(struct attach *a, const struct target_module *m)
{
	for (size_t i = a->links_cnt; i; i--)
		if (a->links[i - 1].module == m)
			link_drop(a, i - 1);
}

struct attach *attach_free(struct attach *a)
{
	size_t end, first;

	if (!a)
		return NULL;
	for (end = a->links_cnt; end; end = first) {
		for (first = end - 1; first && a->links[first - 1].rank == a->links[end - 1].rank; first--)
			;
		links_close(a, first, end);
	}
	free(a->links);
	free(a);
	return NULL;
}

int attach_verify(const struct plan *p, const struct target *t, size_t **ret_missing)
{
	size_t *missing = NULL;
	int cnt = 0;

	for (size_t i = 0; i < p->sites_cnt; i++) {
		unsigned char byte;
		ssize_t len = target_read(t, p->sites[i].addr, &byte, 1);

		if (len != 1) {
			free(missing);
			return len < 0 ? (int)len : -EIO;
		}
		if (byte == 0xcc)
			continue;
		if (!missing)
			missing = calloc(p->sites_cnt, sizeof(*missing));
		if (!missing)
			return -ENOMEM;
		missing[cnt++] = i;
	}
	*ret_missing = missing;
	return cnt;
}
