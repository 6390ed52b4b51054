/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unwind tables for the processes that connect: made when a process is first met, a few at a time, renewed when programs
 * meet code that is in no table, dropped when it has ended. The worker begins with the rows of its files at once, and the
 * tables are made some moments later, so that nobody waits for it. Inside the layer.
 */
#ifndef SOURCE_PORTS_UNWIND_H
#define SOURCE_PORTS_UNWIND_H

#include "source/ports_owners.h"
#include "source/unwinder.h"

#define PORTS_UNWIND_MAX	1024u	/* processes with tables; those beyond are walked by frame pointers */

struct ports_unwind {
	struct unwinder *unwinder;		/* borrowed, as the next ones */
	const struct ports_owners *owners;
	struct worker *worker;			/* makes rows */
	struct worker *names_worker;		/* reads what files are */
	struct ports_unwind_waiting {
		uint32_t owner;			/* the kernel's index */
		uint64_t prepared_ns;		/* when the worker was told; 0 = not yet */
	} *waiting;				/* the newest last */
	size_t waiting_cnt, waiting_size;
	uint32_t placed[PORTS_UNWIND_MAX];	/* owners with tables */
	uint32_t placed_cnt;
	uint32_t renewed;			/* the next of them to be renewed */
};

void ports_unwind_close(struct ports_unwind *u);
/* A process has connected for the first time. -ENOMEM. */
int ports_unwind_add(struct ports_unwind *u, uint32_t owner);
/* Some of what waits. -ENOMEM. */
int ports_unwind_work(struct ports_unwind *u);

#endif
