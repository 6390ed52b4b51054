/* SPDX-License-Identifier: GPL-2.0-only */
/* ebb mem: what a process's memory is made of, and which part grows. Reads /proc, attaches nothing, stops nothing. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/loop.h"
#include "cmd/mem_report.h"
#include "cmd/options.h"
#include "cmd/pick.h"
#include "cmd/sink.h"
#include "profile/report.h"
#include "target/target.h"

#define NS_PER_S	1000000000ull
/* A look walks the target's page tables: looks may take this part of the time. */
#define LOOK_SHARE	10
/* With -d alone so many looks, at most INTERVAL_MAX_NS apart. */
#define LOOKS		12
#define INTERVAL_MAX_NS	(5 * NS_PER_S)
#define INTERVAL_MIN_NS	(NS_PER_S / 10)
#define WALK_TIME_MS	5000	/* of glibc's heap: about 12 GB */

struct mem_args {
	const char *pid;
	uint64_t duration_ns, interval_ns;
	int format;
	const char *output;
	uint64_t top;
	bool verbose, quiet, no_color;
};

#define NO_TIME	UINT64_MAX

static const char *const formats[] = { "table", "json", NULL };
enum { FORMAT_TABLE, FORMAT_JSON };

static const struct mem_args defaults = { .duration_ns = NO_TIME, .interval_ns = NO_TIME, .top = 5 };

#define A struct mem_args
static const struct option_spec specs[] = {
	OPTION_STRING('p', "pid", A, pid, "PID", "the process; a name that only one process has will do"),
	OPTION_DURATION('d', "duration", A, duration_ns, "TIME", "look again and again for TIME (30s, 2h); without -d and -i: one look"),
	OPTION_DURATION('i', "interval", A, interval_ns, "TIME", "time between two looks; without -d: until Ctrl-C"),
	OPTION_CHOICE('f', "format", A, format, "a table for people, or json for programs", formats),
	OPTION_STRING('o', "output", A, output, "FILE", "write the final result to FILE instead of stdout"),
	OPTION_U64(0, "top", A, top, "N", "mappings listed under each part (-v, json)"),
	OPTION_FLAG('v', "verbose", A, verbose, "say more: the largest mappings under each part, all names of threads"),
	OPTION_FLAG('q', "quiet", A, quiet, "say nothing but errors"),
	OPTION_FLAG(0, "no-color", A, no_color, "no colours on a terminal"),
	OPTION_END,
};
#undef A

