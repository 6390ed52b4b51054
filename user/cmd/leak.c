/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebb leak: the command line. What is watched is in leak_choice.c, how in leak_group.c and leak_member.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/leak_args.h"
#include "cmd/leak_group.h"
#include "cmd/leak_pairs.h"
#include "cmd/loop.h"
#include "cmd/parser.h"
#include "source/leak.h"

const char *const leak_formats[] = { "table", "folded", NULL };
static const char *const values[] = { "held-bytes", "held-blocks", "alloc-bytes", "alloc-blocks", "peak-bytes", NULL };

static const struct leak_args defaults = {
	.duration_ns = LEAK_NO_DURATION,
	.interval_ns = 5000000000ull,
	.top = 10,
	.max_overhead = 30,
};

#define A struct leak_args
static const struct option_spec specs[] = {
	OPTION_LIST('p', "pid", A, pids, "PID", "a process, instead of the argument or beside it; may be given again"),
	OPTION_FLAG(0, "tree", A, tree, "their descendants, too, also those that are born later"),
	OPTION_STRING(0, "cgroup", A, cgroup, "PATH", "all processes of a cgroup and those below it, as long as it is there"),
	OPTION_STRING(0, "container", A, container, "ID|NAME", "all processes of a container"),
	OPTION_STRING(0, "unit", A, unit, "NAME", "all processes of a systemd unit"),
	OPTION_FLAG(0, "merge", A, merge, "of several processes, those with the same executable are shown as one"),
	OPTION_DURATION('d', "duration", A, duration_ns, "TIME", "stop after TIME (30s, 2h); else at Ctrl-C"),
	OPTION_DURATION('i', "interval", A, interval_ns, "TIME", "time between two snapshots"),
	OPTION_CHOICE('f', "format", A, format, "a table for people, or folded stacks for flame graphs", leak_formats),
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
	      "  sudo ebb leak 1234 --tree                  its children, too, with books of their own\n"
	      "  sudo ebb leak --container web --merge      a container; workers of one executable as one\n"
	      "  sudo ebb leak 1234 --pairs threads         threads that do not end, by who has started them\n"
	      "  sudo ebb leak 1234 --acquire pool_get:2 --release pool_put    a pool of your own; argument 2 is the size\n"
	      "\n"
	      "usage: ebb leak PID|NAME … [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, &defaults);
	fputs("\nexit codes: 0 done; 1 failed; 2 wrong command line; 3 done, but something was lost and totals may\n"
	      "be wrong; 4 stopped by the brake, or not possible here\n", stdout);
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

static int run_on(struct leak_choice *choice, struct worker *w)
{
	const struct leak_args *args = choice->args;
	const struct writer *writer = writer_find(leak_formats[args->format]);
	struct sink sink;
	int code;

	session_hold_signals(true);
	if (sink_open(&sink, args->output, args->no_color))
		return EXIT_FAILED;
	if (writer && sink.terminal && writer->terminal_hint)
		log_info("%s", writer->terminal_hint);
	code = leak_group_run(choice, w, &sink);
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

static int run_leak(const struct leak_args *args, char **words, int words_cnt)
{
	struct leak_choice choice;
	struct worker *w = NULL;
	int code;

	code = leak_choice_open(&choice, args, words, words_cnt);
	if (!code && parser_start(&w))
		code = EXIT_FAILED;
	choice.worker = w;
	if (!code)
		code = run_on(&choice, w);
	leak_choice_close(&choice);
	worker_stop(w);
	return code;
}

int cmd_leak(int argc, char **argv)
{
	struct leak_args args = defaults;
	char **words = NULL;
	int words_cnt = 0, code = EXIT_USAGE;
	bool help = false;

	if (options_parse(specs, &args, argc, argv, &words, &words_cnt, &help))
		return EXIT_USAGE;
	if (args.quiet)
		log_set_level(LOG_ERROR);
	if (args.verbose)
		log_set_level(LOG_DEBUG);
	if (help) {
		print_help();
		code = EXIT_DONE;
	} else if (!check_args(&args)) {
		code = budget_decide(&args);
		if (!code)
			code = run_leak(&args, words, words_cnt);
	}
	free(words);
	pairs_free(&args.pairs);
	return code;
}
