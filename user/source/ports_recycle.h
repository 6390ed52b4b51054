/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Closes the books of processes that have ended, so that the kernel's have room for others. Inside the layer.
 */
#ifndef SOURCE_PORTS_RECYCLE_H
#define SOURCE_PORTS_RECYCLE_H

#include <stdbool.h>

#include "abi.h"
#include "profile/ports.h"

struct ports_books;

/* A flow that can be closed. */
struct ports_dying {
	struct ports_flow_key key;
	uint32_t index;		/* the kernel's */
	uint32_t flow;		/* the model's */
};

/* A sample of stacks of a closed flow. */
struct ports_kept_sample {
	struct ports_stack_key key;
	uint32_t flow;		/* the model's */
	struct ports_stack counts;
};

struct ports_recycle {
	bool *closed;		/* by the model's flow: the kernel has it no more */
	size_t closed_cnt;
	struct ports_kept_sample *samples;
	size_t samples_cnt;
	struct ports_dying *dying;
	size_t dying_cnt;
};

void ports_recycle_close(struct ports_recycle *r);
bool ports_recycle_is_closed(const struct ports_recycle *r, size_t flow);
/* A flow as it was just read, tw: its TIME_WAIT; taken if its owner has ended and nothing of it is left. -ENOMEM. */
int ports_recycle_offer(struct ports_recycle *r, const struct ports *model, const struct ports_flow_book *f, uint32_t flow,
			uint32_t tw);
/* Closes those that were taken. 0 or a negative errno. */
int ports_recycle_run(struct ports_recycle *r, struct ports_books *b);

#endif
