/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ports.churn, ports.snapshot, ports.lost: what the source `ports` costs those who connect, what a look costs ebb, and
 * whether it sees everything. What is watched is churn.c, in a new network namespace each time.
 *
 * The figures of ports.churn are rates by CPU time of the thread that connects: on loopback it does everything
 * itself, both ends of TCP and ebb's programs included. By the clock they are the same while a processor is free; that
 * is printed too.
 *
 * The main figure is of clients that close first, into TIME_WAIT: who has too few ports does that, and ebb does
 * most for it. The others are printed beside it, without a bar.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "drive.h"
#include "source/ports.h"
#include "target/netns.h"

#define CONNECTIONS	15000	/* half a second where nothing watches */
#define DESTINATIONS	16
#define NO_STACKS_BAR	0.95
#define STACKS_BAR	0.90
#define TIME_WAITS	28000
#define SNAPSHOT_MS	6

enum kind { CLIENT_FIRST, SERVER_FIRST, RESET };

enum variant { BARE, HOOK, NO_STACKS, STACKS, EXACT, TCPLIFE, TCPSTATES, VARIANTS };

static const char *const variant_names[VARIANTS] = {
	"bare", "an empty program", "ebb without stacks", "ebb", "ebb --exact-time-wait", "tcplife", "tcpstates",
};

/* ebb, or another tool, while it watches; or a program that does nothing at the place where ebb's is: the floor. */
struct watch {
	struct profile *profile;
	struct source *source;	/* NULL: another tool, or nobody */
	struct ports_options options;
	pid_t tool;
	int program_fd, link_fd;	/* 0 = none */
};

static int watch_ebb(struct watch *w, struct ports_options options)
{
	struct source_context context = { 0 };
	int err;

	w->options = options;
	w->options.max_memory_bytes = 64 << 20;
	w->options.model = ports_new();
	w->profile = context.profile = profile_new(ports_source.values);
	if (!w->options.model || !w->profile)
		return -ENOMEM;
	err = ports_source.open(&context, &w->options, &w->source);
	return err ?: ports_source.attach(w->source);
}

static int watch_hook(struct watch *w)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP);
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int type = libbpf_find_vmlinux_btf_id("inet_sock_set_state", BPF_TRACE_RAW_TP);

	if (type < 0)
		return type;
	opts.attach_btf_id = type;
	w->program_fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "bench_empty", "GPL", insns, 2, &opts);
	if (w->program_fd < 0)
		return -errno;
	w->link_fd = bpf_raw_tracepoint_open(NULL, w->program_fd);
	return w->link_fd < 0 ? -errno : 0;
}

/* What it prints goes nowhere, which is the cheapest way. */
static int watch_tool(struct watch *w, const char *name)
{
	int fd;

	w->tool = fork();
	if (w->tool < 0)
		return -errno;
	if (!w->tool) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = open("/dev/null", O_RDWR);
		if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
			_exit(127);
		execlp(name, name, (char *)NULL);
		_exit(127);
	}
	usleep(1000000);	/* it does not say when it is ready */
	if (waitpid(w->tool, NULL, WNOHANG)) {
		w->tool = 0;
		return -ENOEXEC;
	}
	return 0;
}

static void watch_end(struct watch *w)
{
	if (w->source)
		ports_source.close(w->source);
	profile_free(w->profile);
	ports_free(w->options.model);
	if (w->link_fd > 0)
		close(w->link_fd);
	if (w->program_fd > 0)
		close(w->program_fd);
	if (w->tool > 0) {
		kill(w->tool, SIGKILL);
		waitpid(w->tool, NULL, 0);
	}
	*w = (struct watch){ 0 };
}

static int watch_begin(struct watch *w, enum variant v)
{
	*w = (struct watch){ 0 };
	switch (v) {
	case HOOK:
		return watch_hook(w);
	case NO_STACKS:
		return watch_ebb(w, (struct ports_options){ .no_stacks = true });
	case STACKS:
		return watch_ebb(w, (struct ports_options){ 0 });
	case EXACT:
		return watch_ebb(w, (struct ports_options){ .exact_tw = true });
	case TCPLIFE:
	case TCPSTATES:
		return watch_tool(w, variant_names[v]);
	default:
		return 0;
	}
}

/* Takes the programs off; -EPROTO when something was lost. */
static int watch_check(struct watch *w)
{
	int err;

	if (!w->source)
		return 0;
	ports_source.detach(w->source);
	err = ports_source.snapshot(w->source);
	for (size_t i = 0; !err && i < profile_losses_cnt(w->profile); i++)
		if (profile_loss_at(w->profile, i).cnt)
			printf("lost by ebb: %" PRIu64 " %s\n", profile_loss_at(w->profile, i).cnt,
			       profile_loss_at(w->profile, i).name);
	return err;
}

