/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unwind rows of a file: what .eh_frame (or .debug_frame, where that is all there is) says about finding a function's
 * caller, as a sorted table. Read with libdw; nothing here interprets DWARF by itself.
 */
#ifndef ELF_EHFRAME_H
#define ELF_EHFRAME_H

#include <stddef.h>
#include <stdint.h>

#include "unwind.h"

struct image;

/* Holds from its va up to the next row's. rule: index in rules; 0 = a gap that no FDE covers. */
struct ehframe_row {
	uint32_t va_off;	/* va - base_va */
	uint32_t rule;
};

struct ehframe {
	uint64_t base_va;	/* of the first row, down to a multiple of UNWIND_BLOCK_BYTES */
	struct ehframe_row *rows;	/* sorted, no two with one va, no two neighbours with one rule; the last is a gap */
	size_t rows_cnt;
	uint64_t *rules;	/* UNWIND_RULE() words, each once; rules[0] is 0 */
	size_t rules_cnt;
};

/*
 * Rows of an image. -ENOENT: it has no unwind information. -EOPNOTSUPP: a machine that has no rows (all but x86-64).
 * -ENOEXEC: it lies, and no row could be made. -ENOMEM. Of a file that lies in places the rest is used.
 */
int ehframe_read(const struct image *img, struct ehframe *ret);
void ehframe_free(struct ehframe *e);

#endif
