/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two rings of samples, each the counters of all destinations at one time:
 *
 *	fine	SAMPLES_MAX, at least FINE_NS apart, with the flows': for the rates
 *	coarse	SAMPLES_MAX, at least COARSE_NS apart: for what grows slowly
 *
 * A rate is counted over the last WINDOW_NS. That is long enough for 20 a second to be right within 6 % when they come
 * at random (300 of them), and short enough to be believed: what began or ended a quarter of a minute ago is all in
 * it. If all was quiet at the beginning of the window, it is counted from where it began.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "profile/ports_judge.h"

#define SECOND_NS 1000000000ull
#define SAMPLES_MAX 22
#define FINE_NS (3 * SECOND_NS / 4)
#define COARSE_MAX 4
#define COARSE_NS (30 * SECOND_NS)
#define WINDOW_NS (31 * SECOND_NS / 2)	/* 15 s and a late call */
#define WINDOW_MIN_NS (2 * SECOND_NS)
/* Fewer events do not tell when something began. */
#define BEGIN_MIN_CNT 16
/* Whether it still goes on is told by so many, and by a third of the time at least. */
#define RECENT_CNT 10

struct flow_counts {
	uint32_t tries, failed;
};

struct sample {
	uint64_t ns;
	struct ports_counts *dests;	/* the ones that are missing were not there: 0 */
	struct flow_counts *flows;
	size_t dests_cnt, flows_cnt;
	size_t dests_room, flows_room;
};

struct ring {
	struct sample samples[SAMPLES_MAX];	/* oldest first */
	size_t cnt, max;
};

struct ports_history {
	struct ring fine, coarse;
	struct ports_memory *memory;	/* of each destination */
	size_t memory_cnt;
	/* Of the present judgement. */
	uint64_t now_ns;
	size_t base, end;		/* the fine samples that may be counted from; none: base == end */
	struct ports_counts *counts;	/* of each destination */
	uint32_t *flows_first;		/* where a destination's flows begin in `flows`, and one more */
	uint32_t *flows;		/* indexes, in order of their destinations */
	uint64_t *groups;		/* of each owner */
};

static void ring_free(struct ring *r)
{
	for (size_t i = 0; i < SAMPLES_MAX; i++) {
		free(r->samples[i].dests);
		free(r->samples[i].flows);
	}
}

struct ports_history *ports_history_free(struct ports_history *h)
{
	if (!h)
		return NULL;
	ring_free(&h->fine);
	ring_free(&h->coarse);
	free(h->memory);
	free(h->counts);
	free(h->flows_first);
	free(h->flows);
	free(h->groups);
	free(h);
	return NULL;
}

/* The sample to be filled next, at the end of the ring; it keeps the memory of the one that goes. */
static struct sample *ring_push(struct ring *r, uint64_t now_ns)
{
	if (r->cnt == r->max) {
		struct sample oldest = r->samples[0];

		memmove(r->samples, r->samples + 1, (r->max - 1) * sizeof(r->samples[0]));
		r->samples[--r->cnt] = oldest;
	}
	r->samples[r->cnt].ns = now_ns;
	r->samples[r->cnt].dests_cnt = r->samples[r->cnt].flows_cnt = 0;
	return &r->samples[r->cnt++];
}

struct ports_history *ports_history_new(uint64_t start_ns)
{
	struct ports_history *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->fine.max = SAMPLES_MAX;
	h->coarse.max = COARSE_MAX;
	/* when the look began all counters were 0 */
	if (start_ns) {
		ring_push(&h->fine, start_ns);
		ring_push(&h->coarse, start_ns);
	}
	return h;
}

/* Gives *list room for cnt. */
static int room(void *list, size_t cnt, size_t item_bytes)
{
	void **at = list, *more = reallocarray(*at, cnt ? cnt : 1, item_bytes);

	if (!more)
		return -ENOMEM;
	*at = more;
	return 0;
}

