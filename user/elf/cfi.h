/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The entries of call frame information, taken apart and checked as far as libdw does not: what is handed out here may
 * be given to it.
 */
#ifndef ELF_CFI_H
#define ELF_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfi_section;
struct cfi_reader;

/* Instructions, DW_CFA_*, without what only fills up. */
struct cfi_program {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t rows_cnt;	/* that they describe, at most */
	uint32_t states_cnt;	/* that they remember */
};

struct cfi_cie {
	uint64_t off;		/* in the section */
	bool is_usable;		/* false: nothing else here holds */
	bool is_signal;		/* its functions are signal frames */
	bool has_augmentation;	/* so have its FDEs */
	uint8_t encoding;	/* DW_EH_PE_* of the addresses in its FDEs */
	uint8_t code_align;
	int8_t data_align;
	uint64_t ra_reg;	/* stands for the return address */
	struct cfi_program program;
};

struct cfi_fde {
	uint64_t start, end;
	uint32_t cie;
	struct cfi_program program;
};

/* s is borrowed. NULL: out of memory. */
struct cfi_reader *cfi_reader_new(const struct cfi_section *s);
struct cfi_reader *cfi_reader_free(struct cfi_reader *r);

/*
 * The next FDE of the section: 1 and *ret, 0 at its end, -ENOMEM. One that is damaged, empty, or encoded in a way that
 * is not for files is left out and counted.
 */
int cfi_next(struct cfi_reader *r, struct cfi_fde *ret);
uint64_t cfi_left_out(const struct cfi_reader *r);
/* Valid up to the next cfi_next(). */
const struct cfi_cie *cfi_cie(const struct cfi_reader *r, uint32_t index);

#endif
