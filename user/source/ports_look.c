/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A port of the range is taken in one of three ways, and a dump tells them apart by the bind bucket:
 *
 *	held		bind() or listen() made the bucket: no plain connect gets this port, to anywhere
 *	connected	connect() made it: taken towards this destination only
 *	TIME_WAIT	the same after the end; in a held bucket it holds the port still
 *
 * A connection with a held port is a client's that had called bind(), or one that a listener accepted. It is
 * a client's if ebb saw it connect, or if others connect to the same destination.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "source/ports_look.h"

#define BUFFER_BYTES	(64u << 10)
#define TCP_ESTABLISHED	1	/* include/net/tcp_states.h */
#define TCP_SYN_SENT	2
#define TCP_FIN_WAIT1	4
#define TCP_FIN_WAIT2	5
#define TCP_TIME_WAIT	6
#define TCP_CLOSE_WAIT	8
#define TCP_LAST_ACK	9
#define TCP_LISTEN	10
#define TCP_CLOSING	11

#define LOCALS_MAX	1024	/* local addresses of a namespace whose pools are counted */

/* Ports in use on one local address. */
struct local_ports {
	struct ports_addr addr;
	bool udp;
	uint8_t bits[NETNS_PORT_BITS_BYTES];
};

/* What is gathered while in one namespace. */
struct visit {
	struct ports_look *l;
	const struct netns_info *info;
	uint32_t netns;			/* in the model */
	uint8_t held[NETNS_PORT_BITS_BYTES], listening[NETNS_PORT_BITS_BYTES];
	struct local_ports **locals;
	size_t locals_cnt, local_last;
	struct ports_record last;	/* and its destination: most have the same as their neighbour */
	int last_dest;
	size_t last_bytes;
	int err;
};

int ports_look_open(struct ports_look *l)
{
	l->buffer = malloc(BUFFER_BYTES);
	return l->buffer ? 0 : -ENOMEM;
}

void ports_look_close(struct ports_look *l)
{
	free(l->buffer);
	free(l->holders);
	free(l->conntrack_base);
	free(l->votes);
	l->buffer = NULL;
	l->holders = NULL;
	l->conntrack_base = NULL;
	l->votes = NULL;
}

static void bit_set(uint8_t *bits, uint16_t port) { bits[port >> 3] |= 1 << (port & 7); }
static bool bit_get(const uint8_t *bits, uint16_t port) { return bits[port >> 3] >> (port & 7) & 1; }

/* Runs an iterator and hands its bytes out in pieces; consume says how many of them it took. */
static int iterate(struct ports_look *l, int link_fd, size_t (*consume)(const char *data, size_t len, void *ctx), void *ctx)
{
	size_t left = 0;
	int fd = bpf_iter_create(link_fd), err = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t got = read(fd, l->buffer + left, BUFFER_BYTES - left);
		size_t used;

		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			err = got ? -errno : 0;
			break;
		}
		left += got;
		used = consume(l->buffer, left, ctx);
		memmove(l->buffer, l->buffer + used, left - used);
		left -= used;
	}
	close(fd);
	return err;
}

static size_t on_holders(const char *data, size_t len, void *ctx)
{
	struct ports_look *l = ctx;
	size_t cnt = len / sizeof(struct ports_holder);

	while (l->holders_cnt + cnt > l->holders_size) {
		size_t size = l->holders_size ? l->holders_size * 2 : 256;
		struct ports_holder *list = realloc(l->holders, size * sizeof(*list));

		if (!list) {
			l->err = -ENOMEM;
			return len;
		}
		l->holders = list;
		l->holders_size = size;
	}
	memcpy(l->holders + l->holders_cnt, data, cnt * sizeof(*l->holders));
	l->holders_cnt += cnt;
	return cnt * sizeof(*l->holders);
}

int ports_look_files(struct ports_look *l)
{
	int err;

	l->holders_cnt = 0;
	l->err = 0;
	err = iterate(l, l->files_fd, on_holders, l);
	return err ? err : l->err;
}

static bool is_any(const struct ports_addr *a)
{
	static const struct ports_addr any6, any4 = { { [10] = 0xff, [11] = 0xff } };

	return !memcmp(a, &any6, sizeof(any6)) || !memcmp(a, &any4, sizeof(any4));
}

static struct local_ports *local_get(struct visit *v, const struct ports_addr *addr, bool udp)
{
	struct local_ports **list, *local;

