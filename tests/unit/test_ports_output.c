/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What people and programs are told about ports, from models that are built here: also what ports_judge() would write
 * is set by hand, so that the files of tests/golden/ change when the words do and not when the judgement does.
 */
#include <errno.h>
#include <stdlib.h>

#include "cmd/ports_report.h"
#include "output/json.h"
#include "profile/ports.h"
#include "profile/profile.h"
#include "test.h"
#include "unit/golden.h"

#define S		1000000000ull
#define START_NS	(1000 * S)
#define START_WALL_S	1795572210	/* 2026-11-25 02:03:30 UTC */

static const struct value_type types[] = { { "connections", "connections" }, { NULL, NULL } };

struct scene {
	struct ports *p;
	struct profile *stacks;
};

static struct ports_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ports_addr){ .bytes = { [10] = 0xff, [11] = 0xff, [12] = a, [13] = b, [14] = c, [15] = d } };
}

static struct ports_addr v6(uint8_t last)
{
	return (struct ports_addr){ .bytes = { 0x20, 0x01, 0x0d, 0xb8, [15] = last } };
}

static struct ports_netns *netns_add(struct scene *s, uint64_t cookie, uint32_t inode, const char *name)
{
	int i = ports_netns_get(s->p, cookie);
	struct ports_netns *ns = &s->p->netns[i];

	CHECK_EQ(ports_set_text(&ns->name, name), 0);
	ns->inode = inode;
	ns->visited = true;
	ns->range_low = 32768;
	ns->range_high = 60999;
	ns->tw_reuse = 2;
	ns->timestamps = true;
	ns->tw_max = 131072;
	return ns;
}

static struct ports_dest *dest_add(struct scene *s, uint32_t netns, struct ports_addr local, struct ports_addr remote,
				   uint16_t port)
{
	int i = ports_dest_get(s->p, netns, &local, &remote, port);
	struct ports_dest *d = &s->p->dests[i];

	d->selected = true;
	d->usable = 28229;
	d->max_per_s = d->full_in_s = d->next_back_s = d->median_life_ms = -1;
	s->p->order = realloc(s->p->order, s->p->dests_cnt * sizeof(*s->p->order));
	s->p->order[i] = i;
	return d;
}

/* Index of a flow of a new owner to the newest destination. */
static uint32_t flow_add(struct scene *s, int pid, const char *comm, const char *exe, const char *container)
{
	int owner = ports_owner_add(s->p, pid, 5 * S, comm, exe, *container ? "/pods/x" : "/", container);
	int flow = ports_flow_get(s->p, s->p->dests_cnt - 1, owner);

	CHECK(owner >= 0 && flow >= 0);
	s->p->owners[owner].fds = s->p->owners[owner].fds_limit = PORTS_INF;
	s->p->flows[flow].stack = s->p->flows[flow].leak_stack = -1;
	return flow;
}

/* A group of the newest destination, of the flows given; its numbers are those of the first. */
static struct ports_group *group_add(struct scene *s, enum ports_role role, uint32_t *flows, size_t cnt)
{
	struct ports_dest *d = &s->p->dests[s->p->dests_cnt - 1];
	struct ports_group *g;

	d->groups = realloc(d->groups, (d->groups_cnt + 1) * sizeof(*d->groups));
	g = &d->groups[d->groups_cnt++];
	*g = (struct ports_group){ .flows = flows, .flows_cnt = cnt, .role = role, .sum = s->p->flows[flows[0]] };
	return g;
}

static int stack_add(struct scene *s, int pid, const char *const *names, uint32_t cnt, bool cut)
{
	int process = profile_process(s->stacks, pid, "comm");
	size_t first = profile_frames_cnt(s->stacks);
	uint64_t addrs[8];

	for (uint32_t i = 0; i < cnt; i++)
		addrs[i] = 0x1000 * (pid + 1) + i;
	int stack = profile_stack(s->stacks, process, addrs, cnt, cut);

	for (uint32_t i = 0; i < cnt; i++)
		if (names[i])
			profile_frame_name(s->stacks, first + i, names[i], i ? "/srv/api" : "/lib/libc.so.6",
					   i ? FRAME_APP : FRAME_DEPENDENCY, false);
	return stack;
}

