/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Formats: DWARF 5, 6.4; the augmentation of .eh_frame and its pointer encodings: Linux Standard Base Core, 10.5 and 10.6.
 */
#include <dwarf.h>
#include <string.h>

#include "elf/cfi.h"
#include "unwind.h"

#define REG_RBP	6
#define REG_RSP	7

static uint64_t rule_bad(void)
{
	return UNWIND_RULE(UNWIND_BAD, 0, 0, 0);
}

static bool fits16(int64_t n)
{
	return n == (int16_t)n;
}

/* DW_OP_bregN offset, in its short form or with the register as an operand. */
static bool op_breg(const Dwarf_Op *op, unsigned int *ret_reg, int64_t *ret_off)
{
	if (op->atom == DW_OP_bregx) {
		*ret_reg = op->number;
		*ret_off = (int64_t)op->number2;
		return true;
	}
	if (op->atom < DW_OP_breg0 || op->atom > DW_OP_breg31)
		return false;
	*ret_reg = op->atom - DW_OP_breg0;
	*ret_off = (int64_t)op->number;
	return true;
}

/* "(CFA + n)": where a register is saved. */
static bool op_at_cfa(const Dwarf_Op *ops, size_t cnt, int64_t *ret_off)
{
	if (!cnt || cnt > 2 || ops[0].atom != DW_OP_call_frame_cfa)
		return false;
	if (cnt == 2 && ops[1].atom != DW_OP_plus_uconst)
		return false;
	*ret_off = cnt == 2 ? (int64_t)ops[1].number : 0;
	return true;
}

/* Kind and operand of the CFA. */
static unsigned int cfa_kind(const Dwarf_Op *ops, size_t cnt, int32_t *ret)
{
	int64_t off, add = 0;
	unsigned int reg;

	if (!cnt || !op_breg(&ops[0], &reg, &off) || (reg != REG_RSP && reg != REG_RBP))
		return UNWIND_BAD;
	if (cnt == 1) {
		*ret = off;
		return off != (int32_t)off ? UNWIND_BAD : reg == REG_RSP ? UNWIND_SP : UNWIND_BP;
	}
	/* functions that realign their stack keep the CFA in a slot */
	if (ops[1].atom == DW_OP_deref && (cnt == 2 || (cnt == 3 && ops[2].atom == DW_OP_plus_uconst))) {
		if (cnt == 3)
			add = (int64_t)ops[2].number;
		*ret = (int32_t)((uint32_t)(uint16_t)off | (uint32_t)add << 16);
		return !fits16(off) || !fits16(add) ? UNWIND_BAD : reg == REG_RSP ? UNWIND_SP_DEREF : UNWIND_BP_DEREF;
	}
	/* the linkers' expression for .plt: rsp + 8 + ((rip & 15) >= 11) * 8 */
	if (cnt > 4 && reg == REG_RSP && off == 8 && op_breg(&ops[1], &reg, &off) && reg == 16 && !off)
		return UNWIND_PLT;
	return UNWIND_BAD;
}

static unsigned int bp_kind(Dwarf_Frame *frame, int64_t *ret_off)
{
	Dwarf_Op mem[3], *ops;
	size_t cnt;

	*ret_off = 0;
	if (dwarf_frame_register(frame, REG_RBP, mem, &ops, &cnt))
		return UNWIND_BP_UNDEFINED;
	if (!cnt)
		return ops == mem ? UNWIND_BP_UNDEFINED : UNWIND_BP_SAME;
	if (op_at_cfa(ops, cnt, ret_off))
		return fits16(*ret_off) ? UNWIND_BP_CFA : UNWIND_BP_UNDEFINED;
	if (cnt == 1 && ops[0].atom == DW_OP_breg6 && !ops[0].number)
		return UNWIND_BP_AT_BP;
	return UNWIND_BP_UNDEFINED;
}

