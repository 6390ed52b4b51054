/* SPDX-License-Identifier: GPL-2.0-only */
/* Events of stacks as the kernel sends them, against a plain list of what they were. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "source/stacks.h"
#include "test.h"

static const struct value_type types[] = { { "connections", "connections" }, { NULL, NULL } };

/* An event as bpf/unwind.bpf.c makes it; *ret_size is what it takes in the ring. */
static struct stack_event event_make(uint32_t index, const uint64_t *frames, uint32_t cnt, bool cut, size_t *ret_size)
{
	struct stack_event e = {
		.index = index, .frames_cnt = cnt, .end = cut ? STACK_CUT_READ : STACK_ENDED,
		.hash = { STACK_HASH_SEED0, STACK_HASH_SEED1 },
	};

	for (uint32_t i = 0; i < cnt; i++) {
		e.frames[i] = frames[i];
		stack_hash_add(e.hash, frames[i]);
	}
	stack_hash_add(e.hash, e.end);
	*ret_size = offsetof(struct stack_event, frames) + 8ull * cnt;
	return e;
}

static void send(struct stacks *s, uint32_t index, const uint64_t *frames, uint32_t cnt, bool cut)
{
	size_t size;
	struct stack_event e = event_make(index, frames, cnt, cut, &size);

	CHECK_EQ(stacks_on_event(s, &e, size), 0);
}

static void send_garbled(struct stacks *s, uint32_t index)
{
	uint64_t frames[] = { 1, 2, 3 };
	size_t size;
	struct stack_event e = event_make(index, frames, 3, false, &size);

	e.frames[1]++;
	CHECK_EQ(stacks_on_event(s, &e, size), 0);
}

static bool stack_is(const struct profile *p, int stack, uint32_t process, const uint64_t *frames, uint32_t cnt, bool cut)
{
	struct stack st;

	if (stack < 0)
		return false;
	st = profile_stack_at(p, stack);
	if (st.label || st.process != process || st.frames_cnt != cnt || st.cut != cut)
		return false;
	for (uint32_t i = 0; i < cnt; i++) {
		const struct frame *f = profile_frame_at(p, st.frames[i]);

		if (f->addr != frames[i] || !f->is_return || f->process != process)
			return false;
	}
	return true;
}

TEST(one_process)
{
	struct profile *p = profile_new(types);
	uint64_t frames[] = { 0x1000, 0x2000, 0x3000 };
	struct stacks s;

	CHECK_EQ(stacks_open(&s, p, 7, "redis"), 0);
	CHECK_STR(profile_stack_at(p, stacks_at(&s, STACK_FULL)).label, "[stacks full]");
	CHECK_EQ(stacks_at(&s, STACK_FIRST), -1);
	send(&s, STACK_FIRST, frames, 3, false);
	send(&s, 5000, frames, 2, true);
	CHECK(stack_is(p, stacks_at(&s, STACK_FIRST), 0, frames, 3, false));
	CHECK(stack_is(p, stacks_at(&s, 5000), 0, frames, 2, true));
	CHECK_EQ(stacks_at(&s, 4999), -1);
	CHECK_EQ(s.known, 5001);
	/* two CPUs saw it first: two indexes, one stack */
	send(&s, 3, frames, 3, false);
	CHECK_EQ(stacks_at(&s, 3), stacks_at(&s, STACK_FIRST));
	send_garbled(&s, 4);
	CHECK_STR(profile_stack_at(p, stacks_at(&s, 4)).label, "[stack garbled]");
	CHECK_EQ(s.garbled_cnt, 1);
	CHECK_EQ(s.err, 0);
	stacks_close(&s);
	profile_free(p);
}

