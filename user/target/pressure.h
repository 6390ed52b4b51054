/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What presses on a process's memory: its cgroup's limit, the time lost to reclaim (PSI), swap, and who was killed for lack of
 * memory before.
 */
#ifndef TARGET_PRESSURE_H
#define TARGET_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/cgroup.h"

struct target;

/* Pressure stall information: the share of time in which some, or all, of the tasks waited for memory. */
struct pressure_stall {
	bool known;		/* off, or this kernel has none, or version 1 of cgroups */
	double some_avg10, some_avg60, full_avg10, full_avg60;	/* percent of the last 10 and 60 s */
	uint64_t some_total_us, full_total_us;
};

/* A process that the kernel killed for lack of memory. */
struct pressure_kill {
	uint64_t ago_ns;
	pid_t pid;
	char *comm;
	char *cgroup;		/* its own; "" = not said */
	char *limited;		/* whose limit it was; NULL = the machine was out of memory */
	uint64_t rss_bytes;	/* its anonymous memory; 0 = not said */
};

struct pressure_kills {
	struct pressure_kill *list;	/* the oldest first */
	size_t cnt;
	int err;			/* of reading the kernel's log; 0 */
};

struct pressure {
	struct cgroup_memory cgroup;		/* path NULL: none is seen */
	bool is_v2;
	uint64_t used_bytes;			/* by all of its cgroup; 0 = not known */
	uint64_t limited_used_bytes;		/* by the cgroup that leaves the least; 0 = no limit */
	uint64_t swap_used_bytes, swap_limit_bytes;	/* of its cgroup, version 2; UINT64_MAX = not known, no limit */
	bool has_events;
	uint64_t oom_kills_cnt, ooms_cnt, max_cnt;	/* of its cgroup, since it exists; the last two of version 2 only */
	struct pressure_stall own, machine;	/* of its cgroup, and of all */
	int oom_score, oom_score_adj;		/* -1, 0 = not known */
	uint64_t available_bytes, swap_total_bytes, swap_free_bytes;	/* of the machine */
	uint64_t age_ns;			/* of the process */
};

/* The text of memory.pressure or /proc/pressure/memory. */
struct pressure_stall pressure_stall_parse(const char *text);
/* The number behind "KEY " at the beginning of a line, as in memory.events and memory.oom_control. */
bool pressure_event_parse(const char *text, const char *key, uint64_t *ret);
/* One record of /dev/kmsg. True: it says that a process was killed, and *ret is that; the caller frees its strings. */
bool pressure_kill_parse(const char *record, uint64_t now_us, struct pressure_kill *ret);

/* What the files in the directory of a cgroup say: its use, swap, kills and PSI. p->is_v2 says which files there are. */
void pressure_cgroup_look(const char *dir, struct pressure *p);
/* What cannot be seen is left out. -ESRCH, -ENOMEM. */
int pressure_read(const struct target *t, struct pressure *ret);
void pressure_free(struct pressure *p);

/*
 * From the kernel's log: those of the cgroup (not of others below it), and those with this name, wherever they were. cgroup NULL: none is known. What the
 * log has forgotten is not there. -ENOMEM.
 */
int pressure_kills_read(const char *cgroup, const char *comm, struct pressure_kills *ret);
void pressure_kills_free(struct pressure_kills *k);

#endif
