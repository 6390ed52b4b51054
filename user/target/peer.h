/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Any process of the machine, as far as a report about sockets needs it: cheap, without opening it as a target.
 */
#ifndef TARGET_PEER_H
#define TARGET_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	char *comm;
	char *exe;		/* /proc/PID/exe without " (deleted)"; NULL when it cannot be read */
	char *cgroup;		/* peer_parse_cgroup() of /proc/PID/cgroup; NULL when it cannot be read */
	char *container;	/* host name of a UTS namespace that is not ours and says something else; NULL = none, or not known */
	uint64_t start_ticks;	/* field 22 of stat: with the pid its identity */
};

/* -ESRCH when there is no such process, -EACCES, -ENOMEM. peer_close() in any case of success. */
int peer_read(pid_t pid, struct peer *ret);
void peer_close(struct peer *p);
/* Field 22 of stat of a process; 0 when there is none. */
uint64_t peer_start_ticks(pid_t pid);
/* Whether the process with this start time still runs (a zombie does not; one whose first thread has ended does). */
bool peer_is_alive(pid_t pid, uint64_t start_ticks);
/*
 * The path that tells most in the text of /proc/PID/cgroup: the first that is not the root of version 2's, memory's,
 * name=systemd's, pids'. "/" = all are the root, "" = there is none. The caller frees it; NULL when memory is short.
 */
char *peer_parse_cgroup(const char *text);
/* What runs in it, by the files that it has mapped: "dotnet", "java"; NULL = nothing that would not show in its executable's name. */
const char *peer_runtime(pid_t pid);
/* Open descriptors and the soft RLIMIT_NOFILE (UINT32_MAX = unlimited). -ESRCH, -EACCES. */
int peer_fds(pid_t pid, uint32_t *ret_cnt, uint32_t *ret_limit);

#endif
