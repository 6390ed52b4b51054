/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's books of flows, pools and stacks -> the model's flows and the profile's values. Inside the layer.
 */
#ifndef SOURCE_PORTS_BOOKS_H
#define SOURCE_PORTS_BOOKS_H

#include "abi.h"
#include "profile/ports.h"
#include "source/ports_owners.h"
#include "source/ports_recycle.h"
#include "source/stacks.h"

struct ports_books {
	struct ports *model;		/* borrowed, as the next ones */
	struct profile *profile;
	const struct ports_owners *owners;
	struct stacks *stacks;
	const struct ports_shared *state;
	int flows_fd, flow_ids_fd, owners_fd, stacks_fd, pools_fd;
	bool exact_tw;
	int *flow_of;			/* kernel's index of a flow -> the model's, -1 = not read yet */
	uint32_t flow_of_cnt;
	struct ports_recycle recycle;
};

void ports_books_open(struct ports_books *b);
void ports_books_close(struct ports_books *b);

/* All flows into the model, their TIME_WAIT by the wheel as of `jiffies`. 0 or a negative errno. */
int ports_books_flows(struct ports_books *b, uint64_t jiffies);
/* The model's flow for a kernel's index; -1 = none. */
int ports_books_flow(const struct ports_books *b, uint32_t index);
/* Failures of bind(0) and UDP by local address, into failed_now of the pools. */
int ports_books_pools(struct ports_books *b);
/* Stacks with values into the profile, scaled to the exact totals of the flows, and the main stack of each flow. */
int ports_books_stacks(struct ports_books *b, bool no_stacks);

typedef int (*ports_books_fn)(const void *key, const void *value, void *ctx);	/* an error ends the pass */
/* Each entry of the kernel's samples: struct ports_stack_key, struct ports_stack. */
int ports_books_each_stack(const struct ports_books *b, ports_books_fn fn, void *ctx);

#endif
