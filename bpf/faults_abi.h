/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of faults and the user side agree on, beside abi.h.
 *
 *	fault ── owner key ─▸ owner ─┐
 *	      ── stack ──────────────┼─▸ {owner, stack, memory} ─▸ struct faults_counts
 *	      ── memory ─────────────┘
 */
#ifndef EBB_FAULTS_ABI_H
#define EBB_FAULTS_ABI_H

#include "abi.h"

/* A process from one exec to the next. */
struct faults_owner_key {
	__u64 start_ns;		/* of its leader, CLOCK_BOOTTIME */
	__u32 tgid;		/* in the first pid namespace */
	__u32 exec_id;
};
_Static_assert(sizeof(struct faults_owner_key) == 16, "same layout on both sides");

#define FAULTS_NONE	0u	/* no owner */

/*
 * What memory it was, as the kernel's own list of mappings said at the fault:
 *
 *	place:52 │ flags:12
 *
 * The place tells the mappings of a process apart, for the user side to look them up: where a mapping begins, or, for
 * anonymous ones, where it ends (they grow downwards when neighbours are merged), with FAULTS_AT_END. The heap of brk() and
 * the first thread's stack have none. 0: not known.
 */
#define FAULTS_PLACE(memory)	((memory) & ~0xfffull)
#define FAULTS_KNOWN		(1u << 0)	/* always, but in the memory that is not known */
#define FAULTS_AT_END		(1u << 1)
#define FAULTS_FILE		(1u << 2)
#define FAULTS_SHMEM		(1u << 3)	/* a file of tmpfs: memfd, /dev/shm, shared anonymous */
#define FAULTS_SHARED		(1u << 4)
#define FAULTS_EXEC		(1u << 5)
#define FAULTS_BRK		(1u << 6)
#define FAULTS_STACK		(1u << 7)	/* of the first thread */
#define FAULTS_HUGE		(1u << 8)	/* may get huge pages: madvise(), or the machine's setting */
#define FAULTS_HUGETLB		(1u << 9)
#define FAULTS_THREAD		(1u << 10)	/* looks like a thread's stack: marked so, and the stack pointer is in it */
#define FAULTS_UNMAPPED		(1u << 11)	/* there was no mapping: the fault ended in a signal */

struct faults_key {
	__u32 owner;
	__u32 stack;
	__u64 memory;
};
_Static_assert(sizeof(struct faults_key) == 16, "same layout on both sides");

/* A major fault is also among the first touches, unless the kernel itself had it. */
struct faults_counts {
	__u64 first;		/* the page was not there */
	__u64 zero;		/* the same, but anonymous memory was only read: that maps a page of zeroes which all share */
	__u64 copied;		/* it was, but could not be written to: copy-on-write, in shared memory a first write */
	__u64 minor;		/* one of these, by the sensor that cannot tell them apart; without the major ones */
	__u64 major_user, major_kernel;
	__u64 major_ns;		/* of those that were timed */
	__u64 timed;
};
_Static_assert(sizeof(struct faults_counts) == 64, "same layout on both sides");

/* What programs without a lasting place for it count, in the order of struct faults_counts. */
enum faults_kind { FAULTS_KIND_FIRST, FAULTS_KIND_ZERO, FAULTS_KIND_COPIED, FAULTS_KIND_MINOR, FAULTS_KIND_CNT };

/*
 * What a CPU has counted last and not put into the books yet: mostly the next fault is of the same key, and a hash map takes as
 * long as all the rest but for the stack. Readers add it to the books.
 */
struct faults_pending {
	struct faults_key key;	/* its owner is FAULTS_NONE: nothing */
	__u64 counts[FAULTS_KIND_CNT];
	__u32 busy;		/* somebody writes here */
	__u32 pad;
};
_Static_assert(sizeof(struct faults_pending) == 56, "same layout on both sides");

/* A new owner, or the end of one. */
enum { FAULTS_EVENT_OWNER = 1, FAULTS_EVENT_END };

struct faults_owner_event {
	__u32 type;
	__u32 index;
	struct faults_owner_key key;
	__u32 pid;		/* as ebb's pid namespace has it; 0 = it does not */
	__u32 parent;		/* the owner that it is a fork of, with the same addresses; FAULTS_NONE = not known */
	char comm[16];
	/* FAULTS_EVENT_END: what the kernel has counted for it in all its life; of an owner: until now */
	__u64 minflt, majflt;
};
_Static_assert(sizeof(struct faults_owner_event) == 64, "same layout on both sides");

enum faults_counter {
	FAULTS_LOST_OWNERS,	/* whose process has no index: no room, or the ring was full */
	FAULTS_LOST_COUNTS,	/* that found no room in the books */
	FAULTS_LOST_ENDS,	/* ends of processes that did not fit into the ring */
	FAULTS_LOST_BIRTHS,	/* children that are not watched: no room */
	FAULTS_MEMORY_BUSY,	/* the list of mappings was being changed: memory not known */
	FAULTS_UNTIMED,		/* major faults whose beginning was not kept */
	FAULTS_COUNTERS,
};

struct faults_shared {
	__u32 next_owner;
	__u32 pid_level;	/* of ebb's pid namespace */
	__u32 time_anonymous;	/* there is swap: anonymous memory may have major faults, too */
	__u32 tgid;		/* the first process that is watched, in the first pid namespace; 0 = none */
	__u32 others_cnt;	/* how many more have been, about */
	__u32 pad;
	__u64 counters[FAULTS_COUNTERS];
};
_Static_assert(sizeof(struct faults_shared) == 72, "same layout on both sides");

struct faults_settings {
	__u32 all;		/* the whole machine */
	__u32 huge_always;	/* the machine gives huge pages to all anonymous memory */
	__u32 pid_inode;	/* of ebb's pid namespace */
	__u32 pad;
};
_Static_assert(sizeof(struct faults_settings) == 16, "same layout on both sides");

#endif
