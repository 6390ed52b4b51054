/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The meter and the brake, fed with targets whose load is known second by second.
 */
#include <math.h>

#include "cmd/meter.h"
#include "test.h"

#define SECOND_NS	1000000000ull
#define START_NS	(1000 * SECOND_NS)

static const struct trap_price price = { .trap_ns = 1000, .stepped_ns = 3000, .return_ns = 500 };

/* A target that spends so much of each second, and ebb so much of that. */
struct load {
	double cpu;	/* of one core */
	double cost;	/* percent of cpu */
};

struct sim {
	struct meter meter;
	uint64_t now_ns, cpu_ns;
	struct source_traps traps;
};

static void sim_open(struct sim *s)
{
	*s = (struct sim){ .now_ns = START_NS, .cpu_ns = 77 * SECOND_NS };
	meter_open(&s->meter, &price);
	meter_sample(&s->meter, s->now_ns, s->cpu_ns, &s->traps);
}

static void sim_step(struct sim *s, struct load load, uint64_t step_ns)
{
	s->now_ns += step_ns;
	s->cpu_ns += load.cpu * step_ns;
	s->traps.emulated += load.cpu * load.cost / 100 * step_ns / price.trap_ns;
	meter_sample(&s->meter, s->now_ns, s->cpu_ns, &s->traps);
}

/* Seconds until the brake comes, -1 when it does not. */
static int sim_brakes(struct sim *s, struct load load, int seconds, double limit)
{
	for (int i = 1; i <= seconds; i++) {
		sim_step(s, load, SECOND_NS);
		if (meter_brakes(&s->meter, limit))
			return i;
	}
	return -1;
}

static bool near(double got, double want)
{
	return CHECK(fabs(got - want) < 0.01);
}

TEST(too_early)
{
	struct meter m;
	struct source_traps none = { 0 };

	meter_open(&m, &price);
	CHECK(meter_cost_percent(&m) == -1);
	CHECK(!meter_brakes(&m, 0));
	meter_sample(&m, START_NS, 5, &none);
	CHECK(meter_cost_percent(&m) == -1);
	CHECK(!meter_brakes(&m, 0));
	/* not a second later */
	meter_sample(&m, START_NS + SECOND_NS / 2, 7, &none);
	CHECK(meter_cost_percent(&m) == -1);
	meter_sample(&m, START_NS + SECOND_NS, 9, &none);
	CHECK(meter_cost_percent(&m) == 0);
}

TEST(prices)
{
	struct source_traps traps = { .emulated = 100000, .stepped = 10000, .returned = 60000 };
	struct source_traps none = { 0 };
	struct meter m;

	meter_open(&m, &price);
	meter_sample(&m, START_NS, 0, &none);
	meter_sample(&m, START_NS + SECOND_NS, SECOND_NS, &traps);
	/* 100 + 30 + 30 ms of a second */
	near(meter_cost_percent(&m), 16);
}

TEST(window)
{
	struct sim s;

	sim_open(&s);
	for (int i = 0; i < 60; i++)
		sim_step(&s, (struct load){ 0.5, 40 }, SECOND_NS);
	near(meter_cost_percent(&s.meter), 40);
	for (int i = 1; i <= 10; i++) {
		sim_step(&s, (struct load){ 0.5, 10 }, SECOND_NS);
		near(meter_cost_percent(&s.meter), i < 5 ? 40 - 6 * i : 10);
	}
	/* weighed by the CPU time, not by the seconds */
	sim_step(&s, (struct load){ 2, 20 }, SECOND_NS);
	near(meter_cost_percent(&s.meter), (4 * 0.5 * 10 + 2 * 20) / 4);
}

/* More often does no harm: the window is 5 s, whatever the number of samples. */
TEST(often)
{
	struct sim s;

	sim_open(&s);
	for (int i = 0; i < 200; i++)
		sim_step(&s, (struct load){ 1, i < 100 ? 50 : 10 }, SECOND_NS / 10);
	near(meter_cost_percent(&s.meter), 10);
	for (int i = 0; i < 3; i++)
		sim_step(&s, (struct load){ 1, 70 }, 20 * SECOND_NS);	/* a machine that stood still */
	near(meter_cost_percent(&s.meter), 70);
}

