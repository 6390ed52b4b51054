/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The stacks that the kernel has given an index, as stacks of a profile. Their frames come once, through
 * the ring of bpf/unwind.bpf.c.
 *
 * Of one process an index is one stack of the profile. Where many processes are looked at, the forked workers of
 * a server share an index, and only the counters know who used it: the frames are kept, 8 bytes each, and become
 * a stack of a process when they are asked for.
 *
 *	by_index   one process: its stack │ many: where its record begins in the store
 *	store      blocks of STORE_BLOCK words; no record crosses their ends
 *	record     head: count of frames, cut │ frames, innermost first
 *	           head: a label              │ pointer to it
 */
#ifndef SOURCE_STACKS_H
#define SOURCE_STACKS_H

#include <stdint.h>

#include "abi.h"
#include "profile/profile.h"

struct stacks {
	struct profile *profile;	/* borrowed */
	int process;			/* index in the profile; -1 = many */
	int *by_index;			/* kernel's index -> see above, -1 = not seen yet */
	uint32_t size;
	uint32_t known;			/* one more than the highest index seen */
	uint64_t **store;		/* with many processes */
	uint32_t store_words;		/* used, ends of blocks included */
	uint64_t garbled_cnt;		/* events whose frames were overwritten; nothing is booked to them */
	int err;			/* the first error of stacks_on_event() and stacks_of() */
};

/* Of one process: adds it and the row [stacks full]. */
int stacks_open(struct stacks *s, struct profile *p, int pid, const char *comm);
/* Of many: processes are added by whoever meets them. */
int stacks_open_many(struct stacks *s, struct profile *p);
void stacks_close(struct stacks *s);

/* For ring_buffer__new(): ctx is a struct stacks. Always 0; errors are kept in err. */
int stacks_on_event(void *ctx, void *data, size_t size);

/* A stack without frames under one of the kernel's indexes. label: a constant. */
int stacks_label(struct stacks *s, uint32_t index, const char *label);

/* Of one process: the profile's index, -1 for one that is not known yet. */
static inline int stacks_at(const struct stacks *s, uint32_t index)
{
	return index < s->size ? s->by_index[index] : -1;
}

/*
 * Of many: the profile's index of a stack of this process (an index of the profile), which is added when it is new.
 * -1: its frames have not arrived yet, or the index is STACK_NONE, or memory is short (then err is set). It looks up
 * all frames each time; the answer never changes, so it may be kept.
 */
int stacks_of(struct stacks *s, uint32_t index, uint32_t process);
/* The same with one more frame inside, that the source makes up; it must not be an address of the process. Not of labels. */
int stacks_of_with(struct stacks *s, uint32_t index, uint32_t process, uint64_t inner);

#endif
