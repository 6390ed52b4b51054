/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that makes each part of its memory grow by as much as it is told. One command a line of standard input; each is
 * answered by `ok COMMAND` when it is done:
 *
 *	heap N		N pages more from malloc in the main thread (brk)
 *	arena N		N pages more from malloc in another thread
 *	anon N		N pages of private memory of its own
 *	huge N		N pages in huge pages, if the kernel has some: N is a multiple of 512
 *	stack N		a thread more, which has touched N pages of its stack
 *	file N		N pages of a mapped file, read
 *	shared N	N pages of shared memory without a file
 *	memfd N		N pages of a memfd
 *	data N		N pages of .bss; 1024 in all
 *	code N		N pages without a file that can be executed
 *	eventfds N, inotify N, threads N	so many more; the threads are called leaky-1, leaky-2 …
 *	split N		N mappings more, of a page each
 *	drop N		the last N mappings made by split go
 *	exec		runs itself again
 *
 * parts FILE: FILE is written by it, and mapped. Says `ready PID`.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "line.h"

#define PAGE 4096l
#define BLOCK (64l << 10)
#define BSS_PAGES 1024
#define SPLITS_MAX 70000

static char bss[BSS_PAGES * PAGE] __attribute__((aligned(PAGE)));
static long bss_used;
static const char *path;
static void *splits[SPLITS_MAX];
static long splits_cnt;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long arena_pages, started;

static void *need(void *p, const char *what)
{
	if (!p || p == MAP_FAILED) {
		line_say("wrong: %s: %s", what, strerror(errno));
		_exit(1);
	}
	return p;
}

static void touch(volatile char *p, long pages)
{
	for (long i = 0; i < pages; i++)
		p[i * PAGE] = 1;
}

/* Never given back; its last page is begun by the next one. */
static void grow_malloc(long pages)
{
	for (long left = pages * PAGE; left > 0; left -= BLOCK) {
		long size = left < BLOCK ? left : BLOCK;

		memset(need(malloc(size - 16), "malloc"), 1, size - 16);
	}
}

static void *arena_thread(void *arg)
{
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!arena_pages)
			pthread_cond_wait(&changed, &lock);
		grow_malloc(arena_pages);
		arena_pages = 0;
		pthread_cond_broadcast(&changed);
	}
	return arg;
}

static void grow_arena(long pages)
{
	static pthread_t thread;

	pthread_mutex_lock(&lock);
	if (!thread)
		pthread_create(&thread, NULL, arena_thread, NULL);
	arena_pages = pages;
	pthread_cond_broadcast(&changed);
	while (arena_pages)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) static void deep(long pages)
{
	volatile char page[PAGE];

	page[0] = 1;
	if (pages > 1)
		deep(pages - 1);
	page[1] = page[0];	/* no tail call: the frame is still needed */
}

static void *stack_thread(void *arg)
{
	deep((long)arg);
	pthread_mutex_lock(&lock);
	started++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	for (;;)
		pause();
	return NULL;
}

static void start_thread(long pages, const char *name)
{
	long before = started;
	pthread_t thread;

	pthread_create(&thread, NULL, stack_thread, (void *)pages);
	if (name)
		pthread_setname_np(thread, name);
	pthread_mutex_lock(&lock);
	while (started == before)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void map(long pages, int prot, int flags, int fd)
{
	touch(need(mmap(NULL, pages * PAGE, prot, flags, fd, 0), "mmap"), pages);
}

static void map_huge(long pages)
{
	char *p = need(mmap(NULL, (pages + 512) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");

	p += -(uintptr_t)p % (512 * PAGE);
	madvise(p, pages * PAGE, MADV_HUGEPAGE);
	touch(p, pages);
}

static void map_file(long pages)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static const char page[PAGE] = { 1 };
	volatile char *p, sum = 0;

	for (long i = 0; i < pages; i++)
		if (write(fd, page, PAGE) != PAGE)
			need(NULL, path);
	p = need(mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0), "mmap");
	for (long i = 0; i < pages; i++)
		sum += p[i * PAGE];
	close(fd);
}

static void map_memfd(long pages)
{
	int fd = memfd_create("parts", MFD_CLOEXEC);

	if (ftruncate(fd, pages * PAGE))
		need(NULL, "ftruncate");
	map(pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
}

/* Neighbours of unlike rights stay two. */
static void split(long cnt)
{
	for (long i = 0; i < cnt && splits_cnt < SPLITS_MAX; i++) {
		splits[splits_cnt] = need(mmap(NULL, PAGE, splits_cnt % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
		if (!(splits_cnt % 2))
			*(char *)splits[splits_cnt] = 1;
		splits_cnt++;
	}
}

static void drop(long cnt)
{
	while (cnt-- && splits_cnt)
		munmap(splits[--splits_cnt], PAGE);
}

static void obey(const char *cmd, long n, char **argv)
{
	char name[16];

	if (!strcmp(cmd, "heap"))
		grow_malloc(n);
	else if (!strcmp(cmd, "arena"))
		grow_arena(n);
	else if (!strcmp(cmd, "anon"))
		map(n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	else if (!strcmp(cmd, "huge"))
		map_huge(n);
	else if (!strcmp(cmd, "stack"))
		start_thread(n, NULL);
	else if (!strcmp(cmd, "file"))
		map_file(n);
	else if (!strcmp(cmd, "shared"))
		map(n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	else if (!strcmp(cmd, "memfd"))
		map_memfd(n);
	else if (!strcmp(cmd, "data"))
		touch(bss + bss_used * PAGE, n), bss_used += n;
	else if (!strcmp(cmd, "code"))
		map(n, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	else if (!strcmp(cmd, "split"))
		split(n);
	else if (!strcmp(cmd, "drop"))
		drop(n);
	else if (!strcmp(cmd, "exec"))
		execv("/proc/self/exe", argv);
	for (long i = 0; i < n; i++) {
		if (!strcmp(cmd, "eventfds") && eventfd(0, 0) < 0)
			need(NULL, cmd);
		if (!strcmp(cmd, "inotify") && inotify_add_watch(inotify_init1(0), "/", IN_CREATE) < 0)
			need(NULL, cmd);
		if (!strcmp(cmd, "threads")) {
			snprintf(name, sizeof(name), "leaky-%ld", started);
			start_thread(1, name);
		}
	}
	line_say("ok %s", cmd);
}

int main(int argc, char **argv)
{
	char line[64], cmd[64];
	long n;

	path = argc > 1 ? argv[1] : "/dev/null";
	/* blocks of 64 KiB do not get mappings of their own, and the heap's end does not go back */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 0);
	line_say("ready %d", getpid());
	while (line_read(line, sizeof(line))) {
		n = 0;
		if (sscanf(line, "%63s %ld", cmd, &n) >= 1)
			obey(cmd, n, argv);
	}
	return 0;
}
