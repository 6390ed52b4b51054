/* SPDX-License-Identifier: GPL-2.0-only */
/* Profiles of several processes in one: by what is shown of their frames, whatever their addresses are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile/merge.h"
#include "test.h"

static const struct value_type types[] = { { "held", "bytes" }, { "all", "bytes" }, { NULL, NULL } };

struct part {
	struct profile *p;
	struct merge_source source;
	uint32_t process;
};

static struct part part_new(struct merge *m, int pid)
{
	struct part part = { .p = profile_new(types) };

	CHECK_EQ(profile_process(part.p, pid, "x"), 0);
	part.process = merge_process(m, pid, "x");
	return part;
}

static void part_free(struct part *part)
{
	profile_free(part->p);
	merge_source_free(&part->source);
}

/* A stack of two functions at addresses of its own. */
static int stack_of(struct profile *p, uint64_t addr, const char *inner, const char *outer, bool cut)
{
	const uint64_t addrs[] = { addr, addr + 0x1000 };
	int stack = profile_stack(p, 0, addrs, 2, cut);
	struct stack st = profile_stack_at(p, stack);

	CHECK_EQ(profile_frame_name(p, st.frames[0], inner, "lib", FRAME_APP, false), 0);
	CHECK_EQ(profile_frame_name(p, st.frames[1], outer, "", FRAME_APP, false), 0);
	return stack;
}

TEST(same_names)
{
	struct merge *m = merge_open(types);
	struct part a = part_new(m, 1), b = part_new(m, 2);
	struct profile *all = merge_profile(m);
	int one = stack_of(a.p, 0x1000, "f", "main", false), two = stack_of(b.p, 0x777000, "f", "main", false);
	int other = stack_of(b.p, 0x999000, "g", "main", false), again = stack_of(b.p, 0x555000, "f", "main", false);

	profile_value_set(a.p, one, 0, 10);
	profile_value_set(b.p, two, 0, 5);
	profile_value_set(b.p, again, 0, 1);	/* another address of the same function and line */
	profile_value_set(b.p, other, 0, 7);
	profile_value_set(b.p, other, 1, 70);
	for (int pass = 0; pass < 3; pass++) {
		merge_begin(m);
		/* as one process: that of the first */
		CHECK_EQ(merge_add(m, &a.source, a.p, a.process, ~0u), 0);
		CHECK_EQ(merge_add(m, &b.source, b.p, a.process, ~0u), 0);
		CHECK_EQ(profile_stacks_cnt(all), 2);
		CHECK_EQ(profile_value(all, 0, 0), 16);
		CHECK_EQ(profile_value(all, 1, 0), 7);
		CHECK_EQ(profile_value(all, 1, 1), 70);
	}
	struct stack st = profile_stack_at(all, 0);

	CHECK_EQ(st.frames_cnt, 2);
	CHECK_STR(profile_frame_at(all, st.frames[0])->name, "f");
	CHECK_STR(profile_frame_at(all, st.frames[0])->module, "lib");
	CHECK_STR(profile_frame_at(all, st.frames[1])->name, "main");
	CHECK_EQ(profile_frame_at(all, st.frames[1])->kind, FRAME_APP);
	part_free(&a);
	part_free(&b);
	merge_close(m);
}

TEST(apart)
{
	struct merge *m = merge_open(types);
	struct part a = part_new(m, 1), b = part_new(m, 2);
	struct profile *all = merge_profile(m);
	int whole = stack_of(a.p, 0x1000, "f", "main", false), cut = stack_of(b.p, 0x1000, "f", "main", true);
	int label = profile_stack_label(b.p, 0, "[stacks full]");

	profile_value_set(a.p, whole, 0, 1);
	profile_value_set(b.p, cut, 0, 2);
	profile_value_set(b.p, label, 0, 4);
	merge_begin(m);
	CHECK_EQ(merge_add(m, &a.source, a.p, a.process, ~0u), 0);
	CHECK_EQ(merge_add(m, &b.source, b.p, a.process, ~0u), 0);
	CHECK_EQ(profile_stacks_cnt(all), 3);	/* what is cut is another stack */
	CHECK(profile_stack_at(all, 1).cut);
	CHECK_STR(profile_stack_at(all, 2).label, "[stacks full]");
	/* and as two processes nothing is one */
	struct merge *apart = merge_open(types);
	struct merge_source sa = { .stacks = NULL }, sb = { .stacks = NULL };
	int first = merge_process(apart, 1, "x"), second = merge_process(apart, 2, "x");

	merge_begin(apart);
	CHECK_EQ(merge_add(apart, &sa, a.p, first, ~0u), 0);
	CHECK_EQ(merge_add(apart, &sb, a.p, second, ~0u), 0);
	CHECK_EQ(profile_stacks_cnt(merge_profile(apart)), 2);
	CHECK_EQ(profile_stack_at(merge_profile(apart), 1).process, second);
	merge_source_free(&sa);
	merge_source_free(&sb);
	merge_close(apart);
	part_free(&a);
	part_free(&b);
	merge_close(m);
}

