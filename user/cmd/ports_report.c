/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cmd/notes.h"
#include "cmd/ports_report.h"

#define NS_PER_S		1000000000ll
#define POOL_SHOWN_PERCENT	50	/* fuller ones are shown */

const char *ports_dest_text(char buf[PORTS_DEST_MAX], const struct ports_dest *d, bool with_local)
{
	char local[PORTS_ADDR_MAX], remote[PORTS_ADDR_MAX];

	ports_endpoint_text(remote, &d->remote, d->port);
	if (with_local)
		snprintf(buf, PORTS_DEST_MAX, "%s → %s", ports_addr_text(local, &d->local), remote);
	else
		snprintf(buf, PORTS_DEST_MAX, "%s", remote);
	return buf;
}

const char *ports_rate_text(char buf[PORTS_TEXT_MAX], double per_s)
{
	if (per_s >= 9.95)
		return text_count(buf, llround(per_s));
	if (per_s > 0 && per_s < 0.05)
		snprintf(buf, PORTS_TEXT_MAX, "<0.1");
	else
		snprintf(buf, PORTS_TEXT_MAX, fabs(per_s - round(per_s)) < 0.05 ? "%.0f" : "%.1f", per_s);
	return buf;
}

/* Two figures are enough: nobody plans by the second what happens in an hour. */
const char *ports_span_text(char buf[PORTS_TEXT_MAX], double seconds)
{
	static const struct { double up_to, unit; const char *name; } units[] = {
		{ 0.9995e-3, 1e-6, "µs" }, { 0.9995, 1e-3, "ms" }, { 119.5, 1, "s" }, { 7170, 60, "min" },
		{ 172000, 3600, "h" }, { INFINITY, 86400, "days" },
	};
	size_t i = 0;

	while (seconds >= units[i].up_to)
		i++;
	snprintf(buf, PORTS_TEXT_MAX, "%.0f %s", fmin(seconds / units[i].unit, 1e9), units[i].name);
	return buf;
}

const char *ports_clock_text(char buf[PORTS_TEXT_MAX], const struct ports_view *v, uint64_t at_ns)
{
	time_t wall = ports_wall_s(v->ports, at_ns);
	struct tm tm;

	if (!localtime_r(&wall, &tm) || !strftime(buf, PORTS_TEXT_MAX, "%H:%M:%S", &tm))
		snprintf(buf, PORTS_TEXT_MAX, "?");
	return buf;
}

static bool is_listed(const struct ports_view *v, const struct ports_dest *d)
{
	return d->selected && (d->alarm != PORTS_FINE || v->verbose || d->used || d->sum.total.attempts);
}

