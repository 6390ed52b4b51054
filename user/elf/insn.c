/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A probe that lands in the middle of an instruction kills the target, one behind a changed register
 * tells lies. So a site other than the entry needs three proofs:
 *
 *	line	straight-line code from the entry to the site, each instruction of a kind that is listed
 *		here as writing its first operand or nothing, and that operand is nothing the probe reads
 *	sweep	the whole function decodes from the entry to exactly its end, and every direct branch in it
 *		meets the start of an instruction: had decoding slipped, these would disagree
 *	once	nothing comes to the site but a call of the function: no direct branch aims between the entry
 *		and the end of the site
 *
 * Branches whose targets are not seen (jump tables; a part of the function in another section, .cold,
 * that jumps back) could aim before the site only if a loop begins there. Before a `push` none can: each
 * turn would push once more, and compilers run a prologue once. Before another site one can, so there
 * such a branch keeps the probe at the entry. An unconditional direct jump out of the function is a
 * tail call and none of these: compilers reach .cold by conditional jumps.
 *
 * The kernel's rules are those of Linux 6.1 to 6.18, arch/x86/kernel/uprobes.c: branch_setup_xol_ops(),
 * push_setup_xol_ops(), uprobe_init_insn(). Where they differ, the narrower one holds:
 *	- of the nops only 90 is emulated everywhere. 66 90 is refused by 6.1 as first released, longer
 *	  ones are emulated since 6.17, and a nop of 5 bytes (of 10, later) is rewritten to a call, which
 *	  writes below the stack pointer. They are stepped over, never chosen.
 *	- branches with any prefix are not counted as emulated: with 66 the probe is refused.
 */
#include <capstone/capstone.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elf/insn.h"

struct code {
	const unsigned char *bytes;
	size_t len;
	uint64_t va;
	unsigned int args_cnt;	/* registers that must reach the site unchanged */
	csh handle;
	cs_insn *insn;	/* what code_decode() decoded last */
};

static int code_open(struct code *c)
{
#if defined(__aarch64__)
	if (cs_open(CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN, &c->handle) != CS_ERR_OK)
		return -ENOMEM;
#else
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &c->handle) != CS_ERR_OK)
		return -ENOMEM;
#endif
	cs_option(c->handle, CS_OPT_DETAIL, CS_OPT_ON);
	c->insn = cs_malloc(c->handle);
	if (!c->insn) {
		cs_close(&c->handle);
		return -ENOMEM;
	}
	return 0;
}

static void code_close(struct code *c)
{
	cs_free(c->insn, 1);
	cs_close(&c->handle);
}

static bool code_decode(struct code *c, size_t off)
{
	const uint8_t *at = c->bytes + off;
	size_t left = c->len - off;
	uint64_t va = c->va + off;

	return off < c->len && cs_disasm_iter(c->handle, &at, &left, &va, c->insn);
}

static void site_set(struct insn_site *site, const struct code *c, size_t off, const char *reason)
{
	const cs_insn *insn = c->insn;

	site->delta_bytes = off;
	site->emulated = insn_is_emulated(c->bytes + off, c->len - off, c->va + off);
	site->reason = reason;
	snprintf(site->text, sizeof(site->text), "%.15s%s%.47s", insn->mnemonic, *insn->op_str ? " " : "", insn->op_str);
}

#if defined(__x86_64__)

/* Far enough for every prologue seen; a site further in is no longer the entry of anything. */
#define SITE_MAX_BYTES 64
/* No allocator function comes near; bounds the work on a symbol that lies. */
#define FUNCTION_MAX_BYTES ((size_t)64 << 10)

