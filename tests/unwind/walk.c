/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * walk PID OBJECT OFFSET [-n STACKS] [-r | -R] [-c]
 *
 * Probes the function at file offset OFFSET of OBJECT (a path that the process maps) in PID and prints the stacks that
 * the kernel's walker gave, when STACKS distinct ones are there, at SIGINT or SIGTERM, or when the process has ended:
 *
 *	stack CNT END		CNT = how often it was seen, END = how the walk ended
 *	0x7f… exact|return	a frame a line, innermost first
 *	total EVENTS ENDED
 *	counter NAME: VALUE
 *
 * -r: at its return too (both kinds of stacks are printed). -R: at its return only. -c: what is remembered is walked
 * again and compared. It says "ready" on stderr when it counts.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "base/worker.h"
#include "cmd/parser.h"
#include "source/loader.h"
#include "source/unwinder.h"
#include "target/target.h"
#include "trace/attach.h"
#include "walk.skel.h"

#define STACKS_MAX_	65536u

static const char *const end_names[STACK_ENDS] = {
	[STACK_ENDED] = "ended", [STACK_CUT_DEPTH] = "depth", [STACK_CUT_POINTER] = "frame-pointer", [STACK_CUT_READ] = "read",
	[STACK_CUT_RULE] = "rule", [STACK_CUT_LOOP] = "loop", [STACK_CUT_OUTSIDE] = "outside", [STACK_CUT_UNTABLED] = "untabled",
};

static struct stack_event *events[STACKS_MAX_];
static unsigned int events_cnt;
static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int on_stack(void *ctx, void *data, size_t size)
{
	const struct stack_event *e = data;

	(void)ctx;
	if (e->index >= STACKS_MAX_ || events[e->index])
		return 0;
	events[e->index] = calloc(1, sizeof(*e));
	if (events[e->index]) {
		memcpy(events[e->index], data, size < sizeof(*e) ? size : sizeof(*e));
		events_cnt++;
	}
	return 0;
}

static uint64_t count_of(int fd, uint32_t index)
{
	uint64_t cnt = 0;

	bpf_map_lookup_elem(fd, &index, &cnt);
	return cnt;
}

static void print_all(struct unwinder *u, int counts_fd)
{
	uint64_t total = count_of(counts_fd, STACK_FULL), ended = 0, cnt;
	const char *name;

	for (uint32_t i = 0; i < STACKS_MAX_; i++) {
		const struct stack_event *e = events[i];

		if (!e || !(cnt = count_of(counts_fd, i)))
			continue;
		total += cnt;
		ended += e->end == STACK_ENDED ? cnt : 0;
		printf("stack %" PRIu64 " %s\n", cnt, e->end < STACK_ENDS ? end_names[e->end] : "?");
		for (int f = 0; f < e->frames_cnt; f++)
			printf("0x%" PRIx64 " %s\n", (uint64_t)STACK_FRAME_ADDR(e->frames[f]),
			       e->frames[f] & STACK_FRAME_EXACT ? "exact" : "return");
	}
	printf("total %" PRIu64 " %" PRIu64 "\n", total, ended);
	for (unsigned int i = 0; unwinder_counter_at(u, i, &name, &cnt); i++)
		printf("counter %s: %" PRIu64 "\n", name, cnt);
	for (int i = 1; i < STACK_ENDS; i++)
		if (u->state->ends[i])
			printf("counter cut %s: %" PRIu64 "\n", end_names[i], (uint64_t)u->state->ends[i]);
}

/* Follows the process until it is enough. */
static void follow(struct ring_buffer *rings, struct unwinder *u, struct target *t, unsigned int stacks_cnt)
{
	struct pollfd fds[2] = { { .fd = t->pidfd, .events = POLLIN }, { .fd = ring_buffer__epoll_fd(rings), .events = POLLIN } };

	while (!stopped && events_cnt < stacks_cnt) {
		poll(fds, 2, 100);
		ring_buffer__consume(rings);
		if (fds[0].revents)
			break;
		if (unwinder_misses_code(u) && target_refresh(t) >= 0)
			unwinder_set_target(u, t);
	}
	usleep(20000);
	ring_buffer__consume(rings);
}

static int usage(void)
{
	fprintf(stderr, "usage: walk PID OBJECT OFFSET [-n STACKS] [-r | -R] [-c]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct unwinder_settings set = { .stacks_max = STACKS_MAX_, .processes_max = 1,
					 .mappings_max = 2 * UNWIND_MAPPINGS_MAX, .rows_max_bytes = 256u << 20 };
	bool entry = true, ret = false;
	unsigned int stacks_cnt = STACKS_MAX_;
	struct sigaction act = { .sa_handler = on_signal };
	struct unwinder u = { 0 };
	struct walk_bpf *skel = NULL;
	struct ring_buffer *rings;
	enum target_problem problem;
	struct worker *w = NULL;
	struct target *t = NULL;
	int opt, fd, err, links[2] = { -1, -1 }, event_fd = -1;
	uint64_t off;
	pid_t tgid;

	while ((opt = getopt(argc, argv, "n:rRc")) != -1) {
		if (opt == 'n')
			stacks_cnt = atoi(optarg);
		else if (opt == 'r' || opt == 'R')
			ret = true, entry = opt == 'r';
		else if (opt == 'c')
			set.check = true;
		else
			return usage();
	}
	if (argc - optind != 3)
		return usage();
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	off = strtoull(argv[optind + 2], NULL, 0);
	fd = open(argv[optind + 1], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return perror(argv[optind + 1]), 1;
	err = worker_start(&parser_service, &w);
	if (!err)
		err = target_open(atoi(argv[optind]), w, &t, &problem, &tgid);
	if (!err)
		err = loader_prepare();
	skel = walk_bpf__open();
	if (!err && skel) {
		UNWINDER_CONSTANTS(skel, &set);
		err = unwinder_size(skel->obj, &set) ?: walk_bpf__load(skel);
	}
	if (!err)
		err = unwinder_open(&u, skel->obj, &set, w);
	if (!err)
		err = unwinder_set_target(&u, t);
	if (err)
		return fprintf(stderr, "walk: %s\n", strerror(-err)), 1;
	rings = ring_buffer__new(bpf_map__fd(skel->maps.stack_events), on_stack, NULL, NULL);
	if (ret)
		links[0] = attach_one(ATTACH_PERF, bpf_program__fd(skel->progs.walk_return), fd, off, 0, true, t->pid, &event_fd);
	if (entry)
		links[1] = attach_one(ATTACH_PERF, bpf_program__fd(skel->progs.walk_entry), fd, off, 0, false, t->pid, &event_fd);
	if ((ret && links[0] < 0) || (entry && links[1] < 0))
		return fprintf(stderr, "walk: attaching: %s\n", strerror(-(ret && links[0] < 0 ? links[0] : links[1]))), 1;
	fprintf(stderr, "ready\n");
	follow(rings, &u, t, stacks_cnt);
	for (int i = 0; i < 2; i++)
		if (links[i] >= 0)
			close(links[i]);
	print_all(&u, bpf_map__fd(skel->maps.walk_counts));
	ring_buffer__free(rings);
	unwinder_close(&u);
	walk_bpf__destroy(skel);
	target_free(t);
	worker_stop(w);
	return 0;
}
