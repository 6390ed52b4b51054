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

/* The same at a probe on a function (its entry, or behind its first pushes): the innermost frame is that instruction. */
__hidden __u32 stack_take_entry(struct pt_regs *ctx);

/*
 * The same at a ret, of the call that came by a probe at `entry`, where nothing was pushed: the innermost frame is that
 * instruction, whatever function the ret is in.
 */
__hidden __u32 stack_take_ret(struct pt_regs *ctx, __u64 entry);

/* The same of the current task inside a system call, for programs that are not given its registers. */
__hidden __u32 stack_take_task(void);

/*
 * [start, end) of the current process is about to be mapped by something else: what code was there is gone. Until there are
 * new tables its addresses are in no known code: a walk must not go by the rows of what was there before.
 */
int stack_code_gone(__u64 start, __u64 end);

/*
 * Of many processes: a child that was just forked uses its parent's tables, whose addresses it has, until it calls exec or
 * gets its own. It must leave them at its end. child_*: as in struct unwind_pid.
 */
int stack_tables_inherit(__u32 parent, __u32 child, __u64 child_start_ns, __u32 child_exec_id);
int stack_tables_leave(__u32 process);

#endif
