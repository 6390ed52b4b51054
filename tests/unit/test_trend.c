/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The classes, on programs whose answer is known: each one allocates blocks with a life, a snapshot a step, and
 * held bytes and the old blocks are counted as the books do. What is random has a seed, and every rule is tried
 * with many.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "profile/trend.h"
#include "test.h"

#define STEPS 500
#define SEEDS 20
#define FOREVER STEPS
#define SECOND_NS 1000000000ull

struct sim {
	int64_t dying_bytes[STEPS][STEPS];	/* [death][birth] */
	uint32_t dying_cnt[STEPS][STEPS];
	uint32_t born_cnt[STEPS], held_cnt[STEPS];	/* by birth */
	int64_t held_bytes;
	unsigned int step;
	uint64_t random;
	double level;	/* a program's own variable */
};

struct program {
	const char *name;
	void (*run)(struct sim *s);
};

static uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* 0 <= x < 1 */
static double sim_uniform(struct sim *s)
{
	return (double)(sim_random(s) >> 11) * 0x1p-53;
}

static unsigned int sim_poisson(struct sim *s, double mean)
{
	double limit = exp(-mean), product = sim_uniform(s);
	unsigned int n = 0;

	for (; product > limit; n++)
		product *= sim_uniform(s);
	return n;
}

/* Blocks that are freed so many steps from now. */
static void sim_alloc(struct sim *s, unsigned int cnt, int64_t bytes, unsigned int life)
{
	s->born_cnt[s->step] += cnt;
	s->held_cnt[s->step] += cnt;
	s->held_bytes += cnt * bytes;
	if (life < STEPS - s->step) {
		s->dying_bytes[s->step + life][s->step] += cnt * bytes;
		s->dying_cnt[s->step + life][s->step] += cnt;
	}
}

static void sim_free_due(struct sim *s)
{
	for (unsigned int birth = 0; birth < s->step; birth++) {
		s->held_cnt[birth] -= s->dying_cnt[s->step][birth];
		s->held_bytes -= s->dying_bytes[s->step][birth];
	}
}

static struct trend_facts sim_facts(const struct sim *s, const struct trend *t, uint64_t interval_ns)
{
	struct trend_facts f = { .trend = t, .explained = true };
	uint64_t now_ns = (s->step + 1) * interval_ns, old_ns = trend_old_ns(now_ns);

	for (unsigned int birth = 0; birth <= s->step; birth++) {
		/* born in the middle of its step */
		if (birth * interval_ns + interval_ns / 2 + old_ns > now_ns)
			break;
		f.old_born_cnt += s->born_cnt[birth];
		f.old_held_cnt += s->held_cnt[birth];
	}
	return f;
}

/* Runs a program and hands out its class at each of the STEPS snapshots. */
static void sim_run(const struct program *p, uint64_t seed, uint64_t interval_ns, enum trend_class classes[STEPS])
{
	struct sim *s = calloc(1, sizeof(*s));
	struct trend t = { 0 };

	s->random = seed;
	for (; s->step < STEPS; s->step++) {
		struct trend_facts f;

		sim_free_due(s);
		p->run(s);
		/* a path appears with its first block */
		if (!t.pushes_cnt && !s->held_bytes) {
			classes[s->step] = TREND_FLAT;
			continue;
		}
		trend_push(&t, (s->step + 1) * interval_ns, s->held_bytes);
		f = sim_facts(s, &t, interval_ns);
		classes[s->step] = trend_classify(&f, NULL);
	}
	free(s);
}

/* Leaks. */

static void leak_steady(struct sim *s)
{
	sim_alloc(s, 10, 100, FOREVER);
}

static void leak_poisson(struct sim *s)
{
	sim_alloc(s, sim_poisson(s, 10), 100, FOREVER);
}

/* An error path or a reload frees some of it. */
static void leak_leaky(struct sim *s)
{
	sim_alloc(s, sim_poisson(s, 9), 100, FOREVER);
	sim_alloc(s, sim_poisson(s, 1), 100, 1 + sim_random(s) % 4);
}

static void leak_every_3(struct sim *s)
{
	sim_alloc(s, s->step % 3 == 0, 4096, FOREVER);
}

static void leak_every_7(struct sim *s)
{
	sim_alloc(s, s->step % 7 == 0, 4096, FOREVER);
}

static void leak_late(struct sim *s)
{
	sim_alloc(s, s->step ? 0 : 50, 100, FOREVER);
	sim_alloc(s, s->step >= 30 ? sim_poisson(s, 10) : 0, 100, FOREVER);
}

/* All that stays bounded. */

static void saw_tooth_4(struct sim *s)
{
	sim_alloc(s, 10, 100, 4 - s->step % 4);
}

static void saw_tooth_10(struct sim *s)
{
	sim_alloc(s, 10, 100, 10 - s->step % 10);
}