	/* most are the same as the last one */
	for (size_t i = 0, at = v->local_last; i < v->locals_cnt; i++, at++) {
		local = v->locals[at % v->locals_cnt];
		if (local->udp == udp && !memcmp(&local->addr, addr, sizeof(*addr))) {
			v->local_last = at % v->locals_cnt;
			return local;
		}
	}
	if (v->locals_cnt >= LOCALS_MAX && !is_any(addr)) {
		v->l->model->netns[v->netns].pools_cut = true;
		return NULL;
	}
	list = realloc(v->locals, (v->locals_cnt + 1) * sizeof(*list));
	local = list ? calloc(1, sizeof(*local)) : NULL;
	if (list)
		v->locals = list;
	if (!local) {
		v->err = -ENOMEM;
		return NULL;
	}
	local->addr = *addr;
	local->udp = udp;
	return v->locals[v->locals_cnt++] = local;
}

static bool in_range(const struct visit *v, uint16_t port)
{
	return port >= v->info->range_low && port <= v->info->range_high;
}

static void record_addrs(const struct ports_record *r, struct ports_addr *local, struct ports_addr *remote)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (!r->v4) {
		memcpy(local->bytes, r->addrs, 16);
		memcpy(remote->bytes, r->addrs + 16, 16);
		return;
	}
	memcpy(local->bytes, mapped, 12);
	memcpy(remote->bytes, mapped, 12);
	memcpy(local->bytes + 12, r->addrs, 4);
	memcpy(remote->bytes + 12, r->addrs + 4, 4);
}

/* The destination that a connection counts for, -1 = none: it is a server's. */
static int record_dest(struct visit *v, const struct ports_record *r, size_t bytes)
{
	struct ports_addr local, remote;
	int flow = r->flow != PORTS_NONE ? ports_books_flow(v->l->books, r->flow) : -1, dest;

	if (flow >= 0)
		return v->l->model->flows[flow].dest;
	if (bytes == v->last_bytes && r->remote_port == v->last.remote_port && r->held == v->last.held &&
	    !memcmp(r->addrs, v->last.addrs, r->v4 ? 8 : 32))
		return v->last_dest;
	record_addrs(r, &local, &remote);
	if (r->held)
		dest = ports_dest_find(v->l->model, v->netns, &local, &remote, r->remote_port);
	else
		dest = ports_dest_get(v->l->model, v->netns, &local, &remote, r->remote_port);
	if (dest < 0 && dest != -ENOENT)
		v->err = dest;
	v->last = *r;
	v->last_bytes = bytes;
	v->last_dest = dest;
	return dest;
}

static const int8_t state_of[] = {
	[TCP_ESTABLISHED] = PORTS_ESTABLISHED, [TCP_SYN_SENT] = PORTS_SYN_SENT, [3] = PORTS_SYN_SENT,
	[TCP_FIN_WAIT1] = PORTS_FIN_WAIT1, [TCP_FIN_WAIT2] = PORTS_FIN_WAIT2, [TCP_TIME_WAIT] = -1, [7] = -1,
	[TCP_CLOSE_WAIT] = PORTS_CLOSE_WAIT, [TCP_LAST_ACK] = PORTS_LAST_ACK, [TCP_LISTEN] = -1,
	[TCP_CLOSING] = PORTS_CLOSING, [0] = -1,
};

static void on_time_wait(struct visit *v, const struct ports_record *r, struct ports_dest *dest)
{
	const struct ports_shared *state = v->l->state;
	/* the timer fires at the next slot of its wheel: see struct ports_flow_book */
	uint64_t end = (((state->clock.jiffies + r->jiffies) >> state->wheel_shift) + 1) << state->wheel_shift;
	uint64_t left = (int32_t)r->jiffies > 0 ? end - state->clock.jiffies : 0;
	uint64_t seconds = (left + v->l->hz - 1) / v->l->hz;

	dest->tw++;
	if (!in_range(v, r->local_port))
		return;
	dest->back[seconds < PORTS_BACK_SECONDS ? seconds : PORTS_BACK_SECONDS - 1]++;
}

/* The stack that most of a flow's forgotten sockets come from, by majority vote (Boyer and Moore). */
static void vote_leak(struct visit *v, int flow, const struct ports_record *r)
{
	struct ports_flow *f = &v->l->model->flows[flow];
	int stack = r->stack == STACK_NONE ? -1 : stacks_of(v->l->stacks, r->stack, f->owner);

	if ((size_t)flow >= v->l->votes_cnt || stack < 0)
		return;
	if (!v->l->votes[flow])
		f->leak_stack = stack;
	if (f->leak_stack == stack)
		v->l->votes[flow]++;
	else
		v->l->votes[flow]--;
}

static void on_open(struct visit *v, const struct ports_record *r, struct ports_dest *dest, enum ports_state state)
{
	uint64_t age_ns = r->jiffies * (1000000000ull / v->l->hz);
	int flow = r->flow != PORTS_NONE ? ports_books_flow(v->l->books, r->flow) : -1;
	struct ports_flow *f = flow >= 0 ? &v->l->model->flows[flow] : NULL;

	dest->states[state]++;
	if (!f) {
		dest->unowned++;
		return;
	}
	f->states[state]++;
	if (state == PORTS_CLOSE_WAIT) {
		if (age_ns > f->oldest_close_wait_ns)
			f->oldest_close_wait_ns = age_ns;
		vote_leak(v, flow, r);
	} else if (state == PORTS_ESTABLISHED && age_ns >= PORTS_IDLE_NS) {
		f->idle++;
		if (age_ns > f->oldest_idle_ns)
			f->oldest_idle_ns = age_ns;
		vote_leak(v, flow, r);
	}
}

