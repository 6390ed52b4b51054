/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/checks.h"
#include "cmd/command.h"
#include "cmd/leak_plan.h"
#include "cmd/parser.h"
#include "output/output.h"

/* Says what stands in the way, if anything does. An exit code. */
static int stopped_by(const struct checks *c, const char *before)
{
	const struct check *problem = checks_problem(c);

	if (c->failed) {
		log_error(-ENOMEM, "out of memory");
		return EXIT_FAILED;
	}
	if (!problem)
		return EXIT_DONE;
	log_error(-EOPNOTSUPP, "%s%s", before, problem->found);
	return EXIT_STOPPED;
}

/* Tries how this kernel attaches. EBB_ATTACH=session|multi|perf forces one way, for tests. */
static int plan_selftest(struct selftest *ret)
{
	const char *forced = getenv("EBB_ATTACH");
	struct checks c = { .list = NULL };
	enum attach_mode mode;
	int code;

	if (forced && attach_mode_parse(forced, &mode)) {
		log_error(-EINVAL, "EBB_ATTACH is '%s'; it can be session, multi or perf", forced);
		return EXIT_USAGE;
	}
	checks_attach(&c, forced, ret);
	code = stopped_by(&c, "");
	if (!code)
		log_debug("attaching %s", checks_find(&c, "attaching")->found);
	checks_free(&c);
	return code;
}

/* Refuses where a return probe could do harm. */
static int check_hazards(const struct hazards *h, enum attach_mode mode)
{
	struct checks c = { .list = NULL };
	int code;

	checks_hazards(&c, h, mode);
	code = stopped_by(&c, "not attached: ");
	checks_free(&c);
	return code;
}

static struct survey_options options_of(const struct pairs *pairs)
{
	return (struct survey_options){ .time_ms = PARSER_TIME_MS, .data_bytes = PARSER_DATA_BYTES, .pairs = pairs };
}

int leak_survey(const struct target *t, const struct pairs *pairs, struct survey *ret)
{
	const struct survey_options options = options_of(pairs);

	return survey_make(t, &options, ret);
}

int leak_survey_failed(const struct target *t, const struct survey *s, int err)
{
	if (!target_is_alive(t)) {
		log_error(err, "process %d ended", (int)t->pid);
		return EXIT_FAILED;
	}
	if (s->died) {
		log_error(err, "not attached: one of the files of process %d cannot be read safely: the parser, which has no "
			  "privileges, %s", (int)t->pid, s->died);
		return EXIT_STOPPED;
	}
	log_error(err, "looking for allocators in process %d: %s", (int)t->pid, strerror(-err));
	return EXIT_FAILED;
}

/* What was found, as far as it is worth a word. The exit code. */
static int judge(const struct target *t, const struct survey *s, enum attach_mode mode)
{
	int code = check_hazards(&s->hazards, mode);

	if (code)
		return code;
	if (s->plan->refusal) {
		log_error(-EOPNOTSUPP, "nothing to attach to in process %d: %s", (int)t->pid, s->plan->refusal);
		return EXIT_STOPPED;
	}
	for (size_t i = 0; i < s->plan->notes_cnt; i++) {
		if (i < s->plan->warnings_cnt)
			log_warn("%s", s->plan->notes[i]);
		else
			log_debug("%s", s->plan->notes[i]);
	}
	for (size_t i = 0; i < s->allocators->cnt; i++)
		if (s->allocators->list[i].used && s->allocators->list[i].warning)
			log_warn("%s", s->allocators->list[i].warning);
	return EXIT_DONE;
}

int leak_plan(const struct target *t, const struct pairs *pairs, struct loop *l, struct selftest *selftest, bool *tested,
	      struct allocators **ret_allocators, struct plan **ret_plan)
{
	struct survey s = { .allocators = NULL };
	const struct survey_options options = options_of(pairs);
	struct survey_run *run = NULL;
	int code, err;

	err = survey_begin(t, &options, &run);	/* while we try what works here */
	code = *tested ? EXIT_DONE : plan_selftest(selftest);
	if (code) {
		survey_abandon(run);
		return code;
	}
	*tested = true;
	if (!err)
		survey_set_pump(run, loop_pump_fd(l), loop_pump, l);
	if (!err)
		err = survey_finish(run, &s);
	if ((err || s.plan->refusal) && target_is_alive(t) && !target_is_same_image(t))
		code = LEAK_PLAN_EXECED;
	else
		code = err ? leak_survey_failed(t, &s, err) : judge(t, &s, selftest->mode);
	*ret_allocators = s.allocators;
	*ret_plan = s.plan;
	s.allocators = NULL;
	s.plan = NULL;
	survey_free(&s);
	return code;
}

