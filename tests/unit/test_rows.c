/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rows of the leak report, fed with snapshots whose numbers are functions of their time.
 */
#include <stdlib.h>

#include "cmd/rows.h"
#include "test.h"

#define MS_NS		1000000ull
#define SECOND_NS	1000000000ull
#define START_NS	(12345 * SECOND_NS)

static const struct value_type types[] = {
	[LEAK_HELD_BYTES] = { "held-bytes", "bytes" },
	[LEAK_HELD_BLOCKS] = { "held-blocks", "blocks" },
	[LEAK_ALLOC_BYTES] = { "alloc-bytes", "bytes" },
	[LEAK_ALLOC_BLOCKS] = { "alloc-blocks", "blocks" },
	[LEAK_PEAK_BYTES] = { "peak-bytes", "bytes" },
	[LEAK_OLD_BLOCKS] = { "old-blocks", "blocks" },
	{ NULL, NULL },
};

struct sim {
	struct profile *profile;
	struct rows rows;
	uint64_t now_ns;
	uint32_t process;
};

static void sim_open(struct sim *s, bool raw)
{
	*s = (struct sim){ .profile = profile_new(types), .now_ns = START_NS };
	s->process = profile_process(s->profile, 1, "comm");
	CHECK_EQ(rows_open(&s->rows, s->profile, raw, START_NS), 0);
}

static void sim_close(struct sim *s)
{
	rows_close(&s->rows);
	profile_free(s->profile);
}

/*
 * "inner outer …": a stack of functions. An upper-case letter is the user's own code, lower case a library's;
 * after a colon, another module. Equal names are one frame, except that "'" makes another address of them.
 */
static uint32_t sim_stack(struct sim *s, const char *names)
{
	char *copy = strdup(names), *save = NULL;
	char *found[8], *module[8];
	uint64_t addrs[8];
	uint32_t cnt = 0;
	int stack;

	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		uint64_t addr = 5381;

		for (const char *c = name; *c; c++)
			addr = addr * 33 + (unsigned char)*c;
		found[cnt] = name;
		module[cnt] = strchr(name, ':');
		addrs[cnt++] = addr;
	}
	stack = profile_stack(s->profile, s->process, addrs, cnt, false);
	CHECK(stack >= 0);
	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t frame = profile_stack_at(s->profile, stack).frames[i];

		if (module[i])
			*module[i]++ = '\0';
		found[i][strcspn(found[i], "'")] = '\0';
		CHECK_EQ(profile_frame_name(s->profile, frame, found[i], module[i] ? module[i] : "/bin/app",
					    found[i][0] < 'a' ? FRAME_APP : FRAME_DEPENDENCY, false), 0);
	}
	free(copy);
	return stack;
}

static void sim_hold(struct sim *s, uint32_t stack, int64_t bytes)
{
	profile_value_set(s->profile, stack, LEAK_HELD_BYTES, bytes);
}

/* A snapshot so long after the last, with what was set. */
static void sim_step(struct sim *s, uint64_t step_ns)
{
	s->now_ns += step_ns;
	CHECK_EQ(rows_update(&s->rows, s->now_ns), 0);
}

static const char *row_title(const struct sim *s, size_t i)
{
	const struct row *row = s->rows.list[i];

	if (row->frame == UINT32_MAX)
		return profile_stack_at(s->profile, row->best_stack).label;
	return profile_frame_at(s->profile, row->frame)->name;
}

static struct row *row_find(const struct sim *s, const char *title)
{
	for (size_t i = 0; i < s->rows.cnt; i++)
		if (!strcmp(row_title(s, i), title))
			return s->rows.list[i];
	return NULL;
}

