/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mem.walk: the walk of a malloc heap of 1.5 GB with 2.5 M blocks, a third of them free, in a child. In further rounds that one
 * maps and unmaps a page all the time: how much longer that takes during walks is what the target waits for the lock of its
 * address space. On a machine with more to do than processors the longest waits are those for a walk that was preempted.
 *
 * The result is what one waits for. On a busy machine the CPU time beside it says more: the walk runs in a child of its own, so
 * that is what that one took.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "target/glibc_heap.h"

#define BLOCKS		2500000
#define ROUNDS		9
#define LOCK_ROUNDS	9
#define WAITS		(1 << 20)	/* of the last ones */
#define QUIET_US	500000

/* Shared with the child. */
struct shared {
	volatile bool ready, maps;
	volatile size_t cnt;		/* pairs of mmap() and munmap() so far */
	float us[WAITS];		/* what each took */
};

/* Waits until it shall map. */
static bool shared_maps(const struct shared *s)
{
	if (!s->maps)
		usleep(10000);
	return s->maps;
}

static void child_run(struct shared *s)
{
	void **blocks = malloc(BLOCKS * sizeof(*blocks));
	unsigned int seed = 7;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; blocks && i < BLOCKS; i++) {
		size_t bytes = 32 + rand_r(&seed) % 1150;

		blocks[i] = malloc(bytes);
		if (!blocks[i])
			_exit(1);
		memset(blocks[i], 1, bytes);
	}
	for (size_t i = 0; blocks && i < BLOCKS; i++)
		if (rand_r(&seed) % 3 == 0)
			free(blocks[i]);
	s->ready = blocks;
	for (;; usleep(20)) {
		double began = now_ns();
		void *p = shared_maps(s) ? mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;

		if (!p)
			continue;
		munmap(p, 4096);
		s->us[s->cnt % WAITS] = (now_ns() - began) / 1e3;
		s->cnt++;
	}
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* Prints the waits from one count to another, and returns their 99th percentile. */
static double waits_say(struct shared *s, size_t from, size_t to, const char *when)
{
	size_t cnt = to - from < WAITS ? to - from : 0;
	float *us = malloc((cnt + 1) * sizeof(*us));
	double p99 = 0;

	for (size_t i = 0; us && i < cnt; i++)
		us[i] = s->us[(from + i) % WAITS];
	if (us && cnt) {
		qsort(us, cnt, sizeof(*us), compare);
		p99 = us[cnt * 99 / 100];
		printf("mem.walk: mmap and munmap of the target %s: %zu, half of them within %.0f us, 99 %% within %.0f, 99.9 %% within %.0f, "
		       "all within %.0f\n", when, cnt, us[cnt / 2], p99, us[cnt * 999 / 1000], us[cnt - 1]);
	}
	free(us);
	return p99;
}

static double children_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

static int walks_run(struct target *t, int rounds, bool say, double *s, double *cpu_s)
{
	static const struct heap_walk_options options = { .time_ms = HEAP_WALK_TIME_MS, .data_bytes = HEAP_WALK_DATA_BYTES };

	for (int i = 0; i < rounds; i++) {
		double began = now_ns(), children = children_ns(), cpu = cpu_ns();
		struct heap_walk w;
		int err = heap_walk(t, &options, &w);

		if (err)
			return err;
		s[i] = (now_ns() - began) / 1e9;
		cpu_s[i] = (children_ns() - children + cpu_ns() - cpu) / 1e9;
		if (!i && say)
			printf("mem.walk: %.2f GB, %.2f M chunks, %.0f %% of it free, %.2f GB read%s%s\n", w.sum.system_bytes / 1e9,
			       (w.sum.used_cnt + w.sum.cached_cnt + w.sum.fast_cnt + w.sum.free_cnt) / 1e6,
			       100. * w.sum.free_bytes / w.sum.system_bytes, w.read_bytes / 1e9, w.why ? ": " : "", w.why ? w.why : "");
		err = w.tiles ? 0 : -EBADMSG;
		heap_walk_free(&w);
		if (err)
			return err;
	}
	return 0;
}

static int measure(struct shared *shared, pid_t pid)
{
	int rounds = rounds_wanted(ROUNDS), err;
	double s[ROUNDS_MAX], cpu_s[ROUNDS_MAX], lock_s[LOCK_ROUNDS], quiet, busy;
	struct target *t = NULL;
	enum target_problem problem;
	struct rusage usage;
	size_t from, middle;
	pid_t tgid;

	for (int i = 0; i < 6000 && !shared->ready; i++)
		usleep(10000);
	err = shared->ready ? target_open(pid, NULL, &t, &problem, &tgid) : -ETIME;
	if (!err)
		err = walks_run(t, rounds, true, s, cpu_s);
	shared->maps = true;
	usleep(20000);
	from = shared->cnt;
	usleep(QUIET_US);
	middle = shared->cnt;
	if (!err)
		err = walks_run(t, LOCK_ROUNDS, false, lock_s, lock_s);
	if (!err) {
		quiet = waits_say(shared, from, middle, "by itself");
		busy = waits_say(shared, middle, shared->cnt, "during walks");
		getrusage(RUSAGE_CHILDREN, &usage);
		result("mem.walk", median(s, rounds), 3, BAR_MAX, 0.6, "s");
		result("mem.walk.cpu", median(cpu_s, rounds), 3, BAR_NONE, 0, "s");
		result("mem.walk.rss", usage.ru_maxrss / 1024., 1, BAR_NONE, 0, "MiB");
		result("mem.walk.wait", busy - quiet, 0, BAR_NONE, 0, "us more for 99 % of the target's mmap and munmap");
	}
	target_free(t);
	return err;
}

int bench_mem_walk(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int err;

	if (shared == MAP_FAILED)
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid)
		child_run(shared);
	err = pid < 0 ? -EAGAIN : measure(shared, pid);
	if (err)
		fprintf(stderr, "mem.walk: %s\n", strerror(-err));
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	munmap(shared, sizeof(*shared));
	return err;
}
