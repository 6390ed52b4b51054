/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trace/row_pack.h"

static uint32_t row_block(const struct ehframe *e, size_t row)
{
	return (e->base_va + e->rows[row].va_off) >> UNWIND_BLOCK_SHIFT;
}

static uint32_t row_word(const struct row_pack *p, size_t row)
{
	uint64_t va = p->e->base_va + p->e->rows[row].va_off;

	return (uint32_t)(va & 0xffff) << 16 | p->ids[p->e->rows[row].rule];
}

int row_pack_begin(struct row_pack *p, const struct ehframe *e, const uint16_t *ids)
{
	*p = (struct row_pack){ .e = e, .ids = ids, .rows = malloc(sizeof(struct unwind_chunk)) };
	if (!p->rows)
		return -ENOMEM;
	p->block = e->rows_cnt ? row_block(e, 0) : 0;
	return 0;
}

void row_pack_end(struct row_pack *p)
{
	free(p->rows);
	p->rows = NULL;
}

/* The rows from `row` on that lie in this block: the index behind them. */
static size_t block_end(const struct ehframe *e, size_t row, uint32_t block)
{
	while (row < e->rows_cnt && row_block(e, row) == block)
		row++;
	return row;
}

uint32_t row_pack_next(struct row_pack *p, uint32_t *words, struct row_piece *ret)
{
	const struct ehframe *e = p->e;
	uint32_t blocks_cnt = 0, rows_cnt = 0;

	if (p->row >= e->rows_cnt)
		return 0;
	/* the rule that holds where the piece begins: a search in its first block may find no row of its own */
	p->rows[rows_cnt++] = p->row ? row_word(p, p->row - 1) & 0xffff : UNWIND_RULE_NONE;
	while (p->row < e->rows_cnt) {
		size_t end = block_end(e, p->row, p->block + blocks_cnt);

		/* this block's word, the end's, and the rows */
		if (blocks_cnt + 2 + rows_cnt + (end - p->row) > UNWIND_CHUNK_WORDS)
			break;
		words[blocks_cnt++] = rows_cnt;
		for (; p->row < end; p->row++)
			p->rows[rows_cnt++] = row_word(p, p->row);
	}
	words[blocks_cnt] = rows_cnt;
	for (uint32_t i = 0; i <= blocks_cnt; i++)
		words[i] += blocks_cnt + 1;
	memcpy(words + blocks_cnt + 1, p->rows, rows_cnt * sizeof(*words));
	*ret = (struct row_piece){ .block = p->block, .blocks_cnt = blocks_cnt };
	p->block += blocks_cnt;
	return blocks_cnt + 1 + rows_cnt;
}

void row_pack_move(uint32_t *words, const struct row_piece *piece, uint32_t word)
{
	for (uint32_t i = 0; i <= piece->blocks_cnt; i++)
		words[i] += word;
}