static struct scene scene_new(void)
{
	struct scene s = { ports_new(), profile_new(types) };

	s.p->start_ns = START_NS;
	s.p->start_wall_ns = START_WALL_S * 1000000000ll;
	s.p->now_ns = START_NS + 30 * S + S / 2;
	return s;
}

static void scene_free(struct scene *s)
{
	ports_free(s->p);
	profile_free(s->stacks);
}

/* Exhausted: a culprit in a pod with two processes, one of which has ended, and a victim. */
static void add_exhausted(struct scene *s)
{
	static const char *const names[] = {
		"connect", "OrdersClient::GetAsync(int, char const*)", "OrdersController::Get", NULL, "main",
	};
	static uint32_t culprits[2], victims[1];
	struct ports_dest *d = dest_add(s, 0, v4(10, 0, 4, 1), v4(10, 0, 4, 17), 443);
	struct ports_group *g;

	d->alarm = PORTS_EXHAUSTED;
	d->since_ns = START_NS + 10 * S;
	d->verdict = PORTS_CLIENT_CLOSES | PORTS_SHORT_LIVED | PORTS_SLOW_SEARCH;
	d->used = d->used_max = 28229;
	d->states[PORTS_ESTABLISHED] = 12;
	d->tw = 28217;
	for (int i = 3; i < PORTS_BACK_SECONDS; i++)
		d->back[i] = 400;
	d->new_per_s = d->max_per_s = 470.4;
	d->failed_per_s = 141;
	d->full_in_s = 0;
	d->next_back_s = 2.149;
	d->median_life_ms = 6;
	d->unowned = 2;
	d->unowned_tw = 1200;
	d->sum.search_max_ns = d->sum.search_low_ns = 890400;
	d->sum.total = (struct ports_counters){ .attempts = 18600, .established = 14000, .refused = 3, .timed_out = 2,
		.reset = 1, .exhausted = 4580, .collisions = 4, .failed_other = 5, .aborted = 5, .closed_first = 13980,
		.closed_by_peer = 6, .closed_hard = 2 };
	culprits[0] = flow_add(s, 26106, "api", "/srv/api", "api-7f");
	culprits[1] = flow_add(s, 26107, "api", "/srv/api", "api-7f");
	s->p->owners[s->p->flows[culprits[0]].owner].exited = true;
	s->p->owners[s->p->flows[culprits[1]].owner].fds = 12;
	s->p->owners[s->p->flows[culprits[1]].owner].fds_limit = 1024;
	g = group_add(s, PORTS_CULPRIT, culprits, 2);
	g->sum.total = d->sum.total;
	g->sum.total.exhausted = 4400;
	g->sum.states[PORTS_ESTABLISHED] = 9;
	g->sum.tw = 28043;
	g->sum.held = 28052;
	g->sum.held_full = 28060;
	g->sum.tries_per_s = 601.2;
	g->sum.failed_per_s = 131.5;
	g->sum.search_max_ns = 890400;
	g->sum.first_failure_ns = START_NS + 10 * S;
	g->sum.last_failure_ns = START_NS + 30 * S;
	g->sum.stack = stack_add(s, 26106, names, 5, false);
	victims[0] = flow_add(s, 902, "billing", "/usr/bin/billing", "");
	g = group_add(s, PORTS_VICTIM, victims, 1);
	g->sum.total.exhausted = 180;
	g->sum.total.attempts = 300;
	g->sum.held = g->sum.held_full = 177;
	g->sum.tries_per_s = 9.97;
	g->sum.stack = stack_add(s, 902, names + 1, 2, true);
}

