/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lists of the model, and the words for what is in them.
 *
 * A list has room for the next power of two of what is in it, so it needs no field for its size. One hash map has the
 * keys of all lists, told apart by their first byte.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "profile/ports.h"
#include "profile/ports_judge.h"

/* No padding in the keys: they are hashed as bytes. */
struct netns_key {
	uint8_t kind[8];
	uint64_t cookie;
};

struct dest_key {
	uint8_t kind[2];
	uint16_t port;
	uint32_t netns;
	struct ports_addr local, remote;
};

struct flow_key {
	uint8_t kind[4];
	uint32_t dest, owner;
};

_Static_assert(sizeof(struct netns_key) == 16 && sizeof(struct dest_key) == 40 && sizeof(struct flow_key) == 12,
	       "padding would be hashed");

enum { KIND_NETNS = 1, KIND_DEST, KIND_FLOW };

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

unsigned int ports_addr_interface(const struct ports_addr *addr)
{
	if (addr->bytes[0] != 0xfe || (addr->bytes[1] & 0xc0) != 0x80)
		return 0;
	return addr->bytes[2] << 8 | addr->bytes[3];
}

const char *ports_addr_text(char buf[PORTS_ADDR_MAX], const struct ports_addr *addr)
{
	bool is_v4 = !memcmp(addr->bytes, mapped, sizeof(mapped));
	unsigned int interface = ports_addr_interface(addr);
	struct ports_addr wire = *addr;

	if (interface)
		wire.bytes[2] = wire.bytes[3] = 0;
	if (!inet_ntop(is_v4 ? AF_INET : AF_INET6, wire.bytes + (is_v4 ? sizeof(mapped) : 0), buf, PORTS_ADDR_MAX))
		snprintf(buf, PORTS_ADDR_MAX, "?");
	if (interface)
		snprintf(buf + strlen(buf), PORTS_ADDR_MAX - strlen(buf), "%%%u", interface);
	return buf;
}

const char *ports_endpoint_text(char buf[PORTS_ADDR_MAX], const struct ports_addr *addr, uint16_t port)
{
	bool is_v4 = !memcmp(addr->bytes, mapped, sizeof(mapped));
	char text[PORTS_ADDR_MAX];

	ports_addr_text(text, addr);
	/* an IPv6 address is at most 45 characters long */
	snprintf(buf, PORTS_ADDR_MAX, is_v4 ? "%.46s:%u" : "[%.46s]:%u", text, port);
	return buf;
}

bool ports_addr_is_loopback(const struct ports_addr *addr)
{
	static const struct ports_addr v6 = { .bytes = { [15] = 1 } };

	return !memcmp(addr, &v6, sizeof(v6)) ||
	       (!memcmp(addr->bytes, mapped, sizeof(mapped)) && addr->bytes[sizeof(mapped)] == 127);
}

struct ports *ports_new(void)
{
	struct ports *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->index = hashmap_new();
	return p->index ? p : ports_free(p);
}

struct ports *ports_free(struct ports *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->netns_cnt; i++) {
		free(p->netns[i].name);
		free(p->netns[i].pools);
	}
	for (size_t i = 0; i < p->owners_cnt; i++) {
		free(p->owners[i].comm);
		free(p->owners[i].exe);
		free(p->owners[i].cgroup);
		free(p->owners[i].container);
	}
	for (size_t i = 0; i < p->dests_cnt; i++)
		free(p->dests[i].groups);
	free(p->netns);
	free(p->owners);
	free(p->dests);
	free(p->flows);
	free(p->order);
	ports_history_free(p->history);
	hashmap_free(p->index);
	free(p);
	return NULL;
}

/* The list with room for one more, zeroed, or NULL. */
static void *list_room(void *list, size_t cnt, size_t item_bytes)
{
	if (cnt >= INT_MAX)
		return NULL;
	if (!(cnt & (cnt - 1))) {
		list = reallocarray(list, cnt ? cnt * 2 : 1, item_bytes);
		if (!list)
			return NULL;
	}
	memset((char *)list + cnt * item_bytes, 0, item_bytes);
	return list;
}

int ports_netns_find(const struct ports *p, uint64_t cookie)
{
	struct netns_key key = { .kind = { KIND_NETNS }, .cookie = cookie };
	uint64_t i;

	return hashmap_get(p->index, &key, sizeof(key), &i) ? (int)i : -ENOENT;
}

