/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who did it, and why. Owners of the same program in the same place are one group: a service restarts, a script
 * starts curl a thousand times.
 *
 * The culprit holds the ports; whose connects fail is often somebody else. It is judged by what it held when the
 * destination was fullest, because it may have exited since and even its TIME_WAITs may be gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profile/ports_judge.h"

#define SHORT_LIFE_MS 1000
#define SHORT_MIN_CNT 50	/* connections that make a habit */
#define SMALL_RANGE_PERCENT 50	/* of the ports are as many as that, where there are few */
#define ENDED_MIN_PERCENT 10	/* of the ports: so many in TIME_WAIT matter */
#define RANGE_HELD_PERCENT 25
#define SLOW_SEARCH_PERCENT 25

void ports_flow_add(struct ports_flow *sum, const struct ports_flow *f)
{
	const uint64_t *from = (const uint64_t *)&f->total;
	uint64_t *to = (uint64_t *)&sum->total;

	_Static_assert(sizeof(f->total) % sizeof(*from) == 0, "counters are of 64 bits");
	for (size_t i = 0; i < sizeof(f->total) / sizeof(*from); i++)
		to[i] += from[i];
	for (size_t i = 0; i < PORTS_STATES; i++)
		sum->states[i] += f->states[i];
	for (size_t i = 0; i < PORTS_LIFE_BUCKETS; i++)
		sum->life[i] += f->life[i];
	if (f->first_failure_ns && (!sum->first_failure_ns || f->first_failure_ns < sum->first_failure_ns))
		sum->first_failure_ns = f->first_failure_ns;
	if (f->last_failure_ns > sum->last_failure_ns)
		sum->last_failure_ns = f->last_failure_ns;
	if (f->search_max_ns > sum->search_max_ns)
		sum->search_max_ns = f->search_max_ns;
	if (f->search_low_ns > sum->search_low_ns)
		sum->search_low_ns = f->search_low_ns;
	if (f->oldest_close_wait_ns > sum->oldest_close_wait_ns)
		sum->oldest_close_wait_ns = f->oldest_close_wait_ns;
	if (f->oldest_idle_ns > sum->oldest_idle_ns)
		sum->oldest_idle_ns = f->oldest_idle_ns;
	sum->tw += f->tw;
	sum->idle += f->idle;
	sum->close_wait_closed += f->close_wait_closed;
	sum->life_sum_ns += f->life_sum_ns;
	sum->held += f->held;
	sum->held_full += f->held_full;
	sum->tries_per_s += f->tries_per_s;
	sum->failed_per_s += f->failed_per_s;
}

struct member {
	uint64_t group;
	uint64_t holds;
	uint32_t flow;
};

/* What it held, then what it holds, in one number. */
static uint64_t holds(const struct ports_flow *f)
{
	return (uint64_t)f->held_full << 32 | f->held;
}

static int member_compare(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;

	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	if (a->holds != b->holds)
		return a->holds > b->holds ? -1 : 1;
	return a->flow < b->flow ? -1 : a->flow > b->flow;
}

/*
 * Makes the groups out of sorted members. The lists of all of them lie behind the groups, in one piece of memory that
 * is used again at the next judgement.
 */
static int groups_make(struct ports_case *c, const struct member *members, size_t cnt)
{
	struct ports_dest *d = c->d;
	size_t groups_cnt = 0, bytes;
	struct ports_group *g;
	uint32_t *flows;

	for (size_t i = 0; i < cnt; i++)
		groups_cnt += !i || members[i].group != members[i - 1].group;
	bytes = groups_cnt * sizeof(*g) + cnt * sizeof(*flows);
	if (bytes > c->m->groups_bytes) {
		free(d->groups);
		d->groups_cnt = c->m->groups_bytes = 0;
		d->groups = malloc(bytes);
		if (!d->groups)
			return -ENOMEM;
		c->m->groups_bytes = bytes;
	}
	d->groups_cnt = groups_cnt;
	g = d->groups;
	flows = (uint32_t *)(d->groups + groups_cnt);
	for (size_t i = 0; i < cnt; i++) {
		const struct ports_flow *f = &c->p->flows[members[i].flow];

		flows[i] = members[i].flow;
		if (i && members[i].group == members[i - 1].group) {
			ports_flow_add(&g->sum, f);
			g->flows_cnt++;
			continue;
		}
		g = i ? g + 1 : g;
		*g = (struct ports_group){ .flows = flows + i, .flows_cnt = 1, .sum = *f };
	}
	return 0;
}

