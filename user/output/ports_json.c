/* SPDX-License-Identifier: GPL-2.0-only */
/* The document of `ebb ports -f json`. The man page documents each key: what is changed here is changed there. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "output/json.h"
#include "profile/ports.h"
#include "profile/profile.h"

#define NS_PER_S 1000000000ll
#define BACK_SECONDS 10		/* of back_in_10s */

struct writing {
	struct json j;
	const struct ports *p;
	const struct profile *stacks;
	const struct ports_json_options *opt;
	int err;			/* -ENOMEM */
};

static void wall_write(struct json *j, const char *key, int64_t wall_s)
{
	time_t t = wall_s;
	char buf[64];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		json_string(j, key, buf);
	else
		json_null(j, key);
}

/* A time of the model; 0 = never. */
static void time_write(struct writing *w, const char *key, uint64_t at_ns)
{
	if (at_ns)
		wall_write(&w->j, key, ports_wall_s(w->p, at_ns));
	else
		json_null(&w->j, key);
}

/* A number that may be unknown. */
static void count_write(struct json *j, const char *key, uint32_t n)
{
	if (n == PORTS_INF)
		json_null(j, key);
	else
		json_u64(j, key, n);
}

/* A number that is negative when it does not apply. */
static void rate_write(struct json *j, const char *key, double n)
{
	if (n < 0)
		json_null(j, key);
	else
		json_double(j, key, n, 1);
}

static void addr_write(struct json *j, const char *key, const struct ports_addr *addr)
{
	char buf[PORTS_ADDR_MAX];

	json_string(j, key, ports_addr_text(buf, addr));
}

static void losses_write(struct writing *w)
{
	json_u64(&w->j, "lost", profile_lost(w->stacks));
	json_list(&w->j, "losses");
	for (size_t i = 0; i < profile_losses_cnt(w->stacks); i++) {
		struct loss l = profile_loss_at(w->stacks, i);

		if (!l.cnt)
			continue;
		json_object(&w->j, NULL);
		json_string(&w->j, "name", l.name);
		json_u64(&w->j, "count", l.cnt);
		json_object_end(&w->j);
	}
	json_list_end(&w->j);
	json_list(&w->j, "notes");
	for (size_t i = 0; i < profile_notes_cnt(w->stacks); i++) {
		struct note n = profile_note_at(w->stacks, i);

		if (!n.cnt)
			continue;
		json_object(&w->j, NULL);
		json_string(&w->j, "name", n.name);
		json_u64(&w->j, "count", n.cnt);
		json_object_end(&w->j);
	}
	json_list_end(&w->j);
}

static void pools_write(struct json *j, const char *key, const struct ports_netns *ns, bool udp)
{
	json_list(j, key);
	for (size_t i = 0; i < ns->pools_cnt; i++) {
		const struct ports_pool *pool = &ns->pools[i];

		if (pool->udp != udp)
			continue;
		json_object(j, NULL);
		addr_write(j, "local", &pool->local);
		json_u64(j, "used", pool->used);
		count_write(j, "usable", pool->usable);
		json_u64(j, "failed", pool->failed);
		json_u64(j, "failed_other", pool->failed_other);
		json_object_end(j);
	}
	json_list_end(j);
}

static void netns_settings_write(struct json *j, const struct ports_netns *ns)
{
	int64_t range = (int64_t)ns->range_high - ns->range_low + 1;

	json_list(j, "range");
	json_u64(j, NULL, ns->range_low);
	json_u64(j, NULL, ns->range_high);
	json_list_end(j);
	json_u64(j, "reserved", ns->reserved);
	json_u64(j, "held", ns->held);
	json_u64(j, "listening", ns->listening);
	if (ns->visited)
		json_i64(j, "usable", range - ns->reserved - ns->held);
	else
		json_null(j, "usable");
	json_i64(j, "tcp_tw_reuse", ns->tw_reuse);
	json_bool(j, "tcp_timestamps", ns->timestamps);
	count_write(j, "tcp_max_tw_buckets", ns->tw_max);
	json_u64(j, "time_wait", ns->tw_cnt);
}

static void netns_write(struct json *j, const struct ports_netns *ns)
{
	json_object(j, NULL);
	json_u64(j, "inode", ns->inode);
	json_u64(j, "cookie", ns->cookie);
	json_string(j, "name", ns->name);
	json_bool(j, "visited", ns->visited);
	json_bool(j, "gone", ns->gone);
	netns_settings_write(j, ns);
	if (ns->has_conntrack) {
		json_object(j, "conntrack");
		json_u64(j, "count", ns->conntrack_cnt);
		json_u64(j, "max", ns->conntrack_max);
		json_u64(j, "insert_failed", ns->conntrack_failed);
		json_object_end(j);
	} else {
		json_null(j, "conntrack");
	}
	pools_write(j, "bind_pools", ns, false);
	pools_write(j, "udp_pools", ns, true);
	json_bool(j, "pools_cut", ns->pools_cut);
	json_object_end(j);
}