TEST(idle_target)
{
	struct sim s;

	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 0, 0 }, 20, 0), -1);
	CHECK(meter_cost_percent(&s.meter) == 0);
	/* traps that no CPU time shows: it counts in ticks */
	s.traps.emulated += 10;
	CHECK_EQ(sim_brakes(&s, (struct load){ 0, 0 }, 1, 0), -1);
	CHECK(meter_cost_percent(&s.meter) == 0);
}

TEST(never_above_all)
{
	struct sim s;

	sim_open(&s);
	sim_step(&s, (struct load){ 0.1, 500 }, SECOND_NS);	/* a price that was measured too high */
	CHECK(meter_cost_percent(&s.meter) == 100);
}

TEST(brake)
{
	struct sim s;
	int after;

	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 0.5, 29 }, 60, 30), -1);
	after = sim_brakes(&s, (struct load){ 0.5, 60 }, 60, 30);
	CHECK(after >= 5 && after <= 7);

	sim_open(&s);
	after = sim_brakes(&s, (struct load){ 0.5, 60 }, 60, 30);
	CHECK(after >= 5 && after <= 6);

	/* none, and limits that nothing can pass */
	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 90 }, 60, -1), -1);
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 100 }, 60, 100), -1);
}

/* Below 5 % of a core nobody is harmed. */
TEST(brake_of_a_small_target)
{
	struct sim s;

	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 0.06, 80 }, 60, 30), -1);
	CHECK(sim_brakes(&s, (struct load){ 0.07, 80 }, 60, 30) > 0);
}

/* What is above the limit for a moment did not stay there. */
TEST(brake_of_a_burst)
{
	struct sim s;

	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 0.01, 1 }, 30, 30), -1);
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 60 }, 1, 30), -1);
	CHECK_EQ(sim_brakes(&s, (struct load){ 0.01, 1 }, 30, 30), -1);
	/* nor does one after the other add up */
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(sim_brakes(&s, (struct load){ 1, 60 }, 1, 30), -1);
		CHECK_EQ(sim_brakes(&s, (struct load){ 0.01, 1 }, 7, 30), -1);
	}
	/* half the time is not a moment */
	for (int i = 0, after = -1; after < 0; i++) {
		if (!CHECK(i < 10))
			break;
		after = sim_brakes(&s, (struct load){ 1, i % 2 ? 0 : 90 }, 1, 30);
	}
}

TEST(brake_resets)
{
	struct sim s;

	sim_open(&s);
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(sim_brakes(&s, (struct load){ 1, 36 }, 3, 30), -1);
		CHECK_EQ(sim_brakes(&s, (struct load){ 1, 5 }, 3, 30), -1);
		CHECK(meter_cost_percent(&s.meter) < 30);
	}
}

/* CLOCK_MONOTONIC does not, but if it did: nothing ends, and the meter goes on from there. */
TEST(clock_steps)
{
	struct sim s;

	sim_open(&s);
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 20 }, 10, 30), -1);
	s.now_ns -= 100 * SECOND_NS;
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 20 }, 10, 30), -1);
	near(meter_cost_percent(&s.meter), 20);
	s.now_ns += 3600 * SECOND_NS;
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 20 }, 10, 30), -1);
	near(meter_cost_percent(&s.meter), 20);
	s.cpu_ns -= 2 * SECOND_NS;	/* a thread that left its process's account */
	CHECK_EQ(sim_brakes(&s, (struct load){ 1, 20 }, 1, 101), -1);
	CHECK(meter_cost_percent(&s.meter) >= 0);
}

TEST_MAIN(TEST_CASE(too_early), TEST_CASE(prices), TEST_CASE(window), TEST_CASE(often), TEST_CASE(idle_target),
	  TEST_CASE(never_above_all), TEST_CASE(brake), TEST_CASE(brake_of_a_small_target), TEST_CASE(brake_of_a_burst),
	  TEST_CASE(brake_resets), TEST_CASE(clock_steps))
