/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters by stack, in chunks that are added as stacks appear, and stay mapped into ebb.
 */
#ifndef SOURCE_COUNTERS_H
#define SOURCE_COUNTERS_H

#include <stdint.h>

#include "abi.h"

struct counters {
	int outer_fd;		/* the map leak_counters, borrowed */
	uint32_t chunks_cnt;
	struct stack_counters *chunks[COUNTERS_CHUNKS_MAX];
};

void counters_open(struct counters *c, int outer_fd);
void counters_close(struct counters *c);

/* Chunks for stacks_cnt stacks and half a chunk more. Cheap when there is nothing to do. */
int counters_restock(struct counters *c, uint32_t stacks_cnt);

/* Of one stack, in one reading. Zeroes for a stack that has none yet. */
struct stack_counters counters_read(const struct counters *c, uint32_t stack);

uint64_t counters_bytes(const struct counters *c);	/* kernel memory */

#endif
