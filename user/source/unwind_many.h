/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unwind tables for many processes: made when a process is first met, a few at a time, renewed when programs meet code that
 * is in no table, dropped when it has ended. The worker begins with the rows of its files at once, and the tables are made
 * some moments later, so that nobody waits for it. A source knows its processes by a number of its own, the owner. Inside the
 * layer.
 */
#ifndef SOURCE_UNWIND_MANY_H
#define SOURCE_UNWIND_MANY_H

#include "source/unwinder.h"

#define UNWIND_MANY_MAX	1024u	/* processes with tables; those beyond are walked by frame pointers */

/* Who an owner is. */
struct unwind_many_who {
	int pid;			/* as we see it; 0 = not at all */
	uint64_t start_ticks;		/* of /proc */
	struct unwind_identity id;	/* as programs see it */
};

struct unwind_many {
	struct unwinder *unwinder;		/* borrowed, as the next ones */
	void (*who)(const void *owners, uint32_t owner, struct unwind_many_who *ret);
	const void *owners;
	struct worker *worker;			/* makes rows */
	struct worker *names_worker;		/* reads what files are */
	struct unwind_many_waiting {
		uint32_t owner;			/* the kernel's index */
		uint64_t prepared_ns;		/* when the worker was told; 0 = not yet */
	} *waiting;				/* the newest last */
	size_t waiting_cnt, waiting_size;
	uint32_t placed[UNWIND_MANY_MAX];	/* owners with tables */
	uint32_t placed_cnt;
	uint32_t renewed;			/* the next of them to be renewed */
};

void unwind_many_close(struct unwind_many *u);
/* A process was met for the first time. -ENOMEM. */
int unwind_many_add(struct unwind_many *u, uint32_t owner);
/* Some of what waits. -ENOMEM. */
int unwind_many_work(struct unwind_many *u);
/* All that waits, without a pause: before anything counts. -ENOMEM. */
int unwind_many_finish(struct unwind_many *u);

#endif
