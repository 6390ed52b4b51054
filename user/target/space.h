/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An address space of the target, the one that it had when this was opened: what is mapped, and how much of it is
 * resident. After exec and after the end nothing is there any more.
 */
#ifndef TARGET_SPACE_H
#define TARGET_SPACE_H

#include "target/target.h"

struct target_space;

enum target_piece_kind {
	TARGET_PIECE_ANON,	/* also [anon:…] and shared anonymous memory, that of shmat() */
	TARGET_PIECE_FILE,
	TARGET_PIECE_HEAP,	/* what brk gives */
	TARGET_PIECE_KERNEL,	/* [stack], which grows by itself, [vdso], [uprobes] … */
};

struct target_piece {
	uint64_t start, end;
	enum target_piece_kind kind;
};

/* A negative errno where it may not be read. */
int target_space_open(const struct target *t, struct target_space **ret);
struct target_space *target_space_free(struct target_space *s);

/* Sorted, disjoint; the caller frees. -ESRCH: it is gone. -EBADMSG, -ENOMEM. */
int target_space_pieces(const struct target_space *s, struct target_piece **ret, size_t *ret_cnt);
/*
 * Adds up the pages of [start, end) that the process has in its page table, so what counts for its RSS: not what is
 * swapped out, and from Linux 6.7 on not the page of zeros that stands for memory that was read only. until_ns: when to give
 * up (CLOCK_MONOTONIC): -ETIME. -ESRCH: it is gone.
 */
int target_space_resident(struct target_space *s, uint64_t start, uint64_t end, uint64_t until_ns, uint64_t *ret_bytes);
/* For tests: as on a kernel without PAGEMAP_SCAN. */
void target_space_without_scan(struct target_space *s);

#endif
