/* SPDX-License-Identifier: GPL-2.0-only */
/* The walk of glibc's malloc heap on heaps that are made up: of each layout, broken in each way, and changing while read. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "heap_world.h"
#include "target/glibc_tcache.h"

static void check_arena(const struct heap_arena *got, const struct heap_arena *want)
{
	CHECK(got->tiles);
	CHECK_EQ(got->used_bytes, want->used_bytes);
	CHECK_EQ(got->used_cnt, want->used_cnt);
	CHECK_EQ(got->cached_bytes, want->cached_bytes);
	CHECK_EQ(got->cached_cnt, want->cached_cnt);
	CHECK_EQ(got->fast_bytes, want->fast_bytes);
	CHECK_EQ(got->fast_cnt, want->fast_cnt);
	CHECK_EQ(got->free_bytes, want->free_bytes);
	CHECK_EQ(got->free_cnt, want->free_cnt);
	CHECK_EQ(got->top_bytes, want->top_bytes);
}

/* It is refused, with these words. */
static void check_refused(struct world *w, const char *words)
{
	struct heap_walk got = world_walk(w);

	CHECK(!got.tiles);
	if (CHECK(got.why != NULL) && !CHECK(strstr(got.why, words) != NULL))
		fprintf(stderr, "it says: %s\n", got.why);
	CHECK_EQ(got.sum.used_bytes + got.sum.free_bytes + got.sum.top_bytes, 0);
	heap_walk_free(&got);
	free(w);
}

TEST(layouts)
{
	static const unsigned int bins_offs[] = { 112, 104, 24 };

	for (size_t i = 0; i < sizeof(bins_offs) / sizeof(bins_offs[0]); i++) {
		struct world *w = world_usual(bins_offs[i]);
		struct heap_walk got = world_walk(w);

		CHECK(got.tiles && !got.changed);
		CHECK_EQ(got.arenas_cnt, 1);
		check_arena(&got.sum, &w->want);
		CHECK_EQ(got.sum.system_bytes, 64 * PAGE);
		CHECK_EQ(got.sum.unseen_bytes + got.sum.own_bytes, 0);
		CHECK_EQ(got.sum.resident_bytes, 64 * PAGE);
		CHECK_EQ(got.sum.largest_free_bytes, 3 * PAGE);
		heap_walk_free(&got);
		free(w);
	}
}

/* Whole free pages, but for those of a head; top's; what is in fastbins is merged with what is beside it. */
TEST(trim)
{
	struct world *w = world_new(112);
	struct heap_walk got;

	arena_put(w, MAIN_ADDR, MAIN_ADDR, 0, 20 * PAGE);
	params_put(w, true, 0, 0);
	chunks_begin(w, MAIN_ADDR, BRK_ADDR);
	chunk_put(w, PAGE - 128 + 16, USED);
	/* 128 bytes in a fastbin end 16 bytes behind a page's start, so that the free chunk behind has its head in that page */
	chunk_put(w, 128, FAST);
	chunk_put(w, 4 * PAGE - 16, FREE);	/* to 5 * PAGE: pages 2, 3, 4, and 1 when both are merged, not with its head there */
	chunk_put(w, PAGE, USED);
	chunk_put(w, 2 * PAGE + 64, FREE);	/* from a page's start: that one stays */
	chunk_put(w, PAGE - 64, USED);
	top_put(w, BRK_ADDR + 20 * PAGE);	/* from 9 * PAGE on */
	got = world_walk(w);
	CHECK(got.tiles);
	CHECK_EQ(got.sum.trim_bytes, (4 + 1 + 10) * PAGE);
	CHECK_EQ(got.sum.top_resident_bytes, 10 * PAGE);
	heap_walk_free(&got);
	/* what is not resident does not count, and is not read */
	for (int i = 2; i < 4; i++)
		region_of(w, BRK_ADDR)->words[i] = 0;
	region_of(w, BRK_ADDR)->words[15] = 1ull << 62;
	got = world_walk(w);
	CHECK(got.tiles);
	CHECK_EQ(got.sum.trim_bytes, (2 + 1 + 9) * PAGE);
	CHECK_EQ(got.sum.resident_bytes, 17 * PAGE);
	CHECK_EQ(got.sum.swapped_bytes, PAGE);
	heap_walk_free(&got);
	free(w);
}

