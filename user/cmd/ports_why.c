/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "cmd/chain.h"
#include "cmd/ports_report.h"

#define GROUPS_SHOWN 6		/* without -v */
#define CALLERS_SHOWN 5
#define FDS_WARN_PERCENT 80

struct why {
	const struct ports_view *v;
	const struct ports_dest *d;
	struct report *r;
	int err;
};

static uint64_t open_cnt(const uint32_t states[PORTS_STATES])
{
	uint64_t sum = 0;

	for (int i = 0; i < PORTS_STATES; i++)
		sum += states[i];
	return sum;
}

/* Adds ", refused 5×" when there is any. */
static void add_count(struct text *t, const char *before, uint64_t cnt, const char *after)
{
	char buf[TEXT_BYTES_MAX];

	if (cnt)
		text_printf(t, ", %s%s%s", before, text_count(buf, (int64_t)cnt), after);
}

/* The group's name, which may not be there when memory is short. The caller frees it. */
static char *group_name(struct why *w, const struct ports_group *g)
{
	char *name = ports_group_name(w->v->ports, g);

	if (!name)
		w->err = -ENOMEM;
	return name;
}

/* "17,380 CLOSE_WAIT: worker[950] never closes, oldest 5 min"; false when it leaks nothing. */
static bool leak_text(struct why *w, struct text *t, const struct ports_group *g)
{
	const struct ports_flow *sum = &g->sum;
	char *name = group_name(w, g), cnt[TEXT_BYTES_MAX], span[PORTS_TEXT_MAX];
	bool leaks = g->role == PORTS_LEAKER && (sum->states[PORTS_CLOSE_WAIT] || sum->idle);

	if (leaks && name && sum->states[PORTS_CLOSE_WAIT] >= sum->idle)
		text_printf(t, "%s CLOSE_WAIT: %s %s, oldest %s", text_count(cnt, sum->states[PORTS_CLOSE_WAIT]), name,
			    sum->close_wait_closed ? "closes few" : "never closes",
			    ports_span_text(span, sum->oldest_close_wait_ns / 1e9));
	else if (leaks && name)
		text_printf(t, "%s idle for more than a minute: %s keeps them open, oldest %s",
			    text_count(cnt, sum->idle), name, ports_span_text(span, sum->oldest_idle_ns / 1e9));
	free(name);
	return leaks;
}

/* The destination and what takes its ports. */
static void what_line(struct why *w, const struct ports_shown *shown)
{
	const struct ports_dest *d = w->d;
	char dest[PORTS_DEST_MAX], open[TEXT_BYTES_MAX], tw[TEXT_BYTES_MAX], span[PORTS_TEXT_MAX];
	const char *separator = "";
	struct text t = { 0 };

	ports_dest_text(dest, d, shown->with_local);
	for (size_t i = 0; i < d->groups_cnt && !t.len; i++)
		if (leak_text(w, &t, &d->groups[i]))
			separator = "; ";
	/* a leak alone says it all */
	if (!t.len || d->tw) {
		text_printf(&t, "%s%s open, %s TIME_WAIT", separator, text_count(open, (int64_t)open_cnt(d->states)),
			    text_count(tw, d->tw));
		if (d->next_back_s >= 0)
			text_printf(&t, ", next back in %s", ports_span_text(span, d->next_back_s));
	}
	if (d->verdict & PORTS_SHORT_LIVED && d->median_life_ms >= 0)
		text_printf(&t, ", median life %s", ports_span_text(span, d->median_life_ms / 1e3));
	if (d->verdict & PORTS_SLOW_SEARCH)
		text_printf(&t, ", a port search takes %s", ports_span_text(span, d->sum.search_low_ns / 1e9));
	report_foot(w->r, REPORT_BOLD, "%s%s%s  %s", dest, shown->with_netns ? " in netns " : "",
		    shown->with_netns ? w->v->ports->netns[d->netns].name : "", text_str(&t));
	w->err = t.failed ? -ENOMEM : w->err;
	text_free(&t);
}

