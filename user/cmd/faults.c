/* SPDX-License-Identifier: GPL-2.0-only */
/* ebb faults: who touches new memory, of one process, of a cgroup, or of the whole machine. */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/text.h"
#include "base/worker.h"
#include "cmd/command.h"
#include "cmd/faults_report.h"
#include "cmd/options.h"
#include "cmd/parser.h"
#include "cmd/pick.h"
#include "cmd/session.h"
#include "cmd/sink.h"
#include "source/faults.h"

/* Once it is attached: maps, /proc and files of processes as they appear, a worker that is started again, the file of -o. */
#define CAPABILITIES	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_SYS_PTRACE) | \
			 PRIVILEGE(CAP_CHECKPOINT_RESTORE) | PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_DAC_OVERRIDE) | \
			 PRIVILEGE(CAP_SETUID) | PRIVILEGE(CAP_SETGID) | PRIVILEGE(CAP_KILL))

struct faults_args {
	const char *pid;
	const char *cgroup;
	uint64_t duration_ns;
	uint64_t interval_ns;
	int format;
	const char *output;
	int value;
	uint64_t top;
	bool raw;
	int sensor;
	struct naming_options naming;
	uint64_t max_memory;
	bool verbose;
	bool quiet;
	bool no_color;
};

enum { FORMAT_TABLE, FORMAT_FOLDED };
static const char *const formats[] = { "table", "folded", NULL };
static const char *const values[] = { "faults", "bytes", "major-ns", NULL };
static const char *const sensors[] = { "auto", "tracepoint", "events", NULL };

#define NO_DURATION	UINT64_MAX	/* until something ends it */

static const struct faults_args defaults = {
	.duration_ns = NO_DURATION,
	.interval_ns = 5000000000ull,
	.top = 10,
	.max_memory = 64ull << 20,
};

#define A struct faults_args
static const struct option_spec specs[] = {
	OPTION_STRING('p', "pid", A, pid, "PID", "only this process, and the children that it has from now on"),
	OPTION_STRING(0, "cgroup", A, cgroup, "PATH", "all processes of a cgroup and those below it"),
	OPTION_DURATION('d', "duration", A, duration_ns, "TIME", "stop after TIME (30s, 2h); else at Ctrl-C"),
	OPTION_DURATION('i', "interval", A, interval_ns, "TIME", "time between two tables"),
	OPTION_CHOICE('f', "format", A, format, "a table for people, or folded stacks", formats),
	OPTION_STRING('o', "output", A, output, "FILE", "write the final result to FILE instead of stdout"),
	OPTION_CHOICE(0, "value", A, value, "what folded stacks count, and what rows are sorted by", values),
	OPTION_U64(0, "top", A, top, "N", "rows of the table"),
	OPTION_FLAG(0, "raw", A, raw, "a row for each stack"),
	NAMING_OPTION_ROWS(A, naming),
	OPTION_CHOICE(0, "sensor", A, sensor, "how faults are seen: see the manual", sensors),
	OPTION_SIZE(0, "max-memory", A, max_memory, "SIZE", "kernel memory for the books"),
	OPTION_FLAG('v', "verbose", A, verbose, "say more"),
	OPTION_FLAG('q', "quiet", A, quiet, "say nothing but errors"),
	OPTION_FLAG(0, "no-color", A, no_color, "no colours on a terminal"),
	OPTION_END,
};
#undef A

