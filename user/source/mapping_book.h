/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who has mapped what: the calls that the programs of leak have told of, put right by what /proc/PID/maps says from time
 * to time. Knows no process and reads nothing.
 *
 *	mapping_book_begin ─ maps are read ─ events of meanwhile ─ mapping_book_settle
 *
 * An owner is the kernel's index of the stack that has mapped it, or one of those below. Nothing that was booked is believed
 * against maps: what is not there any more goes, what nobody has told of comes in.
 */
#ifndef SOURCE_MAPPING_BOOK_H
#define SOURCE_MAPPING_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapping_abi.h"
#include "source/intervals.h"

enum mapping_owner {
	MAPPING_STACKS = STACKS_MAX,	/* all below are stacks */
	MAPPING_OLD,		/* there before anybody looked, or the kernel's own; not counted */
	MAPPING_ALLOCATOR,	/* its blocks are counted, one by one */
	MAPPING_SMALL,		/* below --min-size */
	MAPPING_RAW,		/* anonymous memory that no call has told of */
	MAPPING_RAW_FILE,	/* the same of a file: what the dynamic linker maps */
};
#define MAPPING_RAWS	2	/* kinds of those */

/* 100 MB of ours. The kernel allows 65,530 pieces (vm.max_map_count), but joins neighbours; and a target may lie. */
#define MAPPINGS_MAX	(1u << 20)

struct mapping_counts {
	uint64_t calls, bytes;	/* that were mapped; of what nobody told of: finds */
};

struct mapping_book {
	struct intervals *intervals;
	uint64_t page_bytes;	/* of the machine */
	uint64_t min_bytes;	/* calls below are not counted */
	struct mapping_counts *counts;	/* by stack */
	uint32_t counts_cnt;
	struct mapping_counts raw[MAPPING_RAWS];	/* MAPPING_RAW, MAPPING_RAW_FILE */
	uint64_t begin_ns;	/* of a reading of maps; 0 = none is under way */
	struct { uint64_t start, end; } *gone;	/* what went since then */
	size_t gone_cnt;
	uint64_t lost_cnt;	/* pieces that were not booked: there were MAPPINGS_MAX */
	/* What the last reading did not find: the call that has moved it may be on its way back, and be told of after it. */
	struct interval *vanished;
	size_t vanished_cnt, vanished_size;
	int err;		/* the first of mapping_book_event() */
};

/* What maps says of a piece. The owner is the one that it has if no call has told of it. */
struct mapping_seen {
	uint64_t start, end;
	uint32_t owner;
};

/* -ENOMEM. */
int mapping_book_open(struct mapping_book *b, uint64_t page_bytes, uint64_t min_bytes);
void mapping_book_close(struct mapping_book *b);

void mapping_book_event(struct mapping_book *b, const struct mapping_event *e);

/* Before maps are read, when all events of before are booked. now_ns: CLOCK_MONOTONIC, as in events. */
void mapping_book_begin(struct mapping_book *b, uint64_t now_ns);
/* seen: sorted, disjoint. The first time, before any event: with MAPPING_OLD. -ENOMEM. */
int mapping_book_settle(struct mapping_book *b, const struct mapping_seen *seen, size_t cnt, uint64_t now_ns);
/* The same when maps could not be read. */
void mapping_book_drop(struct mapping_book *b);

/* What this owner has mapped in all; zeros for those that are not counted. */
struct mapping_counts mapping_book_counts(const struct mapping_book *b, uint32_t owner);

#endif
