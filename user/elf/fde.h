/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where functions begin and end, by the unwind information of a file: it knows static and stripped ones too.
 */
#ifndef ELF_FDE_H
#define ELF_FDE_H

#include <stdbool.h>
#include <stdint.h>

#include "elf/image.h"

/* True when an FDE of .eh_frame begins exactly at va. False is no evidence: there may be no table to search. */
bool fde_starts_at(const struct image *img, uint64_t va);

struct fde_range {
	uint64_t start, end;	/* vas */
};

/* All of them, sorted by start. An image without .eh_frame has none. -ENOMEM. The caller frees *ret_list. */
int fde_ranges_read(const struct image *img, struct fde_range **ret_list, size_t *ret_cnt);
/* The one that holds va; NULL. */
const struct fde_range *fde_range_at(const struct fde_range *list, size_t cnt, uint64_t va);

#endif
