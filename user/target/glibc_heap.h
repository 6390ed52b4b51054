/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The heap of glibc's malloc, walked from outside while the process runs: what is in use, what is free and where, and
 * which free pages are still resident.
 *
 * Nothing is stopped, nothing is written, and no page is made present: only pages that are resident already are read. So
 * the walk is no snapshot. It is believed when the sizes of the chunks lead from the start of each heap exactly to its
 * end, and even then `changed` says that the arena was busy meanwhile and the figures are approximate. They are exact
 * when nothing allocates and frees.
 */
#ifndef TARGET_GLIBC_HEAP_H
#define TARGET_GLIBC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/target.h"

/*
 * In bytes with the chunks' heads. system = used + cached + fast + free + top + own + unseen, but for an arena that changed.
 * mallinfo2() counts `cached` among what is used, and so it does own.
 */
struct heap_arena {
	uint64_t addr;		/* its malloc_state; 0 in the sum of all */
	bool is_main;
	bool tiles;		/* if not, none of the figures but system_bytes is there */
	bool changed;		/* while it was walked: approximate */
	uint64_t system_bytes;	/* what it has of the kernel, by its own count */
	uint64_t used_bytes, used_cnt;		/* handed out */
	uint64_t cached_bytes, cached_cnt;	/* freed, in a thread's cache (tcache) */
	uint64_t fast_bytes, fast_cnt;		/* freed, in fastbins: not merged with what is free beside them */
	uint64_t free_bytes, free_cnt;		/* in the other bins */
	uint64_t largest_free_bytes;		/* the largest of these */
	uint64_t top_bytes;			/* free, at the end */
	uint64_t own_bytes;			/* heads of arenas and heaps, and what marks the end of a full heap */
	uint64_t unseen_bytes;			/* it has them somewhere where the walk does not come */
	uint64_t heaps_cnt;			/* pieces of address space: 1 for the main arena as long as brk works */
	uint64_t resident_bytes, swapped_bytes;	/* of all of it */
	uint64_t trim_bytes;			/* whole free pages that are resident and that malloc_trim(0) would give back */
	uint64_t top_resident_bytes;		/* the same of top: in trim_bytes for the main arena, in no other */
	uint64_t retries;			/* how often a part was read again because it did not fit */
};

struct heap_walk {
	struct heap_arena *arenas;	/* the main one first; one more main one for each further copy of libc (dlmopen) */
	size_t arenas_cnt;
	struct heap_arena sum;		/* of the arenas that tile */
	bool tiles;			/* all of them do */
	bool changed;			/* one of them did, or a thread's cache: approximate */
	bool has_mmapped;		/* the next two are known */
	uint64_t mmapped_bytes, mmapped_cnt;	/* large blocks with mappings of their own, by malloc's own count */
	uint64_t read_bytes;
	/* When !tiles: why, a clause without a capital and a stop, safe for a terminal. NULL else. */
	char *why;
};

struct heap_walk_options {
	uint32_t time_ms;	/* when to give up: HEAP_WALK_TIME_MS */
	uint64_t data_bytes;	/* what the child may allocate: HEAP_WALK_DATA_BYTES; 0 = no limit (sanitizers map terabytes) */
};

#define HEAP_WALK_TIME_MS	10000
#define HEAP_WALK_DATA_BYTES	(128ull << 20)

/*
 * Walks the heap, in a process without privileges that is started for it. Not finding a heap that can be walked is no
 * error: then !tiles, and why says it. Negative errno: the process is gone (-ESRCH), may not be read (-EACCES, -EPERM),
 * memory is short, or the child could not do its work (-EPIPE, -ETIME, -EBADMSG).
 */
int heap_walk(const struct target *t, const struct heap_walk_options *options, struct heap_walk *ret);
void heap_walk_free(struct heap_walk *w);

#endif
