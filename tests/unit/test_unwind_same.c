/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which stacks are the same: by their hashes, and by what is remembered of a walk. And what a walk needs besides its
 * tables: a seat, room for a new stack, the return addresses that probes have replaced.
 */
#include "unwind_world.h"

/* Two functions of one kind, so that stacks may differ in their order only. */
static void two(__u64 a, __u64 b)
{
	stack[0] = a;
	stack[1] = b;
	stack[2] = FN(1);
}

static void two_open(void)
{
	world_open();
	function(2, RULE_SP(8));
	function(3, RULE_SP(8));
}

TEST(identity)
{
	__u32 first, index;

	two_open();
	two(FN(2), FN(3));
	first = ends(STACK_ENDED, 4, STACK, 0);
	memcpy(stack + 100, stack, 24);
	CHECK_EQ(ends(STACK_ENDED, 4, STACK + 800, 0), first);	/* elsewhere */
	CHECK_EQ(host.events_cnt, 1);
	two(FN(3), FN(2));
	index = ends(STACK_ENDED, 4, STACK, 0);
	CHECK(index != first);
	/* the same frames, another end */
	two(FN(2), FN(3));
	function(1, UNWIND_RULE(UNWIND_BAD, 0, 0, 0));
	index = ends(STACK_CUT_RULE, 4, STACK, 0);
	CHECK(index != first);
	CHECK_EQ(host.events_cnt, 3);
	CHECK_EQ(host.state.collided_cnt, 0);
	host_close();
}

TEST(collision)
{
	__u32 first;

	two_open();
	host.keys_equal = true;
	two(FN(2), FN(3));
	first = ends(STACK_ENDED, 4, STACK, 0);
	CHECK_EQ(ends(STACK_ENDED, 4, STACK, 0), first);
	CHECK_EQ(host.state.collided_cnt, 0);
	two(FN(2), FN(2));
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.collided_cnt, 1);
	two(FN(3), FN(2));	/* the same addresses in another order */
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.collided_cnt, 2);
	CHECK_EQ(host.events_cnt, 1);
	host_close();
}

/* Whether this take was answered from memory: one read, and no walk. */
static __u32 remembered(__u64 sp, __u64 bp, bool want)
{
	__u32 seat = host.cpu, index;

	host.seats[seat]->frames_cnt = 0;
	index = host_take(stack_take, FN(0), sp, bp);
	CHECK_EQ(host.seats[seat]->frames_cnt == STACK_FRAMES_MAX, want);
	return index;
}

TEST(memo)
{
	__u32 first, second;

	two_open();
	host_set(&stack_memos, HOST_MEMOS);
	two(FN(2), FN(3));
	first = remembered(STACK, 0, false);
	CHECK_EQ(remembered(STACK, 0, true), first);
	CHECK_EQ(remembered(STACK, 77, true), first);	/* no rule asks for it */
	stack[0] = FN(3);
	second = remembered(STACK, 0, false);
	CHECK(second != first);
	CHECK_EQ(remembered(STACK, 0, true), second);
	stack[0] = FN(2);
	CHECK_EQ(remembered(STACK, 0, true), first);	/* two ways */
	stack[2] = FN(3);
	stack[3] = FN(1);
	CHECK(remembered(STACK, 0, false) > second);
	/* elsewhere the same words are another walk, and so on another CPU */
	two(FN(2), FN(3));
	memcpy(stack + 100, stack, 24);
	CHECK_EQ(remembered(STACK + 800, 0, false), first);
	host.cpu = 1;
	CHECK_EQ(remembered(STACK, 0, false), first);
	CHECK_EQ(remembered(STACK, 0, true), first);
	/* new tables */
	function(3, RULE_END);
	second = remembered(STACK, 0, false);
	CHECK(second != first);
	CHECK_EQ(host.events[second].frames_cnt, 3);
	/* a stack that can no more be read */
	CHECK_EQ(remembered(STACK, 0, true), second);
	host.regions[0].len = 8;
	CHECK(remembered(STACK, 0, false) != second);
	host_close();
}

TEST(memo_pointer)
{
	__u32 first, second;

	two_open();
	host_set(&stack_memos, HOST_MEMOS);
	function(0, RULE_FRAME);
	function(2, RULE_FRAME);
	stack[2] = STACK + 48;
	stack[3] = FN(2);
	stack[7] = FN(1);
	stack[10] = STACK + 48;
	stack[11] = FN(3);
	stack[12] = FN(1);
	stack[23] = FN(3);
	stack[24] = FN(1);
	first = remembered(STACK, STACK + 16, false);
	CHECK_EQ(remembered(STACK, STACK + 16, true), first);
	second = remembered(STACK, STACK + 80, false);	/* the register is asked */
	CHECK(second != first);
	CHECK_EQ(remembered(STACK, STACK + 16, true), first);
	stack[2] = STACK + 176;		/* and the slot */
	second = remembered(STACK, STACK + 16, false);
	CHECK(second != first);
	CHECK_EQ(host.events[second].frames_cnt, 4);
	host_close();
}

