/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The books of `leak`: what its programs do at an allocator's entry, at its return and at a free. The
 * programs themselves are in leak.bpf.c and leak_session.bpf.c, which differ in how they are called.
 *
 *	entry    remembers the arguments         (session: in its cookie; else, or if it takes
 *	                                          more than one word, in the task's storage)
 *	return   takes the stack, books a birth
 *	free     books a death
 *
 * Rules (facts behind them: allocators call themselves through public names, realloc may fail):
 * - Every return of an allocator books its result, except when it returns into another allocator
 *   function that has a return probe too: that one books the block.
 * - A block at an address that is still in the books replaces what was there.
 * - realloc remembers the words of the block it is about to move, and at its return deletes that block only
 *   if they are still the same: the address may be another thread's by then.
 * - Deaths of unknown addresses are counted and harmless: blocks older than ebb are freed all the time.
 *
 * Misses: memory taken by other ways than the probed functions; returns that never happen (longjmp out
 * of an allocator, a thread that dies inside), which leave nothing behind.
 */
#ifndef EBB_LEAK_BPF_H
#define EBB_LEAK_BPF_H

#include <bpf/bpf_tracing.h>
#include "mapping_abi.h"
#include "unwind.h"
#include "unwind.bpf.h"
#include "blocks.bpf.h"

const volatile struct leak_settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct leak_state);
} leak_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LEAK_STRIPES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct leak_stripe);
} leak_stripes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, COUNTERS_CHUNKS_MAX);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, COUNTERS_CHUNK);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(key_size, 4);
		__uint(value_size, sizeof(struct stack_counters));	/* clang leaves no __type() so deep in BTF */
	});
} leak_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, LEAK_RING_BYTES);
} leak_events SEC(".maps");

/*
 * Calls of a thread that have entered and not yet returned. A return finds its call by kind and stack
 * pointer, so calls that never returned do no harm: they are overwritten.
 */
#define LEAK_CALLS	8	/* a power of two; allocators nest two or three deep */

struct leak_call {
	__u64 sp;
	__u64 kind;
	__u64 old;		/* the block that is to move, or posix_memalign's result pointer */
	__u64 size;
	__u64 old_size_flags;	/* words of the block at old; both 0 when it is not in the books */
	__u64 old_time_stack;
};

/* Of mremap, in the place of fields that it does not need: what there was, with the flags below; when it was called. */
#define CALL_OLD_BYTES(call)	((call)->old_size_flags)
#define CALL_BEGIN_NS(call)	((call)->old_time_stack)

struct leak_calls {
	__u32 depth;		/* entries so far */
	__u32 pad;
	struct leak_call calls[LEAK_CALLS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct leak_calls);
} leak_calls SEC(".maps");

static __always_inline struct leak_state *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&leak_state, &zero);
}

static __always_inline struct leak_stripe *stripe_get(void)
{
	__u32 stripe = bpf_get_smp_processor_id() & (LEAK_STRIPES - 1);

	return bpf_map_lookup_elem(&leak_stripes, &stripe);
}

static __always_inline void count(enum leak_counter counter, __u64 n)
{
	struct leak_stripe *s = stripe_get();

	if (s)
		__sync_fetch_and_add(&s->counters[counter], n);
}

/* For the meter only: a plain addition, since it happens at every trap and one in a million may be missing. */
static __always_inline void count_trap(enum leak_counter counter)
{
	struct leak_stripe *s = stripe_get();

	if (s)
		s->counters[counter]++;
}

/*
 * Whether this hit is the target's. Its address space decides, not its pid: a vfork child works on the
 * target's heap, a forked one on its own. (Where the kernel filters links by process, it does not show us the
 * hits of either.) Which address space that is, is learned at the first hit.
 */
static __always_inline bool is_target(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct leak_state *state = state_get();
	struct bpf_pidns_info ns;
	__u64 mm = (__u64)task->mm;

	if (!state)
		return false;
	if (state->mm == mm)
		return true;
	if (state->mm != MM_UNKNOWN)
		return false;
	if (bpf_get_ns_current_pid_tgid(settings.pidns_dev, settings.pidns_ino, &ns, sizeof(ns)) ||
	    ns.tgid != settings.pid)
		return false;
	return !__sync_val_compare_and_swap(&state->mm, MM_UNKNOWN, mm) || state->mm == mm;
}

