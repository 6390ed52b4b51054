/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebb leak: finds the target and its allocators, refuses what could harm it, runs a session and shows
 * what it found. Starts anew when the target calls exec.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/text.h"
#include "cmd/budget.h"
#include "cmd/command.h"
#include "cmd/leak_pairs.h"
#include "cmd/leak_plan.h"
#include "cmd/leak_report.h"
#include "cmd/options.h"
#include "cmd/parser.h"
#include "cmd/pick.h"
#include "cmd/session.h"
#include "cmd/sink.h"
#include "source/leak.h"
#include "trace/tables.h"

struct leak_args {
	const char *pid;
	uint64_t duration_ns;
	uint64_t interval_ns;
	int format;
	const char *output;
	uint64_t top;
	bool raw;
	struct naming_options naming;
	bool dry_run;
	double max_overhead;
	uint64_t max_memory;		/* 0: not given; then the budget */
	struct budget budget;
	bool same_cgroup;
	uint64_t min_size;
	uint64_t older_ns;
	struct option_list pair_options;
	const char *object;
	struct pairs pairs;		/* what these say; with any, memory is not looked at */
	int value;
	bool verbose;
	bool quiet;
	bool no_color;
};

static const char *const formats[] = { "table", "folded", NULL };
static const char *const values[] = { "held-bytes", "held-blocks", "alloc-bytes", "alloc-blocks", "peak-bytes", NULL };

/*
 * Once it is attached: maps, programs and probes for what the target loads, its /proc and files, a worker that is started
 * again, and the file of -o in a folder of somebody else.
 */
#define CAPABILITIES	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_SYS_PTRACE) | \
			 PRIVILEGE(CAP_CHECKPOINT_RESTORE) | PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_DAC_OVERRIDE) | \
			 PRIVILEGE(CAP_SETUID) | PRIVILEGE(CAP_SETGID) | PRIVILEGE(CAP_KILL))

#define NO_DURATION	UINT64_MAX	/* until something ends it */

static const struct leak_args defaults = {
	.duration_ns = NO_DURATION,
	.interval_ns = 5000000000ull,
	.top = 10,
	.max_overhead = 30,
};

#define A struct leak_args
static const struct option_spec specs[] = {
	OPTION_STRING('p', "pid", A, pid, "PID", "the process, instead of the argument"),
	OPTION_DURATION('d', "duration", A, duration_ns, "TIME", "stop after TIME (30s, 2h); else at Ctrl-C"),
	OPTION_DURATION('i', "interval", A, interval_ns, "TIME", "time between two snapshots"),
	OPTION_CHOICE('f', "format", A, format, "a table for people, or folded stacks for flame graphs", formats),
	OPTION_STRING('o', "output", A, output, "FILE", "write the final result to FILE instead of stdout"),
	OPTION_CHOICE(0, "value", A, value, "what is counted", values),
	OPTION_U64(0, "top", A, top, "N", "rows of the table"),
	OPTION_FLAG(0, "raw", A, raw, "a row a stack: no grouping by code path"),
	NAMING_OPTION_ROWS(A, naming),
	OPTION_SIZE(0, "min-size", A, min_size, "SIZE", "only blocks of at least SIZE (64, 4K)"),
	OPTION_LIST(0, "pairs", A, pair_options, "NAMES", "what libc's functions give, instead of memory: threads, inotify, fds, mutex"),
	OPTION_LIST(0, "acquire", A, pair_options, "FUNC[:SIZE_ARG]", "the same of a function of your own, as its result; it counts 1, or "
		    "what its argument SIZE_ARG says (from 1)"),
	OPTION_LIST(0, "release", A, pair_options, "FUNC[:PTR_ARG]", "which gives back what argument PTR_ARG (default 1) is"),
	OPTION_STRING(0, "object", A, object, "FILE", "the mapped file that both are in; needed where a name is not unique"),
	OPTION_DURATION(0, "older", A, older_ns, "TIME", "held counts only blocks that are at least so old"),
	OPTION_PERCENT(0, "max-overhead", A, max_overhead, "PCT|none",
		       "the brake: detach when the target pays more than PCT percent of its CPU time"),
	OPTION_SIZE(0, "max-memory", A, max_memory, "SIZE", "kernel memory for the books (default: the least of 256M, 5 % of the "
		    "available memory, and a quarter of the room in ebb's own memory cgroup)"),
	OPTION_FLAG(0, "same-cgroup", A, same_cgroup, "attach although ebb runs in the target's memory cgroup, under its limit"),
	OPTION_FLAG(0, "dry-run", A, dry_run, "show every probe site and its price; attach nothing"),
	OPTION_FLAG('v', "verbose", A, verbose, "say more"),
	OPTION_FLAG('q', "quiet", A, quiet, "say nothing but errors"),
	OPTION_FLAG(0, "no-color", A, no_color, "no colours on a terminal"),
	OPTION_END,
};
#undef A

