/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * walk PID [COUNT]: walks the heap of a process COUNT times, and says what there is, one walk behind the other:
 *
 *	walk tiles=1 changed=0 arenas=2 mmapped=0/0 read=123456 ms=1.5
 *	why WORDS				when it does not tile
 *	sum system=… used=BYTES/COUNT cached=… fast=… free=… largest=… top=… own=… unseen=… heaps=… resident=… swapped=… trim=…
 *	    topresident=… retries=…
 *	arena ADDR main=1 tiles=1 changed=0 system=…	as sum
 *
 * Ends with 1 when it cannot be done, and says why.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "target/glibc_heap.h"

static void arena_say(const struct heap_arena *a)
{
	printf(" system=%" PRIu64 " used=%" PRIu64 "/%" PRIu64 " cached=%" PRIu64 "/%" PRIu64 " fast=%" PRIu64 "/%" PRIu64
	       " free=%" PRIu64 "/%" PRIu64, a->system_bytes, a->used_bytes, a->used_cnt, a->cached_bytes, a->cached_cnt,
	       a->fast_bytes, a->fast_cnt, a->free_bytes, a->free_cnt);
	printf(" largest=%" PRIu64 " top=%" PRIu64 " own=%" PRIu64 " unseen=%" PRIu64 " heaps=%" PRIu64 " resident=%" PRIu64
	       " swapped=%" PRIu64 " trim=%" PRIu64 " topresident=%" PRIu64 " retries=%" PRIu64 "\n", a->largest_free_bytes,
	       a->top_bytes, a->own_bytes, a->unseen_bytes, a->heaps_cnt, a->resident_bytes, a->swapped_bytes, a->trim_bytes,
	       a->top_resident_bytes, a->retries);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static int walk_say(const struct target *t)
{
	static const struct heap_walk_options options = { .time_ms = HEAP_WALK_TIME_MS, .data_bytes = HEAP_WALK_DATA_BYTES };
	double began = now_ms();
	struct heap_walk w;
	int err = heap_walk(t, &options, &w);

	if (err)
		return err;
	printf("walk tiles=%d changed=%d arenas=%zu mmapped=", w.tiles, w.changed, w.arenas_cnt);
	if (w.has_mmapped)
		printf("%" PRIu64 "/%" PRIu64, w.mmapped_bytes, w.mmapped_cnt);
	else
		printf("unknown");
	printf(" read=%" PRIu64 " ms=%.1f\n", w.read_bytes, now_ms() - began);
	if (w.why)
		printf("why %s\n", w.why);
	printf("sum");
	arena_say(&w.sum);
	for (size_t i = 0; i < w.arenas_cnt; i++) {
		printf("arena %#" PRIx64 " main=%d tiles=%d changed=%d", w.arenas[i].addr, w.arenas[i].is_main, w.arenas[i].tiles,
		       w.arenas[i].changed);
		arena_say(&w.arenas[i]);
	}
	heap_walk_free(&w);
	return 0;
}

int main(int argc, char **argv)
{
	enum target_problem problem;
	struct target *t = NULL;
	pid_t tgid = 0;
	int err, cnt = argc > 2 ? atoi(argv[2]) : 1;

	if (argc < 2) {
		fprintf(stderr, "walk PID [COUNT]\n");
		return 2;
	}
	err = target_open(atoi(argv[1]), NULL, &t, &problem, &tgid);
	for (int i = 0; !err && i < cnt; i++)
		err = walk_say(t);
	if (err)
		fprintf(stderr, "walk: %s\n", strerror(-err));
	target_free(t);
	return err != 0;
}