/* Counting sort. */
static void flows_link(struct ports_history *h, const struct ports *p)
{
	memset(h->flows_first, 0, (p->dests_cnt + 1) * sizeof(*h->flows_first));
	for (size_t i = 0; i < p->flows_cnt; i++)
		h->flows_first[p->flows[i].dest + 1]++;
	for (size_t i = 0; i < p->dests_cnt; i++)
		h->flows_first[i + 1] += h->flows_first[i];
	for (size_t i = 0; i < p->flows_cnt; i++)
		h->flows[h->flows_first[p->flows[i].dest]++] = i;
	/* each beginning has moved to the next one's */
	memmove(h->flows_first + 1, h->flows_first, p->dests_cnt * sizeof(*h->flows_first));
	h->flows_first[0] = 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/*
 * Of base names, since of a process that has ended more may not be known. 64 bits tell apart what one machine runs.
 */
static uint64_t group_hash(const struct ports_owner *o)
{
	const char *program = *o->exe ? base_name(o->exe) : o->comm, *cgroup = base_name(o->cgroup);
	uint64_t parts[3] = {
		hash_bytes(program, strlen(program)), hash_bytes(cgroup, strlen(cgroup)),
		hash_bytes(o->container, strlen(o->container)),
	};

	return hash_bytes(parts, sizeof(parts));
}

static void base_find(struct ports_history *h)
{
	const struct ring *r = &h->fine;

	h->base = h->end = 0;
	for (; h->end < r->cnt && r->samples[h->end].ns + WINDOW_MIN_NS <= h->now_ns; h->end++)
		/* an older one only when there is nothing else */
		if (r->samples[h->base].ns + WINDOW_NS < h->now_ns)
			h->base = h->end;
}

int ports_history_begin(struct ports_history *h, const struct ports *p)
{
	if (room(&h->memory, p->dests_cnt, sizeof(*h->memory)) || room(&h->counts, p->dests_cnt, sizeof(*h->counts)) ||
	    room(&h->flows_first, p->dests_cnt + 1, sizeof(*h->flows_first)) ||
	    room(&h->flows, p->flows_cnt, sizeof(*h->flows)) || room(&h->groups, p->owners_cnt, sizeof(*h->groups)))
		return -ENOMEM;
	if (h->memory_cnt < p->dests_cnt)
		memset(h->memory + h->memory_cnt, 0, (p->dests_cnt - h->memory_cnt) * sizeof(*h->memory));
	h->memory_cnt = p->dests_cnt;
	h->now_ns = p->now_ns;
	flows_link(h, p);
	for (size_t i = 0; i < p->owners_cnt; i++)
		h->groups[i] = group_hash(&p->owners[i]);
	base_find(h);
	return 0;
}

struct ports_memory *ports_history_memory(struct ports_history *h, uint32_t dest)
{
	return &h->memory[dest];
}

const uint32_t *ports_history_flows(const struct ports_history *h, uint32_t dest, size_t *ret_cnt)
{
	*ret_cnt = h->flows_first[dest + 1] - h->flows_first[dest];
	return h->flows + h->flows_first[dest];
}

uint64_t ports_history_group(const struct ports_history *h, uint32_t owner)
{
	return h->groups[owner];
}

void ports_history_count(struct ports_history *h, uint32_t dest, const struct ports_counts *counts)
{
	struct ports_memory *m = &h->memory[dest];

	h->counts[dest] = *counts;
	if (!m->known)
		m->seed_open = counts->open > counts->taken ? counts->open - counts->taken : 0;
	m->known = true;
}

static struct ports_counts counts_at(const struct ports_history *h, const struct sample *s, uint32_t dest)
{
	return dest < s->dests_cnt ? s->dests[dest] : (struct ports_counts){ .open = h->memory[dest].seed_open };
}

static double seconds_since(const struct ports_history *h, const struct sample *s)
{
	return (double)(h->now_ns - s->ns) / 1e9;
}

static struct ports_pace pace_since(const struct ports_history *h, const struct sample *s, uint32_t dest)
{
	const struct ports_counts *now = &h->counts[dest];
	struct ports_counts then = counts_at(h, s, dest);
	double seconds = seconds_since(h, s);

	return (struct ports_pace){
		(now->taken - then.taken) / seconds, ((double)now->open - then.open) / seconds,
		(now->closed_first - then.closed_first) / seconds,
	};
}

static size_t base_of(const struct ports_history *h, uint32_t dest)
{
	uint32_t now = h->counts[dest].taken, then = counts_at(h, &h->fine.samples[h->base], dest).taken;
	size_t base = h->base;

	if (now - then < BEGIN_MIN_CNT)
		return base;
	while (base + 1 < h->end && counts_at(h, &h->fine.samples[base + 1], dest).taken == then)
		base++;
	/* it began somewhere between this sample and the next, which is better */
	if ((base > h->base || !then) && base + 1 < h->end &&
	    now - counts_at(h, &h->fine.samples[base + 1], dest).taken >= BEGIN_MIN_CNT)
		base++;
	return base;
}

static size_t recent_of(const struct ports_history *h, const struct ports_rates *r)
{
	double many_s = r->now.taken > 0 ? RECENT_CNT / r->now.taken : r->age_s;
	double want_s = fmin(fmax(many_s, r->age_s / 3), r->age_s / 2);
	size_t recent = r->base;

	for (size_t i = r->base; i < h->end && seconds_since(h, &h->fine.samples[i]) >= want_s; i++)
		recent = i;
	return recent;
}

/* Open sockets that become more from each coarse sample to the next, two steps at least. */
static double slow_growth(const struct ports_history *h, uint32_t dest)
{
	const struct ring *r = &h->coarse;
	uint32_t first, last;

	if (r->cnt < 3)
		return 0;
	first = last = counts_at(h, &r->samples[0], dest).open;
	for (size_t i = 1; i < r->cnt; i++) {
		uint32_t open = counts_at(h, &r->samples[i], dest).open;

		if (open <= last)
			return 0;
		last = open;
	}
	return h->counts[dest].open < last ? 0 : (h->counts[dest].open - first) / seconds_since(h, &r->samples[0]);
}

void ports_history_rates(const struct ports_history *h, uint32_t dest, struct ports_rates *ret)
{
	const struct sample *base, *recent;
	struct ports_counts then;

	*ret = (struct ports_rates){ .known = h->base < h->end };
	if (!ret->known)
		return;
	ret->base = base_of(h, dest);
	base = &h->fine.samples[ret->base];
	then = counts_at(h, base, dest);
	ret->age_s = seconds_since(h, base);
	ret->now = pace_since(h, base, dest);
	recent = &h->fine.samples[recent_of(h, ret)];
	ret->recent = pace_since(h, recent, dest);
	ret->recent_s = seconds_since(h, recent);
	ret->failed_per_s = (h->counts[dest].failed - then.failed) / ret->age_s;
	ret->close_wait_closed = h->counts[dest].close_wait_closed - then.close_wait_closed;
	ret->slow_growth = slow_growth(h, dest);
}

static struct flow_counts flow_counts(const struct ports_flow *f)
{
	return (struct flow_counts){ (uint32_t)f->total.attempts, (uint32_t)f->total.exhausted };
}

void ports_history_flow_rates(const struct ports_history *h, const struct ports_rates *rates, uint32_t flow,
			      struct ports_flow *f)
{
	const struct sample *base = &h->fine.samples[rates->base];
	struct flow_counts now = flow_counts(f), then = { 0 };

	f->tries_per_s = f->failed_per_s = 0;
	if (!rates->known)
		return;
	if (flow < base->flows_cnt)
		then = base->flows[flow];
	f->tries_per_s = (now.tries - then.tries) / rates->age_s;
	f->failed_per_s = (now.failed - then.failed) / rates->age_s;
}

static int sample_keep(const struct ports_history *h, const struct ports *p, struct ring *r, bool with_flows)
{
	struct sample *s = ring_push(r, h->now_ns);

	if (s->dests_room < p->dests_cnt) {
		if (room(&s->dests, p->dests_cnt, sizeof(*s->dests)))
			return -ENOMEM;
		s->dests_room = p->dests_cnt;
	}
	if (p->dests_cnt)
		memcpy(s->dests, h->counts, p->dests_cnt * sizeof(*s->dests));
	s->dests_cnt = p->dests_cnt;
	if (!with_flows)
		return 0;
	if (s->flows_room < p->flows_cnt) {
		if (room(&s->flows, p->flows_cnt, sizeof(*s->flows)))
			return -ENOMEM;
		s->flows_room = p->flows_cnt;
	}
	for (size_t i = 0; i < p->flows_cnt; i++)
		s->flows[i] = flow_counts(&p->flows[i]);
	s->flows_cnt = p->flows_cnt;
	return 0;
}

static bool is_due(const struct ring *r, uint64_t now_ns, uint64_t distance_ns)
{
	return !r->cnt || r->samples[r->cnt - 1].ns + distance_ns <= now_ns;
}

int ports_history_end(struct ports_history *h, const struct ports *p)
{
	int err = 0;

	if (is_due(&h->coarse, h->now_ns, COARSE_NS))
		err = sample_keep(h, p, &h->coarse, false);
	if (!err && is_due(&h->fine, h->now_ns, FINE_NS))
		err = sample_keep(h, p, &h->fine, true);
	return err;
}
