/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the state of a destination is called. The worst that holds counts:
 *
 *	EXHAUSTED      connects fail for lack of ports, or all are used
 *	FILLING        full within the horizon, for a reason that has lasted a few seconds
 *	LEAKING        sockets that are forgotten: CLOSE_WAIT, or established and silent, and more and more of them
 *	HIGH           half of the ports are used, or the kernel has to search
 *	WAS_EXHAUSTED  connects have failed in this look
 *
 * A healthy client must stay FINE: a pool that opens its connections at once and keeps them, a few sockets that wait
 * for the next use to be closed, a client whose TIME_WAITs level off.
 */
#include "profile/ports_judge.h"

#define SECOND_NS 1000000000ull
#define FAILING_NS (5 * SECOND_NS)	/* a failure is "now" */
#define SPELL_NS (10 * SECOND_NS)	/* without a failure a spell is over */
#define SPELL_PERCENT 95		/* unless it is as full as that */
#define HIGH_PERCENT 50			/* from here on the kernel has used the even half and searches */
#define SEARCH_PERCENT 25		/* below it, a long search is a process that was preempted */
#define HORIZON_S 3600
#define SOON_S 600
#define FILLING_PERCENT 10		/* below, only what fills soon is worth a word */
/* Opening a pool takes less; and with fewer ports in use, the first connections of a steady client may still live. */
#define LASTING_S 4
#define LASTING_FEW_S 10
/* Forgotten sockets: so few are no leak whatever they do, and so many are one even if they do not become more. */
#define CLOSE_WAIT_MIN 10
#define CLOSE_WAIT_MANY 100
#define IDLE_MIN 64			/* keep-alive pools have 8 to 50 */
#define IDLE_MANY 100
#define STUCK_PERCENT 5
#define GROWING_PART 4			/* one in so many: idle ones show a minute late */
#define REFRESH_NS (60 * SECOND_NS)	/* a TIME_WAIT of then has ended */
#define FULLEST_PERCENT 99

static bool is_full(const struct ports_case *c)
{
	return ports_is_percent(c->taken_now, 100, c->d->usable);
}

static uint64_t age_ns(const struct ports_case *c, uint64_t time_ns)
{
	return c->p->now_ns > time_ns ? c->p->now_ns - time_ns : 0;
}

static bool is_failing(const struct ports_case *c)
{
	uint64_t last_ns = c->d->sum.last_failure_ns;

	return last_ns && age_ns(c, last_ns) <= FAILING_NS;
}

/*
 * The first failure after the spell before. Of each owner only the first and the last of all are known: for one that
 * failed in both spells the last one is the earliest that is sure to be of this.
 */
static uint64_t spell_first_ns(const struct ports_case *c)
{
	uint64_t first_ns = c->d->sum.last_failure_ns;

	for (size_t i = 0; i < c->flows_cnt; i++) {
		const struct ports_flow *f = &c->p->flows[c->flows[i]];
		uint64_t ns = f->first_failure_ns > c->m->was_until_ns ? f->first_failure_ns : f->last_failure_ns;

		if (ns > c->m->was_until_ns && ns < first_ns)
			first_ns = ns;
	}
	return first_ns;
}

static void spell_go_on(struct ports_case *c)
{
	const struct ports_flow *sum = &c->d->sum;
	struct ports_memory *m = c->m;
	bool failed = sum->total.exhausted > m->exhausted;
	bool fails = failed || is_failing(c);

	m->exhausted = sum->total.exhausted;
	if (m->in_spell && !failed && age_ns(c, sum->last_failure_ns) > SPELL_NS &&
	    !ports_is_percent(c->taken_now, SPELL_PERCENT, c->d->usable))
		m->in_spell = false;
	if (!m->in_spell && (fails || is_full(c))) {
		m->in_spell = c->reset_fullest = true;
		m->spell_failed = false;
		m->spell_since_ns = c->p->now_ns;
	}
	if (m->in_spell && fails) {
		if (!m->spell_failed)
			m->spell_since_ns = m->was_since_ns = spell_first_ns(c);
		m->spell_failed = true;
		m->was_until_ns = sum->last_failure_ns;
	}
}