TEST(many_processes)
{
	struct profile *p = profile_new(types);
	uint64_t frames[] = { 0x1000, 0x2000, 0x3000 };
	uint64_t with[4] = { 0xfffe000000000101ull };
	int of_first, of_second;
	struct stacks s;

	CHECK_EQ(stacks_open_many(&s, p), 0);
	CHECK_EQ(profile_processes_cnt(p), 0);
	profile_process_add(p, 7, "worker");
	profile_process_add(p, 7, "worker");
	CHECK_EQ(stacks_of(&s, STACK_NONE, 0), -1);
	CHECK_EQ(stacks_of(&s, STACK_FIRST, 0), -1);
	CHECK_EQ(stacks_of(&s, STACKS_MAX, 0), -1);
	send(&s, STACK_FIRST, frames, 3, true);
	send_garbled(&s, 3);
	/* nothing is a stack before someone asks */
	CHECK_EQ(profile_stacks_cnt(p), 0);
	of_first = stacks_of(&s, STACK_FIRST, 0);
	of_second = stacks_of(&s, STACK_FIRST, 1);
	CHECK(of_first != of_second);
	CHECK(stack_is(p, of_first, 0, frames, 3, true));
	CHECK(stack_is(p, of_second, 1, frames, 3, true));
	CHECK_EQ(stacks_of(&s, STACK_FIRST, 0), of_first);
	for (uint32_t process = 0; process < 2; process++) {
		int full = stacks_of(&s, STACK_FULL, process), garbled = stacks_of(&s, 3, process);

		if (!CHECK(full >= 0 && garbled >= 0))
			continue;
		CHECK_STR(profile_stack_at(p, full).label, "[stacks full]");
		CHECK_STR(profile_stack_at(p, garbled).label, "[stack garbled]");
		CHECK_EQ(profile_stack_at(p, full).process, process);
		CHECK_EQ(profile_stack_at(p, garbled).process, process);
	}
	CHECK_EQ(s.garbled_cnt, 1);
	CHECK_EQ(s.err, 0);
	/* with a frame that the source makes up: inside all others; a label has no frames */
	memcpy(with + 1, frames, 3 * sizeof(*frames));
	CHECK(stack_is(p, stacks_of_with(&s, STACK_FIRST, 1, with[0]), 1, with, 4, true));
	CHECK_EQ(stacks_of_with(&s, STACK_FULL, 1, with[0]), stacks_of(&s, STACK_FULL, 1));
	CHECK_EQ(stacks_of(&s, STACK_FIRST, 1), of_second);
	/* a process that the profile does not have is the caller's mistake, not a stack */
	CHECK_EQ(stacks_of(&s, STACK_FIRST, 2), -1);
	CHECK_EQ(s.err, -EINVAL);
	stacks_close(&s);
	profile_free(p);
}

/* Records of all lengths over several blocks of the store, arriving in any order. */
TEST(store)
{
	enum { STACKS = 20000 };
	uint64_t (*sent)[STACK_FRAMES_MAX] = malloc(sizeof(*sent) * STACKS), words = 0;
	struct profile *p = profile_new(types);
	uint64_t random = 1;
	struct stacks s;
	int wrong = 0;

	CHECK_EQ(stacks_open_many(&s, p), 0);
	profile_process_add(p, 1, "a");
	profile_process_add(p, 2, "b");
	for (uint32_t i = 0; i < STACKS; i++) {
		uint32_t index = i ^ 1, cnt = index % (STACK_FRAMES_MAX + 1);

		for (uint32_t j = 0; j < cnt; j++) {
			random = random * 6364136223846793005ull + 1442695040888963407ull;
			sent[index][j] = random >> 50;
		}
		send(&s, STACK_FIRST + index, sent[index], cnt, index % 3 == 0);
		words += 1 + cnt;
	}
	for (uint32_t i = 0; i < STACKS; i++)
		for (uint32_t process = 0; process < 2; process++)
			wrong += !stack_is(p, stacks_of(&s, STACK_FIRST + i, process), process, sent[i],
					   i % (STACK_FRAMES_MAX + 1), i % 3 == 0);
	CHECK_EQ(wrong, 0);
	/* what was promised: 8 bytes a frame, and a head */
	CHECK(s.store_words < words + words / 100);
	CHECK_EQ(s.err, 0);
	stacks_close(&s);
	profile_free(p);
	free(sent);
}

/* What no kernel sends is not believed. */
TEST(lies)
{
	struct profile *p = profile_new(types);
	uint64_t frames[STACK_FRAMES_MAX] = { 1, 2 };
	struct stack_event e;
	struct stacks s;
	size_t size;

	CHECK_EQ(stacks_open_many(&s, p), 0);
	e = event_make(9, frames, 2, false, &size);
	CHECK_EQ(stacks_on_event(&s, &e, size - 1), 0);
	CHECK_EQ(stacks_on_event(&s, &e, 8), 0);
	e.frames_cnt = STACK_FRAMES_MAX + 1;
	CHECK_EQ(stacks_on_event(&s, &e, sizeof(e)), 0);
	e = event_make(STACKS_MAX, frames, 2, false, &size);
	CHECK_EQ(stacks_on_event(&s, &e, size), 0);
	e = event_make(STACK_FULL, frames, 2, false, &size);
	CHECK_EQ(stacks_on_event(&s, &e, size), 0);
	profile_process_add(p, 1, "a");
	CHECK_STR(profile_stack_at(p, stacks_of(&s, STACK_FULL, 0)).label, "[stacks full]");
	CHECK_EQ(stacks_of(&s, 9, 0), -1);
	CHECK_EQ(s.known, STACK_FULL + 1);
	CHECK_EQ(s.err, 0);
	stacks_close(&s);
	profile_free(p);
}

TEST_MAIN(TEST_CASE(one_process), TEST_CASE(many_processes), TEST_CASE(store), TEST_CASE(lies))