#define WHY_ARGUMENT	"entry: an argument register is written before the next emulated instruction"
#define WHY_STACK	"entry: the stack changes before the next emulated instruction"
#define WHY_MEMORY	"entry: memory is written before the next emulated instruction"
#define WHY_LEAVES	"entry: control leaves before the next emulated instruction"
#define WHY_KIND	"entry: an instruction that is not known to be harmless comes before the next emulated one"
#define WHY_FAR		"entry: the next emulated instruction is too far"
#define WHY_END		"entry: the function ends before an emulated instruction"
#define WHY_NO_SIZE	"entry: the size of the function is unknown"
#define WHY_LARGE	"entry: the function is too large to be checked"
#define WHY_DECODE	"entry: the function does not decode from its entry to its end"
#define WHY_BACK	"entry: a branch jumps back to before the next emulated instruction"
#define WHY_UNSEEN	"entry: branches with unseen targets might jump back to before the next emulated instruction"

/* push_setup_xol_ops() knows no prefix but 41 (REX.B). */
static bool is_push_reg(const unsigned char *code, size_t len)
{
	if (len >= 2 && code[0] == 0x41)
		code++;
	return len && code[0] >= 0x50 && code[0] <= 0x57;
}

bool insn_is_emulated(const unsigned char *code, size_t len, uint64_t va)
{
	(void)va;
	if (!len)
		return false;
	if (is_push_reg(code, len) || code[0] == 0x90)
		return true;
	if (code[0] == 0xe8 || code[0] == 0xe9)		/* call, jmp rel32 */
		return len >= 5;
	if (code[0] == 0xeb || (code[0] & 0xf0) == 0x70)	/* jmp, jcc rel8 */
		return len >= 2;
	return len >= 6 && code[0] == 0x0f && (code[1] & 0xf0) == 0x80;	/* jcc rel32 */
}

static bool is_relative_branch(unsigned char op, unsigned char op2)
{
	return op == 0xe8 || op == 0xe9 || op == 0xeb || (op & 0xf0) == 0x70 || (op == 0x0f && (op2 & 0xf0) == 0x80);
}

/* One-byte opcodes that uprobe_init_insn() has no bit for, those of good_insns_64 that are 0. */
static bool is_bad_opcode(unsigned char op)
{
	static const unsigned char bad[] = {
		0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62, 0x6c, 0x6d, 0x6e,
		0x6f, 0x82, 0x9a, 0xcc, 0xcd, 0xce, 0xcf, 0xd4, 0xd5, 0xd6, 0xe4, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xed,
		0xee, 0xef, 0xf1, 0xf4, 0xfa, 0xfb,
	};

	return memchr(bad, op, sizeof(bad));
}

/*
 * Whether an instruction must not be probed even at the entry: the kernel refuses it, or takes it for
 * another one. It looks for the emulated opcodes behind REX and VEX prefixes too, where 90 is xchg and
 * 70 to 7f are vector instructions: these would be skipped, or jump.
 */
static bool is_unprobeable(const unsigned char *code, size_t len)
{
	unsigned char rex = 0, op, op2;
	bool operand_size = false;
	size_t i = 0;

	for (; i < len && memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", code[i], 11); i++) {
		if (memchr("\x26\x2e\x36\x3e\xf0", code[i], 5))	/* is_prefix_bad(): es, cs, ss, ds, lock */
			return true;
		operand_size |= code[i] == 0x66;
	}
	if (i < len && (code[i] & 0xf0) == 0x40)
		rex = code[i++];
	if (i == len)
		return true;
	op = code[i];
	op2 = i + 1 < len ? code[i + 1] : 0;
	if (op == 0xc4 || op == 0xc5 || (op == 0x8f && (op2 & 0x38)) || (op == 0x90 && (rex & 1)))
		return true;
	if (operand_size && is_relative_branch(op, op2))
		return true;
	if (op == 0x8e && (op2 & 0x38) == 0x10)			/* insn_masking_exception(): mov ss */
		return true;
	if (op == 0x0f && (op2 == 0x05 || op2 == 0x0b || op2 == 0x34))	/* syscall, ud2, sysenter */
		return true;
	return is_bad_opcode(op);
}

/*
 * NULL when the register may be written before the site: nobody reads it there. Of the registers that
 * arguments come in, those behind the first args_cnt are free.
 */
