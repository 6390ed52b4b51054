/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program that keeps books on itself: seeded random allocator calls from 8 threads, each call from
 * one of 16 functions (sites), and a ledger by site of what is held. A tracer that is exact has the
 * same numbers.
 *
 *	ledger [OPERATIONS [CHILDREN]]	in all threads together, 2,000,000; forks as many children meanwhile, which keep blocks
 *			of their own and end
 *
 *	ready PID		then it waits for a line on standard input
 *	done OPERATIONS
 *	SITE BYTES BLOCKS	for each site, what it holds: sizes as they were asked for
 *	total BYTES BLOCKS
 *	end			then it keeps everything until the next line or the end of the input
 *
 * A block belongs to the site that allocated it last: realloc moves it to its own. Counted in are
 * malloc(0) and realloc(NULL, 0), which hand out a block of no bytes; not counted are calls that fail.
 * Threads swap blocks through an exchange, so about half of all blocks are freed by another thread
 * than the one that made them. The ledger's own memory is static or comes from mmap.
 */
#include <pthread.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "line.h"

#define THREADS 8
#define PLACES 4096	/* blocks that a thread has at most */
#define EXCHANGE 512

/* Not a constant, so that no compiler warns of it or knows the outcome. */
static volatile size_t huge = PTRDIFF_MAX - 64;

#define SITES(X) \
	X(malloc_0) X(malloc_1) X(malloc_2) X(malloc_3) X(calloc_0) X(calloc_1) X(realloc_0) X(realloc_1) \
	X(realloc_2) X(realloc_3) X(reallocarray_0) X(memalign_0) X(aligned_alloc_0) X(aligned_alloc_1) \
	X(posix_memalign_0) X(valloc_0)

enum site {
#define X(name) SITE_##name,
	SITES(X)
#undef X
	SITES_CNT
};

static const char *const site_names[] = {
#define X(name) "site_" #name,
	SITES(X)
#undef X
};

/* The call is never the last thing that a site does, so its return address lies in the site. */
#define SITE __attribute__((noinline))
#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")

#define MALLOC_SITE(n) SITE void *site_malloc_##n(size_t size) { void *p = malloc(size); STAY(p); return p; }
MALLOC_SITE(0)
MALLOC_SITE(1)
MALLOC_SITE(2)
MALLOC_SITE(3)
#define CALLOC_SITE(n) SITE void *site_calloc_##n(size_t cnt, size_t size) { void *p = calloc(cnt, size); STAY(p); return p; }
CALLOC_SITE(0)
CALLOC_SITE(1)
#define REALLOC_SITE(n) SITE void *site_realloc_##n(void *old, size_t size) { void *p = realloc(old, size); STAY(p); return p; }
REALLOC_SITE(0)
REALLOC_SITE(1)
REALLOC_SITE(2)
REALLOC_SITE(3)
SITE void *site_reallocarray_0(void *old, size_t cnt, size_t size) { void *p = reallocarray(old, cnt, size); STAY(p); return p; }
SITE void *site_memalign_0(size_t align, size_t size) { void *p = memalign(align, size); STAY(p); return p; }
SITE void *site_aligned_alloc_0(size_t align, size_t size) { void *p = aligned_alloc(align, size); STAY(p); return p; }
SITE void *site_aligned_alloc_1(size_t align, size_t size) { void *p = aligned_alloc(align, size); STAY(p); return p; }
SITE void *site_posix_memalign_0(size_t align, size_t size)
{
	void *p = (void *)16;	/* must not be taken for a block when the call fails */
	int err = posix_memalign(&p, align, size);

	STAY(p);
	return err ? NULL : p;
}
SITE void *site_valloc_0(size_t size) { void *p = valloc(size); STAY(p); return p; }

SITE void release(void *p)
{
	free(p);
	__asm__ volatile("" ::: "memory");
}

struct block {
	void *p;
	size_t size;
	enum site site;
};

struct place {
	pthread_mutex_t lock;
	struct block block;
};

struct worker {
	pthread_t thread;
	uint64_t seed;
	unsigned long ops;
	unsigned long fails;	/* calls that failed as they should */
	int64_t bytes[SITES_CNT], blocks[SITES_CNT];
	struct block places[PLACES];
};

