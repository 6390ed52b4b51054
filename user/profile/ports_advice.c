/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words: what would help, by the verdict and by what the culprit runs; what is often tried and would not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "profile/ports_judge.h"

#define RANGE_MAX (65535 - 1024 + 1)	/* ports that are not privileged */
#define WIDER_MIN 1.05
#define WIDER_HELPS 4	/* below, it only delays what happens */
#define CONNTRACK_PERCENT 80
#define BUCKETS_PERCENT 99

/* How programs keep connections, by base name of the executable; with a * by its beginning. */
static const struct {
	const char *program, *keep;
} keeps[] = {
	{ "node", "one shared http.Agent with keepAlive: true" },
	{ "nodejs", "one shared http.Agent with keepAlive: true" },
	{ "dotnet", "one shared HttpClient (or IHttpClientFactory)" },
	{ "nginx", "keepalive in the upstream block, proxy_http_version 1.1 and an empty Connection header" },
	{ "haproxy", "option http-keep-alive and http-reuse in the backend" },
	{ "python*", "one requests.Session (or urllib3.PoolManager) for all requests" },
	{ "gunicorn*", "one requests.Session (or urllib3.PoolManager) for all requests" },
	{ "uwsgi*", "one requests.Session (or urllib3.PoolManager) for all requests" },
	{ "java", "one shared HttpClient or connection pool" },
	{ "php*", "persistent connections (pconnect, one curl handle), or a local proxy that keeps them" },
	{ "curl", "all URLs in one call of curl, which keeps its connection" },
	{ "wget", "all URLs in one call of wget, which keeps its connection" },
	{ "ruby*", "one Net::HTTP.start (or net-http-persistent) for all requests" },
	{ "puma*", "one Net::HTTP.start (or net-http-persistent) for all requests" },
	{ "perl*", "one LWP::UserAgent with keep_alive" },
};

static const char *keep_of(const struct ports_owner *o)
{
	const char *slash = strrchr(o->exe, '/');
	const char *program = !*o->exe ? o->comm : slash ? slash + 1 : o->exe;

	if (o->runtime)
		program = o->runtime;
	for (size_t i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++) {
		size_t len = strcspn(keeps[i].program, "*");

		if (!strncmp(program, keeps[i].program, len) && (keeps[i].program[len] || !program[len]))
			return keeps[i].keep;
	}
	return "a connection pool that keeps connections and uses them again";
}

void ports_words_free(struct ports_words *words)
{
	for (size_t i = 0; i < words->cnt; i++)
		free(words->text[i]);
	*words = (struct ports_words){ 0 };
}

/* Takes over the text and empties it. */
static int words_add(struct ports_words *words, struct text *t)
{
	if (t->failed) {
		text_free(t);
		return -ENOMEM;
	}
	if (words->cnt < PORTS_WORDS_MAX)
		words->text[words->cnt++] = t->str;
	else
		free(t->str);
	*t = (struct text){ 0 };
	return 0;
}

static int __attribute__((format(printf, 2, 3))) words_printf(struct ports_words *words, const char *fmt, ...)
{
	struct text t = { 0 };
	va_list args;

	va_start(args, fmt);
	text_vprintf(&t, fmt, args);
	va_end(args);
	return words_add(words, &t);
}

static void text_add_life(struct text *t, double ms)
{
	if (ms < 1)
		text_printf(t, "%.0f µs", ms * 1000);
	else if (ms < 1000)
		text_printf(t, "%.0f ms", ms);
	else
		text_printf(t, "%.1f s", ms / 1000);
}

/* Who is to be advised: the first culprit or leaker; if nobody is, the first of all; NULL = nobody is known. */
static const struct ports_group *advised(const struct ports_dest *d)
{
	return d->groups_cnt ? &d->groups[0] : NULL;
}

static bool time_wait_matters(const struct ports_dest *d)
{
	return (d->verdict & PORTS_CLIENT_CLOSES) || (d->used && (uint64_t)d->tw * 2 >= d->used);
}

/* "client closes first, median life 6 ms → one shared HttpClient" */
static int advise_keeping(const struct ports *p, const struct ports_dest *d, struct ports_words *ret)
{
	const struct ports_group *g = advised(d);
	double life_ms = g ? ports_median_life_ms(g->sum.life) : -1;
	struct text t = { 0 };

	if (!(d->verdict & (PORTS_CLIENT_CLOSES | PORTS_SHORT_LIVED)))
		return 0;
	if (d->verdict & PORTS_CLIENT_CLOSES)
		text_add(&t, "client closes first");
	if ((d->verdict & PORTS_SHORT_LIVED) && life_ms >= 0) {
		text_add(&t, t.len ? ", median life " : "connections live ");
		text_add_life(&t, life_ms);
	}
	text_printf(&t, " → %s", g ? keep_of(&p->owners[g->sum.owner]) : "keep connections and use them again");
	return words_add(ret, &t);
}

/* What a group never closes; `name` is its own. */
static int advise_closing(const struct ports_dest *d, const char *name, struct ports_words *ret)
{
	const struct ports_flow *sum = &advised(d)->sum;
	char count[TEXT_BYTES_MAX];
	int err = 0;

	if (d->verdict & PORTS_NEVER_CLOSED)
		err = words_printf(ret, "the peer has closed %s connections and %s never closes them: close the socket "
				   "(response bodies, using/finally)", text_count(count, sum->states[PORTS_CLOSE_WAIT]),
				   name);
	if (!err && (d->verdict & PORTS_IDLE_HELD))
		err = words_printf(ret, "%s holds %s connections without traffic for a minute: limit the pool, close "
				   "idle ones", name, text_count(count, sum->idle));
	return err;
}

