/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uprobe programs on the stack of their task. From Linux 6.13 on the JIT gives programs of kprobe type a private stack:
 * one a CPU, since nobody else can run the same program there. But uprobe programs can be preempted (with PREEMPT_LAZY, which
 * Debian's 6.18 uses, or full preemption), and then the next task of that CPU writes over the variables and pointers of the
 * first: seen were blocks with other sizes, and an Oops in the target. A program with a tail call anywhere is left on the
 * task's stack (check_max_stack_depth() of kernel/bpf/verifier.c), which is what this one is for. It is never made: nobody's
 * stack pointer is 0, and there is nothing in the array.
 *
 * The array is each object's own: it takes programs of one attach type only.
 */
#ifndef EBB_TASK_STACK_BPF_H
#define EBB_TASK_STACK_BPF_H

#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} task_stack SEC(".maps");

/* In each uprobe program, itself: it counts for all functions that it calls. */
#define USE_TASK_STACK(ctx)	do { \
	if (!PT_REGS_SP(ctx)) \
		bpf_tail_call(ctx, &task_stack, 0); \
} while (0)

#endif
