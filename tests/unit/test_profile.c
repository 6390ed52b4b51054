/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "profile/profile.h"
#include "test.h"

static const struct value_type types[] = { { "held-bytes", "bytes" }, { "held-blocks", "blocks" }, { NULL, NULL } };

TEST(interning)
{
	struct profile *p = profile_new(types);
	uint64_t addrs[] = { 0x1000, 0x2000, 0x3000 };
	struct stack s;

	CHECK_EQ(profile_stack(p, 0, addrs, 3, false, false), -EINVAL);
	CHECK_EQ(profile_process(p, 41, "a"), 0);
	CHECK_EQ(profile_process(p, 42, "b"), 1);
	CHECK_EQ(profile_process(p, 41, "a"), 0);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, false, false), 0);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, false, false), 0);
	/* what makes a stack another one */
	CHECK_EQ(profile_stack(p, 0, addrs, 3, true, false), 1);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, false, true), 2);
	CHECK_EQ(profile_stack(p, 1, addrs, 3, false, false), 3);
	CHECK_EQ(profile_stack(p, 0, addrs, 2, false, false), 4);
	CHECK_EQ(profile_stack(p, 0, NULL, 0, false, true), 5);
	CHECK_EQ(profile_stack(p, 0, NULL, 0, false, true), 5);
	CHECK_EQ(profile_stacks_cnt(p), 6);
	/* 3 of the first, the return address 0x1000, 3 of the other process */
	CHECK_EQ(profile_frames_cnt(p), 7);
	s = profile_stack_at(p, 1);
	CHECK_EQ(s.frames_cnt, 3);
	CHECK_EQ(profile_frame_at(p, s.frames[0])->addr, 0x1000);
	CHECK(profile_frame_at(p, s.frames[0])->is_return);
	CHECK(!profile_frame_at(p, profile_stack_at(p, 0).frames[0])->is_return);
	CHECK(profile_frame_at(p, profile_stack_at(p, 0).frames[1])->is_return);
	CHECK_EQ(profile_frame_at(p, profile_stack_at(p, 3).frames[2])->process, 1);
	profile_free(p);
}

TEST(labels)
{
	struct profile *p = profile_new(types);
	char label[] = "[stacks full]";

	CHECK_EQ(profile_stack_label(p, 0, label), -EINVAL);
	profile_process(p, 1, "a");
	CHECK_EQ(profile_stack(p, 0, NULL, 0, false, false), 0);
	CHECK_EQ(profile_stack_label(p, 0, "[stacks full]"), 1);
	CHECK_EQ(profile_stack_label(p, 0, label), 1);
	CHECK_EQ(profile_stack_label(p, 0, "[other]"), 2);
	CHECK_STR(profile_stack_at(p, 1).label, "[stacks full]");
	CHECK(!profile_stack_at(p, 0).label);
	profile_free(p);
}

TEST(names)
{
	struct profile *p = profile_new(types);
	uint64_t addrs[] = { 1, 2 };
	const struct frame *first;

	profile_process(p, 1, "a");
	profile_stack(p, 0, addrs, 2, true, false);
	first = profile_frame_at(p, 0);
	CHECK_EQ(first->kind, FRAME_UNNAMED);
	CHECK_EQ(profile_frame_name(p, 0, "main", "/bin/a", FRAME_APP, false), 0);
	CHECK_EQ(profile_frame_name(p, 1, "start", "/bin/a", FRAME_APP, true), 0);
	CHECK_STR(first->name, "main");
	CHECK_STR(first->module, "/bin/a");
	CHECK(first->module == profile_frame_at(p, 1)->module);
	CHECK(profile_frame_at(p, 1)->guessed);
	CHECK_EQ(profile_frame_name(p, 0, "again", NULL, FRAME_RUNTIME, false), 0);
	CHECK_STR(first->name, "again");
	CHECK(!first->module);
	CHECK_EQ(first->kind, FRAME_RUNTIME);
	CHECK_EQ(profile_process(p, 1, "renamed"), 0);
	CHECK_STR(profile_process_at(p, 0)->comm, "renamed");
	CHECK_EQ(profile_processes_cnt(p), 1);
	profile_free(p);
}