static void late_frees(struct sim *s)
{
	for (unsigned int i = 0; i < 10; i++)
		sim_alloc(s, 1, 100, 6 + sim_random(s) % 5);
}

static void lru(struct sim *s)
{
	sim_alloc(s, 20, 100, 6);
}

static void lru_hits(struct sim *s)
{
	for (unsigned int i = 0; i < 20; i++)
		sim_alloc(s, 1, 100, 4 + sim_poisson(s, 2));
}

static void warm_up_fast(struct sim *s)
{
	sim_alloc(s, s->step < 5 ? 40 : 0, 100, FOREVER);
}

static void warm_up_tau(struct sim *s, double tau)
{
	sim_alloc(s, sim_poisson(s, 200 * exp(-(s->step / tau))), 100, FOREVER);
}

static void warm_up_tau_4(struct sim *s)
{
	warm_up_tau(s, 4);
}

static void warm_up_tau_12(struct sim *s)
{
	warm_up_tau(s, 12);
}

static void warm_up_tau_30(struct sim *s)
{
	warm_up_tau(s, 30);
}

static void churn(struct sim *s, unsigned int life)
{
	/* a random walk that is drawn back to its mean */
	s->level = s->level * 0.9 + (sim_uniform(s) - 0.5) * 10;
	for (unsigned int n = sim_poisson(s, fmax(1, 20 + s->level)); n; n--)
		sim_alloc(s, 1, 100, 1 + sim_random(s) % life);
}

static void churn_short(struct sim *s)
{
	churn(s, 3);
}

static void churn_long(struct sim *s)
{
	churn(s, 12);
}

static void step_once(struct sim *s)
{
	sim_alloc(s, s->step == 0 ? 10 : s->step == 5 ? 500 : 0, 100, FOREVER);
}

static void step_late(struct sim *s)
{
	sim_alloc(s, s->step == 0 ? 10 : s->step == 25 ? 500 : 0, 100, FOREVER);
}

static void burst(struct sim *s)
{
	if (s->step < 8)
		sim_alloc(s, 50, 100, 9 - s->step);
	sim_alloc(s, s->step == 0, 100, FOREVER);
}

static void shrinking(struct sim *s)
{
	for (unsigned int i = 0; !s->step && i < 2000; i++)
		sim_alloc(s, 1, 100, 1 + sim_random(s) % 600);
}

/* Bounded by the age of what is in it: fills for longer than any look at its beginning. */
static void cache_slow(struct sim *s)
{
	for (unsigned int i = 0; i < 10; i++)
		sim_alloc(s, 1, 100, 80 + sim_random(s) % 40);
}

/* Requests come and go with a load that rises and falls; none of their blocks stays. */
static void load_day(struct sim *s)
{
	sim_alloc(s, sim_poisson(s, 20 * (1 + sin(s->step / 6.0)) + 0.5), 100, 1 + sim_random(s) % 2);
}

/* A table that doubles, copies and frees its old half, until it is large enough. */
static void doubling(struct sim *s)
{
	for (unsigned int k = 0; k < 7; k++)
		if (s->step == (1u << k))
			sim_alloc(s, 1, 1000 << k, k < 6 ? 1u << k : FOREVER);
}

static void nothing(struct sim *s)
{
	(void)s;
}

/* What must be so from a snapshot on; the share in percent of all snapshots and seeds. */
struct expectation {
	struct program program;
	unsigned int from;
	enum trend_class class;
	unsigned int percent;
};

#define EXPECT(name, from, class, percent) { { #name, name }, from, class, percent }

static void expectation_check(const struct expectation *e, uint64_t interval_ns)
{
	static const unsigned int marks[] = { 12, 15, 30, 60, 500 };
	unsigned int right = 0, all = 0;
	enum trend_class classes[STEPS];

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		sim_run(&e->program, seed * 7919, interval_ns, classes);
		for (unsigned int i = e->from - 1; i < STEPS; i++, all++)
			right += classes[i] == e->class;
	}
	if (CHECK(right * 100ull >= (unsigned long long)all * e->percent))
		return;
	fprintf(stderr, "%s: %u of %u are %s from snapshot %u on; at", e->program.name, right, all,
		trend_class_name(e->class), e->from);
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		fprintf(stderr, " %u: %s", marks[i], trend_class_name(classes[marks[i] - 1]));
	fputc('\n', stderr);
}

TEST(leaks)
{
	static const struct expectation expectations[] = {
		EXPECT(leak_steady, 12, TREND_LEAK, 100), EXPECT(leak_poisson, 12, TREND_LEAK, 99),
		EXPECT(leak_leaky, 13, TREND_LEAK, 99), EXPECT(leak_every_3, 36, TREND_LEAK, 100),
		EXPECT(leak_every_7, 84, TREND_LEAK, 100), EXPECT(leak_late, 60, TREND_LEAK, 100),
	};

	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
		expectation_check(&expectations[i], SECOND_NS);
		expectation_check(&expectations[i], 5 * SECOND_NS);
	}
}

