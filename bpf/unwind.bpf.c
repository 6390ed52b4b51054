/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User stacks, walked in the kernel by unwind rows.
 *
 * Hooks nothing itself: it is linked into every source. It gives each distinct stack an index, and sends
 * the frames of a new one through the ring `stack_events`, once.
 *
 *	registers ─ remembered (unwind_memo) ──────────────────────────────▸ index
 *	          └ walk (unwind_walk: rows, window, trampolines) ─ hashes ─▸ index, new ones to the ring
 *
 * Misses: callers behind code that has neither rows nor a frame pointer (a JIT without them, hand-written assembly).
 * Every way to stop short has its counter in stack_state.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "abi.h"
#include "unwind.h"
#include "unwind.bpf.h"

const volatile __u32 stacks_max = 65536;

struct stack_key {
	__u64 hash[2];
};

struct stack_id {
	__u32 index;
	__u32 sum;	/* see struct stack_hash */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct stack_state);
} stack_state SEC(".maps");

/* Not preallocated: an idle target pays for the bucket heads only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct stack_key);
	__type(value, struct stack_id);
} stack_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} stack_events SEC(".maps");

#include "unwind_stack.bpf.h"
#include "unwind_rows.bpf.h"
#include "unwind_task.bpf.h"
#include "unwind_walk.bpf.h"
#include "unwind_memo.bpf.h"

/* What a stack is known by: the hashes where the walk has left them. */
static __always_inline const struct stack_key *stack_key(const struct stack_cpu *c)
{
	return (const struct stack_key *)c->hash.name;
}

/* And by what is noticed that another one has the same hashes. */
static __always_inline __u32 stack_sum(const struct stack_cpu *c)
{
	return c->hash.sum ^ c->hash.sum >> 32;
}

/* The index of a known stack; STACK_NONE when it is new. */
static __always_inline __u32 stack_known(const struct stack_cpu *c)
{
	struct stack_id *id = bpf_map_lookup_elem(&stack_ids, stack_key(c));
	struct stack_state *state;

	if (!id)
		return STACK_NONE;
	if (id->sum == stack_sum(c))
		return id->index;
	state = stack_state_get();
	if (state)
		stack_count(&state->collided_cnt);
	return STACK_FULL;
}

/* A new stack: an index, and its frames to user space. Published last, so an index always has frames. */
static __always_inline __u32 stack_add(struct stack_cpu *c)
{
	struct stack_state *state = stack_state_get();
	struct stack_id id = { .sum = stack_sum(c) };
	__u64 bytes;

	if (!state)
		return STACK_FULL;
	if (state->next >= stacks_max) {
		stack_count(&state->full_cnt);
		return STACK_FULL;
	}
	id.index = __sync_fetch_and_add(&state->next, 1);
	if (id.index >= stacks_max) {
		stack_count(&state->full_cnt);
		return STACK_FULL;
	}
	c->event.index = id.index;
	c->event.frames_cnt = c->frames_cnt;
	c->event.end = c->end;
	c->event.hash[0] = c->hash.name[0];
	c->event.hash[1] = c->hash.name[1];
	bytes = __builtin_offsetof(struct stack_event, frames) + 8ull * c->frames_cnt;
	/*
	 * The check and the use in one register. Linux 6.1 does not carry a bound from a copy to a sum of 32 bits: "R3
	 * unbounded memory access, use 'var &= const' or 'if (var < const)'".
	 */
	asm volatile("" : "+r"(bytes));
	if (bytes > sizeof(c->event))	/* never; the verifier cannot know */
		return STACK_FULL;
	if (bpf_ringbuf_output(&stack_events, &c->event, bytes, 0)) {
		stack_count(&state->ring_full_cnt);
		return STACK_FULL;
	}
	if (!bpf_map_update_elem(&stack_ids, stack_key(c), &id, BPF_NOEXIST))
		return id.index;
	id.index = stack_known(c);	/* another CPU was first */
	return id.index == STACK_NONE ? STACK_FULL : id.index;
}

/* The index of the stack that was walked. A global function for its own stack: calls may take 512 bytes together. */
__noinline int stack_of_walk(__u32 seat)
{
	struct stack_cpu *c = cpu_get(seat);
	struct stack_state *state = stack_state_get();
	__u32 index, end;

	if (!c || !state)
		return STACK_FULL;
	end = c->end;
	/* how it ended is part of it */
	hash_add(&c->hash, end);
	if (end != STACK_ENDED) {
		/* as two comparisons: clang makes one of them, after which kernels before 6.13 do not know the bound */
		asm volatile("" : "+r"(end));
		if (end < STACK_ENDS)
			stack_count(&state->ends[end]);
	}
	index = stack_known(c);
	return index == STACK_NONE ? stack_add(c) : index;
}