static const char *register_why_not(x86_reg reg, unsigned int args_cnt)
{
	switch (reg) {
	case X86_REG_RAX: case X86_REG_EAX: case X86_REG_AX: case X86_REG_AL: case X86_REG_AH:
	case X86_REG_R10: case X86_REG_R10D: case X86_REG_R10W: case X86_REG_R10B:
	case X86_REG_R11: case X86_REG_R11D: case X86_REG_R11W: case X86_REG_R11B:
		return NULL;
	case X86_REG_RDI: case X86_REG_EDI: case X86_REG_DI: case X86_REG_DIL:
		return args_cnt > 0 ? WHY_ARGUMENT : NULL;
	case X86_REG_RSI: case X86_REG_ESI: case X86_REG_SI: case X86_REG_SIL:
		return args_cnt > 1 ? WHY_ARGUMENT : NULL;
	case X86_REG_RDX: case X86_REG_EDX: case X86_REG_DX: case X86_REG_DL: case X86_REG_DH:
		return args_cnt > 2 ? WHY_ARGUMENT : NULL;
	case X86_REG_RCX: case X86_REG_ECX: case X86_REG_CX: case X86_REG_CL: case X86_REG_CH:
		return args_cnt > 3 ? WHY_ARGUMENT : NULL;
	case X86_REG_R8: case X86_REG_R8D: case X86_REG_R8W: case X86_REG_R8B:
		return args_cnt > 4 ? WHY_ARGUMENT : NULL;
	case X86_REG_R9: case X86_REG_R9D: case X86_REG_R9W: case X86_REG_R9B:
		return args_cnt > 5 ? WHY_ARGUMENT : NULL;
	case X86_REG_RSP: case X86_REG_ESP: case X86_REG_SP: case X86_REG_SPL:
	/* Walks by frame pointer start from it. */
	case X86_REG_RBP: case X86_REG_EBP: case X86_REG_BP: case X86_REG_BPL:
		return WHY_STACK;
	default:
		return reg >= X86_REG_XMM0 && reg <= X86_REG_XMM15 ? NULL : WHY_KIND;
	}
}

/* Only stores to a variable: at a fixed address, or of the thread. Anything else might be the stack. */
static bool store_is_harmless(const x86_op_mem *mem)
{
	if (mem->base == X86_REG_RSP || mem->base == X86_REG_RBP)
		return false;
	return mem->segment == X86_REG_FS || (mem->base == X86_REG_RIP && mem->index == X86_REG_INVALID);
}

/* Capstone 4.0 has loop in none of its groups. */
static bool is_jump(const struct code *c)
{
	switch (c->insn->id) {
	case X86_INS_LOOP: case X86_INS_LOOPE: case X86_INS_LOOPNE:
		return true;
	}
	return cs_insn_group(c->handle, c->insn, CS_GRP_JUMP);
}