/* What does not grow has one of three names. */
TEST(bounded)
{
	static const struct expectation expectations[] = {
		EXPECT(saw_tooth_10, 12, TREND_FLAT, 95),	/* one of 4 steps is seen in one phase only, later */
		EXPECT(late_frees, 30, TREND_CACHE, 95), EXPECT(lru, 15, TREND_CACHE, 100),
		EXPECT(lru_hits, 15, TREND_CACHE, 99), EXPECT(cache_slow, 200, TREND_CACHE, 99),
		EXPECT(warm_up_fast, 12, TREND_WARM_UP, 100),
		EXPECT(warm_up_tau_4, 60, TREND_WARM_UP, 100), EXPECT(warm_up_tau_12, 200, TREND_WARM_UP, 100),
		EXPECT(warm_up_tau_30, 400, TREND_WARM_UP, 100), EXPECT(load_day, 60, TREND_FLAT, 60),
		EXPECT(step_once, 13, TREND_WARM_UP, 99), EXPECT(step_late, 60, TREND_WARM_UP, 100),
		EXPECT(doubling, 400, TREND_CACHE, 99),		/* KEPT counts blocks: of 7 one is left */
		EXPECT(burst, 12, TREND_FLAT, 100), EXPECT(nothing, 1, TREND_FLAT, 100),
	};

	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
		expectation_check(&expectations[i], SECOND_NS);
}

/* Not once, with no seed. A warm-up that is as slow as the look is long may be taken for a leak. */
TEST(no_false_leak)
{
	static const struct { struct program program; unsigned int from; } programs[] = {
		{ { "saw_tooth_4", saw_tooth_4 }, 1 }, { { "saw_tooth_10", saw_tooth_10 }, 1 },
		{ { "late_frees", late_frees }, 1 }, { { "lru", lru }, 1 }, { { "lru_hits", lru_hits }, 1 },
		{ { "warm_up_fast", warm_up_fast }, 1 }, { { "warm_up_tau_4", warm_up_tau_4 }, 1 },
		{ { "warm_up_tau_12", warm_up_tau_12 }, 15 }, { { "warm_up_tau_30", warm_up_tau_30 }, 30 },
		{ { "churn_short", churn_short }, 1 }, { { "churn_long", churn_long }, 1 },
		{ { "step_once", step_once }, 1 }, { { "step_late", step_late }, 1 }, { { "burst", burst }, 1 },
		{ { "shrinking", shrinking }, 1 }, { { "nothing", nothing }, 1 },
		{ { "load_day", load_day }, 1 }, { { "doubling", doubling }, 1 },
	};
	enum trend_class classes[STEPS];

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			unsigned int leaks = 0;

			sim_run(&programs[i].program, seed * 104729, seed % 2 ? SECOND_NS : 5 * SECOND_NS, classes);
			for (unsigned int step = programs[i].from - 1; step < STEPS; step++)
				leaks += classes[step] == TREND_LEAK;
			if (!CHECK_EQ(leaks, 0))
				fprintf(stderr, "%s, seed %llu\n", programs[i].program.name, (unsigned long long)seed);
		}
	}
}

static void push_line(struct trend *t, unsigned int cnt, int64_t from, int64_t step)
{
	for (unsigned int i = 0; i < cnt; i++)
		trend_push(t, (t->pushes_cnt + 1) * SECOND_NS, from + step * i);
}

/* A steady leak is no LEAK while one of the other conditions is missing. */
TEST(leak_needs_all)
{
	struct trend t = { 0 };
	struct trend_facts f = { .trend = &t, .old_born_cnt = 100, .old_held_cnt = 100, .explained = true };

	CHECK_EQ(trend_classify(&f, NULL), TREND_FLAT);
	push_line(&t, 1, 100, 0);
	CHECK_EQ(trend_classify(&f, NULL), TREND_EARLY);
	push_line(&t, 10, 200, 100);
	CHECK_EQ(trend_classify(&f, NULL), TREND_EARLY);
	push_line(&t, 1, 1200, 0);
	CHECK_EQ(trend_classify(&f, NULL), TREND_LEAK);
	f.old_held_cnt = 80;
	CHECK_EQ(trend_classify(&f, NULL), TREND_LEAK);
	f.old_held_cnt = 79;
	CHECK_EQ(trend_classify(&f, NULL), TREND_GROWING);
	/* it grows without bound, so few old blocks do not make it flat */
	f.old_held_cnt = 10;
	CHECK_EQ(trend_classify(&f, NULL), TREND_GROWING);
	f.old_held_cnt = 100;
	f.explained = false;
	CHECK_EQ(trend_classify(&f, NULL), TREND_GROWING);
	f.explained = true;
	f.old_born_cnt = 0;
	CHECK_EQ(trend_classify(&f, NULL), TREND_GROWING);
	push_line(&t, 1, 0, 0);
	CHECK_EQ(trend_classify(&f, NULL), TREND_FLAT);
	CHECK_STR(trend_class_name(TREND_GROWING), "GROWING");
}

