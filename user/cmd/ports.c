/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebb ports: watches the TCP sockets of the machine and shows which destinations use up their ephemeral ports.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/options.h"
#include "cmd/parser.h"
#include "cmd/pick.h"
#include "cmd/ports_report.h"
#include "cmd/session.h"
#include "cmd/sink.h"
#include "output/json.h"
#include "source/ports.h"

/*
 * Once it is attached: maps, /proc and files of owners as they appear, a worker that is started again, the file of -o; and
 * the network namespaces, which are entered (setns(), sock_diag).
 */
#define CAPABILITIES	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_SYS_PTRACE) | \
			 PRIVILEGE(CAP_CHECKPOINT_RESTORE) | PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_DAC_OVERRIDE) | \
			 PRIVILEGE(CAP_SETUID) | PRIVILEGE(CAP_SETGID) | PRIVILEGE(CAP_KILL) | \
			 PRIVILEGE(CAP_SYS_ADMIN) | PRIVILEGE(CAP_NET_ADMIN))

struct ports_args {
	const char *pid;
	const char *netns;
	const char *dest;
	uint64_t duration_ns;
	uint64_t interval_ns;
	int format;
	const char *output;
	int value;
	uint64_t top;
	bool raw;
	struct naming_options naming;
	bool exact_tw, bind, udp;
	uint64_t max_memory;
	bool verbose;
	bool quiet;
	bool no_color;
};

enum { FORMAT_TABLE, FORMAT_FOLDED, FORMAT_JSON };
static const char *const formats[] = { "table", "folded", "json", NULL };
static const char *const values[] = { "connections", "time-wait-seconds", "failures", NULL };

#define NO_DURATION	UINT64_MAX	/* until something ends it */

static const struct ports_args defaults = {
	.duration_ns = NO_DURATION,
	.interval_ns = 5000000000ull,
	.top = 10,
	.max_memory = 64ull << 20,
};

#define A struct ports_args
static const struct option_spec specs[] = {
	OPTION_STRING('p', "pid", A, pid, "PID", "only destinations of this process, in its namespace; all owners are shown"),
	OPTION_STRING(0, "netns", A, netns, "PATH|PID", "only one network namespace: a name of `ip netns`, a file, a process in it"),
	OPTION_STRING(0, "dest", A, dest, "ADDR[:PORT]", "only these destinations (10.0.0.7, 10.0.0.7:443, [fd00::7]:443, :443)"),
	OPTION_DURATION('d', "duration", A, duration_ns, "TIME", "stop after TIME (30s, 2h); else at Ctrl-C"),
	OPTION_DURATION('i', "interval", A, interval_ns, "TIME", "time between two tables"),
	OPTION_CHOICE('f', "format", A, format, "a table for people, folded stacks of connects, or JSON", formats),
	OPTION_STRING('o', "output", A, output, "FILE", "write the final result to FILE instead of stdout"),
	OPTION_CHOICE(0, "value", A, value, "what folded stacks count", values),
	OPTION_U64(0, "top", A, top, "N", "rows of the table"),
	OPTION_FLAG(0, "raw", A, raw, "whole stacks of connects, libraries included"),
	NAMING_OPTION_ROWS(A, naming),
	OPTION_FLAG(0, "exact-time-wait", A, exact_tw,
		    "follow each TIME_WAIT socket to its end (tcp_tw_reuse=1); a connection costs more"),
	OPTION_FLAG(0, "bind", A, bind, "watch bind() with port 0, too, and who finds none"),
	OPTION_FLAG(0, "udp", A, udp, "count UDP ports, too, and sends that find none"),
	OPTION_SIZE(0, "max-memory", A, max_memory, "SIZE", "kernel memory for the books"),
	OPTION_FLAG('v', "verbose", A, verbose, "say more: each failed connect, healthy destinations"),
	OPTION_FLAG('q', "quiet", A, quiet, "say nothing but errors"),
	OPTION_FLAG(0, "no-color", A, no_color, "no colours on a terminal"),
	OPTION_END,
};
#undef A

static void print_help(void)
{
	fputs("Ephemeral ports: who uses how many towards whom, when they run out, and who is to blame.\n"
	      "\n"
	      "  sudo ebb ports                            the whole machine, live until Ctrl-C\n"
	      "  sudo ebb ports 1234                       where process 1234 connects to, and who else does\n"
	      "  sudo ebb ports --dest 10.0.4.17:443 -v    one destination, each failed connect as it happens\n"
	      "  sudo ebb ports -d 30s -f json             for a program\n"
	      "  sudo ebb ports -d 30s -f folded -o connects.folded && flamegraph.pl connects.folded > connects.svg\n"
	      "\n"
	      "usage: ebb ports [PID|NAME] [options]\n"
	      "\n", stdout);
	options_print(stdout, specs, &defaults);
	fputs("\nexit codes: 0 done; 1 failed; 2 wrong command line; 3 done, but something was lost and totals may\n"
	      "be wrong; 4 not possible here\n", stdout);
}

