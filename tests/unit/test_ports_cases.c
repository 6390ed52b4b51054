/* SPDX-License-Identifier: GPL-2.0-only */
/* The judgement of states that are written down, not simulated. */
#include "ports_sim.h"

TEST(capacity)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 });
	struct ports_netns *ns = s->p->netns;

	ns->reserved = 100;
	ns->held = 50;
	sim_look(s);
	CHECK_EQ(dest(s)->usable, 850);
	dest(s)->sock_range_low = 32768 + 500;
	dest(s)->sock_range_high = 32768 + 509;
	sim_look(s);
	CHECK_EQ(dest(s)->usable, 10);
	/* an end outside of the namespace's range is ignored */
	dest(s)->sock_range_low = 1000;
	sim_look(s);
	CHECK_EQ(dest(s)->usable, 510);
	dest(s)->sock_range_low = dest(s)->sock_range_high = 0;
	ns->held = 2000;
	sim_look(s);
	CHECK_EQ(dest(s)->usable, 0);
	CHECK(dest(s)->full_in_s < 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	ns->visited = false;
	sim_look(s);
	CHECK_EQ(dest(s)->usable, PORTS_INF);
	CHECK(dest(s)->max_per_s < 0);
	sim_free(s);
}

/* bind() before connect(): what serves this destination is used, not taken away. */
TEST(bound)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 });

	s->p->netns[0].held = 300;
	dest(s)->held_here = 200;
	dest(s)->tw = 210;
	s->p->now_ns = START_NS + SECOND_NS;
	s->p->netns[0].tw_reuse = 1;
	CHECK_EQ(ports_judge(s->p), 0);
	CHECK_EQ(dest(s)->usable, 900);
	CHECK(!dest(s)->tw_reused);
	s->p->netns[0].held = 600;
	dest(s)->tw = 300;
	CHECK_EQ(ports_judge(s->p), 0);
	CHECK_EQ(dest(s)->usable, 600);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "high");
	CHECK_EQ(dest(s)->verdict, PORTS_BOUND | PORTS_RANGE_HELD);
	sim_free(s);
}

/* Owners of the same program and place are one group; what is nobody's is nobody's fault. */
TEST(groups)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 });
	struct ports *p = s->p;
	static const struct { const char *comm, *exe, *cgroup, *container; uint32_t held; size_t group; } owners[] = {
		{ "api", "/opt/api", "/a/b", "pod", 300, 0 }, { "x", "api", "b", "pod", 20, 0 },
		{ "api", "", "/a/b", "pod", 5, 0 }, { "api", "/opt/api", "/a/c", "pod", 250, 1 },
		{ "api", "/opt/api", "/a/b", "", 30, 2 }, { "web", "/opt/web", "/a/b", "pod", 10, 3 },
	};

	for (size_t i = 0; i < 6; i++) {
		int owner = ports_owner_add(p, 1, 1, owners[i].comm, owners[i].exe, owners[i].cgroup,
					    owners[i].container);

		int flow = ports_flow_get(p, 0, owner);

		p->flows[flow].states[PORTS_ESTABLISHED] = owners[i].held;
		dest(s)->states[PORTS_ESTABLISHED] += owners[i].held;
	}
	p->flows[6].total.exhausted = p->flows[6].total.attempts = 1;
	p->now_ns = START_NS + SECOND_NS;
	CHECK_EQ(ports_judge(p), 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "high");
	CHECK_EQ(dest(s)->groups_cnt, 5);
	CHECK_EQ(group(s, 0)->flows_cnt, 3);
	CHECK_EQ(group(s, 0)->flows[0], 1);
	CHECK_EQ(group(s, 0)->sum.held, 325);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	CHECK_EQ(group(s, 1)->sum.held, 10);
	CHECK_STR(ports_role_name(group(s, 2)->role), "user");
	CHECK_EQ(group(s, 2)->sum.held, 250);
	CHECK_EQ(dest(s)->verdict, PORTS_MANY_OPEN);
	/* more of it is nobody's */
	dest(s)->tw = dest(s)->unowned_tw = 640;
	CHECK_EQ(ports_judge(p), 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "exhausted");
	for (size_t i = 0; i < 5; i++)
		CHECK(group(s, i)->role != PORTS_CULPRIT);
	sim_free(s);
}

/* An outage of which no judgement saw anything but the counters. */
TEST(far_apart)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 }, { .rate = 1, .life_ms = 6 });
	struct ports_flow *f = s->p->flows;

	f[0].total = (struct ports_counters){ .attempts = 990, .established = 990, .closed_first = 990 };
	f[1].total = (struct ports_counters){ .attempts = 50, .established = 10, .exhausted = 40 };
	f[1].total.closed_by_peer = 10;
	f[0].life[12] = 990;
	f[1].first_failure_ns = START_NS + 5 * SECOND_NS;
	f[1].last_failure_ns = START_NS + 6 * SECOND_NS;
	s->p->now_ns = START_NS + 200 * SECOND_NS;
	CHECK_EQ(ports_judge(s->p), 0);
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "was-exhausted");
	CHECK_EQ(dest(s)->since_ns, f[1].first_failure_ns);
	CHECK_EQ(dest(s)->until_ns, f[1].last_failure_ns);
	CHECK_EQ(group(s, 0)->sum.owner, 0);
	CHECK_STR(ports_role_name(group(s, 0)->role), "culprit");
	CHECK_STR(ports_role_name(group(s, 1)->role), "victim");
	CHECK_EQ(dest(s)->verdict, PORTS_CLIENT_CLOSES | PORTS_SHORT_LIVED);
	sim_free(s);
}

