/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "abi.h"
#include "profile/profile.h"
#include "test.h"

static const struct value_type types[] = { { "held-bytes", "bytes" }, { "held-blocks", "blocks" }, { NULL, NULL } };

TEST(interning)
{
	struct profile *p = profile_new(types);
	uint64_t addrs[] = { 0x1000 | STACK_FRAME_EXACT, 0x2000, 0x3000 };
	uint64_t returns[] = { 0x1000, 0x2000, 0x3000 };
	struct stack s;

	CHECK_EQ(profile_stack(p, 0, addrs, 3, false), -EINVAL);
	CHECK_EQ(profile_process(p, 41, "a"), 0);
	CHECK_EQ(profile_process(p, 42, "b"), 1);
	CHECK_EQ(profile_process(p, 41, "a"), 0);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, false), 0);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, false), 0);
	/* what makes a stack another one */
	CHECK_EQ(profile_stack(p, 0, returns, 3, false), 1);
	CHECK_EQ(profile_stack(p, 0, addrs, 3, true), 2);
	CHECK_EQ(profile_stack(p, 1, addrs, 3, false), 3);
	CHECK_EQ(profile_stack(p, 0, addrs, 2, false), 4);
	CHECK_EQ(profile_stack(p, 0, NULL, 0, true), 5);
	CHECK_EQ(profile_stack(p, 0, NULL, 0, true), 5);
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

/* Tags are none of the address; addresses of the kernel have none. */
TEST(tags)
{
	const uint64_t addrs[] = {
		0x7f0000001000 | STACK_FRAME_EXACT, 0x7f0000001000, 0x0300000000001000, 0xffffffff81000000, 0x0180000000000000,
		STACK_FRAME_EXACT, 0x7e00007f00001000,
	};
	const struct { uint64_t addr; bool is_return; uint8_t epoch; } want[] = {
		{ 0x7f0000001000, false, 0 }, { 0x7f0000001000, true, 0 }, { 0x1000, false, 1 }, { 0xffffffff81000000, true, 0 },
		{ 0x0080000000000000, false, 0 }, { 0, false, 0 }, { 0x7f00001000, true, STACK_EPOCHS },
	};
	struct profile *p = profile_new(types);
	struct stack s;

	profile_process(p, 1, "a");
	CHECK_EQ(profile_stack(p, 0, addrs, 7, false), 0);
	s = profile_stack_at(p, 0);
	for (int i = 0; i < 7; i++) {
		CHECK_EQ(profile_frame_at(p, s.frames[i])->addr, want[i].addr);
		CHECK_EQ(profile_frame_at(p, s.frames[i])->is_return, want[i].is_return);
		CHECK_EQ(profile_frame_at(p, s.frames[i])->epoch, want[i].epoch);
	}
	profile_free(p);
}

static void check_names(const struct profile *p, int stack, const char *want)
{
	struct stack s = profile_stack_at(p, stack);
	char got[256] = "";

	for (uint32_t i = 0; i < s.frames_cnt; i++) {
		const struct frame *f = profile_frame_at(p, s.frames[i]);

		strcat(got, i ? " " : "");
		strcat(got, f->inlined ? "(" : "");
		strcat(got, f->name ? f->name : "-");
		strcat(got, f->inlined ? ")" : "");
	}
	CHECK_STR(got, want);
}

