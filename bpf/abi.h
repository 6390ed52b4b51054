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
	PROBE_FREE,		/* f(p): free, cfree, sdallocx, dallocx, free_sized, operator delete … */
	PROBE_NEW,		/* p = f(size): operator new; may throw */
	PROBE_ACQUIRE,		/* what a user calls a pair: see the cookie */
	PROBE_RELEASE,
	PROBE_LOADED,		/* the dynamic linker has loaded or unloaded a library */
	PROBE_MMAP,		/* p = f(hint, size, …): mmap; see mapping_abi.h */
	PROBE_MUNMAP,		/* f(p, size) */
	PROBE_MREMAP,		/* p = f(old, old size, size, flags, …) */
	PROBE_KINDS,
};

/* Kinds that must have no return probe: see leak_pairs.bpf.c. */
static inline int probe_by_rets(enum probe_kind kind) { return kind == PROBE_NEW || kind == PROBE_ACQUIRE; }
/* Kinds of which the entry is all. */
static inline int probe_at_entry(enum probe_kind kind)
{
	return kind == PROBE_FREE || kind == PROBE_RELEASE || kind == PROBE_LOADED || kind == PROBE_MUNMAP;
}
/* Kinds that are no allocator's: they change the address space. */
static inline int probe_maps(enum probe_kind kind)
{
	return kind == PROBE_MMAP || kind == PROBE_MUNMAP || kind == PROBE_MREMAP;
}

/*
 * The attach cookie of a site:
 *
 *	0:26 │ shape: flags:6 │ key:4 │ size:4 │ domain:8 │ 0:7 │ stepped:1 │ kind:8
 *
 * The shape is of pairs (PROBE_ACQUIRE, PROBE_RELEASE). Domain: which pair, from 1 on; 0 is memory. Size, key: the
 * number of the argument, from 1 on; size 0: each counts 1; key 0: the result.
 */
#define COOKIE_KIND(cookie)	((cookie) & 0xff)
#define COOKIE_STEPPED		(1ull << 8)	/* the kernel single-steps this site: another price */
#define COOKIE_DOMAIN(cookie)	((__u32)((cookie) >> 16) & 0xff)
#define COOKIE_SIZE_ARG(cookie)	((__u32)((cookie) >> 24) & 0xf)
#define COOKIE_KEY_ARG(cookie)	((__u32)((cookie) >> 28) & 0xf)
#define COOKIE_KEY_AT		(1ull << 32)	/* the argument says where the key is, when the call has come back */
#define COOKIE_KEY_TWO		(1ull << 33)	/* and there are two of them, ints */
#define COOKIE_KEY_INT		(1ull << 34)	/* the key is an int, 0 is one */
#define COOKIE_KEY_BOTH		(1ull << 35)	/* the key is made of the first argument and of what key says, both ints */
#define COOKIE_OK_ZERO		(1ull << 36)	/* it worked when the result is 0 */
#define COOKIE_OK_INT		(1ull << 37)	/* when it is an int that is not negative; else: neither 0 nor -1 */
#define COOKIE_SHAPE(domain, size, key)	((__u64)(domain) << 16 | (__u64)(size) << 24 | (__u64)(key) << 28)
#define COOKIE_SHAPE_MASK	0x3fffff0000ull
#define PAIR_DOMAINS_MAX	255
#define PAIR_ARGS_MAX		5

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
#define STACK_SPARES	8u	/* a power of two; seats of tasks that have preempted one that walks */

/*
 * A frame is a return address; other kinds have tags in the top byte. Epoch: which of the files that were mapped at this
 * address one after the other, from 0 on: two of them make two stacks, and each keeps its names.
 */
#define STACK_FRAME_EXACT	(1ull << 56)	/* in a frame: an exact pc, not a return address */
#define STACK_FRAME_ADDR(frame)	((frame) & ((1ull << 56) - 1))
#define STACK_FRAME_EPOCH(frame) ((__u32)((frame) >> 57))	/* not of an address of the kernel */
#define STACK_EPOCHS		63u	/* it is not known which, or the 64th and all that follow */

