/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One judgement: what is counted of each flow becomes sums, rates and a forecast of its destination, that becomes an
 * alarm, and that tells who is to blame. Everything is linear in flows and destinations but for sorting.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profile/ports_judge.h"

static uint32_t flow_open(const struct ports_flow *f)
{
	uint32_t open = 0;

	for (size_t i = 0; i < PORTS_STATES; i++)
		open += f->states[i];
	return open;
}

static void dest_sum(struct ports_case *c)
{
	struct ports_dest *d = c->d;

	d->sum = (struct ports_flow){ .dest = d - c->p->dests, .owner = UINT32_MAX, .stack = -1, .leak_stack = -1 };
	for (size_t i = 0; i < c->flows_cnt; i++) {
		struct ports_flow *f = &c->p->flows[c->flows[i]];

		f->held = flow_open(f) + f->tw;
		ports_flow_add(&d->sum, f);
	}
	d->used = d->tw;
	for (size_t i = 0; i < PORTS_STATES; i++)
		d->used += d->states[i];
	d->used -= d->outside < d->used ? d->outside : d->used;
	if (d->used > d->used_max)
		d->used_max = d->used;
}

static struct ports_counts dest_counts(const struct ports_dest *d)
{
	const struct ports_counters *t = &d->sum.total;

	return (struct ports_counts){
		.taken = (uint32_t)(t->attempts - t->exhausted - t->collisions), .open = d->used - d->tw,
		.closed_first = (uint32_t)t->closed_first, .failed = (uint32_t)t->exhausted,
		.close_wait_closed = d->sum.close_wait_closed,
	};
}

static int dest_judge(struct ports *p, uint32_t i)
{
	struct ports_history *h = p->history;
	struct ports_case c = { .p = p, .d = &p->dests[i], .m = ports_history_memory(h, i) };
	struct ports_counts counts;
	int err;

	c.flows = ports_history_flows(h, i, &c.flows_cnt);
	dest_sum(&c);
	counts = dest_counts(c.d);
	ports_history_count(h, i, &counts);
	ports_history_rates(h, i, &c.rates);
	c.d->sum.tries_per_s = c.d->sum.failed_per_s = 0;
	for (size_t j = 0; j < c.flows_cnt; j++) {
		struct ports_flow *f = &p->flows[c.flows[j]];

		ports_history_flow_rates(h, &c.rates, c.flows[j], f);
		c.d->sum.tries_per_s += f->tries_per_s;
		c.d->sum.failed_per_s += f->failed_per_s;
	}
	ports_capacity(&c);
	ports_outlook(&c);
	ports_alarm(&c);
	c.d->sum.held_full = 0;
	for (size_t j = 0; j < c.flows_cnt; j++)
		c.d->sum.held_full += p->flows[c.flows[j]].held_full;
	err = ports_groups(&c, h);
	if (!err)
		ports_roles(&c);
	return err;
}

struct urgency {
	enum ports_alarm alarm;
	uint32_t used, dest;
	double part;
};

static int urgency_compare(const void *pa, const void *pb)
{
	const struct urgency *a = pa, *b = pb;

	if (a->alarm != b->alarm)
		return a->alarm > b->alarm ? -1 : 1;
	if (a->part != b->part)
		return a->part > b->part ? -1 : 1;
	if (a->used != b->used)
		return a->used > b->used ? -1 : 1;
	return a->dest < b->dest ? -1 : a->dest > b->dest;
}

static int order_make(struct ports *p)
{
	struct urgency *list = calloc(p->dests_cnt + 1, sizeof(*list));
	uint32_t *order = reallocarray(p->order, p->dests_cnt + 1, sizeof(*order));

	if (order)
		p->order = order;
	if (!list || !order) {
		free(list);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->dests_cnt; i++) {
		const struct ports_dest *d = &p->dests[i];
		/* what is not known is no reason to come first */
		double part = d->usable == PORTS_INF ? 0 : (double)d->used / (d->usable ? d->usable : 1);

		list[i] = (struct urgency){ d->alarm, d->used, i, part };
	}
	qsort(list, p->dests_cnt, sizeof(*list), urgency_compare);
	for (size_t i = 0; i < p->dests_cnt; i++)
		order[i] = list[i].dest;
	free(list);
	return 0;
}

int ports_judge(struct ports *p)
{
	int err;

	if (!p->history)
		p->history = ports_history_new(p->start_ns && p->start_ns < p->now_ns ? p->start_ns : 0);
	if (!p->history)
		return -ENOMEM;
	err = ports_history_begin(p->history, p);
	for (size_t i = 0; !err && i < p->dests_cnt; i++)
		err = dest_judge(p, i);
	if (!err)
		err = ports_history_end(p->history, p);
	if (!err)
		err = order_make(p);
	if (err)
		return err;
	p->alarms_cnt = p->fine_cnt = 0;
	for (size_t i = 0; i < p->dests_cnt; i++) {
		if (!p->dests[i].selected)
			continue;
		if (p->dests[i].alarm == PORTS_FINE)
			p->fine_cnt++;
		else
			p->alarms_cnt++;
	}
	return 0;
}
