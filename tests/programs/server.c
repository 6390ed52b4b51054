/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small server without a network: worker threads that serve made-up requests at a fixed rate, with
 * every way in which memory can behave, each in code of its own:
 *
 *	leak	handle_upload	opens a session (libsession.so) and never closes it: about 300 KiB/s
 *	lru	handle_lookup	puts into a cache (libcache.so) of 1,500 entries, 500 a second: full
 *				after 3 s, and from then on every entry lives for 3 s
 *	warmup	warm_routes	compiles 1,000 routes in the first 4 s, then no more
 *	churn	handle_ping	makes and frees buffers, in every worker, 1,500 a second
 *	slow	write_audit	keeps a small record every 3 s
 *
 *	server [--leak] [--lru] [--warmup] [--churn] [--slow] [--seconds N] [--wait]
 *
 * Without a name all five. --wait: start serving at a line on standard input. It prints `ready PID`,
 * then `serving`, and ends after N (120) seconds with `served REQUESTS`. What it allocates depends on
 * nothing but the time since it serves: the seeds are fixed, and a worker that was held up catches up.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "line.h"
#include "session.h"

#define WORKERS 3
#define TICK_NS 10000000l
#define ROUTES 1000
#define ROUTE_BYTES 1000
#define WARM_MS 4000
#define AUDIT_MS 3000
#define AUDIT_BYTES 48

/* Requests a second of all workers together. */
#define LEAK_RATE 300
#define LRU_RATE 500
#define CHURN_RATE 1500

static bool with_leak, with_lru, with_warmup, with_churn, with_slow;
static long seconds = 120;
static struct timespec started;
static unsigned long served[WORKERS];

/* What is kept on purpose; nothing reads it, a compiler cannot know. */
struct route { struct route *next; unsigned char code[ROUTE_BYTES - sizeof(void *)]; };
struct audit { struct audit *next; unsigned char text[AUDIT_BYTES - sizeof(void *)]; };
struct route *routes;
struct audit *audits;
struct session *volatile last_session;

static long elapsed_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - started.tv_sec) * 1000 + (now.tv_nsec - started.tv_nsec) / 1000000;
}

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* The bug: the last pointer to the session before this one is overwritten. */
__attribute__((noinline)) void handle_upload(unsigned int user)
{
	last_session = session_open(user);
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void handle_lookup(unsigned int key)
{
	cache_put(key);
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) char *buffer_new(size_t size)
{
	char *buf = malloc(size);

	if (buf)
		buf[0] = 1;
	return buf;
}

__attribute__((noinline)) void handle_ping(unsigned int size)
{
	char *request = buffer_new(64 + size % 960), *reply = buffer_new(256);

	__asm__ volatile("" :: "r"(request), "r"(reply) : "memory");
	free(request);
	free(reply);
}

__attribute__((noinline)) void route_compile(unsigned int path)
{
	struct route *r = malloc(sizeof(*r));

	if (!r)
		return;
	memset(r->code, (int)path, sizeof(r->code));
	r->next = routes;
	routes = r;
}

__attribute__((noinline)) void warm_routes(unsigned long *done, long now_ms)
{
	unsigned long due = now_ms >= WARM_MS ? ROUTES : (unsigned long)now_ms * ROUTES / WARM_MS;

	for (; *done < due; ++*done)
		route_compile((unsigned int)*done);
}

__attribute__((noinline)) void write_audit(unsigned int event)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (!a)
		return;
	a->text[0] = (unsigned char)event;
	a->next = audits;
	audits = a;
}

/* Everything of one kind that is due by now; a worker does every WORKERS-th. */
__attribute__((noinline)) void serve_requests(unsigned int worker, unsigned long done[3], unsigned int *seed, long now_ms)
{
	static const unsigned long rates[3] = { LEAK_RATE, LRU_RATE, CHURN_RATE };
	const bool with[3] = { with_leak, with_lru, with_churn };
	static void (*const handlers[3])(unsigned int) = { handle_upload, handle_lookup, handle_ping };

	for (int kind = 0; kind < 3; kind++) {
		unsigned long due = (unsigned long)now_ms * rates[kind] / 1000 / WORKERS;

		if (!with[kind])
			continue;
		for (; done[kind] < due; done[kind]++) {
			handlers[kind](next_random(seed));
			served[worker]++;
		}
	}
}

static void tick(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = TICK_NS }, NULL);
}

static void *worker_main(void *arg)
{
	unsigned int worker = (unsigned int)(size_t)arg, seed = 4711 + worker;
	unsigned long done[3] = { 0 };
	long now_ms;

	while ((now_ms = elapsed_ms()) < seconds * 1000) {
		serve_requests(worker, done, &seed, now_ms);
		tick();
	}
	return NULL;
}

static void *housekeeper_main(void *arg)
{
	unsigned long routes_done = 0, audits_done = 0;
	long now_ms;

	while ((now_ms = elapsed_ms()) < seconds * 1000) {
		if (with_warmup)
			warm_routes(&routes_done, now_ms);
		for (; with_slow && audits_done < (unsigned long)now_ms / AUDIT_MS; audits_done++)
			write_audit((unsigned int)audits_done);
		tick();
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t threads[WORKERS + 1];
	unsigned long all = 0;
	bool wait = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--leak"))
			with_leak = true;
		else if (!strcmp(argv[i], "--lru"))
			with_lru = true;
		else if (!strcmp(argv[i], "--warmup"))
			with_warmup = true;
		else if (!strcmp(argv[i], "--churn"))
			with_churn = true;
		else if (!strcmp(argv[i], "--slow"))
			with_slow = true;
		else if (!strcmp(argv[i], "--wait"))
			wait = true;
		else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
			seconds = atol(argv[++i]);
		else {
			dprintf(STDERR_FILENO, "usage: server [--leak] [--lru] [--warmup] [--churn] [--slow]"
				" [--seconds N] [--wait]\n");
			return 2;
		}
	}
	if (!with_leak && !with_lru && !with_warmup && !with_churn && !with_slow)
		with_leak = with_lru = with_warmup = with_churn = with_slow = true;

	line_say("ready %d", getpid());
	if (wait)
		line_wait();
	clock_gettime(CLOCK_MONOTONIC, &started);
	line_say("serving");
	for (size_t i = 0; i <= WORKERS; i++) {
		if (pthread_create(&threads[i], NULL, i < WORKERS ? worker_main : housekeeper_main, (void *)i)) {
			dprintf(STDERR_FILENO, "server: cannot start a thread\n");
			return 1;
		}
	}
	for (int i = 0; i <= WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < WORKERS; i++)
		all += served[i];
	line_say("served %lu", all);
	return 0;
}