static void group_line(struct why *w, const struct ports_group *g)
{
	static const char *const roles[] = {
		[PORTS_USER] = "user   ", [PORTS_CULPRIT] = "CULPRIT", [PORTS_VICTIM] = "victim ",
		[PORTS_LEAKER] = "LEAKER ",
	};
	const struct ports_flow *sum = &g->sum;
	char tries[PORTS_TEXT_MAX], span[PORTS_TEXT_MAX], held[TEXT_BYTES_MAX], full[TEXT_BYTES_MAX];
	char *name = group_name(w, g);
	struct text t = { 0 };

	if (sum->tries_per_s > 0)
		text_printf(&t, "%s tries/s, ", ports_rate_text(tries, sum->tries_per_s));
	text_printf(&t, "holds %s", text_count(held, sum->held));
	if (sum->held_full > sum->held)
		text_printf(&t, " (%s when fullest)", text_count(full, sum->held_full));
	add_count(&t, "no port left ", sum->total.exhausted, "×");
	add_count(&t, "port taken ", sum->total.collisions, "×");
	add_count(&t, "refused ", sum->total.refused, "×");
	add_count(&t, "timed out ", sum->total.timed_out, "×");
	add_count(&t, "reset ", sum->total.reset, "×");
	add_count(&t, "failed otherwise ", sum->total.failed_other, "×");
	if (sum->search_max_ns > PORTS_SEARCH_SLOW_NS)
		text_printf(&t, ", longest search %s", ports_span_text(span, sum->search_max_ns / 1e9));
	report_foot(w->r, g->role == PORTS_CULPRIT || g->role == PORTS_LEAKER ? REPORT_BAD : REPORT_PLAIN, "  %s %s %s",
		    roles[g->role], name ? name : "", text_str(&t));
	w->err = t.failed ? -ENOMEM : w->err;
	text_free(&t);
	free(name);
}

static void stack_line(struct why *w, const struct ports_group *g)
{
	const struct profile *p = w->v->stacks;
	int stack = g->role == PORTS_LEAKER && g->sum.leak_stack >= 0 ? g->sum.leak_stack : g->sum.stack, at;
	struct text t = { 0 };
	struct stack st;

	if (stack < 0)
		return;
	st = profile_stack_at(p, (uint32_t)stack);
	at = w->v->raw ? 0 : chain_start(p, &st);
	if (st.label)
		text_add(&t, st.label);
	else if (st.frames_cnt)
		chain_add(&t, p, &st, at, w->v->raw ? st.frames_cnt : CALLERS_SHOWN);
	if (t.len)
		report_foot(w->r, REPORT_DIM, "          %s%s", t.str, st.cut ? " < [cut]" : "");
	w->err = t.failed ? -ENOMEM : w->err;
	text_free(&t);
}

/* Descriptors of the process that holds the most: of a leaker always, of others when they run short. */
static void fds_line(struct why *w, const struct ports_group *g)
{
	const struct ports *p = w->v->ports;
	const struct ports_owner *o = g->flows_cnt ? &p->owners[p->flows[g->flows[0]].owner] : NULL;
	char fds[TEXT_BYTES_MAX], limit[TEXT_BYTES_MAX];
	bool is_short;

	if (!o || o->exited || o->fds == PORTS_INF || o->fds_limit == PORTS_INF)
		return;
	is_short = 100ull * o->fds >= (uint64_t)FDS_WARN_PERCENT * o->fds_limit;
	if (is_short || g->role == PORTS_LEAKER || w->v->verbose)
		report_foot(w->r, is_short ? REPORT_WARN : REPORT_PLAIN, "          fds %s of %s%s",
			    text_count(fds, o->fds), text_count(limit, o->fds_limit),
			    is_short ? ": next it cannot open files" : "");
}

static void groups_lines(struct why *w)
{
	char cnt[TEXT_BYTES_MAX];
	uint64_t held = 0, left = 0;

	for (size_t i = 0; i < w->d->groups_cnt; i++) {
		const struct ports_group *g = &w->d->groups[i];

		if (i >= GROUPS_SHOWN && !w->v->verbose) {
			left++;
			held += g->sum.held;
			continue;
		}
		group_line(w, g);
		stack_line(w, g);
		fds_line(w, g);
	}
	if (left)
		report_foot(w->r, REPORT_DIM, "  %llu more hold %s (-v)", (unsigned long long)left,
			    text_count(cnt, (int64_t)held));
	if (w->d->unowned)
		report_foot(w->r, REPORT_DIM, "  %s open, owner not known", text_count(cnt, w->d->unowned));
}

static void advice_lines(struct why *w)
{
	struct ports_words advice = { 0 }, no_help = { 0 };
	struct text t = { 0 };
	int err = ports_advice(w->v->ports, w->d, &advice);

	if (!err)
		err = ports_no_help(w->v->ports, w->d, &no_help);
	for (size_t i = 0; i < advice.cnt; i++)
		report_foot(w->r, REPORT_PLAIN, "  %s", advice.text[i]);
	for (size_t i = 0; i < no_help.cnt; i++)
		text_printf(&t, "%s%s", i ? "; " : "", no_help.text[i]);
	if (t.len)
		report_foot(w->r, REPORT_DIM, "  no help: %s", t.str);
	w->err = err ? err : t.failed ? -ENOMEM : w->err;
	ports_words_free(&advice);
	ports_words_free(&no_help);
	text_free(&t);
}

int ports_why(const struct ports_view *v, const struct ports_shown *shown, const struct ports_dest *d, struct report *r)
{
	struct why w = { .v = v, .d = d, .r = r };

	what_line(&w, shown);
	groups_lines(&w);
	advice_lines(&w);
	return w.err;
}