/* Whatever the clock does: no crash and no LEAK. */
TEST(no_time_passes)
{
	struct trend t = { 0 };
	struct trend_facts f = { .trend = &t, .old_born_cnt = 1, .old_held_cnt = 1, .explained = true };

	for (int i = 0; i < 40; i++)
		trend_push(&t, SECOND_NS, i);
	CHECK(trend_slope(&t) == 0);
	CHECK_EQ(trend_classify(&f, NULL), TREND_WARM_UP);	/* it keeps what it has, and no more is known */
}

/* First and last snapshot are always there, the others at equal distances, whatever the number. */
TEST(decimation)
{
	struct trend t = { 0 };

	for (unsigned int n = 1; n <= 5000; n++) {
		int ok = 1;

		trend_push(&t, n * SECOND_NS, n - 1);
		for (uint32_t i = 0; i + 1 < t.points_cnt; i++)
			ok &= t.held_bytes[i] == (int64_t)i * t.stride;
		ok &= t.held_bytes[t.points_cnt - 1] == n - 1 && t.time_ns[t.points_cnt - 1] == n * SECOND_NS;
		ok &= t.points_cnt <= TREND_POINTS_MAX && (n < 64 || t.points_cnt >= 32) && t.pushes_cnt == n;
		if (!CHECK(ok)) {
			fprintf(stderr, "after %u snapshots\n", n);
			return;
		}
	}
	CHECK_EQ(t.ups_cnt, 4999);
	CHECK(fabs(trend_slope(&t) - 1) < 1e-9);
}

TEST(at)
{
	struct trend t = { 0 };

	CHECK_EQ(trend_at(&t, 5 * SECOND_NS), 0);
	push_line(&t, 3, 10, 10);
	CHECK_EQ(trend_at(&t, SECOND_NS - 1), 0);
	CHECK_EQ(trend_at(&t, SECOND_NS), 10);
	CHECK_EQ(trend_at(&t, 3 * SECOND_NS - 1), 20);
	CHECK_EQ(trend_at(&t, 99 * SECOND_NS), 30);
	CHECK(fabs(trend_slope(&t) - 10) < 1e-9);
}

TEST(kept)
{
	struct trend_facts f = { .old_born_cnt = 0 };

	CHECK_EQ(trend_kept_percent(&f), -1);
	f.old_born_cnt = 1000000;
	CHECK_EQ(trend_kept_percent(&f), 0);
	f.old_held_cnt = 999999;
	CHECK_EQ(trend_kept_percent(&f), 99);
	f.old_held_cnt = 1000000;
	CHECK_EQ(trend_kept_percent(&f), 100);
	f.old_held_cnt = 1000001;
	CHECK_EQ(trend_kept_percent(&f), 100);
	f.old_born_cnt = UINT64_MAX;
	f.old_held_cnt = UINT64_MAX / 2;
	CHECK(trend_kept_percent(&f) >= 49 && trend_kept_percent(&f) <= 50);
	CHECK_EQ(trend_old_ns(0), 5 * SECOND_NS);
	CHECK_EQ(trend_old_ns(30 * SECOND_NS), 10 * SECOND_NS);
	CHECK_EQ(trend_old_ns(3600 * SECOND_NS), 60 * SECOND_NS);
}

TEST(spark)
{
	char buf[TREND_SPARK_MAX];
	struct trend t = { 0 };

	CHECK_STR(trend_spark(buf, &t), "");
	push_line(&t, 1, 0, 0);
	CHECK_STR(trend_spark(buf, &t), "▁");
	push_line(&t, 7, 1, 1);
	CHECK_STR(trend_spark(buf, &t), "▁▂▃▄▅▆▇█");
	t = (struct trend){ 0 };
	push_line(&t, 500, 7, 0);
	CHECK_STR(trend_spark(buf, &t), "████████");
	t = (struct trend){ 0 };
	push_line(&t, 3, -5, 0);
	CHECK_STR(trend_spark(buf, &t), "▁▁▁");
	push_line(&t, 1, INT64_MAX, 0);
	CHECK_STR(trend_spark(buf, &t), "▁▁▁█");
}

TEST_MAIN(TEST_CASE(leaks), TEST_CASE(bounded), TEST_CASE(no_false_leak), TEST_CASE(leak_needs_all),
	  TEST_CASE(no_time_passes), TEST_CASE(decimation), TEST_CASE(at), TEST_CASE(kept), TEST_CASE(spark))