/* More and more sockets are open, and many are of this kind: not just more load beside a pool that waits. */
static bool is_growing(const struct ports_case *c, uint32_t forgotten)
{
	return c->growth > 0 && (uint64_t)forgotten * GROWING_PART >= c->d->used - c->d->tw;
}

/* Forgotten sockets, and whether there are enough of them. */
static void leaks_find(struct ports_case *c)
{
	const struct ports_dest *d = c->d;

	for (size_t i = 0; i < c->flows_cnt; i++) {
		const struct ports_flow *f = &c->p->flows[c->flows[i]];

		if (f->oldest_close_wait_ns >= PORTS_STUCK_NS)
			c->close_wait += f->states[PORTS_CLOSE_WAIT];
		c->idle += f->idle;
	}
	/* it closes them, late: not forgotten */
	if ((uint64_t)c->rates.close_wait_closed * 10 > c->close_wait)
		c->close_wait = 0;
	c->leaks_close_wait = c->close_wait >= CLOSE_WAIT_MIN &&
			      (is_growing(c, c->close_wait) || c->close_wait >= CLOSE_WAIT_MANY ||
			       ports_is_percent(c->close_wait, STUCK_PERCENT, d->usable));
	c->leaks_idle = c->idle >= IDLE_MIN &&
			(is_growing(c, c->idle) ||
			 (c->idle >= IDLE_MANY && ports_is_percent(c->idle, STUCK_PERCENT, d->usable)));
}

static bool is_filling(const struct ports_case *c)
{
	const struct ports_dest *d = c->d;

	if (d->full_in_s < 0 || d->full_in_s >= HORIZON_S)
		return false;
	if (ports_is_percent(c->taken_now, FILLING_PERCENT, d->usable))
		return c->rates.age_s >= LASTING_S;
	return d->full_in_s < SOON_S && c->rates.age_s >= LASTING_FEW_S;
}

static bool is_high(const struct ports_case *c)
{
	return ports_is_percent(c->taken_now, HIGH_PERCENT, c->d->usable) ||
	       (c->d->sum.search_low_ns > PORTS_SEARCH_SLOW_NS &&
		ports_is_percent(c->taken_now, SEARCH_PERCENT, c->d->usable));
}

/* Who holds what at the worst moment; later it may be gone. */
static void fullest_keep(struct ports_case *c)
{
	struct ports_memory *m = c->m;
	uint32_t used = c->d->used;
	/* it stays full, and those who filled it have left: who holds it now is to blame now */
	bool stays = c->d->alarm == PORTS_EXHAUSTED && ports_is_percent(used, FULLEST_PERCENT, m->fullest) &&
		     age_ns(c, m->fullest_ns) >= REFRESH_NS;

	if (!c->reset_fullest && used <= m->fullest && !stays)
		return;
	m->fullest = used;
	m->fullest_ns = c->p->now_ns;
	m->fullest_verdict = 0;
	for (size_t i = 0; i < c->flows_cnt; i++)
		c->p->flows[c->flows[i]].held_full = c->p->flows[c->flows[i]].held;
}

void ports_alarm(struct ports_case *c)
{
	struct ports_dest *d = c->d;
	struct ports_memory *m = c->m;

	spell_go_on(c);
	leaks_find(c);
	if (is_failing(c) || is_full(c))
		d->alarm = PORTS_EXHAUSTED;
	else if (is_filling(c))
		d->alarm = PORTS_FILLING;
	else if (c->leaks_close_wait || c->leaks_idle)
		d->alarm = PORTS_LEAKING;
	else if (is_high(c))
		d->alarm = PORTS_HIGH;
	else
		d->alarm = m->was_until_ns ? PORTS_WAS_EXHAUSTED : PORTS_FINE;
	if (d->alarm != m->alarm)
		m->alarm_since_ns = c->p->now_ns;
	m->alarm = d->alarm;
	d->since_ns = d->alarm == PORTS_EXHAUSTED ? m->spell_since_ns :
		      d->alarm == PORTS_WAS_EXHAUSTED ? m->was_since_ns :
		      d->alarm == PORTS_FINE ? 0 : m->alarm_since_ns;
	d->until_ns = m->was_until_ns;
	fullest_keep(c);
}