static __always_inline struct stack_counters *counters_get(__u32 stack)
{
	__u32 chunk = stack / COUNTERS_CHUNK, i = stack % COUNTERS_CHUNK;
	void *inner = bpf_map_lookup_elem(&leak_counters, &chunk);

	return inner ? bpf_map_lookup_elem(inner, &i) : NULL;
}

static __always_inline void book_death(__u64 size_flags, __u64 time_stack)
{
	struct stack_counters *c = counters_get(time_stack & 0xffffff);

	if (c) {
		__sync_fetch_and_add(&c->died_cnt, 1);
		__sync_fetch_and_add(&c->died_bytes, size_flags >> 16);
	}
}

/*
 * The kernel flips, user space restocks. It is asked for the next generation at three eighths of the load (while
 * the books are small and time is short: at once) and has until all is full; at half the load, if the
 * generation is there, the kernel goes on to it by itself.
 */
static __always_inline void blocks_flip(struct blocks_index *index)
{
	struct leak_event event = { .type = LEAK_EVENT_RESTOCK };
	__u32 g = block_once(index->generation), wanted = block_once(index->wanted);
	const __u32 *ends;
	__s64 slots;

	block_hide(g);
	if (g >= BLOCKS_GENERATIONS_MAX - 1)
		return;
	/* its own chunks: sooner or later it holds the blocks of the older ones too */
	ends = &index->none;	/* chunks_cnt with a 0 before it: Linux 6.1 loses the bound of g in g - 1 */
	slots = block_once(ends[g + 1]) - block_once(ends[g]);
	slots *= BLOCKS_BUCKETS * BLOCKS_SLOTS;
	/* live_cnt may be below 0 for a moment: another CPU handed over its deaths first */
	if (index->live_cnt < (g < 2 ? slots / 8 : slots / 8 * 3))
		return;
	if (wanted <= g && __sync_val_compare_and_swap(&index->wanted, wanted, g + 1) == wanted)
		bpf_ringbuf_output(&leak_events, &event, sizeof(event), BPF_RB_FORCE_WAKEUP);	/* see mapping_abi.h */
	if (index->live_cnt >= slots / 2 && g < block_once(index->stocked))
		__sync_val_compare_and_swap(&index->generation, g, g + 1);
}

/*
 * One block more or less. CPUs keep their own account and hand it over in batches. Plain additions, which may
 * lose one when another thread of this CPU comes in between: this count only says when the table must grow, and
 * user space puts it right from the exact counters every second.
 */
static __always_inline void live_add(struct leak_state *state, __s64 n)
{
	struct leak_stripe *s = stripe_get();
	__s64 net;

	if (!s)
		return;
	net = s->live_net + n;
	s->live_net = net;
	if (net < LEAK_STRIPE_BATCH && net > -LEAK_STRIPE_BATCH)
		return;
	s->live_net = 0;
	__sync_fetch_and_add(&state->blocks.live_cnt, net);
	if (net > 0)
		blocks_flip(&state->blocks);
}

/* Books a block that the target now holds. A global function: verified once for all its callers. */
__noinline int book_birth(__u64 addr, __u64 size, __u32 stack, __u32 domain)
{
	struct leak_state *state = state_get();
	struct stack_counters *c = counters_get(stack);
	struct block_op op = {};
	int r;

	if (!state)
		return 0;
	if (!c) {	/* no counters for such an index yet: user space was not scheduled in time */
		stack = STACK_FULL;
		c = counters_get(stack);
	}
	if (!c)
		return 0;
	if (stack == STACK_FULL)
		count(LEAK_STACKS_FULL, 1);
	op.addr = addr;
	op.size = size;
	op.stack = stack;
	op.domain = domain;
	op.time = bpf_jiffies64();
	r = blocks_put(&state->blocks, &op);
	if (r == BLOCKS_FULL || r == BLOCKS_CONTENDED) {
		count(r == BLOCKS_FULL ? LEAK_LOST_FULL : LEAK_LOST_CONTENDED, 1);
		if (r == BLOCKS_FULL)
			count(LEAK_LOST_FULL_BYTES, size);
		return 0;
	}
	__sync_fetch_and_add(&c->born_cnt, 1);
	__sync_fetch_and_add(&c->born_bytes, size);
	if (r == BLOCKS_REPLACED) {
		__u64 age = op.time - (op.old_time_stack >> 24);

		/*
		 * The same stack, size and moment: one call that returned through two probed functions,
		 * the inner one having jumped into the outer. Not born twice.
		 */
		if ((op.old_time_stack & 0xffffff) == stack && op.old_size_flags >> 16 == size && age <= 1) {
			__sync_fetch_and_add(&c->born_cnt, -1);
			__sync_fetch_and_add(&c->born_bytes, -size);
			count(LEAK_NESTED, 1);
		} else {
			book_death(op.old_size_flags, op.old_time_stack);
			count(LEAK_REPLACED, 1);
		}
		return 0;
	}
	live_add(state, 1);
	return 0;
}