TEST(mapped_blocks)
{
	for (int is_new = 0; is_new < 2; is_new++) {
		struct world *w = world_usual(112);
		struct heap_walk got;

		params_put(w, is_new, 5 * PAGE, 2);
		got = world_walk(w);
		CHECK(got.tiles && got.has_mmapped);
		CHECK_EQ(got.mmapped_bytes, 5 * PAGE);
		CHECK_EQ(got.mmapped_cnt, 2);
		heap_walk_free(&got);
		free(w);
	}
}

/* Another arena with two heaps, of which the first is full. */
static struct world *world_two(void)
{
	struct world *w = world_usual(112);
	uint64_t arena = HEAP_ADDR + 0x30;

	memset(&w->want, 0, sizeof(w->want));
	arena_put(w, arena, MAIN_ADDR, 0, 96 * PAGE);
	poke(w, MAIN_ADDR + tail_of(w), arena);
	poke(w, HEAP_ADDR, arena);
	poke(w, HEAP_ADDR + 16, 64 * PAGE);
	chunks_begin(w, arena, (arena + 2200 + 15) & ~15ull);
	while (w->at + 3 * PAGE < HEAP_ADDR + 64 * PAGE) {
		chunk_put(w, 0x410, USED);
		chunk_put(w, 0x800, FREE);
	}
	chunk_put(w, 64, USED);
	chunk_put(w, HEAP_ADDR + 64 * PAGE - 32 - w->at, FREE);	/* the old top */
	head_put(w, 16, 0);
	w->at += 16;
	w->prev_free = false;
	head_put(w, 0, 0);
	poke(w, HEAP2_ADDR, arena);
	poke(w, HEAP2_ADDR + 8, HEAP_ADDR);
	poke(w, HEAP2_ADDR + 16, 32 * PAGE);
	chunks_begin(w, arena, HEAP2_ADDR + 0x30);
	for (int i = 0; i < 20; i++)
		chunk_put(w, 0x500, USED);
	top_put(w, HEAP2_ADDR + 32 * PAGE);
	return w;
}

TEST(heaps)
{
	struct world *w = world_two();
	struct heap_walk got = world_walk(w);

	CHECK(got.tiles && !got.changed);
	if (CHECK_EQ(got.arenas_cnt, 2)) {
		check_arena(&got.arenas[1], &w->want);
		CHECK(got.arenas[0].is_main && !got.arenas[1].is_main);
		CHECK_EQ(got.arenas[1].heaps_cnt, 2);
		CHECK_EQ(got.arenas[1].unseen_bytes, 0);
		/* the end of the full heap; top, which is larger, only the main arena gives back */
		CHECK(got.arenas[1].trim_bytes < 3 * PAGE && got.arenas[1].top_resident_bytes > 20 * PAGE);
		CHECK_EQ(got.arenas[1].own_bytes, 0x30 + ((2200 + 15) & ~15) + 0x30 + 32);
	}
	heap_walk_free(&got);
	free(w);
}

TEST(heaps_in_a_circle)
{
	static const uint64_t prevs[] = { HEAP2_ADDR, HEAP2_ADDR + 0x100, 0, 1, UINT64_MAX, DATA_ADDR };

	/* of the newest heap: the way to the arena's own is lost */
	for (size_t i = 0; i < sizeof(prevs) / sizeof(prevs[0]); i++) {
		struct world *w = world_two();

		poke(w, HEAP2_ADDR + 8, prevs[i]);
		w->memory.until_ns = heap_now_ns() + 20000000000;
		struct heap_walk got = world_walk(w);

		CHECK(!got.tiles);
		if (CHECK_EQ(got.arenas_cnt, 2))
			CHECK(got.arenas[0].tiles && !got.arenas[1].tiles && got.sum.used_bytes == got.arenas[0].used_bytes);
		heap_walk_free(&got);
		free(w);
	}
}

/* A thread's cache: 16-bit counts, safe links and keys; lists that lie are not believed, the others are. */
static uint64_t cache_put(struct world *w, uint64_t *ret_first)
{
	uint64_t cache = chunk_put(w, 0x290, USED) + 16, next = 0, block;

	for (int i = 0; i < 3; i++) {
		block = chunk_put(w, 64, CACHED) + 16;
		poke(w, block, next ^ (block >> 12));
		poke(w, block + 8, 0x1234567812345678);
		next = block;
	}
	poke(w, cache, 3ull << 32);	/* counts[2] */
	poke(w, cache + 128 + 8 * 2, next);
	*ret_first = next;
	block = chunk_put(w, 96, CACHED) + 16;
	poke(w, block, 0 ^ (block >> 12));
	poke(w, block + 8, 0x1234567812345678);
	poke(w, cache + 8, 1);	/* counts[4] */
	poke(w, cache + 128 + 8 * 4, block);
	return cache;
}

