/* SPDX-License-Identifier: GPL-2.0-only */
/* The map of intervals against an array with a cell a page. */
#include <stdlib.h>

#include "source/intervals.h"
#include "test.h"

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#define PAGES 512

struct cell {
	uint32_t call;		/* 0 = nothing is there */
	uint64_t placed_ns;
};

static struct interval make(uint64_t start, uint64_t end, uint32_t owner, uint64_t ns)
{
	return (struct interval){ .start = start, .end = end, .born_ns = ns, .placed_ns = ns, .owner = owner };
}

static void check_list(const struct intervals *s, const struct interval *want, size_t cnt)
{
	const struct interval *i = intervals_after(s, 0);

	CHECK_EQ(intervals_cnt(s), cnt);
	for (size_t n = 0; n < cnt; n++, i = intervals_after(s, i->end)) {
		if (!CHECK(i))
			return;
		CHECK_EQ(i->start, want[n].start);
		CHECK_EQ(i->end, want[n].end);
		CHECK_EQ(i->owner, want[n].owner);
	}
	CHECK(!i);
}

TEST(cuts)
{
	struct intervals *s = intervals_new();
	struct interval one = make(10, 20, 1, 1), two = make(20, 30, 2, 2), fixed = make(5, 25, 3, 3);
	struct interval *taken = NULL;
	size_t cnt = 0;

	CHECK_EQ(intervals_put(s, &one), 0);
	CHECK_EQ(intervals_put(s, &two), 0);	/* adjacent ones stay two */
	check_list(s, (struct interval[]){ one, two }, 2);
	CHECK_EQ(intervals_take(s, 13, 15, UINT64_MAX, NULL, NULL), 0);
	check_list(s, (struct interval[]){ make(10, 13, 1, 1), make(15, 20, 1, 1), two }, 3);
	CHECK_EQ(intervals_take(s, 12, 22, UINT64_MAX, &taken, &cnt), 0);
	CHECK_EQ(cnt, 3);
	CHECK_EQ(taken[0].end, 13);
	CHECK_EQ(taken[2].end, 22);
	free(taken);
	check_list(s, (struct interval[]){ make(10, 12, 1, 1), make(22, 30, 2, 2) }, 2);
	CHECK_EQ(intervals_put(s, &fixed), 0);	/* over several */
	check_list(s, (struct interval[]){ fixed, make(25, 30, 2, 2) }, 2);
	CHECK_EQ(intervals_take(s, 0, UINT64_MAX, 2, NULL, NULL), 0);	/* newer ones stay, whole */
	check_list(s, &fixed, 1);
	CHECK_EQ(intervals_take(s, 7, 8, 2, NULL, NULL), 0);
	check_list(s, &fixed, 1);
	intervals_free(s);
}

TEST(ends_of_the_space)
{
	struct intervals *s = intervals_new();
	struct interval last = make(UINT64_MAX - 1, UINT64_MAX, 1, 1), first = make(0, 1, 2, 1);

	CHECK_EQ(intervals_put(s, &last), 0);
	CHECK_EQ(intervals_put(s, &first), 0);
	check_list(s, (struct interval[]){ first, last }, 2);
	CHECK(!intervals_after(s, UINT64_MAX));
	CHECK_EQ(intervals_take(s, 1, UINT64_MAX, UINT64_MAX, NULL, NULL), 0);
	check_list(s, &first, 1);
	intervals_free(s);
}

TEST(resident)
{
	struct intervals *s = intervals_new();
	struct interval i = make(100, 200, 1, 1);
	uint64_t sum = 0;

	i.resident_bytes = 60;
	CHECK_EQ(intervals_put(s, &i), 0);
	CHECK_EQ(intervals_take(s, 140, 150, UINT64_MAX, NULL, NULL), 0);
	for (struct interval *at = intervals_after(s, 0); at; at = intervals_after(s, at->end)) {
		CHECK(at->resident_bytes <= at->end - at->start);
		sum += at->resident_bytes;
	}
	CHECK(sum <= 60);
	CHECK(sum >= 50);
	intervals_free(s);
}

/* Runs of cells of one call are the intervals: a call's number is used once. */
static void check_cells(const struct intervals *s, const struct cell cells[PAGES])
{
	const struct interval *i = intervals_after(s, 0);
	size_t cnt = 0;

	for (uint64_t at = 0; at < PAGES;) {
		uint64_t end = at;

		if (!cells[at].call) {
			at++;
			continue;
		}
		while (end < PAGES && cells[end].call == cells[at].call)
			end++;
		if (!CHECK(i && i->start == at && i->end == end && i->owner == cells[at].call &&
			   i->placed_ns == cells[at].placed_ns))
			return;
		i = intervals_after(s, i->end);
		at = end;
		cnt++;
	}
	CHECK(!i);
	CHECK_EQ(intervals_cnt(s), cnt);
}

/* Whether cells of one call would be torn by leaving a part of it that is newer: the map does not do that. */
TEST(model)
{
	struct intervals *s = intervals_new();
	struct cell cells[PAGES] = { { 0 } };
	uint32_t call = 0;

	for (uint64_t ns = 1; ns < 2000000 && !test_failures; ns++) {
		uint64_t start = random_next() % PAGES, end = start + 1 + random_next() % (random_next() % 8 ? 8 : 200);
		uint64_t until = random_next() % 4 ? UINT64_MAX : ns - random_next() % 20;

		if (end > PAGES)
			end = PAGES;
		if (random_next() % 2) {
			struct interval new = make(start, end, ++call, ns);

			CHECK_EQ(intervals_put(s, &new), 0);
			for (uint64_t at = start; at < end; at++)
				cells[at] = (struct cell){ call, ns };
		} else {
			CHECK_EQ(intervals_take(s, start, end, until, NULL, NULL), 0);
			for (uint64_t at = start; at < end; at++)
				if (cells[at].placed_ns <= until)
					cells[at] = (struct cell){ 0 };
		}
		if (ns % 1000 < 4)
			check_cells(s, cells);
	}
	check_cells(s, cells);
	intervals_free(s);
}

TEST(many)
{
	struct intervals *s = intervals_new();

	for (uint64_t i = 0; i < 300000; i++) {
		struct interval new = make(i * 10, i * 10 + 5, i, i);

		CHECK_EQ(intervals_put(s, &new), 0);
	}
	CHECK_EQ(intervals_cnt(s), 300000);
	for (uint64_t i = 0; i < 300000; i += 2)
		CHECK_EQ(intervals_take(s, i * 10 + 2, i * 10 + 3, UINT64_MAX, NULL, NULL), 0);
	CHECK_EQ(intervals_cnt(s), 450000);
	CHECK_EQ(intervals_after(s, 3)->start, 3);
	CHECK_EQ(intervals_take(s, 0, UINT64_MAX, UINT64_MAX, NULL, NULL), 0);
	CHECK_EQ(intervals_cnt(s), 0);
	intervals_free(s);
}

TEST_MAIN(TEST_CASE(cuts), TEST_CASE(ends_of_the_space), TEST_CASE(resident), TEST_CASE(model), TEST_CASE(many))
