/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that the BPF programs and the user side agree on.
 *
 * Included after <vmlinux.h> on the kernel side, after nothing on the user side.
 */
#ifndef EBB_ABI_H
#define EBB_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * What a probed function does with its arguments (SysV x86-64 and AAPCS64: arg0 is rdi or x0).
 * It travels to the program in the attach cookie, so one program serves them all.
 */
enum probe_kind {
	PROBE_MALLOC = 1,	/* p = f(size): malloc, valloc, pvalloc, mallocx */
	PROBE_CALLOC,		/* p = f(n, size) */
	PROBE_REALLOC,		/* p = f(old, size): realloc; NULL with size 0 has freed */
	PROBE_RALLOCX,		/* p = f(old, size): rallocx; NULL always leaves old alive */
	PROBE_REALLOCARRAY,	/* p = f(old, n, size) */
	PROBE_MEMALIGN,		/* p = f(alignment, size): memalign, aligned_alloc */
	PROBE_POSIX_MEMALIGN,	/* err = f(&p, alignment, size) */
	PROBE_XALLOCX,		/* real size = f(p, size, extra, flags): in place */
	PROBE_FREE,		/* f(p): free, cfree, sdallocx, dallocx, free_sized … */
	PROBE_KINDS,
};

/* The attach cookie of a site: kind in the low byte, then flags. */
#define COOKIE_KIND(cookie)	((cookie) & 0xff)
#define COOKIE_STEPPED		(1ull << 8)	/* the kernel single-steps this site: another price */

/*
 * The books of live blocks: an open-addressing table, see blocks.bpf.h.
 *
 *	outer map (array of maps)  chunk 0 │ chunk 1 │ … │ chunk n-1
 *	chunk (array of one value) bucket 0 │ bucket 1 │ … │ bucket 8191           1 MiB
 *	bucket                     overflow:32 │ 0:32 │ addrs of 5 slots │ words of 5 slots    128 bytes
 *	words of a slot            size:48 flags:8 domain:8 │ time:40 stack:24
 *
 * The addresses stand together, in the first cache line: a search for a block that is not there, with which
 * every birth begins, touches no other.
 */
#define BLOCKS_CHUNK_BYTES	(1u << 20)
#define BLOCKS_SLOTS		5
#define BLOCKS_BUCKETS		8192u
#define BLOCKS_PROBE_MAX	16	/* buckets that a search looks at in one chunk */
#define BLOCKS_GENERATIONS_MAX	7	/* of 1, 4, 16, 64, 128 … chunks, older ones included */
#define BLOCKS_CHUNKS_MAX	4096

#define BLOCK_BUSY		(1ull << 63)	/* in addr: one thread is writing or deleting this slot */
#define BLOCK_SIZE_MAX		((1ull << 48) - 1)
#define BLOCK_SEQ_MASK		0x3full		/* in flags: counts the writes of a slot, for readers */

struct block_words {
	__u64 size_flags;	/* size << 16 | flags << 8 | domain */
	__u64 time_stack;	/* jiffies << 24 | stack index */
};

struct block_bucket {
	__u32 overflow;		/* live blocks that belong here or before and had to go further */
	__u32 pad;
	__u64 addrs[BLOCKS_SLOTS];	/* 0 = the slot is empty */
	struct block_words words[BLOCKS_SLOTS];
};
_Static_assert(sizeof(struct block_bucket) == 128, "same layout on both sides");
_Static_assert(sizeof(struct block_bucket) * BLOCKS_BUCKETS == BLOCKS_CHUNK_BYTES, "a chunk is full of buckets");

/* A slot as a reader takes it out. */
struct block_slot {
	__u64 addr;
	__u64 size_flags;
	__u64 time_stack;
};

static inline __u64 block_size(const struct block_slot *s) { return s->size_flags >> 16; }
static inline __u32 block_domain(const struct block_slot *s) { return s->size_flags & 0xff; }
static inline __u32 block_stack(const struct block_slot *s) { return s->time_stack & 0xffffff; }
static inline __u64 block_time(const struct block_slot *s) { return s->time_stack >> 24; }