static struct place exchange[EXCHANGE];
static struct worker *workers;
static volatile unsigned long surprises;

static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Mostly small, sometimes none, rarely large enough for a mapping of its own. */
static size_t random_size(uint64_t *seed)
{
	uint64_t r = next_random(seed);

	if (r % 100 == 0)
		return 0;
	if (r % 5000 == 1)
		return 150000 + (r >> 32) % 100000;
	if (r % 20 == 2)
		return (r >> 32) % 20000;
	return 1 + (r >> 32) % 500;
}

static void book(struct worker *w, struct block *b, void *p, size_t size, enum site site)
{
	*b = (struct block){ p, size, site };
	w->bytes[site] += (int64_t)size;
	w->blocks[site]++;
}

static void unbook(struct worker *w, struct block *b)
{
	w->bytes[b->site] -= (int64_t)b->size;
	w->blocks[b->site]--;
	b->p = NULL;
}

/* A call that must fail: no block, and an old one stays what it is. */
static void must_fail(struct worker *w, const void *p)
{
	w->fails++;
	if (p)
		__atomic_add_fetch(&surprises, 1, __ATOMIC_RELAXED);
}

static void allocate(struct worker *w, struct block *b)
{
	size_t size = random_size(&w->seed), cnt = 1;
	uint64_t r = next_random(&w->seed);
	enum site site = r % SITES_CNT;
	size_t align = 16ul << ((r >> 8) % 6);
	void *p = NULL;

	/* A whole page each: seldom. */
	if (site == SITE_valloc_0 && (r >> 16) % 16)
		site = SITE_malloc_0;
	switch (site) {
	case SITE_malloc_0: p = site_malloc_0(size); break;
	case SITE_malloc_1: p = site_malloc_1(size); break;
	case SITE_malloc_2: p = site_malloc_2(size); break;
	case SITE_malloc_3: p = site_malloc_3(size); break;
	case SITE_calloc_0:
	case SITE_calloc_1:
		cnt = 1 + (r >> 20) % 7;
		size /= cnt;
		p = site == SITE_calloc_0 ? site_calloc_0(cnt, size) : site_calloc_1(size, cnt);
		break;
	case SITE_realloc_0: p = site_realloc_0(NULL, size); break;
	case SITE_realloc_1: p = site_realloc_1(NULL, size); break;
	case SITE_realloc_2: p = site_realloc_2(NULL, size); break;
	case SITE_realloc_3: p = site_realloc_3(NULL, size); break;
	case SITE_reallocarray_0:
		cnt = 1 + (r >> 20) % 7;
		size /= cnt;
		p = site_reallocarray_0(NULL, cnt, size);
		break;
	case SITE_memalign_0: p = site_memalign_0(align, size); break;
	case SITE_aligned_alloc_0: p = site_aligned_alloc_0(align, size); break;
	case SITE_aligned_alloc_1: p = site_aligned_alloc_1(align, size); break;
	case SITE_posix_memalign_0: p = site_posix_memalign_0(align, size); break;
	case SITE_valloc_0: p = site_valloc_0(size); break;
	case SITES_CNT: break;
	}
	if (p)
		book(w, b, p, size * cnt, site);
	else
		__atomic_add_fetch(&surprises, 1, __ATOMIC_RELAXED);
}

static void reallocate(struct worker *w, struct block *b)
{
	uint64_t r = next_random(&w->seed);
	size_t size = random_size(&w->seed), cnt = 1;
	enum site site = SITE_realloc_0 + r % 5;	/* the last one is reallocarray */
	void *p = NULL;

	if ((r >> 8) % 50 == 0) {
		/* Fails: the old block lives on, at its old site. */
		must_fail(w, site == SITE_reallocarray_0 ? site_reallocarray_0(b->p, huge, 8) : site_realloc_1(b->p, huge));
		return;
	}
	if (site == SITE_reallocarray_0) {
		cnt = 1 + (r >> 20) % 7;
		size /= cnt;
	}
	switch (site) {
	case SITE_realloc_0: p = site_realloc_0(b->p, size); break;
	case SITE_realloc_1: p = site_realloc_1(b->p, size); break;
	case SITE_realloc_2: p = site_realloc_2(b->p, size); break;
	case SITE_realloc_3: p = site_realloc_3(b->p, size); break;
	default: p = site_reallocarray_0(b->p, cnt, size); break;
	}
	unbook(w, b);
	if (size && cnt) {
		if (p)
			book(w, b, p, size * cnt, site);
		else
			__atomic_add_fetch(&surprises, 1, __ATOMIC_RELAXED);
	} else if (p) {
		/* glibc frees at size 0; a library that hands out a block instead is booked as such. */
		book(w, b, p, 0, site);
	}
}

