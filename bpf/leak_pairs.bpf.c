/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions that must have no return probe, because they may throw or switch stacks (operator new, and those that a
 * user names): probed at the entry and at every ret.
 *
 * Hooks: pair_enter at the entry, pair_ret at each ret (of the function, and of those that it jumps to at its end). A ret
 * belongs to the call that entered with the same stack pointer and return address; others that share a ret are not
 * counted. An object of its own, loaded when a plan has such sites; it uses the maps of leak.bpf.c.
 *
 * Counts and misses: see leak.bpf.h. A call that throws leaves nothing behind.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "leak.bpf.h"
#include "task_stack.bpf.h"

/* What of a call is remembered: the place of fields that these kinds do not need. */
#define CALL_RETURN(call)	((call)->old)			/* the return address */
#define CALL_ENTRY(call)	((call)->old_size_flags)	/* where the entry's site is */

static __always_inline bool return_address(struct pt_regs *ctx, __u64 *ret)
{
	return !bpf_probe_read_user(ret, sizeof(*ret), (void *)PT_REGS_SP(ctx));
}

SEC("uprobe")
int pair_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct leak_call call = { .kind = COOKIE_KIND(cookie), .sp = PT_REGS_SP(ctx) };

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	call.size = requested_size(ctx, call.kind);
	CALL_ENTRY(&call) = PT_REGS_IP(ctx);
	if (return_address(ctx, &call.old))
		call_enter(&call);
	else
		count(LEAK_LOST_READS, 1);
	return 0;
}

SEC("uprobe")
int pair_ret(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), result = PT_REGS_RC(ctx), to;
	struct leak_call call;

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	if (!call_leave(&call, COOKIE_KIND(cookie), PT_REGS_SP(ctx)))
		return 0;	/* another function that ends here */
	if (!return_address(ctx, &to) || to != CALL_RETURN(&call))
		return 0;	/* one that never came back: it threw */
	if (is_allocator(to))
		count(LEAK_NESTED, 1);
	else if (!result)
		count(LEAK_FAILED, 1);
	else if (!too_small(call.size))
		book_birth(result, call.size, settings.no_stacks ? STACK_FIRST : stack_take_ret(ctx, CALL_ENTRY(&call)));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
