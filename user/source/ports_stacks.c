/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stacks of connects. They are samples with weights where a flow is hot; so that folded stacks add up to what
 * really happened, the samples of a flow share out its exact total in proportion.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "source/ports.h"
#include "source/ports_books.h"

/* The samples of one stack in one flow. */
struct sample {
	int flow;		/* of the model */
	uint32_t stack;		/* of the kernel */
	uint64_t weights[PORTS_VALUES];
};

struct samples {
	struct ports_books *b;
	struct sample *list;
	size_t cnt, size;
};

static int sample_add(struct samples *s, int flow, const struct ports_stack_key *k, const struct ports_stack *v)
{
	if (s->cnt == s->size) {
		size_t size = s->size ? s->size * 2 : 256;
		struct sample *list = realloc(s->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->size = size;
	}
	s->list[s->cnt++] = (struct sample){ flow, k->stack, { [PORTS_CONNECTIONS] = v->connects,
		[PORTS_TIME_WAIT_SECONDS] = v->time_waits, [PORTS_FAILURES] = v->failures } };
	return 0;
}

static int on_stack(const void *key, const void *value, void *ctx)
{
	const struct ports_stack_key *k = key;
	struct samples *s = ctx;
	int flow = ports_books_flow(s->b, k->flow);

	return flow < 0 ? 0 : sample_add(s, flow, key, value);	/* newer than the last reading of flows */
}

/* The kernel's, and those of flows that are closed. */
static int samples_read(struct samples *s)
{
	const struct ports_recycle *r = &s->b->recycle;
	int err = ports_books_each_stack(s->b, on_stack, s);

	for (size_t i = 0; !err && i < r->samples_cnt; i++)
		err = sample_add(s, r->samples[i].flow, &r->samples[i].key, &r->samples[i].counts);
	return err;
}

static int by_flow(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return x->flow != y->flow ? (x->flow < y->flow ? -1 : 1) : (x->stack > y->stack) - (x->stack < y->stack);
}

static void value_add(struct profile *p, int stack, int type, int64_t n)
{
	profile_value_set(p, stack, type, profile_value(p, stack, type) + n);
}

static uint64_t exact_total(const struct ports_counters *c, int type)
{
	switch (type) {
	case PORTS_CONNECTIONS:
		return c->attempts;
	case PORTS_TIME_WAIT_SECONDS:
		return c->closed_first * 60;
	default:
		return c->exhausted;
	}
}

/* Shares one total of a flow out among its samples; what has none goes under a label. */
static int share(struct samples *s, const struct sample *list, size_t cnt, int flow, uint32_t process, int type,
		 const char *label)
{
	uint64_t total = exact_total(&s->b->model->flows[flow].total, type), sum = 0, upto = 0, given = 0;

	for (size_t i = 0; i < cnt; i++)
		if (stacks_of(s->b->stacks, list[i].stack, process) >= 0)
			sum += list[i].weights[type];
	if (!sum && total) {
		int stack = profile_stack_label(s->b->profile, process, label);

		if (stack < 0)
			return stack;
		value_add(s->b->profile, stack, type, total);
	}
	for (size_t i = 0; sum && i < cnt; i++) {
		int stack = stacks_of(s->b->stacks, list[i].stack, process);
		uint64_t end;

		if (stack < 0)
			continue;	/* its frames are still on their way */
		upto += list[i].weights[type];
		end = upto == sum ? total : (uint64_t)floor((double)total * upto / sum);
		value_add(s->b->profile, stack, type, end - given);
		given = end;
	}
	return 0;
}

/* The samples of one flow, if it has any. */
static int flow_stacks(struct samples *s, const struct sample *list, size_t cnt, int flow, uint32_t process,
		       const char *label)
{
	uint64_t most = 0;
	int err = 0;

	s->b->model->flows[flow].stack = -1;
	for (size_t i = 0; i < cnt; i++) {
		int stack = stacks_of(s->b->stacks, list[i].stack, process);

		if (stack >= 0 && list[i].weights[PORTS_CONNECTIONS] > most) {
			most = list[i].weights[PORTS_CONNECTIONS];
			s->b->model->flows[flow].stack = stack;
		}
	}
	for (int type = 0; !err && type < PORTS_VALUES; type++)
		err = share(s, list, cnt, flow, process, type, label);
	return err;
}

int ports_books_stacks(struct ports_books *b, bool no_stacks)
{
	struct samples s = { .b = b };
	size_t at = 0;
	int err = samples_read(&s);

	profile_values_clear(b->profile);
	if (s.cnt)
		qsort(s.list, s.cnt, sizeof(*s.list), by_flow);
	for (size_t flow = 0; !err && flow < b->model->flows_cnt; flow++) {
		size_t end = at;

		while (end < s.cnt && s.list[end].flow == (int)flow)
			end++;
		err = flow_stacks(&s, s.list + at, end - at, flow,
				  b->model->flows[flow].owner,	/* also its process */
				  no_stacks ? "[no stacks]" : "[not sampled]");
		at = end;
	}
	free(s.list);
	return err;
}