static void fail(struct worker *w)
{
	switch (next_random(&w->seed) % 6) {
	case 0: must_fail(w, site_malloc_1(huge)); break;
	case 1: must_fail(w, site_calloc_1(huge, 16)); break;
	case 2: must_fail(w, site_aligned_alloc_1(64, huge)); break;
	case 3: must_fail(w, site_posix_memalign_0(64, huge)); break;
	case 4: must_fail(w, site_posix_memalign_0(3, 100)); break;	/* EINVAL */
	case 5: must_fail(w, site_reallocarray_0(NULL, huge, huge)); break;
	}
}

static void swap(struct worker *w, struct block *b)
{
	struct place *e = &exchange[next_random(&w->seed) % EXCHANGE];
	struct block other;

	pthread_mutex_lock(&e->lock);
	other = e->block;
	e->block = *b;
	*b = other;
	pthread_mutex_unlock(&e->lock);
}

__attribute__((noinline)) void operate(struct worker *w)
{
	uint64_t r = next_random(&w->seed);
	struct block *b = &w->places[(r >> 8) % PLACES];

	if (r % 1000 == 0)
		fail(w);
	else if (r % 1000 < 5)
		release(NULL);
	else if (r % 1000 < 300)
		swap(w, b);
	else if (!b->p)
		allocate(w, b);
	else if (r % 1000 < 550)
		reallocate(w, b);
	else {
		release(b->p);
		unbook(w, b);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	/* A swap calls no allocator, so it is no operation; the others count. */
	for (unsigned long i = 0; i < w->ops; i++)
		operate(w);
	return NULL;
}

#define CHILD_PAIRS 3000

/* What it does is no part of the ledger: its memory is a copy. */
static void child_main(void)
{
	for (int i = 0; i < CHILD_PAIRS; i++) {
		free(malloc(24 + (size_t)i % 500));
		if (i % 10 == 0 && !malloc(100))
			_exit(1);
	}
	_exit(0);
}

static void have_children(unsigned long cnt)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	int status;

	for (unsigned long i = 0; i < cnt; i++) {
		pid_t child = fork();

		if (!child)
			child_main();
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			__atomic_add_fetch(&surprises, 1, __ATOMIC_RELAXED);
		nanosleep(&pause, NULL);
	}
}

int main(int argc, char **argv)
{
	unsigned long ops = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000;
	unsigned long children = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	long long bytes = 0, blocks = 0;

	workers = mmap(NULL, sizeof(*workers) * THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (workers == MAP_FAILED)
		return 1;
	for (int i = 0; i < EXCHANGE; i++)
		pthread_mutex_init(&exchange[i].lock, NULL);
	line_say("ready %d", getpid());
	line_wait();

	for (int i = 0; i < THREADS; i++) {
		workers[i].seed = 1000 + (uint64_t)i;
		/* Three operations of ten are swaps: so many more that the allocator calls alone are `ops`. */
		workers[i].ops = ops / 7 * 10 / THREADS + 1;
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]))
			return 1;
	}
	have_children(children);
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);

	line_say("done %lu", ops);
	for (int s = 0; s < SITES_CNT; s++) {
		long long site_bytes = 0, site_blocks = 0;

		for (int i = 0; i < THREADS; i++) {
			site_bytes += workers[i].bytes[s];
			site_blocks += workers[i].blocks[s];
		}
		line_say("%s %lld %lld", site_names[s], site_bytes, site_blocks);
		bytes += site_bytes;
		blocks += site_blocks;
	}
	line_say("total %lld %lld", bytes, blocks);
	if (surprises) {
		line_say("surprises %lu", surprises);
		return 1;
	}
	line_say("end");
	line_wait();
	return 0;
}
