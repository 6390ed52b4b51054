/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program for the walker that exists on paper only. It has functions of 256 bytes, with one unwind rule each, and a stack
 * on which tests write what they like. Included by the programs that test it, once each.
 */
#ifndef UNIT_UNWIND_WORLD_H
#define UNIT_UNWIND_WORLD_H

#include "unwind_host.h"

#define TEXT		0x10000ull
#define FUNCTIONS	250u
#define FN(n)		(TEXT + (n) * UNWIND_BLOCK_BYTES + 16)	/* a return address in it */
#define STACK		0x7ffd00001000ull
#define STACK_WORDS	2048u

static __u64 stack[STACK_WORDS];

#define RULE_SP(n)	UNWIND_RULE(UNWIND_SP, n, UNWIND_BP_SAME, 0)
#define RULE_FRAME	UNWIND_RULE(UNWIND_BP, 16, UNWIND_BP_CFA, -16)
#define RULE_END	UNWIND_RULE(UNWIND_END, 0, UNWIND_BP_SAME, 0)

/* The rule of a function: the tables are others then. */
static inline void function(__u32 n, __u64 rule)
{
	host.rules[UNWIND_RULE_FIRST + n] = rule;
	host.process->spaces[0].generation++;
}

static inline struct unwind_chunk *chunk(void) { return host_chunks[0]; }

static inline void world_open(void)
{
	host_open();
	memset(stack, 0, sizeof(stack));
	host.regions[0] = (struct host_region){ STACK, sizeof(stack), stack };
	host_chunks[0] = mmap(NULL, sizeof(struct unwind_chunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (__u32 i = 0; i <= FUNCTIONS; i++)
		chunk()->words[i] = FUNCTIONS + 2 + i;
	for (__u32 i = 0; i < FUNCTIONS; i++)
		chunk()->words[FUNCTIONS + 2 + i] = ((TEXT + i * UNWIND_BLOCK_BYTES) & 0xffff) << 16 | (UNWIND_RULE_FIRST + i);
	host.mappings[0] = (struct unwind_mapping){ .start = TEXT, .end = TEXT + FUNCTIONS * UNWIND_BLOCK_BYTES,
						    .block = TEXT >> UNWIND_BLOCK_SHIFT, .blocks_cnt = FUNCTIONS };
	host.process->spaces[0] = (struct unwind_space){ .generation = 1, .cnt = 1 };
	function(0, RULE_SP(8));
	function(1, RULE_END);
	stack[0] = FN(1);
}

/* A walk from function 0 ends so, with so many frames, and is counted as that. */
static inline __u32 ends(enum stack_end end, __u32 frames_cnt, __u64 sp, __u64 bp)
{
	__u64 before = host.state.ends[end];
	__u32 index = host_take(stack_take, FN(0), sp, bp);

	if (!CHECK(index >= STACK_FIRST && index < HOST_STACKS))
		return index;
	CHECK_EQ(host.events[index].end, end);
	CHECK_EQ(host.events[index].frames_cnt, frames_cnt);
	CHECK_EQ(host.state.ends[end] - before, end != STACK_ENDED);
	return index;
}

#endif
