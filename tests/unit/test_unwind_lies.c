/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walker on stacks and tables that lie: each lie ends as what it is, and is counted; nothing beyond the memory that is
 * the walker's is touched (the sanitizers watch), and no two stacks become one.
 */
#include "unwind_world.h"

TEST(loops)
{
	world_open();
	ends(STACK_ENDED, 2, STACK, 0);
	function(0, RULE_SP(0));
	ends(STACK_CUT_LOOP, 1, STACK, 0);
	function(0, RULE_SP(-8));
	ends(STACK_CUT_LOOP, 1, STACK, 0);
	function(0, RULE_SP(0x80000000));
	ends(STACK_CUT_LOOP, 1, STACK, 0);
	function(0, RULE_FRAME);
	ends(STACK_CUT_LOOP, 1, STACK, STACK - 16);
	ends(STACK_CUT_LOOP, 1, STACK, -16);
	/* a frame that returns to itself */
	stack[0] = FN(2);
	function(0, RULE_SP(8));
	function(2, RULE_FRAME);
	stack[2] = STACK + 16;
	stack[3] = FN(2);
	ends(STACK_CUT_LOOP, 3, STACK, STACK + 16);
	host_close();
}

TEST(unreadable)
{
	world_open();
	ends(STACK_CUT_READ, 1, 0x1000, 0);
	ends(STACK_CUT_READ, 1, 0, 0);
	ends(STACK_CUT_READ, 1, -4096, 0);
	ends(STACK_CUT_READ, 1, STACK + sizeof(stack), 0);
	ends(STACK_CUT_READ, 1, STACK + sizeof(stack) - 4, 0);
	function(0, RULE_SP(0x7fffffff));
	ends(STACK_CUT_READ, 1, STACK, 0);
	function(0, UNWIND_RULE(UNWIND_SP, 8, UNWIND_BP_CFA, -32768));
	ends(STACK_CUT_READ, 1, STACK, 0);
	function(0, UNWIND_RULE(UNWIND_SP, 8, UNWIND_BP_AT_BP, 0));
	ends(STACK_CUT_READ, 1, STACK, 3);
	function(0, UNWIND_RULE(UNWIND_BP_DEREF, 0, UNWIND_BP_SAME, 0));
	ends(STACK_CUT_READ, 1, STACK, 0x123456);
	function(0, UNWIND_RULE(UNWIND_SIGNAL, 0, UNWIND_BP_SAME, 0));
	ends(STACK_CUT_READ, 1, STACK + sizeof(stack) - 128, 0);
	function(0, RULE_FRAME);
	ends(STACK_CUT_READ, 1, STACK, 0x7fffffffffffffff);
	/* the last word of what can be read is enough */
	function(0, RULE_SP(8));
	stack[STACK_WORDS - 1] = FN(1);
	ends(STACK_ENDED, 2, STACK + sizeof(stack) - 8, 0);
	host_close();
}

TEST(pointers)
{
	world_open();
	function(0, 0);		/* no rows */
	ends(STACK_ENDED, 1, STACK, 0);
	ends(STACK_CUT_POINTER, 1, STACK, STACK - 8);
	ends(STACK_CUT_POINTER, 1, STACK, STACK + 4);
	ends(STACK_CUT_POINTER, 1, STACK, STACK + (1 << 20) + 8);
	ends(STACK_CUT_POINTER, 1, STACK, -8);
	ends(STACK_CUT_READ, 1, STACK, STACK + (1 << 20));
	stack[2] = STACK + 16;
	stack[3] = FN(0);
	ends(STACK_CUT_POINTER, 2, STACK, STACK + 16);	/* the chain's next is this one */
	stack[2] = STACK;
	ends(STACK_CUT_POINTER, 2, STACK, STACK + 16);
	stack[2] = 1;
	ends(STACK_CUT_POINTER, 2, STACK, STACK + 16);
	stack[2] = 0;
	ends(STACK_ENDED, 2, STACK, STACK + 16);
	host_close();
}

TEST(rules)
{
	world_open();
	for (__u32 kind = UNWIND_BAD; kind < 256; kind++) {
		function(0, UNWIND_RULE(kind, 8, UNWIND_BP_SAME, 0));
		ends(STACK_CUT_RULE, 1, STACK, 0);
	}
	for (__u32 kind = UNWIND_BP_KINDS; kind < 256; kind++) {
		function(0, UNWIND_RULE(UNWIND_SP, 8, kind, 0));
		ends(STACK_ENDED, 2, STACK, 0);
	}
	/* a frame pointer that nobody knows is not asked */
	function(0, UNWIND_RULE(UNWIND_SP, 8, UNWIND_BP_UNDEFINED, 0));
	stack[0] = FN(2);
	function(2, RULE_FRAME);
	ends(STACK_CUT_RULE, 2, STACK, STACK + 64);
	function(2, UNWIND_RULE(UNWIND_BP_DEREF, 0, UNWIND_BP_SAME, 0));
	ends(STACK_CUT_RULE, 2, STACK, STACK + 64);
	function(2, 0);
	ends(STACK_CUT_POINTER, 2, STACK, STACK + 64);
	/* slots that are not aligned */
	function(0, RULE_SP(13));
	memcpy((char *)stack + 5, &(__u64){ FN(1) }, 8);
	ends(STACK_ENDED, 2, STACK, 0);
	host_close();
}

