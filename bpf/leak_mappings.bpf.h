/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mmap, munmap and mremap, told to user space (mapping_abi.h): intervals that are cut and moved are nothing for the table of
 * blocks, and such calls are rare.
 *
 * Counts: LEAK_LOST_MAPPINGS. Misses: system calls that do not pass through the probed functions; user space finds
 * what they did in the target's maps.
 */
#ifndef EBB_LEAK_MAPPINGS_BPF_H
#define EBB_LEAK_MAPPINGS_BPF_H

#include <bpf/bpf_core_read.h>
#include "leak.bpf.h"

#define INNER_CALLS	8	/* of probed functions around this one that are looked at: allocators nest two or three deep */

/* A global function: verified once, and not for each of those calls. */
__noinline int is_allocator(__u64 addr)
{
	return is_nested(addr, 0);
}

/*
 * Whether an allocator has called, directly or not: by the return probes that wait in this thread, so also where the
 * stack cannot be walked (musl). Allocators without one, and calls below --min-size, user space knows by the stack.
 */
__noinline int in_allocator(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *ri = BPF_CORE_READ(task, utask, return_instances);

	for (int i = 0; i < INNER_CALLS && ri; i++) {
		if (is_allocator(BPF_CORE_READ(ri, func)))
			return 1;
		ri = BPF_CORE_READ(ri, next);
	}
	return 0;
}

/* bytes: a constant. What has no room is counted. */
static __always_inline struct mapping_event *mapping_event_new(__u32 type, __u64 bytes)
{
	struct mapping_event *e = bpf_ringbuf_reserve(&leak_events, bytes, 0);

	if (!e) {
		count(LEAK_LOST_MAPPINGS, 1);
		return NULL;
	}
	e->type = type;
	e->ns = bpf_ktime_get_ns();
	return e;
}

static __always_inline void mapping_event_send(struct mapping_event *e)
{
	bool much = bpf_ringbuf_query(&leak_events, BPF_RB_AVAIL_DATA) >= MAPPING_WAKE_BYTES;

	bpf_ringbuf_submit(e, much ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void mapping_gone(struct pt_regs *ctx)
{
	__u64 addr = PT_REGS_PARM1(ctx), bytes = PT_REGS_PARM2(ctx);
	struct mapping_event *e = mapping_event_new(LEAK_EVENT_MUNMAP, MAPPING_SHORT_BYTES);

	if (!e)
		return;
	e->stack = STACK_NONE;
	e->addr = addr;
	e->bytes = bytes;
	mapping_event_send(e);
}

/* Of the call that is coming back. */
static __always_inline __u32 mapping_stack(struct pt_regs *ctx)
{
	__u32 stack;

	if (in_allocator())
		return STACK_NONE;
	stack = settings.no_stacks ? STACK_FIRST : stack_take(ctx);
	if (stack == STACK_FULL)
		count(LEAK_STACKS_FULL, 1);
	return stack;
}

/* Return of mmap or mremap. */
static __always_inline void mapping_leave(struct pt_regs *ctx, const struct leak_call *call)
{
	__u64 result = PT_REGS_RC(ctx);
	struct mapping_event *e;
	__u32 stack;

	if (result == -1ull) {
		count(LEAK_FAILED, 1);
		return;
	}
	stack = mapping_stack(ctx);
	if (call->kind == PROBE_MREMAP) {
		e = mapping_event_new(LEAK_EVENT_MREMAP, sizeof(*e));
		if (!e)
			return;
		e->old_addr = call->old;
		e->old_bytes = CALL_OLD_BYTES(call);
		e->begin_ns = CALL_BEGIN_NS(call);
	} else {
		e = mapping_event_new(LEAK_EVENT_MMAP, MAPPING_SHORT_BYTES);
		if (!e)
			return;
	}
	e->stack = stack;
	e->addr = result;
	e->bytes = call->size;
	mapping_event_send(e);
}

#endif