/* Filling, because a worker never closes; names as an attacker would choose them. */
static void add_leaking(struct scene *s)
{
	static uint32_t leakers[1], users[1];
	struct ports_dest *d = dest_add(s, 0, v4(10, 0, 4, 1), v4(10, 0, 7, 3), 6379);
	struct ports_group *g;

	d->alarm = PORTS_FILLING;
	d->verdict = PORTS_NEVER_CLOSED;
	d->used = d->used_max = 17400;
	d->states[PORTS_ESTABLISHED] = 20;
	d->states[PORTS_CLOSE_WAIT] = 17380;
	d->new_per_s = 19.96;
	d->full_in_s = 541;
	leakers[0] = flow_add(s, 950, "work\ner\x1b[31m", "/srv/wor\xffker \u202etxt", "");
	s->p->owners[s->p->flows[leakers[0]].owner].fds = 17455;
	s->p->owners[s->p->flows[leakers[0]].owner].fds_limit = 20000;
	g = group_add(s, PORTS_LEAKER, leakers, 1);
	g->sum.states[PORTS_CLOSE_WAIT] = 17380;
	g->sum.oldest_close_wait_ns = 301 * S;
	g->sum.held = g->sum.held_full = 17380;
	users[0] = flow_add(s, 951, "redis-\"cli\"\\", "", "");
	g = group_add(s, PORTS_USER, users, 1);
	g->sum.states[PORTS_ESTABLISHED] = 20;
	g->sum.held = g->sum.held_full = 20;
}

static void add_fine(struct scene *s, uint32_t netns, struct ports_addr local, struct ports_addr remote, uint16_t port,
		     uint32_t used)
{
	struct ports_dest *d = dest_add(s, netns, local, remote, port);

	d->used = d->used_max = d->states[PORTS_ESTABLISHED] = used;
	d->new_per_s = used / 100.0;
	d->sum.total.attempts = d->sum.total.established = used;
}

/* Two alarms and a few fine ones in one namespace. */
static struct scene host(void)
{
	struct scene s = scene_new();
	struct ports_netns *ns = netns_add(&s, 1, 4026531840, "host");

	ns->held = 3;
	ns->listening = 2;
	ns->tw_cnt = 28300;
	add_exhausted(&s);
	add_leaking(&s);
	add_fine(&s, 0, v6(1), v6(2), 443, 120);
	add_fine(&s, 0, v4(127, 0, 0, 1), v4(127, 0, 0, 1), 5432, 7);
	s.p->dests[3].new_per_s = 0.01;
	dest_add(&s, 0, v4(10, 0, 4, 1), v4(8, 8, 8, 8), 53)->selected = false;
	s.p->alarms_cnt = 2;
	s.p->fine_cnt = 2;
	return s;
}

/* Several namespaces, one of which could not be entered, and all that can be odd. */
static struct scene machine(void)
{
	static uint32_t users[1];
	struct scene s = host();
	struct ports_netns *ns = netns_add(&s, 7, 4026532500, "bl\nue\x1b[0m");
	struct ports_pool *pool;
	struct ports_dest *d;

	ns->range_low = 40000;
	ns->range_high = 40031;
	ns->reserved = 2;
	ns->has_conntrack = true;
	ns->conntrack_cnt = 250000;
	ns->conntrack_max = 262144;
	ns->conntrack_failed = 17;
	pool = ports_pool_get(ns, &(struct ports_addr){ 0 }, true);
	pool->used = 3;
	pool->usable = 30;
	pool->worst_owner = UINT32_MAX;
	pool = ports_pool_get(ns, &(struct ports_addr){ .bytes = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 } }, false);
	pool->used = pool->usable = 30;
	pool->failed = 12;
	pool->failed_other = 1;
	pool->worst_owner = 0;
	pool->worst_owner_failed = 11;
	ns = netns_add(&s, 9, 4026532600, "hidden");
	ns->visited = false;
	ns->range_low = ns->range_high = 0;
	ns->tw_reuse = -1;
	ns->tw_max = PORTS_INF;
	d = dest_add(&s, 1, v4(10, 0, 0, 1), v4(10, 0, 4, 17), 443);
	d->usable = 30;
	d->alarm = PORTS_WAS_EXHAUSTED;
	d->verdict = PORTS_BOUND | PORTS_RANGE_HELD | PORTS_COLLIDES | PORTS_MANY_OPEN | PORTS_IDLE_HELD;
	d->since_ns = START_NS + S;
	d->until_ns = START_NS + 20 * S;
	users[0] = flow_add(&s, 0, "", "", "");
	group_add(&s, PORTS_USER, users, 1)->sum.stack = profile_stack_label(s.stacks, 0, "[stacks full]");
	add_fine(&s, 1, v4(10, 0, 0, 2), v4(10, 0, 4, 17), 443, 3);
	s.p->dests[s.p->dests_cnt - 1].usable = 30;
	d = dest_add(&s, 2, v4(10, 9, 0, 1), v4(10, 9, 0, 2), 80);
	d->used = 5;
	d->usable = PORTS_INF;
	d = dest_add(&s, 0, v4(10, 0, 4, 1), v4(10, 0, 4, 18), 443);
	d->alarm = PORTS_HIGH;
	d->verdict = PORTS_SLOW_SEARCH;
	d->used = 9000;
	d->sum.search_max_ns = d->sum.search_low_ns = 890000;
	profile_loss_set(s.stacks, "flows: map full", 12);
	/* of 1,000 connections: one that is worth a line, one that is not */
	profile_value_set(s.stacks, 0, 0, 1000);
	profile_note_set(s.stacks, "stacks cut: deeper than 127 frames", 7);
	profile_note_set(s.stacks, "stacks cut: stack memory that could not be read", 5);
	s.p->alarms_cnt = 4;
	s.p->fine_cnt = 4;
	return s;
}

