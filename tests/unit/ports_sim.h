/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Clients of one destination whose answer is known: each one opens connections that live and end, TIME_WAITs last as
 * the kernel's do, and a look counts as the source does. Included by the programs that test with it, once each.
 */
#ifndef UNIT_PORTS_SIM_H
#define UNIT_PORTS_SIM_H

#include <arpa/inet.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "profile/ports.h"
#include "test.h"

#define TICK_MS 20
#define TICKS_MAX (1200 * 1000 / TICK_MS)
#define SECOND_NS 1000000000ull
#define START_NS (1000 * SECOND_NS)
#define CLIENTS_MAX 4
#define NEVER UINT32_MAX

enum side { CLIENT_FIRST, PEER_FIRST };

struct client {
	double rate;			/* connections a second */
	uint32_t life_ms;		/* NEVER: its owner does not close; with PEER_FIRST: CLOSE_WAIT after 100 ms */
	enum side side;
	double from_s, until_s;		/* 0 = to the end */
	uint32_t most;			/* opens no more than that */
	bool silent;			/* established ones are idle after a minute */
	bool dies;			/* at until_s: all of its sockets are closed */
};

struct sim {
	struct ports *p;
	uint32_t usable;
	struct client clients[CLIENTS_MAX];
	size_t clients_cnt;
	double due[CLIENTS_MAX];
	uint32_t opened[CLIENTS_MAX];
	uint32_t ends[CLIENTS_MAX][TICKS_MAX + 4096];	/* sockets that end at this tick */
	uint32_t tw_ends[CLIENTS_MAX][TICKS_MAX + 4096];
	uint32_t born[CLIENTS_MAX][TICKS_MAX];		/* of those that do not end */
	uint32_t open[CLIENTS_MAX], tw[CLIENTS_MAX];
	uint32_t tick;
	uint64_t random;
	bool poisson;
	uint32_t look_ms;		/* from one look to the next */
	uint32_t full_tick;		/* when a connect failed first */
};

static inline struct ports_addr addr(const char *text)
{
	struct ports_addr a = { .bytes = { [10] = 0xff, [11] = 0xff } };

	CHECK_EQ(inet_pton(AF_INET, text, a.bytes + 12), 1);
	return a;
}

/* 0 <= x < 1 */
static inline double uniform(struct sim *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static inline struct ports_dest *dest(const struct sim *s)
{
	return &s->p->dests[0];
}

static inline struct ports_group *group(const struct sim *s, size_t i)
{
	static struct ports_group none = { .role = PORTS_USER, .sum = { .owner = UINT32_MAX } };

	return CHECK(i < dest(s)->groups_cnt) ? &dest(s)->groups[i] : &none;
}

/* A namespace with so many ports, one destination, and one owner a client. */
static inline struct sim *sim_new(uint32_t usable, const struct client *clients, size_t cnt)
{
	static const char *const comms[CLIENTS_MAX] = { "api", "billing", "worker", "cron" };
	struct ports_addr local = addr("10.0.0.1"), remote = addr("10.0.4.17");
	struct sim *s = calloc(1, sizeof(*s));

	s->p = ports_new();
	s->p->start_ns = START_NS;
	s->usable = usable;
	s->full_tick = NEVER;
	s->look_ms = 1000;
	ports_netns_get(s->p, 1);
	s->p->netns[0].visited = s->p->netns[0].timestamps = true;
	s->p->netns[0].range_low = 32768;
	s->p->netns[0].range_high = 32768 + usable - 1;
	s->p->netns[0].tw_reuse = 2;
	ports_dest_get(s->p, 0, &local, &remote, 443);
	dest(s)->selected = true;
	for (size_t i = 0; i < cnt; i++) {
		s->clients[i] = clients[i];
		ports_owner_add(s->p, 900 + i, 1, comms[i], comms[i], "", "");
		ports_flow_get(s->p, 0, i);
	}
	s->clients_cnt = cnt;
	return s;
}

#define SIM(usable, ...) sim_new(usable, (struct client[]){ __VA_ARGS__ },	\
				 sizeof((struct client[]){ __VA_ARGS__ }) / sizeof(struct client))

static inline void sim_free(struct sim *s)
{
	ports_free(s->p);
	free(s);
}

static inline uint32_t sim_used(const struct sim *s)
{
	uint32_t used = 0;

	for (size_t i = 0; i < s->clients_cnt; i++)
		used += s->open[i] + s->tw[i];
	return used;
}

static inline uint64_t sim_now_ns(const struct sim *s)
{
	return START_NS + (uint64_t)s->tick * TICK_MS * 1000000;
}

static inline void client_connect(struct sim *s, size_t i)
{
	const struct client *c = &s->clients[i];
	struct ports_flow *f = &s->p->flows[i];

	f->total.attempts++;
	if (sim_used(s) >= s->usable) {
		f->total.exhausted++;
		f->last_failure_ns = sim_now_ns(s);
		if (!f->first_failure_ns)
			f->first_failure_ns = f->last_failure_ns;
		if (s->full_tick == NEVER)
			s->full_tick = s->tick;
		return;
	}
	f->total.established++;
	s->opened[i]++;
	s->open[i]++;
	s->born[i][s->tick]++;
	if (c->life_ms != NEVER)
		s->ends[i][s->tick + (c->life_ms + TICK_MS - 1) / TICK_MS]++;
}

