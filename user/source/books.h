/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reader's side of the kernel's table of live blocks (bpf/blocks.bpf.h): keeps it stocked with chunks,
 * and reads it.
 */
#ifndef SOURCE_BOOKS_H
#define SOURCE_BOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"

struct books;

/* Kernel memory that several books share: one that grows leaves the others less. */
struct books_room {
	uint64_t max_bytes;
	uint64_t used_bytes;	/* of all, also what others than books take */
};

/*
 * outer_fd: the map blocks_chunks, borrowed. index: in memory shared with the kernel, borrowed.
 * Sets up the generations that fit into max_bytes and stocks the first two. At least 1 MiB is used.
 */
int books_open(int outer_fd, struct blocks_index *index, uint64_t max_bytes, struct books **ret);
struct books *books_free(struct books *b);
/* From here on it grows only as far as there is room; what it has counts. Borrowed until books_free(). */
void books_share(struct books *b, struct books_room *room);

/*
 * The program that empties older generations (leak_drain) and the state it works on; both borrowed. Without
 * it blocks stay where they are, and a search has several places to look at.
 */
void books_set_drain(struct books *b, int prog_fd, struct leak_state *state);

/*
 * Stocks the generation that the kernel asks for, if the limit and the room allow, and goes on emptying older ones, for
 * a few milliseconds. Call it at each event and every second; cheap when there is nothing to do. A negative
 * errno when the kernel refuses the memory, -ENOSPC when there is no room: the books then stay as large as they are.
 */
int books_tend(struct books *b);

uint64_t books_bytes(const struct books *b);	/* kernel memory of all chunks */

/*
 * Calls fn for each live block. Chunks are mapped one after the other, so the reader needs 1 MiB. Each
 * block is read consistently; the table as a whole is not one instant.
 */
int books_each(struct books *b, void (*fn)(const struct block_slot *block, void *ctx), void *ctx);

#endif