/* Whether the return address is where a call leaves it. */
static bool ra_is_usual(Dwarf_Frame *frame, int ra_reg, bool *ret_undefined)
{
	Dwarf_Op mem[3], *ops;
	int64_t off;
	size_t cnt;

	*ret_undefined = false;
	if (dwarf_frame_register(frame, ra_reg, mem, &ops, &cnt))
		return false;
	*ret_undefined = !cnt && ops == mem;
	return op_at_cfa(ops, cnt, &off) && off == -8;
}

uint64_t cfi_rule(Dwarf_Frame *frame, int ra_reg, bool is_signal)
{
	bool undefined, usual;
	unsigned int kind, bp;
	int32_t cfa = 0;
	int64_t bp_off;
	Dwarf_Op *ops;
	size_t cnt;

	if (is_signal)
		return UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0);
	usual = ra_is_usual(frame, ra_reg, &undefined);
	if (undefined)
		return UNWIND_RULE(UNWIND_END, 0, 0, 0);
	if (!usual || dwarf_frame_cfa(frame, &ops, &cnt))
		return rule_bad();
	kind = cfa_kind(ops, cnt, &cfa);
	if (kind == UNWIND_BAD)
		return rule_bad();
	if (kind == UNWIND_PLT)
		return UNWIND_RULE(UNWIND_PLT, 0, 0, 0);
	bp = bp_kind(frame, &bp_off);
	return UNWIND_RULE(kind, cfa, bp, bp == UNWIND_BP_CFA ? bp_off : 0);
}

/* Bytes of a pointer in this encoding; 0 = none that we read. */
static size_t encoding_bytes(uint8_t encoding)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	default:
		return 0;
	}
}

bool cfi_cie_encoding(const Dwarf_CIE *cie, uint8_t *ret_encoding)
{
	const uint8_t *data = cie->augmentation_data, *end = data + cie->augmentation_data_size;
	const char *aug = cie->augmentation;

	*ret_encoding = DW_EH_PE_absptr;
	if (!*aug)
		return true;
	if (*aug++ != 'z')
		return false;
	for (; *aug; aug++) {
		if (*aug == 'S' || *aug == 'B')
			continue;
		if (data >= end)
			return false;
		if (*aug == 'R') {
			*ret_encoding = *data++;
		} else if (*aug == 'L') {
			data++;
		} else if (*aug == 'P') {
			if (!encoding_bytes(*data) || (size_t)(end - data) < 1 + encoding_bytes(*data))
				return false;
			data += 1 + encoding_bytes(*data);
		} else {
			return false;
		}
	}
	return true;
}

static uint64_t read_number(const uint8_t *at, uint8_t encoding)
{
	bool is_signed = encoding & 0x08;
	uint64_t n8;
	uint32_t n4;
	uint16_t n2;

	switch (encoding_bytes(encoding)) {
	case 8:
		memcpy(&n8, at, sizeof(n8));
		return n8;
	case 4:
		memcpy(&n4, at, sizeof(n4));
		return is_signed ? (uint64_t)(int32_t)n4 : n4;
	default:
		memcpy(&n2, at, sizeof(n2));
		return is_signed ? (uint64_t)(int16_t)n2 : n2;
	}
}

bool cfi_fde_range(const Dwarf_FDE *fde, uint8_t encoding, const uint8_t *section, uint64_t section_va, uint64_t *ret_start,
		   uint64_t *ret_end)
{
	size_t bytes = encoding_bytes(encoding);
	uint64_t start, len;

	if (!bytes || (size_t)(fde->end - fde->start) < 2 * bytes)
		return false;
	start = read_number(fde->start, encoding);
	switch (encoding & 0xf0) {
	case DW_EH_PE_absptr:
		break;
	case DW_EH_PE_pcrel:
		start += section_va + (fde->start - section);
		break;
	default:
		return false;
	}
	/* the length is no pointer: the encoding's width only, and never negative */
	len = read_number(fde->start + bytes, encoding & 0x07);
	*ret_start = start;
	*ret_end = start + len;
	return *ret_end >= start;
}
