/* SPDX-License-Identifier: GPL-2.0-only */
/* A stack by ebb's walker and by the kernel's, at the same probe. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "task_stack.bpf.h"
#include "unwind.bpf.h"

#define BENCH_STACKS	4096

struct frames {
	__u64 pcs[STACK_FRAMES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BENCH_STACKS);
	__type(key, __u32);
	__type(value, __u64);
} bench_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frames);
} bench_frames SEC(".maps");

__u64 kernel_frames;	/* of the last bpf_get_stack() */

SEC("uprobe")
int bench_empty(struct pt_regs *ctx)
{
	return 0;
}

SEC("uprobe")
int bench_kernel(struct pt_regs *ctx)
{
	__u32 zero = 0;
	struct frames *f = bpf_map_lookup_elem(&bench_frames, &zero);
	long bytes;

	if (!f)
		return 0;
	bytes = bpf_get_stack(ctx, f->pcs, sizeof(f->pcs), BPF_F_USER_STACK);
	if (bytes > 0)
		kernel_frames = bytes / 8;
	return 0;
}

/* Walked each time: what begins at an exact pc is not remembered. Stored and counted. */
SEC("uprobe")
int bench_walk(struct pt_regs *ctx)
{
	__u32 index = stack_take_entry(ctx);
	__u64 *cnt = bpf_map_lookup_elem(&bench_counts, &index);

	USE_TASK_STACK(ctx);
	if (cnt)
		__sync_fetch_and_add(cnt, 1);
	return 0;
}