static struct bytes json_bytes(const struct scene *s, bool all)
{
	struct ports_json_options opt = { .command = "ports", .all = all };
	struct bytes b = { 0 };
	FILE *out = open_memstream(&b.at, &b.len);

	CHECK_EQ(ports_json_write(out, s->p, s->stacks, &opt), 0);
	fclose(out);
	return b;
}

static struct ports_view view_of(const struct scene *s, const char *title)
{
	return (struct ports_view){ .ports = s->p, .stacks = s->stacks, .title = title,
				    .top = 10, .last = true };
}

static void check_report(const char *name, const struct ports_view *v, unsigned int width, bool color)
{
	struct report *r = NULL;

	CHECK_EQ(ports_report(v, &r), 0);
	if (!CHECK(r))
		return;
	golden(name, table_bytes(r, width, color));
	report_free(r);
}

TEST(json)
{
	struct scene s = machine();

	golden("ports.json", json_bytes(&s, false));
	scene_free(&s);
}

TEST(json_empty)
{
	struct scene s = scene_new();

	golden("ports_empty.json", json_bytes(&s, false));
	scene_free(&s);
}

/* What is not selected is there when it is asked for, and only then. */
TEST(json_all)
{
	struct scene s = host();
	struct bytes b = json_bytes(&s, false);

	CHECK(!strstr(b.at, "\"8.8.8.8\""));
	free(b.at);
	b = json_bytes(&s, true);
	CHECK(strstr(b.at, "\"8.8.8.8\"") != NULL);
	free(b.at);
	scene_free(&s);
}

TEST(json_parsed)
{
	struct scene s = machine();
	struct bytes b = json_bytes(&s, true);
	FILE *to;

	if (system("command -v python3 > /dev/null") != 0) {
		free(b.at);
		scene_free(&s);
		TEST_SKIP("no python3");
	}
	to = popen("python3 -c 'import json, sys\n"
		   "def once(l): assert len(dict(l)) == len(l), l; return dict(l)\n"
		   "d = json.load(sys.stdin.buffer, object_pairs_hook=once)\n"
		   "o = d[\"destinations\"][1][\"owners\"][0]\n"
		   "assert o[\"comm\"] == \"work\\ner\\x1b[31m\", o\n"
		   "assert o[\"exe\"] == \"/srv/wor\\ufffdker \\u202etxt\", o\n"
		   "assert d[\"lost\"] == 12 == d[\"losses\"][0][\"count\"], d\n'", "we");
	if (CHECK(to)) {
		fwrite(b.at, 1, b.len, to);
		CHECK_EQ(pclose(to), 0);
	}
	free(b.at);
	scene_free(&s);
}

TEST(report_host)
{
	struct scene s = host();
	struct ports_view v = view_of(&s, "netns host");

	check_report("ports.txt", &v, 0, false);
	check_report("ports_narrow.txt", &v, 60, false);
	check_report("ports_color.txt", &v, 100, true);
	v.top = 1;
	v.last = false;
	v.raw = true;
	check_report("ports_top.txt", &v, 100, false);
	scene_free(&s);
}

