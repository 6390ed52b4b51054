/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What depends on the machine: where a call's arguments, stack pointer and result are.
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

#endif