static struct world *world_cache(uint64_t *ret_cache, uint64_t *ret_first)
{
	struct world *w = world_new(112);

	arena_put(w, MAIN_ADDR, MAIN_ADDR, 0, 8 * PAGE);
	params_put(w, true, 0, 0);
	chunks_begin(w, MAIN_ADDR, BRK_ADDR);
	*ret_cache = cache_put(w, ret_first);
	top_put(w, BRK_ADDR + 8 * PAGE);
	return w;
}

TEST(cache)
{
	uint64_t cache, first;
	struct world *w = world_cache(&cache, &first);
	struct heap_walk got = world_walk(w);

	CHECK(got.tiles && !got.changed);
	check_arena(&got.sum, &w->want);
	heap_walk_free(&got);
	free(w);
}

TEST(cache_lies)
{
	for (int i = 0; i < 8; i++) {
		uint64_t cache, first, second;
		struct world *w = world_cache(&cache, &first);
		struct heap_walk got;

		second = peek(w, first) ^ (first >> 12);
		switch (i) {
		case 0: poke(w, cache, 4ull << 32); break;		/* more than there are */
		case 1: poke(w, cache, 2ull << 32); break;		/* fewer */
		case 2: poke(w, second, first ^ (second >> 12)); break;	/* a circle */
		case 3: poke(w, second, 0xfff0 ^ (second >> 12)); break;	/* to nowhere */
		case 4: poke(w, second - 8, 0x51); break;		/* not of that size: it does not tile either */
		case 5: poke(w, second + 8, 0x77); break;		/* another key */
		case 6: poke(w, first, UINT64_MAX); break;
		default: poke(w, cache, UINT64_MAX); break;		/* no cache at all: lists that are empty have counts */
		}
		got = world_walk(w);
		if (i != 4) {
			CHECK(got.tiles);
			CHECK_EQ(got.sum.cached_bytes, i == 7 ? 0 : 96);
			CHECK_EQ(got.changed, i != 7);
			CHECK_EQ(got.sum.used_bytes + got.sum.cached_bytes, w->want.used_bytes + w->want.cached_bytes);
		} else {
			CHECK(!got.tiles);
		}
		heap_walk_free(&got);
		free(w);
	}
}

TEST(fast_lies)
{
	for (int i = 0; i < 4; i++) {
		struct world *w = world_usual(112);
		uint64_t bin = MAIN_ADDR + 16, chunk = peek(w, bin), pos = chunk + 16;
		struct heap_walk got;

		switch (i) {
		case 0: poke(w, pos, chunk ^ (pos >> 12)); break;	/* a circle */
		case 1: poke(w, pos, 0xdeadbeef0 ^ (pos >> 12)); break;	/* to nowhere */
		case 2: poke(w, bin, chunk + 16); break;		/* into a chunk */
		default: poke(w, bin, UINT64_MAX); break;
		}
		w->memory.until_ns = heap_now_ns() + 20000000000;
		got = world_walk(w);
		/* what is not in a list any more is in use, for all that is known; but it is said */
		CHECK(got.tiles && got.changed);
		CHECK(got.sum.fast_bytes < w->want.fast_bytes);
		CHECK_EQ(got.sum.used_bytes + got.sum.fast_bytes, w->want.used_bytes + w->want.fast_bytes);
		heap_walk_free(&got);
		free(w);
	}
}

/* The head of one chunk says what cannot be: wherever that is, and whatever it says, it does not tile. */
TEST(broken_sizes)
{
	static const uint64_t sizes[] = { 0, 1, 8 | 1, 16 | 1, 24 | 1, 40 | 1, PAGE * 1000 | 1, UINT64_MAX, ~7ull, 1ull << 63 | 1,
					  -(32ull) | 1, 0x7fffffffffffffe0 | 1, 64 | 2 | 1 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (uint64_t n = 0; n < 250; n += 83) {
			struct world *w = world_usual(112);
			uint64_t chunk = BRK_ADDR;

			for (uint64_t k = 0; k < n; k++)
				chunk += peek(w, chunk + 8) & ~7ull;
			poke(w, chunk + 8, sizes[i]);
			w->memory.until_ns = heap_now_ns() + 20000000000;
			check_refused(w, "");
		}
	}
}

