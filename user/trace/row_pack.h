/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rows of a file as the kernel has them: cut into pieces that fit into chunks, each an index by blocks and the rows
 * behind it (layout: bpf/abi.h). Pure.
 */
#ifndef TRACE_ROW_PACK_H
#define TRACE_ROW_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "elf/ehframe.h"

struct row_piece {
	uint32_t block, blocks_cnt;	/* va >> UNWIND_BLOCK_SHIFT */
	uint32_t chunk, word;		/* where its index begins */
};

/* Where packing stands; begin with row_pack_begin(). */
struct row_pack {
	const struct ehframe *e;
	const uint16_t *ids;	/* the file's numbers of rules -> the dictionary's */
	uint32_t *rows;		/* room for those of a piece: UNWIND_CHUNK_WORDS */
	uint32_t block;
	size_t row;		/* the first that is in no piece yet */
};

/* e and ids are borrowed. -ENOMEM. */
int row_pack_begin(struct row_pack *p, const struct ehframe *e, const uint16_t *ids);
void row_pack_end(struct row_pack *p);

/*
 * The next piece into words (of UNWIND_CHUNK_WORDS), as if it began at word 0 of a chunk; its blocks into *ret. Returns how
 * many words it has, 0 when there is none left.
 */
uint32_t row_pack_next(struct row_pack *p, uint32_t *words, struct row_piece *ret);
/* The same piece, beginning at another word: its index counts from the beginning of the chunk. */
void row_pack_move(uint32_t *words, const struct row_piece *piece, uint32_t word);

#endif