/* By how much the range can grow. */
static double widening(const struct ports_netns *ns, const struct ports_dest *d)
{
	uint32_t range = ports_range(ns, d);

	return ns->visited && range ? (double)RANGE_MAX / range : 1;
}

static int advise_range(const struct ports *p, const struct ports_dest *d, struct ports_words *ret)
{
	const struct ports_netns *ns = &p->netns[d->netns];
	char count[TEXT_BYTES_MAX], range[TEXT_BYTES_MAX];
	int err = 0;

	if (d->verdict & PORTS_MANY_OPEN)
		err = words_printf(ret, "really in use at once: more local or remote addresses, or multiplexing "
				   "(HTTP/2)");
	if (!err && (d->verdict & PORTS_BOUND))
		err = words_printf(ret, "bind() before connect() takes a port for all destinations: "
				   "IP_BIND_ADDRESS_NO_PORT");
	if (!err && (d->verdict & PORTS_RANGE_HELD))
		err = words_printf(ret, "%s of %s ports are reserved or held by bind() and listen(): take them from "
				   "outside of ip_local_port_range",
				   text_count(count, (int64_t)ns->reserved + ns->held - d->held_here),
				   text_count(range, ports_range(ns, d)));
	if (!err && (d->verdict & PORTS_COLLIDES))
		err = words_printf(ret, "a fixed local port is used again while its last connection is in TIME_WAIT: "
				   "do not bind() to one");
	/* what is never closed fills any range */
	if (!err && d->alarm != PORTS_FINE && !(d->verdict & (PORTS_NEVER_CLOSED | PORTS_IDLE_HELD)) &&
	    widening(ns, d) >= WIDER_HELPS)
		err = words_printf(ret, "a wider ip_local_port_range: up to %.0f× as many ports", widening(ns, d));
	return err;
}

static int advise_stopgap(const struct ports *p, const struct ports_dest *d, struct ports_words *ret)
{
	const struct ports_netns *ns = &p->netns[d->netns];

	if (!ns->visited || !ns->timestamps || d->tw_reused || (ns->tw_reuse != 0 && ns->tw_reuse != 2) ||
	    !time_wait_matters(d) || (d->verdict & PORTS_BOUND))
		return 0;
	return words_printf(ret, "as a stopgap, tcp_tw_reuse=1 gives ports back after 1 s");
}

int ports_advice(const struct ports *p, const struct ports_dest *d, struct ports_words *ret)
{
	struct ports_words words = { 0 };
	char *name = NULL;
	int err;

	if (advised(d)) {
		name = ports_group_name(p, advised(d));
		if (!name)
			return -ENOMEM;
	}
	err = advise_keeping(p, d, &words);
	if (!err && name)
		err = advise_closing(d, name, &words);
	if (!err)
		err = advise_range(p, d, &words);
	if (!err && d->alarm != PORTS_FINE)
		err = advise_stopgap(p, d, &words);
	free(name);
	if (err)
		ports_words_free(&words);
	else
		*ret = words;
	return err;
}

static int time_wait_no_help(const struct ports *p, const struct ports_dest *d, struct ports_words *words)
{
	const struct ports_netns *ns = &p->netns[d->netns];
	int err = 0;

	if (d->verdict & PORTS_BOUND)
		err = words_printf(words, "tcp_tw_reuse (no value helps bind(0))");
	else if (d->tw_reused || !time_wait_matters(d))
		return 0;
	else if (ns->tw_reuse > 0 && !ns->timestamps)
		err = words_printf(words, "tcp_tw_reuse=%d (needs tcp_timestamps)", ns->tw_reuse);
	else if (ns->tw_reuse == 2)
		err = words_printf(words, "tcp_tw_reuse=2 (loopback only)");
	if (!err && time_wait_matters(d))
		err = words_printf(words, "tcp_fin_timeout (does not shorten TIME_WAIT)");
	return err;
}

int ports_no_help(const struct ports *p, const struct ports_dest *d, struct ports_words *ret)
{
	const struct ports_netns *ns = &p->netns[d->netns];
	struct ports_words words = { 0 };
	double wider = widening(ns, d);
	int err;

	if (d->alarm == PORTS_FINE || !ns->visited) {
		*ret = words;
		return 0;
	}
	err = time_wait_no_help(p, d, &words);
	if (!err && wider > WIDER_MIN && (wider < WIDER_HELPS || (d->verdict & (PORTS_NEVER_CLOSED | PORTS_IDLE_HELD))))
		err = words_printf(&words, "wider range ≤%.1f×", wider);
	if (err)
		ports_words_free(&words);
	else
		*ret = words;
	return err;
}

int ports_warnings(const struct ports_netns *ns, struct ports_words *ret)
{
	char count[TEXT_BYTES_MAX], max[TEXT_BYTES_MAX];
	struct ports_words words = { 0 };
	int err = 0;

	if (ns->has_conntrack && ports_is_percent(ns->conntrack_cnt, CONNTRACK_PERCENT, ns->conntrack_max))
		err = words_printf(&words, "conntrack: %s of %s entries; when it is full, packets of new connections "
				   "are dropped", text_count(count, ns->conntrack_cnt),
				   text_count(max, ns->conntrack_max));
	if (!err && ns->has_conntrack && ns->conntrack_failed)
		err = words_printf(&words, "conntrack: %s connections could not be entered (table full, or no port "
				   "left for NAT)", text_count(count, (int64_t)ns->conntrack_failed));
	if (!err && ports_is_percent(ns->tw_cnt, BUCKETS_PERCENT, ns->tw_max))
		err = words_printf(&words, "TIME_WAIT: %s, and tcp_max_tw_buckets is %s: further ones are cut short",
				   text_count(count, ns->tw_cnt), text_count(max, ns->tw_max));
	if (err)
		ports_words_free(&words);
	else
		*ret = words;
	return err;
}