int leak_plan_again(struct session *s, const struct pairs *pairs, struct plan **ret)
{
	static const enum hazard_kind kinds[] = { HAZARD_GO, HAZARD_SANITIZER, HAZARD_PROFILER };
	struct target *t = s->config->target;
	const struct survey_options options = options_of(pairs);
	struct survey more = { .allocators = NULL };
	struct survey_run *run;
	int err = survey_begin(t, &options, &run);

	if (err)
		return err;
	survey_set_pump(run, loop_pump_fd(s->loop), loop_pump, s->loop);
	err = survey_finish(run, &more);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !err; i++)
		if (more.hazards.found[kinds[i]])
			err = log_error(-EOPNOTSUPP, "what process %d has loaded is not probed: return probes could kill it (%s)",
					(int)t->pid, more.hazards.detail[kinds[i]]);
	if (!err && !pairs)
		survey_mark_plain(t, more.allocators);
	if (!err && more.plan->refusal)
		err = -ENOENT;
	if (!err) {
		*ret = more.plan;
		more.plan = NULL;
	}
	survey_free(&more);
	return err;
}

static double site_price(const struct plan_site *s, const struct trap_price *price)
{
	return (s->insn.emulated ? price->trap_ns : price->stepped_ns) + (s->role == PLAN_CALL ? price->return_ns : 0);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *probe_words(const struct plan_site *s, enum attach_mode mode)
{
	switch (s->role) {
	case PLAN_ENTRY:
	case PLAN_BEGIN:
		return "entry";
	case PLAN_RET:
		return "ret";
	default:
		return mode == ATTACH_SESSION ? "session: entry and return" : "entry, return";
	}
}

static void plan_row(struct report *r, const struct plan_site *s, const struct selftest *st)
{
	report_row(r, REPORT_PLAIN);
	report_cell(r, "%s", base_name(s->module->path));
	report_cell(r, "%s", s->function);
	if (s->role == PLAN_RET)
		report_cell(r, "0x%llx", (unsigned long long)s->entry_va);
	else
		report_cell(r, "+%u", s->insn.delta_bytes);
	report_cell(r, "%s", s->insn.text);
	report_cell(r, "%s", probe_words(s, st->mode));
	report_cell(r, "%.0f ns", site_price(s, &st->price));
	report_cell(r, "%s%s", s->insn.reason, s->insn.emulated ? "" : " (single-stepped)");
}

int leak_plan_print(const struct plan *p, const struct allocators *a, const struct selftest *st, const struct budget *b)
{
	static const struct report_column columns[] = {
		{ .title = "LIBRARY" }, { .title = "FUNCTION" }, { .title = "OFFSET", .right = true },
		{ .title = "INSTRUCTION" }, { .title = "PROBE" }, { .title = "PRICE", .right = true },
		{ .title = "WHY THERE", .elastic = true },
	};
	const struct table_options opt = { 0 };
	struct report *r = report_new();
	char bytes[TEXT_BYTES_MAX];
	int err;

	if (!r)
		return EXIT_FAILED;
	report_head(r, REPORT_BOLD, "%zu probe sites, attached by %s; nothing was attached", p->sites_cnt,
		    attach_mode_name(st->mode));
	report_head(r, REPORT_PLAIN, "on this machine a trap costs %.0f ns, a single-stepped one %.0f ns, a return %.0f ns",
		    st->price.trap_ns, st->price.stepped_ns, st->price.return_ns);
	report_head(r, REPORT_PLAIN, "kernel memory: about 9 MiB when idle, then 40 to 100 bytes a live block, up to %s (%s)",
		    text_bytes(bytes, b->bytes, false), b->why);
	for (size_t i = 0; i < a->cnt; i++)
		report_head(r, REPORT_PLAIN, "%s in %s: %s: %s", a->list[i].family, a->list[i].module->path,
			    a->list[i].used ? "probed" : "not probed", a->list[i].evidence ? a->list[i].evidence : "");
	report_columns(r, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < p->sites_cnt; i++)
		plan_row(r, &p->sites[i], st);
	for (size_t i = 0; i < p->notes_cnt; i++)
		report_foot(r, REPORT_PLAIN, "note: %s", p->notes[i]);
	err = report_failed(r) ? -ENOMEM : table_write(stdout, r, &opt);
	report_free(r);
	if (err)
		log_error(err, "writing to stdout: %s", strerror(-err));
	return err ? EXIT_FAILED : EXIT_DONE;
}
