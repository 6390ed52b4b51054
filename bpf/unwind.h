/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What depends on the machine: where a call's arguments, stack pointer and result are, and the rules by which a caller
 * is found. Shared with user space, which makes the rules.
 */
#ifndef EBB_UNWIND_H
#define EBB_UNWIND_H

/*
 * The stack pointer as it was at a function's entry, seen from its return probe: x86's ret has taken
 * the return address off the stack, other machines return through a register.
 */
#if defined(__TARGET_ARCH_x86) || defined(__x86_64__)
#define CALL_SP_AT_RETURN(sp)	((sp) - 8)
#else
#define CALL_SP_AT_RETURN(sp)	(sp)
#endif

/*
 * Registers of a user task, and where the kernel saves them in a signal frame (x86-64: rt_sigframe, sp points at the
 * ucontext when the handler has returned; offsets of rbp, rsp and rip in it). arm64's signal frames carry a frame
 * record, so that the frame pointers lead over them.
 */
#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define UNWIND_REG_PC(r)	((r)->pc)
#define UNWIND_REG_SP(r)	((r)->sp)
#define UNWIND_REG_BP(r)	((r)->regs[29])
#define UNWIND_UCONTEXT_BP	0
#define UNWIND_UCONTEXT_SP	0
#define UNWIND_UCONTEXT_PC	0
/* Pointer authentication signs return addresses in the bits above the 48 of an address. */
#define UNWIND_STRIP(addr)	((addr) & ((1ull << 48) - 1))
/* A frame record lies anywhere in the frame: the caller's stack pointer is above it, and no more is known. */
#define UNWIND_FP_CFA(bp)	((bp) + 16)
/*
 * Whether a return probe that met this stack pointer at a function's entry belongs to the frame that was left for sp, of
 * probes in the order innermost first. For want of the true stack pointer it is the first one at or above sp.
 */
#define UNWIND_PROBED(stack, sp)	((stack) >= (sp))
/* At a function's entry the return address is still in x30. */
#define UNWIND_ENTRY_IN_LR	1
#define UNWIND_REG_LR(r)	((r)->regs[30])
#else
#define UNWIND_REG_PC(r)	((r)->ip)
#define UNWIND_REG_SP(r)	((r)->sp)
#define UNWIND_REG_BP(r)	((r)->bp)
#define UNWIND_UCONTEXT_BP	120
#define UNWIND_UCONTEXT_SP	160
#define UNWIND_UCONTEXT_PC	168
#define UNWIND_STRIP(addr)	(addr)
#define UNWIND_FP_CFA(bp)	((bp) + 16)
#define UNWIND_PROBED(stack, sp)	((stack) == (sp) - 8)	/* where the return address is */
#define UNWIND_ENTRY_IN_LR	0
#define UNWIND_REG_LR(r)	0ull
#endif

/*
 * One rule: how to get from a frame to its caller's, for all addresses that share it.
 *
 *	cfa:32 │ bp:16 │ bp_kind:8 │ kind:8
 *
 * The canonical frame address (CFA) is the stack pointer before the call. The return address lies at CFA-8 (x86-64;
 * a file that says otherwise gets UNWIND_BAD).
 */
#define UNWIND_RULE(kind, cfa, bp_kind, bp)	\
	((unsigned long long)(kind) | (unsigned long long)(bp_kind) << 8 | \
	 (unsigned long long)(unsigned short)(bp) << 16 | (unsigned long long)(unsigned int)(cfa) << 32)
#define UNWIND_RULE_KIND(rule)		((unsigned int)(rule) & 0xff)
#define UNWIND_RULE_BP_KIND(rule)	((unsigned int)((rule) >> 8) & 0xff)
#define UNWIND_RULE_BP(rule)		((short)((rule) >> 16))
#define UNWIND_RULE_CFA(rule)		((int)((rule) >> 32))

enum unwind_kind {
	UNWIND_NONE,		/* no CFI here */
	UNWIND_SP,		/* CFA = sp + cfa */
	UNWIND_BP,		/* CFA = bp + cfa */
	UNWIND_SP_DEREF,	/* CFA = *(sp + low 16 bits of cfa, signed) + high 16 bits, signed */
	UNWIND_BP_DEREF,	/* the same from bp */
	UNWIND_PLT,		/* an entry of a PLT, of 16 bytes: CFA = sp + 8, + 16 from byte `cfa` of it on, where it has pushed */
	UNWIND_SIGNAL,		/* a signal frame: the interrupted registers are in the ucontext at sp */
	UNWIND_END,		/* the return address is undefined: the outermost frame */
	UNWIND_BAD,		/* CFI that these rules cannot say (an expression, another register) */
	UNWIND_KINDS,
};

enum unwind_bp_kind {
	UNWIND_BP_SAME,		/* bp is the caller's */
	UNWIND_BP_CFA,		/* at CFA + bp */
	UNWIND_BP_UNDEFINED,	/* lost, or saved in a way that these rules cannot say */
	UNWIND_BP_AT_BP,	/* at *bp (functions that realign their stack) */
	UNWIND_BP_KINDS,
};

/* Granule of the index over rows: a block of text has at most so many rows. */
#define UNWIND_BLOCK_SHIFT	8
#define UNWIND_BLOCK_BYTES	(1u << UNWIND_BLOCK_SHIFT)

#endif