int ports_netns_get(struct ports *p, uint64_t cookie)
{
	struct netns_key key = { .kind = { KIND_NETNS }, .cookie = cookie };
	struct ports_netns *list, *ns;
	uint64_t i;

	if (hashmap_get(p->index, &key, sizeof(key), &i))
		return (int)i;
	list = list_room(p->netns, p->netns_cnt, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->netns = list;
	ns = &list[p->netns_cnt];
	ns->cookie = cookie;
	ns->tw_reuse = -1;
	ns->tw_max = PORTS_INF;
	ns->name = strdup("");
	if (!ns->name)
		return -ENOMEM;
	if (hashmap_put(p->index, &key, sizeof(key), p->netns_cnt)) {
		free(ns->name);
		return -ENOMEM;
	}
	return (int)p->netns_cnt++;
}

static struct dest_key dest_key(uint32_t netns, const struct ports_addr *local, const struct ports_addr *remote,
				uint16_t port)
{
	return (struct dest_key){ { KIND_DEST }, port, netns, *local, *remote };
}

int ports_dest_find(const struct ports *p, uint32_t netns, const struct ports_addr *local,
		    const struct ports_addr *remote, uint16_t port)
{
	struct dest_key key = dest_key(netns, local, remote, port);
	uint64_t i;

	return hashmap_get(p->index, &key, sizeof(key), &i) ? (int)i : -ENOENT;
}

int ports_dest_get(struct ports *p, uint32_t netns, const struct ports_addr *local, const struct ports_addr *remote,
		   uint16_t port)
{
	struct dest_key key = dest_key(netns, local, remote, port);
	struct ports_dest *list, *d;
	uint64_t i;

	if (hashmap_get(p->index, &key, sizeof(key), &i))
		return (int)i;
	list = list_room(p->dests, p->dests_cnt, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->dests = list;
	d = &list[p->dests_cnt];
	d->netns = netns;
	d->local = *local;
	d->remote = *remote;
	d->port = port;
	d->usable = PORTS_INF;
	d->max_per_s = d->full_in_s = d->next_back_s = d->median_life_ms = -1;
	d->sum.stack = d->sum.leak_stack = -1;
	if (hashmap_put(p->index, &key, sizeof(key), p->dests_cnt))
		return -ENOMEM;
	return (int)p->dests_cnt++;
}

int ports_flow_get(struct ports *p, uint32_t dest, uint32_t owner)
{
	struct flow_key key = { .kind = { KIND_FLOW }, .dest = dest, .owner = owner };
	struct ports_flow *list;
	uint64_t i;

	if (hashmap_get(p->index, &key, sizeof(key), &i))
		return (int)i;
	list = list_room(p->flows, p->flows_cnt, sizeof(*list));
	if (!list)
		return -ENOMEM;
	p->flows = list;
	list[p->flows_cnt].dest = dest;
	list[p->flows_cnt].owner = owner;
	list[p->flows_cnt].stack = list[p->flows_cnt].leak_stack = -1;
	if (hashmap_put(p->index, &key, sizeof(key), p->flows_cnt))
		return -ENOMEM;
	return (int)p->flows_cnt++;
}

int ports_set_text(char **text, const char *value)
{
	char *copy;

	value = value ? value : "";
	if (*text && !strcmp(*text, value))
		return 0;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

int ports_owner_add(struct ports *p, int pid, uint64_t start_ns, const char *comm, const char *exe, const char *cgroup,
		    const char *container)
{
	struct ports_owner *list = list_room(p->owners, p->owners_cnt, sizeof(*list));
	struct ports_owner *o;

	if (!list)
		return -ENOMEM;
	p->owners = list;
	o = &list[p->owners_cnt];
	o->pid = pid;
	o->start_ns = start_ns;
	o->fds = o->fds_limit = PORTS_INF;
	if (ports_set_text(&o->comm, comm) || ports_set_text(&o->exe, exe) || ports_set_text(&o->cgroup, cgroup) ||
	    ports_set_text(&o->container, container)) {
		free(o->comm);
		free(o->exe);
		free(o->cgroup);
		return -ENOMEM;
	}
	return (int)p->owners_cnt++;
}

struct ports_pool *ports_pool_get(struct ports_netns *ns, const struct ports_addr *local, bool udp)
{
	struct ports_pool *list, *pool;

	/* a machine has few local addresses */
	for (size_t i = 0; i < ns->pools_cnt; i++)
		if (ns->pools[i].udp == udp && !memcmp(&ns->pools[i].local, local, sizeof(*local)))
			return &ns->pools[i];
	list = list_room(ns->pools, ns->pools_cnt, sizeof(*list));
	if (!list)
		return NULL;
	ns->pools = list;
	pool = &list[ns->pools_cnt++];
	pool->local = *local;
	pool->udp = udp;
	pool->usable = PORTS_INF;
	pool->worst_owner = UINT32_MAX;
	return pool;
}

void ports_clear_now(struct ports *p)
{
	for (size_t i = 0; i < p->dests_cnt; i++) {
		struct ports_dest *d = &p->dests[i];

		memset(d->states, 0, sizeof(d->states));
		memset(d->back, 0, sizeof(d->back));
		d->tw = d->outside = d->held_here = d->unowned = d->unowned_tw = 0;
	}
	for (size_t i = 0; i < p->flows_cnt; i++) {
		struct ports_flow *f = &p->flows[i];

		memset(f->states, 0, sizeof(f->states));
		f->tw = f->idle = 0;
		f->oldest_close_wait_ns = f->oldest_idle_ns = 0;
	}
	for (size_t i = 0; i < p->netns_cnt; i++)
		for (size_t j = 0; j < p->netns[i].pools_cnt; j++)
			p->netns[i].pools[j].used = 0;
}

/*
 * What people call a program: its comm, which scripts and servers set with care, but not a piece of a longer name
 * (the kernel keeps 15 bytes) nor the name of a thread.
 */
static const char *owner_name(const struct ports_owner *o)
{
	const char *slash = strrchr(o->exe, '/'), *base = slash ? slash + 1 : o->exe;
	size_t len = strlen(base), comm_len = strlen(o->comm);
	bool is_cut = comm_len == 15 && !strncmp(base, o->comm, 15);
	/* "node-MainThread" of node; ".NET ThreadPool" of anything */
	bool is_thread = (comm_len > len && o->comm[len] == '-' && !strncmp(base, o->comm, len)) ||
			 !strncmp(o->comm, ".NET ", 5);

	if (len && (!comm_len || is_cut || is_thread))
		return base;
	return comm_len ? o->comm : "?";
}

struct process {
	int pid;
	uint64_t start_ns;
};

static int process_compare(const void *pa, const void *pb)
{
	const struct process *a = pa, *b = pb;

	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

/* Distinct processes: one that has called exec() is two owners. 0 when memory is short. */
static size_t group_processes_cnt(const struct ports *p, const struct ports_group *g, bool *ret_exited)
{
	struct process *list = calloc(g->flows_cnt ? g->flows_cnt : 1, sizeof(*list));
	size_t cnt = 0;

	if (!list)
		return 0;
	*ret_exited = true;
	for (size_t i = 0; i < g->flows_cnt; i++) {
		const struct ports_owner *o = &p->owners[p->flows[g->flows[i]].owner];

		list[i] = (struct process){ o->pid, o->start_ns };
		*ret_exited &= o->exited;
	}
	qsort(list, g->flows_cnt, sizeof(*list), process_compare);
	for (size_t i = 0; i < g->flows_cnt; i++)
		cnt += !i || process_compare(&list[i - 1], &list[i]);
	free(list);
	return cnt;
}

char *ports_group_name(const struct ports *p, const struct ports_group *g)
{
	const struct ports_owner *o = &p->owners[g->sum.owner];
	const char *separator = " (";
	char count[TEXT_BYTES_MAX];
	struct text t = { 0 };
	bool exited;
	size_t cnt = group_processes_cnt(p, g, &exited);

	if (!cnt)
		return NULL;
	text_add(&t, owner_name(o));
	if (cnt == 1 && o->pid)
		text_printf(&t, "[%d]", o->pid);
	if (*o->container) {
		text_printf(&t, "%spod %s", separator, o->container);
		separator = ", ";
	}
	if (cnt > 1) {
		text_printf(&t, "%s%s procs", separator, text_count(count, (int64_t)cnt));
		separator = ", ";
	}
	if (exited) {
		text_printf(&t, "%sexited", separator);
		separator = ", ";
	}
	if (*separator == ',')
		text_add(&t, ")");
	if (t.failed)
		text_free(&t);
	return t.str;
}

const char *ports_alarm_name(enum ports_alarm alarm)
{
	static const char *const names[] = {
		[PORTS_FINE] = "fine", [PORTS_WAS_EXHAUSTED] = "was-exhausted", [PORTS_HIGH] = "high",
		[PORTS_LEAKING] = "leaking", [PORTS_FILLING] = "filling", [PORTS_EXHAUSTED] = "exhausted",
	};

	return names[alarm];
}

const char *ports_role_name(enum ports_role role)
{
	static const char *const names[] = {
		[PORTS_USER] = "user", [PORTS_CULPRIT] = "culprit", [PORTS_VICTIM] = "victim",
		[PORTS_LEAKER] = "leaker",
	};

	return names[role];
}

const char *ports_verdict_name(enum ports_verdict bit)
{
	switch (bit) {
	case PORTS_CLIENT_CLOSES: return "client-closes-first";
	case PORTS_SHORT_LIVED: return "short-lived";
	case PORTS_NEVER_CLOSED: return "never-closed";
	case PORTS_IDLE_HELD: return "idle-held";
	case PORTS_MANY_OPEN: return "many-open";
	case PORTS_BOUND: return "bound";
	case PORTS_RANGE_HELD: return "range-held";
	case PORTS_COLLIDES: return "collides";
	case PORTS_SLOW_SEARCH: return "slow-search";
	}
	return NULL;
}
