/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks of leak trace: a process that allocates and frees as it is told.
 *
 *	KIND FRAMES THREADS PAIRS LIVE	on standard input, numbers; answers with ns of CPU time a malloc+free pair
 *
 *	KIND 0	malloc(32), free, in a tight loop
 *	KIND 1	churn: frees one of LIVE blocks at random and allocates another in its place
 *	KIND 2	as 0, in a child that is forked for it, after its first 1,000 pairs
 *	FRAMES	how many functions stand on top of each other, main or the thread's first one included
 *	LIVE	how many blocks are held by the time that counting begins; 0 gives all of them back. They stay
 *		held until another number is asked for
 *
 * Each thread does PAIRS pairs. The answer is the CPU time of all threads over all pairs: what a thread waits for
 * a processor on a busy machine is not in it, traps and spinning are.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "line.h"

#define THREADS_MAX	2
#define LIVE_MAX	(8u << 20)

struct job {
	long kind, frames, threads, pairs, live;
};

static struct job job;
static void **blocks;
static long held;
static volatile long sink;

static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

__attribute__((noinline)) static void tight(void)
{
	for (long i = 0; i < job.pairs; i++) {
		void *p = malloc(32);

		__asm__ volatile("" : "+r"(p) :: "memory");
		free(p);
	}
}

/* Each thread has its own part of the blocks. */
__attribute__((noinline)) static void churn(long thread)
{
	uint64_t random = 88172645463325252ull + thread;
	long cnt = job.live / job.threads;
	void **mine = blocks + thread * cnt;

	for (long i = 0; i < job.pairs; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		void **block = &mine[(unsigned __int128)random * cnt >> 64];

		free(*block);
		*block = malloc(16 + (random & 127));
	}
}

__attribute__((noinline)) static void descend(long thread, long frames)
{
	if (frames > 1)
		descend(thread, frames - 1);
	else if (job.kind == 1)
		churn(thread);
	else
		tight();
	sink++;		/* so that no call is the last thing that a function does */
}

/* The function that loops and the first one of a thread are frames too. */
static void *thread_main(void *arg)
{
	descend((long)arg, job.frames - 2);
	sink++;
	return NULL;
}

static void hold(long live)
{
	while (held > live)
		free(blocks[--held]);
	while (held < live) {
		blocks[held] = malloc(16 + (held & 127));
		held++;
	}
}

#define CHILD_FIRST	1000

static double run_child(void)
{
	long pairs = job.pairs;
	double start, ns = 0;
	int fds[2];
	pid_t child;

	if (pipe(fds))
		_exit(1);
	child = fork();
	if (!child) {
		job.pairs = CHILD_FIRST;
		descend(0, job.frames - 4);
		job.pairs = pairs;
		start = cpu_ns();
		descend(0, job.frames - 4);
		ns = (cpu_ns() - start) / pairs;
		_exit(write(fds[1], &ns, sizeof(ns)) != sizeof(ns));
	}
	close(fds[1]);
	if (child < 0 || read(fds[0], &ns, sizeof(ns)) != sizeof(ns))
		_exit(1);
	close(fds[0]);
	waitpid(child, NULL, 0);
	return ns;
}

static double run(void)
{
	pthread_t threads[THREADS_MAX];
	double start = cpu_ns();

	if (job.kind == 2)
		return run_child();
	if (job.threads == 1) {
		descend(0, job.frames - 3);	/* run(), main() and who loops */
		return (cpu_ns() - start) / job.pairs;
	}
	for (long i = 0; i < job.threads; i++)
		if (pthread_create(&threads[i], NULL, thread_main, (void *)i))
			_exit(1);
	for (long i = 0; i < job.threads; i++)
		pthread_join(threads[i], NULL);
	return (cpu_ns() - start) / (job.threads * job.pairs);
}

int main(void)
{
	char line[128];

	blocks = mmap(NULL, LIVE_MAX * sizeof(*blocks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (blocks == MAP_FAILED)
		return 1;
	line_say("ready");
	while (line_read(line, sizeof(line))) {
		double ns = 0;

		if (sscanf(line, "%ld %ld %ld %ld %ld", &job.kind, &job.frames, &job.threads, &job.pairs, &job.live) != 5 ||
		    job.threads < 1 || job.threads > THREADS_MAX || job.live < 0 || job.live > (long)LIVE_MAX)
			return 2;
		hold(job.live);
		if (job.pairs)
			ns = run();
		line_say("%.2f", ns);
	}
	return 0;
}
