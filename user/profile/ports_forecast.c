/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many ports there are towards a destination, how many connections a second they sustain, and when they are
 * used up if everything goes on as it does.
 *
 * The forecast lets time pass second by second:
 *
 *	taken --> open --> ended -+-> TIME_WAIT, for PORTS_TW_S --> free
 *	                          `-> free
 *
 * at the present rates. What is in TIME_WAIT already ends when the kernel says. After SIMULATED_S all that is known
 * to change has changed, and what is left is a line.
 */
#include <math.h>
#include <stddef.h>

#include "profile/ports_judge.h"

#define SIMULATED_S 128		/* more than PORTS_BACK_SECONDS and the life of a TIME_WAIT that begins then */
#define WEEK_S (7 * 86400)
#define TW_S 60			/* TCP_TIMEWAIT_LEN of the kernel */
#define TW_REUSED_S 1		/* tcp_tw_reuse: from this age on */
#define SYN_SENT_S 127		/* six retries, tcp_syn_retries; then connect() gives up */
#define FADING 0.75		/* below this part of the rate of the whole window it is not what it was */
#define CHANGED 2		/* standard deviations that something has to be below what it was, beside that */
#define CHANCE 2.5		/* standard deviations that a growth has to be away from none */
#define SHARE_MIN_CNT 16	/* ends that tell how connections end nowadays */
#define HOLD_MIN_S 0.0001	/* a connect() takes as long */

/*
 * IP_LOCAL_PORT_RANGE can only make the range smaller: an end that is outside of the namespace's is ignored
 * (inet_sk_get_local_port_range()).
 */
uint32_t ports_range(const struct ports_netns *ns, const struct ports_dest *d)
{
	uint32_t low = ns->range_low, high = ns->range_high;

	if (d->sock_range_low >= low && d->sock_range_low <= high)
		low = d->sock_range_low;
	if (d->sock_range_high >= ns->range_low && d->sock_range_high <= high)
		high = d->sock_range_high;
	return low <= high && high ? high - low + 1 : 0;
}

static uint32_t minus(uint32_t a, uint32_t b)
{
	return a > b ? a - b : 0;
}

static uint32_t usable(const struct ports_netns *ns, const struct ports_dest *d)
{
	uint32_t range = ports_range(ns, d);

	if (!ns->visited)
		return PORTS_INF;
	/*
	 * Which of the reserved and held ports are in the part that a socket chose is not known. Whoever sets a range
	 * of his own has usually kept it free, so none is taken away; failures tell if that is wrong.
	 */
	if (range != (uint32_t)ns->range_high - ns->range_low + 1)
		return range;
	return minus(range, ns->reserved + minus(ns->held, d->held_here));
}

/* The kernel looks at either address, and a port that is bound is not given to another bind(). */
static bool tw_reused(const struct ports_netns *ns, const struct ports_dest *d)
{
	bool wanted = ns->tw_reuse == 1 || (ns->tw_reuse == 2 && (ports_addr_is_loopback(&d->remote) ||
								   ports_addr_is_loopback(&d->local)));

	return ns->visited && ns->timestamps && wanted && !ports_is_bound(d);
}

void ports_capacity(struct ports_case *c)
{
	struct ports_dest *d = c->d;
	const struct ports_netns *ns = &c->p->netns[d->netns];
	uint32_t open = d->used - d->tw;

	d->usable = usable(ns, d);
	d->tw_reused = tw_reused(ns, d);
	c->taken_now = d->used;
	if (d->tw_reused)
		c->taken_now = open + (uint32_t)fmin(d->tw, ceil(c->rates.now.closed_first * TW_REUSED_S));
}

static double mean_life_s(const struct ports_flow *sum)
{
	double ended = (double)sum->total.closed_first + sum->total.closed_by_peer + sum->total.closed_hard;

	return ended > 0 ? (double)sum->life_sum_ns / 1e9 / ended : 0;
}

/* Part of the connections that leave a TIME_WAIT here when they end: lately, or in the whole look. */
static double tw_share(const struct ports_case *c)
{
	const struct ports_counters *t = &c->d->sum.total;
	double ended = (c->rates.now.taken - c->rates.now.growth) * c->rates.age_s, all;

	if (ended >= SHARE_MIN_CNT)
		return fmin(1, c->rates.now.closed_first * c->rates.age_s / ended);
	all = (double)t->closed_first + t->closed_by_peer + t->closed_hard;
	return all > 0 ? t->closed_first / all : 0;
}

/* Whether so many less than expected are no chance. */
static bool is_less(double got, double expected, double spread)
{
	return got < FADING * expected && expected - got >= CHANGED * sqrt(expected + spread);
}

/*
 * Taken a second, and how many of these pile up. What has stopped or levels off in the latest part of the window is
 * not carried on. What does grow has to be more than chance: connections that come and go at the same rate differ by
 * as many as are under way at both ends of the window, and those are rate x life (Little's law).
 */
static double present_growth(const struct ports_case *c, double *ret_taken)
{
	const struct ports_rates *r = &c->rates;
	bool slowed = is_less(r->recent.taken * r->recent_s, r->now.taken * r->recent_s, 0);
	const struct ports_pace *pace = slowed ? &r->recent : &r->now;
	double growth = fmin(pace->growth, pace->taken), recent = fmin(r->recent.growth, pace->taken);
	double spread = 2 * fmax(0, pace->taken - growth) * mean_life_s(&c->d->sum) + 1, change;

	*ret_taken = pace->taken;
	if (is_less(recent * r->recent_s, growth * r->recent_s, spread - 1))
		growth = recent;
	change = fabs(growth) * r->age_s;
	if (change > CHANCE * sqrt(change + spread))
		return growth;
	return fmin(r->slow_growth, pace->taken);
}

/* fmin() is a call, and this is the innermost loop. */
static double lesser(double a, double b)
{
	return a < b ? a : b;
}

/* Given back in second s, of what was there in the beginning and is not in back[]: evenly over the time. */
static double known_back(const struct ports_flux *f, double rest, unsigned int s)
{
	double back = s <= f->tw_s ? rest / f->tw_s : 0;

	if (!f->back)
		return back;
	if (s == 1)
		back += f->back[0];
	return s < PORTS_BACK_SECONDS ? back + f->back[s] : back;
}

static double back_sum(const struct ports_flux *f)
{
	double sum = 0;

	for (size_t i = 0; f->back && i < PORTS_BACK_SECONDS; i++)
		sum += f->back[i];
	return sum;
}

/* As much as can be used at any time of the simulation. Most destinations need none: this is less than usable. */
static double used_most(const struct ports_flux *f)
{
	double growth = f->taken_per_s - f->ended_per_s, births = lesser(f->ended_per_s, f->open + f->taken_per_s);

	return f->open + f->tw + (growth > 0 ? growth * SIMULATED_S : 0) + births * f->tw_share * f->tw_s;
}

/* Seconds until it is full if that is soon; else -1 and how much is used then. */
static double simulate(const struct ports_flux *f, double *ret_used)
{
	double born[PORTS_TW_S] = { 0 };	/* TIME_WAIT by the second that it began in */
	double rest = fmax(0, f->tw - back_sum(f)), open = f->open, tw = f->tw, used = open + tw;

	for (unsigned int s = 1, i = 0; s <= SIMULATED_S; s++, i = i + 1 < f->tw_s ? i + 1 : 0) {
		double ended = lesser(f->ended_per_s, open + f->taken_per_s), next;
		double *slot = &born[i];

		open = lesser(open + f->taken_per_s - ended, open > f->open_max ? open : f->open_max);
		tw -= known_back(f, rest, s) + *slot;
		tw = tw > 0 ? tw : 0;
		*slot = lesser(ended * f->tw_share, tw < f->tw_max ? f->tw_max - tw : 0);
		tw += *slot;
		next = open + tw;
		if (next >= f->usable)
			return s - 1 + (f->usable - used) / (next - used);
		used = next;
	}
	*ret_used = used;
	return -1;
}

double ports_forecast(const struct ports_flux *f)
{
	double used = f->open + f->tw, growth = f->taken_per_s - f->ended_per_s, full_s;

	if (used >= f->usable)
		return 0;
	if (f->taken_per_s <= 0)
		return -1;
	if (used_most(f) >= f->usable) {
		full_s = simulate(f, &used);
		if (full_s >= 0)
			return full_s;
	} else {
		used = fmax(0, f->open + growth * SIMULATED_S) +
		       fmin(f->tw_max, fmin(f->ended_per_s, f->taken_per_s) * f->tw_share * f->tw_s);
	}
	if (growth <= 0 || f->open_max <= f->open + growth * SIMULATED_S)
		return -1;
	full_s = SIMULATED_S + (f->usable - used) / growth;
	return full_s <= WEEK_S ? full_s : -1;
}

static double forecast(const struct ports_case *c, double taken_per_s)
{
	const struct ports_dest *d = c->d;
	const struct ports_netns *ns = &c->p->netns[d->netns];
	double open = d->used - d->tw;
	struct ports_flux f = {
		.usable = d->usable, .open = open, .tw = c->taken_now - open, .taken_per_s = taken_per_s,
		.ended_per_s = taken_per_s - c->growth, .tw_share = tw_share(c),
		.tw_s = d->tw_reused ? TW_REUSED_S : PORTS_TW_S, .tw_max = INFINITY, .open_max = INFINITY,
		.back = d->tw_reused ? NULL : d->back,
	};

	/* beyond tcp_max_tw_buckets there is no TIME_WAIT: the port is free at once */
	if (ns->tw_max != PORTS_INF)
		f.tw_max = f.tw + minus(ns->tw_max, ns->tw_cnt);
	/* a peer that does not answer: they pile up, but not for ever */
	if ((uint64_t)d->states[PORTS_SYN_SENT] * 2 > open)
		f.open_max = fmax(open, taken_per_s * SYN_SENT_S);
	return ports_forecast(&f);
}

/* Connections a second that the ports can carry for ever, at the present mean hold time. */
static double sustainable(const struct ports_case *c, double taken_per_s)
{
	const struct ports_counters *t = &c->d->sum.total;
	double hold_s = mean_life_s(&c->d->sum) + tw_share(c) * (c->d->tw_reused ? TW_REUSED_S : TW_S);

	if (!c->d->usable || c->d->usable == PORTS_INF || !(t->closed_first + t->closed_by_peer + t->closed_hard) ||
	    c->growth > taken_per_s / 2)
		return -1;
	return c->d->usable / fmax(hold_s, HOLD_MIN_S);
}

static double next_back_s(const struct ports_dest *d)
{
	for (size_t i = 0; i < PORTS_BACK_SECONDS; i++)
		if (d->back[i])
			return i ? i - 0.5 : 0;
	return -1;
}

/* Buckets are powers of two; inside of one lives are taken to be spread evenly. */
double ports_median_life_ms(const uint32_t life[PORTS_LIFE_BUCKETS])
{
	uint64_t cnt = 0;
	double half;

	for (size_t i = 0; i < PORTS_LIFE_BUCKETS; i++)
		cnt += life[i];
	half = cnt / 2.0;
	for (size_t i = 0; i < PORTS_LIFE_BUCKETS && cnt; i++) {
		double low_us = i ? (double)(1ull << i) : 0, high_us = (double)(2ull << i);

		if (life[i] >= half)
			return (low_us + (high_us - low_us) * half / life[i]) / 1000;
		half -= life[i];
	}
	return -1;
}

void ports_outlook(struct ports_case *c)
{
	struct ports_dest *d = c->d;
	double taken_per_s = 0;

	d->next_back_s = next_back_s(d);
	d->median_life_ms = ports_median_life_ms(d->sum.life);
	d->new_per_s = c->rates.now.taken;
	d->failed_per_s = c->rates.failed_per_s;
	d->full_in_s = -1;
	c->growth = c->rates.known ? present_growth(c, &taken_per_s) : 0;
	if (d->usable && d->usable != PORTS_INF && (c->rates.known || c->taken_now >= d->usable))
		d->full_in_s = forecast(c, taken_per_s);
	d->max_per_s = sustainable(c, taken_per_s);
}