static void print_help(void)
{
	fputs("What a process's memory is made of, which part grows, and how far the limits are.\n"
	      "\n"
	      "  ebb mem 1234                     one look\n"
	      "  ebb mem 1234 -d 1m               which part grows, how fast, and when the cgroup's limit is reached\n"
	      "  ebb mem nginx -v                 the largest mappings of each part\n"
	      "  ebb mem 1234 -i 5s               live until Ctrl-C\n"
	      "  ebb mem 1234 -d 30s -f json      for a program\n"
	      "\n"
	      "Without root for your own processes, with sudo for others.\n"
	      "\n"
	      "usage: ebb mem PID|NAME [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, &defaults);
	fputs("\nexit codes: 0 done; 1 failed; 2 wrong command line; 4 not possible here\n", stdout);
}

struct mem_run {
	const struct mem_args *args;
	struct target *target;
	struct mem_history history;
	struct pressure_kills kills;
	struct mem_heap heap;
	bool walked;
	struct sink sink;
	int signal_fd;
	bool repeated, ended, execed;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static struct mem_view view_of(const struct mem_run *run)
{
	return (struct mem_view){
		.target = run->target, .history = &run->history, .kills = &run->kills, .heap = run->walked ? &run->heap : NULL, .top = run->args->top,
		.verbose = run->args->verbose, .repeated = run->repeated, .ended = run->ended, .execed = run->execed,
	};
}

static int write_document(FILE *out, const void *ctx)
{
	struct mem_view v = view_of(ctx);

	return mem_json_write(out, &v);
}

static int show(struct mem_run *run, bool last)
{
	struct mem_view v = view_of(run);
	struct report *r;
	int err;

	if (run->args->format == FORMAT_JSON)
		return last ? sink_document(&run->sink, write_document, run) : 0;
	if (!last && run->args->output)
		return 0;
	err = mem_report(&v, &r);
	if (err)
		return log_error(err, "composing the report: out of memory");
	err = sink_table(&run->sink, r, last);
	report_free(r);
	return err;
}

/* What malloc has inside. It takes longer than all else, so of many looks the last one has it. */
static void walk(struct mem_run *run)
{
	const struct heap_walk_options opt = { .time_ms = WALK_TIME_MS, .data_bytes = HEAP_WALK_DATA_BYTES };

	run->heap.err = heap_walk(run->target, &opt, &run->heap.walk);
	run->walked = true;
}

/* One look into the history. -ESRCH: the process has ended, which after the first look is no error. */
static int look(struct mem_run *run, bool last)
{
	struct mem_look l;
	int err = mem_look_read(run->target, &l);

	if (err)
		return err;
	if (run->history.looks_cnt && !target_is_same_image(run->target)) {
		log_warn("process %d has called exec: the looks begin anew", (int)run->target->pid);
		mem_history_clear(&run->history);
		run->execed = true;
	}
	mem_history_push(&run->history, &l);
	if (last && !run->execed)	/* the target's memory is that of the program which it was opened as */
		walk(run);
	return 0;
}

enum wake { WAKE_TIME, WAKE_SIGNAL, WAKE_EXITED };

static enum wake wait_until(const struct mem_run *run, uint64_t until_ns)
{
	struct pollfd fds[2] = { { .fd = run->signal_fd, .events = POLLIN }, { .fd = run->target->pidfd, .events = POLLIN } };

	for (;;) {
		uint64_t now = now_ns();
		struct timespec left = { 0 };

		if (now < until_ns)
			left = (struct timespec){ (until_ns - now) / NS_PER_S, (until_ns - now) % NS_PER_S };
		if (ppoll(fds, 2, &left, NULL) > 0)
			return fds[0].revents ? WAKE_SIGNAL : WAKE_EXITED;
		if (now_ns() >= until_ns)
			return WAKE_TIME;
	}
}

static uint64_t interval_of(const struct mem_args *args)
{
	uint64_t ns = INTERVAL_MAX_NS;

	if (args->interval_ns != NO_TIME)
		return args->interval_ns;
	if (args->duration_ns != NO_TIME && args->duration_ns / LOOKS < ns)
		ns = args->duration_ns / LOOKS;
	return ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : ns;
}

/* Looks until time, a signal, or the process's end. A negative errno, printed. */
static int watch(struct mem_run *run)
{
	uint64_t interval_ns = interval_of(run->args), next_ns = now_ns(), end_ns = UINT64_MAX;
	enum wake wake;
	int err;

	if (run->args->duration_ns < UINT64_MAX - next_ns)
		end_ns = next_ns + run->args->duration_ns;
	for (bool last = false; !last; ) {
		/* not later than it must be: the last look is at the end */
		uint64_t least_ns = run->history.last.took_ns * LOOK_SHARE;

		next_ns += interval_ns > least_ns ? interval_ns : least_ns;
		if (least_ns > interval_ns)
			log_debug("a look takes %llu ms: the next one comes later", (unsigned long long)run->history.last.took_ns / 1000000);
		if (next_ns < now_ns())
			next_ns = now_ns();
		last = next_ns >= end_ns;
		wake = wait_until(run, last ? end_ns : next_ns);
		run->ended = wake == WAKE_EXITED;
		if (run->ended)
			return 0;
		last |= wake == WAKE_SIGNAL;
		err = look(run, last);
		run->ended = err == -ESRCH;
		if (run->ended)
			return 0;
		if (err)
			return log_error(err, "reading the memory of process %d: %s", (int)run->target->pid, strerror(-err));
		if (!last && (err = show(run, false)))
			return err;
	}
	return 0;
}

static int first_look(struct mem_run *run)
{
	int err = look(run, !run->repeated), pid = run->target->pid;

	if (!err)
		err = pressure_kills_read(run->history.last.pressure.cgroup.path, run->target->comm, &run->kills);
	if (err == -EACCES || err == -EPERM)
		return pick_problem("mem", pid, TARGET_NO_ACCESS, 0, err);
	if (err == -ESRCH)
		log_error(err, "process %d ended while it was looked at", pid);
	else if (err)
		log_error(err, "reading the memory of process %d: %s", pid, strerror(-err));
	return err ? EXIT_FAILED : EXIT_DONE;
}

static int signals_open(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction old;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int run_looks(struct mem_run *run)
{
	int code = first_look(run);

	if (code)
		return code;
	if (run->repeated && (show(run, false) || watch(run)))
		return EXIT_FAILED;
	if (run->ended)
		log_warn("process %d has ended", (int)run->target->pid);
	return show(run, true) || sink_commit(&run->sink) ? EXIT_FAILED : EXIT_DONE;
}

static int run_mem(const struct mem_args *args, const char *who)
{
	struct mem_run run = { .args = args, .signal_fd = -1 };
	int code = pick_target_plain("mem", who, &run.target);

	if (code)
		return code;
	run.repeated = args->duration_ns != NO_TIME || args->interval_ns != NO_TIME;
	if (run.repeated) {
		session_hold_signals(true);
		run.signal_fd = signals_open();
		if (run.signal_fd < 0)
			code = log_error(EXIT_FAILED, "signalfd: %s", strerror(-run.signal_fd));
	}
	if (!code && sink_open(&run.sink, args->output, args->no_color)) {
		code = EXIT_FAILED;
	} else if (!code) {
		code = run_looks(&run);
		sink_close(&run.sink);
	}
	if (run.signal_fd >= 0)
		close(run.signal_fd);
	mem_history_clear(&run.history);
	pressure_kills_free(&run.kills);
	if (run.walked && !run.heap.err)
		heap_walk_free(&run.heap.walk);
	target_free(run.target);
	return code;
}

static int check_args(const struct mem_args *args)
{
	if (args->quiet && args->verbose)
		return log_error(-EINVAL, "-q and -v contradict each other");
	if (!args->duration_ns)
		return log_error(-EINVAL, "-d: a time of nothing; leave it out for one look");
	if (args->interval_ns < INTERVAL_MIN_NS)
		return log_error(-EINVAL, "-i: looks can be made every 100ms at most");
	return 0;
}

int cmd_mem(int argc, char **argv)
{
	struct mem_args args = defaults;
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
		log_error(-EINVAL, "mem takes one process; try: ebb mem PID");
	} else if (!check_args(&args)) {
		code = run_mem(&args, args.pid ? args.pid : who[0]);
	}
	free(who);
	return code;
}
