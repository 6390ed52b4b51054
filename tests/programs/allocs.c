/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plain program whose held blocks are known, to be run with other allocators (preloaded, linked
 * statically) and without symbols.
 *
 * Prints `ready PID`; at a line of standard input it allocates, churns, prints `SITE BYTES BLOCKS` for
 * each of its functions and `done`; then it holds everything and, at every further line but `quit`,
 * churns again and prints `ok`.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"

#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")

__attribute__((noinline)) void *keep_these(size_t size)
{
	void *p = malloc(size);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *keep_aligned(size_t align, size_t size)
{
	void *p = aligned_alloc(align, size);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *keep_posix(size_t align, size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, align, size))
		return NULL;
	STAY(p);
	return p;
}

__attribute__((noinline)) void *keep_zeroed(size_t cnt, size_t size)
{
	void *p = calloc(cnt, size);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *keep_start(size_t size)
{
	void *p = malloc(size);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *keep_grown(void *old, size_t size)
{
	void *p = realloc(old, size);

	STAY(p);
	return p;
}

__attribute__((noinline)) void churn_these(void)
{
	for (int i = 0; i < 2000; i++) {
		void *p = malloc(1 + i % 700), *q = calloc(3, 50);

		p = realloc(p, 1 + i % 3000);
		STAY(p);
		STAY(q);
		free(q);
		free(p);
	}
}

int main(void)
{
	char cmd[64];
	void *p = NULL;

	line_say("ready %d", getpid());
	line_wait();
	for (int i = 0; i < 1000; i++)
		p = keep_these(100);
	for (int i = 0; i < 10; i++)
		p = keep_aligned(64, 4096);
	for (int i = 0; i < 10; i++)
		p = keep_posix(128, 1000);
	for (int i = 0; i < 50; i++)
		p = keep_zeroed(4, 60);
	for (int i = 0; i < 20; i++) {
		p = keep_start(50);
		p = keep_grown(p, 5000);
		p = keep_grown(p, 50000);
	}
	STAY(p);
	churn_these();
	line_say("keep_these 100000 1000");
	line_say("keep_aligned 40960 10");
	line_say("keep_posix 10000 10");
	line_say("keep_zeroed 12000 50");
	line_say("keep_start 0 0");
	line_say("keep_grown 1000000 20");
	line_say("total 1162960 1090");
	line_say("done");
	while (line_read(cmd, sizeof(cmd)) && strcmp(cmd, "quit")) {
		churn_these();
		line_say("ok");
	}
	return 0;
}