static void print_help(void)
{
	fputs("Page faults: who touches new memory, in which part of the process, and what it costs.\n"
	      "\n"
	      "  sudo ebb faults 1234                  one process by code path, live until Ctrl-C\n"
	      "  sudo ebb faults                       the whole machine by process\n"
	      "  sudo ebb faults --cgroup /app -d 30s  the processes of a cgroup\n"
	      "  sudo ebb faults 1234 -d 30s -f folded --value bytes -o new.folded && flamegraph.pl new.folded > new.svg\n"
	      "\n"
	      "usage: ebb faults [PID|NAME] [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, &defaults);
	fputs("\nexit codes: 0 done; 1 failed; 2 wrong command line; 3 done, but something was lost and totals may\n"
	      "be wrong; 4 not possible here\n", stdout);
}

struct faults_run {
	const struct faults_args *args;
	struct worker *rows_worker, *names_worker;
	struct target *target;		/* of one process */
	struct group group;		/* of --cgroup */
	bool has_group;
	char *who;
	struct faults_options options;
	struct sink sink;
	struct profile *profile;
	struct faults_rows rows;
	struct faults_kernel start, now;
	struct session session;
	uint64_t table_ns;		/* when the last table was made */
	bool exited;
	int err;			/* of writing the result */
};

static bool wants_table(const struct faults_run *run)
{
	return run->args->format == FORMAT_TABLE;
}

/* huge: a walk through its page tables, so at the beginning and the end only. */
static void kernel_read(const struct target *t, struct faults_kernel *k, bool huge)
{
	k->huge_known = false;
	if (!t || target_faults_read(t, &k->minflt, &k->majflt))
		return;		/* what was read before stays */
	k->known = true;
	target_memory_read(t, &k->memory);
	if (huge)
		k->huge_known = !target_huge_read(t, &k->anon_huge_bytes);
}

static void on_started(struct session *s, void *ctx)
{
	struct faults_run *run = ctx;

	log_info("attached to %s by %s; every fault counts from now on", run->who, faults_sensor_name(s->source));
	run->rows = (struct faults_rows){
		.profile = run->profile, .source = s->source, .tag = faults_tag_at, .by_process = !run->target && !run->args->raw, .raw = run->args->raw,
	};
	kernel_read(run->target, &run->start, true);
	run->now = run->start;
	run->table_ns = s->start_ns;
}

static void on_before(struct session *s, void *ctx)
{
	struct faults_run *run = ctx;

	kernel_read(run->target, &run->now, s->stopped);
}

/* The end of the process is told by the kernel, with the counts that nobody can read any more. */
static void kernel_end(struct faults_run *run)
{
	for (size_t i = 0; run->target && i < faults_processes_cnt(run->session.source); i++) {
		struct faults_process p = faults_process_at(run->session.source, i);

		if (p.pid != run->target->pid || !p.ended)
			continue;
		run->now.minflt = p.minflt;
		run->now.majflt = p.majflt;
	}
}

static int show_table(struct faults_run *run, bool last)
{
	const struct session *s = &run->session;
	const struct faults_view v = {
		.profile = run->profile, .source = s->source, .rows = &run->rows, .who = run->who, .one = run->target != NULL,
		.start = &run->start, .now = &run->now, .start_ns = s->start_ns, .now_ns = s->now_ns,
		.recent_ns = s->now_ns - (last ? s->start_ns : run->table_ns), .start_wall_s = s->start_wall_s,
		.kernel_bytes = faults_source.kernel_bytes(s->source), .top = run->args->top, .type = run->args->value,
		.verbose = run->args->verbose, .pid = run->options.pid, .exited = run->exited,
	};
	struct report *r = NULL;
	int err;

	if (last)
		run->rows.before_cnt = 0;	/* the last table's rates are of all the time */
	err = faults_rows_make(&run->rows, run->args->value);
	if (!err)
		err = faults_report(&v, &r);
	if (!err)
		err = faults_rows_mark(&run->rows);
	run->table_ns = s->now_ns;
	if (err)
		log_error(err, "composing the report: out of memory");
	else
		err = sink_table(&run->sink, r, last);
	report_free(r);
	return err;
}

static int on_after(struct session *s, bool last, void *ctx)
{
	struct faults_run *run = ctx;
	struct writer_options opt = { .type = run->args->value };

	(void)s;
	if (run->exited)
		kernel_end(run);
	if (wants_table(run) && (last || !run->args->output))
		run->err = show_table(run, last);
	else if (last && !wants_table(run))
		run->err = sink_profile(&run->sink, writer_find(formats[run->args->format]), run->profile, &opt);
	return run->err;
}

/* Whether the one process still runs: its end ends the run. */
static bool on_settle(struct loop *l, bool tick, void *ctx)
{
	struct faults_run *run = ctx;
	struct pollfd end = { .fd = run->target ? run->target->pidfd : -1, .events = POLLIN };

	if (run->session.end != SESSION_RUNNING)
		return false;
	if (run->target && poll(&end, 1, 0) > 0) {
		run->exited = true;
		run->session.end = SESSION_EXITED;
		l->end = SESSION_EXITED;
		return false;
	}
	if (tick && run->has_group && !group_is_there(&run->group)) {
		log_info("%s is gone", run->who);
		run->session.end = l->end = SESSION_EXITED;
		return false;
	}
	return true;
}

/* What only stderr says. */
static void say_counters(const struct faults_run *run)
{
	const char *name;
	uint64_t cnt;

	if (!wants_table(run) || run->args->output)
		session_say_losses(&run->session, profile_total(run->profile, FAULTS_FAULTS));
	for (unsigned int i = 0; faults_counter_at(run->session.source, i, &name, &cnt); i++)
		if (cnt)
			log_debug("%s: %" PRIu64, name, cnt);
}

static bool is_same(void *ctx, uint32_t process, const struct target *t)
{
	const struct faults_run *run = ctx;

	return faults_is_same_process(run->session.source, process, t);
}

/* As session_run() has it, but that the end of the process is waited for as well. */
static int watch(struct faults_run *run, const struct session_config *config)
{
	const struct loop_config loops = {
		.interval_ns = config->interval_ns, .duration_ns = config->duration_ns, .settle = on_settle, .ctx = run,
	};
	struct session *s = &run->session;
	struct loop l;
	int err = loop_open(&l);

	*s = (struct session){ .config = config, .loop = &l, .exit_status = -1 };
	if (err)
		log_error(err, "preparing the session: %s", strerror(-err));
	else
		err = session_open(s, config, &l);
	if (!err && s->end == SESSION_RUNNING)
		err = loop_run(&l, &loops);
	session_stop(s, l.end);
	loop_close(&l);
	s->loop = NULL;
	if (!err && s->end != SESSION_OUTPUT)
		err = session_snapshot(s, true);
	return err;
}

static int run_session(struct faults_run *run)
{
	const struct faults_args *args = run->args;
	const struct session_config config = {
		.type = &faults_source,
		.context = { .profile = run->profile, .worker = run->rows_worker, .names_worker = run->names_worker },
		.who = run->who,
		.source_options = &run->options,
		.naming = &args->naming,
		.interval_ns = wants_table(run) && !args->output ? args->interval_ns : 0,
		.duration_ns = args->duration_ns != NO_DURATION ? args->duration_ns : 0,
		.max_overhead_percent = -1,
		.capabilities = CAPABILITIES,
		.is_same = is_same,
		.started = on_started,
		.before = on_before,
		.after = on_after,
		.ctx = run,
	};
	int err = watch(run, &config), code;

	if (err == -ESRCH) {
		code = EXIT_FAILED;
	} else if (err) {
		code = err == -EPERM || err == -EACCES || err == -EOPNOTSUPP ? EXIT_STOPPED : EXIT_FAILED;
	} else if (run->err) {
		code = EXIT_FAILED;
	} else {
		say_counters(run);
		code = profile_lost(run->profile) ? EXIT_LOST : EXIT_DONE;
	}
	session_close(&run->session);
	return code;
}

static int group_choose(struct faults_run *run)
{
	char *safe = text_safe(run->args->cgroup);
	int err = group_cgroup(run->args->cgroup, &run->group);

	run->has_group = !err;
	run->options.group = &run->group;
	if (err == -ENOENT)
		log_error(err, "there is no cgroup '%s'; `cat /proc/PID/cgroup` says where a process is", safe ? safe : "");
	else if (err || !safe || asprintf(&run->who, "cgroup %s", safe) < 0)
		err = log_error(-ENOMEM, "out of memory");
	free(safe);
	return err ? EXIT_FAILED : EXIT_DONE;
}

/* What the arguments choose. EXIT_DONE, or the exit code, printed. */
static int choose(struct faults_run *run, const char *who)
{
	char *safe;
	int code;

	if (run->args->cgroup)
		return group_choose(run);
	if (!who) {
		run->who = strdup("the whole machine");
		return run->who ? EXIT_DONE : EXIT_FAILED;
	}
	code = pick_target("faults", who, run->names_worker, &run->target);
	if (code)
		return code;
	run->options.pid = run->target->pid;
	safe = text_safe(run->target->comm);
	if (!safe || asprintf(&run->who, "%s[%d]", safe, (int)run->target->pid) < 0)
		code = EXIT_FAILED;
	free(safe);
	return code;
}

static int run_faults(const struct faults_args *args, const char *who)
{
	const struct writer *w = writer_find(formats[args->format]);
	struct faults_run run = {
		.args = args, .options = { .sensor = args->sensor, .max_memory_bytes = args->max_memory },
	};
	int code;

	session_hold_signals(true);
	/* before anything is opened that they need not have */
	code = parser_start(&run.rows_worker) || parser_start(&run.names_worker) ? EXIT_FAILED : choose(&run, who);
	if (code)
		goto out;
	code = EXIT_FAILED;
	if (sink_open(&run.sink, args->output, args->no_color))
		goto out;
	if (w && run.sink.terminal && w->terminal_hint)
		log_info("%s", w->terminal_hint);
	run.profile = profile_new(faults_source.values);
	if (run.profile)
		code = run_session(&run);
	else
		log_error(-ENOMEM, "out of memory");
	if ((code == EXIT_DONE || code == EXIT_LOST) && sink_commit(&run.sink))
		code = EXIT_FAILED;
out:
	sink_close(&run.sink);
	faults_rows_close(&run.rows);
	target_free(run.target);
	worker_stop(run.rows_worker);
	worker_stop(run.names_worker);
	profile_free(run.profile);
	if (run.has_group)
		group_free(&run.group);
	free(run.who);
	return code;
}

static int check_args(const struct faults_args *args)
{
	if (args->quiet && args->verbose)
		return log_error(-EINVAL, "-q and -v contradict each other");
	if (!args->duration_ns)
		return log_error(-EINVAL, "-d: a time of nothing; leave it out to look until Ctrl-C");
	if (args->interval_ns < 100000000)
		return log_error(-EINVAL, "-i: tables can be made every 100ms at most");
	if (args->max_memory < 4 << 20)
		return log_error(-EINVAL, "--max-memory: the books need at least 4M");
	if (args->max_memory > 4ull << 30)
		return log_error(-EINVAL, "--max-memory: more than 4G are of no use");
	if (args->cgroup && !*args->cgroup)
		return log_error(-EINVAL, "--cgroup: a path, as `cat /proc/PID/cgroup` says it");
	return naming_check(&args->naming);
}

int cmd_faults(int argc, char **argv)
{
	struct faults_args args = defaults;
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
	} else if (who_cnt + !!args.pid + !!args.cgroup > 1) {
		log_error(-EINVAL, "faults takes one process, one --cgroup, or none: then it looks at the whole machine; "
			  "try: sudo ebb faults PID");
	} else if (!check_args(&args)) {
		code = run_faults(&args, args.pid ? args.pid : who_cnt ? who[0] : NULL);
	}
	free(who);
	return code;
}