/* How a walk ended. All but the first are stacks without their outer part, and counted. */
enum stack_end {
	STACK_ENDED,		/* there is no caller: _start, a thread's or a context's first function */
	STACK_CUT_DEPTH,	/* more than STACK_FRAMES_MAX frames */
	STACK_CUT_POINTER,	/* code without rows, and the frame pointer does not lead on */
	STACK_CUT_READ,		/* stack memory that could not be read */
	STACK_CUT_RULE,		/* CFI that rows cannot say, or a frame pointer that nobody has saved */
	STACK_CUT_LOOP,		/* a caller's frame that is not above its callee's */
	STACK_CUT_OUTSIDE,	/* what came next lies in no known code */
	STACK_CUT_UNTABLED,	/* the process had no rows yet: by frame pointers alone */
	STACK_ENDS,
};

/* [start, end) is not what it was; `number` is written last, from 1 on. */
struct stack_gone {
	__u64 number, start, end;
};
#define STACK_GONE_KEPT	64u	/* a power of two */

struct stack_state {
	__u32 next;		/* next index */
	__u32 pad;
	__u64 full_cnt;		/* no index left */
	__u64 ring_full_cnt;	/* no room in the ring: the reader was not scheduled */
	__u64 failed_cnt;	/* no registers: not a user process */
	__u64 raced_cnt;	/* no seat was free, or the tables changed, twice */
	__u64 collided_cnt;	/* another stack with the same hashes: booked to [stacks full] */
	__u64 outside_cnt;	/* addresses met that lie in no known mapping: the tables are old */
	__u64 memo_cnt;		/* with stack_check: stacks that were remembered and walked again … */
	__u64 memo_wrong_cnt;	/* … and were others */
	__u64 ends[STACK_ENDS];	/* walks that ended so; those that ended well are not counted */
	__u64 gone_cnt;		/* calls of stack_code_gone() */
	struct stack_gone gone[STACK_GONE_KEPT];	/* the newest of them, by their number */
};
_Static_assert(sizeof(struct stack_state) == 144 + 24 * STACK_GONE_KEPT, "same layout on both sides");

struct stack_event {
	__u32 index;
	__u16 frames_cnt;
	__u16 end;		/* enum stack_end */
	__u64 hash[2];		/* stack_hash_add() over the frames and then the end: a reader checks it */
	__u64 frames[STACK_FRAMES_MAX];	/* innermost first */
};
_Static_assert(sizeof(struct stack_event) == 24 + 8 * STACK_FRAMES_MAX, "same layout on both sides");

/*
 * Tables for walking stacks (unwind_rows.bpf.h, user/trace/tables.c).
 *
 *	process    generation, where its mappings are           two of them: one in use, one to be filled
 *	mapping    start, end, bias ─▸ a piece of a file's rows  sorted; of one process side by side
 *	chunk      words; pieces of files, each an index and the rows behind it
 *	piece      index: the word where the rows of a block of 256 bytes begin │ … │ end
 *	           rows: low 16 bits of va:16 │ rule:16, sorted; the first holds at the beginning of the piece
 *	rule       UNWIND_RULE(): one dictionary for all files; 0 = no rows here
 */
#define UNWIND_CHUNK_WORDS	65536u	/* 256 KiB */
#define UNWIND_CHUNKS_MAX	1024u
#define UNWIND_RULES_MAX	16384u	/* of them 300 to 800 in a process */
#define UNWIND_PROCESSES_MAX	4096u
#define UNWIND_MAPPINGS_MAX	8192u	/* of one process: 2^13, the steps of the search */

#define UNWIND_RULE_NONE	0u	/* code without rows: by frame pointer */
#define UNWIND_RULE_OUTSIDE	1u	/* in no mapping */
#define UNWIND_RULE_FIRST	2u

struct unwind_chunk {
	__u32 words[UNWIND_CHUNK_WORDS];
};

struct unwind_mapping {
	__u64 start, end;	/* addresses */
	__u64 bias;		/* address - va */
	__u32 block;		/* of the first block of the piece: va >> UNWIND_BLOCK_SHIFT */
	__u32 blocks_cnt;	/* 0 = no rows */
	__u32 index;		/* word of the chunk where the piece's index begins */
	__u16 chunk;
	__u16 epoch;		/* see STACK_FRAME_EPOCH() */
};
_Static_assert(sizeof(struct unwind_mapping) == 40, "same layout on both sides");

#define UNWIND_GENERATIONS	4096u

struct unwind_space {
	__u64 generation;	/* never given twice; 0 = no tables. User space goes by UNWIND_GENERATIONS, the kernel by 1 */
	__u32 first, cnt;	/* in unwind_mappings */
};