enum {
	TAKE_EXACT = 1 << 0,	/* pc is an exact one, not a return address */
	TAKE_ENTRY = 1 << 1,	/* and where a function begins */
};

static __always_inline void walk_begin(struct stack_cpu *c, __u32 seat, __u64 pc, __u64 sp, __u64 bp, __u64 lr, __u32 flags)
{
	c->seat = seat;
	c->pc = pc;
	c->pc0 = pc | (flags & TAKE_EXACT ? STACK_FRAME_EXACT : 0);	/* the same address leads elsewhere as a return address */
	c->sp = c->sp0 = sp;
	c->bp = c->bp0 = bp;
	c->lr = lr;
	c->hash.name[0] = STACK_HASH_SEED0;
	c->hash.name[1] = STACK_HASH_SEED1;
	c->hash.sum = 0;
	c->outside_cnt = 0;
	c->exact = flags & TAKE_EXACT ? 1 : 0;
	c->entry = flags & TAKE_ENTRY ? 1 : 0;
	/* spare places have no memos; at an entry more is asked than slots */
	c->memo_fit = !(flags & TAKE_ENTRY) && stack_memos && !(sp & 7) && seat < stack_spare_first;
	c->bp_slot = BP_REGISTER;
	c->base = c->len = 0;	/* what was read there is old */
	c->frames_cnt = STACK_FRAMES_MAX;
	c->end = STACK_CUT_DEPTH;
}

/* Takes the tables of now for a walk. */
static __always_inline void space_take(struct stack_cpu *c)
{
	const struct unwind_space *space = space_get();

	c->generation = space ? space->generation : 0;
	c->first = space ? space->first : 0;
	c->cnt = space ? space->cnt : 0;
}

/* Whether the tables are those that the walk began with. */
static __always_inline bool space_is_same(const struct stack_cpu *c)
{
	const struct unwind_space *space = space_get();

	return (space ? space->generation : 0) == c->generation;
}

/* What one attempt gives when it was disturbed. */
#define TAKE_AGAIN	STACK_NONE

/* One attempt in a seat that is ours: the index, or TAKE_AGAIN. */
static __always_inline __u32 stack_try(struct stack_cpu *c, __u32 seat)
{
	__u32 index, known = c->memo_fit ? (__u32)memo_find(seat) : STACK_NONE;
	struct stack_state *state;

	if (known && !stack_check)
		return known;
	if (c->base != c->sp0 || c->len < WINDOW_READ)
		window_read(c, c->sp0 & ~7ull, WINDOW_READ);
	walk(c);
	if (!space_is_same(c))
		return TAKE_AGAIN;
	index = stack_of_walk(seat);
	if (known) {
		state = stack_state_get();
		if (state)
			stack_count(&state->memo_cnt);
		if (state && known != index)
			stack_count(&state->memo_wrong_cnt);
	}
	if (c->memo_fit && c->end == STACK_ENDED && index >= STACK_FIRST)
		memo_put(seat, index);
	return index;
}

/* The same from registers. A global function: all that it needs are scalars, and it is verified once. */
__noinline int stack_try_from(__u64 pc, __u64 sp, __u64 bp, __u64 lr, __u32 flags)
{
	int seat = seat_take();
	struct stack_cpu *c = cpu_get(seat);
	__u32 index;

	if (!c)		/* no seat is as good as none that exists */
		return TAKE_AGAIN;
	space_take(c);
	walk_begin(c, seat, pc, sp, bp, lr, flags);
	index = stack_try(c, seat);
	seat_leave(c);
	return index;
}

/* Walks, and again if there were new tables meanwhile, but not for ever. */
static __always_inline __u32 stack_take_from(__u64 pc, __u64 sp, __u64 bp, __u64 lr, __u32 flags)
{
	struct stack_state *state;
	__u32 index = stack_try_from(pc, sp, bp, lr, flags);

	if (index == TAKE_AGAIN)
		index = stack_try_from(pc, sp, bp, lr, flags);
	if (index != TAKE_AGAIN)
		return index;
	state = stack_state_get();
	if (state)
		stack_count(&state->raced_cnt);
	return STACK_FULL;
}

