/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where functions begin, by the unwind information of a file: it knows static and stripped ones too.
 */
#ifndef ELF_FDE_H
#define ELF_FDE_H

#include <stdbool.h>
#include <stdint.h>

#include "elf/image.h"

/* True when an FDE of .eh_frame begins exactly at va. False is no evidence: there may be no table to search. */
bool fde_starts_at(const struct image *img, uint64_t va);

#endif