/* Books the end of a block. With words (size_flags not 0): only if it still is the block with these. */
__noinline int book_end(__u64 addr, __u64 size_flags, __u64 time_stack, __u32 domain)
{
	struct leak_state *state = state_get();
	struct block_op op = {};
	int r;

	if (!state)
		return 0;
	op.addr = addr;
	op.domain = domain;
	op.old_size_flags = size_flags;
	op.old_time_stack = time_stack;
	r = blocks_delete(&state->blocks, &op, time_stack != 0);
	if (r == BLOCKS_DONE) {
		book_death(op.old_size_flags, op.old_time_stack);
		live_add(state, -1);
	} else if (r == BLOCKS_CONTENDED) {
		count(LEAK_LOST_CONTENDED, 1);
	} else if (!time_stack) {
		count(LEAK_UNKNOWN_FREES, 1);
	}
	return r;
}

/* Remembers a call until its return. */
static __always_inline void call_enter(const struct leak_call *call)
{
	struct leak_calls *calls;
	__u32 i;

	calls = bpf_task_storage_get(&leak_calls, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!calls) {
		count(LEAK_LOST_CALLS, 1);
		return;
	}
	i = calls->depth & (LEAK_CALLS - 1);
	calls->calls[i] = *call;
	calls->depth++;
}

/*
 * The newest call with this kind and stack pointer, taken out with all that came after it. is_nested: calls of this kind end
 * in the other order; else, with fibers, those that came later may go on.
 */
static __always_inline bool call_leave(struct leak_call *call, __u64 kind, __u64 sp, bool is_nested)
{
	struct leak_calls *calls;

	calls = bpf_task_storage_get(&leak_calls, bpf_get_current_task_btf(), NULL, 0);
	if (!calls)
		return false;
	for (__u32 back = 1; back <= LEAK_CALLS; back++) {
		__u32 i = (calls->depth - back) & (LEAK_CALLS - 1);

		if (calls->calls[i].sp != sp || calls->calls[i].kind != kind)
			continue;
		*call = calls->calls[i];
		calls->calls[i].sp = 0;
		if (is_nested || back == 1)
			calls->depth -= back;
		return true;
	}
	return false;
}

/* Whether an address lies in a function of this domain whose return is probed as well. User space changes the ranges. */
static __always_inline bool is_nested(__u64 addr, __u32 domain)
{
	struct leak_state *state = state_get();

	if (!state || addr < state->hull.start || addr >= state->hull.end)
		return false;
	for (int i = 0; i < LEAK_RANGES_MAX; i++) {
		const struct leak_range *r = &state->ranges[i];

		if (addr >= r->start && addr < r->end && r->domain == domain)
			return true;
	}
	return false;
}

static __always_inline __u64 size_product(__u64 n, __u64 size)
{
	/* an overflow makes the allocator return NULL, and the product is not used then */
	return n * size;
}

/* The size that the call asks for; kinds without one (free) give 0. */
static __always_inline __u64 requested_size(struct pt_regs *ctx, __u64 kind)
{
	switch (kind) {
	case PROBE_MALLOC:
	case PROBE_NEW:
		return PT_REGS_PARM1(ctx);
	case PROBE_CALLOC:
		return size_product(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx));
	case PROBE_REALLOCARRAY:
		return size_product(PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx));
	case PROBE_POSIX_MEMALIGN:
	case PROBE_MREMAP:
		return PT_REGS_PARM3(ctx);
	default:
		return PT_REGS_PARM2(ctx);
	}
}