TEST(grouped_by_the_first_own_frame)
{
	static const char *const stacks[] = {
		"malloc strdup Handle main",	/* Handle */
		"malloc Handle main",
		"malloc' Handle' Serve",	/* the same function, another place in it */
		"Handle Serve",
		"malloc Handle:/bin/other Serve",	/* another file's */
		"malloc start",			/* none is the user's: the innermost names it */
		"malloc clone",
		"Serve Handle",			/* the first, not the outermost */
	};
	struct sim s;
	struct row *row;

	sim_open(&s, false);
	for (size_t i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++)
		sim_hold(&s, sim_stack(&s, stacks[i]), 1 << i);
	sim_step(&s, SECOND_NS);
	CHECK_EQ(s.rows.cnt, 4);
	row = row_find(&s, "Handle");
	if (CHECK(row)) {
		CHECK_EQ(row->values[LEAK_HELD_BYTES], 1 + 2 + 4 + 8);
		CHECK_EQ(row->stacks_cnt, 4);
		CHECK_EQ(row->best_stack, 3);
	}
	row = row_find(&s, "malloc");
	if (CHECK(row)) {
		CHECK_EQ(row->values[LEAK_HELD_BYTES], 32 + 64);
		CHECK_EQ(row->stacks_cnt, 2);
		CHECK_EQ(row->best_stack, 6);
	}
	row = row_find(&s, "Serve");
	CHECK(row && row->values[LEAK_HELD_BYTES] == 128);
	sim_close(&s);
}

TEST(raw)
{
	struct sim s;

	sim_open(&s, true);
	sim_hold(&s, sim_stack(&s, "malloc Handle"), 1);
	sim_hold(&s, sim_stack(&s, "malloc' Handle"), 2);
	sim_hold(&s, sim_stack(&s, "malloc start"), 4);
	sim_hold(&s, sim_stack(&s, "malloc end"), 8);
	sim_step(&s, SECOND_NS);
	CHECK_EQ(s.rows.cnt, 4);
	for (uint32_t i = 0; i < s.rows.cnt; i++) {
		CHECK_EQ(s.rows.list[i]->values[LEAK_HELD_BYTES], 1 << i);
		CHECK_EQ(s.rows.list[i]->best_stack, i);
	}
	sim_close(&s);
}

TEST(labels)
{
	struct sim s;
	struct row *row;

	sim_open(&s, false);
	sim_hold(&s, profile_stack_label(s.profile, s.process, "[stacks full]"), 1);
	sim_hold(&s, sim_stack(&s, "[stacks"), 2);	/* a function may be called anything */
	sim_hold(&s, profile_stack_label(s.profile, s.process, "[unknown]"), 4);
	sim_step(&s, SECOND_NS);
	CHECK_EQ(s.rows.cnt, 3);
	row = row_find(&s, "[stacks full]");
	CHECK(row && row->frame == UINT32_MAX && row->values[LEAK_HELD_BYTES] == 1);
	row = row_find(&s, "[unknown]");
	CHECK(row && row->frame == UINT32_MAX && row->values[LEAK_HELD_BYTES] == 4);
	sim_close(&s);
}

/* Nothing is lost between the profile and the rows, of no kind of value, whatever appears when. */
TEST(sums)
{
	static const char *const stacks[] = {
		"A", "malloc A", "b A", "c d", "B A", "c e", "malloc B", "C", "c C", "d c", "A A", "A B",
	};
	size_t cnt = sizeof(stacks) / sizeof(stacks[0]);

	for (int raw = 0; raw < 2; raw++) {
		struct sim s;

		sim_open(&s, raw);
		for (size_t i = 0; i < cnt; i++) {
			int64_t want[LEAK_VALUES] = { 0 }, got[LEAK_VALUES] = { 0 };

			sim_stack(&s, stacks[i]);
			profile_values_clear(s.profile);
			for (size_t j = 0; j < profile_stacks_cnt(s.profile); j++)
				for (int v = 0; v < LEAK_VALUES; v++) {
					/* also below 0: a death may be read before its birth */
					int64_t value = (int64_t)(j * 7919 + i * 104729 + v * 31) % 1000 - 100;

					profile_value_set(s.profile, j, v, value);
					want[v] += value;
				}
			sim_step(&s, SECOND_NS);
			for (size_t j = 0; j < s.rows.cnt; j++)
				for (int v = 0; v < LEAK_VALUES; v++)
					got[v] += s.rows.list[j]->values[v];
			for (int v = 0; v < LEAK_VALUES; v++)
				CHECK_EQ(v == LEAK_PEAK_BYTES ? want[v] : got[v], want[v]);	/* a peak is the row's own: see peaks */
		}
		sim_close(&s);
	}
}

