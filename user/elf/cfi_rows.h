/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions of call frame information -> unwind rules, by libdw. Many functions have the same instructions (node's
 * 75,922 have 31,192 programs): each is run once.
 */
#ifndef ELF_CFI_ROWS_H
#define ELF_CFI_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "elf/cfi.h"

struct cfi_rows;

/* From so many bytes behind a function's start on. */
struct cfi_row {
	uint32_t off;
	uint32_t rule;		/* index in cfi_rows_rules() */
};

/* r is borrowed, and so are the bytes that it reads. NULL: out of memory. */
struct cfi_rows *cfi_rows_new(const struct cfi_reader *r);
struct cfi_rows *cfi_rows_free(struct cfi_rows *c);

/* Adds the program of an FDE of the reader. 0, -ENOMEM, or -E2BIG: it would cost too much. */
int cfi_rows_add(struct cfi_rows *c, const struct cfi_fde *fde, uint32_t *ret);
/* The same for one row: a rule, UNWIND_RULE(), that holds in all of a function. */
int cfi_rows_add_rule(struct cfi_rows *c, uint64_t rule, uint32_t *ret);
/* When all are added. 0 or -ENOMEM. */
int cfi_rows_run(struct cfi_rows *c);

/* Rows of what was added, by rising off; the first has 0. */
const struct cfi_row *cfi_rows_at(const struct cfi_rows *c, uint32_t index, size_t *ret_cnt);
/* All rules, each once, 0 first: handed over to the caller. */
uint64_t *cfi_rows_rules(struct cfi_rows *c, size_t *ret_cnt);

#endif