/* What the table must know of itself; one, in the books' state. */
struct blocks_index {
	__u32 generation;	/* the newest: inserts go there */
	__u32 oldest;		/* all before it are empty and stay so */
	__u32 closed;		/* inserts go to none before it any more: they are being emptied */
	__u32 stocked;		/* newest generation whose chunks are all in the outer map */
	__u32 none;		/* 0: the chunks before generation 0, where a search expects them */
	__u32 chunks_cnt[BLOCKS_GENERATIONS_MAX];	/* of this generation and all before it */
	__u32 wanted;		/* the generation that the kernel asks user space for */
	__u32 pad;
	__s64 live_cnt;		/* about: the kernel adds in batches, user space corrects it every second */
};
_Static_assert(sizeof(struct blocks_index) == 64, "same layout on both sides");

/*
 * Stacks (unwind.bpf.c). A stack has an index from its first sight on; its frames travel once, through
 * a ring buffer, to user space.
 */
#define STACK_NONE	0u	/* never stored */
#define STACK_FULL	1u	/* the indexes or the ring are used up: row [stacks full] */
#define STACK_FIRST	2u
#define STACKS_MAX	(1u << 22)
#define STACK_FRAMES_MAX 127

/*
 * Where the target has executable code, sorted, neighbours joined. Two buffers: the reader fills the one
 * that is not in use and then changes stack_state.code.
 */
#define CODE_RANGES_MAX	1024

struct code_ranges {
	__u32 cnt;		/* 0 = nothing is known yet: everything counts as code */
	__u32 pad;
	struct {
		__u64 start, end;
	} ranges[CODE_RANGES_MAX];
};

struct stack_state {
	__u32 next;		/* next index */
	__u32 code;		/* the buffer of code_ranges in use, 0 or 1 */
	__u64 full_cnt;		/* no index left */
	__u64 ring_full_cnt;	/* no room in the ring: the reader was not scheduled */
	__u64 failed_cnt;	/* bpf_get_stack() returned nothing */
	__u64 raced_cnt;	/* another task used the scratch meanwhile, twice */
	__u64 outside_cnt;	/* stacks that were cut where a frame lay outside of all code */
};
_Static_assert(sizeof(struct stack_state) == 48, "same layout on both sides");

struct stack_event {
	__u32 index;
	__u16 frames_cnt;
	__u16 outside;		/* 1 = cut: what was above is no code */
	__u64 hash[2];		/* stack_hash_add() over the frames: a reader checks it */
	__u64 frames[STACK_FRAMES_MAX];	/* innermost first, all of them return addresses */
};
_Static_assert(sizeof(struct stack_event) == 24 + 8 * STACK_FRAMES_MAX, "same layout on both sides");

/* One step of the hash that names a stack; begin with the seeds. Two halves, 128 bits. */
#define STACK_HASH_SEED0	0x243f6a8885a308d3ull	/* digits of pi, as in Blowfish's tables */
#define STACK_HASH_SEED1	0x13198a2e03707344ull
static inline __attribute__((always_inline)) void stack_hash_add(__u64 hash[2], __u64 pc)
{
	hash[0] = ((hash[0] << 5 | hash[0] >> 59) ^ pc) * 0x9e3779b97f4a7c15ull;
	hash[1] = (hash[1] << 7 | hash[1] >> 57) + (hash[0] >> 32) + pc * 0xd6e8feb86659fd93ull;
}

/* Held = born - died. One a stack, in chunks of COUNTERS_CHUNK. */
struct stack_counters {
	__u64 born_cnt, born_bytes;
	__u64 died_cnt, died_bytes;
};
_Static_assert(sizeof(struct stack_counters) == 32, "same layout on both sides");
#define COUNTERS_CHUNK		8192u
#define COUNTERS_CHUNKS_MAX	(STACKS_MAX / COUNTERS_CHUNK)

