/* SPDX-License-Identifier: GPL-2.0-only */
/* The descriptors of a process by kind, their limit, and its threads by name. */
#ifndef TARGET_DESCRIPTORS_H
#define TARGET_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

struct target;

enum descriptor_kind {
	DESCRIPTOR_FILE,	/* files and directories */
	DESCRIPTOR_SOCKET,
	DESCRIPTOR_PIPE,
	DESCRIPTOR_MEMFD,
	DESCRIPTOR_EPOLL,
	DESCRIPTOR_EVENTFD,
	DESCRIPTOR_TIMERFD,
	DESCRIPTOR_SIGNALFD,
	DESCRIPTOR_INOTIFY,
	DESCRIPTOR_PIDFD,
	DESCRIPTOR_IO_URING,
	DESCRIPTOR_BPF,		/* maps, programs, links, perf events */
	DESCRIPTOR_DEVICE,	/* below /dev */
	DESCRIPTOR_OTHER,	/* of which the name is not known here */
	DESCRIPTOR_KINDS
};

/* "inotify instances", for people; "inotify", for formats. */
const char *descriptor_kind_label(enum descriptor_kind kind);
const char *descriptor_kind_name(enum descriptor_kind kind);
/* By what its link in /proc/PID/fd says. */
enum descriptor_kind descriptor_kind_of(const char *link);

struct descriptors {
	size_t cnt, kinds[DESCRIPTOR_KINDS];
	size_t watches_cnt;	/* of all inotify instances */
	uint64_t limit_cnt;	/* RLIMIT_NOFILE, soft; UINT64_MAX: none, or not known */
	uint64_t system_instances_cnt, system_watches_cnt;	/* fs.inotify.max_user_…: of one user; 0 = not known */
};

/* RLIMIT_NOFILE in the text of /proc/PID/limits; UINT64_MAX. */
uint64_t descriptors_limit_parse(const char *limits);
/* How many watches the text of fdinfo of an inotify instance has. */
size_t descriptors_watches_parse(const char *fdinfo);
/* -EACCES: it belongs to another user; -ESRCH. Descriptors that are closed meanwhile are left out. */
int descriptors_read(const struct target *t, struct descriptors *ret);

/* Threads of one name; each row of digits in it is one '#', since pools number theirs. */
struct thread_name {
	char *name;
	size_t cnt;
};

struct thread_names {
	struct thread_name *list;	/* the most first */
	size_t cnt, threads_cnt;
};

/* Puts # for the digits, in place. */
void thread_name_shorten(char *name);
int thread_names_read(const struct target *t, struct thread_names *ret);
void thread_names_free(struct thread_names *t);
/* How many have that name. */
size_t thread_names_cnt(const struct thread_names *t, const char *name);

#endif