static void on_record(struct visit *v, const struct ports_record *r, size_t bytes)
{
	struct ports_addr local, remote;
	struct local_ports *ports;
	struct ports_dest *dest;
	int at;

	if (in_range(v, r->local_port)) {
		record_addrs(r, &local, &remote);
		ports = local_get(v, &local, false);
		if (ports)
			bit_set(ports->bits, r->local_port);
		if (r->held)
			bit_set(v->held, r->local_port);
	}
	if (r->state == TCP_LISTEN) {
		bit_set(v->listening, r->local_port);
		return;
	}
	at = record_dest(v, r, bytes);
	if (at < 0 || r->state >= sizeof(state_of))
		return;
	dest = &v->l->model->dests[at];
	dest->held_here += r->held && in_range(v, r->local_port);
	dest->outside += !in_range(v, r->local_port) && (r->state == TCP_TIME_WAIT || state_of[r->state] >= 0);
	if (r->state == TCP_TIME_WAIT)
		on_time_wait(v, r, dest);
	else if (state_of[r->state] >= 0)
		on_open(v, r, dest, state_of[r->state]);
}

static size_t on_records(const char *data, size_t len, void *ctx)
{
	struct visit *v = ctx;
	struct ports_record r;
	size_t at = 0;

	while (len - at >= PORTS_RECORD_V4_BYTES) {
		size_t bytes;

		memcpy(&r, data + at, PORTS_RECORD_V4_BYTES);
		bytes = r.v4 ? PORTS_RECORD_V4_BYTES : sizeof(r);
		if (len - at < bytes)
			break;
		memcpy(&r, data + at, bytes);
		on_record(v, &r, bytes);
		at += bytes;
	}
	return at;
}

static void add_holders(struct visit *v)
{
	for (size_t i = 0; i < v->l->holders_cnt; i++) {
		const struct ports_holder *h = &v->l->holders[i];
		struct local_ports *ports;
		struct ports_addr local;

		if (h->netns != v->info->cookie || !in_range(v, h->port))
			continue;
		memcpy(local.bytes, h->local, sizeof(local.bytes));
		ports = local_get(v, &local, h->udp);
		if (ports)
			bit_set(ports->bits, h->port);
		if (!h->udp)
			bit_set(v->held, h->port);
	}
}

/* Pools of local addresses: a port on the wildcard address is taken on each. */
static int fill_pools(struct visit *v, uint32_t usable)
{
	static const uint8_t none[NETNS_PORT_BITS_BYTES];
	const uint8_t *any[2][2] = { { none, none }, { none, none } };	/* by protocol: of the two wildcards */

	for (size_t i = 0, cnt[2] = { 0 }; i < v->locals_cnt; i++)
		if (is_any(&v->locals[i]->addr) && cnt[v->locals[i]->udp] < 2)
			any[v->locals[i]->udp][cnt[v->locals[i]->udp]++] = v->locals[i]->bits;
	for (size_t i = 0; i < v->locals_cnt; i++) {
		const struct local_ports *local = v->locals[i];
		struct ports_pool *pool = ports_pool_get(&v->l->model->netns[v->netns], &local->addr, local->udp);

		if (!pool)
			return -ENOMEM;
		pool->usable = usable;
		pool->used = 0;
		for (uint32_t byte = v->info->range_low >> 3; byte <= v->info->range_high >> 3u; byte++) {
			uint8_t bits = local->bits[byte] | any[local->udp][0][byte] | any[local->udp][1][byte];

			pool->used += __builtin_popcount(bits & ~v->info->reserved[byte]);
		}
	}
	return 0;
}

static int fill_conntrack(struct ports_look *l, uint32_t netns, const struct netns_info *info)
{
	struct ports_netns *ns = &l->model->netns[netns];

	if (netns >= l->conntrack_cnt) {
		uint64_t *list = realloc(l->conntrack_base, (netns + 16) * sizeof(*list));

		if (!list)
			return -ENOMEM;
		for (size_t i = l->conntrack_cnt; i < netns + 16; i++)
			list[i] = UINT64_MAX;
		l->conntrack_base = list;
		l->conntrack_cnt = netns + 16;
	}
	ns->has_conntrack = info->has_conntrack;
	ns->conntrack_cnt = info->conntrack_cnt;
	ns->conntrack_max = info->conntrack_max;
	if (info->has_conntrack && l->conntrack_base[netns] == UINT64_MAX)
		l->conntrack_base[netns] = info->conntrack_insert_failed;
	ns->conntrack_failed = info->has_conntrack ? info->conntrack_insert_failed - l->conntrack_base[netns] : 0;
	return 0;
}

