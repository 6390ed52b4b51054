/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes a stack at a function's entry and at its return, and counts how often each was seen: what tests compare with
 * other unwinders.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "task_stack.bpf.h"
#include "unwind.bpf.h"

#define WALK_STACKS	65536

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WALK_STACKS);
	__type(key, __u32);
	__type(value, __u64);
} walk_counts SEC(".maps");

static __always_inline int count_stack(__u32 index)
{
	__u64 *cnt = bpf_map_lookup_elem(&walk_counts, &index);

	if (cnt)
		__sync_fetch_and_add(cnt, 1);
	return 0;
}

SEC("uprobe")
int walk_entry(struct pt_regs *ctx)
{
	USE_TASK_STACK(ctx);
	return count_stack(stack_take_entry(ctx));
}

SEC("uprobe")
int walk_return(struct pt_regs *ctx)
{
	USE_TASK_STACK(ctx);
	return count_stack(stack_take(ctx));
}

/* Where a function of this program has its variables, and where the task has its kernel stack: see task_stack.bpf.h. */
__u64 walk_frame_addr, walk_stack_addr;

static __noinline int frame_look(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 variables[16];	/* functions that use less than 64 bytes never get a private stack */

	*(volatile __u64 *)&variables[0] = 0;
	walk_frame_addr = (__u64)variables;
	walk_stack_addr = (__u64)task->stack;
	return 0;
}

SEC("uprobe")
int walk_where(struct pt_regs *ctx)
{
	USE_TASK_STACK(ctx);
	return frame_look();
}
