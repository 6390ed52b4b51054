/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The judgement, on clients whose answer is known. What is expected is worked out from rate, life and range, or taken
 * from what the simulation does later.
 */
#include "ports_sim.h"

/* Every second from from_s on the forecast is right within 10 % (and a second) of what the simulation does later. */
static void check_forecast(struct sim *s, double from_s, double horizon_s)
{
	double said[1200] = { 0 }, full_s;
	uint32_t cnt = 0;

	for (; s->full_tick == NEVER && s->tick * TICK_MS < horizon_s * 1000; cnt++) {
		sim_run(s, cnt + 1);
		said[cnt + 1] = dest(s)->full_in_s;
	}
	full_s = s->full_tick == NEVER ? -1 : s->full_tick * TICK_MS / 1000.0;
	CHECK(full_s > from_s);
	for (uint32_t t = (uint32_t)ceil(from_s); t < full_s; t++)
		if (!CHECK(fabs(said[t] - (full_s - t)) <= 0.1 * (full_s - t) + 1)) {
			fprintf(stderr, "after %u s: full in %g s, really in %g\n", t, said[t], full_s - t);
			return;
		}
}

TEST(rates)
{
	struct sim *s = SIM(28232, { .rate = 100, .life_ms = 6 });

	sim_run(s, 1);
	CHECK(dest(s)->new_per_s == 0);
	CHECK(dest(s)->full_in_s < 0);
	sim_run(s, 2);
	CHECK_NEAR(dest(s)->new_per_s, 100, 5);
	sim_run(s, 40);
	CHECK_NEAR(dest(s)->new_per_s, 100, 1);
	CHECK_NEAR(s->p->flows[0].tries_per_s, 100, 1);
	CHECK_NEAR(group(s, 0)->sum.tries_per_s, 100, 1);
	s->clients[0].rate = 300;
	sim_run(s, 56);
	CHECK_NEAR(dest(s)->new_per_s, 300, 1);
	s->clients[0].rate = 0;
	sim_run(s, 72);
	CHECK_NEAR(dest(s)->new_per_s, 0, 1);
	CHECK_EQ(s->p->alarms_cnt, 0);
	CHECK_EQ(s->p->fine_cnt, 1);
	sim_free(s);
}

TEST(look_intervals)
{
	static const uint32_t look_ms[] = { 200, 500, 5000, 20000 };

	for (size_t i = 0; i < sizeof(look_ms) / sizeof(look_ms[0]); i++) {
		struct sim *s = SIM(10000, { .rate = 60, .life_ms = 100 }, { .rate = 10, .life_ms = NEVER });

		s->look_ms = look_ms[i];
		sim_run(s, 40);
		CHECK_NEAR(dest(s)->new_per_s, 70, 1);
		CHECK_NEAR(dest(s)->full_in_s, (10000 - 60 * 61) / 10.0 - 40, 5);
		/* the last judgement of a look may come at the time of the one before */
		CHECK_EQ(ports_judge(s->p), 0);
		CHECK_NEAR(dest(s)->new_per_s, 70, 1);
		CHECK_NEAR(dest(s)->full_in_s, (10000 - 60 * 61) / 10.0 - 40, 5);
		sim_free(s);
	}
}

/* A client that starts in the middle of the look is not averaged with the time before. */
TEST(late_start)
{
	struct sim *s = SIM(28232, { .rate = 100, .life_ms = 6, .from_s = 30.4 });

	sim_run(s, 34);
	CHECK_NEAR(dest(s)->new_per_s, 100, 5);
	sim_free(s);
}