static int fill_settings(struct ports_look *l, uint32_t netns, const struct netns_info *info)
{
	struct ports_netns *ns = &l->model->netns[netns];

	ns->visited = true;
	ns->pools_cut = false;
	ns->gone = false;
	ns->inode = info->inode;
	ns->range_low = info->range_low;
	ns->range_high = info->range_high;
	ns->tw_reuse = info->tw_reuse;
	ns->timestamps = info->timestamps;
	ns->tw_max = info->tw_max;
	ns->tw_cnt = info->tw_cnt;
	ns->reserved = 0;
	for (uint32_t port = info->range_low; info->range_low && port <= info->range_high; port++)
		ns->reserved += bit_get(info->reserved, port);
	return ports_set_text(&ns->name, info->name) ?: fill_conntrack(l, netns, info);
}

static int visit_dump(struct visit *v)
{
	struct ports_netns *ns;
	int err;

	v->l->state->dump_low = v->info->range_low;
	v->l->state->dump_high = v->info->range_high;
	err = iterate(v->l, v->l->dump_fd, on_records, v);
	if (!err)
		err = v->err;
	if (err)
		return err;
	add_holders(v);
	ns = &v->l->model->netns[v->netns];
	ns->held = ns->listening = 0;
	for (uint32_t port = v->info->range_low; v->info->range_low && port <= v->info->range_high; port++) {
		bool reserved = bit_get(v->info->reserved, port);

		ns->held += bit_get(v->held, port) && !reserved;
		ns->listening += bit_get(v->listening, port) && !reserved;
	}
	return v->err ?: fill_pools(v, v->info->range_high - v->info->range_low + 1 - ns->reserved);
}

static int on_namespace(const struct netns_info *info, void *ctx)
{
	struct visit *v = calloc(1, sizeof(*v));
	struct ports_look *l = ctx;
	int err;

	if (l->only && l->only != info->cookie) {
		free(v);
		return 0;	/* another one has its number or its path by now */
	}
	if (!v)
		return -ENOMEM;
	l->seen = true;
	v->l = l;
	v->info = info;
	err = ports_netns_get(l->model, info->cookie);
	if (err >= 0) {
		v->netns = err;
		err = fill_settings(l, v->netns, info);
	}
	if (!err)
		err = visit_dump(v);
	for (size_t i = 0; i < v->locals_cnt; i++)
		free(v->locals[i]);
	free(v->locals);
	free(v);
	return err;
}

/*
 * Owners' TIME_WAIT are by the books, a destination's by the kernel's tables. What the tables have more is older than ebb
 * or belongs to nobody known; what they have less was ended early (tcp_tw_reuse, tcp_max_tw_buckets), nobody
 * knows whose: shared among the owners.
 */
static int balance(struct ports *model)
{
	uint64_t *owned = calloc(model->dests_cnt + 1, 2 * sizeof(*owned)), *upto = owned + model->dests_cnt + 1;

	if (!owned)
		return -ENOMEM;
	for (size_t i = 0; i < model->flows_cnt; i++)
		owned[model->flows[i].dest] += model->flows[i].tw;
	for (size_t i = 0; i < model->dests_cnt; i++)
		model->dests[i].unowned_tw = model->dests[i].tw > owned[i] ? model->dests[i].tw - owned[i] : 0;
	for (size_t i = 0; i < model->flows_cnt; i++) {
		struct ports_flow *f = &model->flows[i];
		struct ports_dest *d = &model->dests[f->dest];
		uint64_t before;

		if (owned[f->dest] <= d->tw || !model->netns[d->netns].visited || model->netns[d->netns].gone)
			continue;
		before = upto[f->dest] * d->tw / owned[f->dest];
		upto[f->dest] += f->tw;
		f->tw = upto[f->dest] * d->tw / owned[f->dest] - before;
	}
	free(owned);
	return 0;
}

int ports_look_namespaces(struct ports_look *l, const struct netns_list *list)
{
	uint32_t *votes = realloc(l->votes, (l->model->flows_cnt + 1) * sizeof(*votes));
	int err;

	if (!votes)
		return -ENOMEM;
	memset(votes, 0, (l->model->flows_cnt + 1) * sizeof(*votes));
	l->votes = votes;
	l->votes_cnt = l->model->flows_cnt;
	l->seen = false;
	for (size_t i = 0; i < l->model->netns_cnt; i++)
		l->model->netns[i].gone = true;
	err = netns_list_visit(list, on_namespace, l, NULL);
	return err ?: balance(l->model);
}
