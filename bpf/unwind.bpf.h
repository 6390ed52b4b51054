/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one interface to user stacks. What stands behind it may change, this may not.
 */
#ifndef EBB_UNWIND_BPF_H
#define EBB_UNWIND_BPF_H

/*
 * Index of the user stack at a return probe: the innermost frame is the instruction that the function
 * returns to, so the direct caller is never lost. STACK_FULL when it has no index and gets none.
 */
__hidden __u32 stack_take(struct pt_regs *ctx);

#endif
