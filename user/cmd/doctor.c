/* SPDX-License-Identifier: GPL-2.0-only */
/* ebb doctor: what this kernel, these privileges and a target allow, and what to do about the rest. Attaches to itself only. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/worker.h"
#include "cmd/checks.h"
#include "cmd/command.h"
#include "cmd/leak_plan.h"
#include "cmd/options.h"
#include "cmd/parser.h"
#include "cmd/pick.h"
#include "cmd/sink.h"
#include "output/json.h"
#include "output/output.h"
#include "profile/report.h"

struct doctor_args {
	int format;
	bool no_color;
	bool verbose;
};

static const char *const formats[] = { "table", "json", NULL };

#define A struct doctor_args
static const struct option_spec specs[] = {
	OPTION_CHOICE('f', "format", A, format, "a table for people, or json for programs", formats),
	OPTION_FLAG('v', "verbose", A, verbose, "say more"),
	OPTION_FLAG(0, "no-color", A, no_color, "no colours on a terminal"),
	OPTION_END,
};
#undef A

static void print_help(const struct doctor_args *defaults)
{
	fputs("What this kernel, these privileges and a process allow, and what to do about the rest.\n"
	      "\n"
	      "  sudo ebb doctor               this machine\n"
	      "  sudo ebb doctor 1234          and what ebb leak 1234 would meet\n"
	      "  sudo ebb doctor -f json\n"
	      "\n"
	      "usage: ebb doctor [PID|NAME] [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, defaults);
	fputs("\nexit codes: 0 nothing is in the way; 1 failed; 2 wrong command line; 4 leak is not possible here\n", stdout);
}

static void write_json(const struct checks *c, struct json *j)
{
	json_object(j, NULL);
	json_string(j, "command", "doctor");
	json_bool(j, "possible", !checks_problem(c));
	json_list(j, "checks");
	for (size_t i = 0; i < c->cnt; i++) {
		json_object(j, NULL);
		json_string(j, "name", c->list[i].name);
		json_string(j, "state", check_state_name(c->list[i].state));
		json_string(j, "found", c->list[i].found);
		json_string(j, "todo", c->list[i].todo);
		json_object_end(j);
	}
	json_list_end(j);
	json_object_end(j);
}

static int print_json(const struct checks *c)
{
	struct json j;
	int err;

	json_begin(&j, stdout);
	write_json(c, &j);
	err = json_end(&j);
	return err ? err : fflush(stdout) ? -errno : 0;
}

static const enum report_style styles[] = {
	[CHECK_OK] = REPORT_PLAIN, [CHECK_NOTE] = REPORT_WARN, [CHECK_UNKNOWN] = REPORT_DIM, [CHECK_PROBLEM] = REPORT_BAD,
};

static int print_table(const struct checks *c, const struct doctor_args *args, const char *who)
{
	static const struct report_column columns[] = { { .title = "CHECK" }, { .title = "STATE" }, { .title = "FOUND", .elastic = true } };
	const struct check *problem = checks_problem(c);
	struct report *r = report_new();
	struct sink sink;
	int err;

	if (!r)
		return -ENOMEM;
	report_columns(r, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < c->cnt; i++) {
		report_row(r, styles[c->list[i].state]);
		report_cell(r, "%s", c->list[i].name);
		report_cell(r, "%s", check_state_name(c->list[i].state));
		report_cell(r, "%s", c->list[i].found ? c->list[i].found : "");
		if (c->list[i].todo)
			report_detail(r, "→ %s", c->list[i].todo);
	}
	if (problem)
		report_foot(r, REPORT_BAD, "ebb leak is not possible%s: %s", who ? " on this process" : " here", problem->name);
	else
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %s", who ? who : "PID");
	err = sink_open(&sink, NULL, args->no_color);
	if (!err) {
		err = report_failed(r) ? -ENOMEM : sink_table(&sink, r, true);
		sink_close(&sink);
	}
	report_free(r);
	return err;
}

/* What `leak` looks at before it attaches. An exit code. */
static int look_at(struct checks *c, const char *who, const struct selftest *st)
{
	struct target *t = NULL;
	struct worker *w = NULL;
	struct survey s;
	int code, err;

	if (parser_start(&w))
		return EXIT_FAILED;
	code = pick_target("doctor", who, w, &t);
	if (!code) {
		err = leak_survey(t, NULL, &s);
		if (!err || s.plan) {
			checks_hazards(c, &s.hazards, st->mode);
			checks_plan(c, s.allocators, s.plan);
			checks_target(c, t);
		} else {
			code = leak_survey_failed(t, &s, err);
		}
		survey_free(&s);
	}
	target_free(t);
	worker_stop(w);
	return code;
}

static int run_doctor(const struct doctor_args *args, const char *who)
{
	struct selftest st = { .mode = ATTACH_PERF };
	struct checks c = { .list = NULL };
	int code = EXIT_DONE, err;

	checks_machine(&c);
	checks_attach(&c, NULL, &st);
	if (who)
		code = look_at(&c, who, &st);
	if (!code) {
		err = c.failed ? -ENOMEM : args->format ? print_json(&c) : print_table(&c, args, who);
		if (err)
			log_error(err, "writing the result: %s", strerror(-err));
		code = err ? EXIT_FAILED : checks_problem(&c) ? EXIT_STOPPED : EXIT_DONE;
	}
	checks_free(&c);
	return code;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct doctor_args defaults = { 0 };
	struct doctor_args args = defaults;
	char **who = NULL;
	int who_cnt = 0, code = EXIT_USAGE;
	bool help = false;

	if (options_parse(specs, &args, argc, argv, &who, &who_cnt, &help))
		return EXIT_USAGE;
	if (args.verbose)
		log_set_level(LOG_DEBUG);
	if (help) {
		print_help(&defaults);
		code = EXIT_DONE;
	} else if (who_cnt > 1) {
		log_error(-EINVAL, "doctor takes one process at most; try: sudo ebb doctor PID");
	} else {
		code = run_doctor(&args, who_cnt ? who[0] : NULL);
	}
	free(who);
	return code;
}