static void counters_write(struct json *j, const struct ports_counters *c)
{
	json_u64(j, "attempts", c->attempts);
	json_u64(j, "established", c->established);
	json_u64(j, "refused", c->refused);
	json_u64(j, "timed_out", c->timed_out);
	json_u64(j, "reset", c->reset);
	json_u64(j, "exhausted", c->exhausted);
	json_u64(j, "collisions", c->collisions);
	json_u64(j, "failed_other", c->failed_other);
	json_u64(j, "aborted", c->aborted);
	json_u64(j, "closed_first", c->closed_first);
	json_u64(j, "closed_by_peer", c->closed_by_peer);
	json_u64(j, "closed_hard", c->closed_hard);
}

static uint64_t states_sum(const uint32_t states[PORTS_STATES])
{
	uint64_t sum = 0;

	for (int i = 0; i < PORTS_STATES; i++)
		sum += states[i];
	return sum;
}

static void processes_write(struct writing *w, const struct ports_group *g)
{
	json_list(&w->j, "processes");
	for (size_t i = 0; i < g->flows_cnt; i++) {
		const struct ports_owner *o = &w->p->owners[w->p->flows[g->flows[i]].owner];

		json_object(&w->j, NULL);
		json_i64(&w->j, "pid", o->pid);
		json_bool(&w->j, "exited", o->exited);
		count_write(&w->j, "fds", o->fds);
		count_write(&w->j, "fds_limit", o->fds_limit);
		json_object_end(&w->j);
	}
	json_list_end(&w->j);
}

static void stack_write(struct writing *w, int stack)
{
	struct stack st;

	if (stack < 0) {
		json_null(&w->j, "stack");
		return;
	}
	st = profile_stack_at(w->stacks, stack);
	json_list(&w->j, "stack");
	if (st.label)
		json_string(&w->j, NULL, st.label);
	for (uint32_t i = 0; i < st.frames_cnt; i++) {
		const struct frame *f = profile_frame_at(w->stacks, st.frames[i]);
		struct text name = { 0 };

		if (f->kind == FRAME_UNNAMED || !f->name || !*f->name)
			text_printf(&name, "0x%llx", (unsigned long long)f->addr);
		else
			text_printf(&name, "%s%s", f->name, f->guessed ? "?" : "");
		json_string(&w->j, NULL, text_str(&name));
		w->err = name.failed ? -ENOMEM : w->err;
		text_free(&name);
	}
	json_list_end(&w->j);
}

static void group_write(struct writing *w, const struct ports_group *g)
{
	const struct ports_flow *sum = &g->sum;
	const struct ports_owner *o = &w->p->owners[w->p->flows[g->flows[0]].owner];
	char *name = ports_group_name(w->p, g);

	if (!name)
		w->err = -ENOMEM;
	json_object(&w->j, NULL);
	json_string(&w->j, "role", ports_role_name(g->role));
	json_string(&w->j, "name", name);
	json_string(&w->j, "comm", o->comm);
	json_string(&w->j, "exe", o->exe);
	json_string(&w->j, "cgroup", o->cgroup);
	json_string(&w->j, "container", o->container);
	processes_write(w, g);
	counters_write(&w->j, &sum->total);
	json_u64(&w->j, "open", states_sum(sum->states));
	json_u64(&w->j, "time_wait", sum->tw);
	json_u64(&w->j, "close_wait", sum->states[PORTS_CLOSE_WAIT]);
	json_u64(&w->j, "idle", sum->idle);
	json_u64(&w->j, "close_wait_closed", sum->close_wait_closed);
	json_double(&w->j, "oldest_close_wait_s", sum->oldest_close_wait_ns / 1e9, 1);
	json_double(&w->j, "oldest_idle_s", sum->oldest_idle_ns / 1e9, 1);
	json_u64(&w->j, "held", sum->held);
	json_u64(&w->j, "held_when_fullest", sum->held_full);
	json_double(&w->j, "tries_per_s", sum->tries_per_s, 1);
	json_double(&w->j, "failed_per_s", sum->failed_per_s, 1);
	json_double(&w->j, "search_max_us", sum->search_max_ns / 1e3, 1);
	time_write(w, "first_failure", sum->first_failure_ns);
	time_write(w, "last_failure", sum->last_failure_ns);
	stack_write(w, sum->stack);
	json_object_end(&w->j);
	free(name);
}

static void verdicts_write(struct json *j, unsigned int verdict)
{
	json_list(j, "verdicts");
	for (unsigned int bit = 1; bit && bit <= verdict; bit <<= 1)
		if (verdict & bit)
			json_string(j, NULL, ports_verdict_name(bit));
	json_list_end(j);
}

