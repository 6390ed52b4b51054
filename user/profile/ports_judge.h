/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files behind ports_judge() share; private to them.
 *
 *	ports_judge.c	  the order of things: sums, then rates, alarms, roles, and what comes first
 *	ports_history.c	  counters as they were before, and rates from them
 *	ports_forecast.c  capacity, what it sustains and when it is used up
 *	ports_alarm.c	  what a destination's state is called, and since when
 *	ports_roles.c	  groups of owners, who did it, and why
 *	ports_advice.c	  the words for it
 */
#ifndef PROFILE_PORTS_JUDGE_H
#define PROFILE_PORTS_JUDGE_H

#include "profile/ports.h"

/* CLOSE_WAIT is forgotten, not late, from this age on. */
#define PORTS_STUCK_NS 10000000000ull

/*
 * Counters of a destination, to be subtracted from later ones: 32 bits may wrap. Attempts that found no port took
 * none, so `taken` leaves them out. `open` is the kernel's own number, so what becomes of a connection need not be
 * counted without a gap: what was taken and is not open has ended.
 */
struct ports_counts {
	uint32_t taken, open, closed_first, failed, close_wait_closed;
};

/* A second. */
struct ports_pace {
	double taken, growth, closed_first;	/* growth: of open */
};

struct ports_rates {
	bool known;		/* false: too early; the rest is 0 */
	size_t base;		/* sample that the rates are counted from */
	double age_s;		/* of that sample: the time that was looked at */
	struct ports_pace now;	/* over all of it */
	struct ports_pace recent;	/* over its last part, recent_s: tells whether it still holds */
	double recent_s;
	double failed_per_s;
	uint32_t close_wait_closed;	/* in that time */
	double slow_growth;	/* of open, over minutes: only if it never paused, else 0 */
};

/* What the judge remembers of a destination. */
struct ports_memory {
	bool known;		/* it was there at an earlier judgement */
	uint32_t seed_open;	/* sockets older than the look */
	enum ports_alarm alarm;	/* of the previous judgement */
	uint64_t alarm_since_ns;
	bool in_spell;		/* of exhaustion */
	bool spell_failed;	/* connects failed in it */
	uint64_t spell_since_ns;
	uint64_t was_since_ns, was_until_ns;	/* the last spell with failures; 0 = there was none */
	uint64_t exhausted;	/* failures at the previous judgement */
	uint32_t fullest;	/* used, when it was fullest in this spell, or in the look */
	uint64_t fullest_ns;
	unsigned int fullest_verdict;	/* what cannot be seen any more when all is gone */
	size_t groups_bytes;	/* room in dest.groups */
};

/* What the steps of a judgement tell each other of one destination. */
struct ports_case {
	struct ports *p;
	struct ports_dest *d;
	struct ports_memory *m;
	const uint32_t *flows;	/* of the destination: indexes */
	size_t flows_cnt;
	struct ports_rates rates;
	double growth;		/* of open a second, as far as it is more than chance; < 0 = it shrinks */
	uint32_t taken_now;	/* used, without TIME_WAIT that may be taken again */
	uint32_t close_wait;	/* forgotten ones */
	uint32_t idle;
	bool leaks_close_wait, leaks_idle;	/* enough of them for an alarm */
	bool reset_fullest;	/* a spell has just begun */
};

/* Samples; NULL when memory is short. */
struct ports_history *ports_history_new(uint64_t start_ns);
struct ports_history *ports_history_free(struct ports_history *h);
/* Makes room for all that the model has now, and finds the samples to count from. -ENOMEM. */
int ports_history_begin(struct ports_history *h, const struct ports *p);
struct ports_memory *ports_history_memory(struct ports_history *h, uint32_t dest);
/* The flows of a destination. */
const uint32_t *ports_history_flows(const struct ports_history *h, uint32_t dest, size_t *ret_cnt);
/* Once a destination and judgement, before its rates. */
void ports_history_count(struct ports_history *h, uint32_t dest, const struct ports_counts *counts);
void ports_history_rates(const struct ports_history *h, uint32_t dest, struct ports_rates *ret);
/* Sets the flow's rates. */
void ports_history_flow_rates(const struct ports_history *h, const struct ports_rates *rates, uint32_t flow,
			      struct ports_flow *f);
/* Hash of what makes owners one group; of the owners of this judgement. */
uint64_t ports_history_group(const struct ports_history *h, uint32_t owner);
/* Keeps what was counted as a sample, unless the last one is too young. -ENOMEM. */
int ports_history_end(struct ports_history *h, const struct ports *p);

/* How a destination's ports come and go. */
struct ports_flux {
	double usable, open, tw;
	double taken_per_s, ended_per_s;
	double tw_share;		/* of what ends: leaves a TIME_WAIT */
	unsigned int tw_s;		/* how long one keeps its port: 1 or PORTS_TW_S */
	double tw_max, open_max;	/* no more of them are possible; INFINITY */
	const uint32_t *back;		/* PORTS_BACK_SECONDS; NULL: evenly over tw_s */
};

/*
 * Timers of a minute are rounded up to a step of the timer wheel, on average by a second (HZ=250: 60 to 62.05 s).
 */
#define PORTS_TW_S 61

/* Seconds until open + tw reach usable; 0 = they do; -1 = they will not within a week. */
double ports_forecast(const struct ports_flux *flux);

uint32_t ports_range(const struct ports_netns *ns, const struct ports_dest *d);
void ports_capacity(struct ports_case *c);
void ports_outlook(struct ports_case *c);
/* < 0: none has ended. */
double ports_median_life_ms(const uint32_t life[PORTS_LIFE_BUCKETS]);
void ports_alarm(struct ports_case *c);
/* Adds counters, sockets and rates, and keeps the extremes; not dest, owner and stacks. */
void ports_flow_add(struct ports_flow *sum, const struct ports_flow *f);
/* -ENOMEM. */
int ports_groups(struct ports_case *c, const struct ports_history *h);
void ports_roles(struct ports_case *c);

/* Whether part is at least percent of whole; never of nothing or of what is not known. */
static inline bool ports_is_percent(uint64_t part, unsigned int percent, uint32_t whole)
{
	return whole && whole != PORTS_INF && part * 100 >= (uint64_t)whole * percent;
}

/* bind() before connect(), by most of those who use it. */
static inline bool ports_is_bound(const struct ports_dest *d)
{
	return d->held_here && (uint64_t)d->held_here * 2 >= d->used;
}

#endif
