/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/ports_books.h"

#define BATCH	512	/* entries read at once */

void ports_books_open(struct ports_books *b)
{
	b->flow_of = NULL;
	b->flow_of_cnt = 0;
}

void ports_books_close(struct ports_books *b)
{
	free(b->flow_of);
	ports_recycle_close(&b->recycle);
	ports_books_open(b);
}

/* Calls fn for each entry of a hash map. */
static int map_each(int fd, size_t key_size, size_t value_size, ports_books_fn fn, void *ctx)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	char *keys = NULL, *values = NULL;
	uint32_t room = BATCH, position = 0, next;
	bool first = true;
	int err = 0;

	for (;;) {
		uint32_t cnt = room;

		if (!keys) {
			keys = malloc(room * key_size);
			values = malloc(room * value_size);
			if (!keys || !values) {
				err = -ENOMEM;
				break;
			}
		}
		err = bpf_map_lookup_batch(fd, first ? NULL : &position, &next, keys, values, &cnt, &opts);
		if (err == -ENOSPC) {	/* one bucket holds more */
			free(keys);
			free(values);
			keys = values = NULL;
			room *= 2;
			continue;
		}
		if (err && err != -ENOENT)
			break;
		for (uint32_t i = 0; i < cnt; i++) {
			int failed = fn(keys + i * key_size, values + i * value_size, ctx);

			if (failed) {
				err = failed;
				goto out;
			}
		}
		if (err == -ENOENT) {
			err = 0;
			break;
		}
		first = false;
		position = next;
	}
out:
	free(keys);
	free(values);
	return err;
}

/* TIME_WAIT that the wheel has not given back yet. Its slots are 32 bits of a 64-bit clock. */
static uint32_t wheel_sum(const struct ports_flow_book *f, const struct ports_shared *state, uint64_t jiffies)
{
	uint32_t now = jiffies >> state->wheel_shift;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < PORTS_WHEEL; i++) {
		int32_t ahead = (uint32_t)(f->wheel[i] >> 32) - now;

		if (ahead > 0 && ahead < PORTS_WHEEL)
			sum += f->wheel[i] & UINT32_MAX;
	}
	return sum;
}

static int flow_of_set(struct ports_books *b, uint32_t index, int flow)
{
	if (index >= b->flow_of_cnt) {
		uint32_t cnt = b->flow_of_cnt ? b->flow_of_cnt : 256;
		int *list;

		while (cnt <= index)
			cnt *= 2;
		list = realloc(b->flow_of, cnt * sizeof(*list));
		if (!list)
			return -ENOMEM;
		for (uint32_t i = b->flow_of_cnt; i < cnt; i++)
			list[i] = -1;
		b->flow_of = list;
		b->flow_of_cnt = cnt;
	}
	b->flow_of[index] = flow;
	return 0;
}

int ports_books_flow(const struct ports_books *b, uint32_t index)
{
	return index < b->flow_of_cnt ? b->flow_of[index] : -1;
}

/* The model's flow for one that is met for the first time. -EAGAIN: its owner is still in the ring. */
static int flow_add(struct ports_books *b, const struct ports_flow_book *f)
{
	struct ports_addr local, remote;
	int netns, dest, flow, owner = ports_owners_owner(b->owners, f->key.owner);

	if (owner < 0)
		return -EAGAIN;
	memcpy(local.bytes, f->key.local, sizeof(local.bytes));
	memcpy(remote.bytes, f->key.remote, sizeof(remote.bytes));
	netns = ports_netns_get(b->model, f->key.netns);
	if (netns < 0)
		return netns;
	dest = ports_dest_get(b->model, netns, &local, &remote, f->key.port);
	if (dest < 0)
		return dest;
	flow = ports_flow_get(b->model, dest, owner);
	return flow < 0 ? flow : flow_of_set(b, f->index, flow) ?: flow;
}

static void counters_add(struct ports_counters *to, const struct ports_flow_book *f)
{
	to->attempts += f->attempts;
	to->established += f->established;
	to->refused += f->refused;
	to->timed_out += f->timed_out;
	to->reset += f->reset;
	to->exhausted += f->exhausted;
	to->collisions += f->collisions;
	to->failed_other += f->failed_other;
	to->aborted += f->aborted;
	to->closed_first += f->closed_first;
	to->closed_by_peer += f->closed_by_peer;
	to->closed_hard += f->closed_hard;
}

static void flow_add_book(struct ports_flow *flow, const struct ports_flow_book *f, uint32_t tw)
{
	counters_add(&flow->total, f);
	if (f->first_failure_ns && (!flow->first_failure_ns || f->first_failure_ns < flow->first_failure_ns))
		flow->first_failure_ns = f->first_failure_ns;
	if (f->last_failure_ns > flow->last_failure_ns)
		flow->last_failure_ns = f->last_failure_ns;
	if (f->search_max_ns > flow->search_max_ns)
		flow->search_max_ns = f->search_max_ns;
	if (f->search_low_ns > flow->search_low_ns)
		flow->search_low_ns = f->search_low_ns;
	flow->close_wait_closed += f->close_wait_closed;
	flow->life_sum_ns += f->life_sum_ns;
	for (unsigned int i = 0; i < PORTS_LIFE_BUCKETS; i++)
		flow->life[i] += f->lives[i];
	flow->tw += tw;
}

