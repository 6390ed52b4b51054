/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry and return in one program, for kernels with uprobe.session (6.13).
 *
 * An object of its own: the kfuncs' prototypes change between kernels and libbpf 1.1 refuses a mismatch
 * even of weak symbols, so this object may fail to load while leak.bpf.c does not. It uses the maps of
 * leak.bpf.c, which the loader puts in place of its own.
 *
 * Counts and misses: see leak.bpf.h. An entry that is not interesting returns 1 and saves the return trap.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "leak.bpf.h"
#include "leak_mappings.bpf.h"
#include "task_stack.bpf.h"

extern bool bpf_session_is_return(void) __ksym __weak;
extern __u64 *bpf_session_cookie(void) __ksym __weak;

static __always_inline int session_enter(struct pt_regs *ctx, __u64 cookie)
{
	__u64 kind = COOKIE_KIND(cookie), size = requested_size(ctx, kind);
	__u64 *word = bpf_session_cookie();

	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 1;
	}
	count_entry(cookie);
	if (!kind_is_plain(kind)) {
		enter(ctx, kind, size);
		return 0;
	}
	if (size < settings.min_size) {
		count(LEAK_SMALL, 1);
		return 1;
	}
	*word = size;
	return 0;
}

static __always_inline void session_leave(struct pt_regs *ctx, __u64 kind)
{
	struct leak_call call = {};

	if (!return_counts(ctx))
		return;
	if (kind_is_plain(kind)) {
		call.kind = kind;
		call.size = *bpf_session_cookie();
	} else if (!call_leave(&call, kind, CALL_SP_AT_RETURN(PT_REGS_SP(ctx)), true)) {
		count(LEAK_ORPHANS, 1);
		return;
	}
	if (probe_maps(kind))
		mapping_leave(ctx, &call);
	else if (is_nested(PT_REGS_IP(ctx), 0))
		count(LEAK_NESTED, 1);
	else
		leave(ctx, &call);
}

SEC("uprobe")
int leak_session(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	USE_TASK_STACK(ctx);
	if (bpf_session_is_return())
		session_leave(ctx, COOKIE_KIND(cookie));
	else
		return session_enter(ctx, cookie);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
