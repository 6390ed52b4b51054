/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What must be given back, beside memory: a pool over mmap, handles, and what libc gives.
 *
 * Prints `ready PID`; then obeys, a line each, answering `ok COMMAND`:
 *
 *	pool N		site_pool: N slices of 96 bytes, of which every other one goes back
 *	handles N	site_handle: N handles (ints from 1 on), of which one of four goes back
 *	throw N		N times a pool that is empty: longjmp out of the middle of pool_get_deep
 *	fibers N	N times two ucontext fibers that take turns in the middle of fiber_get; one of each is kept
 *	signals N	N times pool_get entered again by a handler on an alternate stack; nothing is kept
 *	watches N	site_watch: N inotify watches, of which every other one goes back
 *	fds N		site_fds: N times a pipe, a socket and a file; each second file goes back
 *	mutexes N	site_mutex: N mutexes, of which every other one goes back
 *	threads N	site_thread: N threads that stay, 2 N that end (half of them detached)
 *	quit
 */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <ucontext.h>

#include "line.h"

#define NOIPA __attribute__((noipa))

static char *pool, *pool_at;
static int handles_next = 1;
static jmp_buf empty;
static volatile sig_atomic_t signals_on;

NOIPA void *pool_get(int kind, size_t bytes)
{
	char *p = pool_at;

	if (kind < 0)
		return NULL;
	pool_at += bytes;
	if (signals_on && kind == 1)
		raise(SIGUSR1);
	return p;
}

NOIPA void pool_put(int kind, void *p)
{
	__asm__ volatile("" :: "r"(kind), "r"(p) : "memory");
}

/* Two of the same pair, one calls the other: one slice. */
NOIPA void *pool_get_deep(int kind, size_t bytes)
{
	if (kind == 2)
		longjmp(empty, 1);
	return pool_get(kind, bytes);
}

NOIPA int handle_open(void) { return handles_next++; }
NOIPA int handle_close(int handle) { return handle < 0; }

/* The word of a tail call: where it goes cannot be seen. */
static void *(*volatile unseen)(size_t) = malloc;
NOIPA __attribute__((optimize("O2", "optimize-sibling-calls"))) void *unseen_get(size_t bytes) { return unseen(bytes); }

/* libc has one as well. */
NOIPA void *tsearch(const void *key, void **root, int (*cmp)(const void *, const void *))
{
	(void)root, (void)cmp;
	return (void *)key;
}

static void *resolved_get(size_t bytes) { return malloc(bytes); }
static void *(*resolve(void))(size_t) { return resolved_get; }
void *chosen_get(size_t bytes) __attribute__((ifunc("resolve")));

NOIPA void site_pool(long n)
{
	for (long i = 0; i < n; i++) {
		void *p = i % 3 ? pool_get(0, 96) : pool_get_deep(0, 96);

		if (i % 2)
			pool_put(0, p);
	}
	pool_get(-1, 96);
}

NOIPA void site_handle(long n)
{
	for (long i = 0; i < n; i++) {
		int handle = handle_open();

		if (handle % 4 == 3)
			handle_close(handle);
	}
}

NOIPA void site_throw(long n)
{
	for (volatile long i = 0; i < n; i++)
		if (!setjmp(empty))
			pool_get_deep(2, 96);
}

static ucontext_t fibers[2], home;
static int fiber_next;

/* In the middle of it the other fiber runs. */
NOIPA void *fiber_get(size_t bytes)
{
	int me = fiber_next;

	fiber_next = !me;
	swapcontext(&fibers[me], &fibers[!me]);
	return malloc(bytes);
}

NOIPA void fiber_put(void *p) { free(p); }

static void fiber_main(int me)
{
	void *p;

	fiber_next = me;
	p = fiber_get(64);
	if (me)
		fiber_put(p);
	fiber_next = !me;
	setcontext(me ? &home : &fibers[1]);
}