TEST(client_closes_first)
{
	struct sim *s = SIM(28232, { .rate = 600, .life_ms = 6 }, { .rate = 10, .life_ms = 6 });
	uint64_t since_ns;

	check_forecast(s, 2, 100);
	CHECK_NEAR(s->full_tick * TICK_MS / 1000.0, 28232 / 610.0, 3);
	sim_run(s, 59);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	since_ns = dest(s)->since_ns;
	CHECK_EQ(since_ns, START_NS + (uint64_t)s->full_tick * TICK_MS * 1000000);
	CHECK_NEAR(dest(s)->max_per_s, 470, 2);
	CHECK_NEAR(dest(s)->new_per_s + dest(s)->failed_per_s, 610, 1);
	CHECK_NEAR(dest(s)->failed_per_s, 610 * 12.8 / 15, 3);
	CHECK_EQ(dest(s)->usable, 28232);
	CHECK_EQ(dest(s)->used_max, 28232);
	CHECK(dest(s)->full_in_s >= 0 && dest(s)->full_in_s < 1);
	CHECK(dest(s)->next_back_s >= 0 && dest(s)->next_back_s < 2);
	CHECK_NEAR(dest(s)->median_life_ms, 6, 10);
	CHECK_EQ(dest(s)->verdict, PORTS_CLIENT_CLOSES | PORTS_SHORT_LIVED);
	CHECK_EQ(dest(s)->groups_cnt, 2);
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	CHECK_NEAR(group(s, 0)->sum.tries_per_s, 600, 2);
	/* the ports come back as fast as they went, until there is the same gap again */
	sim_run(s, 90);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "filling");
	CHECK_EQ(dest(s)->until_ns, s->p->flows[0].last_failure_ns);
	sim_run(s, 117);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	CHECK_EQ(dest(s)->since_ns, since_ns);
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	sim_free(s);
}

/* It fills 200 ports in no time and exits; a well-behaved client finds none. The report names the one that is gone. */
TEST(culprit_has_exited)
{
	struct sim *s = SIM(200, { .rate = 1500, .life_ms = 6, .until_s = 10.5, .from_s = 10.1, .dies = true },
			    { .rate = 5, .life_ms = 2000, .side = PEER_FIRST, .from_s = 10.6 });
	uint64_t since_ns;

	sim_run(s, 12);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	CHECK_EQ(group(s, 0)->sum.held_full, 200);
	since_ns = dest(s)->since_ns;
	/* the TIME_WAITs go after a minute; then all is well but for the past */
	sim_run(s, 90);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "was-exhausted");
	CHECK_EQ(dest(s)->since_ns, since_ns);
	CHECK_NEAR((dest(s)->until_ns - START_NS) / 1e9, 70.2, 2);
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_EQ(group(s, 0)->sum.held, 0);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	CHECK(dest(s)->verdict & PORTS_CLIENT_CLOSES);
	CHECK(dest(s)->verdict & PORTS_SHORT_LIVED);
	CHECK(!(dest(s)->verdict & PORTS_MANY_OPEN));
	CHECK_EQ(s->p->alarms_cnt, 1);
	sim_free(s);
}

/* A second spell has its own beginning and its own culprit. */
TEST(two_spells)
{
	struct sim *s = SIM(200, { .rate = 500, .life_ms = 6, .until_s = 3 },
			    { .rate = 500, .life_ms = 6, .from_s = 100.1, .until_s = 103 });

	sim_run(s, 80);
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "was-exhausted");
	sim_run(s, 105);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	CHECK_EQ(group(s, 0)->sum.owner, 1);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_EQ(dest(s)->since_ns, s->p->flows[1].first_failure_ns);
	sim_run(s, 190);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "was-exhausted");
	CHECK_EQ(dest(s)->since_ns, s->p->flows[1].first_failure_ns);
	CHECK_EQ(dest(s)->until_ns, s->p->flows[1].last_failure_ns);
	CHECK_EQ(group(s, 0)->sum.owner, 1);
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	sim_free(s);
}

static void check_leak(struct sim *s, enum ports_verdict verdict, uint32_t owner)
{
	sim_run(s, 100);
	CHECK(dest(s)->verdict & verdict);
	CHECK_EQ(group(s, 0)->sum.owner, owner);
	CHECK_STR(ports_role_name(group(s, 0)->role), "leaker");
	sim_free(s);
}

