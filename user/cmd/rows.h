/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rows of the leak report: stacks grouped by code path, each with the history that its class is
 * read from.
 *
 * A row is named after the first frame, from the innermost on, that is the user's own code; what that
 * called is its "via". Where no frame is the user's own, the innermost frame names the row.
 */
#ifndef CMD_ROWS_H
#define CMD_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/profile.h"
#include "profile/trend.h"
#include "source/leak.h"

#define ROWS_RECENT 64		/* snapshots, at least a second apart: covers the last minute */

struct row {
	uint32_t frame;			/* that names it, an index in the profile; UINT32_MAX: a label */
	uint32_t best_stack;		/* the stack of the row that holds the most */
	uint32_t stacks_cnt;		/* that have any value: stacks by which an allocator maps have none */
	int64_t values[LEAK_VALUES];
	int64_t peak_bytes;		/* the most that it held in any snapshot */
	struct trend trend;
	int64_t recent_held[ROWS_RECENT];	/* bytes; by the slots of rows->recent_ns */
	int64_t recent_born[ROWS_RECENT];	/* blocks */
	/* Read from the history by rows_classify(). */
	enum trend_class class;
	const char *why;		/* the rule that decided; constant */
	int kept_percent;		/* -1 = unknown */
	int64_t last_bytes;		/* grown in the last minute */
};

struct rows {
	const struct profile *profile;	/* borrowed */
	bool raw;			/* a row a stack */
	struct row **list;		/* sorted by rows_classify() */
	size_t cnt;
	size_t size;
	struct row **by_stack;		/* stack -> row */
	size_t by_stack_cnt;
	struct hashmap *by_name;	/* name of the row -> row */
	uint64_t recent_ns[ROWS_RECENT];	/* times of the snapshots kept */
	uint32_t recent_cnt;		/* ever */
	uint64_t start_ns;
	uint32_t snapshots_cnt;
};

/* start_ns: when the allocations began to count, CLOCK_MONOTONIC. -ENOMEM. */
int rows_open(struct rows *r, const struct profile *p, bool raw, uint64_t start_ns);
void rows_close(struct rows *r);

/*
 * The moment before which a block is old, for the snapshot that is about to be taken: the newest kept
 * snapshot that is at least trend_old_ns() ago. 0 = none is.
 */
uint64_t rows_cutoff(const struct rows *r, uint64_t now_ns);

/* After each snapshot, when all frames have names: values and histories. -ENOMEM. */
int rows_update(struct rows *r, uint64_t now_ns);

/*
 * Classes, KEPT and growth, then sorts by class and by the value `type`. cutoff_ns as given to the snapshot.
 * explained: whether the books explain at least half of what the RSS grew.
 */
void rows_classify(struct rows *r, uint64_t cutoff_ns, bool explained, int type);

/* What last_bytes is measured over, in nanoseconds: up to a minute. */
uint64_t rows_last_ns(const struct rows *r);

#endif
