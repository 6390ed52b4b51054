/* SPDX-License-Identifier: GPL-2.0-only */
/* One row of call frame information -> one unwind rule. */
#ifndef ELF_CFI_RULE_H
#define ELF_CFI_RULE_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The rule of a row, by the register numbers of the x86-64 psABI (table 3.36). What UNWIND_RULE() cannot say is
 * UNWIND_BAD.
 */
uint64_t cfi_rule(Dwarf_Frame *frame, bool is_signal);

#endif