/* Which process it is, from one exec to the next; and the place of its tables. */
struct unwind_pid {
	__u32 place;
	__u32 exec_id;		/* changes at exec */
	__u64 start_ns;		/* CLOCK_BOOTTIME: a number may be another process's later */
};
_Static_assert(sizeof(struct unwind_pid) == 16, "same layout on both sides");

struct unwind_process {
	__u32 current;		/* which of the two is in use */
	__u32 pad;
	struct unwind_space spaces[2];
};
_Static_assert(sizeof(struct unwind_process) == 40, "same layout on both sides");

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
	LEAK_LOST_MAPPINGS,	/* calls of mmap, munmap, mremap that found no room in the ring */
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

/* Both clocks at one moment, written together by a program that the reader runs: see user/source/ticks.h. */
struct clock_state {
	__u64 jiffies;
	__u64 ns;		/* CLOCK_MONOTONIC */
};

#define LEAK_RANGES_MAX	64	/* allocator functions with a return probe */

struct leak_range {
	__u64 start, end;	/* addresses in the target */
	__u64 domain;		/* see the cookie */
};

/* mm of leak_state that no process has. */
#define MM_UNKNOWN	0ull	/* learned at the first hit */
#define MM_GONE		1ull	/* the target called exec or exited: nothing is counted any more */

struct leak_state {
	__u64 mm;		/* the target's address space, as a kernel pointer: an identity, never followed */
	struct blocks_index blocks;
	__u32 exec_cnt;		/* times that the target called exec */
	__u32 exited;		/* 1 after its last thread */
	__u32 exit_code;	/* as wait(2) has it, valid with exited */
	__u32 fork_cnt;		/* children that were given a copy of its memory, breakpoints included */
	__u32 loaded_cnt;	/* times that the dynamic linker said that its list of libraries changes */
	__u32 pad;
	struct clock_state clock;	/* written by the program leak_clock */
	__u32 drain_chunk;	/* the program leak_drain empties DRAIN_BUCKETS from here on */
	__u32 drain_bucket;
	__u32 drain_left;	/* and leaves so many blocks: no room, or in another's hands */
	__u32 pad2;
	/* Return addresses in here mean a call from within the allocator. The hull is one range around all. */
	struct leak_range hull;
	struct leak_range ranges[LEAK_RANGES_MAX];
};
#define DRAIN_BUCKETS	256u
_Static_assert(sizeof(struct leak_state) == 128 + 24 * (1 + LEAK_RANGES_MAX), "same layout on both sides");

/* Fixed before loading. */
struct leak_settings {
	__u64 pidns_dev, pidns_ino;	/* of the pid namespace in which pid is one */
	__u64 min_size;
	__u32 pid;
	__u32 no_stacks;	/* for benchmarks: every block is booked to one stack */
	__u32 threads_domain;	/* its objects are threads, which end by themselves; 0 = there are none */
	__u32 pad;
};

/* What the ring buffer of leak carries: only what is rare. Look at leak_state for the rest. */
enum leak_event_type {
	LEAK_EVENT_RESTOCK = 1,	/* the books will need the next generation soon */
	LEAK_EVENT_EXEC,
	LEAK_EVENT_EXIT,
	LEAK_EVENT_FORK,	/* the first of its kind */
	LEAK_EVENT_LOADED,
	LEAK_EVENT_MMAP,	/* a struct mapping_event, as the next two: see mapping_abi.h */
	LEAK_EVENT_MUNMAP,
	LEAK_EVENT_MREMAP,
};

struct leak_event {
	__u32 type;
	__u32 pad;
};

/*
 * Ports. A flow is one owner (a process from one exec to the next) towards one destination of one network
 * namespace. A socket has the index of its flow:
 *
 *	connect ── owner key ─▸ owner index ── flow key ─▸ flow index ─▸ struct ports_flow_book (counters)
 *	socket ─▸ flow index, stack, what it went through
 */
struct ports_owner_key {
	__u64 start_ns;		/* of the process, CLOCK_BOOTTIME */
	__u32 tgid;		/* in the first pid namespace */
	__u32 exec_id;		/* changes at exec */
};
_Static_assert(sizeof(struct ports_owner_key) == 16, "same layout on both sides");

/*
 * Addresses are IPv6, IPv4 is ::ffff:a.b.c.d; so a v4-mapped connection is what it is for the kernel: IPv4.
 * A link-local address (fe80::/10) means something on one interface only: its index stands in the second 16 bits, which
 * are 0 on the wire, as BSD's kernels have it (KAME).
 */