/* CLOSE_WAITs that are closed, late, are no leak. */
TEST(closed_late)
{
	struct sim *s = SIM(28232, { .rate = 1, .life_ms = NEVER, .side = PEER_FIRST, .most = 1 });
	struct ports_flow *f = s->p->flows;

	for (unsigned int t = 1; t < 60; t++) {
		f->total.attempts += 20;
		f->total.established += 20;
		dest(s)->states[PORTS_CLOSE_WAIT] = f->states[PORTS_CLOSE_WAIT] = t < 12 ? t * 20 : 240;
		f->oldest_close_wait_ns = t < 12 ? t * SECOND_NS : 12 * SECOND_NS;
		if (t >= 12) {
			f->total.closed_by_peer += 20;
			f->close_wait_closed += 20;
		}
		s->p->now_ns = START_NS + t * SECOND_NS;
		CHECK_EQ(ports_judge(s->p), 0);
		if (t > 13)
			CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	}
	/* it stops doing so */
	for (unsigned int t = 60; t < 80; t++) {
		f->oldest_close_wait_ns += SECOND_NS;
		s->p->now_ns = START_NS + t * SECOND_NS;
		CHECK_EQ(ports_judge(s->p), 0);
	}
	CHECK_STR(ports_alarm_name(dest(s)->alarm), "leaking");
	sim_free(s);
}

TEST(no_answer)
{
	struct sim *s = SIM(28232, { .rate = 1, .life_ms = 6 });

	/* a peer that drops SYNs: 100 a second for 127 s are 12,700 */
	for (unsigned int t = 1; t < 120; t++) {
		s->p->flows[0].total.attempts += 100;
		dest(s)->states[PORTS_SYN_SENT] = s->p->flows[0].states[PORTS_SYN_SENT] = t * 100;
		s->p->now_ns = START_NS + t * SECOND_NS;
		CHECK_EQ(ports_judge(s->p), 0);
		CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine");
	}
	sim_free(s);
}

TEST(order)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 });
	static const uint32_t used[] = { 10, 600, 999, 1000, 20, 700 };
	struct ports_addr local = addr("10.0.0.1"), remote = addr("10.0.0.2");

	for (uint32_t i = 1; i < 6; i++)
		ports_dest_get(s->p, 0, &local, &remote, i);
	for (uint32_t i = 0; i < 6; i++) {
		s->p->dests[i].tw = used[i];
		s->p->dests[i].selected = i != 5;
	}
	s->p->now_ns = START_NS + SECOND_NS;
	CHECK_EQ(ports_judge(s->p), 0);
	CHECK_EQ(s->p->order[0], 3);
	CHECK_EQ(s->p->order[1], 2);
	CHECK_EQ(s->p->order[2], 5);
	CHECK_EQ(s->p->order[3], 1);
	CHECK_EQ(s->p->order[4], 4);
	CHECK_EQ(s->p->order[5], 0);
	CHECK_EQ(s->p->alarms_cnt, 3);
	CHECK_EQ(s->p->fine_cnt, 2);
	sim_free(s);
}

TEST(median)
{
	struct sim *s = SIM(1000, { .rate = 1, .life_ms = 6 });
	uint32_t *life = s->p->flows[0].life;

	sim_look(s);
	CHECK(dest(s)->median_life_ms < 0);
	life[10] = 3;
	sim_look(s);
	CHECK_NEAR(dest(s)->median_life_ms, 1.536, 0.1);
	life[20] = 1;
	sim_look(s);
	CHECK_NEAR(dest(s)->median_life_ms, (1024 + 1024 * 2 / 3.0) / 1000, 0.1);
	life[0] = 100;
	sim_look(s);
	CHECK_NEAR(dest(s)->median_life_ms, 0.00104, 0.1);
	sim_free(s);
}

TEST(nothing)
{
	struct ports *p = ports_new();

	CHECK_EQ(ports_judge(p), 0);
	p->start_ns = 5;
	p->now_ns = 3;
	CHECK_EQ(ports_judge(p), 0);
	CHECK_EQ(p->alarms_cnt + p->fine_cnt, 0);
	ports_free(p);
}

TEST_MAIN(TEST_CASE(capacity), TEST_CASE(bound), TEST_CASE(groups), TEST_CASE(far_apart), TEST_CASE(closed_late),
	  TEST_CASE(no_answer), TEST_CASE(order), TEST_CASE(median), TEST_CASE(nothing))