/* Inlined functions come with the names, in all stacks, those of before included. */
TEST(inlined)
{
	static const struct frame_name leaf[] = {
		{ .name = "innermost", .module = "/bin/a", .file = "a.h", .line = 3, .kind = FRAME_RUNTIME },
		{ .name = "inner", .module = "/bin/a", .file = "a.h", .line = 9, .kind = FRAME_APP, .guessed = true },
		{ .name = "leaf", .module = "/bin/a", .file = "a.c", .line = 70, .kind = FRAME_APP },
	};
	struct profile *p = profile_new(types);
	uint64_t one[] = { 1, 2, 3 }, two[] = { 2, 1 }, alone = 4;
	const struct frame *f;
	struct stack before, after;

	profile_process(p, 1, "a");
	profile_stack(p, 0, one, 3, false);
	check_names(p, 0, "- - -");
	before = profile_stack_at(p, 0);
	CHECK_EQ(profile_frame_names(p, 0, leaf, 0), -EINVAL);
	CHECK_EQ(profile_frame_names(p, 0, leaf, 3), 0);
	/* as long as a name is missing it stays as it was */
	check_names(p, 0, "leaf - -");
	CHECK_EQ(profile_frame_names(p, 2, leaf + 1, 2), 0);
	CHECK_EQ(profile_frame_name(p, 1, "middle", "/bin/a", FRAME_APP, false), 0);
	check_names(p, 0, "(innermost) (inner) leaf middle (inner) leaf");
	after = profile_stack_at(p, 0);
	CHECK(after.frames == profile_stack_at(p, 0).frames);
	CHECK_EQ(before.frames[2], 2);		/* still there */
	f = profile_frame_at(p, after.frames[1]);
	CHECK_EQ(f->addr, 1);
	CHECK_EQ(f->line, 9);
	CHECK_STR(f->file, "a.h");
	CHECK_STR(f->module, "/bin/a");
	CHECK(f->is_return && f->guessed && f->inlined);
	CHECK_EQ(profile_frame_at(p, 0)->line, 70);
	CHECK(!profile_frame_at(p, 0)->inlined);
	/* they are no part of what a stack is known by */
	CHECK_EQ(profile_stack(p, 0, one, 3, false), 0);
	CHECK_EQ(profile_stack(p, 0, two, 2, true), 1);
	check_names(p, 1, "middle (innermost) (inner) leaf");
	CHECK(profile_stack_at(p, 1).cut);
	CHECK_EQ(profile_frames_cnt(p), 6);
	for (uint32_t i = 0; i < 6; i++)
		CHECK(profile_frame_at(p, i)->kind != FRAME_UNNAMED);
	/* other names: more, fewer, none inlined */
	CHECK_EQ(profile_frame_names(p, 1, leaf + 1, 2), 0);
	check_names(p, 1, "(inner) leaf (innermost) (inner) leaf");
	CHECK_EQ(profile_frame_name(p, 0, "again", NULL, FRAME_APP, false), 0);
	check_names(p, 1, "(inner) leaf again");
	check_names(p, 0, "again (inner) leaf (inner) leaf");
	CHECK_EQ(profile_frame_name(p, 1, "middle", NULL, FRAME_APP, false), 0);
	check_names(p, 1, "middle again");
	profile_stack(p, 0, &alone, 1, false);
	check_names(p, 2, "-");
	profile_free(p);
}

/* As many stacks as ports may have, each frame with an inlined one, asked for again and again. */
TEST(inlined_many)
{
	enum { STACKS = 100000, FRAMES = 8 };
	static const struct frame_name names[] = {
		{ .name = "inner", .kind = FRAME_APP }, { .name = "outer", .kind = FRAME_APP },
	};
	struct profile *p = profile_new(types);
	size_t named = 0;
	int wrong = 0;

	profile_process(p, 1, "a");
	for (uint64_t i = 0; i < STACKS; i++) {
		uint64_t addrs[FRAMES];

		for (int j = 0; j < FRAMES; j++)
			addrs[j] = 0x1000 + (i + j * j * 7) % (STACKS / 10);
		addrs[0] = 0x100000 + i;
		wrong += profile_stack(p, 0, addrs, FRAMES, false) != (int)i;
		wrong += profile_stack_at(p, i).frames_cnt != FRAMES;
		if (i % 1000 == 999) {	/* as the naming does it: what is new, then all is looked at */
			for (size_t cnt = profile_frames_cnt(p); named < cnt; named++)
				if (profile_frame_at(p, named)->kind == FRAME_UNNAMED)
					wrong += profile_frame_names(p, named, names, 2) != 0;
			for (uint64_t s = 0; s <= i; s++)
				wrong += profile_stack_at(p, s).frames_cnt != 2 * FRAMES;
		}
	}
	CHECK_EQ(wrong, 0);
	profile_free(p);
}