static void words_write(struct writing *w, const char *key, const struct ports_dest *d,
			int (*words_of)(const struct ports *, const struct ports_dest *, struct ports_words *))
{
	struct ports_words words = { 0 };
	int err = words_of(w->p, d, &words);

	if (err)
		w->err = err;
	json_list(&w->j, key);
	for (size_t i = 0; i < words.cnt; i++)
		json_string(&w->j, NULL, words.text[i]);
	json_list_end(&w->j);
	ports_words_free(&words);
}

static void states_write(struct json *j, const uint32_t states[PORTS_STATES])
{
	static const char *const names[PORTS_STATES] = {
		[PORTS_SYN_SENT] = "syn_sent", [PORTS_ESTABLISHED] = "established", [PORTS_FIN_WAIT1] = "fin_wait1",
		[PORTS_FIN_WAIT2] = "fin_wait2", [PORTS_CLOSING] = "closing", [PORTS_CLOSE_WAIT] = "close_wait",
		[PORTS_LAST_ACK] = "last_ack",
	};

	json_object(j, "states");
	for (int i = 0; i < PORTS_STATES; i++)
		json_u64(j, names[i], states[i]);
	json_object_end(j);
}

static void dest_numbers_write(struct writing *w, const struct ports_dest *d)
{
	uint64_t back = 0;

	for (int i = 0; i <= BACK_SECONDS; i++)
		back += d->back[i];
	count_write(&w->j, "usable", d->usable);
	json_u64(&w->j, "used", d->used);
	json_u64(&w->j, "used_max", d->used_max);
	json_u64(&w->j, "open", states_sum(d->states));
	json_u64(&w->j, "time_wait", d->tw);
	states_write(&w->j, d->states);
	json_u64(&w->j, "unowned", d->unowned);
	json_u64(&w->j, "unowned_time_wait", d->unowned_tw);
	rate_write(&w->j, "next_back_s", d->next_back_s);
	json_u64(&w->j, "back_in_10s", back);
	json_double(&w->j, "new_per_s", d->new_per_s, 1);
	rate_write(&w->j, "max_per_s", d->max_per_s);
	json_double(&w->j, "failed_per_s", d->failed_per_s, 1);
	rate_write(&w->j, "full_in_s", d->full_in_s);
	rate_write(&w->j, "median_life_ms", d->median_life_ms);
	json_double(&w->j, "search_max_us", d->sum.search_max_ns / 1e3, 1);
	counters_write(&w->j, &d->sum.total);
}

static void dest_write(struct writing *w, const struct ports_dest *d)
{
	const struct ports_netns *ns = &w->p->netns[d->netns];

	json_object(&w->j, NULL);
	json_u64(&w->j, "namespace", ns->inode);
	json_string(&w->j, "namespace_name", ns->name);
	addr_write(&w->j, "local", &d->local);
	addr_write(&w->j, "remote", &d->remote);
	json_u64(&w->j, "port", d->port);
	json_string(&w->j, "alarm", ports_alarm_name(d->alarm));
	time_write(w, "since", d->since_ns);
	dest_numbers_write(w, d);
	verdicts_write(&w->j, d->verdict);
	words_write(w, "advice", d, ports_advice);
	words_write(w, "no_help", d, ports_no_help);
	json_list(&w->j, "owners");
	for (size_t i = 0; i < d->groups_cnt; i++)
		group_write(w, &d->groups[i]);
	json_list_end(&w->j);
	json_object_end(&w->j);
}

int ports_json_write(FILE *out, const struct ports *p, const struct profile *stacks,
		     const struct ports_json_options *opt)
{
	struct writing w = { .p = p, .stacks = stacks, .opt = opt };
	int err;

	json_begin(&w.j, out);
	json_object(&w.j, NULL);
	json_string(&w.j, "ebb", EBB_VERSION);
	json_string(&w.j, "command", opt->command);
	wall_write(&w.j, "since", ports_wall_s(p, p->start_ns));
	json_double(&w.j, "seconds", (double)(p->now_ns - p->start_ns) / NS_PER_S, 1);
	json_bool(&w.j, "exact_time_wait", p->exact_tw);
	losses_write(&w);
	json_list(&w.j, "namespaces");
	for (size_t i = 0; i < p->netns_cnt; i++)
		netns_write(&w.j, &p->netns[i]);
	json_list_end(&w.j);
	json_list(&w.j, "destinations");
	for (size_t i = 0; i < p->dests_cnt; i++) {
		const struct ports_dest *d = &p->dests[p->order[i]];

		if (d->selected || opt->all)
			dest_write(&w, d);
	}
	json_list_end(&w.j);
	json_object_end(&w.j);
	err = json_end(&w.j);
	return w.err ? w.err : err;
}