struct ports_flow_key {
	__u64 netns;		/* cookie */
	__u8 local[16];		/* network byte order */
	__u8 remote[16];
	__u32 owner;
	__u16 port;		/* remote; host byte order */
	__u16 pad;
};
_Static_assert(sizeof(struct ports_flow_key) == 48, "same layout on both sides");

#define PORTS_NONE		0u	/* no flow, no owner */
#define PORTS_LIVES		32	/* buckets of lifetimes: [2^i, 2^(i+1)) us */

/*
 * TIME_WAIT by the moment when the kernel gives the port back. Its timers of 60 s sit on the fourth or fifth
 * level of the timer wheel, where one slot is 512 or 4,096 jiffies wide and a timer fires at the slot after
 * its own (__run_timers and calc_index() in kernel/time/timer.c): so all that end together are one number.
 * Cell slot & 63 holds slot << 32 | count; an older slot in it is over.
 */
#define PORTS_WHEEL		64

struct ports_flow_book {
	struct ports_flow_key key;
	__u32 index;
	__u32 range;		/* IP_LOCAL_PORT_RANGE of its last socket, high << 16 | low; 0 = none */
	__s64 open;		/* sockets between connect and close */
	__s64 close_wait;	/* of these: the peer has closed */
	__u64 attempts, established, refused, timed_out, reset, exhausted, collisions, failed_other, aborted;
	__u64 closed_first, closed_by_peer, closed_hard;
	__u64 close_wait_closed;	/* left CLOSE_WAIT because the owner closed */
	__u64 seeded;		/* sockets older than ebb: in open, not in attempts */
	__u64 first_failure_ns, last_failure_ns, last_attempt_ns;
	__u64 search_max_ns;
	__u64 search_low_ns;	/* the shortest of the last PORTS_SEARCHES: being preempted makes single ones long */
	__u64 search_next_ns;	/* the shortest so far of the next ones */
	__u64 life_sum_ns;
	__u64 sampled_window;	/* time >> PORTS_WINDOW_SHIFT, in which so many stacks were taken: */
	__u32 sampled_cnt;
	__u32 search_cnt;
	__s64 tw_exact;		/* TIME_WAIT sockets alive; kept with exact_tw only */
	__u32 lives[PORTS_LIVES];
	__u64 wheel[PORTS_WHEEL];
};
_Static_assert(sizeof(struct ports_flow_book) == 904, "same layout on both sides");

#define PORTS_SEARCHES	16

/*
 * Stacks are taken at each connect of a quiet flow; a hot one has the first PORTS_WINDOW_STACKS of each window
 * taken and then one in PORTS_SAMPLE, chosen at random, which stands for so many (its weight).
 */
#define PORTS_WINDOW_SHIFT	30	/* 1.07 s */
#define PORTS_WINDOW_STACKS	64
#define PORTS_SAMPLE		64

struct ports_stack_key {
	__u32 flow, stack;
};
struct ports_stack {		/* sums of weights */
	__u64 connects, failures, time_waits;
};

/* What is known of a socket between connect and close. */
enum ports_socket_flag {
	PORTS_SOCKET_LIVE = 1 << 0,	/* counted in flow.open */
	PORTS_SOCKET_BOUND = 1 << 1,	/* had a port before connect() */
	PORTS_SOCKET_ESTABLISHED = 1 << 2,
	PORTS_SOCKET_PEER_FIRST = 1 << 3,
	PORTS_SOCKET_CLOSE_WAIT = 1 << 4,	/* counted in flow.close_wait */
	PORTS_SOCKET_SEEDED = 1 << 5,	/* older than ebb */
};
struct ports_socket {
	__u32 flow;
	__u32 stack;
	__u32 flags;
	__u16 weight;		/* connects that the stack stands for; 0 = none was taken */
	__u16 sport;		/* inet_sport at connect(): what a former connect has left */
	__u64 connect_ns;
	__u64 state_ns;		/* when it became ESTABLISHED or CLOSE_WAIT */
};
_Static_assert(sizeof(struct ports_socket) == 32, "same layout on both sides");