TEST(depth)
{
	world_open();
	for (__u32 i = 0; i < STACK_WORDS; i++)
		stack[i] = FN(0);
	ends(STACK_CUT_DEPTH, STACK_FRAMES_MAX, STACK, 0);
	stack[STACK_FRAMES_MAX - 2] = FN(1);
	ends(STACK_ENDED, STACK_FRAMES_MAX, STACK, 0);
	stack[STACK_FRAMES_MAX - 2] = FN(0);
	stack[STACK_FRAMES_MAX - 1] = FN(1);
	ends(STACK_CUT_DEPTH, STACK_FRAMES_MAX, STACK, 0);
	host_close();
}

TEST(outside)
{
	world_open();
	function(0, RULE_SP(8));
	stack[0] = FN(2);
	function(2, RULE_SP(8));
	stack[1] = 0xdead0000;
	ends(STACK_CUT_OUTSIDE, 2, STACK, 0);
	CHECK_EQ(host.state.outside_cnt, 1);
	/* what stands behind it is not believed, and does not tell stacks apart */
	stack[2] = 1;
	CHECK_EQ(ends(STACK_CUT_OUTSIDE, 2, STACK, 0), STACK_FIRST);
	CHECK_EQ(host.state.outside_cnt, 2);
	host.process->spaces[0].generation = 0;
	ends(STACK_CUT_UNTABLED, 1, STACK, 0);	/* by frame pointers, and there is none */
	CHECK_EQ(host.state.outside_cnt, 2);
	host_close();
}

static unsigned int changes_left;

/* New tables in the middle of a walk. */
static void change(void)
{
	if (changes_left) {
		changes_left--;
		host.process->spaces[0].generation++;
	}
}

/* Other code at the same addresses: another stack, although all addresses are the same. */
TEST(epochs)
{
	__u32 first, second;

	world_open();
	first = ends(STACK_ENDED, 2, STACK, 0);
	CHECK_EQ(STACK_FRAME_EPOCH(host.events[first].frames[0]), 0);
	host.mappings[0].epoch = 5;
	host.process->spaces[0].generation += UNWIND_GENERATIONS;
	second = ends(STACK_ENDED, 2, STACK, 0);
	CHECK(second != first);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(STACK_FRAME_EPOCH(host.events[second].frames[i]), 5);
		CHECK_EQ(STACK_FRAME_ADDR(host.events[second].frames[i]), STACK_FRAME_ADDR(host.events[first].frames[i]));
	}
	/* from the cache, too */
	CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), second);
	host.mappings[0].epoch = 0;
	host.process->spaces[0].generation += UNWIND_GENERATIONS;
	CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), first);
	host_close();
}

/* Something else is mapped where code was: none of it is walked by its rows any more, what was cached included. */
TEST(gone)
{
	const __u64 end = TEXT + FUNCTIONS * UNWIND_BLOCK_BYTES;
	__u64 generation;

	world_open();
	ends(STACK_ENDED, 2, STACK, 0);
	generation = host.process->spaces[0].generation;
	/* beside it, and nothing at all */
	stack_code_gone(TEXT - 4096, TEXT);
	stack_code_gone(end, end + 4096);
	CHECK_EQ(host.process->spaces[0].generation, generation);
	CHECK_EQ(host.state.outside_cnt, 0);
	ends(STACK_ENDED, 2, STACK, 0);
	/* the end of it, from function 1 on */
	stack_code_gone(TEXT + UNWIND_BLOCK_BYTES, end + 4096);
	CHECK_EQ(host.process->spaces[0].generation, generation + 1);
	CHECK_EQ(host.state.outside_cnt, 1);
	CHECK_EQ(host.mappings[0].end, TEXT + UNWIND_BLOCK_BYTES);
	ends(STACK_CUT_OUTSIDE, 1, STACK, 0);
	/* all of it */
	stack_code_gone(TEXT - 4096, end + 4096);
	CHECK_EQ(host.mappings[0].end, TEXT);
	CHECK_EQ(STACK_FRAME_EPOCH(host.events[ends(STACK_CUT_OUTSIDE, 1, STACK, 0)].frames[0]), STACK_EPOCHS);
	/* when there are no generations left until user space makes tables, there are no mappings either */
	host.process->spaces[0].generation = 2 * UNWIND_GENERATIONS - 1;
	host.mappings[0].end = end;
	stack_code_gone(TEXT, TEXT + 4096);
	CHECK_EQ(host.process->spaces[0].generation, 2 * UNWIND_GENERATIONS - 1);
	CHECK_EQ(host.process->spaces[0].cnt, 0);
	host_close();
}

