/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "cmd/command.h"
#include "cmd/leak_group.h"
#include "cmd/leak_member.h"
#include "cmd/leak_pairs.h"
#include "cmd/leak_plan.h"
#include "cmd/leak_units.h"

#define SCAN_PAUSES	10	/* as long as it took */
#define ENDED_MAX	64	/* that are kept for the report; of those before only what --merge sums up */

struct leak_group {
	struct leak_shared shared;
	struct value_type values[LEAK_VALUES + 1];
	struct leak_choice *choice;
	struct sink *sink;
	struct loop loop;
	struct leak_member **members;	/* in the order of their beginning */
	size_t cnt, size;
	struct leak_units units;
	size_t unwatched_cnt, unfit_cnt;
	uint64_t forks_gone;		/* of members that are no more */
	uint64_t forks_seen;		/* when it was last looked for children */
	uint64_t scan_ns;		/* not before then are processes looked for again */
	size_t forgotten_cnt;		/* ended members that are not kept */
	uint64_t start_ns, now_ns;
	pid_t execed;			/* the one process is another program now: to be opened again; 0 = none */
	uint64_t unseen_cnt;		/* children that had ended before they were found */
	bool interrupted;		/* a signal came while processes were attached to */
	bool stopped, lost;		/* exit codes of members */
	int failed;			/* the exit code of the run, when it could not go on */
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static const struct leak_args *args_of(const struct leak_group *g)
{
	return g->shared.args;
}

static bool is_several(const struct leak_group *g)
{
	return g->shared.several;
}

static struct leak_member *member_new(struct leak_group *g)
{
	struct leak_member *m;

