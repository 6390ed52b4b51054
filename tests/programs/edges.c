/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The corners of the allocator's interface, each in a function of its own whose sums are known.
 *
 * Prints `ready PID` after it has allocated the blocks that are older than any tracer; then obeys:
 *
 *	run	does everything once and prints `SITE BYTES BLOCKS` for each function, then `done`
 *	quit
 *
 * Built for glibc: realloc(p, 0) frees.
 */
#include <pthread.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"

#define EDGE __attribute__((noinline))
#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")

/* tail.c: malloc and free behind a jump instead of a call. */
void *tail_malloc(size_t size);
void *tail_tail_malloc(size_t size);
void tail_free(void *p);

static volatile size_t huge = PTRDIFF_MAX - 64, zero;
static void *born[200];
static void *kept[1000];
static int kept_cnt;

static void keep(void *p)
{
	kept[kept_cnt++] = p;
}

static void want(bool right, const char *what)
{
	if (!right) {
		line_say("wrong: %s", what);
		_exit(1);
	}
}

EDGE void edge_born_before(void)
{
	for (int i = 0; i < 200; i++)
		born[i] = malloc(100);
}

/* NULL is not an allocation. */
EDGE void edge_null(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = malloc(huge);

		want(!p, "malloc of a huge size");
		p = calloc(huge, 2);
		want(!p, "calloc of a huge size");
		p = aligned_alloc(4096, huge);
		want(!p, "aligned_alloc of a huge size");
		p = (void *)4096;
		want(posix_memalign(&p, 24, 100) == EINVAL, "posix_memalign with a wrong alignment");
	}
}

EDGE void *edge_fail_old(void)
{
	void *p = malloc(1000);

	STAY(p);
	return p;
}

/* A realloc that fails leaves the old block where and whose it was. */
EDGE void edge_realloc_fail(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = edge_fail_old(), *q;

		keep(p);
		q = realloc(p, huge);
		want(!q, "realloc to a huge size");
		q = reallocarray(kept[kept_cnt - 1], huge, 2);
		want(!q, "reallocarray to a huge size");
	}
}

EDGE void edge_realloc_zero(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = malloc(500), *q;

		q = realloc(p, zero);
		want(!q, "realloc to nothing");
	}
}

EDGE void edge_free_null(void)
{
	for (int i = 0; i < 10; i++)
		free(NULL);
	__asm__ volatile("" ::: "memory");
}

/* Blocks that a tracer has never seen born: freeing them takes nothing from anybody. */
EDGE void edge_free_born(void)
{
	for (int i = 0; i < 100; i++)
		free(born[i]);
	__asm__ volatile("" ::: "memory");
}

/* … and a realloc of such a block is a birth. */
EDGE void edge_realloc_born(void)
{
	for (int i = 100; i < 200; i++) {
		born[i] = realloc(born[i], 300);
		STAY(born[i]);
	}
}

/* Another block behind it, so that realloc has to move: malloc, copy, free inside the allocator. */
EDGE void edge_fence(void)
{
	void *p = malloc(32);

	STAY(p);
	keep(p);
}

EDGE void edge_realloc_nested(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = malloc(3000);

		edge_fence();
		p = realloc(p, 40000);
		edge_fence();
		p = realloc(p, 400000);		/* into a mapping of its own */
		p = realloc(p, 800000);		/* mremap */
		STAY(p);
		keep(p);
	}
}

/* malloc(0) is a block, if of no bytes. */
EDGE void edge_no_bytes(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = malloc(zero);

		STAY(p);
		want(p, "malloc of nothing");
		keep(p);
	}
}

/* The wrappers jump to malloc: their frames are gone, the block is this function's. */
EDGE void edge_tail(void)
{
	for (int i = 0; i < 10; i++) {
		void *p = tail_malloc(70), *q = tail_tail_malloc(7), *r = tail_malloc(50);

		STAY(p);
		STAY(q);
		STAY(r);
		keep(p);
		keep(q);
		tail_free(r);
	}
}

/* The same address lives again and again. */
EDGE void edge_reuse(void)
{
	for (int i = 0; i < 1000; i++) {
		void *p = malloc(222);

		STAY(p);
		free(p);
	}
}

EDGE void *edge_thread_block(void)
{
	void *p = malloc(60);

	STAY(p);
	return p;
}

/* A thread that ends by pthread_exit while it holds blocks: they stay. */
static void *edge_thread_main(void *arg)
{
	arg = edge_thread_block();
	pthread_exit(arg);
}

/* Threads that are cancelled where that is allowed: asleep, holding a block. */
static void *edge_cancel_main(void *arg)
{
	__atomic_store_n((void **)arg, edge_thread_block(), __ATOMIC_RELEASE);
	while (!pause() || errno == EINTR)
		;
	return NULL;
}

static void edge_threads(void)
{
	void *place[20] = { NULL };

	for (int i = 0; i < 20; i++) {
		pthread_t t;

		want(!pthread_create(&t, NULL, i < 10 ? edge_thread_main : edge_cancel_main, &place[i]), "a thread");
		if (i >= 10) {
			while (!__atomic_load_n(&place[i], __ATOMIC_ACQUIRE))
				usleep(1000);
			pthread_cancel(t);
			pthread_join(t, NULL);
		} else {
			pthread_join(t, &place[i]);
		}
		keep(place[i]);
	}
}

static void run(void)
{
	edge_null();
	edge_realloc_fail();
	edge_realloc_zero();
	edge_free_null();
	edge_free_born();
	edge_realloc_born();
	edge_realloc_nested();
	edge_no_bytes();
	edge_tail();
	edge_reuse();
	edge_threads();
	line_say("edge_born_before 0 0");
	line_say("edge_null 0 0");
	line_say("edge_fail_old 10000 10");
	line_say("edge_realloc_fail 0 0");
	line_say("edge_realloc_zero 0 0");
	line_say("edge_realloc_born 30000 100");
	line_say("edge_fence 640 20");
	line_say("edge_realloc_nested 8000000 10");
	line_say("edge_no_bytes 0 10");
	line_say("edge_tail 770 20");
	line_say("edge_reuse 0 0");
	line_say("edge_thread_block 1200 20");
	line_say("done");
}

int main(void)
{
	char cmd[64];

	edge_born_before();
	line_say("ready %d", getpid());
	while (line_read(cmd, sizeof(cmd)) && strcmp(cmd, "quit"))
		if (!strcmp(cmd, "run"))
			run();
	return 0;
}