/* The right size, but a flag that no chunk of a heap has; and a size that leads back to the chunk before, again and again. */
TEST(broken_heads)
{
	struct world *w = world_usual(112);
	uint64_t chunk = BRK_ADDR + (peek(w, BRK_ADDR + 8) & ~7ull);

	poke(w, chunk + 8, peek(w, chunk + 8) | CHUNK_MMAPPED);
	check_refused(w, "do not tile");
	w = world_usual(112);
	poke(w, chunk + 8, (BRK_ADDR - chunk) | CHUNK_PREV_INUSE);
	check_refused(w, "do not tile");
}

/* A size that leads back to the chain: only the second size of the free chunk tells. */
TEST(two_sizes)
{
	struct world *w = world_usual(112);
	uint64_t chunk = BRK_ADDR;

	while (peek(w, chunk + (peek(w, chunk + 8) & ~7ull) + 8) & CHUNK_PREV_INUSE)
		chunk += peek(w, chunk + 8) & ~7ull;
	poke(w, chunk + (peek(w, chunk + 8) & ~7ull), 48);
	check_refused(w, "do not tile");
}

TEST(top_lies)
{
	static const uint64_t tops[] = { 0, 1, BRK_ADDR, BRK_ADDR + 8, BRK_ADDR + 63 * PAGE, BRK_ADDR + 5000 * PAGE, UINT64_MAX, 1ull << 55 };

	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		struct world *w = world_usual(112);

		poke(w, MAIN_ADDR + 96, tops[i]);
		w->memory.until_ns = heap_now_ns() + 20000000000;
		check_refused(w, "");
	}
	/* larger than all that the arena has */
	struct world *w = world_usual(112);

	poke(w, w->at + 8, 1ull << 46 | 1);
	w->memory.until_ns = heap_now_ns() + 20000000000;
	check_refused(w, "do not tile");
}

TEST(no_pages)
{
	struct world *w = world_usual(112);

	region_of(w, BRK_ADDR)->words[9] = 1ull << 62;
	check_refused(w, "is swapped out");
	w = world_usual(112);
	region_of(w, BRK_ADDR)->words[9] = 0;
	check_refused(w, "where no memory is");
	w = world_usual(112);
	for (int i = 0; i < REGION_PAGES; i++)
		region_of(w, DATA_ADDR)->words[i] = 1ull << 62;
	check_refused(w, "40 KiB of the data of its files are swapped out");
	w = world_new(112);
	check_refused(w, "no arena");
	/* it has an arena, which has nothing yet */
	w = world_new(112);
	arena_put(w, MAIN_ADDR, MAIN_ADDR, MAIN_ADDR + 96, 0);
	check_refused(w, "no arena");
}

/* The ring of arenas does not close, or goes through what is no arena. */
TEST(rings)
{
	static const uint64_t nexts[] = { 0, 7, MAIN_ADDR + 16, BRK_ADDR, HEAP_ADDR, UINT64_MAX, 1ull << 60 };

	for (size_t i = 0; i < sizeof(nexts) / sizeof(nexts[0]); i++) {
		struct world *w = world_usual(112);

		poke(w, MAIN_ADDR + tail_of(w), nexts[i]);
		w->memory.until_ns = heap_now_ns() + 20000000000;
		check_refused(w, "no arena");
	}
	struct world *w = world_two();

	poke(w, HEAP_ADDR + 0x30 + tail_of(w), HEAP_ADDR + 0x30);	/* a circle without the main arena */
	w->memory.until_ns = heap_now_ns() + 20000000000;
	check_refused(w, "no arena");
}

/* What is read is changed at one read, and is whole again some reads later. */
static size_t torn_from, torn_to;
static uint64_t torn_at, torn_word;

static void tear(struct world *w)
{
	if (w->reads == torn_from) {
		torn_word = peek(w, torn_at);
		poke(w, torn_at, 0x12345678);
	}
	if (w->reads == torn_to)
		poke(w, torn_at, torn_word);
}

TEST(torn)
{
	struct world *w = world_usual(112);
	struct heap_walk got = world_walk(w);
	size_t reads = w->reads, retried = 0;
	uint64_t chunk = BRK_ADDR;

	heap_walk_free(&got);
	for (int i = 0; i < 30; i++)
		chunk += peek(w, chunk + 8) & ~7ull;
	for (size_t from = 1; from < reads; from++) {
		w->reads = 0;
		torn_from = from;
		torn_to = from + 3;
		torn_at = chunk + 8;
		w->before_read = tear;
		got = world_walk(w);
		/* it is never wrong: whole, or whole and said to have changed; or not found to begin with */
		if (got.tiles)
			check_arena(&got.sum, &w->want);
		retried += got.tiles && got.changed && got.sum.retries;
		CHECK(got.tiles || from < reads);
		heap_walk_free(&got);
		w->before_read = NULL;
		poke(w, torn_at, torn_word);
	}
	CHECK(retried > 0);
	free(w);
}

