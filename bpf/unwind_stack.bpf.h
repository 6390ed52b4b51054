/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What one CPU needs to walk a stack, and how a walk reads it: a large piece at a time, because the read helper costs
 * some 80 ns whatever it reads. Return addresses and saved frame pointers are then plain loads.
 *
 *	address   base                     base + len
 *	          │ window[0] …            │ not read: a page that is not there, or beyond the window
 */
#ifndef EBB_UNWIND_STACK_BPF_H
#define EBB_UNWIND_STACK_BPF_H

#define WINDOW_BYTES	4096u	/* a power of two; a remembered stack may be as long */
#define WINDOW_READ	2048u	/* what a walk reads at once: 1,024 and 4,096 were slower */
#define WINDOW_BELOW	56u	/* registers are saved below a return address: read these too */
#define PAGE_BYTES	4096u	/* the smallest that machines have: what is readable ends at one */

#define UNWIND_CACHE	2048u	/* a power of two */

struct unwind_cached {
	__u64 key;	/* pc ^ mixed data: two words of different entries never match */
	__u64 data;	/* generation << 16 | rule */
};

/* What tells stacks apart: the hashes that name one, and a sum to notice should two ever have the same. */
struct stack_hash {
	__u64 name[2];
	__u64 sum;
};

/* A seat: what one walk needs. Each CPU has one, and there are spare ones; see seat_take(). */
struct stack_cpu {
	__u32 busy;		/* somebody walks here */
	__u32 seat;
	__u64 turns;		/* memos that were written from here */
	__u64 generation;	/* of the tables that this walk uses; 0 = none */
	__u32 first, cnt;	/* its mappings */

	/* Where the walk stands. Not in registers: there the verifier would follow each value by itself. */
	__u64 pc, sp, bp;
	__u64 lr;		/* at an entry, on machines that call by a register */
	struct stack_hash hash;
	__u64 pc0, sp0, bp0;	/* where it began; pc0 as a frame is stored */
	struct stack_hash outside_hash;	/* when it met the first address outside of all code */
	__u32 outside_cnt;	/* frames up to there, that one included; 0 = none is outside */
	__u32 exact;		/* pc is an exact one */
	__u32 entry;		/* and the first instruction of a function */
	__u32 memo_fit;		/* this walk may be remembered */
	__u32 bp_slot;		/* offset from sp0 of the slot that bp was read from, or BP_REGISTER */
	__u32 frames_cnt;
	__u32 end;		/* enum stack_end */
	__u32 pad;

	__u64 base, len;	/* of the window */
	__u64 unreadable;	/* a page that could not be read a moment ago; 0 = none */
	__u32 ra_slots[STACK_FRAMES_MAX + 1];	/* offset from sp0 of the slot that led from this frame on */
	__u32 bp_slots[STACK_FRAMES_MAX + 1];	/* of the one that its rule's frame pointer was read from, or a mark */
	struct stack_event event;
	struct unwind_cached cache[UNWIND_CACHE];
	__u8 window[WINDOW_BYTES + 8];
};

#define BP_UNUSED	(~0u)	/* the rule does not ask for it */
#define BP_REGISTER	(~0u - 1)	/* the register as it was in the beginning */
#define BP_LOST		(~0ull)	/* a frame pointer that nobody knows */

/* The first spare seat, behind those of the CPUs; set before loading. */
const volatile __u32 stack_spare_first = 1;

/* One element a seat, sized before loading: an array's look-up is a few instructions, a per-CPU one's a call. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stack_cpu);
} stack_cpus SEC(".maps");

static __always_inline struct stack_cpu *cpu_get(__u32 seat)
{
	return bpf_map_lookup_elem(&stack_cpus, &seat);
}

static __always_inline bool seat_try(__u32 seat)
{
	struct stack_cpu *c = cpu_get(seat);

	return c && !__sync_val_compare_and_swap(&c->busy, 0, 1);
}

#define SEAT_NONE	(-1)

/* A spare seat; SEAT_NONE when there is none. A global function: rare, and verified once. */
__noinline int seat_take_spare(__u32 cpu)
{
	for (__u32 i = 0; i < STACK_SPARES; i++) {
		__u32 seat = stack_spare_first + ((cpu + i) & (STACK_SPARES - 1));

		if (seat_try(seat))
			return seat;
	}
	return SEAT_NONE;
}

/*
 * A seat that is ours until seat_leave(): this CPU's, or a spare one where a task was preempted in the middle of a walk.
 * (To let both walk in one seat and notice it afterwards does not do: the first goes on in what is the second's by now,
 * and the second cannot know.)
 */
static __always_inline int seat_take(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return seat_try(cpu) ? (int)cpu : seat_take_spare(cpu);
}

static __always_inline void seat_leave(struct stack_cpu *c)
{
#if defined(__TARGET_ARCH_x86)
	asm volatile("" ::: "memory");	/* stores are not reordered with stores */
	*(volatile __u32 *)&c->busy = 0;
#else
	__sync_lock_test_and_set(&c->busy, 0);
#endif
}

/*
 * Reads len bytes (8 at least) at base into the window. A read that faults costs ten times one that does not, and near
 * the end of a stack every walk would meet it: so the page is remembered.
 */
static __always_inline int window_read(struct stack_cpu *c, __u64 base, __u64 len)
{
	__u64 boundary = (base | (PAGE_BYTES - 1)) + 1, whole = len;

	if (base + len > boundary && c->unreadable == boundary)
		len = boundary - base;
	for (int i = 0; i < 2; i++) {
		if (len < 8)
			break;
		asm volatile("" : "+r"(len));
		if (len > WINDOW_BYTES)
			break;
		if (!bpf_probe_read_user(c->window, len, (void *)base)) {
			c->base = base;
			c->len = len;
			return 0;
		}
		if (base + len <= boundary || whole > PAGE_BYTES)
			break;
		c->unreadable = boundary;
		len = boundary - base;
	}
	c->base = 0;
	c->len = 0;
	return -1;
}

/* Moves the window so that it holds the word at addr, and what is saved below it. */
__noinline int window_move(__u32 seat, __u64 addr)
{
	struct stack_cpu *c = cpu_get(seat);
	__u64 base = (addr - WINDOW_BELOW) & ~7ull, boundary = (base | (PAGE_BYTES - 1)) + 1;

	if (!c)
		return -1;
	if (base < boundary && boundary <= addr)	/* what lies below may be unreadable, or what lies above */
		base = addr;
	return window_read(c, base, WINDOW_READ);
}

/* The word at addr; addr may be anything. */
static __always_inline int window_word(struct stack_cpu *c, __u64 addr, __u64 *ret)
{
	__u64 off = addr - c->base;

	if (c->len < 8 || off > c->len - 8) {
		if (window_move(c->seat, addr))
			return -1;
		off = addr - c->base;
		if (c->len < 8 || off > c->len - 8)
			return -1;
	}
	off &= WINDOW_BYTES - 1;
	asm volatile("" : "+r"(off));
	off &= WINDOW_BYTES - 1;
	*ret = *(__u64 *)(c->window + off);
	return 0;
}

#endif
