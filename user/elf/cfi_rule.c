/* SPDX-License-Identifier: GPL-2.0-only */
#include <dwarf.h>
#include <stdbool.h>
#include <stddef.h>

#include "elf/cfi_rule.h"
#include "unwind.h"

#define REG_RBP	6
#define REG_RSP	7
#define REG_RA	16

static bool fits16(int64_t n)
{
	return n == (int16_t)n;
}

/* DW_OP_bregN offset, in its short form or with the register as an operand. */
static bool op_breg(const Dwarf_Op *op, uint64_t *ret_reg, int64_t *ret_off)
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

/* "(CFA + n)": where a register is saved. libdw puts the CFA in front of each register's expression. */
static bool op_at_cfa(const Dwarf_Op *ops, size_t cnt, int64_t *ret_off)
{
	if (!cnt || cnt > 2 || ops[0].atom != DW_OP_call_frame_cfa)
		return false;
	if (cnt == 2 && ops[1].atom != DW_OP_plus_uconst)
		return false;
	*ret_off = cnt == 2 ? (int64_t)ops[1].number : 0;
	return true;
}

/*
 * The linkers' expression for .plt: rsp + 8 + ((rip & 15) >= n) * 8. n is where the entry has pushed (binutils,
 * elf_x86_64_eh_frame_lazy_plt and its like: 11; behind endbr64 9; with MPX 5). 0: it is something else.
 */
static int32_t plt_pushed(const Dwarf_Op *ops, size_t cnt)
{
	static const struct { uint8_t atom, number; } plt[] = {
		{ DW_OP_breg7, 8 }, { DW_OP_breg16, 0 }, { DW_OP_lit15, 0 }, { DW_OP_and, 0 }, { 0 /* n */, 0 },
		{ DW_OP_ge, 0 }, { DW_OP_lit3, 0 }, { DW_OP_shl, 0 }, { DW_OP_plus, 0 },
	};

	if (cnt != sizeof(plt) / sizeof(plt[0]) || ops[4].atom < DW_OP_lit1 || ops[4].atom > DW_OP_lit15)
		return 0;
	for (size_t i = 0; i < cnt; i++)
		if ((plt[i].atom && ops[i].atom != plt[i].atom) || ops[i].number != plt[i].number)
			return 0;
	return ops[4].atom - DW_OP_lit0;
}

/* Kind and operand of the CFA. */
static unsigned int cfa_kind(const Dwarf_Op *ops, size_t cnt, int32_t *ret)
{
	int64_t off, add = 0;
	uint64_t reg;

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
	*ret = plt_pushed(ops, cnt);
	return *ret ? UNWIND_PLT : UNWIND_BAD;
}

static unsigned int bp_kind(Dwarf_Frame *frame, int64_t *ret_off)
{
	Dwarf_Op mem[3], *ops;
	size_t cnt;

	*ret_off = 0;
	if (dwarf_frame_register(frame, REG_RBP, mem, &ops, &cnt))
		return UNWIND_BP_UNDEFINED;
	if (!cnt)
		return ops ? UNWIND_BP_UNDEFINED : UNWIND_BP_SAME;
	if (op_at_cfa(ops, cnt, ret_off))
		return fits16(*ret_off) ? UNWIND_BP_CFA : UNWIND_BP_UNDEFINED;
	if (cnt == 2 && ops[0].atom == DW_OP_call_frame_cfa && ops[1].atom == DW_OP_breg6 && !ops[1].number)
		return UNWIND_BP_AT_BP;
	return UNWIND_BP_UNDEFINED;
}

/* Whether the caller's stack pointer is the CFA, as it is unless something else is said. */
static bool sp_is_usual(Dwarf_Frame *frame)
{
	Dwarf_Op mem[3], *ops;
	size_t cnt;

	return !dwarf_frame_register(frame, REG_RSP, mem, &ops, &cnt) && cnt == 2 &&
	       ops[0].atom == DW_OP_call_frame_cfa && ops[1].atom == DW_OP_stack_value;
}

/*
 * Whether what was interrupted is where the kernel's ucontext has it (rt_sigframe of x86-64: rsp at 160, rip at 168 above sp):
 * what glibc says of its __restore_rt.
 */
static bool is_ucontext(Dwarf_Frame *frame)
{
	Dwarf_Op mem[3], *ops;
	size_t cnt;

	if (dwarf_frame_register(frame, REG_RA, mem, &ops, &cnt) || cnt != 2 || ops[1].atom != DW_OP_breg7 ||
	    ops[1].number != UNWIND_UCONTEXT_PC)
		return false;
	return !dwarf_frame_cfa(frame, &ops, &cnt) && cnt == 2 && ops[0].atom == DW_OP_breg7 &&
	       ops[0].number == UNWIND_UCONTEXT_SP && ops[1].atom == DW_OP_deref;
}

uint64_t cfi_rule(Dwarf_Frame *frame, bool is_signal)
{
	const uint64_t bad = UNWIND_RULE(UNWIND_BAD, 0, 0, 0);
	unsigned int kind, bp;
	Dwarf_Op mem[3], *ops;
	int64_t ra_off, bp_off;
	int32_t cfa = 0;
	size_t cnt;

	if (dwarf_frame_register(frame, REG_RA, mem, &ops, &cnt))
		return bad;
	if (is_signal)
		return is_ucontext(frame) ? UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0) : bad;
	if (!cnt && ops == mem)
		return UNWIND_RULE(UNWIND_END, 0, 0, 0);
	/* where a call leaves it */
	if (!op_at_cfa(ops, cnt, &ra_off) || ra_off != -8 || !sp_is_usual(frame))
		return bad;
	if (dwarf_frame_cfa(frame, &ops, &cnt))
		return bad;
	kind = cfa_kind(ops, cnt, &cfa);
	if (kind == UNWIND_BAD)
		return bad;
	if (kind == UNWIND_PLT)
		return UNWIND_RULE(UNWIND_PLT, cfa, 0, 0);
	bp = bp_kind(frame, &bp_off);
	return UNWIND_RULE(kind, cfa, bp, bp == UNWIND_BP_CFA ? bp_off : 0);
}