/* What lies on a page that has gone is not the same, whatever an older read has left in the window. */
TEST(memo_page)
{
	__u64 *at = stack + 510;
	__u32 first;

	two_open();
	host_set(&stack_memos, HOST_MEMOS);
	at[0] = at[1] = at[2] = FN(2);
	at[3] = FN(1);
	first = remembered(STACK + 4080, 0, false);
	CHECK_EQ(remembered(STACK + 4080, 0, true), first);
	host.regions[0].len = 4096;
	CHECK(remembered(STACK + 4080, 0, false) != first);
	CHECK_EQ(host.state.ends[STACK_CUT_READ], 1);
	/* that the page has gone is known by now, and the window holds the very words of another place */
	memcpy(stack, at, 32);
	CHECK_EQ(remembered(STACK, 0, false), first);
	CHECK(remembered(STACK + 4080, 0, false) != first);
	host_close();
}

/* A lie that is planted shows when what is remembered is walked again. */
TEST(memo_check)
{
	__u32 first;

	two_open();
	host_set(&stack_memos, HOST_MEMOS);
	host_set(&stack_check, 1);
	two(FN(2), FN(3));
	first = ends(STACK_ENDED, 4, STACK, 0);
	CHECK_EQ(ends(STACK_ENDED, 4, STACK, 0), first);
	CHECK_EQ(host.state.memo_cnt, 1);
	CHECK_EQ(host.state.memo_wrong_cnt, 0);
	for (__u32 i = 0; i < HOST_MEMOS; i++)
		host.memos[i].stack += 1;
	CHECK_EQ(ends(STACK_ENDED, 4, STACK, 0), first);
	CHECK_EQ(host.state.memo_cnt, 2);
	CHECK_EQ(host.state.memo_wrong_cnt, 1);
	host_close();
}

TEST(seats)
{
	__u32 first;

	two_open();
	host_set(&stack_memos, HOST_MEMOS);
	first = ends(STACK_ENDED, 2, STACK, 0);
	/* somebody is preempted here, and on all spare seats but the last */
	for (__u32 i = 0; i < HOST_SEATS; i++) {
		CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), first);
		if (i != 1)	/* the other CPU's, which nobody asks */
			host.seats[i]->busy = 1;
	}
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.raced_cnt, 1);
	CHECK_EQ(host.seats[1]->turns, 0);
	for (__u32 i = 0; i < HOST_SEATS; i++)
		host.seats[i]->busy = 0;
	CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), first);
	host_close();
}

TEST(room)
{
	__u32 first;

	two_open();
	host.ring_full = true;
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.ring_full_cnt, 1);
	host.ring_full = false;
	first = ends(STACK_ENDED, 2, STACK, 0);
	host_set(&stacks_max, first + 1);
	two(FN(2), FN(3));
	CHECK_EQ(host_take(stack_take, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.full_cnt, 1);
	two(FN(1), 0);
	CHECK_EQ(ends(STACK_ENDED, 2, STACK, 0), first);
	host.task.mm = NULL;
	CHECK_EQ(host_take(NULL, FN(0), STACK, 0), STACK_FULL);
	CHECK_EQ(host.state.failed_cnt, 1);
	host_close();
}

#if defined(__x86_64__)
#define TRAMPOLINE	0x7fffffffe000ull

TEST(trampolines)
{
	struct return_instance list[3] = {
		{ .stack = STACK, .orig_ret_vaddr = TRAMPOLINE, .chained = true, .next = &list[1] },
		{ .stack = STACK, .orig_ret_vaddr = FN(2), .next = &list[2] },
		{ .stack = STACK + 8, .orig_ret_vaddr = FN(3) },
	};
	__u32 first;

	two_open();
	two(FN(2), FN(3));
	first = ends(STACK_ENDED, 4, STACK, 0);
	two(TRAMPOLINE, TRAMPOLINE);
	ends(STACK_CUT_OUTSIDE, 1, STACK, 0);
	host.utask.return_instances = list;
	list[1].chained = false;
	CHECK_EQ(ends(STACK_ENDED, 4, STACK, 0), first);
	/* a list without an end */
	list[2].stack = STACK + 800;
	list[2].next = list;
	ends(STACK_CUT_OUTSIDE, 2, STACK, 0);
	host_close();
}
#else
TEST(trampolines) { TEST_SKIP("return probes of this machine replace a register"); }
#endif

TEST_MAIN(TEST_CASE(identity), TEST_CASE(collision), TEST_CASE(memo), TEST_CASE(memo_pointer), TEST_CASE(memo_page),
	  TEST_CASE(memo_check), TEST_CASE(seats), TEST_CASE(room), TEST_CASE(trampolines))