TEST(close_wait_leak)
{
	struct client leak = { .rate = 20, .life_ms = NEVER, .side = PEER_FIRST };
	struct sim *s = SIM(10000, leak);

	check_forecast(s, 3, 600);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	CHECK(dest(s)->verdict & PORTS_NEVER_CLOSED);
	CHECK(!(dest(s)->verdict & (PORTS_CLIENT_CLOSES | PORTS_SHORT_LIVED | PORTS_MANY_OPEN)));
	CHECK_STR(ports_role_name(group(s, 0)->role), "leaker");
	CHECK(dest(s)->max_per_s < 0);
	sim_free(s);
	s = SIM(28232, leak);
	sim_run(s, 20);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "leaking");
	check_leak(s, PORTS_NEVER_CLOSED, 0);
	/* slow: a socket in two seconds */
	leak.rate = 0.5;
	s = SIM(28232, leak);
	check_leak(s, PORTS_NEVER_CLOSED, 0);
}

TEST(idle_leak)
{
	struct client leak = { .rate = 5, .life_ms = NEVER, .silent = true };
	struct sim *s = SIM(28232, { .rate = 1, .life_ms = 100 }, leak);

	sim_run_fine(s, 70);
	sim_run(s, 99);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "leaking");
	check_leak(s, PORTS_IDLE_HELD, 1);
}

/* A leak beside TIME_WAITs that level off: of one process and of two. */
TEST(mix)
{
	struct client churn = { .rate = 50, .life_ms = 6 }, leak = { .rate = 20, .life_ms = NEVER, .side = PEER_FIRST };
	struct sim *s = SIM(8000, churn, leak);

	check_forecast(s, 4, 400);
	sim_free(s);
	churn.life_ms = 1000;
	s = SIM(8000, churn, leak);
	check_forecast(s, 18, 400);
	sim_free(s);
	/* it fills before the TIME_WAITs come back */
	s = SIM(3000, churn, leak);
	check_forecast(s, 4, 400);
	sim_free(s);
	/* a look that begins when all TIME_WAITs are there */
	s = SIM(12000, { .rate = 150, .life_ms = 6 }, { .rate = 20, .life_ms = NEVER, .from_s = 100 });
	check_forecast(s, 118, 400);
	sim_free(s);
}

/* A steady state below the capacity is none of our business, from the ramp on. */
TEST(levels_off)
{
	struct sim *s = SIM(2000, { .rate = 10, .life_ms = 6 });

	for (unsigned int t = 1; t <= 200; t++) {
		sim_run(s, t);
		if (!CHECK(dest(s)->full_in_s < 0)) {
			fprintf(stderr, "after %u s: full in %g s\n", t, dest(s)->full_in_s);
			break;
		}
	}
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	CHECK_NEAR(dest(s)->used, 610, 3);
	CHECK_NEAR(dest(s)->max_per_s, 2000 / 60.0, 1);
	sim_free(s);
}

TEST(healthy_is_fine)
{
	static const struct client clients[] = {
		{ .rate = 50, .life_ms = NEVER, .most = 8, .silent = true },	/* keep-alive pools */
		{ .rate = 1000, .life_ms = NEVER, .most = 50, .silent = true },
		{ .rate = 500, .life_ms = NEVER, .most = 200, .silent = true },
		{ .rate = 50, .life_ms = NEVER, .most = 50, .silent = true, .from_s = 20 },
		{ .rate = 10, .life_ms = NEVER, .most = 9, .side = PEER_FIRST },	/* closed at the next use */
		{ .rate = 100, .life_ms = 6 },			/* modest TIME_WAIT */
		{ .rate = 100, .life_ms = 6, .side = PEER_FIRST },
		{ .rate = 2000, .life_ms = 6, .side = PEER_FIRST },
		{ .rate = 10, .life_ms = 30000 },
		{ .rate = 50, .life_ms = 5000, .side = PEER_FIRST },
		{ .rate = 3, .life_ms = 60000 },
		{ .rate = 200, .life_ms = 50, .from_s = 30, .until_s = 40 },	/* a batch */
	};

	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
		for (unsigned int poisson = 0; poisson < 2; poisson++) {
			struct sim *s = SIM(28232, clients[i]);

			s->poisson = poisson;
			s->random = i;
			sim_run_fine(s, 200);
			CHECK_EQ(dest(s)->verdict, 0);
			CHECK_STR(ports_role_name(group(s, 0)->role), "user");
			if (dest(s)->alarm != PORTS_FINE)
				fprintf(stderr, "client %zu%s\n", i, poisson ? " at random" : "");
			sim_free(s);
		}
	for (uint32_t cnt = 8; cnt <= 50; cnt += 6) {
		struct sim *s = SIM(200, { .rate = 100, .life_ms = NEVER, .most = cnt, .silent = true });

		sim_run_fine(s, 200);
		sim_free(s);
	}
}