/*
 * Counters that every event touches stand in stripes, one a CPU (modulo), so that CPUs do not share
 * their lines. What is counted: user/source/leak.c has the words for each.
 */
enum leak_counter {
	LEAK_TRAPS,		/* entries at emulated instructions */
	LEAK_TRAPS_STEPPED,	/* entries that were single-stepped */
	LEAK_TRAPS_RETURN,
	LEAK_LOST_FULL,		/* blocks that found no room in the books */
	LEAK_LOST_FULL_BYTES,
	LEAK_LOST_CONTENDED,	/* bookings that met a slot in another's hands for too long */
	LEAK_LOST_CALLS,	/* calls whose arguments could not be kept until their return */
	LEAK_LOST_READS,	/* user memory that could not be read (posix_memalign's result) */
	LEAK_STACKS_FULL,	/* blocks booked to the row [stacks full] */
	LEAK_UNKNOWN_FREES,	/* frees of blocks that are not in the books: older than ebb, or below --min-size */
	LEAK_REPLACED,		/* blocks born at an address that was still in the books */
	LEAK_NESTED,		/* allocator functions that were called by allocator functions */
	LEAK_FAILED,		/* allocations that returned NULL */
	LEAK_SMALL,		/* allocations below --min-size, not booked */
	LEAK_FOREIGN,		/* hits in other address spaces: forked children */
	LEAK_ORPHANS,		/* returns whose entry was not seen */
	LEAK_COUNTERS,
};

struct leak_stripe {
	__u64 counters[LEAK_COUNTERS];
	__s64 live_net;		/* births - deaths not yet in blocks_index.live_cnt, about: see live_add() */
	__u64 pad[32 - LEAK_COUNTERS - 1];	/* to whole cache lines */
};
_Static_assert(sizeof(struct leak_stripe) == 256, "same layout on both sides");
#define LEAK_STRIPES		64	/* a power of two */
#define LEAK_STRIPE_BATCH	64	/* live_net is handed over when it is that far from 0 */

/* mm of leak_state that no process has. */
#define MM_UNKNOWN	0ull	/* learned at the first hit */
#define MM_GONE		1ull	/* the target called exec or exited: nothing is counted any more */

struct leak_state {
	__u64 mm;		/* the target's address space, as a kernel pointer: an identity, never followed */
	struct blocks_index blocks;
	__u32 exec_cnt;		/* times that the target called exec */
	__u32 exited;		/* 1 after its last thread */
	__u32 exit_code;	/* as wait(2) has it, valid with exited */
	__u32 pad;
	__u64 clock_jiffies;	/* written together by the program leak_clock */
	__u64 clock_ns;		/* CLOCK_MONOTONIC */
	__u32 drain_chunk;	/* the program leak_drain empties DRAIN_BUCKETS from here on */
	__u32 drain_bucket;
	__u32 drain_left;	/* and leaves so many blocks: no room, or in another's hands */
	__u32 pad2;
};
#define DRAIN_BUCKETS	256u
_Static_assert(sizeof(struct leak_state) == 120, "same layout on both sides");

#define LEAK_RANGES_MAX	32	/* allocator functions with a return probe */

struct leak_range {
	__u64 start, end;	/* addresses in the target */
};

/* Fixed before loading. */
struct leak_settings {
	__u64 pidns_dev, pidns_ino;	/* of the pid namespace in which pid is one */
	__u64 min_size;
	__u32 pid;
	__u32 no_stacks;	/* for benchmarks: every block is booked to one stack */
	/* Return addresses in here mean a call from within the allocator. The hull is one range around all. */
	struct leak_range hull;
	struct leak_range ranges[LEAK_RANGES_MAX];
};

/* What the ring buffer of leak carries: only what is rare. Look at leak_state for the rest. */
enum leak_event_type {
	LEAK_EVENT_RESTOCK = 1,	/* the books will need the next generation soon */
	LEAK_EVENT_EXEC,
	LEAK_EVENT_EXIT,
};

struct leak_event {
	__u32 type;
	__u32 pad;
};

#endif