/* The tables that are being made are cut as well, and user space can see what is gone. */
TEST(gone_in_both)
{
	const __u64 end = TEXT + FUNCTIONS * UNWIND_BLOCK_BYTES;
	struct unwind_space *next;
	__u64 generation;

	world_open();
	ends(STACK_ENDED, 2, STACK, 0);
	generation = host.process->spaces[0].generation;
	next = &host.process->spaces[1];
	*next = host.process->spaces[0];
	next->generation += UNWIND_GENERATIONS;
	next->first = host.process->spaces[0].first + 100;
	host.mappings[next->first] = host.mappings[0];
	next->cnt = 1;
	stack_code_gone(TEXT + UNWIND_BLOCK_BYTES, end);
	CHECK_EQ(host.mappings[0].end, TEXT + UNWIND_BLOCK_BYTES);
	CHECK_EQ(host.mappings[next->first].end, TEXT + UNWIND_BLOCK_BYTES);
	CHECK_EQ(next->generation, generation + UNWIND_GENERATIONS + 1);
	CHECK_EQ(host.state.outside_cnt, 1);
	/* only there: the tables in use miss nothing */
	host.mappings[next->first].end = end + 8192;
	stack_code_gone(end + 4096, end + 8192);
	CHECK_EQ(host.mappings[next->first].end, end + 4096);
	CHECK_EQ(host.state.outside_cnt, 1);
	CHECK_EQ(host.state.gone_cnt, 2);
	CHECK_EQ(host.state.gone[2].number, 2);
	CHECK_EQ(host.state.gone[2].start, end + 4096);
	CHECK_EQ(host.state.gone[2].end, end + 8192);
	host_close();
}

TEST(generations)
{
	__u32 first, index;

	world_open();
	first = ends(STACK_ENDED, 2, STACK, 0);
	host.on_read = change;
	changes_left = 1;
	CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), first);
	CHECK_EQ(host.state.raced_cnt, 0);
	changes_left = 2;
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.raced_cnt, 1);
	CHECK_EQ(host.events_cnt, 1);
	/* what was looked up before is forgotten */
	function(0, RULE_SP(16));
	stack[1] = FN(0);
	stack[3] = FN(1);
	index = ends(STACK_ENDED, 3, STACK, 0);
	CHECK(index != first);
	host.process->spaces[1] = host.process->spaces[0];
	host.process->spaces[1].generation += 10;
	host.process->spaces[1].cnt = 0;
	host.process->current = 1;
	ends(STACK_CUT_OUTSIDE, 1, STACK, 0);
	host_close();
}

TEST(mappings)
{
	struct unwind_mapping whole;
	__u64 at;

	world_open();
	whole = host.mappings[0];
	/* as many as there may be */
	host.process->spaces[0].cnt = UNWIND_MAPPINGS_MAX;
	for (__u32 i = 0; i < UNWIND_MAPPINGS_MAX; i += UNWIND_MAPPINGS_MAX / 32 - 1) {
		for (__u32 k = 0; k < UNWIND_MAPPINGS_MAX; k++) {
			at = TEXT + ((__u64)k - i) * 0x100000;
			host.mappings[k] = (struct unwind_mapping){ .start = k < i ? k : at, .end = k < i ? k + 1 : at + 16 };
		}
		host.mappings[i] = whole;
		host.process->spaces[0].generation++;
		ends(STACK_ENDED, 2, STACK, 0);
	}
	/* more than the kernel has */
	host.process->spaces[0] = (struct unwind_space){ .generation = 99, .first = HOST_MAPPINGS - 1, .cnt = ~0u };
	ends(STACK_CUT_OUTSIDE, 1, STACK, 0);
	host.process->spaces[0] = (struct unwind_space){ .generation = 100, .first = HOST_MAPPINGS, .cnt = 1 };
	ends(STACK_CUT_OUTSIDE, 1, STACK, 0);
	/* a chunk that is not there, an index and blocks that lie outside of it */
	host.process->spaces[0] = (struct unwind_space){ .generation = 101, .cnt = 1 };
	host.mappings[0] = whole;
	host.mappings[0].chunk = UNWIND_CHUNKS_MAX;
	ends(STACK_CUT_POINTER, 1, STACK, 1);
	host.mappings[0] = whole;
	host.mappings[0].blocks_cnt = 0;
	host.process->spaces[0].generation++;
	ends(STACK_CUT_POINTER, 1, STACK, 1);
	host_close();
}