/* A row's peak is that of its sum; two stacks may have had theirs at other times. */
TEST(peaks)
{
	static const int64_t held[][3] = { { 100, 0, 5 }, { 60, 50, 5 }, { 0, 90, 5 }, { 10, 10, 5 } };
	struct sim s;
	struct row *row;

	sim_open(&s, false);
	sim_stack(&s, "A");
	sim_stack(&s, "malloc A");
	sim_stack(&s, "B");
	for (size_t i = 0; i < 4; i++) {
		profile_values_clear(s.profile);
		for (int j = 0; j < 3; j++)
			sim_hold(&s, j, held[i][j]);
		sim_step(&s, SECOND_NS);
	}
	row = row_find(&s, "A");
	CHECK(row && row->values[LEAK_PEAK_BYTES] == 110 && row->values[LEAK_HELD_BYTES] == 20);
	rows_classify(&s.rows, 0, true, LEAK_PEAK_BYTES);
	CHECK_STR(row_title(&s, 0), "A");
	sim_close(&s);
}

TEST(nothing)
{
	struct sim s;

	sim_open(&s, false);
	CHECK_EQ(rows_last_ns(&s.rows), 0);
	rows_classify(&s.rows, 0, true, LEAK_HELD_BYTES);
	sim_step(&s, SECOND_NS);
	rows_classify(&s.rows, 0, true, LEAK_HELD_BYTES);
	CHECK_EQ(s.rows.cnt, 0);
	CHECK_EQ(s.rows.snapshots_cnt, 1);
	CHECK_EQ(rows_last_ns(&s.rows), SECOND_NS);
	sim_close(&s);
}

/*
 * A path that allocates a block of 8 bytes a millisecond and frees one in four at once. Late_ns after the start.
 * What is read from the history must be what was true at the moment that the history says it is of.
 */
struct history {
	uint64_t interval_ns;
	uint64_t late_ns;
	int jitter_us;		/* how late timers may be */
	int snapshots;
};

static int64_t born_at(uint64_t ns, uint64_t begin_ns)
{
	return ns < begin_ns ? 0 : (ns - begin_ns) / MS_NS;
}

static int64_t held_at(uint64_t ns, uint64_t begin_ns)
{
	int64_t born = born_at(ns, begin_ns);

	return 8 * (born - born / 4);
}

static void history_check(struct sim *s, const struct history *h, uint64_t cutoff_ns)
{
	uint64_t elapsed_ns = s->now_ns - START_NS, begin_ns = START_NS + h->late_ns, last_ns, kept_ns, old_ns;
	/* of the snapshots that are kept, at most */
	uint64_t spacing_ns = (SECOND_NS + h->interval_ns - 1) / h->interval_ns * h->interval_ns + MS_NS;
	struct row *row = row_find(s, "Handle");
	int64_t born, old;

	if (!row) {
		CHECK(s->now_ns < begin_ns);
		return;
	}
	last_ns = rows_last_ns(&s->rows);
	/* a minute; where no snapshot is from then, since the one before, and at most since the start */
	CHECK(last_ns <= elapsed_ns);
	CHECK(last_ns < 60 * SECOND_NS + spacing_ns);
	if (elapsed_ns >= 60 * SECOND_NS + spacing_ns)
		CHECK(last_ns > 59 * SECOND_NS);
	else
		CHECK(last_ns + spacing_ns >= (elapsed_ns < 60 * SECOND_NS ? elapsed_ns : 60 * SECOND_NS));
	/* and timers that are late do not make 61 s of it, nor 90 */
	if (60 * SECOND_NS % h->interval_ns == 0 && h->interval_ns >= 100 * MS_NS && elapsed_ns > 61 * SECOND_NS)
		CHECK(last_ns > 60 * SECOND_NS - MS_NS && last_ns < 60 * SECOND_NS + MS_NS);
	/* the newest kept snapshot is this one or about a second old */
	kept_ns = s->rows.recent_ns[(s->rows.recent_cnt - 1) % ROWS_RECENT];
	CHECK(s->now_ns - kept_ns < spacing_ns);
	CHECK_EQ(row->last_bytes, held_at(kept_ns, begin_ns) - held_at(kept_ns - last_ns, begin_ns));

	old_ns = trend_old_ns(elapsed_ns);
	if (!cutoff_ns) {
		CHECK(elapsed_ns < old_ns);
		CHECK_EQ(row->kept_percent, -1);
		return;
	}
	CHECK(s->now_ns - cutoff_ns >= old_ns);
	CHECK(s->now_ns - cutoff_ns <= old_ns + SECOND_NS + h->interval_ns);
	born = born_at(cutoff_ns, begin_ns);
	old = born - born / 4;
	CHECK_EQ(row->kept_percent, born ? (int)(old * 100 / born) : -1);
}