/* NULL when the instruction may stand before the site. What is not listed may not. */
static const char *step_why_not(const struct code *c)
{
	const cs_x86 *x86 = &c->insn->detail->x86;

	switch (c->insn->id) {
	case X86_INS_NOP: case X86_INS_ENDBR64: case X86_INS_TEST: case X86_INS_CMP: case X86_INS_BT:
		return NULL;
	case X86_INS_PUSH: case X86_INS_POP: case X86_INS_PUSHFQ: case X86_INS_POPFQ: case X86_INS_ENTER:
	case X86_INS_LEAVE:
		return WHY_STACK;
	case X86_INS_SYSCALL: case X86_INS_UD2: case X86_INS_HLT: case X86_INS_INT3: case X86_INS_INT:
		return WHY_LEAVES;
	case X86_INS_IMUL:
		if (x86->op_count < 2)	/* rdx:rax */
			return WHY_ARGUMENT;
		break;
	case X86_INS_MOV: case X86_INS_MOVABS: case X86_INS_MOVZX: case X86_INS_MOVSX: case X86_INS_MOVSXD:
	case X86_INS_LEA: case X86_INS_ADD: case X86_INS_SUB: case X86_INS_AND: case X86_INS_OR: case X86_INS_XOR:
	case X86_INS_NOT: case X86_INS_NEG: case X86_INS_INC: case X86_INS_DEC:
	case X86_INS_SHL: case X86_INS_SHR: case X86_INS_SAR:
	case X86_INS_CMOVE: case X86_INS_CMOVNE: case X86_INS_CMOVA: case X86_INS_CMOVAE: case X86_INS_CMOVB:
	case X86_INS_CMOVBE: case X86_INS_SETE: case X86_INS_SETNE: case X86_INS_SETA: case X86_INS_SETAE:
	case X86_INS_SETB: case X86_INS_SETBE:
	case X86_INS_PXOR: case X86_INS_XORPS: case X86_INS_MOVD: case X86_INS_MOVQ: case X86_INS_MOVAPS:
	case X86_INS_MOVUPS: case X86_INS_MOVDQA: case X86_INS_MOVDQU:
		break;
	default:
		if (is_jump(c) || cs_insn_group(c->handle, c->insn, CS_GRP_CALL) ||
		    cs_insn_group(c->handle, c->insn, CS_GRP_RET))
			return WHY_LEAVES;
		return WHY_KIND;
	}
	/* All of these write their first operand and flags. */
	if (x86->op_count && x86->operands[0].type == X86_OP_REG)
		return register_why_not(x86->operands[0].reg, c->args_cnt);
	if (x86->op_count && x86->operands[0].type == X86_OP_MEM)
		return store_is_harmless(&x86->operands[0].mem) ? NULL : WHY_MEMORY;
	return WHY_KIND;
}

/* First proof. NULL and the first emulated instruction, or why there is none to use. */
static const char *line_find(struct code *c, size_t *ret_site)
{
	const char *why;

	for (size_t off = 0; off <= SITE_MAX_BYTES; off += c->insn->size) {
		if (off == c->len)
			return WHY_END;
		if (!code_decode(c, off))
			return WHY_DECODE;
		if (insn_is_emulated(c->bytes + off, c->len - off, c->va + off)) {
			*ret_site = off;
			return NULL;
		}
		why = step_why_not(c);
		if (why)
			return why;
	}
	return WHY_FAR;
}

/* Marks the start of each instruction. False when they do not fill the function exactly. */
static bool sweep_mark(struct code *c, unsigned char *starts)
{
	for (size_t off = 0; off < c->len; off += c->insn->size) {
		if (!code_decode(c, off))
			return false;
		starts[off] = 1;
	}
	return true;
}

/* glibc skips the lock prefix of an instruction by a jump behind it where there is one thread. */
static bool is_landing(const struct code *c, const unsigned char *starts, uint64_t off)
{
	return starts[off] || (off && starts[off - 1] && c->bytes[off - 1] == 0xf0);
}

/*
 * Second and third proof for one instruction of the function; site_end is behind the one at the site.
 * *unseen is set by a branch of which one cannot tell that it does not come back.
 */
static const char *branch_why_not(const struct code *c, const unsigned char *starts, size_t site_end, bool *unseen)
{
	const cs_x86 *x86 = &c->insn->detail->x86;
	bool jump = is_jump(c);
	uint64_t to;

	if ((!jump && !cs_insn_group(c->handle, c->insn, CS_GRP_CALL)) || !x86->op_count)
		return NULL;
	if (x86->operands[0].type != X86_OP_IMM) {
		/* A call comes back behind itself; a jump through one fixed word (PLT) is a tail call. */
		if (jump && (x86->operands[0].type != X86_OP_MEM || x86->operands[0].mem.base != X86_REG_RIP))
			*unseen = true;
		return NULL;
	}
	/* Intel ignores the prefix, AMD takes 16 bits: the length is not known. */
	if (x86->prefix[2] == X86_PREFIX_OPSIZE && !(x86->rex & 8))
		return WHY_DECODE;
	to = (uint64_t)x86->operands[0].imm - c->va;
	if (to >= c->len) {
		if (jump && c->insn->id != X86_INS_JMP)
			*unseen = true;
		return NULL;
	}
	if (to && to < site_end)
		return WHY_BACK;
	return is_landing(c, starts, to) ? NULL : WHY_DECODE;
}

