/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The chunks of one piece of a heap, from its first to its end, one after the other and none kept. Inside the layer.
 *
 *	│ size of the one before, if that is free │ size, flags │ … │ size of this one, if free │ size, flags │ …
 *	chunk                                                       next chunk
 *
 * A chunk is free, in a bin, when the next one's flag says that the one before is not in use; then its size stands twice,
 * which is compared. So a walk is believed when no size leads astray, each free chunk's two sizes are the same, and the end
 * is met exactly. What does not fit was most likely changed while it was read: it is read again, first from the start of what
 * was read last, then from further back.
 */
#ifndef TARGET_GLIBC_CHUNKS_H
#define TARGET_GLIBC_CHUNKS_H

#include "target/glibc_memory.h"

struct chunk_tally {
	uint64_t used_bytes, used_cnt;
	uint64_t fast_bytes, fast_cnt, fast_missed;	/* missed: no chunk is where one should be */
	uint64_t free_bytes, free_cnt, largest_free_bytes;
	uint64_t top_bytes, fence_bytes;
	uint64_t resident_bytes, swapped_bytes;
	uint64_t trim_bytes, top_resident_bytes;
};

struct chunk_piece {
	uint64_t start;
	uint64_t end;		/* of a piece without top; else where top must end, 0: not known */
	uint64_t top;		/* 0: it lies in another piece */
	uint64_t top_bytes_max;
	bool is_main;
	bool ends_early;	/* without top: it may end before `end`, at a page */
	bool top_is_brk;	/* malloc_trim() gives back what is free at the end, too */
	/* Sorted; those in this piece are looked for. */
	const uint64_t *fast;
	size_t fast_cnt;
	/* Reads end and top again, which move. Negative errno: gives up. May be NULL. */
	int (*refresh)(void *ctx, struct chunk_piece *p);
	/* A chunk in use of this size may be the cache of a thread. user: what the chunk holds, NULL where it is not read yet. */
	int (*cache)(void *ctx, uint64_t addr, uint64_t bytes, const unsigned char *user);
	void *ctx;
};

enum chunk_problem {
	CHUNK_OK,
	CHUNK_ASTRAY,		/* sizes do not lead to the end */
	CHUNK_SWAPPED,		/* a head lies in a page that is swapped out */
	CHUNK_ABSENT,		/* or in one that is not there */
	CHUNK_FOREIGN,		/* behind the end of a part is what sbrk() gave to somebody else, and no chunk near behind it */
};

struct chunk_result {
	enum chunk_problem problem;
	uint64_t at;			/* where; the end of the piece, if it is believed */
	uint64_t retries;
	struct chunk_tally tally;
};

/* 0: then ret says whether it is to be believed. -ESRCH, -ETIME, -ENOMEM, errors of the piece's functions. */
int chunks_walk(struct heap_memory *m, struct chunk_piece *piece, struct chunk_result *ret);

#endif
