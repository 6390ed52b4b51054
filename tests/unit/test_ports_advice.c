/* SPDX-License-Identifier: GPL-2.0-only */
/* The words for people. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "profile/ports.h"
#include "test.h"

/* A model with one destination and one owner; what is not in the sentences is left out. */
static struct ports *model(const char *comm, const char *exe)
{
	static const struct ports_addr local = { { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1 } };
	struct ports *p = ports_new();

	ports_netns_get(p, 1);
	p->netns[0].visited = p->netns[0].timestamps = true;
	p->netns[0].range_low = 32768;
	p->netns[0].range_high = 60999;
	p->netns[0].tw_reuse = 2;
	ports_dest_get(p, 0, &local, &local, 443);
	ports_owner_add(p, 902, 1, comm, exe, "", "");
	ports_flow_get(p, 0, 0);
	p->start_ns = 1;
	p->now_ns = 1000000000;
	return p;
}

static void check_words(int err, struct ports_words *words, const char *const *want)
{
	size_t i = 0;

	if (!CHECK_EQ(err, 0))
		return;
	for (; want[i] && i < words->cnt; i++)
		CHECK_STR(words->text[i], want[i]);
	CHECK(!want[i]);
	if (!CHECK_EQ(words->cnt, i))
		fprintf(stderr, "and then: %s\n", words->text[i]);
	ports_words_free(words);
}

/* Checks what is said; NULL alone is nothing. */
#define SAYS(call, ...) do {							\
	struct ports_words words = { 0 };					\
	int err = (call);							\
										\
	check_words(err, &words, (const char *const []){ __VA_ARGS__, NULL });	\
} while (0)

#define ADVICE(p, ...) SAYS(ports_advice(p, (p)->dests, &words), __VA_ARGS__)
#define NO_HELP(p, ...) SAYS(ports_no_help(p, (p)->dests, &words), __VA_ARGS__)
#define WARNINGS(p, ...) SAYS(ports_warnings((p)->netns, &words), __VA_ARGS__)

/* All ports are in TIME_WAIT, of short connections. */
static void churn(struct ports *p)
{
	struct ports_flow *f = p->flows;

	f->total = (struct ports_counters){ .attempts = 28232, .established = 28232, .closed_first = 28232 };
	f->life[12] = 28232;
	f->tw = p->dests[0].tw = 28232;
	CHECK_EQ(ports_judge(p), 0);
	CHECK_STR(ports_alarm_name(p->dests[0].alarm), "exhausted");
}

#define STOPGAP "as a stopgap, tcp_tw_reuse=1 gives ports back after 1 s"
#define FIN_TIMEOUT "tcp_fin_timeout (does not shorten TIME_WAIT)"

TEST(client_closes)
{
	struct ports *p = model("dotnet", "/usr/share/dotnet/dotnet");

	churn(p);
	ADVICE(p, "client closes first, median life 6 ms → one shared HttpClient (or IHttpClientFactory)", STOPGAP);
	NO_HELP(p, "tcp_tw_reuse=2 (loopback only)", FIN_TIMEOUT, "wider range ≤2.3×");
	/* without timestamps no value helps */
	p->netns[0].timestamps = false;
	ADVICE(p, "client closes first, median life 6 ms → one shared HttpClient (or IHttpClientFactory)");
	NO_HELP(p, "tcp_tw_reuse=2 (needs tcp_timestamps)", FIN_TIMEOUT, "wider range ≤2.3×");
	p->netns[0].timestamps = true;
	p->netns[0].tw_reuse = 0;
	p->netns[0].range_low = 1024;
	p->netns[0].range_high = 65535;
	ADVICE(p, "client closes first, median life 6 ms → one shared HttpClient (or IHttpClientFactory)", STOPGAP);
	NO_HELP(p, FIN_TIMEOUT);
	ports_free(p);
}

static void check_runtime(const char *comm, const char *exe, const char *runtime, const char *keep)
{
	struct ports *p = model(comm, exe);
	struct ports_words words;
	const char *arrow;

	p->owners[0].runtime = runtime;
	churn(p);
	CHECK_EQ(ports_advice(p, &p->dests[0], &words), 0);
	CHECK(words.cnt);
	arrow = strstr(words.text[0], " → ");
	CHECK(arrow);
	CHECK_STR(arrow + strlen(" → "), keep);
	ports_words_free(&words);
	ports_free(p);
}

static void check_program(const char *comm, const char *exe, const char *keep)
{
	check_runtime(comm, exe, NULL, keep);
}

