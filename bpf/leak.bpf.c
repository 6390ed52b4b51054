/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs of `leak` that every kernel takes.
 *
 * Hooks: leak_enter and leak_return at the allocators' entries and returns (uprobe.multi or perf links),
 * leak_free at frees and munmap (always), leak_loaded where libraries are loaded, sched_process_exec and sched_process_exit for the end of the target, sched_process_fork
 * for its children.
 * Counts and misses: see leak.bpf.h. On kernels with uprobe.session, leak_session.bpf.c takes the place
 * of leak_enter and leak_return.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "abi.h"
#include "leak.bpf.h"
#include "leak_mappings.bpf.h"
#include "task_stack.bpf.h"

SEC("uprobe")
int leak_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), kind = COOKIE_KIND(cookie);

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	enter(ctx, kind, requested_size(ctx, kind));
	return 0;	/* 1 can remove the probe on some kernels */
}

SEC("uprobe")
int leak_return(struct pt_regs *ctx)
{
	__u64 kind = COOKIE_KIND(bpf_get_attach_cookie(ctx));
	struct leak_call call;

	USE_TASK_STACK(ctx);
	if (!return_counts(ctx))
		return 0;
	if (!call_leave(&call, kind, CALL_SP_AT_RETURN(PT_REGS_SP(ctx)), true))
		count(LEAK_ORPHANS, 1);
	else if (probe_maps(kind))
		mapping_leave(ctx, &call);
	else if (is_nested(PT_REGS_IP(ctx), 0))
		count(LEAK_NESTED, 1);
	else
		leave(ctx, &call);
	return 0;
}

SEC("uprobe")
int leak_free(struct pt_regs *ctx)
{
	__u64 addr = PT_REGS_PARM1(ctx), cookie = bpf_get_attach_cookie(ctx);

	USE_TASK_STACK(ctx);
	if (!is_target()) {
		count(LEAK_FOREIGN, 1);
		return 0;
	}
	count_entry(cookie);
	if (COOKIE_KIND(cookie) == PROBE_MUNMAP)
		mapping_gone(ctx);
	else if (addr)
		book_end(addr, 0, 0, 0);
	return 0;
}

static __always_inline void say(enum leak_event_type type)
{
	struct leak_event event = { .type = type };

	/* if there is no room, the state says it too */
	bpf_ringbuf_output(&leak_events, &event, sizeof(event), BPF_RB_FORCE_WAKEUP);	/* see mapping_abi.h */
}

/* The dynamic linker calls a function that does nothing before and after it changes its list of libraries (link.h, r_brk). */
SEC("uprobe")
int leak_loaded(struct pt_regs *ctx)
{
	struct leak_state *state = state_get();

	USE_TASK_STACK(ctx);
	if (!state || !is_target())
		return 0;
	count_entry(bpf_get_attach_cookie(ctx));
	__sync_fetch_and_add(&state->loaded_cnt, 1);
	say(LEAK_EVENT_LOADED);
	return 0;
}

/* Whether the current task is a thread of the target, whatever its address space by now is. */
static __always_inline bool is_target_process(void)
{
	struct bpf_pidns_info ns;

	return !bpf_get_ns_current_pid_tgid(settings.pidns_dev, settings.pidns_ino, &ns, sizeof(ns)) &&
	       ns.tgid == settings.pid;
}

/* After exec the address space is another one and the old one's address may be given to anybody. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(leak_exec)
{
	struct leak_state *state = state_get();

	if (!state || !is_target_process())
		return 0;
	state->mm = MM_GONE;
	state->exec_cnt++;
	say(LEAK_EVENT_EXEC);
	return 0;
}

/* glibc's and musl's pthread_t is the thread's own pointer: the base of its fs segment, from clone() on. */
#ifdef __TARGET_ARCH_x86
#define THREAD_KEY(task)	((task)->thread.fsbase)
#else
#define THREAD_KEY(task)	0	/* not known: user space does not ask for it */
#endif

SEC("tp_btf/sched_process_exit")
int BPF_PROG(leak_exit, struct task_struct *task)
{
	struct leak_state *state = state_get();
	struct signal_struct *signal;

	if (!state || !is_target_process())
		return 0;
	if (settings.threads_domain)
		book_end(THREAD_KEY(task), 0, 0, settings.threads_domain);
	signal = task->signal;
	if (signal->live.counter)	/* other threads go on */
		return 0;
	state->mm = MM_GONE;
	state->exit_code = signal->group_exit_code ? signal->group_exit_code : task->exit_code;
	state->exited = 1;
	say(LEAK_EVENT_EXIT);
	return 0;
}

/* A child with a copy of the memory. One that shares it (vfork, posix_spawn, a thread) has the same breakpoints. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(leak_fork, struct task_struct *parent, struct task_struct *child)
{
	struct leak_state *state = state_get();

	if (!state || !is_target() || child->mm == parent->mm)
		return 0;
	if (!__sync_fetch_and_add(&state->fork_cnt, 1))
		say(LEAK_EVENT_FORK);
	return 0;
}

/*
 * The target maps something, at a place that was free. (With MAP_FIXED nobody asks for a place; the dynamic linker asks
 * first for room for a whole library.)
 */
SEC("tp_btf/vm_unmapped_area")
int BPF_PROG(leak_mapped, unsigned long addr, struct vm_unmapped_area_info *info)
{
	if (!(addr & 0xfff) && is_target())	/* else it is an error */
		stack_code_gone(addr, addr + info->length);
	return 0;
}

/* Run by the reader: what time it is on the clock of the books. */
SEC("raw_tp")
int leak_clock(void *ctx)
{
	struct leak_state *state = state_get();

	if (!state)
		return 0;
	state->clock.jiffies = bpf_jiffies64();
	state->clock.ns = bpf_ktime_get_ns();
	return 0;
}

/*
 * Empties one bucket into generation g; how many blocks stay. A global function, verified once: in the loop of
 * leak_drain it took 100,000 instructions (6.18), and minutes on 6.1.
 */
__noinline int drain_bucket(__u32 chunk, __u32 bucket, __u32 g)
{
	struct leak_state *state = state_get();
	int left = 0;

	if (!state)
		return 0;
	for (__u32 slot = 0; slot < BLOCKS_SLOTS; slot++) {
		int r = blocks_move(&state->blocks, chunk, BLOCK_POS(0, bucket, slot), g);

		if (r == BLOCKS_FULL || r == BLOCKS_CONTENDED)
			left++;
	}
	return left;
}

/*
 * Run by the reader after the books have grown: empties DRAIN_BUCKETS of an older, closed generation into the
 * newest one.
 */
SEC("raw_tp")
int leak_drain(void *ctx)
{
	struct leak_state *state = state_get();
	__u32 chunk, bucket, g, left = 0;

	if (!state)
		return 0;
	chunk = state->drain_chunk;
	bucket = state->drain_bucket;
	g = state->blocks.generation;
	for (__u32 i = 0; i < DRAIN_BUCKETS; i++)
		left += drain_bucket(chunk, bucket + i, g);
	state->drain_left = left;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
