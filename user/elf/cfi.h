/* SPDX-License-Identifier: GPL-2.0-only */
/* One row of call frame information -> one unwind rule. */
#ifndef ELF_CFI_H
#define ELF_CFI_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The rule of a row, by the register numbers of the x86-64 psABI (table 3.36). What UNWIND_RULE() cannot say is UNWIND_BAD.
 * ra_reg: the register that stands for the return address.
 */
uint64_t cfi_rule(Dwarf_Frame *frame, int ra_reg, bool is_signal);

/*
 * How a CIE's FDEs encode addresses (DW_EH_PE_*), and whether their instructions hold in a signal frame. False when its
 * augmentation is one that we do not know. An FDE of .debug_frame has no augmentation: absolute.
 */
bool cfi_cie_encoding(const Dwarf_CIE *cie, uint8_t *ret_encoding);

/*
 * The range of an FDE: its initial location and length, as they stand at start (the bytes are those of a section that
 * lies at section_va in memory and at section in ours). False when they are cut off, or of an encoding that is not for
 * files: indirect, relative to other sections.
 */
bool cfi_fde_range(const Dwarf_FDE *fde, uint8_t encoding, const uint8_t *section, uint64_t section_va, uint64_t *ret_start,
		   uint64_t *ret_end);

#endif