static size_t moved_at;
static uint64_t moved_top;

/* Somebody allocates from top, as if under the arena's lock. */
static void move_top(struct world *w)
{
	uint64_t bytes;

	if (w->reads != moved_at)
		return;
	bytes = peek(w, moved_top + 8) & ~7ull;
	poke(w, moved_top + 8, 112 | CHUNK_PREV_INUSE);
	poke(w, moved_top + 112 + 8, (bytes - 112) | CHUNK_PREV_INUSE);
	poke(w, MAIN_ADDR + 96, moved_top + 112);
}

/* Where top was is a chunk now: the walk does not end there, whenever that happens. */
TEST(top_moves)
{
	struct world *w = world_usual(112);
	struct heap_walk got = world_walk(w);
	size_t reads = w->reads, moved = 0;

	heap_walk_free(&got);
	free(w);
	for (moved_at = 1; moved_at < reads; moved_at++) {
		w = world_usual(112);
		/* not contiguous: that top ends elsewhere does not tell then */
		poke(w, MAIN_ADDR, 2ull << 32);
		moved_top = w->at;
		w->before_read = move_top;
		got = world_walk(w);
		CHECK(got.tiles);
		CHECK_EQ(got.sum.used_bytes + got.sum.fast_bytes + got.sum.free_bytes + got.sum.top_bytes, 64 * PAGE);
		moved += got.changed;
		heap_walk_free(&got);
		free(w);
	}
	CHECK(moved > 0);
}

/* Nothing that stands there makes it crash, read what is not resident, or go on for ever; what is believed adds up. */
TEST(garbage)
{
	uint64_t seed = 88172645463325252ull, believed = 0;
	static struct world pristine;
	struct world *w = world_two();

	pristine = *w;
	for (int i = 0; i < 800; i++) {
		struct heap_walk got;

		memcpy(w->regions, pristine.regions, sizeof(w->regions));
		for (unsigned int k = 0; k < 1 + seed % 7; k++) {
			struct region *r = &w->regions[seed >> 8 & 3];
			size_t at = (seed >> 16) % (seed & 1 ? 3 * PAGE : 64 * PAGE);

			if (r == w->regions)
				at = 0x7000 - 200 + at % 6000;
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			switch (seed >> 40 & 3) {
			case 0: r->bytes[at] ^= seed >> 50; break;
			case 1: poke(w, r->addr + (at & ~7ull), seed & 0xffff0); break;
			case 2: poke(w, r->addr + (at & ~7ull), w->regions[seed >> 50 & 3].addr + (seed & 0xfff0)); break;
			default: r->words[at / PAGE] = seed & 1 << 20 ? 0 : 1ull << 62; break;
			}
		}
		w->bad_reads = 0;
		w->memory.until_ns = heap_now_ns() + 3000000000;
		got = world_walk(w);
		believed += got.tiles;
		for (size_t k = 0; k < got.arenas_cnt; k++) {
			const struct heap_arena *a = &got.arenas[k];

			if (a->tiles && !a->changed)
				CHECK_EQ(a->used_bytes + a->cached_bytes + a->fast_bytes + a->free_bytes + a->top_bytes + a->own_bytes +
					 a->unseen_bytes, a->system_bytes);
		}
		CHECK(!got.why || !strstr(got.why, "too long"));
		heap_walk_free(&got);
	}
	CHECK(believed > 50 && believed < 750);
	free(w);
}

TEST_MAIN(TEST_CASE(layouts), TEST_CASE(trim), TEST_CASE(mapped_blocks), TEST_CASE(heaps), TEST_CASE(heaps_in_a_circle),
	  TEST_CASE(cache), TEST_CASE(cache_lies), TEST_CASE(fast_lies), TEST_CASE(broken_sizes), TEST_CASE(broken_heads), TEST_CASE(two_sizes),
	  TEST_CASE(top_lies), TEST_CASE(no_pages), TEST_CASE(rings), TEST_CASE(torn), TEST_CASE(top_moves),
	  TEST_CASE(garbage))
