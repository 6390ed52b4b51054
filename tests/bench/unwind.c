/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unwind.frames22: a stack of 22 frames without frame pointers, walked by rows, stored and counted ÷ what the kernel's
 * bpf_get_stack() takes for the same program built with frame pointers. By the kernel's own measurement of both programs'
 * run time, that of an empty program taken off.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "base/worker.h"
#include "bench.h"
#include "bench_unwind.skel.h"
#include "cmd/parser.h"
#include "drive.h"
#include "source/loader.h"
#include "source/unwinder.h"
#include "trace/attach.h"
#include "trace/survey.h"

#define FRAMES	22
#define PAIRS	20000

struct side {
	struct victim victim;
	struct target *target;
	int fd;			/* of the C library */
	uint64_t off;		/* of malloc in it */
};

static int side_open(struct side *s, const char *program)
{
	const struct survey_options limits = { .time_ms = PARSER_TIME_MS, .data_bytes = PARSER_DATA_BYTES };
	struct survey survey = { .plan = NULL };
	enum target_problem problem;
	pid_t tgid;
	int err = victim_start(program, &s->victim);

	if (!err)
		err = target_open(s->victim.pid, NULL, &s->target, &problem, &tgid);
	if (!err)
		err = survey_make(s->target, &limits, &survey);
	s->fd = -1;
	for (size_t i = 0; !err && i < survey.plan->sites_cnt; i++) {
		const struct plan_site *site = &survey.plan->sites[i];

		if (site->kind != PROBE_MALLOC || !strstr(site->function, "malloc") || strstr(site->function, "valloc"))
			continue;
		s->fd = site->module->fd;
		s->off = site->off - site->insn.delta_bytes;
	}
	survey_free(&survey);
	return err ? err : s->fd < 0 ? -ENOENT : 0;
}

/* ns of a run of this program while the victim allocates. */
static int run_ns(struct side *s, const struct bpf_program *prog, double *ret)
{
	const struct job job = { .frames = FRAMES, .threads = 1, .pairs = PAIRS };
	struct bpf_prog_info before = { 0 }, after = { 0 };
	__u32 len = sizeof(before);
	int event_fd = -1, link, err;

	bpf_obj_get_info_by_fd(bpf_program__fd(prog), &before, &len);
	link = attach_one(ATTACH_PERF, bpf_program__fd(prog), s->fd, s->off, 0, false, s->victim.pid, &event_fd);
	if (link < 0)
		return link;
	err = victim_run(&s->victim, &job, NULL, NULL);
	close(link);
	close(event_fd);
	len = sizeof(after);
	bpf_obj_get_info_by_fd(bpf_program__fd(prog), &after, &len);
	if (!err && after.run_cnt - before.run_cnt < PAIRS)
		err = -EIO;
	if (!err)
		*ret = (double)(after.run_time_ns - before.run_time_ns) / (after.run_cnt - before.run_cnt);
	return err;
}

static int measure(struct bench_unwind_bpf *skel, struct side *rows, struct side *pointers)
{
	double walk[ROUNDS_MAX], kernel[ROUNDS_MAX], empty;
	int n = rounds_wanted(15), err = 0;

	for (int i = 0; !err && i < n; i++) {
		err = run_ns(rows, skel->progs.bench_empty, &empty);
		if (!err)
			err = run_ns(rows, skel->progs.bench_walk, &walk[i]);
		if (!err)
			err = run_ns(pointers, skel->progs.bench_kernel, &kernel[i]);
		if (err)
			break;
		walk[i] -= empty;
		kernel[i] -= empty;
	}
	if (err)
		return err;
	printf("unwind.frames22, %d rounds: walk %.0f ns, bpf_get_stack %.0f ns for %llu frames\n", n, median(walk, n),
	       median(kernel, n), (unsigned long long)skel->bss->kernel_frames);
	result("unwind.frames22", median_ratio(walk, kernel, n), 3, BAR_MAX, 0.45, "");
	return 0;
}

int bench_unwind(void)
{
	const struct unwinder_settings set = { .stacks_max = 4096, .processes_max = 1, .mappings_max = 2 * UNWIND_MAPPINGS_MAX,
					       .rows_max_bytes = 64u << 20 };
	struct side rows = { .fd = -1 }, pointers = { .fd = -1 };
	struct bench_unwind_bpf *skel = NULL;
	struct unwinder u = { 0 };
	struct worker *w = NULL;
	int stats = -1, err;

	err = worker_start(&parser_service, &w);
	if (!err)
		err = side_open(&rows, "victim-rows");
	if (!err)
		err = side_open(&pointers, "victim");
	if (!err)
		err = loader_prepare();
	if (!err) {
		skel = bench_unwind_bpf__open();
		err = skel ? unwinder_size(skel->obj, &set) : -errno;
	}
	if (!err) {
		UNWINDER_CONSTANTS(skel, &set);
		err = bench_unwind_bpf__load(skel);
	}
	if (!err)
		err = unwinder_open(&u, skel->obj, &set, w);
	if (!err)
		err = unwinder_set_target(&u, rows.target);
	if (!err) {
		stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
		err = measure(skel, &rows, &pointers);
		close(stats);
	}
	if (err)
		fprintf(stderr, "unwind.frames22: %s\n", strerror(-err));
	unwinder_close(&u);
	bench_unwind_bpf__destroy(skel);
	target_free(rows.target);
	target_free(pointers.target);
	victim_stop(&rows.victim);
	victim_stop(&pointers.victim);
	worker_stop(w);
	return err;
}