static int churn(struct victim *victim, struct watch *w, enum kind kind, long connections, long destinations,
		 double *ret_cpu_ns, double *ret_wall_ns)
{
	char line[VICTIM_LINE];
	int err;

	snprintf(line, sizeof(line), "%d %ld %ld\n", kind, connections, destinations);
	err = victim_tell(victim, line);
	if (!err)
		err = victim_answer(victim, &ports_source, w->source, line);
	if (!err && sscanf(line, "%lf %lf", ret_cpu_ns, ret_wall_ns) != 2) {
		fprintf(stderr, "churn: %s\n", line);
		return -EPROTO;
	}
	return err;
}

static int run_variant(enum variant v, enum kind kind, double *ret_cpu_ns, double *ret_wall_ns)
{
	struct watch watch = { 0 };
	struct victim victim;
	int err = victim_start("churn", &victim);

	if (!err)
		err = watch_begin(&watch, v);
	if (!err)	/* flows, stacks and slabs are there afterwards */
		err = churn(&victim, &watch, kind, CONNECTIONS / 10, DESTINATIONS, ret_cpu_ns, ret_wall_ns);
	if (!err)
		err = churn(&victim, &watch, kind, CONNECTIONS, DESTINATIONS, ret_cpu_ns, ret_wall_ns);
	if (!err)
		err = watch_check(&watch);
	watch_end(&watch);
	victim_stop(&victim);
	usleep(200000);		/* the kernel takes the namespace down, with all its TIME_WAIT */
	return err;
}

struct figures {
	double cpu[VARIANTS][ROUNDS_MAX], wall[VARIANTS][ROUNDS_MAX];
};

static int measure(enum kind kind, const enum variant *variants, int cnt, int rounds, struct figures *f)
{
	int order[VARIANTS];

	for (int round = 0; round < rounds; round++) {
		shuffle(order, cnt);
		for (int i = 0; i < cnt; i++) {
			enum variant v = variants[order[i]];
			int err = run_variant(v, kind, &f->cpu[v][round], &f->wall[v][round]);

			if (err) {
				fprintf(stderr, "ports.churn: %s: %s\n", variant_names[v], strerror(-err));
				return err;
			}
		}
	}
	return 0;
}

static void say(const char *what, const struct figures *f, const enum variant *variants, int cnt, int rounds)
{
	printf("ports.churn: %s, %d rounds, us a connection by CPU time:", what, rounds);
	for (int i = 0; i < cnt; i++)
		printf(" %s %.2f%s", variant_names[variants[i]], median(f->cpu[variants[i]], rounds) / 1e3,
		       i + 1 < cnt ? "," : "\n");
	printf("ports.churn: %s, of the bare rate by the clock:", what);
	for (int i = 1; i < cnt; i++)
		printf(" %s %.3f%s", variant_names[variants[i]],
		       median_ratio(f->wall[BARE], f->wall[variants[i]], rounds), i + 1 < cnt ? "," : "\n");
}

static bool is_installed(const char *tool)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s > /dev/null", tool);
	return !system(command);
}

static int churn_main(void)
{
	enum variant variants[VARIANTS] = { BARE, HOOK, NO_STACKS, STACKS, EXACT };
	int cnt = 5, rounds = rounds_wanted(15), err;
	struct figures f;

	for (enum variant v = TCPLIFE; v <= TCPSTATES; v++) {
		if (is_installed(variant_names[v]))
			variants[cnt++] = v;
		else
			printf("ports.churn: %s is not installed (libbpf-tools)\n", variant_names[v]);
	}
	err = measure(CLIENT_FIRST, variants, cnt, rounds, &f);
	if (err)
		return err;
	say("the client closes first", &f, variants, cnt, rounds);
	result("ports.churn", median_ratio(f.cpu[BARE], f.cpu[NO_STACKS], rounds), 3, BAR_MIN, NO_STACKS_BAR, "");
	result("ports.churn.stacks", median_ratio(f.cpu[BARE], f.cpu[STACKS], rounds), 3, BAR_MIN, STACKS_BAR, "");
	result("ports.churn.exact", median_ratio(f.cpu[BARE], f.cpu[EXACT], rounds), 3, BAR_NONE, 0, "");
	result("ports.churn.hook", median_ratio(f.cpu[BARE], f.cpu[HOOK], rounds), 3, BAR_NONE, 0, "");
	for (int i = 5; i < cnt; i++) {
		char name[64];

		snprintf(name, sizeof(name), "ports.churn.%s", variant_names[variants[i]]);
		result(name, median_ratio(f.cpu[BARE], f.cpu[variants[i]], rounds), 3, BAR_NONE, 0, "");
	}
	return 0;
}