static void print_help(void)
{
	fputs("Memory that a running process allocates and does not give back, by code path.\n"
	      "\n"
	      "  sudo ebb leak 1234                         live until Ctrl-C, then the final report\n"
	      "  sudo ebb leak nginx -d 2m                  by name, for two minutes\n"
	      "  sudo ebb leak 1234 --dry-run               what would be probed, and what it costs\n"
	      "  sudo ebb leak 1234 -d 1m -f folded -o leak.folded && flamegraph.pl leak.folded > leak.svg\n"
	      "  sudo ebb leak 1234 --min-size 4K           only large blocks\n"
	      "  sudo ebb leak 1234 --pairs threads         threads that do not end, by who has started them\n"
	      "  sudo ebb leak 1234 --acquire pool_get:2 --release pool_put    a pool of your own; argument 2 is the size\n"
	      "\n"
	      "usage: ebb leak PID|NAME [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, &defaults);
	fputs("\nexit codes: 0 done; 1 failed; 2 wrong command line; 3 done, but something was lost and totals may\n"
	      "be wrong; 4 stopped by the brake, or not possible here\n", stdout);
}

/* One life of the target's address space: from the plan to the last report. */
struct leak_run {
	const struct leak_args *args;
	struct worker *worker;
	struct target *target;
	struct sink *sink;
	struct allocators *allocators;
	struct plan *plan;
	struct profile *profile;
	struct value_type values[LEAK_VALUES + 1];
	struct selftest selftest;
	struct rows rows;
	bool rows_opened;
	uint64_t unseen_cnt;	/* sites without a breakpoint */
	struct leak_view view;
	struct plan **later;	/* plans that brought sites which the first one did not have */
	size_t later_cnt;
	double *program_ns;	/* measured in one life, known in the next: by then we may not ask for it any more */
	int err;	/* of writing the result */
};

static bool wants_table(const struct leak_run *run)
{
	return run->args->format == 0;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Each site is read back. */
static void sites_verify(struct leak_run *run, const struct plan *plan)
{
	size_t *missing = NULL;
	int cnt = attach_verify(plan, run->target, &missing);

	if (cnt > 0)
		run->unseen_cnt += cnt;
	if (cnt > 0)
		profile_loss_set(run->profile, "sites without a breakpoint: their calls are not seen", run->unseen_cnt);
	for (int i = 0; i < cnt; i++)
		log_warn("no breakpoint at %s+%u in the process: calls of it are not seen (huge or remapped text)",
			 plan->sites[missing[i]].function, plan->sites[missing[i]].insn.delta_bytes);
	if (cnt < 0 && target_is_alive(run->target))
		log_warn("the sites could not be read back: %s", strerror(-cnt));
	free(missing);
}

/* Keeps a plan that probes refer to. */
static int plan_keep(struct leak_run *run, struct plan *plan)
{
	struct plan **more = realloc(run->later, (run->later_cnt + 1) * sizeof(struct plan *));

	if (!more)
		return -ENOMEM;
	run->later = more;
	more[run->later_cnt++] = plan;
	return 0;
}

/* A library that was loaded may bring what is to be probed; one that was unloaded takes it away. */
static void on_mapped(struct session *s, void *ctx)
{
	struct leak_run *run = ctx;
	uint64_t begin_ns = clock_ns();
	struct plan *plan = NULL;
	size_t added = 0;
	int err = leak_plan_again(s, run->args->pairs.cnt ? &run->args->pairs : NULL, &plan);

	if (!err)
		err = plan_keep(run, plan);
	if (err) {
		log_debug("looking for sites in what was mapped: %s", strerror(-err));
		plan_free(plan);
		return;
	}
	err = leak_attach_more(s->source, plan, &added);
	if (err && err != -ESHUTDOWN && target_is_alive(run->target))
		log_warn("attaching to what was loaded: %s", strerror(-err));
	if (!added)
		run->later[--run->later_cnt] = plan_free(plan);
	else
		log_info("attached to %zu more sites in what process %d has loaded", added, (int)run->target->pid);
	if (added)
		sites_verify(run, plan);
	log_debug("looked through what was mapped in %.0f ms", (clock_ns() - begin_ns) / 1e6);
}

static void on_started(struct session *s, void *ctx)
{
	struct leak_run *run = ctx;

	log_info("attached to %zu sites of process %d by %s; every %s counts from now on", run->plan->sites_cnt,
		 (int)run->target->pid, leak_source.attached_by(s->source), run->args->pairs.cnt ? "call" : "allocation");
	sites_verify(run, run->plan);
	run->err = rows_open(&run->rows, run->profile, run->args->raw, s->start_ns);
	run->rows_opened = !run->err;
}

static void on_before(struct session *s, void *ctx)
{
	struct leak_run *run = ctx;

	/* of a dead target the last reading stays, and after exec it would be the new program's */
	if (s->end != SESSION_EXECED)
		target_memory_read(run->target, &run->view.memory_now);
	run->view.cutoff_ns = run->rows_opened && wants_table(run) ? rows_cutoff(&run->rows, s->now_ns) : 0;
	leak_set_cutoff(s->source, run->view.cutoff_ns);
}

static int show_table(struct leak_run *run, const struct session *s, bool last)
{
	struct report *r;
	int err;

	run->view.session = s;
	run->view.last = last;
	err = leak_report(&run->view, &r);
	if (err)
		return log_error(err, "composing the report: out of memory");
	err = sink_table(run->sink, r, last);
	report_free(r);
	return err;
}

static int on_after(struct session *s, bool last, void *ctx)
{
	struct leak_run *run = ctx;
	struct writer_options opt = { .type = run->args->value };

	if (s->meter.program_ns > 0)
		*run->program_ns = s->meter.program_ns;
	if (!run->rows_opened)	/* it ended while we attached */
		run->err = rows_open(&run->rows, run->profile, run->args->raw, s->start_ns);
	run->rows_opened = !run->err;
	if (!run->err)
		run->err = rows_update(&run->rows, s->now_ns);
	if (run->err)
		return run->err;
	/* the file formats and a table in a file are written once */
	if (wants_table(run) && (last || !run->args->output))
		run->err = show_table(run, s, last);
	else if (!wants_table(run) && last)	/* a later life takes its place */
		run->err = sink_profile(run->sink, writer_find(formats[run->args->format]), run->profile, &opt);
	return run->err;
}

/* The exit code of a run, and what only stderr says. */
static int run_exit(const struct leak_run *run, const struct session *s)
{
	const char *name;
	uint64_t cnt;

	if (!wants_table(run) || run->args->output) {
		session_say_losses(s, profile_total(run->profile, LEAK_ALLOC_BLOCKS));
		for (unsigned int i = 0; leak_counter_at(s->source, i, &name, &cnt); i++)
			if (cnt)
				log_debug("%s: %" PRIu64, name, cnt);
	}
	if (s->end == SESSION_EXITED && !wants_table(run)) {
		char how[LEAK_HOW_MAX];

		log_info("process %d %s", (int)run->target->pid, leak_how_ended(how, s->exit_status));
	}
	if (s->end == SESSION_BRAKE) {
		log_error(-EBUSY, "stopped by the brake: the cost stayed above %.0f %% of the target's CPU time",
			  run->args->max_overhead);
		return EXIT_STOPPED;
	}
	return profile_lost(run->profile) ? EXIT_LOST : EXIT_DONE;
}

static int run_session(struct leak_run *run, uint64_t left_ns, struct session *s)
{
	const struct leak_options opt = {
		.max_memory_bytes = run->args->budget.bytes,
		.min_size_bytes = run->args->min_size,
		.older_ns = run->args->older_ns,
		.program_ns = *run->program_ns,
		.pairs = run->args->pairs.cnt != 0,
		.threads_domain = leak_pairs_threads(&run->args->pairs),
	};
	const struct session_config config = {
		.type = &leak_source,
		.context = { .target = run->target, .plan = run->plan, .selftest = &run->selftest, .worker = run->worker,
			     .profile = run->profile },
		.target = run->target,
		.source_options = &opt,
		.naming = &run->args->naming,
		.exact_is_allocator = run->args->pairs.cnt != 0,
		/* a peak is one of snapshots */
		.interval_ns = (wants_table(run) && !run->args->output) || run->args->value == LEAK_PEAK_BYTES ?
			       run->args->interval_ns : 0,
		.duration_ns = left_ns,
		.max_overhead_percent = run->args->max_overhead,
		.capabilities = CAPABILITIES,
		.spare_capabilities = PRIVILEGE(CAP_SYS_ADMIN),	/* perf events want it for uprobes */
		.started = on_started,
		.mapped = on_mapped,
		.before = on_before,
		.after = on_after,
		.ctx = run,
	};
	int err = session_run(s, &config), code;

	if (err)
		code = err == -EPERM || err == -EACCES || err == -EOPNOTSUPP ? EXIT_STOPPED : EXIT_FAILED;
	else if (run->err)
		code = EXIT_FAILED;
	else
		code = run_exit(run, s);
	session_close(s);
	return code;
}

static void run_close(struct leak_run *run)
{
	if (run->rows_opened)
		rows_close(&run->rows);
	profile_free(run->profile);
	plan_free(run->plan);
	for (size_t i = 0; i < run->later_cnt; i++)
		plan_free(run->later[i]);
	free(run->later);
	allocators_free(run->allocators);
}

static const struct pairs *run_pairs(const struct leak_args *args)
{
	return args->pairs.cnt ? &args->pairs : NULL;
}

/* The values of leak, in the unit of what is counted. */
static void values_fill(struct leak_run *run)
{
	memcpy(run->values, leak_source.values, sizeof(run->values));
	run->values[LEAK_HELD_BYTES].unit = run->values[LEAK_ALLOC_BYTES].unit = leak_pairs_unit(&run->args->pairs);
	run->values[LEAK_PEAK_BYTES].unit = run->values[LEAK_HELD_BYTES].unit;
}

/* One life. *ret_end says why it ended. */
static int run_once(const struct leak_args *args, struct worker *w, struct target *t, struct sink *sink,
		    uint64_t left_ns, double *program_ns, enum session_end *ret_end)
{
	struct leak_run run = {
		.args = args, .program_ns = program_ns, .worker = w, .target = t, .sink = sink,
		.view = { .type = args->value, .top = args->top, .verbose = args->verbose,
			  .older = args->older_ns != 0, .pairs = args->pairs.cnt != 0,
			  .limit_percent = args->max_overhead },
	};
	struct session s = { 0 };
	int code;

	if (!args->dry_run)
		unwind_tables_prepare(w, t);	/* while we plan and load */
	code = leak_plan(t, run_pairs(args), &run.selftest, &run.allocators, &run.plan);
	if (code == LEAK_PLAN_EXECED) {
		*ret_end = SESSION_EXECED;
		code = EXIT_DONE;
	}
	if (code || *ret_end == SESSION_EXECED)
		goto out;
	if (args->dry_run) {
		code = leak_plan_print(run.plan, run.allocators, &run.selftest, &args->budget);
		goto out;
	}
	if (!args->same_cgroup && !getenv("EBB_SAME_CGROUP"))
		code = budget_check_target(t->pid);
	if (code)
		goto out;
	values_fill(&run);
	run.profile = profile_new(run.values);
	if (!run.profile) {
		log_error(-ENOMEM, "out of memory");
		code = EXIT_FAILED;
		goto out;
	}
	run.view.rows = &run.rows;
	if (!args->pairs.cnt)
		survey_mark_plain(t, run.allocators);
	target_memory_read(t, &run.view.memory_start);
	run.view.memory_now = run.view.memory_start;
	code = run_session(&run, left_ns, &s);
	*ret_end = s.end;
out:
	run_close(&run);
	return code;
}

/* The new program of a target that called exec, once it has mapped its allocator. */
static int reopen(const struct leak_args *args, struct worker *w, struct target **t)
{
	pid_t pid = (*t)->pid;
	char arg[32], *name;
	int code;

	snprintf(arg, sizeof(arg), "%d", (int)pid);
	*t = target_free(*t);
	for (int i = 0; i < 100; i++) {	/* the dynamic linker needs milliseconds; a second is plenty */
		struct survey s;
		bool ready;

		code = pick_target("leak", arg, w, t);
		if (code)
			return code;
		ready = !leak_survey(*t, run_pairs(args), &s) && s.allocators->cnt;
		survey_free(&s);
		if (ready)
			break;
		*t = target_free(*t);
		usleep(10000);
	}
	if (!*t) {
		code = pick_target("leak", arg, w, t);
		if (code)
			return code;
	}
	name = text_safe((*t)->exe ? (*t)->exe : "?");
	log_info("process %d called exec and is now %s: the books start anew", (int)pid, name ? name : "");
	free(name);
	return EXIT_DONE;
}

static int run_lives(const struct leak_args *args, struct worker *w, struct target **t, struct sink *sink)
{
	uint64_t end_ns = args->duration_ns != NO_DURATION ? clock_ns() + args->duration_ns : 0;
	enum session_end end;
	double program_ns = 0;
	int code, worst = EXIT_DONE;

	for (;;) {
		uint64_t now = clock_ns(), left_ns = 0;

		if (end_ns)
			left_ns = now < end_ns ? end_ns - now : 1;
		end = SESSION_RUNNING;
		code = run_once(args, w, *t, sink, left_ns, &program_ns, &end);
		if (code == EXIT_LOST)
			worst = EXIT_LOST;
		if (end != SESSION_EXECED || (code != EXIT_DONE && code != EXIT_LOST))
			return code == EXIT_DONE ? worst : code;
		session_hold_signals(true);
		if (reopen(args, w, t))	/* it is gone: what the last life held is the result */
			return worst;
	}
}

static int check_args(struct leak_args *args)
{
	int err = leak_pairs_parse(&args->pair_options, args->object, &args->pairs);

	if (err)
		return err;
	if (args->pairs.cnt && (args->min_size || args->value == LEAK_HELD_BLOCKS || args->value == LEAK_ALLOC_BLOCKS))
		return log_error(-EINVAL, "with pairs there is no --min-size, and --value is held-bytes, alloc-bytes or peak-bytes, in their own unit");
	if (args->quiet && args->verbose)
		return log_error(-EINVAL, "-q and -v contradict each other");
	if (!args->duration_ns)
		return log_error(-EINVAL, "-d: a time of nothing; leave it out to look until Ctrl-C");
	if (args->interval_ns < 10000000)
		return log_error(-EINVAL, "-i: snapshots can be taken every 10ms at most");
	if (args->max_memory && args->max_memory < BUDGET_MIN_BYTES)
		return log_error(-EINVAL, "--max-memory: the books need at least 1M");
	if (args->older_ns && args->value > LEAK_HELD_BLOCKS)
		return log_error(-EINVAL, "--older chooses among held blocks; use it with --value held-bytes or held-blocks");
	return naming_check(&args->naming);
}

static int run_on(const struct leak_args *args, struct worker *w, struct target **t)
{
	const struct writer *writer = writer_find(formats[args->format]);
	struct sink sink;
	int code;

	session_hold_signals(true);
	if (sink_open(&sink, args->output, args->no_color))
		return EXIT_FAILED;
	if (writer && sink.terminal && writer->terminal_hint)
		log_info("%s", writer->terminal_hint);
	code = run_lives(args, w, t, &sink);
	if (!args->dry_run && (code == EXIT_DONE || code == EXIT_LOST || code == EXIT_STOPPED) && sink_commit(&sink))
		code = EXIT_FAILED;
	sink_close(&sink);
	return code;
}

/* From the command line, or by what there is. An exit code. */
static int budget_decide(struct leak_args *args)
{
	char bytes[TEXT_BYTES_MAX];
	int code = EXIT_DONE;

	if (args->max_memory)
		args->budget = (struct budget){ args->max_memory, "--max-memory" };
	else
		code = budget_default(&args->budget);
	if (!code)
		log_debug("the books may take %s of kernel memory: %s", text_bytes(bytes, args->budget.bytes, false),
			  args->budget.why);
	return code;
}

static int run_leak(const struct leak_args *args, const char *who)
{
	struct worker *w = NULL;
	struct target *t = NULL;
	int code;

	if (parser_start(&w))
		return EXIT_FAILED;
	code = pick_target("leak", who, w, &t);
	if (!code)
		code = run_on(args, w, &t);
	target_free(t);
	worker_stop(w);
	return code;
}

int cmd_leak(int argc, char **argv)
{
	struct leak_args args = defaults;
	char **who = NULL;
	int who_cnt = 0, code = EXIT_USAGE;
	bool help = false;

	if (options_parse(specs, &args, argc, argv, &who, &who_cnt, &help))
		return EXIT_USAGE;
	if (args.quiet)
		log_set_level(LOG_ERROR);
	if (args.verbose)
		log_set_level(LOG_DEBUG);
	if (help) {
		print_help();
		code = EXIT_DONE;
	} else if (who_cnt + !!args.pid != 1) {
		log_error(-EINVAL, who_cnt || args.pid ? "leak takes one process; try: sudo ebb leak PID" :
			  "which process? try: sudo ebb leak PID, or: ebb leak --help");
	} else if (!check_args(&args)) {
		code = budget_decide(&args);
		if (!code)
			code = run_leak(&args, args.pid ? args.pid : who[0]);
	}
	free(who);
	pairs_free(&args.pairs);
	return code;
}
