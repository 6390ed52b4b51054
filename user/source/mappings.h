/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the target maps itself, beside its allocators: who has, and how much of that is resident. Part of the source leak.
 *
 *	start ─ event … ─ look ─ event … ─ look ─ … ─ freeze ─ values
 *
 * A look reads the target's maps and counts pages; it is of one moment, and what came later waits for the next one.
 */
#ifndef SOURCE_MAPPINGS_H
#define SOURCE_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "mapping_abi.h"
#include "profile/profile.h"
#include "source/leak_programs.h"
#include "source/stacks.h"
#include "target/target.h"

struct mappings;
struct ring_buffer;

struct mappings_config {
	const struct target *target;	/* all borrowed until close */
	struct profile *profile;
	const struct stacks *stacks;
	uint64_t min_bytes;		/* --min-size */
	bool brk_is_allocators;		/* what brk gives is booked as blocks already */
	const struct leak_programs *programs;	/* know which functions are an allocator's */
	struct ring_buffer *rings;	/* whoever reads them calls mappings_event() */
};

/* -ENOMEM. */
int mappings_open(const struct mappings_config *config, struct mappings **ret);
struct mappings *mappings_free(struct mappings *m);

/* When the probes are there and nothing was consumed yet: what is mapped already. Errors of target_space_open(). */
int mappings_start(struct mappings *m);
/* An event of the ring of leak; those that are not of mappings do nothing. */
void mappings_event(struct mappings *m, const void *event, size_t size);
/* Looks, unless the last look was dear and is not long ago: for every second. now: in any case. */
void mappings_look(struct mappings *m, bool now);
/* The last look, before the probes come off; what comes later is not booked. */
void mappings_freeze(struct mappings *m);

/* Which of them count. */
struct mappings_ages {
	uint64_t cutoff_ns;	/* LEAK_OLD_BLOCKS: born at or before; 0 = not wanted */
	uint64_t older_ns;	/* held: at least so old; 0 = all */
};
/* Adds the values of leak and sets notes. The first error since the last call. */
int mappings_values(struct mappings *m, const struct mappings_ages *ages);

/* Of the last mappings_values(). */
struct mappings_held {
	uint64_t bytes;		/* resident */
	uint64_t cnt;
	uint64_t unseen_cnt;	/* of these, whose pages there was no time to count: as they were last seen */
};
void mappings_held(const struct mappings *m, struct mappings_held *ret);

#endif