/* *ret_why = NULL when the site holds. */
static int sweep_check(struct code *c, size_t site, const char **ret_why)
{
	unsigned char *starts = calloc(1, c->len);
	const char *why = NULL;
	bool unseen = false;
	size_t site_end;

	if (!starts)
		return -ENOMEM;
	if (!sweep_mark(c, starts))
		why = WHY_DECODE;
	for (site_end = site + 1; site_end < c->len && !starts[site_end]; site_end++)
		;
	for (size_t off = 0; off < c->len && !why; off += c->insn->size)
		why = code_decode(c, off) ? branch_why_not(c, starts, site_end, &unseen) : WHY_DECODE;
	if (!why && unseen && !is_push_reg(c->bytes + site, c->len - site))
		why = WHY_UNSEEN;
	free(starts);
	*ret_why = why;
	return 0;
}

/* What insn_site_find() does once the entry is known to be probeable and is in ret. */
static int site_move(struct code *c, bool size_known, struct insn_site *ret)
{
	const char *why = NULL;
	size_t site = 0;
	int err = 0;

	if (ret->emulated)
		ret->reason = "entry is emulated";
	else if (!size_known)
		ret->reason = WHY_NO_SIZE;
	else if (c->len > FUNCTION_MAX_BYTES)
		ret->reason = WHY_LARGE;
	else
		why = line_find(c, &site);
	if (!site && !why)
		return 0;
	if (!why)
		err = sweep_check(c, site, &why);
	if (err)
		return err;
	if (why)
		ret->reason = why;
	else if (code_decode(c, site))
		site_set(ret, c, site, "first emulated instruction");
	return 0;
}