int ports_groups(struct ports_case *c, const struct ports_history *h)
{
	struct member few[8], *members = few;
	int err;

	if (c->flows_cnt > sizeof(few) / sizeof(few[0]))
		members = calloc(c->flows_cnt, sizeof(*members));
	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < c->flows_cnt; i++) {
		const struct ports_flow *f = &c->p->flows[c->flows[i]];

		members[i] = (struct member){ ports_history_group(h, f->owner), holds(f), c->flows[i] };
	}
	qsort(members, c->flows_cnt, sizeof(*members), member_compare);
	err = groups_make(c, members, c->flows_cnt);
	if (members != few)
		free(members);
	return err;
}

static int holds_compare(const void *pa, const void *pb)
{
	const struct ports_group *a = pa, *b = pb;
	uint64_t a_holds = holds(&a->sum), b_holds = holds(&b->sum);

	if (a_holds != b_holds)
		return a_holds > b_holds ? -1 : 1;
	return a->sum.owner < b->sum.owner ? -1 : a->sum.owner > b->sum.owner;
}

static int role_compare(const void *pa, const void *pb)
{
	static const int rank[] = { [PORTS_CULPRIT] = 0, [PORTS_LEAKER] = 1, [PORTS_VICTIM] = 2, [PORTS_USER] = 3 };
	const struct ports_group *a = pa, *b = pb;

	return rank[a->role] != rank[b->role] ? rank[a->role] - rank[b->role] : holds_compare(a, b);
}

static int established_compare(const void *pa, const void *pb)
{
	const struct ports_group *a = pa, *b = pb;
	uint64_t a_cnt = a->sum.total.established, b_cnt = b->sum.total.established;

	return a_cnt > b_cnt ? -1 : a_cnt < b_cnt ? 1 : holds_compare(a, b);
}

/*
 * Connects have failed, but no judgement saw the ports in use: they were far apart, and all was gone again. What each
 * took then says as much as can be known.
 */
static bool is_unseen(const struct ports_case *c)
{
	const struct ports_dest *d = c->d;
	uint64_t established = d->sum.total.established;

	return d->sum.total.exhausted && !ports_is_percent(c->m->fullest, 50, d->usable) && d->usable != PORTS_INF &&
	       established * 2 >= d->usable;
}

/* The smallest set that holds half of what was used. */
static void culprits_mark(struct ports_case *c)
{
	const struct ports_dest *d = c->d;
	bool unseen = is_unseen(c);
	uint64_t all = unseen ? d->sum.total.established : c->m->fullest, owned = unseen ? all : 0, sum = 0;

	qsort(d->groups, d->groups_cnt, sizeof(*d->groups), unseen ? established_compare : holds_compare);
	for (size_t i = 0; i < d->groups_cnt && !unseen; i++)
		owned += d->groups[i].sum.held_full;
	/* most of it is nobody's that is known: to blame the rest would be wrong */
	if (!all || owned * 2 < all)
		return;
	for (size_t i = 0; i < d->groups_cnt && sum * 2 < all; i++) {
		d->groups[i].role = PORTS_CULPRIT;
		sum += unseen ? d->groups[i].sum.total.established : d->groups[i].sum.held_full;
	}
}

static uint32_t forgotten(const struct ports_case *c, const struct ports_group *g)
{
	return (c->leaks_close_wait ? g->sum.states[PORTS_CLOSE_WAIT] : 0) + (c->leaks_idle ? g->sum.idle : 0);
}

/* Forgotten sockets are behind the alarm, or behind the last spell. */
static void leaker_mark(struct ports_case *c)
{
	struct ports_dest *d = c->d;
	uint64_t all = (c->leaks_close_wait ? c->close_wait : 0) + (c->leaks_idle ? c->idle : 0);
	struct ports_group *most = d->groups_cnt ? &d->groups[0] : NULL;
	bool was = d->alarm == PORTS_WAS_EXHAUSTED;

	if (!most || (was ? !(c->m->fullest_verdict & (PORTS_NEVER_CLOSED | PORTS_IDLE_HELD)) :
		      !all || (d->alarm != PORTS_LEAKING && all * 4 < d->used)))
		return;
	/* when all is gone, the one that held the most */
	for (size_t i = 1; i < d->groups_cnt; i++)
		if (forgotten(c, &d->groups[i]) > forgotten(c, most))
			most = &d->groups[i];
	if (forgotten(c, most) || (was && most->role == PORTS_CULPRIT))
		most->role = PORTS_LEAKER;
}