__hidden __u32 stack_take(struct pt_regs *ctx)
{
	return stack_take_from(UNWIND_REG_PC(ctx), UNWIND_REG_SP(ctx), UNWIND_REG_BP(ctx), 0, 0);
}

__hidden __u32 stack_take_entry(struct pt_regs *ctx)
{
	return stack_take_from(UNWIND_REG_PC(ctx), UNWIND_REG_SP(ctx), UNWIND_REG_BP(ctx), UNWIND_REG_LR(ctx),
			       TAKE_EXACT | TAKE_ENTRY);
}

__hidden __u32 stack_take_ret(struct pt_regs *ctx, __u64 entry)
{
	return stack_take_from(entry, UNWIND_REG_SP(ctx), UNWIND_REG_BP(ctx), UNWIND_REG_LR(ctx), TAKE_EXACT | TAKE_ENTRY);
}

__hidden __u32 stack_take_task(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	struct stack_state *state = stack_state_get();

	if (!task->mm) {
		if (state)
			stack_count(&state->failed_cnt);
		return STACK_FULL;
	}
	return stack_take_from(UNWIND_REG_PC(regs), UNWIND_REG_SP(regs), UNWIND_REG_BP(regs), 0, TAKE_EXACT);
}

#define GONE_MAX	64	/* pieces of files; one that is larger than these is not taken out */

/* Takes [start, end) out of the mappings from `first` on. A global function: for two spaces, verified once. 1: some was there. */
__noinline int code_cut(__u32 first, __u32 cnt, __u64 start, __u64 end)
{
	struct unwind_mapping *m;
	int cut = 0;
	__u32 at;

	if (!cnt)
		return 0;
	at = mapping_find(first, cnt, end - 1);
	for (int i = 0; i < GONE_MAX; i++, at--) {
		m = bpf_map_lookup_elem(&unwind_mappings, &at);
		if (!m || m->start >= end)
			break;
		if (m->end > start && m->end > m->start) {
			m->end = m->start < start ? start : m->start;
			cut = 1;
		}
		if (m->start <= start || at == first)
			break;
	}
	return cut;
}

static __always_inline bool space_cut(struct unwind_space *space, __u64 start, __u64 end)
{
	if (!code_cut(space->first, space->cnt, start, end))
		return false;
	/* walks that have begun notice, and what is cached or remembered is old */
	if (space->generation % UNWIND_GENERATIONS == UNWIND_GENERATIONS - 1)
		space->cnt = 0;
	else
		__sync_fetch_and_add(&space->generation, 1);
	return true;
}

/*
 * Both spaces: user space may be about to switch to tables that it has made from mappings of before. It looks whether
 * anything is gone since then when the tables are written, and switches if not; what goes after that look is cut here.
 */
int stack_code_gone(__u64 start, __u64 end)
{
	struct unwind_process *p = process_get();
	struct stack_state *state = stack_state_get();
	__u32 current;
	__u64 number;

	if (!p || !state)
		return 0;
	number = __sync_fetch_and_add(&state->gone_cnt, 1) + 1;
	state->gone[number & (STACK_GONE_KEPT - 1)].start = start;
	state->gone[number & (STACK_GONE_KEPT - 1)].end = end;
	*(volatile __u64 *)&state->gone[number & (STACK_GONE_KEPT - 1)].number = number;
	current = *(volatile __u32 *)&p->current & 1;
	space_cut(current ? &p->spaces[0] : &p->spaces[1], start, end);
	if (space_cut(current ? &p->spaces[1] : &p->spaces[0], start, end))
		stack_count(&state->outside_cnt);
	return 0;
}

/* The child has the number of execs of its parent: others are tables of a program that its parent does not run any more. */
int stack_tables_inherit(__u32 parent, __u32 child, __u64 child_start_ns, __u32 child_exec_id)
{
	struct unwind_pid *pid = bpf_map_lookup_elem(&unwind_pids, &parent), own = {};

	if (!pid || pid->exec_id != child_exec_id)
		return 0;
	own.place = pid->place;
	own.exec_id = child_exec_id;
	own.start_ns = child_start_ns;
	bpf_map_update_elem(&unwind_pids, &child, &own, BPF_ANY);
	return 0;
}

int stack_tables_leave(__u32 process)
{
	bpf_map_delete_elem(&unwind_pids, &process);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
