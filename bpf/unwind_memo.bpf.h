/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stacks that were walked a moment ago. A walk is a function of where it begins (pc, sp), of the tables, and of the slots
 * that it read: return addresses, and saved frame pointers where a rule used them. Where all of these are the same, the stack
 * is the same: this is a proof, not a guess. What a walk read in other ways (signal frames, trampolines, CFAs from
 * memory) is not remembered, nor what spans more than the window.
 */
#ifndef EBB_UNWIND_MEMO_BPF_H
#define EBB_UNWIND_MEMO_BPF_H

#define MEMO_WAYS	2
#define MEMO_SLOTS	64

/* Entries of each CPU's seat, a power of two, at least MEMO_WAYS; set before loading. 0 = remember nothing. */
const volatile __u32 stack_memos = 0;
/* For tests: what is remembered is walked again and compared. */
const volatile __u32 stack_check = 0;

struct stack_memo {
	__u64 pc, sp, bp;
	__u64 generation;
	__u32 stack;		/* index */
	__u32 bp_matters;	/* a rule used the register as it was in the beginning */
	__u32 slots_cnt;
	__u32 bytes;		/* from sp on, up to the end of the last slot */
	__u16 offs[MEMO_SLOTS];
	__u64 words[MEMO_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stack_memo);
} stack_memo SEC(".maps");

/* First of the entries where a stack that begins so may be remembered. */
static __always_inline __u32 memo_index(__u32 seat, __u64 pc, __u64 sp)
{
	__u64 hash = (pc ^ sp << 20 ^ sp >> 4) * CACHE_MIX;

	return seat * stack_memos + ((hash >> 40) & (stack_memos - 1) & ~(MEMO_WAYS - 1u));
}

/* Whether the slots that a remembered walk read hold what they held. Reads them into the window. */
static __always_inline bool memo_is_same(struct stack_cpu *c, const struct stack_memo *m)
{
	if (m->bp_matters && m->bp != c->bp0)
		return false;
	if (window_read(c, c->sp0, m->bytes))
		return false;
	if (c->len < m->bytes)
		return false;
	for (__u32 i = 0; i < MEMO_SLOTS; i++) {
		__u32 off;

		if (i >= m->slots_cnt)
			break;
		off = m->offs[i] & (WINDOW_BYTES - 1);
		if (*(__u64 *)(c->window + off) != m->words[i])
			return false;
	}
	return true;
}

/* The index of the stack that begins at c->pc0 and c->sp0, when it is remembered and the same; else STACK_NONE. */
__noinline int memo_find(__u32 seat)
{
	struct stack_cpu *c = cpu_get(seat);
	struct stack_memo *m;
	__u32 index;

	if (!c)
		return STACK_NONE;
	index = memo_index(seat, c->pc0, c->sp0);
	for (__u32 way = 0; way < MEMO_WAYS; way++) {
		__u32 at = index + way;

		m = bpf_map_lookup_elem(&stack_memo, &at);
		if (!m || m->pc != c->pc0 || m->sp != c->sp0 || m->generation != c->generation)
			continue;
		if (memo_is_same(c, m))
			return m->stack;
	}
	return STACK_NONE;
}

/* One slot more. False when it cannot be remembered. */
static __always_inline bool memo_add(struct stack_memo *m, __u32 off, __u64 word)
{
	__u32 i = m->slots_cnt;

	asm volatile("" : "+r"(i));
	if (i >= MEMO_SLOTS || off > WINDOW_BYTES - 8 || off & 7)
		return false;
	m->offs[i] = off;
	m->words[i] = word;
	m->slots_cnt = i + 1;
	if (off + 8 > m->bytes)
		m->bytes = off + 8;
	return true;
}

/*
 * The slots of frame i of the walk that has just ended into an entry, read from the window, which must still be where it
 * was. A global function: in line the loop over the frames went over a million instructions (6.18). 0, or -1 when it cannot be
 * remembered.
 */
__noinline int memo_add_frame(__u32 seat, __u32 entry, __u32 i)
{
	struct stack_cpu *c = cpu_get(seat);
	struct stack_memo *m = bpf_map_lookup_elem(&stack_memo, &entry);
	__u32 ra, bp;
	__u64 word;

	if (!c || !m || c->len < 8)
		return -1;
	asm volatile("" : "+r"(i));
	if (i >= STACK_FRAMES_MAX)
		return -1;
	ra = c->ra_slots[i];
	bp = c->bp_slots[i];
	if (bp == BP_REGISTER) {
		m->bp_matters = 1;
	} else if (bp != BP_UNUSED) {
		if (bp > c->len - 8 || !memo_add(m, bp, *(__u64 *)(c->window + (bp & (WINDOW_BYTES - 1)))))
			return -1;
	}
	if (ra == BP_UNUSED)
		return 0;
	word = *(__u64 *)(c->window + (ra & (WINDOW_BYTES - 1)));
	if (i + 1 < c->frames_cnt && UNWIND_STRIP(word) != STACK_FRAME_ADDR(c->event.frames[i + 1]))
		return -1;
	return ra > c->len - 8 || !memo_add(m, ra, word) ? -1 : 0;
}

/*
 * Remembers the walk that has just ended. pc is set last: an entry without one is none.
 */
__noinline int memo_put(__u32 seat, __u32 stack)
{
	struct stack_cpu *c = cpu_get(seat);
	struct stack_memo *m;
	__u64 bytes;
	__u32 at;

	if (!c)
		return 0;
	/* the window has moved on: back to the beginning, for all that the walk read */
	bytes = c->sp - c->sp0;
	if (bytes > WINDOW_BYTES || bytes < 8)
		return 0;
	if ((c->base != c->sp0 || c->len < bytes) && window_read(c, c->sp0, bytes))
		return 0;
	at = memo_index(seat, c->pc0, c->sp0) + (c->turns++ & (MEMO_WAYS - 1));
	m = bpf_map_lookup_elem(&stack_memo, &at);
	if (!m)
		return 0;
	m->pc = 0;
	m->sp = c->sp0;
	m->bp = c->bp0;
	m->generation = c->generation;
	m->stack = stack;
	m->bp_matters = m->slots_cnt = m->bytes = 0;
	for (__u32 i = 0; i < STACK_FRAMES_MAX; i++) {
		if (i >= c->frames_cnt)
			break;
		if (memo_add_frame(seat, at, i))
			return 0;
	}
	if (m->slots_cnt)
		m->pc = c->pc0;
	return 0;
}

#endif
