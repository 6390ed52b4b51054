/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A malloc heap whose owner says what is in it, for walks from outside. One command a line of standard input, `ok COMMAND`
 * when it is done. What it says it says without allocating, so that mallinfo2() and a walk afterwards see the same heap.
 *
 *	threads T	T threads more, each with an arena where there are as many; they do what `fill` says as well
 *	fill N MAX P	each thread takes N blocks of 16 to MAX bytes, and then gives back P percent of all that it has
 *	cross		the main thread gives back one in ten of the others' blocks: what it caches is of their arenas
 *	end		the other threads end; what they hold stays
 *	big BYTES	one block of this size, not touched
 *	trim		malloc_trim(0); says `trimmed RSS RSS`, before and after, bytes
 *	churn		each thread but the main one takes and gives back at random, trims now and then, until `calm`
 *	calm
 *	sbrk BYTES	takes memory behind malloc's back
 *	wall BYTES	a mapping so far behind the end of the heap: brk has no more room
 *	info		mallinfo2(), and what the blocks in hand take: `info arena=… ordblks=… … blocks=… bytes=…`
 *
 * Nothing is mapped by itself (M_MMAP_THRESHOLD) but with the first argument `mmap`, which leaves that as it is.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "line.h"

#define THREADS_MAX	16
#define BLOCKS_MAX	400000

struct worker {
	pthread_t thread;
	unsigned int seed;
	void **blocks;		/* a mapping: nothing of it is in the heap */
	size_t cnt;
	volatile char order;	/* f, c, e; 0: done */
};