TEST(report_machine)
{
	struct scene s = machine();
	struct ports_view v = view_of(&s, "whole machine, 3 namespaces");

	check_report("ports_machine.txt", &v, 0, false);
	v.verbose = true;
	check_report("ports_verbose.txt", &v, 100, false);
	scene_free(&s);
}

TEST(report_quiet)
{
	struct scene s = scene_new();
	struct ports_view v = view_of(&s, "evil\n\x1b[2J in netns \u202ehost");

	netns_add(&s, 1, 4026531840, "host");
	check_report("ports_nothing.txt", &v, 80, false);
	for (int i = 0; i < 12; i++)
		add_fine(&s, 0, v4(10, 0, 0, 1), v4(10, 0, 0, 2), 8000 + i, 500 - i);
	v = view_of(&s, "netns host");
	s.p->fine_cnt = 12;
	check_report("ports_fine.txt", &v, 80, false);
	scene_free(&s);
}

/* Idle connections of many groups to an IPv6 destination; then the leaker has ended. */
TEST(report_leaking)
{
	static const char *const names[] = { "connect", "pool_open", "main" };
	static uint32_t flows[8];
	struct scene s = scene_new();
	struct ports_view v = view_of(&s, "netns host");
	struct ports_dest *d;

	netns_add(&s, 1, 4026531840, "host");
	d = dest_add(&s, 0, v6(1), v6(2), 5432);
	d->alarm = PORTS_LEAKING;
	d->verdict = PORTS_IDLE_HELD;
	d->used = d->states[PORTS_ESTABLISHED] = 900;
	s.p->alarms_cnt = 1;
	for (int i = 0; i < 8; i++) {
		flows[i] = flow_add(&s, 10 + i, "pool", "/srv/pool", "");
		s.p->flows[flows[i]].held = 100 - i;
		group_add(&s, i ? PORTS_USER : PORTS_LEAKER, &flows[i], 1);
	}
	d->groups[0].sum.idle = d->sum.idle = 90;
	d->groups[0].sum.oldest_idle_ns = 7200 * S;
	d->groups[0].sum.leak_stack = stack_add(&s, 10, names, 3, false);
	check_report("ports_leaking.txt", &v, 100, false);
	s.p->owners[0].exited = true;
	check_report("ports_leaker_gone.txt", &v, 100, false);
	scene_free(&s);
}

TEST(numbers)
{
	static const struct { double n; const char *rate, *span; } cases[] = {
		{ 0, "0", "0 µs" }, { 0.0004, "<0.1", "400 µs" }, { 0.02, "<0.1", "20 ms" }, { 0.34, "0.3", "340 ms" },
		{ 0.9999, "1", "1 s" }, { 9.96, "10", "10 s" }, { 119.6, "120", "2 min" }, { 7200, "7,200", "2 h" },
		{ 1e6, "1,000,000", "12 days" },
	};
	char buf[PORTS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_STR(ports_rate_text(buf, cases[i].n), cases[i].rate);
		CHECK_STR(ports_span_text(buf, cases[i].n), cases[i].span);
	}
}

TEST(full_disk)
{
	struct ports_json_options opt = { .command = "ports" };
	struct scene s = host();
	FILE *out = fopen("/dev/full", "we");

	if (!out) {
		scene_free(&s);
		TEST_SKIP("no /dev/full");
	}
	setvbuf(out, NULL, _IONBF, 0);
	CHECK_EQ(ports_json_write(out, s.p, s.stacks, &opt), -ENOSPC);
	fclose(out);
	scene_free(&s);
}

static const struct test_case test_cases[] = {
	TEST_CASE(json), TEST_CASE(json_empty), TEST_CASE(json_all), TEST_CASE(json_parsed), TEST_CASE(report_host),
	TEST_CASE(report_machine), TEST_CASE(report_quiet), TEST_CASE(report_leaking),
	TEST_CASE(numbers), TEST_CASE(full_disk),
};

int main(void)
{
	setenv("TZ", "UTC", 1);
	return test_run(test_cases, sizeof(test_cases) / sizeof(test_cases[0]));
}