static void history_run(const struct history *h)
{
	uint64_t begin_ns = START_NS + h->late_ns, random = 1;
	struct sim s;

	sim_open(&s, false);
	for (int i = 1; i <= h->snapshots && !test_failures; i++) {
		uint64_t cutoff_ns, at_ns = START_NS + i * h->interval_ns;
		uint32_t stack;
		int64_t old;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		if (h->jitter_us)
			at_ns += (random >> 33) % h->jitter_us * 1000;
		cutoff_ns = rows_cutoff(&s.rows, at_ns);
		if (at_ns >= begin_ns) {
			stack = sim_stack(&s, "malloc Handle main");
			sim_hold(&s, stack, held_at(at_ns, begin_ns));
			profile_value_set(s.profile, stack, LEAK_ALLOC_BLOCKS, born_at(at_ns, begin_ns));
			old = cutoff_ns ? born_at(cutoff_ns, begin_ns) : 0;
			profile_value_set(s.profile, stack, LEAK_OLD_BLOCKS, old - old / 4);
		}
		sim_step(&s, at_ns - s.now_ns);
		rows_classify(&s.rows, cutoff_ns, true, LEAK_HELD_BYTES);
		history_check(&s, h, cutoff_ns);
	}
	if (test_failures)
		fprintf(stderr, "in a history of %llu ms, late by %llu ms, jitter %d us, at %llu ms\n",
			(unsigned long long)(h->interval_ns / MS_NS), (unsigned long long)(h->late_ns / MS_NS), h->jitter_us,
			(unsigned long long)((s.now_ns - START_NS) / MS_NS));
	sim_close(&s);
}

TEST(history)
{
	static const uint64_t intervals_ms[] = { 10, 50, 100, 190, 333, 475, 700, 950, 1000, 1900, 5000, 7000, 30000, 300000 };
	static const uint64_t late_ms[] = { 0, 500, 7300, 61000, 200000 };
	static const int jitters_us[] = { 0, 200 };

	for (size_t i = 0; i < sizeof(intervals_ms) / sizeof(intervals_ms[0]); i++)
		for (size_t j = 0; j < sizeof(late_ms) / sizeof(late_ms[0]); j++)
			for (size_t k = 0; k < 2; k++) {
				int wanted = 300000 / intervals_ms[i];
				struct history h = {
					.interval_ns = intervals_ms[i] * MS_NS,
					.late_ns = late_ms[j] * MS_NS,
					.jitter_us = jitters_us[k],
					.snapshots = wanted < 150 ? 150 : wanted > 3000 ? 3000 : wanted,
				};

				history_run(&h);
				if (test_failures)
					return;
			}
}