/* One pid may be several processes; their stacks and frames have nothing to do with each other. */
TEST(processes)
{
	struct profile *p = profile_new(types);
	uint64_t addr = 0x1000;
	int wrong = 0;

	CHECK_EQ(profile_process_add(p, 7, "first"), 0);
	CHECK_EQ(profile_process_add(p, 7, "second"), 1);
	CHECK_EQ(profile_process_add(p, 7, "second"), 2);
	/* by pid: the first of them */
	CHECK_EQ(profile_process(p, 7, "first"), 0);
	CHECK_EQ(profile_process(p, 8, "other"), 3);
	CHECK_STR(profile_process_at(p, 1)->comm, "second");
	CHECK_EQ(profile_stack(p, 0, &addr, 1, true, false), 0);
	CHECK_EQ(profile_stack(p, 1, &addr, 1, true, false), 1);
	CHECK_EQ(profile_stack(p, 1, &addr, 1, true, false), 1);
	CHECK_EQ(profile_frames_cnt(p), 2);
	for (int i = 4; i < 10000; i++)
		wrong += profile_process_add(p, i, "many") != i;
	for (int i = 4; i < 10000; i++)
		wrong += profile_process_at(p, i)->pid != i;
	CHECK_EQ(wrong, 0);
	CHECK_EQ(profile_process_at(p, 0)->pid, 7);
	CHECK_EQ(profile_processes_cnt(p), 10000);
	profile_free(p);
}

TEST(values)
{
	struct profile *p = profile_new(types);

	CHECK_EQ(profile_type_find(p, "held-blocks"), 1);
	CHECK_EQ(profile_type_find(p, "held"), -ENOENT);
	CHECK(profile_types(p) == types);
	profile_values_clear(p);
	profile_process(p, 1, "a");
	for (uint64_t addr = 1; addr <= 1000; addr++) {
		int stack = profile_stack(p, 0, &addr, 1, false, false);

		CHECK_EQ(profile_value(p, stack, 0), 0);
		profile_value_set(p, stack, 0, addr);
		profile_value_set(p, stack, 1, -(int64_t)addr);
	}
	CHECK_EQ(profile_value(p, 0, 0), 1);
	CHECK_EQ(profile_value(p, 999, 0), 1000);
	CHECK_EQ(profile_value(p, 999, 1), -1000);
	profile_values_clear(p);
	CHECK_EQ(profile_value(p, 0, 0), 0);
	CHECK_EQ(profile_value(p, 999, 1), 0);
	profile_free(p);
}

TEST(losses)
{
	static char names[100][24];
	struct profile *p = profile_new(types);

	CHECK_EQ(profile_lost(p), 0);
	profile_loss_set(p, "books full", 3);
	profile_loss_set(p, "ring full", 4);
	profile_loss_set(p, "books full", 5);
	CHECK_EQ(profile_losses_cnt(p), 2);
	CHECK_STR(profile_loss_at(p, 0).name, "books full");
	CHECK_EQ(profile_loss_at(p, 0).cnt, 5);
	CHECK_EQ(profile_lost(p), 9);
	/* more names than there is room for: none of them is lost */
	for (int i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "loss %d", i);
		profile_loss_set(p, names[i], 1);
	}
	CHECK_EQ(profile_lost(p), 109);
	profile_free(p);
}

/* Equal to a plain list of what was added, also across the blocks of the pool and of the frames. */
TEST(many)
{
	enum { STACKS = 20000, FRAMES = 20 };
	uint64_t (*addrs)[FRAMES] = malloc(sizeof(*addrs) * STACKS);
	struct profile *p = profile_new(types);
	uint64_t random = 1;
	int wrong = 0;

	profile_process(p, 1, "a");
	for (int i = 0; i < STACKS; i++) {
		for (int j = 0; j < FRAMES; j++) {
			random = random * 6364136223846793005ull + 1442695040888963407ull;
			addrs[i][j] = (random >> 33) % (j < 10 ? 5000 : 50) * 16;
		}
		addrs[i][0] = 0x100000 + i;
		wrong += profile_stack(p, 0, addrs[i], FRAMES, i % 2, false) != i;
	}
	for (int i = 0; i < STACKS; i++) {
		struct stack s = profile_stack_at(p, i);

		wrong += profile_stack(p, 0, addrs[i], FRAMES, i % 2, false) != i || s.frames_cnt != FRAMES;
		for (int j = 0; j < FRAMES; j++)
			wrong += profile_frame_at(p, s.frames[j])->addr != addrs[i][j];
	}
	CHECK_EQ(wrong, 0);
	/* one that is longer than a block of the pool */
	CHECK_EQ(profile_stack(p, 0, addrs[0], FRAMES * 1000, true, false), STACKS);
	CHECK_EQ(profile_stack(p, 0, addrs[0], FRAMES * 1000, true, false), STACKS);
	CHECK_EQ(profile_stack_at(p, STACKS).frames_cnt, FRAMES * 1000);
	profile_free(p);
	free(addrs);
}

TEST(freeing)
{
	CHECK(!profile_free(NULL));
	CHECK(!profile_free(profile_new(types)));
}

TEST_MAIN(TEST_CASE(interning), TEST_CASE(labels), TEST_CASE(names), TEST_CASE(processes), TEST_CASE(values),
	  TEST_CASE(losses), TEST_CASE(many), TEST_CASE(freeing))