/* One TCP socket of a dump of a namespace (iter/tcp). */
struct ports_record {
	__u8 state;		/* TCP_ESTABLISHED …; TCP_TIME_WAIT whatever its substate */
	__u8 held;		/* its port belongs to a bind() or listen(): plain connects cannot have it */
	__u16 local_port, remote_port;	/* host byte order */
	__u16 v4;		/* 1: addresses are 4 bytes each and the record ends behind them */
	__u32 flow;		/* PORTS_NONE: not tracked */
	__u32 stack;
	__u32 jiffies;		/* TIME_WAIT: left until its end; CLOSE_WAIT: since the peer closed; else: silent for */
	__u32 flags;		/* enum ports_socket_flag */
	__u8 addrs[32];		/* local, remote */
};
#define PORTS_RECORD_V4_BYTES	32
_Static_assert(sizeof(struct ports_record) == 56, "same layout on both sides");

/* A socket that has a port and no peer, of any namespace: TCP that is only bound, UDP (iter/task_file). */
struct ports_holder {
	__u64 netns;
	__u32 owner;
	__u16 port;
	__u16 udp;
	__u8 local[16];
};
_Static_assert(sizeof(struct ports_holder) == 32, "same layout on both sides");

enum ports_event_type {
	PORTS_EVENT_OWNER = 1,
	PORTS_EVENT_FAILURE,
};

/* A process that has connected for the first time. Sent once. */
struct ports_owner_event {
	__u32 type;
	__u32 index;
	struct ports_owner_key key;
	__u32 pid;		/* as ebb's pid namespace has it; 0 = not in there */
	__u32 netns_inode;
	__u64 netns;		/* cookie */
	char comm[16];
	char exe[64];		/* base name; cut */
	char cgroup[64];	/* last part of its path; cut */
	char host[64];		/* of its UTS namespace when that is not ours */
};

enum ports_failure {
	PORTS_FAILURE_CONNECT,
	PORTS_FAILURE_COLLISION,
	PORTS_FAILURE_UDP,
};

/* A connect() or a UDP send that got no port. A few a second at most are sent: the counters have them all. */
struct ports_failure_event {
	__u32 type;
	__u32 what;		/* enum ports_failure */
	__u32 pid;
	__u16 local_port, remote_port;	/* host byte order; 0 = none */
	__u64 time_ns;
	__u64 search_ns;	/* how long the kernel looked; 0 = not known */
	char comm[16];
	__u8 local[16], remote[16];
};
_Static_assert(sizeof(struct ports_failure_event) == 80, "same layout on both sides");

enum ports_counter {
	PORTS_EVENTS,		/* state changes that were looked at */
	PORTS_NESTED,		/* ends of sockets that were missed, and made up for later */
	PORTS_LOST_FLOWS,	/* connects that found no room for their flow */
	PORTS_LOST_SOCKETS,	/* sockets that could not be kept */
	PORTS_LOST_OWNERS,	/* connects whose owner is not known: no room, or the ring was full */
	PORTS_LOST_STACKS,	/* stacks without a place to count */
	PORTS_LOST_TIME_WAIT,	/* TIME_WAIT that the exact books missed */
	PORTS_LOST_BINDS,	/* bind(0) that could not be followed */
	PORTS_QUIET_FAILURES,	/* failures without an event, beyond the limit */
	PORTS_STACKS_TAKEN,
	PORTS_COUNTERS,
};

/* One, shared by mmap. */
struct ports_shared {
	__u64 tw_jiffies;	/* 60 s */
	__u32 wheel_shift;	/* log2 of the width of a timer wheel slot at that distance, jiffies */
	__u32 next_flow, next_owner;
	__u32 dump_low, dump_high;	/* the range of the namespace that is dumped */
	__u32 pid_level;	/* depth of ebb's pid namespace: /proc/self/status shows it only from its own mount on */
	struct clock_state clock;
	__u64 event_window;	/* limits the failures that are sent */
	__u64 event_cnt;
};
_Static_assert(sizeof(struct ports_shared) == 64, "same layout on both sides");

/* Fixed before loading. */
struct ports_settings {
	__u64 netns;		/* cookie of the only namespace to watch; 0 = all */
	__u64 tw_handler;	/* kernel address of tw_timer_handler; 0 = no exact TIME_WAIT */
	__u32 pid_inode, uts_inode;	/* of ebb's own namespaces */
	__u32 no_stacks;
	__u32 owners_max, flows_max;
	__u32 udp;
};

/* bind(0) and UDP, by owner and local address. */
struct ports_pool_key {
	__u64 netns;
	__u8 local[16];
	__u32 owner;
	__u32 udp;
};
struct ports_pool_counts {
	__u64 tried, failed;
};

#endif
