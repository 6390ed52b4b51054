/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `ebb leak` shows of several processes: each by itself, or with --merge those that run the same executable as one.
 * A table has a line for each, and its last one the reports of those that matter most below it.
 */
#ifndef CMD_LEAK_UNITS_H
#define CMD_LEAK_UNITS_H

#include "cmd/leak_member.h"
#include "cmd/sink.h"
#include "profile/merge.h"

/* Those that are shown as one. */
struct leak_unit {
	char *exe;
	char *comm;
	struct merge *merge;
	uint32_t process;		/* of the merged profile */
	struct rows rows;
	bool rows_opened;
	struct target_memory memory_start, memory_now;	/* sums; those that ended count nothing */
	uint64_t start_ns, cutoff_ns;
	int64_t start_wall_s;
	size_t members_cnt, living_cnt;
	struct leak_unit *next;
};

struct leak_units {
	const struct leak_args *args;
	struct leak_unit *list;		/* with --merge */
};

/* What the header says beside. */
struct leak_units_facts {
	const char *what;		/* "cgroup /a/b"; NULL */
	size_t members_cnt;
	size_t ended_cnt;
	size_t unwatched_cnt;		/* could not be attached to */
	size_t unfit_cnt;		/* of these: for want of memory */
	uint64_t unseen_cnt;		/* were born and had ended before they were watched */
	uint64_t max_memory_bytes;
	uint64_t now_ns, start_ns;
};

void leak_units_close(struct leak_units *u);
/* Puts a new process to those that run the same, with --merge. An exit code. */
int leak_units_join(struct leak_units *u, struct leak_member *m);
/* The values of all members, of one snapshot. Negative errno, printed. */
int leak_units_update(struct leak_units *u, struct leak_member *const *members, size_t cnt, uint64_t now_ns);
/* What a member that is about to be forgotten allocated stays in the sums. Negative errno. */
int leak_units_keep(struct leak_units *u, struct leak_member *m);
/* Shows the table; last: and reports. Negative errno, printed. */
int leak_units_show(struct leak_units *u, struct leak_member *const *members, size_t cnt, const struct leak_units_facts *facts,
		    struct sink *sink, bool last);
/* All of them in one profile, a process or an executable the root of each stack. NULL: memory is short. The caller closes it. */
struct merge *leak_units_merged(const struct leak_units *u, struct leak_member *const *members, size_t cnt);

#endif