TEST(labels)
{
	struct profile *p = profile_new(types);
	char label[] = "[stacks full]";

	CHECK_EQ(profile_stack_label(p, 0, label), -EINVAL);
	profile_process(p, 1, "a");
	CHECK_EQ(profile_stack(p, 0, NULL, 0, false), 0);
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
	profile_stack(p, 0, addrs, 2, false);
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
	CHECK_EQ(profile_stack(p, 0, &addr, 1, false), 0);
	CHECK_EQ(profile_stack(p, 1, &addr, 1, false), 1);
	CHECK_EQ(profile_stack(p, 1, &addr, 1, false), 1);
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
		int stack = profile_stack(p, 0, &addr, 1, false);

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
TEST(notes)
{
	static char names[100][24];
	struct profile *p = profile_new(types);

	profile_note_set(p, "stacks cut: too deep", 3);
	profile_note_set(p, "stacks cut: no rows", 0);
	profile_note_set(p, "stacks cut: too deep", 4);
	CHECK_EQ(profile_notes_cnt(p), 2);
	CHECK_STR(profile_note_at(p, 0).name, "stacks cut: too deep");
	CHECK_EQ(profile_note_at(p, 0).cnt, 4);
	CHECK_EQ(profile_lost(p), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "note %d", i);
		profile_note_set(p, names[i], 1);
	}
	CHECK(profile_notes_cnt(p) <= 64);
	CHECK_STR(profile_note_at(p, profile_notes_cnt(p) - 1).name, "other notes");
	profile_free(p);
}

TEST(totals)
{
	struct profile *p = profile_new(types);

	CHECK_EQ(profile_total(p, 0), 0);
	profile_process(p, 1, "a");
	for (uint64_t addr = 1; addr <= 3; addr++)
		profile_value_set(p, profile_stack(p, 0, &addr, 1, false), 1, 5 - (int64_t)addr);
	CHECK_EQ(profile_total(p, 1), 9);
	CHECK_EQ(profile_total(p, 0), 0);
	profile_value_set(p, 0, 1, INT64_MAX);
	CHECK_EQ(profile_total(p, 1), INT64_MAX);
	profile_free(p);
}

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
		addrs[i][0] = (0x100000 + i) | (i % 2 ? 0 : STACK_FRAME_EXACT);
		wrong += profile_stack(p, 0, addrs[i], FRAMES, false) != i;
	}
	for (int i = 0; i < STACKS; i++) {
		struct stack s = profile_stack_at(p, i);

		wrong += profile_stack(p, 0, addrs[i], FRAMES, false) != i || s.frames_cnt != FRAMES;
		for (int j = 0; j < FRAMES; j++)
			wrong += profile_frame_at(p, s.frames[j])->addr != STACK_FRAME_ADDR(addrs[i][j]);
	}
	CHECK_EQ(wrong, 0);
	/* one that is longer than a block of the pool */
	CHECK_EQ(profile_stack(p, 0, addrs[0], FRAMES * 1000, false), STACKS);
	CHECK_EQ(profile_stack(p, 0, addrs[0], FRAMES * 1000, false), STACKS);
	CHECK_EQ(profile_stack_at(p, STACKS).frames_cnt, FRAMES * 1000);
	profile_free(p);
	free(addrs);
}

TEST(freeing)
{
	CHECK(!profile_free(NULL));
	CHECK(!profile_free(profile_new(types)));
}

TEST_MAIN(TEST_CASE(interning), TEST_CASE(tags), TEST_CASE(inlined), TEST_CASE(inlined_many), TEST_CASE(labels), TEST_CASE(names), TEST_CASE(processes), TEST_CASE(values),
	  TEST_CASE(losses), TEST_CASE(notes), TEST_CASE(totals), TEST_CASE(many), TEST_CASE(freeing))
