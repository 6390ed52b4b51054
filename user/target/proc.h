/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading /proc/PID, inside the layer. Everything goes through one descriptor of the directory: it
 * belongs to the process and not to the number, so that once the process is gone every read through it
 * fails with ESRCH, whoever has its pid by then.
 */
#ifndef TARGET_PROC_H
#define TARGET_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"

struct proc_stat {
	const char *comm;	/* in the text that was parsed, comm_len bytes, may hold anything */
	size_t comm_len;
	char state;
	pid_t parent;
	uint64_t flags;		/* PF_… */
	uint64_t minflt, majflt;	/* page faults of all its threads, also of those that are gone */
	uint64_t threads_cnt;
	uint64_t start_ticks;	/* since boot; the kernel's clock ticks */
	uint64_t rss_pages;
	uint64_t start_stack_addr;	/* 0 where we may not see it, as the next */
	uint64_t start_brk_addr;
};

/* Descriptor of /proc/PID, or a negative errno. */
int proc_open(pid_t pid);
/* Appends a whole file below it; NULs are kept, ret->len is the length. 0 or a negative errno. */
int proc_read(int proc_fd, const char *name, struct text *ret);
/* Target of a link below it; the caller frees it. */
int proc_readlink(int proc_fd, const char *name, char **ret);

/* /proc/PID/stat (proc_pid_stat(5)). -EBADMSG when it is none. */
int proc_stat_parse(const char *text, struct proc_stat *ret);
/* The number behind "\nKEY:" in /proc/PID/status; a unit ("kB") is left to the caller. */
bool proc_status_u64(const char *status, const char *key, uint64_t *ret);
/* Text behind "\nKEY:" up to the end of the line; NULL when the key is not there. Points into status. */
const char *proc_status_line(const char *status, const char *key, size_t *ret_len);

#endif