struct ports_run {
	const struct ports_args *args;
	struct worker *rows_worker, *names_worker;	/* many processes: names of those that end soon cannot wait for rows */
	struct ports_options options;
	struct sink sink;
	struct ports *model;
	struct profile *profile;
	struct session session;
	int err;		/* of writing the result */
};

static bool wants_table(const struct ports_run *run)
{
	return run->args->format == FORMAT_TABLE;
}

static void on_started(struct session *s, void *ctx)
{
	struct ports_run *run = ctx;

	(void)s;
	log_info("attached to the TCP sockets of %s; every connect counts from now on",
		 run->options.netns_path || run->options.netns_pid ? "one network namespace" : "the machine");
}

static void on_before(struct session *s, void *ctx)
{
	(void)s, (void)ctx;
}

/* What is looked at, in a word. The caller frees it; NULL when memory is short. */
static char *title(const struct ports_run *run)
{
	const struct ports *p = run->model;
	const struct ports_netns *only = NULL;
	struct text text = { 0 };
	size_t cnt = 0;

	for (size_t i = 0; i < p->netns_cnt; i++) {
		if (!p->netns[i].visited)
			continue;
		only = &p->netns[i];
		cnt++;
	}
	if (run->options.pid)
		text_printf(&text, "destinations of process %d · ", (int)run->options.pid);
	if (cnt == 1)
		text_printf(&text, "netns %s", only->name);
	else
		text_printf(&text, "whole machine, %zu namespaces", cnt);
	return text.str;
}

static int show_table(struct ports_run *run, bool last)
{
	char *what = title(run);
	const struct ports_view v = {
		.ports = run->model, .stacks = run->profile, .top = run->args->top, .raw = run->args->raw,
		.verbose = run->args->verbose, .last = last,
		.title = what ? what : "",
	};
	struct report *r;
	int err = ports_report(&v, &r);

	free(what);
	if (err)
		return log_error(err, "composing the report: out of memory");
	err = sink_table(&run->sink, r, last);
	report_free(r);
	return err;
}

static int json_document(FILE *out, const void *ctx)
{
	const struct ports_run *run = ctx;
	const struct ports_json_options opt = { .command = "ports" };

	return ports_json_write(out, run->model, run->profile, &opt);
}

static int on_after(struct session *s, bool last, void *ctx)
{
	struct ports_run *run = ctx;
	struct writer_options opt = { .type = run->args->value };

	(void)s;
	if (wants_table(run) && (last || !run->args->output))
		run->err = show_table(run, last);
	else if (last && run->args->format == FORMAT_JSON)
		run->err = sink_document(&run->sink, json_document, run);
	else if (last)
		run->err = sink_profile(&run->sink, writer_find(formats[run->args->format]), run->profile, &opt);
	return run->err;
}

/* What only stderr says. */
static void say_counters(const struct ports_run *run)
{
	const char *name;
	uint64_t cnt;

	if (!wants_table(run) || run->args->output)
		session_say_losses(&run->session, profile_total(run->profile, PORTS_CONNECTIONS));
	for (unsigned int i = 0; ports_counter_at(run->session.source, i, &name, &cnt); i++)
		if (cnt)
			log_debug("%s: %" PRIu64, name, cnt);
}

static bool is_same(void *ctx, uint32_t process, const struct target *t)
{
	struct ports_run *run = ctx;

	return ports_is_same_process(run->session.source, process, t);
}

