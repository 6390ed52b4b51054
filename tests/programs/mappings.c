/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is mapped in every way, by functions whose names say which, and how much of it is resident.
 *
 *	mappings FILE	of 16 pages at least: is mapped
 *
 * Prints `ready PID` and obeys:
 *
 *	go	does it all, then prints `FUNCTION BYTES BLOCKS` of what each holds, `raw BYTES`, `brk BYTES`, `done`
 *	churn	three threads map, cut, move and give back, then the same lines for what they still hold, `done`
 *	many	maps and unmaps often, then prints `done`
 *	fork	a child maps and goes on; prints `child PID`
 *	exec	becomes a program that has nothing
 *	quit
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "line.h"

#define PAGE		4096ul
#define ANON		(MAP_PRIVATE | MAP_ANONYMOUS)
#define SITE		__attribute__((noinline)) static
#define KEEP(p)		__asm__ volatile("" : "+r"(p) :: "memory")

static const char *file;
static char *area;	/* a reservation in which the script's addresses lie */

static void touch(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		p[i * PAGE] = 1;
}

static char *checked(void *p)
{
	if (p == MAP_FAILED)
		_exit(3);
	return p;
}

static void must(int result)
{
	if (result)
		_exit(4);
}

static void want(const char *name, size_t pages, size_t blocks)
{
	line_say("%s %zu %zu", name, pages * PAGE, blocks);
}

#define SITE_MAP(name) \
	SITE char *name(void *at, size_t pages, int flags) \
	{ \
		char *p = checked(mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, ANON | flags, -1, 0)); \
		KEEP(p); \
		return p; \
	}

SITE_MAP(map_plain)
SITE_MAP(map_untouched)
SITE_MAP(map_holes)
SITE_MAP(map_gone)
SITE_MAP(map_grown)
SITE_MAP(map_shrunk)
SITE_MAP(map_carried)
SITE_MAP(map_under)
SITE_MAP(map_fixed)
SITE_MAP(map_lost)

SITE char *map_reserved(size_t pages)
{
	char *p = checked(mmap(NULL, pages * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));

	KEEP(p);
	return p;
}

SITE char *grow_grown(char *old, size_t old_pages, size_t pages)
{
	char *p = checked(mremap(old, old_pages * PAGE, pages * PAGE, MREMAP_MAYMOVE));

	KEEP(p);
	return p;
}

SITE void shrink_shrunk(char *p, size_t old_pages, size_t pages)
{
	p = checked(mremap(p, old_pages * PAGE, pages * PAGE, 0));
	KEEP(p);
}