struct flows_pass {
	struct ports_books *b;
	uint64_t jiffies;
};

static int on_flow(const void *key, const void *value, void *ctx)
{
	const struct ports_flow_book *f = value;
	struct flows_pass *pass = ctx;
	struct ports_books *b = pass->b;
	struct ports_dest *dest;
	uint32_t tw;
	int flow, err;

	(void)key;
	if (!f->index)
		return 0;	/* it is just being made */
	flow = ports_books_flow(b, f->index);
	if (flow < 0)
		flow = flow_add(b, f);
	if (flow < 0)
		return flow == -EAGAIN ? 0 : flow;
	tw = b->exact_tw ? (f->tw_exact > 0 ? f->tw_exact : 0) : wheel_sum(f, b->state, pass->jiffies);
	flow_add_book(&b->model->flows[flow], f, tw);
	err = ports_recycle_offer(&b->recycle, b->model, f, flow, tw);
	dest = &b->model->dests[b->model->flows[flow].dest];
	if (f->range) {
		b->model->flows[flow].range_low = f->range & 0xffff ? f->range & 0xffff : b->model->netns[dest->netns].range_low;
		b->model->flows[flow].range_high = f->range >> 16 ? f->range >> 16 : b->model->netns[dest->netns].range_high;
	}
	return err;
}

/*
 * Several of the kernel's flows may be one of the model: owners that nobody knows. So everything is summed up anew,
 * but for what is closed.
 */
static void flows_clear(struct ports_books *b)
{
	for (size_t i = 0; i < b->model->flows_cnt; i++) {
		struct ports_flow *f = &b->model->flows[i];

		if (ports_recycle_is_closed(&b->recycle, i))
			continue;

		memset(&f->total, 0, sizeof(f->total));
		memset(f->life, 0, sizeof(f->life));
		f->life_sum_ns = 0;
		f->close_wait_closed = 0;
		f->range_low = f->range_high = 0;
		f->search_low_ns = 0;
		f->tw = 0;
	}
}

/* A destination has a range of its own when all of its flows have one. */
static void ranges_join(struct ports *model)
{
	for (size_t i = 0; i < model->dests_cnt; i++) {
		model->dests[i].sock_range_low = UINT32_MAX;
		model->dests[i].sock_range_high = 0;
	}
	for (size_t i = 0; i < model->flows_cnt; i++) {
		const struct ports_flow *f = &model->flows[i];
		struct ports_dest *d = &model->dests[f->dest];

		if (f->range_low < d->sock_range_low)	/* 0: the whole range, which nothing widens */
			d->sock_range_low = f->range_low;
		if (f->range_high > d->sock_range_high)
			d->sock_range_high = f->range_high;
	}
	for (size_t i = 0; i < model->dests_cnt; i++)
		if (!model->dests[i].sock_range_low || !model->dests[i].sock_range_high)
			model->dests[i].sock_range_low = model->dests[i].sock_range_high = 0;
}

int ports_books_flows(struct ports_books *b, uint64_t jiffies)
{
	struct flows_pass pass = { b, jiffies };
	int err;

	flows_clear(b);
	err = map_each(b->flows_fd, sizeof(uint32_t), sizeof(struct ports_flow_book), on_flow, &pass);
	ranges_join(b->model);
	return err ? err : ports_recycle_run(&b->recycle, b);
}

static int on_pool(const void *key, const void *value, void *ctx)
{
	const struct ports_pool_counts *counts = value;
	const struct ports_pool_key *k = key;
	struct ports_books *b = ctx;
	struct ports_addr local;
	struct ports_pool *pool;
	int netns = ports_netns_get(b->model, k->netns), owner = ports_owners_owner(b->owners, k->owner);

	if (netns < 0)
		return netns;
	memcpy(local.bytes, k->local, sizeof(local.bytes));
	pool = ports_pool_get(&b->model->netns[netns], &local, k->udp);
	if (!pool)
		return -ENOMEM;
	pool->failed_now += counts->failed;
	if (counts->failed > pool->worst_owner_failed) {
		pool->worst_owner = owner < 0 ? UINT32_MAX : (uint32_t)owner;
		pool->worst_owner_failed = counts->failed;
	}
	return 0;
}

int ports_books_pools(struct ports_books *b)
{
	for (size_t i = 0; i < b->model->netns_cnt; i++)
		for (size_t j = 0; j < b->model->netns[i].pools_cnt; j++) {
			b->model->netns[i].pools[j].failed_now = 0;
			b->model->netns[i].pools[j].worst_owner_failed = 0;
		}
	return map_each(b->pools_fd, sizeof(struct ports_pool_key), sizeof(struct ports_pool_counts), on_pool, b);
}

int ports_books_each_stack(const struct ports_books *b, ports_books_fn fn, void *ctx)
{
	return map_each(b->stacks_fd, sizeof(struct ports_stack_key), sizeof(struct ports_stack), fn, ctx);
}