TEST(random_arrivals)
{
	for (unsigned int seed = 0; seed < 5; seed++) {
		struct sim *s = SIM(28232, { .rate = 600, .life_ms = 6 });

		s->poisson = true;
		s->random = seed;
		check_forecast(s, 4, 100);
		sim_free(s);
		s = SIM(10000, { .rate = 20, .life_ms = NEVER, .side = PEER_FIRST }, { .rate = 20, .life_ms = 100 });
		s->poisson = true;
		s->random = seed;
		/* 300 events: 6 %, twice that now and then */
		for (unsigned int t = 20; t < 300; t += 20) {
			sim_run(s, t);
			CHECK_NEAR(dest(s)->full_in_s, (10000.0 - dest(s)->used + dest(s)->tw - 1220) / 20, 30);
		}
		sim_free(s);
	}
}

TEST(high)
{
	struct sim *s = SIM(2000, { .rate = 20, .life_ms = 6 });

	sim_run(s, 100);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "high");
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK(dest(s)->full_in_s < 0);
	sim_free(s);
	/* a search is slow: not below a quarter */
	s = SIM(2000, { .rate = 7, .life_ms = 6 });
	s->p->flows[0].search_low_ns = 100001;
	sim_run_fine(s, 100);
	CHECK_EQ(dest(s)->verdict, 0);
	s->clients[0].rate = 10;
	sim_run(s, 200);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "high");
	CHECK(dest(s)->verdict & PORTS_SLOW_SEARCH);
	sim_free(s);
}

/* Ports that may be taken again are not missing. */
TEST(reused_time_wait)
{
	struct sim *s = SIM(2000, { .rate = 30, .life_ms = 6 });

	s->p->netns[0].tw_reuse = 1;
	sim_run_fine(s, 100);
	CHECK(dest(s)->tw_reused);
	CHECK_NEAR(dest(s)->max_per_s, 2000 / 1.006, 1);
	s->p->netns[0].timestamps = false;
	sim_run(s, 101);
	CHECK(!dest(s)->tw_reused);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "high");
	s->p->netns[0].timestamps = true;
	s->p->netns[0].tw_reuse = 2;
	sim_run(s, 102);
	CHECK(!dest(s)->tw_reused);
	dest(s)->remote = addr("127.0.0.1");
	sim_run(s, 103);
	CHECK(dest(s)->tw_reused);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	sim_free(s);
}

/* No more TIME_WAITs than tcp_max_tw_buckets. */
TEST(few_time_wait_buckets)
{
	struct sim *s = SIM(2000, { .rate = 100, .life_ms = 6 });

	sim_run(s, 6);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "filling");
	s->p->netns[0].tw_max = 900;
	s->p->netns[0].tw_cnt = 600;
	sim_run(s, 7);
	CHECK(dest(s)->full_in_s < 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	sim_free(s);
}

/* Sockets that were there before the look are no growth. */
TEST(older_sockets)
{
	struct sim *s = SIM(28232, { .rate = 100, .life_ms = 6 });

	s->open[0] = 2000;
	sim_run_fine(s, 100);
	CHECK(dest(s)->full_in_s < 0);
	sim_free(s);
}

TEST_MAIN(TEST_CASE(rates), TEST_CASE(look_intervals), TEST_CASE(late_start), TEST_CASE(client_closes_first),
	  TEST_CASE(culprit_has_exited), TEST_CASE(two_spells), TEST_CASE(close_wait_leak), TEST_CASE(idle_leak),
	  TEST_CASE(mix), TEST_CASE(levels_off), TEST_CASE(healthy_is_fine), TEST_CASE(random_arrivals),
	  TEST_CASE(high), TEST_CASE(reused_time_wait), TEST_CASE(few_time_wait_buckets), TEST_CASE(older_sockets))