SITE void carry_carried(char *old, size_t pages, char *to)
{
	old = checked(mremap(old, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	KEEP(old);
}

SITE char *map_file(size_t pages)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *p = checked(mmap(NULL, pages * PAGE, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0));

	close(fd);
	KEEP(p);
	return p;
}

SITE char *map_raw(size_t pages)
{
	char *p = checked((void *)syscall(SYS_mmap, NULL, pages * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0));

	KEEP(p);
	return p;
}

static void *thread_main(void *arg)
{
	free(malloc(100));	/* an arena of its own */
	for (;;)
		sleep(1000);
	return arg;
}

SITE void map_threads(int cnt)
{
	pthread_t thread;

	while (cnt--)
		must(pthread_create(&thread, NULL, thread_main, NULL));
}

SITE char *alloc_large(size_t pages)
{
	char *p = malloc(pages * PAGE);

	KEEP(p);
	return p;
}

SITE char *alloc_grown(char *old, size_t pages)
{
	char *p = realloc(old, pages * PAGE);

	KEEP(p);
	return p;
}

SITE void alloc_small(int cnt)
{
	for (int i = 0; i < cnt; i++) {
		char *p = malloc(PAGE);

		KEEP(p);
	}
}

static void simple(void)
{
	for (int i = 0; i < 10; i++)
		touch(map_plain(NULL, 16, 0), 3);
	want("map_plain", 30, 10);
	for (int i = 0; i < 3; i++)
		map_untouched(NULL, 256, 0);
	want("map_untouched", 0, 3);
	for (int i = 0; i < 4; i++) {
		char *p = map_holes(NULL, 16, 0);

		touch(p, 16);
		must(munmap(p + 4 * PAGE, 4 * PAGE));
	}
	want("map_holes", 48, 8);
	for (int i = 0; i < 5; i++) {
		char *p = map_gone(NULL, 4, 0);

		touch(p, 4);
		/* refused: nothing happens */
		if (!munmap(p + 1, PAGE) || !munmap(p, 0))
			_exit(5);
		must(munmap(p, i % 2 ? 4 * PAGE : 4 * PAGE - 100));
	}
	want("map_gone", 0, 0);
	touch(map_file(16), 0);
	want("map_file", 16, 1);
}

static void moved(void)
{
	char *p;

	area = map_reserved(1 << 18);
	p = map_grown(NULL, 4, 0);
	touch(grow_grown(p, 4, 64), 6);
	want("grow_grown", 6, 1);
	want("map_grown", 0, 0);
	p = map_shrunk(NULL, 8, 0);
	touch(p, 8);
	shrink_shrunk(p, 8, 3);
	want("map_shrunk", 3, 1);
	p = map_carried(NULL, 8, 0);
	touch(p, 8);
	must(munmap(p + 3 * PAGE, PAGE));	/* two parts; mremap takes one at a time */
	carry_carried(p + 4 * PAGE, 4, area + 100 * PAGE);
	want("map_carried", 7, 2);
	/* three side by side, and one over the last half of the first, all of the second, and a page of the third */
	for (int i = 0; i < 3; i++)
		touch(map_under(area + (200 + 8 * i) * PAGE, 8, MAP_FIXED), 8);
	touch(map_fixed(area + 204 * PAGE, 13, MAP_FIXED), 2);
	want("map_under", 4 + 7, 2);
	want("map_fixed", 2, 1);
	/* cut in two by what was carried, and once more by these four */
	want("map_reserved", 0, 3);
}

static void beside(void)
{
	char *p = map_lost(NULL, 8, 0);

	touch(p, 8);
	must(syscall(SYS_munmap, p, 4 * PAGE));
	want("map_lost", 4, 1);
	touch(map_raw(32), 20);
	line_say("raw %zu", 20 * PAGE);
	p = sbrk(256 * PAGE);
	if (p != (void *)-1)
		touch(p, 256);
	line_say("brk %zu", p != (void *)-1 ? 256 * PAGE : 0ul);
}

static void allocators(void)
{
	touch(alloc_large(512), 512);
	want("alloc_large", 512, 1);
	touch(alloc_grown(alloc_grown(NULL, 256), 1024), 1024);
	want("alloc_grown", 1024, 1);
	alloc_small(1000);
	want("alloc_small", 1000, 1000);
	map_threads(3);
	line_say("threads 3");
}

/* Threads that are given each other's addresses again and again. */
#define THREADS	3
#define SLOTS	64
#define STEPS	5000

SITE_MAP(churn_a)
SITE_MAP(churn_b)
SITE_MAP(churn_c)

SITE char *churn_grow(char *old, size_t old_pages, size_t pages)
{
	char *p = checked(mremap(old, old_pages * PAGE, pages * PAGE, MREMAP_MAYMOVE));

	KEEP(p);
	return p;
}

static char *(*const churns[])(void *at, size_t pages, int flags) = { churn_a, churn_b, churn_c };
static const char *const churn_names[] = { "churn_a", "churn_b", "churn_c", "churn_grow" };

struct churner {
	unsigned int random;
	struct { char *p; size_t pages; int site; } slots[SLOTS];
	struct { size_t pages, blocks; } want[4];
};

static struct churner churners[THREADS];

static void churn_step(struct churner *c)
{
	int i = rand_r(&c->random) % SLOTS;
	size_t pages = c->slots[i].pages, cut = 1 + rand_r(&c->random) % 16;
	char *p = c->slots[i].p;
	int site = pages ? c->slots[i].site : rand_r(&c->random) % 3, what = pages ? rand_r(&c->random) % 4 : -1;

	c->want[site].pages -= pages;
	c->want[site].blocks -= pages != 0;
	if (what < 0) {
		pages = cut;
		p = churns[site](NULL, pages, 0);
	} else if (what == 0) {
		must(munmap(p, pages * PAGE));
		pages = 0;
	} else if (what == 1) {
		site = 3;
		p = churn_grow(p, pages, pages + cut);
		pages += cut;
	} else if (pages > cut) {
		must(munmap(what == 2 ? p : p + (pages - cut) * PAGE, cut * PAGE));
		p += what == 2 ? cut * PAGE : 0;
		pages -= cut;
	}
	touch(p, pages);
	c->want[site].pages += pages;
	c->want[site].blocks += pages != 0;
	c->slots[i].p = p;
	c->slots[i].pages = pages;
	c->slots[i].site = site;
}

static void *churn_main(void *arg)
{
	for (int i = 0; i < STEPS; i++) {
		churn_step(arg);
		if (i % 10 == 0)
			usleep(1000);
	}
	return arg;
}

static void churn(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		churners[i].random = i + 1;
		must(pthread_create(&threads[i], NULL, churn_main, &churners[i]));
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int site = 0; site < 4; site++) {
		size_t pages = 0, blocks = 0;

		for (int i = 0; i < THREADS; i++) {
			pages += churners[i].want[site].pages;
			blocks += churners[i].want[site].blocks;
		}
		want(churn_names[site], pages, blocks);
	}
}

static void many(void)
{
	for (int i = 0; i < 5000; i++)
		must(munmap(map_gone(NULL, 4, 0), 4 * PAGE));
	for (int i = 0; i < 10; i++)
		touch(map_plain(NULL, 16, 0), 3);
}

static void map_in_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (int i = 0; i < 100; i++)
			touch(map_plain(NULL, 16, 0), 3);
		munmap(area, (1 << 18) * PAGE);
		line_say("child %d", (int)getpid());
		for (;;)
			sleep(1000);
	}
}

int main(int argc, char **argv)
{
	char line[64];

	file = argc > 1 ? argv[1] : "/dev/null";
	/* a page that is touched is one page */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	free(malloc(1));
	line_say("ready %d", (int)getpid());
	while (line_read(line, sizeof(line)) && strcmp(line, "quit")) {
		if (!strcmp(line, "go")) {
			simple();
			moved();
			beside();
			allocators();
			line_say("done");
		} else if (!strcmp(line, "churn")) {
			churn();
			line_say("done");
		} else if (!strcmp(line, "many")) {
			many();
			line_say("done");
		} else if (!strcmp(line, "fork")) {
			map_in_child();
		} else if (!strcmp(line, "exec")) {
			execl("/proc/self/exe", "mappings", "/dev/null", (char *)NULL);
		}
	}
	return 0;
}
