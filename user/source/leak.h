/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source `leak`: blocks that were allocated since ebb attached and not freed, by stack.
 */
#ifndef SOURCE_LEAK_H
#define SOURCE_LEAK_H

#include "source/books.h"
#include "source/mappings.h"
#include "source/source.h"

/* About what the maps of a source take when its target is idle. */
#define LEAK_IDLE_BYTES	(9ull << 20)

/* Kinds of value, in this order. */
enum leak_value {
	LEAK_HELD_BYTES,	/* now */
	LEAK_HELD_BLOCKS,
	LEAK_ALLOC_BYTES,	/* all that was allocated since attaching */
	LEAK_ALLOC_BLOCKS,
	LEAK_PEAK_BYTES,	/* the most that was held in any snapshot */
	LEAK_OLD_BLOCKS,	/* held blocks that were born at or before the cutoff */
	LEAK_VALUES,
};

struct leak_options {
	uint64_t max_memory_bytes;	/* for the books */
	struct books_room *room;	/* of these and of others; borrowed; NULL = max_memory_bytes is all */
	uint64_t min_size_bytes;	/* smaller blocks are not booked */
	uint64_t older_ns;		/* held counts only blocks that are at least so old; 0 = all */
	double program_ns;		/* what a run of the programs took, from an earlier source; 0 = measure it */
	bool brk_is_allocators;		/* what brk gives is in the books already: see allocators_use_brk() */
	bool pairs;			/* no memory: there are, or will be, sites of pairs: their programs are loaded at once */
	uint32_t threads_domain;	/* the pair whose objects are threads; 0 = none */
	bool no_stacks;			/* for benchmarks */
	bool check_stacks;		/* for tests: remembered stacks are walked again and compared */
};

extern const struct source_type leak_source;

/*
 * From the next snapshot on LEAK_OLD_BLOCKS counts blocks born at or before this moment of
 * CLOCK_MONOTONIC; 0 = do not count, which saves reading the table of blocks.
 */
void leak_set_cutoff(struct source *s, uint64_t cutoff_ns);

/*
 * Attaches to what a later plan of the same target has beside that of the context, and forgets files that are unmapped.
 * *ret_added: new sites. The plan must live as long as the source. -ESHUTDOWN: it has been detached.
 */
int leak_attach_more(struct source *s, const struct plan *plan, size_t *ret_added);

/* Children with a copy of the target's memory that it was seen to make. */
uint32_t leak_forks(const struct source *s);

/* What the target has mapped itself, of the last snapshot; zeros with pairs, and where s is NULL. */
void leak_mappings_held(const struct source *s, struct mappings_held *ret);

/* Counters that are no losses but explain the numbers, for -v: name and count, i from 0; false at the end. */
bool leak_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt);

#endif