static inline void client_end(struct sim *s, size_t i, uint32_t cnt, uint32_t life_ms)
{
	struct ports_flow *f = &s->p->flows[i];
	size_t bucket = (size_t)log2(life_ms ? life_ms * 1000.0 : 1);

	s->open[i] -= cnt;
	f->life_sum_ns += (uint64_t)cnt * life_ms * 1000000;
	f->life[bucket] += cnt;
	if (s->clients[i].side == PEER_FIRST) {
		f->total.closed_by_peer += cnt;
		return;
	}
	f->total.closed_first += cnt;
	s->tw[i] += cnt;
	/* 60 to 62.05 s */
	for (uint32_t n = 0; n < cnt; n++)
		s->tw_ends[i][s->tick + (uint32_t)((60000 + 2050 * uniform(s)) / TICK_MS)]++;
}

static inline void client_tick(struct sim *s, size_t i)
{
	const struct client *c = &s->clients[i];
	double now_s = s->tick * TICK_MS / 1000.0, share = c->rate * TICK_MS / 1000;

	s->tw[i] -= s->tw_ends[i][s->tick];
	if (s->ends[i][s->tick])
		client_end(s, i, s->ends[i][s->tick], c->life_ms);
	if (c->until_s > 0 && now_s >= c->until_s) {
		if (c->dies && s->open[i]) {
			client_end(s, i, s->open[i], 1000);
			memset(s->ends[i], 0, sizeof(s->ends[i]));
			memset(s->born[i], 0, sizeof(s->born[i]));
		}
		s->p->owners[i].exited |= c->dies;
		return;
	}
	if (now_s < c->from_s)
		return;
	/* a Poisson process has exponential gaps */
	for (s->due[i] += share; s->due[i] > 0; s->due[i] -= s->poisson ? -log(1 - uniform(s)) : 1)
		if (!c->most || s->opened[i] < c->most)
			client_connect(s, i);
}

/* Of the sockets that never end: so many are older than that. */
static inline uint32_t sim_older(const struct sim *s, size_t i, uint32_t age_ms)
{
	uint32_t cnt = 0;

	for (uint32_t t = 0; t + age_ms / TICK_MS < s->tick; t++)
		cnt += s->born[i][t];
	return cnt;
}

static inline uint64_t sim_oldest_ns(const struct sim *s, size_t i)
{
	for (uint32_t t = 0; t < s->tick; t++)
		if (s->born[i][t])
			return (uint64_t)(s->tick - t) * TICK_MS * 1000000;
	return 0;
}

/* What the source does at a look. */
static inline void sim_look(struct sim *s)
{
	struct ports_dest *d = dest(s);

	ports_clear_now(s->p);
	s->p->now_ns = sim_now_ns(s);
	for (size_t i = 0; i < s->clients_cnt; i++) {
		const struct client *c = &s->clients[i];
		struct ports_flow *f = &s->p->flows[i];

		f->states[PORTS_ESTABLISHED] = s->open[i];
		f->tw = s->tw[i];
		if (c->life_ms == NEVER && c->side == PEER_FIRST && s->open[i]) {
			f->states[PORTS_CLOSE_WAIT] = sim_older(s, i, 100);
			f->states[PORTS_ESTABLISHED] -= f->states[PORTS_CLOSE_WAIT];
			f->oldest_close_wait_ns = f->states[PORTS_CLOSE_WAIT] ? sim_oldest_ns(s, i) : 0;
		}
		if (c->silent && s->open[i]) {
			f->idle = sim_older(s, i, 60000);
			f->oldest_idle_ns = f->idle ? sim_oldest_ns(s, i) : 0;
		}
		for (size_t state = 0; state < PORTS_STATES; state++)
			d->states[state] += f->states[state];
		d->tw += f->tw;
		for (uint32_t t = 1; t <= 64 * 1000 / TICK_MS; t++) {
			uint32_t back_s = (t * TICK_MS + 999) / 1000;

			if (back_s >= PORTS_BACK_SECONDS)
				back_s = PORTS_BACK_SECONDS - 1;
			d->back[back_s] += s->tw_ends[i][s->tick + t];
		}
	}
	CHECK_EQ(ports_judge(s->p), 0);
}

/* Until so many seconds after the beginning. */
static inline void sim_run(struct sim *s, double until_s)
{
	while (s->tick * TICK_MS < until_s * 1000) {
		s->tick++;
		for (size_t i = 0; i < s->clients_cnt; i++)
			client_tick(s, i);
		if (s->tick % (s->look_ms / TICK_MS) == 0)
			sim_look(s);
	}
}

/* The same, and no look may find anything. */
static inline void sim_run_fine(struct sim *s, double until_s)
{
	for (uint32_t t = s->tick * TICK_MS / 1000 + 1; t <= until_s; t++) {
		sim_run(s, t);
		if (!CHECK_STR(ports_alarm_name(dest(s)->alarm), "fine")) {
			fprintf(stderr, "after %u s: used %u, full in %g s\n", t, dest(s)->used, dest(s)->full_in_s);
			return;
		}
	}
}

#define CHECK_NEAR(got, want, percent) ({					\
	double near_ = (got), to_ = (want);					\
	int ok_near_ = fabs(near_ - to_) <= (percent) / 100.0 * fabs(to_);	\
	if (!CHECK(ok_near_))							\
		fprintf(stderr, "%s is %g, want %g\n", #got, near_, to_);	\
	ok_near_;								\
})

#endif