static void victims_mark(struct ports_case *c)
{
	for (size_t i = 0; i < c->d->groups_cnt; i++) {
		struct ports_group *g = &c->d->groups[i];

		if (g->role == PORTS_USER &&
		    (g->sum.total.exhausted || (c->d->alarm == PORTS_EXHAUSTED && g->sum.tries_per_s > 0)))
			g->role = PORTS_VICTIM;
	}
}

/* What the sockets show. */
static unsigned int verdict_now(const struct ports_case *c)
{
	const struct ports_dest *d = c->d;
	const struct ports_netns *ns = &c->p->netns[d->netns];
	uint64_t open = d->used - d->tw, forgotten_cnt = (uint64_t)c->close_wait + c->idle;
	uint32_t range = ports_range(ns, d), taken_away = ns->reserved + ns->held - d->held_here;
	unsigned int verdict = 0;

	if (c->leaks_close_wait)
		verdict |= PORTS_NEVER_CLOSED;
	if (c->leaks_idle)
		verdict |= PORTS_IDLE_HELD;
	if (open > forgotten_cnt && (open - forgotten_cnt) * 2 >= d->used)
		verdict |= PORTS_MANY_OPEN;
	if (ports_is_bound(d))
		verdict |= PORTS_BOUND;
	if (ns->visited && ns->held >= d->held_here && ports_is_percent(taken_away, RANGE_HELD_PERCENT, range))
		verdict |= PORTS_RANGE_HELD;
	return verdict;
}

/* What the counters show, those of whoever is behind it. */
static unsigned int verdict_counted(const struct ports_dest *d, const struct ports_flow *sum)
{
	const struct ports_counters *t = &sum->total;
	uint64_t ended = t->closed_first + t->closed_by_peer + t->closed_hard;
	double median_ms = ports_median_life_ms(sum->life);
	bool habit = t->established >= SHORT_MIN_CNT ||
		     ports_is_percent(t->established, SMALL_RANGE_PERCENT, d->usable);
	bool matters = t->closed_first >= SHORT_MIN_CNT ||
		       ports_is_percent(t->closed_first, ENDED_MIN_PERCENT, d->usable);
	unsigned int verdict = 0;

	/* of those that it never closes, too: a leak is not cured by another way of closing the rest */
	if (matters && t->closed_first * 2 > ended && t->closed_first * 2 >= t->established)
		verdict |= PORTS_CLIENT_CLOSES;
	if (habit && ended * 2 > t->established && median_ms >= 0 && median_ms < SHORT_LIFE_MS)
		verdict |= PORTS_SHORT_LIVED;
	return verdict;
}

/* The counters of those behind it; if nobody is known to be, of all but the victims; if there are no others, of all. */
static struct ports_flow behind_it(const struct ports_dest *d)
{
	struct ports_flow sum[2] = { 0 };
	bool any[2] = { false };

	for (size_t i = 0; i < d->groups_cnt; i++) {
		const struct ports_group *g = &d->groups[i];
		bool user = g->role == PORTS_USER;

		if (g->role == PORTS_VICTIM)
			continue;
		ports_flow_add(&sum[user], &g->sum);
		any[user] = true;
	}
	return any[0] ? sum[0] : any[1] ? sum[1] : d->sum;
}

void ports_roles(struct ports_case *c)
{
	struct ports_dest *d = c->d;
	unsigned int now = verdict_now(c);

	if (c->m->fullest_ns == c->p->now_ns)
		c->m->fullest_verdict = now;
	d->verdict = d->sum.total.collisions ? PORTS_COLLIDES : 0;
	if (d->alarm == PORTS_FINE) {
		if (d->groups_cnt)
			qsort(d->groups, d->groups_cnt, sizeof(*d->groups), holds_compare);
		return;
	}
	if (d->groups_cnt) {
		struct ports_flow sum;

		if (d->alarm != PORTS_LEAKING)
			culprits_mark(c);
		leaker_mark(c);
		victims_mark(c);
		sum = behind_it(d);
		d->verdict |= verdict_counted(d, &sum);
		qsort(d->groups, d->groups_cnt, sizeof(*d->groups), role_compare);
	}
	d->verdict |= d->alarm == PORTS_WAS_EXHAUSTED ? c->m->fullest_verdict : now;
	if (d->sum.search_low_ns > PORTS_SEARCH_SLOW_NS &&
	    ports_is_percent(d->used_max, SLOW_SEARCH_PERCENT, d->usable))
		d->verdict |= PORTS_SLOW_SEARCH;
}