	if (g->cnt == g->size) {
		size_t size = g->size ? g->size * 2 : 16;
		struct leak_member **more = realloc(g->members, size * sizeof(struct leak_member *));

		if (!more)
			return NULL;
		g->members = more;
		g->size = size;
	}
	m = calloc(1, sizeof(*m));
	if (m)
		g->members[g->cnt++] = m;
	return m;
}

static void member_drop(struct leak_group *g, size_t i)
{
	leak_member_close(g->members[i]);
	free(g->members[i]);
	memmove(&g->members[i], &g->members[i + 1], (--g->cnt - i) * sizeof(g->members[0]));
}

static void code_take(struct leak_group *g, int code)
{
	g->stopped |= code == EXIT_STOPPED;
	g->lost |= code == EXIT_LOST;
	if (code == EXIT_FAILED || code == EXIT_USAGE)
		g->failed = code;
}

/* Whether there is room for one more; the first one gets what it needs. */
static bool has_room(struct leak_group *g, const struct target *t)
{
	const struct books_room *room = &g->shared.room;

	if (!is_several(g) || args_of(g)->dry_run || !room->used_bytes || room->used_bytes + LEAK_IDLE_BYTES <= room->max_bytes)
		return true;
	if (!g->unfit_cnt)
		log_warn("process %d is not watched, and maybe others: their books do not fit into --max-memory", (int)t->pid);
	g->unfit_cnt++;
	g->unwatched_cnt++;
	return false;
}

/* One of several that could not be attached to; the reason was printed. */
static void member_unwatched(struct leak_group *g, pid_t pid)
{
	log_warn("process %d is not watched", (int)pid);
	g->unwatched_cnt++;
	g->lost = true;
}

/* Of several a scan finds it again; the one process is waited for. */
static void member_execed(struct leak_group *g, pid_t pid)
{
	if (is_several(g))
		leak_choice_again(g->choice, pid);
	else
		g->execed = pid;
}

/* Whether to go on attaching: to hundreds it takes a minute, and Ctrl-C is for that, too. */
static bool is_interrupted(struct leak_group *g)
{
	if (!is_several(g) || args_of(g)->dry_run || !loop_signalled(&g->loop))
		return false;
	if (!g->interrupted)
		log_warn("interrupted while attaching: the other processes are not watched");
	g->interrupted = g->lost = true;
	g->unwatched_cnt++;
	return true;
}

/* Takes t over and watches it. An exit code ends the run. */
static int group_add(struct target *t, void *ctx)
{
	struct leak_group *g = ctx;
	bool wanted = !is_interrupted(g) && has_room(g, t);
	struct leak_member *m = wanted ? member_new(g) : NULL;
	pid_t pid = t->pid;
	int code;

	if (!m) {
		target_free(t);
		return EXIT_DONE;
	}
	code = leak_member_open(m, &g->shared, t);
	if (code == LEAK_PLAN_EXECED) {
		member_drop(g, g->cnt - 1);
		member_execed(g, pid);
		return EXIT_DONE;
	}
	if (args_of(g)->dry_run || (code && is_several(g))) {
		member_drop(g, g->cnt - 1);
		if (code && is_several(g))
			member_unwatched(g, pid);
		return is_several(g) ? EXIT_DONE : code;
	}
	if (!code)
		code = leak_units_join(&g->units, m);
	return code;
}

/* What is left of one when it cannot be watched any more. */
static void member_end(struct leak_group *g, struct leak_member *m)
{
	leak_member_stop(m, m->session.end);
	/* a second Ctrl-C in the last report ends ebb at once: no probe is left */
	if (!is_several(g))
		session_hold_signals(false);
	g->forks_gone += leak_forks(m->session.source);
	code_take(g, leak_member_finish(m));
	if (m->session.end == SESSION_EXECED)
		member_execed(g, m->pid);
	else
		leak_choice_forget(g->choice, m->pid);
	leak_member_release(m);
}

/* Only so many are kept that have ended. */
static int ended_limit(struct leak_group *g)
{
	size_t ended = 0, oldest = g->cnt;
	int err;

	for (size_t i = g->cnt; i-- > 0;) {
		if (!g->members[i]->finished)
			continue;
		ended++;
		oldest = i;
	}
	if (ended <= ENDED_MAX)
		return 0;
	err = leak_units_keep(&g->units, g->members[oldest]);
	member_drop(g, oldest);
	g->forgotten_cnt++;
	return err;
}

/* The new program of one that called exec. */
static void exec_follow(struct leak_group *g)
{
	pid_t pid = g->execed;
	struct target *t = NULL;

	if (!pid)
		return;
	g->execed = 0;
	session_hold_signals(true);
	if (!leak_choice_reopen(g->choice, pid, &t))	/* else it is gone: what the last life held is the result */
		code_take(g, group_add(t, g));
}

static uint64_t forks_of(const struct leak_group *g)
{
	uint64_t sum = g->forks_gone;

	for (size_t i = 0; i < g->cnt; i++)
		if (g->members[i]->session.source)
			sum += leak_forks(g->members[i]->session.source);
	return sum;
}

/* New processes: every second, soon after a fork, and when one was not ready; less often where there are very many. */
static void newcomers(struct leak_group *g, bool tick)
{
	uint64_t forks = forks_of(g);

	bool grows = g->choice->grows && (tick || forks != g->forks_seen);

	if ((!grows && !g->choice->pending_cnt) || clock_ns() < g->scan_ns)
		return;
	g->forks_seen = forks;
	code_take(g, leak_choice_scan(g->choice, group_add, g));
	/* of those that were forked before it, what was neither found now nor earlier has ended */
	if (g->choice->grows && forks > g->choice->born_cnt)
		g->unseen_cnt = forks - g->choice->born_cnt;
	g->scan_ns = clock_ns() + SCAN_PAUSES * g->choice->scan_ns;
}

static size_t living_cnt(const struct leak_group *g)
{
	size_t cnt = 0;

	for (size_t i = 0; i < g->cnt; i++)
		cnt += !g->members[i]->finished;
	return cnt;
}

/* A group may be without processes for a while; what is named by number ends with the last of them. */
static bool goes_on(struct leak_group *g)
{
	if (living_cnt(g) || g->choice->pending_cnt || !g->choice->has_group)
		return living_cnt(g) || g->choice->pending_cnt;
	if (leak_choice_is_there(g->choice))
		return true;
	log_warn("%s is gone", g->choice->what);
	return false;
}

static bool on_settle(struct loop *l, bool tick, void *ctx)
{
	struct leak_group *g = ctx;

	for (size_t i = 0; i < g->cnt; i++)
		if (!g->members[i]->finished && g->members[i]->session.end != SESSION_RUNNING)
			member_end(g, g->members[i]);
	if (ended_limit(g))
		g->failed = EXIT_FAILED;
	exec_follow(g);
	newcomers(g, tick);
	if (g->failed)
		l->end = SESSION_OUTPUT;
	return goes_on(g);
}

static int show_several(struct leak_group *g, bool last)
{
	struct leak_units_facts facts = {
		.what = g->choice->what, .members_cnt = g->cnt + g->forgotten_cnt, .ended_cnt = g->forgotten_cnt,
		.unwatched_cnt = g->unwatched_cnt, .unfit_cnt = g->unfit_cnt,
		.unseen_cnt = g->unseen_cnt, .max_memory_bytes = g->shared.room.max_bytes,
		.now_ns = g->now_ns, .start_ns = g->start_ns,
	};

	for (size_t i = 0; i < g->cnt; i++)
		facts.ended_cnt += g->members[i]->session.end == SESSION_EXITED || g->members[i]->session.end == SESSION_EXECED;
	return leak_units_show(&g->units, g->members, g->cnt, &facts, g->sink, last);
}

/* A table of one, after its snapshot. A life that ended by exec has its last report, too. */
static int show_one(struct leak_group *g, struct leak_member *m, bool last)
{
	struct text who = { 0 };
	struct leak_view view;
	struct report *r;
	int err;

	leak_member_name(m, &who);
	leak_member_view(m, text_str(&who), &view);
	view.last = last;
	err = leak_report(&view, &r);
	if (err) {
		log_error(err, "composing the report: out of memory");
	} else {
		err = sink_table(g->sink, r, last);
		report_free(r);
	}
	text_free(&who);
	return err;
}

static int write_profile(struct leak_group *g, const struct profile *p)
{
	const struct writer_options opt = { .type = args_of(g)->value };

	return sink_profile(g->sink, writer_find(leak_formats[args_of(g)->format]), p, &opt);
}

static int write_several(struct leak_group *g)
{
	struct merge *merged = leak_units_merged(&g->units, g->members, g->cnt);
	int err;

	if (!merged && g->cnt)
		return log_error(-ENOMEM, "merging what was found: out of memory");
	if (!merged)
		return 0;
	err = write_profile(g, merge_profile(merged));
	merge_close(merged);
	return err;
}

/* The file formats and a table in a file are written once; a later life takes the place of an earlier one. */
static int on_member_after(struct leak_member *m, bool last, void *ctx)
{
	struct leak_group *g = ctx;

	if (is_several(g))
		return 0;
	if (!leak_wants_table(args_of(g)))
		return last ? write_profile(g, m->profile) : 0;
	return last || !args_of(g)->output ? show_one(g, m, last) : 0;
}

static int on_shown(struct loop *l, void *ctx)
{
	struct leak_group *g = ctx;
	int err;

	(void)l;
	if (!is_several(g))
		return 0;
	g->now_ns = clock_ns();
	err = leak_units_update(&g->units, g->members, g->cnt, g->now_ns);
	if (!err && leak_wants_table(args_of(g)) && !args_of(g)->output)
		err = show_several(g, false);
	return err;
}

/* All probes come off before the first last snapshot. */
static void group_stop(struct leak_group *g, enum session_end end)
{
	g->now_ns = clock_ns();
	for (size_t i = 0; i < g->cnt; i++)
		if (!g->members[i]->finished)
			leak_member_stop(g->members[i], end);
}

static int group_finish(struct leak_group *g)
{
	int err = 0;

	for (size_t i = 0; i < g->cnt; i++)
		if (!g->members[i]->finished)
			code_take(g, leak_member_finish(g->members[i]));
	if (is_several(g)) {
		err = leak_units_update(&g->units, g->members, g->cnt, g->now_ns);
		if (!err)
			err = leak_wants_table(args_of(g)) ? show_several(g, true) : write_several(g);
		if (g->unseen_cnt && (!leak_wants_table(args_of(g)) || args_of(g)->output))
			log_warn("at least %llu processes were born and had ended before they were watched",
				 (unsigned long long)g->unseen_cnt);
		if (g->unfit_cnt)
			log_error(-ENOSPC, "%zu processes were not watched: their books do not fit into --max-memory; about %zu MiB "
				  "would hold all", g->unfit_cnt,
				  (size_t)((g->shared.room.used_bytes + g->unfit_cnt * LEAK_IDLE_BYTES) >> 20) + 1);
	}
	if (err || g->failed)
		return g->failed ? g->failed : EXIT_FAILED;
	return g->stopped ? EXIT_STOPPED : g->lost || g->unfit_cnt ? EXIT_LOST : EXIT_DONE;
}

/* Nothing to watch at the start: of several that were found none could be attached to, or there are none. */
static int nothing_exit(const struct leak_group *g)
{
	if (g->interrupted)
		return EXIT_LOST;
	if (g->unwatched_cnt) {
		log_error(-EOPNOTSUPP, "none of the %zu processes could be attached to", g->unwatched_cnt);
		return EXIT_STOPPED;
	}
	log_error(-ESRCH, "there is no process in %s", g->choice->what ? g->choice->what : "what was named");
	return EXIT_FAILED;
}

static int group_watch(struct leak_group *g)
{
	const struct leak_args *args = args_of(g);
	const struct loop_config config = {
		/* classes are read from snapshots, and a peak is one of them */
		.interval_ns = leak_wants_table(args) || args->value == LEAK_PEAK_BYTES ? args->interval_ns : 0,
		.duration_ns = args->duration_ns != LEAK_NO_DURATION ? args->duration_ns : 0,
		.targets = true, .shown = on_shown, .settle = on_settle, .ctx = g,
	};
	int code = leak_choice_scan(g->choice, group_add, g), err = 0;

	exec_follow(g);
	if (code || args->dry_run || g->failed)
		return code ? code : g->failed;
	if (!g->cnt && !g->choice->pending_cnt)
		return nothing_exit(g);
	if (is_several(g))
		log_info("watching %zu process%s%s%s", g->cnt, g->cnt == 1 ? "" : "es", g->choice->what ? " of " : "", g->choice->what ? g->choice->what : "");
	g->start_ns = clock_ns();
	err = loop_run(&g->loop, &config);
	group_stop(g, g->loop.end);
	/* a second Ctrl-C in the last report ends ebb at once: no probe is left */
	session_hold_signals(false);
	return err ? EXIT_FAILED : group_finish(g);
}

int leak_group_run(struct leak_choice *choice, struct worker *w, struct sink *sink)
{
	const struct leak_args *args = choice->args;
	struct leak_group g = {
		.shared = { .args = args, .worker = w, .several = choice->several, .room = { .max_bytes = args->budget.bytes } },
		.choice = choice, .sink = sink, .units = { .args = args },
	};
	int code = EXIT_FAILED, err = loop_open(&g.loop);

	g.shared.loop = &g.loop;
	g.shared.values = g.values;
	g.shared.after = on_member_after;
	g.shared.ctx = &g;
	memcpy(g.values, leak_source.values, sizeof(g.values));
	g.values[LEAK_HELD_BYTES].unit = g.values[LEAK_ALLOC_BYTES].unit = leak_pairs_unit(&args->pairs);
	g.values[LEAK_PEAK_BYTES].unit = g.values[LEAK_HELD_BYTES].unit;
	if (err)
		log_error(err, "preparing the session: %s", strerror(-err));
	else
		code = group_watch(&g);
	for (size_t i = 0; i < g.cnt; i++) {
		leak_member_stop(g.members[i], SESSION_SIGNAL);
		leak_member_close(g.members[i]);
		free(g.members[i]);
	}
	free(g.members);
	leak_units_close(&g.units);
	loop_close(&g.loop);
	return code;
}