TEST(programs)
{
	check_program("node-MainThread", "/usr/bin/node", "one shared http.Agent with keepAlive: true");
	check_program("worker", "/opt/node-exporter", "a connection pool that keeps connections and uses them again");
	check_runtime("Orders", "/app/Orders", "dotnet", "one shared HttpClient (or IHttpClientFactory)");
	check_program("celery", "/usr/bin/python3.11",
		      "one requests.Session (or urllib3.PoolManager) for all requests");
	check_program("nginx", "",
		      "keepalive in the upstream block, proxy_http_version 1.1 and an empty Connection header");
	check_program("php-fpm8.2", "php-fpm8.2",
		      "persistent connections (pconnect, one curl handle), or a local proxy that keeps them");
	check_program("", "", "a connection pool that keeps connections and uses them again");
}

TEST(leaks)
{
	struct ports *p = model("worker", "/opt/worker");
	struct ports_flow *f = p->flows;

	f->total = (struct ports_counters){ .attempts = 17380, .established = 17380 };
	f->states[PORTS_CLOSE_WAIT] = p->dests[0].states[PORTS_CLOSE_WAIT] = 17380;
	f->oldest_close_wait_ns = 3600000000000;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, "the peer has closed 17,380 connections and worker[902] never closes them: close the socket "
		  "(response bodies, using/finally)");
	NO_HELP(p, "wider range ≤2.3×");
	f->states[PORTS_ESTABLISHED] = p->dests[0].states[PORTS_ESTABLISHED] = 17380;
	f->states[PORTS_CLOSE_WAIT] = p->dests[0].states[PORTS_CLOSE_WAIT] = 0;
	f->idle = 17000;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, "worker[902] holds 17,000 connections without traffic for a minute: limit the pool, close idle ones");
	f->idle = 0;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, "really in use at once: more local or remote addresses, or multiplexing (HTTP/2)");
	ports_free(p);
}

TEST(bound)
{
	struct ports *p = model("api", "/opt/api");

	p->netns[0].held = 28100;
	p->dests[0].held_here = 20000;
	p->dests[0].tw = p->flows[0].tw = 20132;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, "bind() before connect() takes a port for all destinations: IP_BIND_ADDRESS_NO_PORT",
	       "8,100 of 28,232 ports are reserved or held by bind() and listen(): take them from outside of "
	       "ip_local_port_range");
	NO_HELP(p, "tcp_tw_reuse (no value helps bind(0))", FIN_TIMEOUT, "wider range ≤2.3×");
	ports_free(p);
}

TEST(fine)
{
	struct ports *p = model("api", "/opt/api");

	p->dests[0].tw = p->flows[0].tw = 100;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, NULL);
	NO_HELP(p, NULL);
	/* a collision is worth a word although ports are left */
	p->flows[0].total.collisions = 1;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, "a fixed local port is used again while its last connection is in TIME_WAIT: do not bind() to one");
	NO_HELP(p, NULL);
	ports_free(p);
}

TEST(nobody_known)
{
	struct ports *p = model("api", "/opt/api");

	p->flows_cnt = 0;
	p->dests[0].tw = p->dests[0].unowned_tw = 28232;
	CHECK_EQ(ports_judge(p), 0);
	ADVICE(p, STOPGAP);
	ports_free(p);
}

TEST(warnings)
{
	struct ports *p = model("api", "/opt/api");
	struct ports_netns *ns = p->netns;

	ns->conntrack_cnt = 800;
	ns->conntrack_max = 1000;
	ns->conntrack_failed = 1234;
	WARNINGS(p, NULL);
	ns->has_conntrack = true;
	WARNINGS(p, "conntrack: 800 of 1,000 entries; when it is full, packets of new connections are dropped",
		 "conntrack: 1,234 connections could not be entered (table full, or no port left for NAT)");
	ns->conntrack_cnt = 799;
	ns->conntrack_failed = 0;
	WARNINGS(p, NULL);
	ns->tw_cnt = ns->tw_max = 4096;
	WARNINGS(p, "TIME_WAIT: 4,096, and tcp_max_tw_buckets is 4,096: further ones are cut short");
	ports_free(p);
}

TEST_MAIN(TEST_CASE(client_closes), TEST_CASE(programs), TEST_CASE(leaks), TEST_CASE(bound), TEST_CASE(fine),
	  TEST_CASE(nobody_known), TEST_CASE(warnings))
