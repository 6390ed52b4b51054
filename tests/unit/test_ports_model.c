/* SPDX-License-Identifier: GPL-2.0-only */
/* Lists, look-ups and names of the model of ports. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "profile/ports.h"
#include "test.h"

/* From text; IPv4 is mapped. */
static struct ports_addr addr(const char *text)
{
	struct ports_addr a = { .bytes = { [10] = 0xff, [11] = 0xff } };

	if (inet_pton(AF_INET, text, a.bytes + 12) != 1)
		CHECK_EQ(inet_pton(AF_INET6, text, a.bytes), 1);
	return a;
}

static void check_addr(const char *text, const char *endpoint, bool loopback)
{
	struct ports_addr a = addr(text);
	char buf[PORTS_ADDR_MAX];

	CHECK_STR(ports_addr_text(buf, &a), text);
	CHECK_STR(ports_endpoint_text(buf, &a, 65535), endpoint);
	CHECK_EQ(ports_addr_is_loopback(&a), loopback);
}

TEST(addresses)
{
	check_addr("10.0.4.17", "10.0.4.17:65535", false);
	check_addr("127.0.0.1", "127.0.0.1:65535", true);
	check_addr("127.255.0.5", "127.255.0.5:65535", true);
	check_addr("126.0.0.1", "126.0.0.1:65535", false);
	check_addr("0.0.0.0", "0.0.0.0:65535", false);
	check_addr("::", "[::]:65535", false);
	check_addr("::1", "[::1]:65535", true);
	check_addr("::2", "[::2]:65535", false);
	check_addr("fe80::1", "[fe80::1]:65535", false);
	check_addr("2001:db8:1111:2222:3333:4444:5555:6666", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", false);
}

TEST(lists)
{
	struct ports *p = ports_new();
	struct ports_addr local = addr("10.0.0.1"), remote = addr("10.0.0.2"), other = addr("10.0.0.3");
	int a = ports_netns_get(p, 7), b = ports_netns_get(p, 8);

	CHECK_EQ(a, 0);
	CHECK_EQ(b, 1);
	CHECK_EQ(ports_netns_get(p, 7), 0);
	CHECK_STR(p->netns[0].name, "");
	CHECK_EQ(p->netns[1].tw_reuse, -1);
	CHECK_EQ(p->netns[1].tw_max, PORTS_INF);
	CHECK_EQ(ports_dest_find(p, a, &local, &remote, 80), -ENOENT);
	CHECK_EQ(ports_dest_get(p, a, &local, &remote, 80), 0);
	CHECK_EQ(ports_dest_get(p, b, &local, &remote, 80), 1);
	CHECK_EQ(ports_dest_get(p, a, &local, &remote, 81), 2);
	CHECK_EQ(ports_dest_get(p, a, &local, &other, 80), 3);
	CHECK_EQ(ports_dest_get(p, a, &other, &remote, 80), 4);
	CHECK_EQ(ports_dest_get(p, a, &local, &remote, 81), 2);
	CHECK_EQ(ports_dest_find(p, a, &other, &remote, 80), 4);
	CHECK_EQ(ports_dest_find(p, a, &remote, &local, 80), -ENOENT);
	CHECK_EQ(p->dests_cnt, 5);
	CHECK_EQ(p->dests[2].port, 81);
	CHECK_EQ(p->dests[2].usable, PORTS_INF);
	CHECK(p->dests[2].full_in_s < 0 && p->dests[2].max_per_s < 0 && p->dests[2].median_life_ms < 0);
	CHECK_EQ(p->dests[1].netns, 1);
	CHECK_EQ(ports_flow_get(p, 0, 5), 0);
	CHECK_EQ(ports_flow_get(p, 5, 0), 1);
	CHECK_EQ(ports_flow_get(p, 0, 5), 0);
	CHECK_EQ(p->flows[1].stack, -1);
	CHECK_EQ(p->flows[1].leak_stack, -1);
	CHECK_EQ(p->flows[1].dest, 5);
	p = ports_free(p);
	CHECK(!ports_free(p));
}

TEST(many)
{
	struct ports *p = ports_new();
	struct ports_addr local = addr("10.0.0.1"), remote = addr("10.0.0.2");

	for (unsigned int i = 0; i < 70000; i++) {
		if (ports_dest_get(p, i / 60000, &local, &remote, i % 60000) != (int)i ||
		    ports_flow_get(p, i, i / 2) != (int)i || ports_netns_get(p, i) != (int)i) {
			CHECK(false);
			break;
		}
		p->dests[i].used = i;
	}
	for (unsigned int i = 0; i < 70000; i += 999) {
		CHECK_EQ(ports_dest_find(p, i / 60000, &local, &remote, i % 60000), i);
		CHECK_EQ(p->dests[i].used, i);
		CHECK_EQ(p->dests[i].port, i % 60000);
		CHECK_EQ(p->netns[i].cookie, i);
	}
	ports_free(p);
}

TEST(pools)
{
	struct ports *p = ports_new();
	struct ports_addr local = addr("10.0.0.1"), other = addr("10.0.0.2");
	struct ports_netns *ns;

	CHECK_EQ(ports_netns_get(p, 1), 0);
	ns = p->netns;
	ports_pool_get(ns, &local, false)->failed = 1;
	ports_pool_get(ns, &local, true)->failed = 2;
	ports_pool_get(ns, &other, false)->failed = 3;
	CHECK_EQ(ns->pools_cnt, 3);
	CHECK_EQ(ports_pool_get(ns, &local, false)->failed, 1);
	CHECK_EQ(ports_pool_get(ns, &local, true)->failed, 2);
	CHECK_EQ(ports_pool_get(ns, &other, false)->failed, 3);
	CHECK_EQ(ns->pools[0].worst_owner, UINT32_MAX);
	CHECK_EQ(ns->pools_cnt, 3);
	ports_free(p);
}

TEST(clear_now)
{
	struct ports *p = ports_new();
	struct ports_addr a = addr("::1");
	struct ports_dest *d;
	struct ports_flow *f;

	ports_netns_get(p, 1);
	p->netns[0].held = 3;
	ports_pool_get(p->netns, &a, false)->used = 4;
	p->netns[0].pools[0].failed = 5;
	ports_dest_get(p, 0, &a, &a, 1);
	ports_flow_get(p, 0, 0);
	d = p->dests;
	f = p->flows;
	d->states[PORTS_LAST_ACK] = d->tw = d->held_here = d->unowned = d->unowned_tw = d->back[63] = d->used_max = 6;
	f->states[PORTS_LAST_ACK] = f->tw = f->idle = f->close_wait_closed = f->held_full = 7;
	f->oldest_close_wait_ns = f->oldest_idle_ns = f->total.attempts = f->first_failure_ns = 8;
	ports_clear_now(p);
	CHECK_EQ(d->states[PORTS_LAST_ACK] + d->tw + d->held_here + d->unowned + d->unowned_tw + d->back[63], 0);
	CHECK_EQ(f->states[PORTS_LAST_ACK] + f->tw + f->idle + f->oldest_close_wait_ns + f->oldest_idle_ns, 0);
	CHECK_EQ(d->used_max, 6);
	CHECK_EQ(f->close_wait_closed, 7);
	CHECK_EQ(f->held_full, 7);
	CHECK_EQ(f->total.attempts, 8);
	CHECK_EQ(f->first_failure_ns, 8);
	CHECK_EQ(p->netns[0].held, 3);
	CHECK_EQ(p->netns[0].pools[0].used, 0);
	CHECK_EQ(p->netns[0].pools[0].failed, 5);
	ports_free(p);
}

/* The name of a group with so many of the owners from the first on. */
static void check_name(const struct ports *p, uint32_t first, size_t cnt, const char *want)
{
	uint32_t flows[] = { first, first + 1, first + 2 };
	struct ports_group g = { .flows = flows, .flows_cnt = cnt, .sum = { .owner = first } };
	char *name = ports_group_name(p, &g);

	CHECK_STR(name, want);
	free(name);
}

static void add(struct ports *p, int pid, const char *comm, const char *exe, const char *container, bool exited)
{
	int i = ports_owner_add(p, pid, 1, comm, exe, NULL, container);

	CHECK_EQ(ports_flow_get(p, 0, i), i);
	p->owners[i].exited = exited;
}

TEST(names)
{
	struct ports *p = ports_new();

	add(p, 902, "billing", "/opt/billing", NULL, false);
	add(p, 903, "billing", "/opt/billing", NULL, true);
	add(p, 903, "billing", "/opt/billing", NULL, true);
	add(p, 10, "api", "/opt/api", "api-7f", false);
	add(p, 11, "api", "/opt/api", "api-7f", true);
	add(p, 0, "", "", "api-7f", true);
	add(p, 12, "node-MainThread", "/usr/bin/node", NULL, false);
	add(p, 13, "averylongprogra", "/opt/averylongprogram-name", NULL, false);
	add(p, 14, ".NET TP Worker", "/usr/bin/dotnet", NULL, false);
	add(p, 15, "gunicorn: worke", "/usr/bin/python3.11", NULL, false);
	add(p, 16, "", "curl", NULL, false);
	add(p, 0, "", "", NULL, false);
	check_name(p, 0, 1, "billing[902]");
	check_name(p, 0, 2, "billing (2 procs)");
	check_name(p, 0, 3, "billing (2 procs)");
	check_name(p, 1, 1, "billing[903] (exited)");
	check_name(p, 1, 2, "billing[903] (exited)");
	check_name(p, 3, 1, "api[10] (pod api-7f)");
	check_name(p, 3, 2, "api (pod api-7f, 2 procs)");
	check_name(p, 4, 1, "api[11] (pod api-7f, exited)");
	check_name(p, 4, 2, "api (pod api-7f, 2 procs, exited)");
	check_name(p, 5, 1, "? (pod api-7f, exited)");
	check_name(p, 6, 1, "node[12]");
	check_name(p, 7, 1, "averylongprogram-name[13]");
	check_name(p, 8, 1, "dotnet[14]");
	check_name(p, 9, 1, "gunicorn: worke[15]");
	check_name(p, 10, 1, "curl[16]");
	check_name(p, 11, 1, "?");
	ports_free(p);
}

TEST(set_text)
{
	char *text = NULL;

	CHECK_EQ(ports_set_text(&text, NULL), 0);
	CHECK_STR(text, "");
	CHECK_EQ(ports_set_text(&text, "abc"), 0);
	CHECK_STR(text, "abc");
	CHECK_EQ(ports_set_text(&text, text + 1), 0);
	CHECK_STR(text, "bc");
	free(text);
}

TEST(words)
{
	CHECK_STR(ports_alarm_name(PORTS_EXHAUSTED), "exhausted");
	CHECK_STR(ports_alarm_name(PORTS_WAS_EXHAUSTED), "was-exhausted");
	CHECK_STR(ports_role_name(PORTS_LEAKER), "leaker");
	CHECK_STR(ports_verdict_name(PORTS_SLOW_SEARCH), "slow-search");
	for (unsigned int bit = 1; bit <= PORTS_SLOW_SEARCH; bit <<= 1)
		CHECK(ports_verdict_name(bit));
	CHECK(!ports_verdict_name(0));
	CHECK(!ports_verdict_name(PORTS_SLOW_SEARCH << 1));
}

TEST_MAIN(TEST_CASE(addresses), TEST_CASE(lists), TEST_CASE(many), TEST_CASE(pools), TEST_CASE(clear_now),
	  TEST_CASE(names), TEST_CASE(set_text), TEST_CASE(words))
