/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A made-up process with a malloc heap: a few regions of memory with pages of each kind, and a builder of arenas and chunks in
 * them. A read of a page that is not resident is what the walk must never do, and is counted.
 */
#ifndef HEAP_WORLD_H
#define HEAP_WORLD_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/glibc_walk.h"
#include "test.h"

#define PAGE		4096ull
#define DATA_ADDR	0x10000000ull
#define BRK_ADDR	0x20000000ull
#define HEAP_ADDR	0x40000000ull	/* of another arena: a multiple of 64 MiB */
#define HEAP2_ADDR	0x44000000ull
#define MAIN_ADDR	(DATA_ADDR + 0x7c60)
#define PARAMS_ADDR	(DATA_ADDR + 0x7000 - 96)	/* sbrk_base begins a page */
#define REGIONS		4
#define REGION_PAGES	128
#define DATA_PAGES	10		/* of the first region */

struct region {
	uint64_t addr;
	unsigned char bytes[REGION_PAGES * PAGE];
	uint64_t words[REGION_PAGES];
};

struct world {
	struct region regions[REGIONS];
	unsigned int bins_off;
	size_t reads, bad_reads;
	void (*before_read)(struct world *w);
	struct heap_memory memory;
	struct arena_range data, anon[2];
	struct heap_places places;
	/* The arena that is built: where the next chunk goes, and what there is. */
	uint64_t arena, at, prev_bytes;
	bool prev_free;
	struct heap_arena want;
};

static inline struct region *region_of(struct world *w, uint64_t addr)
{
	for (int i = 0; i < REGIONS; i++)
		if (addr >= w->regions[i].addr && addr - w->regions[i].addr < REGION_PAGES * PAGE)
			return &w->regions[i];
	return NULL;
}

static inline void poke(struct world *w, uint64_t addr, uint64_t word)
{
	struct region *r = region_of(w, addr);

	memcpy(r->bytes + (addr - r->addr), &word, sizeof(word));
}

static inline uint64_t peek(struct world *w, uint64_t addr)
{
	struct region *r = region_of(w, addr);
	uint64_t word;

	memcpy(&word, r->bytes + (addr - r->addr), sizeof(word));
	return word;
}

static inline ssize_t world_pages(void *ctx, uint64_t addr, uint64_t *ret_words, size_t cnt)
{
	struct world *w = ctx;

	memset(ret_words, 0, cnt * sizeof(*ret_words));
	for (int i = 0; i < REGIONS; i++)
		for (size_t k = 0; k < REGION_PAGES; k++) {
			uint64_t page = w->regions[i].addr + k * PAGE;

			if (page >= addr && page - addr < cnt * PAGE)
				ret_words[(page - addr) / PAGE] = w->regions[i].words[k];
		}
	return cnt;
}

static inline ssize_t world_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct world *w = ctx;
	size_t at = 0, step;

	w->reads++;
	if (w->before_read)
		w->before_read(w);
	for (; at < len; at += step) {
		struct region *r = region_of(w, addr + at);

		if (!r)
			break;
		step = PAGE - ((addr + at) & (PAGE - 1));
		if (step > len - at)
			step = len - at;
		w->bad_reads += !(r->words[(addr + at - r->addr) / PAGE] >> 63);
		memcpy((char *)buf + at, r->bytes + (addr + at - r->addr), step);
	}
	return at ? (ssize_t)at : -EFAULT;
}

static inline uint64_t tail_of(const struct world *w)
{
	return w->bins_off + 16 * ARENA_BINS + 16;
}

/* A malloc_state: all bins are empty. */
static inline void arena_put(struct world *w, uint64_t addr, uint64_t next, uint64_t top, uint64_t system_bytes)
{
	for (int i = 0; i < ARENA_BINS; i++) {
		uint64_t bin = addr + w->bins_off + 16 * i;

		poke(w, bin, bin - 16);
		poke(w, bin + 8, bin - 16);
	}
	poke(w, addr + w->bins_off - 16, top);
	poke(w, addr + tail_of(w), next);
	poke(w, addr + tail_of(w) + 24, system_bytes);
}

static inline struct world *world_new(unsigned int bins_off)
{
	static const uint64_t addrs[REGIONS] = { DATA_ADDR, BRK_ADDR, HEAP_ADDR, HEAP2_ADDR };
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	for (int i = 0; i < REGIONS; i++) {
		w->regions[i].addr = addrs[i];
		for (int k = 0; k < REGION_PAGES; k++)
			w->regions[i].words[k] = 1ull << 63;
	}
	w->bins_off = bins_off;
	w->memory = (struct heap_memory){ .read = world_read, .pages = world_pages, .ctx = w, .page_bytes = PAGE };
	w->data = (struct arena_range){ DATA_ADDR, DATA_ADDR + DATA_PAGES * PAGE };
	w->places.data = &w->data;
	w->places.data_cnt = 1;
	w->places.brk = (struct arena_range){ BRK_ADDR, BRK_ADDR + REGION_PAGES * PAGE };
	return w;
}

