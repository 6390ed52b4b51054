/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "target/descriptors.h"
#include "target/proc.h"
#include "target/target.h"

static const struct {
	const char *name, *label;
} kinds[DESCRIPTOR_KINDS] = {
	[DESCRIPTOR_FILE] = { "file", "files" },
	[DESCRIPTOR_SOCKET] = { "socket", "sockets" },
	[DESCRIPTOR_PIPE] = { "pipe", "pipes" },
	[DESCRIPTOR_MEMFD] = { "memfd", "memfds" },
	[DESCRIPTOR_EPOLL] = { "epoll", "epolls" },
	[DESCRIPTOR_EVENTFD] = { "eventfd", "eventfds" },
	[DESCRIPTOR_TIMERFD] = { "timerfd", "timerfds" },
	[DESCRIPTOR_SIGNALFD] = { "signalfd", "signalfds" },
	[DESCRIPTOR_INOTIFY] = { "inotify", "inotify instances" },
	[DESCRIPTOR_PIDFD] = { "pidfd", "pidfds" },
	[DESCRIPTOR_IO_URING] = { "io_uring", "io_urings" },
	[DESCRIPTOR_BPF] = { "bpf", "BPF and perf" },
	[DESCRIPTOR_DEVICE] = { "device", "devices" },
	[DESCRIPTOR_OTHER] = { "other", "others" },
};

const char *descriptor_kind_label(enum descriptor_kind kind)
{
	return kinds[kind].label;
}

const char *descriptor_kind_name(enum descriptor_kind kind)
{
	return kinds[kind].name;
}