int bench_ports_churn(void)
{
	static const struct {
		enum kind kind;
		const char *name, *words;
	} others[] = {
		{ SERVER_FIRST, "ports.churn.server", "the server closes first" },
		{ RESET, "ports.churn.reset", "the client resets" },
	};
	static const enum variant variants[] = { BARE, NO_STACKS, STACKS };
	int rounds = rounds_wanted(9), err = churn_main();
	struct figures f;

	for (int i = 0; !err && i < 2; i++) {
		char name[64];

		err = measure(others[i].kind, variants, 3, rounds, &f);
		if (err)
			break;
		say(others[i].words, &f, variants, 3, rounds);
		result(others[i].name, median_ratio(f.cpu[BARE], f.cpu[NO_STACKS], rounds), 3, BAR_NONE, 0, "");
		snprintf(name, sizeof(name), "%s.stacks", others[i].name);
		result(name, median_ratio(f.cpu[BARE], f.cpu[STACKS], rounds), 3, BAR_NONE, 0, "");
	}
	return err;
}

/* The link of the iterator over a namespace's TCP sockets: the source's own, found among our descriptors. */
static int dump_link(void)
{
	DIR *dir = opendir("/proc/self/fdinfo");
	char path[300], text[512];
	struct dirent *entry;
	int found = -ENOENT;

	while (dir && found < 0 && (entry = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		f = fopen(path, "re");
		text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
		if (f)
			fclose(f);
		if (strstr(text, "link_type:\titer") && strstr(text, "target_name:\ttcp\n"))
			found = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

struct dump {
	int link_fd;		/* -1: only the visit itself is measured */
	uint64_t bytes;
};

static int on_namespace(const struct netns_info *info, void *ctx)
{
	static char buf[64 << 10];
	struct dump *d = ctx;
	ssize_t got = 0;
	int fd;

	(void)info;
	d->bytes = 0;
	if (d->link_fd < 0)
		return 0;
	fd = bpf_iter_create(d->link_fd);
	if (fd < 0)
		return -errno;
	while ((got = read(fd, buf, sizeof(buf))) > 0)
		d->bytes += got;
	close(fd);
	return got ? -EIO : 0;
}

/* What `netstat` and `cat /proc/net/tcp` take. */
static int on_namespace_text(const struct netns_info *info, void *ctx)
{
	static char buf[64 << 10];
	int fd = open("/proc/thread-self/net/tcp", O_RDONLY | O_CLOEXEC);
	double start = cpu_ns();
	ssize_t got = -1;

	(void)info;
	while (fd >= 0 && (got = read(fd, buf, sizeof(buf))) > 0)
		continue;
	*(double *)ctx = (cpu_ns() - start) / 1e6;
	if (fd >= 0)
		close(fd);
	return got ? -EIO : 0;
}

static int dump_ms(const struct netns_list *list, int link_fd, double *ret_ms, uint64_t *ret_bytes)
{
	struct dump d = { .link_fd = link_fd };
	double start = cpu_ns();
	int err = netns_list_visit(list, on_namespace, &d, NULL);

	*ret_ms = (cpu_ns() - start) / 1e6;
	*ret_bytes = d.bytes;
	return err;
}

/* Looks, each followed by its parts alone. */
static int look(struct watch *w, pid_t pid, int rounds)
{
	double total[ROUNDS_MAX], wall[ROUNDS_MAX], visit[ROUNDS_MAX], dump[ROUNDS_MAX], text[ROUNDS_MAX];
	struct netns_list *list = NULL;
	uint64_t bytes = 0, tw = 0;
	int err = netns_list_pid(pid, &list);

	for (int i = 0; !err && i < rounds; i++) {
		double start = now_ns(), cpu_start = cpu_ns();

		err = ports_source.snapshot(w->source);
		total[i] = (cpu_ns() - cpu_start) / 1e6;
		wall[i] = (now_ns() - start) / 1e6;
		if (!err)
			err = dump_ms(list, -1, &visit[i], &bytes);
		if (!err)
			err = dump_ms(list, dump_link(), &dump[i], &bytes);
		if (!err)
			err = netns_list_visit(list, on_namespace_text, &text[i], NULL);
	}
	netns_list_free(list);
	if (err)
		return err;
	for (size_t i = 0; i < w->options.model->dests_cnt; i++)
		tw += w->options.model->dests[i].tw;
	if (tw != TIME_WAITS)
		printf("ports.snapshot: it saw %" PRIu64 " TIME_WAIT sockets\n", tw);
	printf("ports.snapshot: %d TIME_WAIT, %d looks, ms of CPU time: in all %.2f (by the clock %.2f); the namespace's settings "
	       "%.2f, its dump alone %.2f (%" PRIu64 " bytes), the rest %.2f; /proc/net/tcp %.2f\n", TIME_WAITS, rounds,
	       median(total, rounds), median(wall, rounds), median(visit, rounds),
	       median(dump, rounds) - median(visit, rounds), bytes, median(total, rounds) - median(dump, rounds),
	       median(text, rounds));
	result("ports.snapshot", median(total, rounds), 2, BAR_MAX, SNAPSHOT_MS, "ms");
	/* hosts differ: the bar was set on one where the text took 23 ms */
	result("ports.snapshot.text", median_ratio(total, text, rounds), 3, BAR_MAX, SNAPSHOT_MS / 23.0, "of /proc/net/tcp");
	return 0;
}

int bench_ports_snapshot(void)
{
	struct watch watch = { 0 };
	struct victim victim;
	double cpu, wall;
	int err = victim_start("churn", &victim);

	if (!err)
		err = watch_ebb(&watch, (struct ports_options){ .netns_pid = victim.pid });
	if (!err)
		err = churn(&victim, &watch, CLIENT_FIRST, TIME_WAITS, 1, &cpu, &wall);
	if (!err)
		err = look(&watch, victim.pid, rounds_wanted(21));
	watch_end(&watch);
	victim_stop(&victim);
	if (err)
		fprintf(stderr, "ports.snapshot: %s\n", strerror(-err));
	return err;
}

#define LOADS		2
#define LOAD_KINDS	3
#define LOAD		50000

/* All at once, each in its own namespace, while the whole machine is watched. */
static int load(struct victim victims[LOADS], struct watch *w)
{
	char line[VICTIM_LINE];
	int err = 0;

	for (int kind = 0; !err && kind < LOAD_KINDS; kind++) {
		snprintf(line, sizeof(line), "%d %d %d\n", kind, LOAD, DESTINATIONS);
		for (int i = 0; !err && i < LOADS; i++)
			err = victim_tell(&victims[i], line);
		for (int i = 0; !err && i < LOADS; i++) {
			char answer[VICTIM_LINE];

			err = victim_answer(&victims[i], &ports_source, w->source, answer);
			if (!err && atof(answer) <= 0)
				err = -EPROTO;
		}
	}
	return err;
}

static void counts(const struct watch *w, const struct victim *victim, struct ports_counters *sum)
{
	const struct ports *model = w->options.model;

	for (size_t i = 0; i < model->flows_cnt; i++) {
		const struct ports_flow *f = &model->flows[i];

		if (model->owners[f->owner].pid != victim->pid)
			continue;
		sum->attempts += f->total.attempts;
		sum->established += f->total.established;
		sum->closed_first += f->total.closed_first;
		sum->closed_by_peer += f->total.closed_by_peer;
		sum->closed_hard += f->total.closed_hard;
	}
}

static uint64_t apart(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

int bench_ports_lost(void)
{
	struct victim victims[LOADS] = { { .in_fd = -1, .out_fd = -1 }, { .in_fd = -1, .out_fd = -1 } };
	struct ports_counters sum = { 0 };
	struct watch watch = { 0 };
	double start = 0;
	int err = 0;

	for (int i = 0; !err && i < LOADS; i++)
		err = victim_start("churn", &victims[i]);
	if (!err)
		err = watch_ebb(&watch, (struct ports_options){ 0 });
	start = now_ns();
	if (!err)
		err = load(victims, &watch);
	start = now_ns() - start;
	if (!err)
		err = watch_check(&watch);
	for (int i = 0; !err && i < LOADS; i++)
		counts(&watch, &victims[i], &sum);
	if (!err) {
		const uint64_t each = (uint64_t)LOADS * LOAD;

		printf("ports.lost: %d connects by %d threads in %.1f s; ebb counted %" PRIu64 " attempts, %" PRIu64
		       " established, %" PRIu64 " closed first, %" PRIu64 " by the peer, %" PRIu64 " by RST\n",
		       LOADS * LOAD * LOAD_KINDS, LOADS, start / 1e9, sum.attempts, sum.established, sum.closed_first,
		       sum.closed_by_peer, sum.closed_hard);
		result("ports.lost", profile_lost(watch.profile), 0, BAR_MAX, 0, "");
		result("ports.lost.wrong", apart(sum.attempts, each * LOAD_KINDS) + apart(sum.established, each * LOAD_KINDS) +
		       apart(sum.closed_first, each) + apart(sum.closed_by_peer, each) + apart(sum.closed_hard, each),
		       0, BAR_MAX, 0, "");
	}
	watch_end(&watch);
	for (int i = 0; i < LOADS; i++)
		victim_stop(&victims[i]);
	if (err)
		fprintf(stderr, "ports.lost: %s\n", strerror(-err));
	return err;
}