/* A short look: everything since the start. */
TEST(history_begins)
{
	struct sim s;
	struct row *row;

	sim_open(&s, false);
	CHECK_EQ(rows_cutoff(&s.rows, START_NS + SECOND_NS), 0);
	CHECK_EQ(rows_cutoff(&s.rows, START_NS + 4999 * MS_NS), 0);
	CHECK_EQ(rows_cutoff(&s.rows, START_NS + 5 * SECOND_NS), START_NS);
	sim_hold(&s, sim_stack(&s, "Handle"), 800);
	sim_step(&s, 2 * SECOND_NS);
	sim_hold(&s, 0, 1000);
	sim_step(&s, 2 * SECOND_NS);
	rows_classify(&s.rows, 0, true, LEAK_HELD_BYTES);
	row = row_find(&s, "Handle");
	CHECK(row && row->last_bytes == 1000);
	CHECK_EQ(rows_last_ns(&s.rows), 4 * SECOND_NS);
	CHECK_EQ(rows_cutoff(&s.rows, START_NS + 8 * SECOND_NS), START_NS + 2 * SECOND_NS);
	sim_close(&s);
}

TEST(sorted)
{
	struct sim s;

	sim_open(&s, false);
	for (uint32_t i = 0; i < 40; i++) {
		profile_values_clear(s.profile);
		if (!i)
			for (const char *c = "ABCDE"; *c; c++)
				sim_stack(&s, (char[]){ *c, '\0' });
		sim_hold(&s, 0, 900000);		/* A: flat, large */
		sim_hold(&s, 1, 100 * (i + 1));		/* B: a leak */
		sim_hold(&s, 2, 300 * (i + 1));		/* C: a larger one */
		sim_hold(&s, 3, 0);			/* D: nothing */
		sim_hold(&s, 4, i < 38 ? 0 : 5000 * (i - 37));	/* E: has just begun to grow */
		for (uint32_t j = 0; j < 5; j++) {
			profile_value_set(s.profile, j, LEAK_ALLOC_BLOCKS, i + 1 + j);
			profile_value_set(s.profile, j, LEAK_OLD_BLOCKS, i + 1 + j);
		}
		sim_step(&s, SECOND_NS);
	}
	rows_classify(&s.rows, rows_cutoff(&s.rows, s.now_ns), true, LEAK_HELD_BYTES);
	CHECK_EQ(s.rows.cnt, 5);
	CHECK_STR(row_title(&s, 0), "C");
	CHECK_EQ(s.rows.list[0]->class, TREND_LEAK);
	CHECK_STR(row_title(&s, 1), "B");
	CHECK_EQ(s.rows.list[1]->class, TREND_LEAK);
	CHECK_STR(row_title(&s, 2), "E");
	/* by growth, then by what is held */
	CHECK_EQ(s.rows.list[3]->class, TREND_WARM_UP);
	CHECK_STR(row_title(&s, 3), "A");
	CHECK_EQ(s.rows.list[4]->class, TREND_FLAT);
	CHECK(strstr(s.rows.list[3]->why, "stopped growing") && strstr(s.rows.list[0]->why, "steadily"));
	CHECK_STR(row_title(&s, 4), "D");
	/* by the value that is asked for */
	rows_classify(&s.rows, rows_cutoff(&s.rows, s.now_ns), true, LEAK_ALLOC_BLOCKS);
	CHECK_STR(row_title(&s, 0), "E");	/* of all that was allocated the class does not matter */
	CHECK_STR(row_title(&s, 3), "B");
	/* where the growth is not explained nothing is called a leak */
	rows_classify(&s.rows, rows_cutoff(&s.rows, s.now_ns), false, LEAK_HELD_BYTES);
	for (size_t i = 0; i < s.rows.cnt; i++)
		CHECK(s.rows.list[i]->class != TREND_LEAK);
	sim_close(&s);
}

TEST_MAIN(TEST_CASE(grouped_by_the_first_own_frame), TEST_CASE(raw), TEST_CASE(labels), TEST_CASE(sums), TEST_CASE(peaks),
	  TEST_CASE(nothing), TEST_CASE(history), TEST_CASE(history_begins), TEST_CASE(sorted))