enum descriptor_kind descriptor_kind_of(const char *link)
{
	static const struct {
		const char *begin;
		enum descriptor_kind kind;
	} rules[] = {
		{ "socket:", DESCRIPTOR_SOCKET },
		{ "pipe:", DESCRIPTOR_PIPE },
		{ "/memfd:", DESCRIPTOR_MEMFD },
		{ "anon_inode:[eventpoll]", DESCRIPTOR_EPOLL },
		{ "anon_inode:[eventfd", DESCRIPTOR_EVENTFD },
		{ "anon_inode:[timerfd]", DESCRIPTOR_TIMERFD },
		{ "anon_inode:[signalfd]", DESCRIPTOR_SIGNALFD },
		{ "anon_inode:inotify", DESCRIPTOR_INOTIFY },
		{ "anon_inode:[inotify", DESCRIPTOR_INOTIFY },
		{ "anon_inode:[pidfd]", DESCRIPTOR_PIDFD },
		{ "pidfd:", DESCRIPTOR_PIDFD },
		{ "anon_inode:[io_uring]", DESCRIPTOR_IO_URING },
		{ "anon_inode:bpf", DESCRIPTOR_BPF },
		{ "anon_inode:[perf_event]", DESCRIPTOR_BPF },
		{ "/dev/shm/", DESCRIPTOR_FILE },
		{ "/dev/", DESCRIPTOR_DEVICE },
		{ "/", DESCRIPTOR_FILE },
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (!strncmp(link, rules[i].begin, strlen(rules[i].begin)))
			return rules[i].kind;
	return DESCRIPTOR_OTHER;
}

uint64_t descriptors_limit_parse(const char *limits)
{
	const char *line = strstr(limits, "Max open files");
	unsigned long long cnt;

	/* "unlimited" is no number */
	return line && sscanf(line, "Max open files %llu", &cnt) == 1 ? cnt : UINT64_MAX;
}

size_t descriptors_watches_parse(const char *fdinfo)
{
	size_t cnt = 0;

	for (const char *line = fdinfo; *line; line += strcspn(line, "\n"), line += *line == '\n')
		cnt += !strncmp(line, "inotify ", 8);
	return cnt;
}

static int watches_add(const struct target *t, const char *fd, struct descriptors *d)
{
	struct text text = { 0 };
	char name[64];
	int err;

	snprintf(name, sizeof(name), "fdinfo/%.32s", fd);
	err = proc_read(t->proc_fd, name, &text);
	if (!err)
		d->watches_cnt += descriptors_watches_parse(text_str(&text));
	text_free(&text);
	return err == -ENOMEM ? err : 0;
}

static int descriptor_add(const struct target *t, int dir_fd, const char *fd, struct descriptors *d)
{
	char link[512];
	ssize_t len = readlinkat(dir_fd, fd, link, sizeof(link) - 1);
	enum descriptor_kind kind;

	if (len < 0)
		return 0;	/* closed meanwhile */
	link[len] = '\0';	/* the beginning of a long path tells as much */
	kind = descriptor_kind_of(link);
	d->cnt++;
	d->kinds[kind]++;
	return kind == DESCRIPTOR_INOTIFY ? watches_add(t, fd, d) : 0;
}

static uint64_t setting_read(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long n = 0;

	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

int descriptors_read(const struct target *t, struct descriptors *ret)
{
	int dir_fd = openat(t->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	struct descriptors d = { .limit_cnt = UINT64_MAX };
	struct text limits = { 0 };
	struct dirent *entry;
	DIR *dir;

	if (dir_fd < 0)
		return -errno;
	dir = fdopendir(dir_fd);
	if (!dir) {
		err = -errno;
		close(dir_fd);
		return err;
	}
	errno = 0;
	while (!err && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			err = descriptor_add(t, dir_fd, entry->d_name, &d);
	closedir(dir);
	if (!err && !proc_read(t->proc_fd, "limits", &limits))
		d.limit_cnt = descriptors_limit_parse(text_str(&limits));
	text_free(&limits);
	d.system_instances_cnt = setting_read("/proc/sys/fs/inotify/max_user_instances");
	d.system_watches_cnt = setting_read("/proc/sys/fs/inotify/max_user_watches");
	if (!err)
		*ret = d;
	return err;
}

void thread_name_shorten(char *name)
{
	char *out = name;
	bool digit = false;

	for (; *name; name++) {
		bool was = digit;

		digit = *name >= '0' && *name <= '9';
		if (!digit)
			*out++ = *name;
		else if (!was)
			*out++ = '#';
	}
	*out = '\0';
}

static int compare_thread_names(const void *a, const void *b)
{
	return strcmp(((const struct thread_name *)a)->name, ((const struct thread_name *)b)->name);
}

static int compare_thread_counts(const void *a, const void *b)
{
	const struct thread_name *x = a, *y = b;

	return x->cnt != y->cnt ? x->cnt > y->cnt ? -1 : 1 : strcmp(x->name, y->name);
}

/* Equal names become one. */
static void thread_names_merge(struct thread_names *t)
{
	size_t out = 0;

	if (!t->cnt)
		return;
	qsort(t->list, t->cnt, sizeof(*t->list), compare_thread_names);
	for (size_t i = 0; i < t->cnt; i++) {
		if (out && !strcmp(t->list[out - 1].name, t->list[i].name)) {
			t->list[out - 1].cnt += t->list[i].cnt;
			free(t->list[i].name);
		} else {
			t->list[out++] = t->list[i];
		}
	}
	t->cnt = out;
	qsort(t->list, t->cnt, sizeof(*t->list), compare_thread_counts);
}

static int thread_name_add(int task_fd, const char *tid, struct thread_names *t)
{
	struct text text = { 0 };
	struct thread_name *more;
	char name[64];
	int err;

	snprintf(name, sizeof(name), "%.32s/comm", tid);
	err = proc_read(task_fd, name, &text);
	if (err) {
		text_free(&text);
		return err == -ENOMEM ? err : 0;
	}
	/* doubled at each power of two */
	if (!(t->cnt & (t->cnt - 1))) {
		more = realloc(t->list, (t->cnt ? t->cnt * 2 : 1) * sizeof(*more));
		if (!more) {
			text_free(&text);
			return -ENOMEM;
		}
		t->list = more;
	}
	if (text.len && text.str[text.len - 1] == '\n')
		text.str[--text.len] = '\0';
	thread_name_shorten(text.str);
	t->list[t->cnt++] = (struct thread_name){ text.str, 1 };
	t->threads_cnt++;
	return 0;
}

int thread_names_read(const struct target *t, struct thread_names *ret)
{
	int task_fd = openat(t->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	struct thread_names names = { 0 };
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
			err = thread_name_add(task_fd, entry->d_name, &names);
	closedir(dir);
	if (err) {
		thread_names_free(&names);
		return err;
	}
	thread_names_merge(&names);
	*ret = names;
	return 0;
}

void thread_names_free(struct thread_names *t)
{
	for (size_t i = 0; i < t->cnt; i++)
		free(t->list[i].name);
	free(t->list);
	*t = (struct thread_names){ 0 };
}

size_t thread_names_cnt(const struct thread_names *t, const char *name)
{
	for (size_t i = 0; i < t->cnt; i++)
		if (!strcmp(t->list[i].name, name))
			return t->list[i].cnt;
	return 0;
}
