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
#define CALL_KEY(call)		((call)->old_time_stack)	/* the argument that says the key, or has a part of it */

/* Which calls and rets belong together. */
static __always_inline __u64 call_kind(__u64 cookie)
{
	return cookie & 0xff00ff;
}

static __always_inline bool return_address(struct pt_regs *ctx, __u64 *ret)
{
	return !bpf_probe_read_user(ret, sizeof(*ret), (void *)PT_REGS_SP(ctx));
}

/*
 * All are loaded, and then one is taken: clang would make one load with an offset that is chosen ("dereference of modified
 * ctx ptr", 6.18).
 */
static __always_inline __u64 argument(struct pt_regs *ctx, __u32 number)
{
	__u64 a = PT_REGS_PARM1(ctx), b = PT_REGS_PARM2(ctx), c = PT_REGS_PARM3(ctx), d = PT_REGS_PARM4(ctx);
	__u64 e = PT_REGS_PARM5(ctx);

	asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
	return number == 1 ? a : number == 2 ? b : number == 3 ? c : number == 4 ? d : number == 5 ? e : 0;
}

/* The key of the books: never 0, and below BLOCK_BUSY. first: the first argument, with COOKIE_KEY_BOTH. 0 = there is none. */
static __always_inline __u64 key_make(__u64 cookie, __u64 first, __u64 word)
{
	if (cookie & COOKIE_KEY_BOTH)
		return ((first & 0x7fffffff) << 32 | (__u32)word) + 1;
	if (cookie & COOKIE_KEY_INT)
		return (__u64)(__u32)word + 1;
	return word & ~BLOCK_BUSY;
}

static __always_inline bool call_worked(__u64 cookie, __u64 result)
{
	if (cookie & COOKIE_OK_ZERO)
		return !(__u32)result;
	if (cookie & COOKIE_OK_INT)
		return (__s32)result >= 0;
	return result && result != -1ull && result != 0xffffffff;	/* -1 as a pointer, and as an int */
}

SEC("uprobe")
int pair_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 key_arg = COOKIE_KEY_ARG(cookie), size_arg = COOKIE_SIZE_ARG(cookie);
	struct leak_call call = { .kind = call_kind(cookie), .sp = PT_REGS_SP(ctx) };

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	if (COOKIE_KIND(cookie) == PROBE_NEW)
		size_arg = 1;
	call.size = size_arg ? argument(ctx, size_arg) : 1;
	CALL_ENTRY(&call) = PT_REGS_IP(ctx);
	CALL_KEY(&call) = argument(ctx, key_arg ? key_arg : 1);
	if (return_address(ctx, &call.old))
		call_enter(&call);
	else
		count(LEAK_LOST_READS, 1);
	return 0;
}

static __always_inline void acquired(struct pt_regs *ctx, __u64 cookie, const struct leak_call *call, __u64 key)
{
	if (!key)
		count(LEAK_FAILED, 1);
	else
		book_birth(key, call->size, settings.no_stacks ? STACK_FIRST : stack_take_ret(ctx, CALL_ENTRY(call)),
			   COOKIE_DOMAIN(cookie));
}

/* What a call that worked has acquired. */
static __always_inline void call_done(struct pt_regs *ctx, __u64 cookie, const struct leak_call *call)
{
	__u64 result = PT_REGS_RC(ctx), word = CALL_KEY(call);

	if (cookie & COOKIE_KEY_AT) {
		if (bpf_probe_read_user(&word, sizeof(word), (void *)CALL_KEY(call))) {
			count(LEAK_LOST_READS, 1);
			return;
		}
		if (cookie & COOKIE_KEY_TWO)
			acquired(ctx, cookie, call, key_make(cookie, 0, word >> 32));
	} else if (!COOKIE_KEY_ARG(cookie)) {
		word = result;
	}
	acquired(ctx, cookie, call, key_make(cookie, CALL_KEY(call), word));
}

SEC("uprobe")
int pair_ret(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), to;
	struct leak_call call;

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	if (!call_leave(&call, call_kind(cookie), PT_REGS_SP(ctx), false))
		return 0;	/* another function that ends here */
	if (!return_address(ctx, &to) || to != CALL_RETURN(&call))
		return 0;	/* one that never came back: it threw */
	if (is_nested(to, COOKIE_DOMAIN(cookie)))
		count(LEAK_NESTED, 1);
	else if (!call_worked(cookie, PT_REGS_RC(ctx)))
		count(LEAK_FAILED, 1);
	else if (COOKIE_DOMAIN(cookie) || !too_small(call.size))
		call_done(ctx, cookie, &call);
	return 0;
}

SEC("uprobe")
int pair_release(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), key;

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	key = key_make(cookie, PT_REGS_PARM1(ctx), argument(ctx, COOKIE_KEY_ARG(cookie)));
	if (key)
		book_end(key, 0, 0, COOKIE_DOMAIN(cookie));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