NOIPA void site_fibers(long n)
{
	static char stacks[2][65536];

	for (volatile long i = 0; i < n; i++) {
		for (int f = 0; f < 2; f++) {
			getcontext(&fibers[f]);
			fibers[f].uc_stack.ss_sp = stacks[f];
			fibers[f].uc_stack.ss_size = sizeof(stacks[f]);
			fibers[f].uc_link = &home;
			makecontext(&fibers[f], (void (*)(void))fiber_main, 1, f);
		}
		swapcontext(&home, &fibers[0]);
	}
}

static void on_signal(int sig)
{
	(void)sig;
	pool_put(0, pool_get(0, 32));
}

static long signals_cnt;

static void signals_main(void)
{
	for (long i = 0; i < signals_cnt; i++)
		pool_put(1, pool_get(1, 96));
}

/* The alternate stack lies above the one that is interrupted: a return probe would end in SIGILL. */
NOIPA void site_signals(long n)
{
	static char stacks[2][65536];
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t alt = { .ss_sp = stacks[1], .ss_size = sizeof(stacks[1]) };

	sigaltstack(&alt, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	signals_cnt = n;
	signals_on = 1;
	getcontext(&fibers[0]);
	fibers[0].uc_stack.ss_sp = stacks[0];
	fibers[0].uc_stack.ss_size = sizeof(stacks[0]);
	fibers[0].uc_link = &home;
	makecontext(&fibers[0], signals_main, 0);
	swapcontext(&home, &fibers[0]);
	signals_on = 0;
}

static int inotify_fd = -1;

NOIPA void site_watch(long n)
{
	char path[64];

	if (inotify_fd < 0)
		inotify_fd = inotify_init1(IN_CLOEXEC);
	for (long i = 0; i < n; i++) {
		int file = memfd_create("watched", MFD_CLOEXEC), wd;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
		wd = inotify_add_watch(inotify_fd, path, IN_MODIFY);
		if (file < 0 || wd < 0)
			abort();
		if (i % 2)
			inotify_rm_watch(inotify_fd, wd);
	}
	inotify_add_watch(inotify_fd, "/nowhere/at all", IN_MODIFY);
}

NOIPA void site_fds(long n)
{
	int fds[2];

	for (long i = 0; i < n; i++) {
		int file;

		if (pipe(fds) || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
			abort();
		file = open("/dev/null", O_RDONLY);
		if (i % 2)
			close(file);
	}
	open("/nowhere/at all", O_RDONLY);
}

NOIPA void site_mutex(long n)
{
	for (long i = 0; i < n; i++) {
		pthread_mutex_t *m = malloc(sizeof(*m));

		pthread_mutex_init(m, NULL);
		if (i % 2)
			pthread_mutex_destroy(m);
	}
}

static void *stay(void *arg) { sem_wait(arg); return NULL; }
static void *leave(void *arg) { return arg; }

NOIPA void site_thread(long n)
{
	static sem_t never;
	pthread_t t;

	sem_init(&never, 0, 0);
	for (long i = 0; i < n; i++) {
		pthread_create(&t, NULL, stay, &never);
		pthread_create(&t, NULL, leave, NULL);
		pthread_join(t, NULL);
		pthread_create(&t, NULL, leave, NULL);
		pthread_detach(t);
	}
}

static const struct {
	const char *name;
	void (*run)(long n);
} commands[] = {
	{ "pool", site_pool }, { "handles", site_handle }, { "throw", site_throw }, { "fibers", site_fibers },
	{ "signals", site_signals }, { "watches", site_watch }, { "fds", site_fds }, { "mutexes", site_mutex },
	{ "threads", site_thread },
};

int main(void)
{
	char line[64], name[32];
	long n;

	pool = pool_at = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!unseen_get(1) || !chosen_get(1) || !tsearch("", NULL, NULL))
		return 1;
	line_say("ready %d", getpid());
	while (line_read(line, sizeof(line)) && strcmp(line, "quit")) {
		if (sscanf(line, "%31s %ld", name, &n) != 2)
			return 2;
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (!strcmp(name, commands[i].name))
				commands[i].run(n);
		line_say("ok %s", line);
	}
	return 0;
}
