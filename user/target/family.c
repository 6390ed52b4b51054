/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "target/family.h"
#include "target/proc.h"

#define PF_KTHREAD 0x00200000	/* linux/sched.h */

struct process {
	struct family_member member;
	pid_t parent;
	bool wanted;
};

struct processes {
	struct process *list;
	size_t cnt, size;
};

/* 1: it can be a target; 0: not; -ENOMEM. */
static int process_read(int proc_fd, const struct group *g, struct process *ret)
{
	struct text text = { 0 }, cgroup = { 0 };
	struct proc_stat stat;
	int err = 0;

	if (!proc_read(proc_fd, "stat", &text) && !proc_stat_parse(text_str(&text), &stat) && stat.state != 'Z' &&
	    stat.state != 'X' && !(stat.flags & PF_KTHREAD)) {
		ret->member.start_ticks = stat.start_ticks;
		ret->member.rss_pages = stat.rss_pages;
		ret->parent = stat.parent;
		ret->wanted = g && !proc_read(proc_fd, "cgroup", &cgroup) && group_has(g, text_str(&cgroup));
		err = 1;
	}
	if (text.failed || cgroup.failed)
		err = -ENOMEM;
	text_free(&text);
	text_free(&cgroup);
	return err;
}

static int process_add(struct processes *ps, const struct process *p)
{
	if (ps->cnt == ps->size) {
		size_t size = ps->size ? ps->size * 2 : 256;
		struct process *more = realloc(ps->list, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		ps->list = more;
		ps->size = size;
	}
	ps->list[ps->cnt++] = *p;
	return 0;
}

static int processes_read(const struct group *g, struct processes *ps)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (err >= 0 && (entry = readdir(dir))) {
		struct process p = { .wanted = false };
		uint64_t pid;
		int fd = text_parse_u64(entry->d_name, &pid) ? -1 : proc_open(pid);

		if (fd < 0)
			continue;
		p.member.pid = pid;
		err = process_read(fd, g, &p);
		close(fd);
		if (err > 0)
			err = process_add(ps, &p);
	}
	closedir(dir);
	return err < 0 ? err : 0;
}

static bool is_root(const struct family *f, pid_t pid)
{
	for (size_t i = 0; i < f->roots_cnt; i++)
		if (f->roots[i] == pid)
			return true;
	return false;
}

static struct process *process_of(const struct processes *ps, pid_t pid)
{
	for (size_t i = 0; i < ps->cnt; i++)
		if (ps->list[i].member.pid == pid)
			return &ps->list[i];
	return NULL;
}

/* Marks the descendants. The tree is as deep as it is, and nobody promises that a parent has the lower number. */
static void descendants_mark(const struct family *f, struct processes *ps)
{
	bool more = f->roots_cnt > 0;

	while (more) {
		more = false;
		for (size_t i = 0; i < ps->cnt; i++) {
			struct process *p = &ps->list[i];
			const struct process *parent;

			if (p->wanted)
				continue;
			parent = is_root(f, p->parent) ? NULL : process_of(ps, p->parent);
			if (is_root(f, p->parent) || (parent && parent->wanted))
				p->wanted = more = true;
		}
	}
}

static int member_compare(const void *pa, const void *pb)
{
	const struct family_member *a = pa, *b = pb;

	return a->rss_pages != b->rss_pages ? (a->rss_pages < b->rss_pages) - (a->rss_pages > b->rss_pages) :
	       (a->pid > b->pid) - (a->pid < b->pid);
}

int family_find(const struct family *f, struct family_member **ret, size_t *ret_cnt)
{
	struct processes ps = { .list = NULL };
	struct family_member *found = NULL;
	int err = processes_read(f->group, &ps);
	size_t cnt = 0;

	if (!err)
		descendants_mark(f, &ps);
	if (!err && ps.cnt) {
		found = malloc(ps.cnt * sizeof(*found));
		if (!found)
			err = -ENOMEM;
	}
	for (size_t i = 0; !err && i < ps.cnt; i++)
		if (ps.list[i].wanted && ps.list[i].member.pid != getpid() && ps.list[i].parent != getpid())
			found[cnt++] = ps.list[i].member;
	free(ps.list);
	if (err) {
		free(found);
		return err;
	}
	if (cnt)
		qsort(found, cnt, sizeof(*found), member_compare);
	*ret = found;
	*ret_cnt = cnt;
	return 0;
}