enum kind { USED, FREE, FAST, CACHED };

/* Chunks of an arena are put from here on. */
static inline void chunks_begin(struct world *w, uint64_t arena, uint64_t addr)
{
	w->arena = arena;
	w->at = addr;
	w->prev_free = false;
	w->prev_bytes = 0;
}

static inline void head_put(struct world *w, uint64_t bytes, uint64_t flags)
{
	if (w->prev_free)
		poke(w, w->at, w->prev_bytes);
	poke(w, w->at + 8, bytes | flags | (w->prev_free ? 0 : CHUNK_PREV_INUSE));
}

/* A chunk, which is put into its fastbin if it is FAST; its address. */
static inline uint64_t chunk_put(struct world *w, uint64_t bytes, enum kind kind)
{
	uint64_t chunk = w->at, bin = w->arena + w->bins_off - 16 - 8 * ARENA_FASTBINS + 8 * (bytes / 16 - 2);

	head_put(w, bytes, kind != FREE && w->arena != MAIN_ADDR ? CHUNK_OTHER_ARENA : 0);
	w->prev_free = kind == FREE;
	w->prev_bytes = bytes;
	w->at += bytes;
	if (kind == FAST) {
		poke(w, chunk + 16, peek(w, bin) ^ ((chunk + 16) >> 12));
		poke(w, bin, chunk);
	}
	w->want.used_bytes += kind == USED ? bytes : 0;
	w->want.used_cnt += kind == USED;
	w->want.free_bytes += kind == FREE ? bytes : 0;
	w->want.free_cnt += kind == FREE;
	w->want.fast_bytes += kind == FAST ? bytes : 0;
	w->want.fast_cnt += kind == FAST;
	w->want.cached_bytes += kind == CACHED ? bytes : 0;
	w->want.cached_cnt += kind == CACHED;
	return chunk;
}

/* The top, up to a place where the heap ends; what the arena says of itself. */
static inline void top_put(struct world *w, uint64_t end)
{
	w->prev_free = false;
	head_put(w, end - w->at, 0);
	w->want.top_bytes += end - w->at;
	poke(w, w->arena + w->bins_off - 16, w->at);
}

/* malloc_par as from 2.35 on, or before. */
static inline void params_put(struct world *w, bool is_new, uint64_t mmapped_bytes, uint32_t mmapped_cnt)
{
	uint64_t base = PARAMS_ADDR + 96, numbers = base - (is_new ? 36 : 32), room = 0x10000;

	poke(w, base, BRK_ADDR);
	poke(w, base - 8, mmapped_bytes);
	poke(w, base - 16, mmapped_bytes);
	for (int i = 0; i < 4; i++) {
		uint32_t n = i == 0 ? mmapped_cnt : i == 1 ? room : i == 2 ? mmapped_cnt + 3 : 0;
		struct region *r = region_of(w, numbers);

		memcpy(r->bytes + (numbers + 4 * i - r->addr), &n, sizeof(n));
	}
}

/* A main arena with chunks of all kinds in one page and more, which tiles. */
static inline struct world *world_usual(unsigned int bins_off)
{
	struct world *w = world_new(bins_off);

	arena_put(w, MAIN_ADDR, MAIN_ADDR, 0, 64 * PAGE);
	params_put(w, true, 0, 0);
	chunks_begin(w, MAIN_ADDR, BRK_ADDR);
	for (int i = 0; i < 100; i++) {
		chunk_put(w, 32 + 16 * (i % 40), USED);
		chunk_put(w, 48 + 16 * (i % 90), i % 3 ? FREE : USED);
		chunk_put(w, 512, USED);
		if (bins_off >= 96 && i % 5 == 0)
			chunk_put(w, 32 + 16 * (i / 5 % 7), FAST);
	}
	chunk_put(w, 3 * PAGE, FREE);
	chunk_put(w, 64, USED);
	top_put(w, BRK_ADDR + 64 * PAGE);
	return w;
}

static inline struct heap_walk world_walk(struct world *w)
{
	struct heap_walk got;

	heap_memory_forget(&w->memory);
	CHECK_EQ(heap_walk_memory(&w->memory, &w->places, &got), 0);
	CHECK_EQ(w->bad_reads, 0);
	CHECK(got.tiles == !got.why);
	return got;
}

#endif