/* The first rows of the order, and what they have in common. -ENOMEM. */
static int shown_choose(const struct ports_view *v, struct ports_shown *ret, uint32_t **ret_list)
{
	const struct ports *p = v->ports;
	uint32_t *list = calloc(p->dests_cnt + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*ret = (struct ports_shown){ .dests = list, .usable = PORTS_INF };
	for (size_t i = 0; i < p->dests_cnt && ret->cnt < v->top; i++)
		if (is_listed(v, &p->dests[p->order[i]]))
			list[ret->cnt++] = p->order[i];
	for (size_t i = 0; i < ret->cnt; i++) {
		const struct ports_dest *a = &p->dests[list[i]];

		if (a->usable != PORTS_INF) {
			ret->with_usable |= ret->usable != PORTS_INF && ret->usable != a->usable;
			ret->usable = a->usable;
		}
		for (size_t k = 0; k < i; k++) {
			const struct ports_dest *b = &p->dests[list[k]];

			ret->with_netns |= a->netns != b->netns;
			ret->with_local |= a->netns == b->netns && a->port == b->port &&
					   !memcmp(&a->remote, &b->remote, sizeof(a->remote));
		}
	}
	if (ret->with_usable)
		ret->usable = PORTS_INF;
	*ret_list = list;
	return 0;
}

/* What a destination would have in the only namespace there is; PORTS_INF: there are more, or it is not visible. */
static uint32_t only_usable(const struct ports *p)
{
	const struct ports_netns *ns = p->netns;
	uint32_t taken;

	if (p->netns_cnt != 1 || !ns->visited)
		return PORTS_INF;
	taken = ns->reserved + ns->held;
	return ns->range_high + 1u < ns->range_low + taken ? 0 : ns->range_high + 1u - ns->range_low - taken;
}

static void head_line(const struct ports_view *v, const struct ports_shown *shown, struct report *r)
{
	const struct ports *p = v->ports;
	uint32_t usable = shown->cnt ? shown->usable : only_usable(p);
	char alarms[TEXT_BYTES_MAX], fine[TEXT_BYTES_MAX], lost[TEXT_BYTES_MAX], cnt[TEXT_BYTES_MAX], capacity[64] = "";
	int type = profile_type_find(v->stacks, "connections");
	int64_t connections_cnt = type < 0 ? 0 : profile_total(v->stacks, type);
	uint64_t lost_cnt = profile_lost(v->stacks);

	if (usable != PORTS_INF)
		snprintf(capacity, sizeof(capacity), " · %s usable a destination", text_count(cnt, usable));
	report_head(r, lost_cnt ? REPORT_BAD : REPORT_BOLD, "ports  %s%s · %s alarm%s, %s fine · lost %s",
		    v->title, capacity, text_count(alarms, p->alarms_cnt), p->alarms_cnt == 1 ? "" : "s",
		    text_count(fine, p->fine_cnt), text_count(lost, (int64_t)lost_cnt));
	notes_report(v->stacks, connections_cnt < 0 ? 0 : connections_cnt, v->verbose, r);
}

/* What is wrong with namespaces as a whole. */
static int netns_lines(const struct ports_view *v, struct report *r)
{
	const struct ports *p = v->ports;
	struct ports_words words = { 0 };
	unsigned int hidden_cnt = 0;
	int err = 0;

	for (size_t i = 0; !err && i < p->netns_cnt; i++) {
		const struct ports_netns *ns = &p->netns[i];

		hidden_cnt += !ns->visited && !ns->gone;
		if (!ns->visited)
			continue;
		err = ports_warnings(ns, &words);
		for (size_t k = 0; k < words.cnt; k++)
			report_head(r, REPORT_WARN, "netns %s: %s", ns->name, words.text[k]);
		ports_words_free(&words);
		words = (struct ports_words){ 0 };
	}
	if (hidden_cnt)
		report_head(r, REPORT_WARN, "%u namespace%s could not be entered: how many ports there are is not visible",
			    hidden_cnt, hidden_cnt == 1 ? "" : "s");
	return err;
}

static void state_cell(const struct ports_view *v, struct report *r, const struct ports_dest *d)
{
	const struct ports_netns *ns = &v->ports->netns[d->netns];
	char since[PORTS_TEXT_MAX], until[PORTS_TEXT_MAX], span[PORTS_TEXT_MAX];

	switch (d->alarm) {
	case PORTS_EXHAUSTED:
		report_cell(r, d->since_ns ? "EXHAUSTED %s" : "EXHAUSTED", ports_clock_text(since, v, d->since_ns));
		break;
	case PORTS_FILLING:
		report_cell(r, "full in %s", ports_span_text(span, fmax(0, d->full_in_s)));
		break;
	case PORTS_WAS_EXHAUSTED:
		report_cell(r, "was exhausted %s-%s", ports_clock_text(since, v, d->since_ns),
			    ports_clock_text(until, v, d->until_ns));
		break;
	case PORTS_LEAKING:
		report_cell(r, "leaking");
		break;
	case PORTS_HIGH:
		if (d->usable != PORTS_INF && d->used >= d->usable / 2)
			report_cell(r, "%.0f %% used", fmin(100, 100.0 * d->used / fmax(1, d->usable)));
		else
			report_cell(r, "slow search %s", ports_span_text(span, d->sum.search_low_ns / 1e9));
		break;
	case PORTS_FINE:
		report_cell(r, ns->visited ? "fine" : ns->gone ? "namespace gone" : "not visible");
		break;
	}
}

static void dest_row(const struct ports_view *v, const struct ports_shown *shown, const struct ports_dest *d,
		     struct report *r)
{
	static const enum report_style styles[] = {
		[PORTS_FINE] = REPORT_PLAIN, [PORTS_WAS_EXHAUSTED] = REPORT_WARN, [PORTS_HIGH] = REPORT_WARN,
		[PORTS_LEAKING] = REPORT_WARN, [PORTS_FILLING] = REPORT_WARN, [PORTS_EXHAUSTED] = REPORT_BAD,
	};
	char dest[PORTS_DEST_MAX], used[TEXT_BYTES_MAX], usable[TEXT_BYTES_MAX], rate[PORTS_TEXT_MAX];
	char percent[16] = "–";

	report_row(r, styles[d->alarm]);
	report_cell(r, "%s", ports_dest_text(dest, d, shown->with_local));
	if (shown->with_netns)
		report_cell(r, "%s", v->ports->netns[d->netns].name);
	state_cell(v, r, d);
	/* 100 % is said of what is full, not of what is nearly so */
	if (d->usable != PORTS_INF && d->usable)
		snprintf(percent, sizeof(percent), "%.0f%%",
			 d->used < d->usable ? fmin(99, round(100.0 * d->used / d->usable)) : 100);
	report_cell(r, "%s %*s%s", text_count(used, d->used), 4 - (int)text_width(percent), "", percent);
	if (shown->with_usable)
		report_cell(r, "%s", d->usable == PORTS_INF ? "–" : text_count(usable, d->usable));
	report_cell(r, "%s", ports_rate_text(rate, d->new_per_s));
	report_cell(r, "%s", d->max_per_s < 0 ? "–" : ports_rate_text(rate, d->max_per_s));
	report_cell(r, "%s", ports_rate_text(rate, d->failed_per_s));
}

/* What the table does not show, in its last row. */
static void more_row(const struct ports_view *v, const struct ports_shown *shown, struct report *r)
{
	const struct ports *p = v->ports;
	char more[TEXT_BYTES_MAX], fine[TEXT_BYTES_MAX];
	size_t alarms = p->alarms_cnt, cnt = 0;

	for (size_t i = 0; i < p->dests_cnt; i++)
		cnt += is_listed(v, &p->dests[i]);
	for (size_t i = 0; i < shown->cnt; i++)
		alarms -= alarms && p->dests[shown->dests[i]].alarm != PORTS_FINE;
	if (cnt <= shown->cnt)
		return;
	cnt -= shown->cnt;
	if (alarms > cnt)
		alarms = cnt;
	report_row(r, REPORT_DIM);
	report_cell(r, "%s more%s", text_count(more, (int64_t)cnt), alarms ? "" : ", fine");
	if (shown->with_netns)
		report_cell(r, "%s", "");
	if (alarms)
		report_cell(r, "%zu alarm%s, %s fine (--top)", alarms, alarms == 1 ? "" : "s",
			    text_count(fine, (int64_t)(cnt - alarms)));
}

static void table_fill(const struct ports_view *v, const struct ports_shown *shown, struct report *r)
{
	struct report_column list[8];
	size_t cnt = 0;

	list[cnt++] = (struct report_column){ .title = shown->with_local ? "LOCAL → REMOTE" : "DESTINATION" };
	if (shown->with_netns)
		list[cnt++] = (struct report_column){ .title = "NETNS" };
	list[cnt++] = (struct report_column){ .title = "STATE" };
	list[cnt++] = (struct report_column){ .title = "USED", .right = true };
	if (shown->with_usable)
		list[cnt++] = (struct report_column){ .title = "USABLE", .right = true };
	list[cnt++] = (struct report_column){ .title = "NEW/s", .right = true };
	list[cnt++] = (struct report_column){ .title = "MAX/s", .right = true };
	list[cnt++] = (struct report_column){ .title = "FAILED/s", .right = true };
	report_columns(r, list, cnt);
	for (size_t i = 0; i < shown->cnt; i++)
		dest_row(v, shown, &v->ports->dests[shown->dests[i]], r);
	more_row(v, shown, r);
}

static bool pool_is_short(const struct ports_pool *pool)
{
	return pool->failed || pool->failed_other ||
	       (pool->usable != PORTS_INF && 100ull * pool->used > (uint64_t)POOL_SHOWN_PERCENT * pool->usable);
}

static int pool_line(const struct ports_view *v, const struct ports_netns *ns, const struct ports_pool *pool,
		     struct report *r)
{
	const struct ports *p = v->ports;
	char addr[PORTS_ADDR_MAX], used[TEXT_BYTES_MAX], usable[TEXT_BYTES_MAX], failed[TEXT_BYTES_MAX];
	struct text t = { 0 };
	int err;

	text_printf(&t, "%s pool of %s", pool->udp ? "UDP" : "bind(0)", ports_addr_text(addr, &pool->local));
	if (p->netns_cnt > 1)
		text_printf(&t, " in netns %s", ns->name);
	text_printf(&t, ": %s of %s ports used", text_count(used, pool->used),
		    pool->usable == PORTS_INF ? "?" : text_count(usable, pool->usable));
	if (pool->failed)
		text_printf(&t, ", %s failed (%s)", text_count(failed, (int64_t)pool->failed),
			    pool->udp ? "EADDRINUSE, EAGAIN" : "EADDRINUSE");
	if (pool->failed_other)
		text_printf(&t, ", %s failed otherwise", text_count(failed, (int64_t)pool->failed_other));
	if (pool->worst_owner_failed && pool->worst_owner < p->owners_cnt) {
		const struct ports_owner *o = &p->owners[pool->worst_owner];

		text_printf(&t, ", most by %s", o->comm);
		if (o->pid)
			text_printf(&t, "[%d]", o->pid);
	}
	report_foot(r, pool->failed ? REPORT_BAD : pool_is_short(pool) ? REPORT_WARN : REPORT_PLAIN, "%s",
		    text_str(&t));
	err = t.failed ? -ENOMEM : 0;
	text_free(&t);
	return err;
}

static int pool_lines(const struct ports_view *v, struct report *r)
{
	const struct ports *p = v->ports;
	int err = 0;

	for (size_t i = 0; i < p->netns_cnt; i++)
		for (size_t k = 0; !err && k < p->netns[i].pools_cnt; k++)
			if (v->verbose || pool_is_short(&p->netns[i].pools[k]))
				err = pool_line(v, &p->netns[i], &p->netns[i].pools[k], r);
	for (size_t i = 0; i < p->netns_cnt; i++)
		if (p->netns[i].pools_cut)
			report_foot(r, REPORT_DIM, "netns %s has so many local addresses that not all of their bind(0) pools are "
				    "counted", p->netns[i].name);
	return err;
}

/* The paragraphs, and what concerns more than one destination. */
static int foot_lines(const struct ports_view *v, const struct ports_shown *shown, struct report *r)
{
	const struct ports *p = v->ports;
	uint64_t unowned = 0;
	char buf[TEXT_BYTES_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < shown->cnt; i++) {
		const struct ports_dest *d = &p->dests[shown->dests[i]];

		if (d->alarm != PORTS_FINE || v->verbose)
			err = ports_why(v, shown, d, r);
	}
	if (!err)
		err = pool_lines(v, r);
	for (size_t i = 0; i < p->dests_cnt; i++)
		unowned += p->dests[i].selected ? p->dests[i].unowned_tw : 0;
	if (unowned)
		report_foot(r, REPORT_DIM, "TIME_WAIT older than this look: %s, owners unknown",
			    text_count(buf, (int64_t)unowned));
	for (size_t i = 0; i < profile_losses_cnt(v->stacks); i++) {
		struct loss l = profile_loss_at(v->stacks, i);

		if (l.cnt)
			report_foot(r, REPORT_BAD, "lost: %s %s: totals may be wrong", text_count(buf, (int64_t)l.cnt),
				    l.name);
	}
	report_foot(r, REPORT_DIM, "NAT beyond this host: not visible");
	return err;
}

/* A process that leaks at this destination and still runs; 0 = none. */
static int leaker_pid(const struct ports *p, const struct ports_dest *d)
{
	for (size_t i = 0; i < d->groups_cnt; i++)
		for (size_t k = 0; d->groups[i].role == PORTS_LEAKER && k < d->groups[i].flows_cnt; k++) {
			const struct ports_owner *o = &p->owners[p->flows[d->groups[i].flows[k]].owner];

			if (o->pid && !o->exited)
				return o->pid;
		}
	return 0;
}

static bool binds_run_short(const struct ports *p)
{
	for (size_t i = 0; i < p->netns_cnt; i++)
		for (size_t k = 0; k < p->netns[i].pools_cnt; k++)
			if (pool_is_short(&p->netns[i].pools[k]))
				return true;
	return false;
}

/* The command for the question that is left open. All that goes into it is numbers: people will paste it. */
static void next_line(const struct ports_view *v, const struct ports_shown *shown, struct report *r)
{
	const struct ports *p = v->ports;
	const struct ports_dest *d = shown->cnt ? &p->dests[shown->dests[0]] : NULL;
	int pid = d ? leaker_pid(p, d) : 0;
	char dest[PORTS_ADDR_MAX] = "";
	const char *quote;

	if (d)
		ports_endpoint_text(dest, &d->remote, d->port);
	/* a shell takes [ for the beginning of a pattern */
	quote = *dest == '[' ? "'" : "";
	if (d && d->alarm == PORTS_LEAKING && pid)
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d -d 1m   (what memory it holds with them)", pid);
	else if (d && d->alarm != PORTS_FINE)
		report_foot(r, REPORT_BOLD, "next: sudo ebb ports --dest %s%s%s -d 30s -f folded -o connects.folded   "
			    "(which code connects)", quote, dest, quote);
	else if (binds_run_short(p) && !(p->watches_bind && p->watches_udp))
		report_foot(r, REPORT_BOLD, "next: sudo ebb ports --bind --udp -d 1m   (who gets no port)");
	else if (!shown->cnt && !binds_run_short(p))
		report_foot(r, REPORT_BOLD, "next: sudo ebb ports -d 5m   (longer: nothing connected in this look)");
	else if (!binds_run_short(p))
		report_foot(r, REPORT_BOLD, "next: nothing runs out here");
}

int ports_report(const struct ports_view *v, struct report **ret)
{
	struct report *r = report_new();
	struct ports_shown shown;
	uint32_t *list = NULL;
	int err;

	if (!r)
		return -ENOMEM;
	err = shown_choose(v, &shown, &list);
	if (err)
		goto out;
	head_line(v, &shown, r);
	err = netns_lines(v, r);
	if (err)
		goto out;
	if (shown.cnt) {
		table_fill(v, &shown, r);
		report_foot(r, REPORT_PLAIN, "%s", "");
	}
	err = foot_lines(v, &shown, r);
	if (v->last)
		next_line(v, &shown, r);
	if (!err && report_failed(r))
		err = -ENOMEM;
	if (!err)
		*ret = r;
out:
	if (err)
		report_free(r);
	free(list);
	return err;
}