TEST(later_stacks)
{
	struct merge *m = merge_open(types);
	struct part a = part_new(m, 1);
	int one = stack_of(a.p, 0x1000, "f", "main", false), two;

	profile_value_set(a.p, one, 0, 3);
	merge_begin(m);
	CHECK_EQ(merge_add(m, &a.source, a.p, a.process, ~0u), 0);
	two = stack_of(a.p, 0x8000, "g", "main", false);
	profile_value_set(a.p, two, 0, 4);
	profile_value_set(a.p, one, 0, 1);
	merge_begin(m);
	CHECK_EQ(merge_add(m, &a.source, a.p, a.process, ~0u), 0);
	CHECK_EQ(profile_value(merge_profile(m), 0, 0), 1);
	CHECK_EQ(profile_value(merge_profile(m), 1, 0), 4);
	/* a frame without a name is its address */
	const uint64_t addr = 0xabc;

	CHECK_EQ(profile_stack(a.p, 0, &addr, 1, false), 2);
	merge_begin(m);
	CHECK_EQ(merge_add(m, &a.source, a.p, a.process, ~0u), 0);
	struct stack st = profile_stack_at(merge_profile(m), 2);

	CHECK_STR(profile_frame_at(merge_profile(m), st.frames[0])->name, "0xabc");
	part_free(&a);
	merge_close(m);
}

TEST(kinds_and_counts)
{
	struct merge *m = merge_open(types);
	struct part a = part_new(m, 1), b = part_new(m, 2);
	struct profile *all = merge_profile(m);
	int one = stack_of(a.p, 0x1000, "f", "main", false), two = stack_of(b.p, 0x1000, "f", "main", false);

	profile_value_set(a.p, one, 0, 3);
	profile_value_set(a.p, one, 1, 30);
	profile_value_set(b.p, two, 0, 5);
	profile_value_set(b.p, two, 1, 50);
	profile_loss_set(a.p, "lost", 2);
	profile_loss_set(b.p, "lost", 3);
	profile_note_set(b.p, "noted", 9);
	for (int pass = 0; pass < 2; pass++) {
		merge_begin(m);
		CHECK_EQ(merge_add(m, &a.source, a.p, a.process, 1u << 1), 0);	/* only what it allocated */
		CHECK_EQ(merge_add(m, &b.source, b.p, a.process, ~0u), 0);
		CHECK_EQ(profile_value(all, 0, 0), 5);
		CHECK_EQ(profile_value(all, 0, 1), 80);
		CHECK_EQ(profile_lost(all), 5);
		CHECK_EQ(profile_note_at(all, 0).cnt, 9);
	}
	/* the first one goes, and what it allocated stays */
	CHECK_EQ(merge_keep(m, &a.source, a.p, 1u << 1), 0);
	part_free(&a);
	for (int pass = 0; pass < 2; pass++) {
		merge_begin(m);
		CHECK_EQ(merge_add(m, &b.source, b.p, 0, ~0u), 0);
		CHECK_EQ(profile_value(all, 0, 0), 5);
		CHECK_EQ(profile_value(all, 0, 1), 80);
	}
	part_free(&b);
	merge_close(m);
}

/* Many stacks of many processes against sums by hand. */
TEST(many)
{
	struct merge *m = merge_open(types);
	int64_t want[50] = { 0 };
	struct part parts[20];
	char name[16];

	for (int i = 0; i < 20; i++) {
		parts[i] = part_new(m, i);
		for (int j = 0; j < 50; j++) {
			int at = (j * 7 + i) % 50, stack;

			snprintf(name, sizeof(name), "f%d", at);
			stack = stack_of(parts[i].p, 0x100000ull * (i + 1) + 0x10 * j, name, "main", false);
			profile_value_set(parts[i].p, stack, 0, i * 1000 + at);
			want[at] += i * 1000 + at;
		}
	}
	merge_begin(m);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(merge_add(m, &parts[i].source, parts[i].p, parts[0].process, ~0u), 0);
	CHECK_EQ(profile_stacks_cnt(merge_profile(m)), 50);
	for (int i = 0; i < 50; i++) {
		struct stack st = profile_stack_at(merge_profile(m), i);
		int at = atoi(profile_frame_at(merge_profile(m), st.frames[0])->name + 1);

		CHECK_EQ(profile_value(merge_profile(m), i, 0), want[at]);
	}
	for (int i = 0; i < 20; i++)
		part_free(&parts[i]);
	merge_close(m);
}

TEST_MAIN(TEST_CASE(same_names), TEST_CASE(apart), TEST_CASE(later_stacks), TEST_CASE(kinds_and_counts), TEST_CASE(many))