static __u64 random_next(__u64 *state)
{
	__u64 z = *state += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* A word that is near what matters. */
static __u64 random_word(__u64 *r)
{
	switch (random_next(r) % 8) {
	case 0: return random_next(r);
	case 1: return random_next(r) >> random_next(r) % 64;
	case 2: return STACK + random_next(r) % sizeof(stack);
	case 3: return STACK + random_next(r) % STACK_WORDS * 8;
	default: return FN(random_next(r) % FUNCTIONS);
	}
}

static __u64 random_rule(__u64 *r)
{
	__s32 off = random_next(r) % 4 ? (__s32)(random_next(r) % 64) * 8 : (__s32)random_next(r);

	return UNWIND_RULE(random_next(r) % (UNWIND_KINDS + 1), off, random_next(r) % (UNWIND_BP_KINDS + 1),
			   random_next(r) % 4 ? -16 : (int)random_next(r));
}

static void random_functions(__u64 *r)
{
	for (__u32 i = 0; i < FUNCTIONS; i++)
		function(i, random_next(r) % 2 ? RULE_SP(8 * (1 + random_next(r) % 8)) :
			    random_next(r) % 2 ? RULE_END : random_rule(r));
}

static void random_tables(__u64 *r)
{
	struct unwind_mapping *m;

	for (int i = 0; i < 20; i++)
		chunk()->words[random_next(r) % (2 * FUNCTIONS)] = random_next(r) >> random_next(r) % 32;
	m = &host.mappings[random_next(r) % 4];
	*m = (struct unwind_mapping){ random_word(r), random_word(r), random_word(r), random_next(r), random_next(r),
				      random_next(r), random_next(r) % 4 ? 0 : random_next(r), random_next(r) % 70 };
	host.process->spaces[0].first = random_next(r) % 4 ? 0 : random_next(r);
	host.process->spaces[0].cnt = random_next(r) % 4 ? 1 + random_next(r) % 4 : random_next(r);
}

static void random_check(__u32 index)
{
	__u64 hash[2] = { STACK_HASH_SEED0, STACK_HASH_SEED1 };
	const struct stack_event *e = &host.events[index];

	if (index == STACK_FULL || !CHECK(index >= STACK_FIRST && index < HOST_STACKS))
		return;
	CHECK(e->frames_cnt >= 1 && e->frames_cnt <= STACK_FRAMES_MAX && e->end < STACK_ENDS);
	for (__u32 i = 0; i < e->frames_cnt && i < STACK_FRAMES_MAX; i++)
		stack_hash_add(hash, e->frames[i]);
	stack_hash_add(hash, e->end);
	CHECK(hash[0] == e->hash[0] && hash[1] == e->hash[1]);
}

/* Lies of all kinds together. What is remembered is walked again and is the same. */
TEST(random)
{
	static __u32 (*const takes[])(struct pt_regs *) = { stack_take, stack_take_entry, NULL };
	size_t kinds = 0, memo_cnt = 0;
	__u64 r = 1;

	for (int round = 0; round < 600; round++) {
		world_open();
		host_set(&stack_memos, HOST_MEMOS);
		host_set(&stack_check, 1);
		random_functions(&r);
		if (round % 4)	/* else only the stack lies */
			random_tables(&r);
		for (__u32 i = 0; i < STACK_WORDS; i++)
			stack[i] = random_word(&r);
		for (int i = 0; i < 100; i++) {
			__u32 (*take)(struct pt_regs *) = takes[random_next(&r) % 3];
			__u64 pc = random_word(&r), bp = random_word(&r);
			__u64 sp = random_next(&r) % 2 ? random_word(&r) : STACK + random_next(&r) % STACK_WORDS * 8;
			__u32 index = host_take(take, pc, sp, bp);

			random_check(index);
			CHECK_EQ(host_take(take, pc, sp, bp), index);
		}
		memo_cnt += host.state.memo_cnt;
		CHECK_EQ(host.state.memo_wrong_cnt, 0);
		CHECK_EQ(host.state.collided_cnt, 0);
		for (int i = 0; i < STACK_ENDS; i++)
			kinds |= (size_t)!!host.state.ends[i] << i;
		host_close();
	}
	CHECK(memo_cnt > 100);
	/* the lies were good enough to meet each end; but tables there were */
	CHECK_EQ(kinds | 1 << STACK_ENDED | 1 << STACK_CUT_UNTABLED | 1 << STACK_CUT_DEPTH, (1 << STACK_ENDS) - 1);
}

TEST_MAIN(TEST_CASE(loops), TEST_CASE(unreadable), TEST_CASE(pointers), TEST_CASE(rules), TEST_CASE(depth), TEST_CASE(outside),
	  TEST_CASE(epochs), TEST_CASE(gone), TEST_CASE(gone_in_both), TEST_CASE(generations), TEST_CASE(mappings), TEST_CASE(random))
