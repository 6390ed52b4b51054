/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The stacks that the kernel has given an index, as stacks of a profile. Their frames come once, through
 * the ring of bpf/unwind.bpf.c.
 */
#ifndef SOURCE_STACKS_H
#define SOURCE_STACKS_H

#include <stdint.h>

#include "abi.h"
#include "profile/profile.h"

struct stacks {
	struct profile *profile;	/* borrowed */
	int process;			/* index in the profile */
	int *by_index;			/* kernel's index -> index in the profile, -1 = not seen yet */
	uint32_t size;
	uint32_t known;			/* one more than the highest index seen */
	uint64_t garbled_cnt;		/* events whose frames were overwritten; nothing is booked to them */
	int err;			/* the first error of stacks_on_event() */
};

/* Adds the process and the row [stacks full]. */
int stacks_open(struct stacks *s, struct profile *p, int pid, const char *comm);
void stacks_close(struct stacks *s);

/* For ring_buffer__new(): ctx is a struct stacks. Always 0; errors are kept in err. */
int stacks_on_event(void *ctx, void *data, size_t size);

/* A stack without frames under one of the kernel's indexes. label: a constant. */
int stacks_label(struct stacks *s, uint32_t index, const char *label);

/* The profile's index, -1 for one that is not known yet. */
static inline int stacks_at(const struct stacks *s, uint32_t index)
{
	return index < s->size ? s->by_index[index] : -1;
}

#endif