static int run_session(struct ports_run *run)
{
	const struct ports_args *args = run->args;
	const struct session_config config = {
		.type = &ports_source,
		.context = { .profile = run->profile, .worker = run->rows_worker,
			     .names_worker = run->names_worker },
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
	int err = session_run(&run->session, &config), code;

	if (err) {
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

/* The interface of a link-local address, by index, or by name as our own namespace has it. -EINVAL. */
static int parse_scope(const char *scope, struct ports_addr *addr)
{
	uint64_t index;

	if (addr->bytes[0] != 0xfe || (addr->bytes[1] & 0xc0) != 0x80)
		return -EINVAL;
	if (text_parse_u64(scope, &index))
		index = if_nametoindex(scope);
	addr->bytes[2] = index >> 8;
	addr->bytes[3] = index;
	return index && index <= UINT16_MAX ? 0 : -EINVAL;
}

/* "10.0.0.7", "10.0.0.7:443", "fd00::7", "[fd00::7]:443", ":443". -EINVAL. */
static int parse_dest(const char *arg, struct ports_options *opt)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const char *host = arg, *colon = strrchr(arg, ':'), *end;
	char addr[INET6_ADDRSTRLEN + IF_NAMESIZE], *scope;
	uint64_t port = 0;

	end = arg + strlen(arg);
	if (*arg == '[') {
		host++;
		end = strchr(arg, ']');
		if (!end || end == host || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && colon == strchr(arg, ':')) {
		end = colon;
	} else {
		colon = NULL;	/* several: an IPv6 address */
	}
	if (colon && (text_parse_u64(colon + 1, &port) || !port || port > UINT16_MAX))
		return -EINVAL;
	opt->port = port;
	opt->has_remote = end > host;
	if (!opt->has_remote)
		return port ? 0 : -EINVAL;
	if ((size_t)(end - host) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, host, end - host);
	addr[end - host] = '\0';
	scope = strchr(addr, '%');
	if (scope)
		*scope++ = '\0';
	memcpy(opt->remote.bytes, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, addr, opt->remote.bytes + 12) == 1)
		return 0;
	if (inet_pton(AF_INET6, addr, opt->remote.bytes) != 1)
		return -EINVAL;
	return scope ? parse_scope(scope, &opt->remote) : 0;
}

/* What the arguments choose. EXIT_DONE, or the exit code, printed. */
static int choose(const struct ports_args *args, const char *who, struct ports_options *opt)
{
	uint64_t pid;
	int code;

	if (args->dest && parse_dest(args->dest, opt)) {
		log_error(-EINVAL, "--dest: no address; such as 10.0.0.7:443, 10.0.0.7, [fd00::7]:443, or :443 for a port");
		return EXIT_USAGE;
	}
	if (args->netns && !text_parse_u64(args->netns, &pid) && pid && pid <= INT32_MAX)
		opt->netns_pid = pid;
	else if (args->netns)
		opt->netns_path = args->netns;
	if (who) {
		code = pick_pid("ports", who, &opt->pid);
		if (code)
			return code;
		if (!args->netns)
			opt->netns_pid = opt->pid;
	}
	return EXIT_DONE;
}

static int run_ports(const struct ports_args *args, const char *who)
{
	const struct writer *w = writer_find(formats[args->format]);
	struct ports_run run = { .args = args };
	int code;

	code = choose(args, who, &run.options);
	if (code)
		return code;
	session_hold_signals(true);
	if (sink_open(&run.sink, args->output, args->no_color))
		return EXIT_FAILED;
	if (w && run.sink.terminal && w->terminal_hint)
		log_info("%s", w->terminal_hint);
	run.model = ports_new();
	run.profile = profile_new(ports_source.values);
	if (!run.model || !run.profile) {
		log_error(-ENOMEM, "out of memory");
		code = EXIT_FAILED;
		goto out;
	}
	run.options.model = run.model;
	run.options.max_memory_bytes = args->max_memory;
	run.options.exact_tw = args->exact_tw;
	run.options.bind = args->bind;
	run.options.udp = args->udp;
	code = parser_start(&run.rows_worker) || parser_start(&run.names_worker) ? EXIT_FAILED : run_session(&run);
	if ((code == EXIT_DONE || code == EXIT_LOST) && sink_commit(&run.sink))
		code = EXIT_FAILED;
out:
	sink_close(&run.sink);
	worker_stop(run.rows_worker);
	worker_stop(run.names_worker);
	profile_free(run.profile);
	ports_free(run.model);
	return code;
}

static int check_args(const struct ports_args *args)
{
	if (args->quiet && args->verbose)
		return log_error(-EINVAL, "-q and -v contradict each other");
	if (!args->duration_ns)
		return log_error(-EINVAL, "-d: a time of nothing; leave it out to look until Ctrl-C");
	if (args->interval_ns < 100000000)
		return log_error(-EINVAL, "-i: tables can be made every 100ms at most");
	if (args->max_memory < 1 << 20)
		return log_error(-EINVAL, "--max-memory: the books need at least 1M");
	if (args->max_memory > 16ull << 30)
		return log_error(-EINVAL, "--max-memory: more than 16G are of no use");
	if (args->netns && !*args->netns)
		return log_error(-EINVAL, "--netns: a name of `ip netns`, a file, or a PID");
	if (args->value && args->format != FORMAT_FOLDED)
		return log_error(-EINVAL, "--value is for folded stacks: add -f folded");
	return naming_check(&args->naming);
}

int cmd_ports(int argc, char **argv)
{
	struct ports_args args = defaults;
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
	} else if (who_cnt + !!args.pid > 1) {
		log_error(-EINVAL, "ports takes one process or none; try: sudo ebb ports PID");
	} else if (!check_args(&args)) {
		code = run_ports(&args, args.pid ? args.pid : who_cnt ? who[0] : NULL);
	}
	free(who);
	return code;
}