static int list_add(uint64_t **list, size_t *cnt, uint64_t va)
{
	uint64_t *more;

	/* doubled at each power of two */
	if (!(*cnt & (*cnt - 1))) {
		more = realloc(*list, (*cnt ? *cnt * 2 : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		*list = more;
	}
	(*list)[(*cnt)++] = va;
	return 0;
}

/*
 * A jump by a register: compilers make them for switch statements, which stay in the function, and for tail calls, which
 * do not. Those of the first kind have the prefix notrack (3e) where code is made for CET.
 */
static int end_unseen(const struct code *c, const char **ret_why)
{
	if (c->insn->bytes[0] == 0x3e)
		return 0;
	*ret_why = "a jump whose target is not seen may leave the function";
	return -ENOEXEC;
}

/* What the instruction at off adds to the ends. */
static int end_add(const struct code *c, const unsigned char *starts, struct insn_ends *e, const char **ret_why)
{
	const cs_x86 *x86 = &c->insn->detail->x86;
	const cs_x86_op *op = &x86->operands[0];
	uint64_t to;

	if (cs_insn_group(c->handle, c->insn, CS_GRP_RET))
		return list_add(&e->rets, &e->rets_cnt, c->insn->address);
	if (!is_jump(c) || !x86->op_count)
		return 0;
	if (op->type == X86_OP_MEM && op->mem.base == X86_REG_RIP && op->mem.index == X86_REG_INVALID)
		return list_add(&e->words, &e->words_cnt, c->insn->address + c->insn->size + op->mem.disp);
	if (op->type != X86_OP_IMM)
		return end_unseen(c, ret_why);
	to = (uint64_t)op->imm - c->va;
	if (to >= c->len)
		return list_add(&e->jumps, &e->jumps_cnt, op->imm);
	if (is_landing(c, starts, to))
		return 0;
	*ret_why = WHY_DECODE;
	return -ENOEXEC;
}

int insn_ends_find(const unsigned char *code, size_t len, uint64_t va, struct insn_ends *ret, const char **ret_why)
{
	struct code c = { .bytes = code, .len = len, .va = va };
	unsigned char *starts = calloc(1, len + 1);
	int err;

	*ret = (struct insn_ends){ .rets = NULL };
	err = starts ? code_open(&c) : -ENOMEM;
	if (err) {
		free(starts);
		return err;
	}
	if (len > FUNCTION_MAX_BYTES || !sweep_mark(&c, starts)) {
		*ret_why = len > FUNCTION_MAX_BYTES ? "it is too large to be checked" : "it does not decode to its end";
		err = -ENOEXEC;
	}
	for (size_t off = 0; off < len && !err; off += c.insn->size)
		err = code_decode(&c, off) ? end_add(&c, starts, ret, ret_why) : -ENOEXEC;
	code_close(&c);
	free(starts);
	return err;
}

bool insn_starts_at(const unsigned char *code, size_t len, size_t off)
{
	struct code c = { .bytes = code, .len = len };
	size_t at = 0;

	if (code_open(&c))
		return false;
	while (at < off && code_decode(&c, at))
		at += c.insn->size;
	code_close(&c);
	return at == off && off < len;
}

bool insn_is_plt(const unsigned char *code, size_t len, uint64_t va, uint64_t *ret_word_va)
{
	static const unsigned char endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	int32_t distance;
	size_t at = 0;

	if (len >= sizeof(endbr64) && !memcmp(code, endbr64, sizeof(endbr64)))
		at = sizeof(endbr64);
	if (at < len && code[at] == 0xf2)	/* bnd */
		at++;
	if (len < at + 6 || code[at] != 0xff || code[at + 1] != 0x25)
		return false;
	memcpy(&distance, code + at + 2, sizeof(distance));
	*ret_word_va = va + at + 6 + distance;
	return true;
}

#else	/* other machines */

int insn_ends_find(const unsigned char *code, size_t len, uint64_t va, struct insn_ends *ret, const char **ret_why)
{
	(void)code, (void)len, (void)va;
	*ret = (struct insn_ends){ .rets = NULL };
	*ret_why = "the ends of functions are looked for on x86-64 only";
	return -ENOEXEC;
}

bool insn_starts_at(const unsigned char *code, size_t len, size_t off)
{
	(void)code, (void)len, (void)off;
	return false;
}

bool insn_is_plt(const unsigned char *code, size_t len, uint64_t va, uint64_t *ret_word_va)
{
	(void)code, (void)len, (void)va, (void)ret_word_va;
	return false;
}

/* arm64 emulates nop, adr and branches, but functions begin with bti, paciasp or stp there. */
bool insn_is_emulated(const unsigned char *code, size_t len, uint64_t va)
{
	(void)code, (void)len, (void)va;
	return false;
}

static bool is_unprobeable(const unsigned char *code, size_t len)
{
	(void)code;
	return !len;
}

static int site_move(struct code *c, bool size_known, struct insn_site *ret)
{
	(void)c, (void)size_known, (void)ret;
	return 0;
}

#endif

void insn_ends_free(struct insn_ends *e)
{
	free(e->rets);
	free(e->jumps);
	free(e->words);
	*e = (struct insn_ends){ .rets = NULL };
}

int insn_site_find(const unsigned char *code, size_t len, uint64_t va, bool size_known, unsigned int args_cnt,
		   struct insn_site *ret)
{
	struct code c = { .bytes = code, .len = len, .va = va, .args_cnt = args_cnt };
	struct insn_site site;
	int err;

	if (is_unprobeable(code, len))
		return -ENOEXEC;
	err = code_open(&c);
	if (err)
		return err;
	if (code_decode(&c, 0)) {
		site_set(&site, &c, 0, "entry: sites are looked for on x86-64 only");
		err = site_move(&c, size_known, &site);
	} else {
		err = -ENOEXEC;
	}
	code_close(&c);
	if (!err)
		*ret = site;
	return err;
}