static __always_inline bool kind_moves(__u64 kind)
{
	return kind == PROBE_REALLOC || kind == PROBE_RALLOCX || kind == PROBE_REALLOCARRAY || kind == PROBE_XALLOCX;
}

/* Whether one word, the size, is all that the return needs. */
static __always_inline bool kind_is_plain(__u64 kind)
{
	return kind == PROBE_MALLOC || kind == PROBE_CALLOC || kind == PROBE_MEMALIGN;
}

static __always_inline void count_entry(__u64 cookie)
{
	count_trap(cookie & COOKIE_STEPPED ? LEAK_TRAPS_STEPPED : LEAK_TRAPS);
}

/* Entry of a kind that needs more than its size, or of any kind where there is no session cookie. */
static __always_inline void enter(struct pt_regs *ctx, __u64 kind, __u64 size)
{
	struct leak_call call = { .kind = kind, .size = size, .sp = PT_REGS_SP(ctx) };
	struct leak_state *state = state_get();

	if (!state)
		return;
	if (kind == PROBE_POSIX_MEMALIGN) {
		call.old = PT_REGS_PARM1(ctx);
	} else if (kind == PROBE_MREMAP) {
		call.old = PT_REGS_PARM1(ctx);
		CALL_OLD_BYTES(&call) = (PT_REGS_PARM2(ctx) + MAPPING_FLAGS_MASK) & ~MAPPING_FLAGS_MASK;
		CALL_OLD_BYTES(&call) |= PT_REGS_PARM4(ctx) & MAPPING_FLAGS_MASK;
		CALL_BEGIN_NS(&call) = bpf_ktime_get_ns();
	} else if (kind_moves(kind)) {
		struct block_op op = {};

		int r = BLOCKS_ABSENT;

		call.old = op.addr = PT_REGS_PARM1(ctx);
		if (op.addr)
			r = blocks_get(&state->blocks, &op);
		if (r == BLOCKS_CONTENDED)
			count(LEAK_LOST_CONTENDED, 1);
		if (r == BLOCKS_DONE) {
			call.old_size_flags = op.old_size_flags;
			call.old_time_stack = op.old_time_stack;
		}
	}
	call_enter(&call);
}

static __always_inline void birth(struct pt_regs *ctx, __u64 addr, __u64 size)
{
	book_birth(addr, size, settings.no_stacks ? STACK_FIRST : stack_take(ctx), 0);
}

static __always_inline bool too_small(__u64 size)
{
	if (size >= settings.min_size)
		return false;
	count(LEAK_SMALL, 1);
	return true;
}

/* The old block of a realloc is gone. One that was not in the books is counted like a free of it. */
static __always_inline void moved_away(const struct leak_call *call)
{
	if (!call->old)
		return;
	if (call->old_time_stack)
		book_end(call->old, call->old_size_flags, call->old_time_stack, 0);
	else
		count(LEAK_UNKNOWN_FREES, 1);
}

/* Return of a call whose arguments were remembered. */
static __always_inline void leave(struct pt_regs *ctx, const struct leak_call *call)
{
	__u64 result = PT_REGS_RC(ctx);

	if (call->kind == PROBE_POSIX_MEMALIGN) {
		__u64 addr = 0;

		if ((__u32)result) {
			count(LEAK_FAILED, 1);
		} else if (bpf_probe_read_user(&addr, sizeof(addr), (void *)call->old)) {
			count(LEAK_LOST_READS, 1);
		} else if (addr && !too_small(call->size)) {
			birth(ctx, addr, call->size);
		}
		return;
	}
	if (call->kind == PROBE_XALLOCX) {	/* in place; the result is the real size, old when it failed */
		if (result < call->size || !call->old_time_stack)
			return;
		moved_away(call);
		birth(ctx, call->old, call->size);
		return;
	}
	if (!result) {
		if (call->kind == PROBE_REALLOC && call->old && !call->size)
			moved_away(call);	/* realloc(p, 0) freed it */
		else
			count(LEAK_FAILED, 1);
		return;
	}
	if (kind_moves(call->kind))
		moved_away(call);
	if (!too_small(call->size))
		birth(ctx, result, call->size);
}

/* What all returns do first: false when there is nothing to book. */
static __always_inline bool return_counts(struct pt_regs *ctx)
{
	if (!is_target())
		return false;
	count_trap(LEAK_TRAPS_RETURN);
	return true;
}

#endif