static struct worker workers[THREADS_MAX + 1];	/* the main thread is the first */
static int workers_cnt = 1;
static size_t fill_cnt, fill_max, fill_percent;
static volatile bool churning;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void worker_init(struct worker *w, unsigned int seed)
{
	w->seed = seed;
	w->blocks = mmap(NULL, BLOCKS_MAX * sizeof(void *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->blocks == MAP_FAILED)
		_exit(1);
}

static void block_give(struct worker *w, size_t i)
{
	free(w->blocks[i]);
	w->blocks[i] = w->blocks[--w->cnt];
}

static void block_take(struct worker *w, size_t bytes)
{
	void *p = w->cnt < BLOCKS_MAX ? malloc(bytes) : NULL;

	if (!p) {
		line_say("wrong: no room");
		_exit(1);
	}
	memset(p, 0x5a, bytes);
	w->blocks[w->cnt++] = p;
}

static void fill(struct worker *w)
{
	size_t keep;

	for (size_t i = 0; i < fill_cnt; i++)
		block_take(w, 16 + rand_r(&w->seed) % (fill_max - 15));
	keep = w->cnt - w->cnt * fill_percent / 100;
	while (w->cnt > keep)
		block_give(w, rand_r(&w->seed) % w->cnt);
}

static void churn(struct worker *w)
{
	while (churning) {
		unsigned int n = rand_r(&w->seed);

		if (w->cnt > 5000 || (w->cnt && n % 2))
			block_give(w, n / 2 % w->cnt);
		else
			block_take(w, n % 97 ? 16 + n % 3000 : 16 + n % 90000);
		if (n % 100000 == 0)
			malloc_trim(0);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char order = 0;

	while (order != 'e') {
		pthread_mutex_lock(&lock);
		while (!w->order)
			pthread_cond_wait(&changed, &lock);
		order = w->order;
		pthread_mutex_unlock(&lock);
		if (order == 'f')
			fill(w);
		if (order == 'c')
			churn(w);
		pthread_mutex_lock(&lock);
		w->order = 0;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* 0: none; waits for what they were told before. */
static void order_all(char order, bool wait)
{
	pthread_mutex_lock(&lock);
	for (int i = 1; i < workers_cnt && order; i++)
		workers[i].order = order;
	pthread_cond_broadcast(&changed);
	for (int i = 1; i < workers_cnt && wait; i++)
		while (workers[i].order)
			pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void threads(int cnt)
{
	for (int i = 0; i < cnt && workers_cnt <= THREADS_MAX; i++) {
		struct worker *w = &workers[workers_cnt++];

		worker_init(w, 77 + workers_cnt);
		if (pthread_create(&w->thread, NULL, work, w))
			_exit(1);
	}
	fill_cnt = 1, fill_max = 16, fill_percent = 0;
	order_all('f', true);
}

static void cross(void)
{
	for (int i = 1; i < workers_cnt; i++)
		for (size_t n = workers[i].cnt / 10; n; n--)
			block_give(&workers[i], rand_r(&workers[0].seed) % workers[i].cnt);
}

static uint64_t rss(void)
{
	char buf[4096], *at;
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t len = read(fd, buf, sizeof(buf) - 1);

	close(fd);
	buf[len > 0 ? len : 0] = '\0';
	at = strstr(buf, "Rss:");
	return at ? strtoull(at + 4, NULL, 10) << 10 : 0;
}

static void trim(void)
{
	uint64_t before = rss();

	malloc_trim(0);
	line_say("trimmed %llu %llu", (unsigned long long)before, (unsigned long long)rss());
}

static void info(void)
{
	struct mallinfo2 m = mallinfo2();
	size_t cnt = 0, bytes = 0;

	for (int i = 0; i < workers_cnt; i++) {
		cnt += workers[i].cnt;
		for (size_t k = 0; k < workers[i].cnt; k++)
			bytes += malloc_usable_size(workers[i].blocks[k]) + 8;
	}
	line_say("info arena=%zu ordblks=%zu smblks=%zu hblks=%zu hblkhd=%zu fsmblks=%zu uordblks=%zu fordblks=%zu keepcost=%zu "
		 "blocks=%zu bytes=%zu", m.arena, m.ordblks, m.smblks, m.hblks, m.hblkhd, m.fsmblks, m.uordblks, m.fordblks,
		 m.keepcost, cnt, bytes);
}

static void wall(size_t bytes)
{
	char *at = (char *)(((uintptr_t)sbrk(0) + bytes + 4095) & ~4095ul);

	if (mmap(at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
		line_say("wrong: no wall");
}

static void command(const char *what, size_t a, size_t b, size_t c)
{
	if (!strcmp(what, "threads")) {
		threads(a);
	} else if (!strcmp(what, "fill")) {
		fill_cnt = a, fill_max = b < 16 ? 16 : b, fill_percent = c;
		order_all('f', true);
		fill(&workers[0]);
	} else if (!strcmp(what, "cross")) {
		cross();
	} else if (!strcmp(what, "end")) {
		order_all('e', true);
		for (int i = 1; i < workers_cnt; i++)
			pthread_join(workers[i].thread, NULL);
	} else if (!strcmp(what, "big")) {
		workers[0].blocks[workers[0].cnt++] = malloc(a);
	} else if (!strcmp(what, "trim")) {
		trim();
	} else if (!strcmp(what, "churn")) {
		churning = true;
		order_all('c', false);
	} else if (!strcmp(what, "calm")) {
		churning = false;
		order_all(0, true);
	} else if (!strcmp(what, "sbrk")) {
		memset(sbrk(a), 1, a);
	} else if (!strcmp(what, "wall")) {
		wall(a);
	} else if (!strcmp(what, "info")) {
		info();
	} else {
		line_say("wrong: %s", what);
		_exit(1);
	}
	line_say("ok %s", what);
}

int main(int argc, char **argv)
{
	char line[128], what[32];

	if (argc < 2 || strcmp(argv[1], "mmap"))
		mallopt(M_MMAP_THRESHOLD, 1 << 30);
	worker_init(&workers[0], 7);
	free(malloc(100));
	line_say("ready");
	while (line_read(line, sizeof(line))) {
		size_t a = 0, b = 0, c = 0;

		if (sscanf(line, "%31s %zu %zu %zu", what, &a, &b, &c) >= 1)
			command(what, a, b, c);
	}
	return 0;
}
