/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "target/glibc_chunks.h"
#include "target/glibc_tcache.h"
#include "target/glibc_walk.h"

#define ATTEMPTS	5		/* at one arena */
#define OLDER_PAGES_MAX	(1u << 17)	/* that are looked at for what a main arena has in mappings: 0.1 s */
#define ARENAS_ASKED	32		/* for the size of heaps */
#define FAST_MAX	(1u << 21)	/* of an arena, kept as addresses: 16 MiB; in the others a thread's frees are rarer */
#define CACHES_MAX	65536

struct cache_place {
	uint64_t addr, bytes;
	size_t ring;
};

struct run {
	struct heap_memory *m;
	const struct heap_places *places;
	struct heap_walk *w;
	struct arena_ring *rings;
	size_t rings_cnt, ring;		/* the ring that is walked */
	struct cache_place *caches;
	size_t caches_cnt, caches_size;
	uint64_t heap_addr;		/* of the chunk that was attributed last */
	struct heap_arena *heap_arena;
	struct text why;
};

/* One arena, and one attempt at it. */
struct attempt {
	struct run *run;
	const struct arena_ring *r;
	struct arena_state state;
	uint64_t *fast;
	size_t fast_cnt;
	bool fast_sound;
	uint64_t fast_missed;
	struct heap_arena arena;
	struct chunk_result result;	/* of the last piece */
};

static void text_problem(struct text *t, const struct attempt *a)
{
	const struct chunk_result *c = &a->result;

	switch (c->problem) {
	case CHUNK_SWAPPED:
		text_printf(t, "a page of the heap at %#" PRIx64 " is swapped out, and reading it would bring it back", c->at);
		break;
	case CHUNK_ABSENT:
		text_printf(t, "the chunks of the arena at %#" PRIx64 " lead to %#" PRIx64 ", where no memory is", a->state.addr, c->at);
		break;
	case CHUNK_FOREIGN:
		text_printf(t, "the heap has a hole at %#" PRIx64 ": the program calls sbrk() itself, and where malloc goes on is not "
			    "known", c->at);
		break;
	default:
		text_printf(t, "the chunks of the arena at %#" PRIx64 " do not tile: at %#" PRIx64 " the sizes lead astray (read %"
			    PRIu64 " times)", a->state.addr, c->at, c->retries + 1);
	}
}

static int cache_found(void *ctx, uint64_t addr, uint64_t bytes, const unsigned char *user)
{
	struct run *run = ((struct attempt *)ctx)->run;

	if ((user && !tcache_is_likely(bytes, user)) || run->caches_cnt == CACHES_MAX)
		return 0;
	if (run->caches_cnt == run->caches_size) {
		size_t size = run->caches_size ? 2 * run->caches_size : 64;
		struct cache_place *more = realloc(run->caches, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		run->caches = more;
		run->caches_size = size;
	}
	run->caches[run->caches_cnt++] = (struct cache_place){ addr, bytes, run->ring };
	return 0;
}

static uint64_t brk_start(const struct attempt *a)
{
	return a->r->sbrk_base_addr ? a->r->sbrk_base_addr : a->run->places->brk.start;
}

/* Where top ends: what others take by sbrk() counts as the arena's. 0: not known. */
static uint64_t brk_end(const struct attempt *a, const struct arena_state *s)
{
	return s->is_contiguous ? brk_start(a) + s->system_bytes : 0;
}

static int piece_refresh(void *ctx, struct chunk_piece *p)
{
	struct attempt *a = ctx;
	struct arena_state s;
	struct arena_heap h;
	int err = arena_state_read(a->run->m, a->r, a->state.addr, &s);

	if (err)
		return err;
	if (!p->is_main) {
		err = arena_heap_read(a->run->m, a->r, s.addr, p->start, &h);
		if (err)
			return err;
		p->end = h.addr + h.bytes;
		if (p->top && (s.top < h.addr || s.top >= p->end))	/* it has moved to another heap */
			return -EAGAIN;
	}
	if (p->top) {
		if (p->top_is_brk)
			p->end = brk_end(a, &s);
		p->top = s.top;
		p->top_bytes_max = s.system_bytes;
		if (s.top < p->start)
			return -EAGAIN;
	}
	return 0;
}

static size_t fast_from(const struct attempt *a, uint64_t addr)
{
	size_t low = 0, high = a->fast_cnt;

	while (low < high) {
		size_t i = low + (high - low) / 2;

		if (a->fast[i] < addr)
			low = i + 1;
		else
			high = i;
	}
	return low;
}

/* Walks one piece and adds what is in it. -EAGAIN: it does not tile, a->result says why. */
static int piece_walk(struct attempt *a, struct chunk_piece p)
{
	size_t first = fast_from(a, p.start);
	struct chunk_tally *t = &a->result.tally;
	struct heap_arena *r = &a->arena;
	int err;

	p.fast = a->fast + first;
	p.fast_cnt = a->fast_cnt - first;
	p.refresh = piece_refresh;
	p.cache = cache_found;
	p.ctx = a;
	p.top_bytes_max = a->state.system_bytes;
	a->result = (struct chunk_result){ .problem = CHUNK_ASTRAY, .at = p.start };
	err = chunks_walk(a->run->m, &p, &a->result);
	r->retries += a->result.retries;
	if (err || a->result.problem != CHUNK_OK)
		return err ? err : -EAGAIN;
	r->used_bytes += t->used_bytes;
	r->used_cnt += t->used_cnt;
	r->fast_bytes += t->fast_bytes;
	r->fast_cnt += t->fast_cnt;
	r->free_bytes += t->free_bytes;
	r->free_cnt += t->free_cnt;
	if (t->largest_free_bytes > r->largest_free_bytes)
		r->largest_free_bytes = t->largest_free_bytes;
	r->top_bytes += t->top_bytes;
	r->own_bytes += t->fence_bytes;
	r->resident_bytes += t->resident_bytes;
	r->swapped_bytes += t->swapped_bytes;
	r->trim_bytes += t->trim_bytes;
	r->top_resident_bytes += t->top_resident_bytes;
	r->heaps_cnt++;
	a->fast_missed += t->fast_missed;
	return 0;
}

static uint64_t seen_bytes(const struct heap_arena *r)
{
	return r->used_bytes + r->fast_bytes + r->free_bytes + r->top_bytes + r->own_bytes;
}

/*
 * Pieces without top in [start, end), each from a page on; beside and between them is what is something else's. pages: how many
 * may still be looked at. What is not found counts as unseen.
 */
static int older_walk(struct attempt *a, uint64_t start, uint64_t end, size_t *pages)
{
	uint64_t page_bytes = a->run->m->page_bytes;

	for (; start < end && *pages && seen_bytes(&a->arena) < a->state.system_bytes; --*pages) {
		uint64_t retries = a->arena.retries;
		int err = -EAGAIN;

		if (arena_is_chain(a->run->m, start, end))
			err = piece_walk(a, (struct chunk_piece){ .start = start, .end = end, .is_main = true, .ends_early = true });
		if (err && err != -EAGAIN)
			return err;
		if (err)
			a->arena.retries = retries;
		start = err ? start + page_bytes : a->result.at;
	}
	return 0;
}

/*
 * What a main arena has in mappings. glibc maps one of 1 MiB or more whenever brk has no more room; the kernel puts each
 * below the one before and makes one mapping of them, and of what else is beside them. So: top is in the lowest, which begins
 * at the first page from which chunks lead on; the older ones are behind it, each with its fences, or in others.
 */
static int mapped_walk(struct attempt *a, const struct arena_range *range)
{
	const struct heap_places *places = a->run->places;
	uint64_t start = range->start, page_bytes = a->run->m->page_bytes;
	size_t pages = OLDER_PAGES_MAX;
	int err;

	while (start <= a->state.top && !arena_is_chain(a->run->m, start, a->state.top))
		start += page_bytes;
	if (start > a->state.top)
		return -EAGAIN;
	err = piece_walk(a, (struct chunk_piece){ .start = start, .top = a->state.top, .is_main = true });
	if (!err)
		err = older_walk(a, a->result.at, range->end, &pages);
	for (size_t i = 0; !err && i < places->anon_cnt; i++)
		if (&places->anon[i] != range)
			err = older_walk(a, places->anon[i].start, places->anon[i].end, &pages);
	return err;
}

/* The pieces of a main arena: what brk gives, and where brk has no room, the mapping that top lies in. */
static int main_walk(struct attempt *a)
{
	const struct heap_places *places = a->run->places;
	bool in_brk = arena_top_is_in_brk(places, &a->state);
	uint64_t base = brk_start(a), start = (base + 15) & ~15ull;
	int err = 0;

	if (in_brk || (places->brk.end && a->r->sbrk_base_addr)) {
		a->arena.own_bytes += start - base;
		err = piece_walk(a, (struct chunk_piece){ .start = start, .is_main = true, .top_is_brk = true,
							  .top = in_brk ? a->state.top : 0,
							  .end = in_brk ? brk_end(a, &a->state) : places->brk.end });
	}
	if (in_brk || err)
		return err;
	a->result = (struct chunk_result){ .problem = CHUNK_ABSENT, .at = a->state.top };
	for (size_t i = 0; i < places->anon_cnt; i++)
		if (a->state.top >= places->anon[i].start && a->state.top < places->anon[i].end)
			return mapped_walk(a, &places->anon[i]);
	return -EAGAIN;
}

static int other_walk(struct attempt *a)
{
	uint64_t bytes = 0;
	struct arena_heap h = { .bytes = 0 };

	for (uint64_t addr = a->state.top; addr; addr = h.prev_addr) {
		int err = arena_heap_read(a->run->m, a->r, a->state.addr, addr, &h);

		bytes += h.bytes;
		if (!err && bytes > a->state.system_bytes)	/* they lead in a circle, or more came meanwhile */
			err = -EAGAIN;
		if (err) {
			a->result = (struct chunk_result){ .problem = CHUNK_ASTRAY, .at = addr };
			return err;
		}
		a->arena.own_bytes += h.first_chunk_addr - h.addr;
		err = piece_walk(a, (struct chunk_piece){ .start = h.first_chunk_addr, .end = h.addr + h.bytes,
							  .top = addr == a->state.top ? addr : 0 });
		if (err)
			return err;
	}
	/* the oldest one is that in which the arena lies */
	return h.addr == (a->state.addr & -a->r->heap_bytes) ? 0 : -EAGAIN;
}

/* Whether top is what it is before the first allocation: a bin of the arena. */
static bool is_unused(const struct attempt *a)
{
	return a->state.top - a->state.addr < arena_state_bytes(a->r);
}

static size_t fast_max(const struct arena_state *s)
{
	return s->system_bytes / CHUNK_BYTES_MIN < FAST_MAX ? s->system_bytes / CHUNK_BYTES_MIN : FAST_MAX;
}

static int attempt_run(struct attempt *a)
{
	struct heap_memory *m = a->run->m;
	struct heap_arena *r = &a->arena;
	struct arena_state after;
	uint64_t seen;
	int err;

	a->result = (struct chunk_result){ .problem = CHUNK_ASTRAY, .at = a->state.addr };
	err = arena_state_read(m, a->r, a->state.addr, &a->state);
	if (err)
		return err;
	if (is_unused(a)) {
		r->tiles = true;
		return 0;
	}
	err = arena_fast_read(m, &a->state, fast_max(&a->state), &a->fast, &a->fast_cnt, &a->fast_sound);
	if (!err)
		err = r->is_main ? main_walk(a) : other_walk(a);
	if (!err)
		err = arena_state_read(m, a->r, a->state.addr, &after);
	if (err)
		return err;
	r->changed = !a->fast_sound || a->fast_missed || r->retries ||
		     memcmp(a->state.bytes, after.bytes, a->state.bytes_cnt) != 0;
	r->system_bytes = after.system_bytes;
	seen = seen_bytes(r);
	if (seen > r->system_bytes && !r->changed)	/* these were no chunks, however well they fit */
		return -EAGAIN;
	r->unseen_bytes = r->system_bytes > seen ? r->system_bytes - seen : 0;
	r->tiles = true;
	return 0;
}

/* Errors that are not those of one place in the heap. */
static bool is_fatal(int err)
{
	return err == -ENOMEM || err == -ETIME || err == -ESRCH || err == -EACCES || err == -EPERM;
}

static int arena_walk(struct run *run, const struct arena_ring *r, uint64_t addr)
{
	struct heap_arena *ret = &run->w->arenas[run->w->arenas_cnt++];
	uint64_t retries = 0;
	int err = -EAGAIN;

	for (int i = 0; err && !is_fatal(err) && i < ATTEMPTS; i++) {
		struct attempt a = { .run = run, .r = r, .state = { .addr = addr } };

		a.arena = (struct heap_arena){ .addr = addr, .is_main = addr == r->main_addr, .retries = retries };
		err = attempt_run(&a);
		retries = a.arena.retries + !!err;
		a.arena.retries = retries;
		if (!err)
			*ret = a.arena;
		else
			*ret = (struct heap_arena){ .addr = addr, .is_main = a.arena.is_main, .retries = retries,
						    .system_bytes = a.state.system_bytes };
		if (err && i == ATTEMPTS - 1 && !run->why.len)
			text_problem(&run->why, &a);
		free(a.fast);
	}
	return is_fatal(err) ? err : 0;
}

/* Whether the heaps of an arena lead from top's to that in which it lies. 1, 0, or an error that ends the walk. */
static int heaps_lead(struct heap_memory *m, const struct arena_ring *r, uint64_t arena_addr)
{
	struct arena_heap h = { .addr = 0 };
	struct arena_state s;
	int err = arena_state_read(m, r, arena_addr, &s);

	for (uint64_t addr = s.top, bytes = 0; !err && addr; addr = h.prev_addr) {
		err = arena_heap_read(m, r, arena_addr, addr, &h);
		bytes += h.bytes;
		if (!err && bytes > s.system_bytes)	/* they lead in a circle */
			err = -EBADMSG;
	}
	return is_fatal(err) ? err : !err && h.addr == (arena_addr & -r->heap_bytes);
}

/*
 * The size to which heaps are aligned: 64 MiB, or another one with huge pages: that which leads through the heaps of the most
 * arenas. Two may do so equally well where all have one heap, and then it does not matter.
 */
static int heap_bytes_find(struct heap_memory *m, struct arena_ring *r)
{
	static const unsigned char shifts[] = { 26, 33, 32, 31, 30, 29, 28, 27, 25, 24, 23, 22, 21, 20 };
	size_t cnt = r->cnt < ARENAS_ASKED ? r->cnt : ARENAS_ASKED, most = 0;
	uint64_t best = 1ull << shifts[0];

	for (size_t i = 0; i < sizeof(shifts) && most < cnt - 1; i++) {
		size_t leads = 0;

		r->heap_bytes = 1ull << shifts[i];
		for (size_t k = 1; k < cnt; k++) {
			int does = heaps_lead(m, r, r->addrs[k]);

			if (does < 0)
				return does;
			leads += does;
		}
		if (leads > most) {
			most = leads;
			best = r->heap_bytes;
		}
	}
	r->heap_bytes = best;
	return 0;
}

static struct heap_arena *arena_of(struct run *run, uint64_t addr)
{
	for (size_t i = 0; i < run->w->arenas_cnt; i++)
		if (run->w->arenas[i].addr == addr)
			return &run->w->arenas[i];
	return NULL;
}

/* A chunk in a thread's cache: the arena that it is of has counted it as used. */
static void cached_book(void *ctx, uint64_t chunk, uint64_t head)
{
	struct run *run = ctx;
	const struct arena_ring *r = &run->rings[run->ring];
	uint64_t bytes = head & ~CHUNK_FLAGS, heap = chunk & -r->heap_bytes, arena_addr = r->main_addr;
	struct heap_arena *a;

	if (head & CHUNK_OTHER_ARENA) {
		if (heap != run->heap_addr || !run->heap_arena) {
			run->heap_addr = heap;
			run->heap_arena = r->heap_bytes && !heap_memory_get(run->m, heap, &arena_addr, sizeof(arena_addr)) ?
					  arena_of(run, arena_addr) : NULL;
		}
		a = run->heap_arena;
	} else {
		a = arena_of(run, arena_addr);
	}
	if (!a || !a->tiles)
		return;
	if (a->used_bytes < bytes || !a->used_cnt) {
		a->changed = true;
		return;
	}
	a->used_bytes -= bytes;
	a->used_cnt--;
	a->cached_bytes += bytes;
	a->cached_cnt++;
}

static int cache_compare(const void *pa, const void *pb)
{
	const struct cache_place *a = pa, *b = pb;

	return (a->addr > b->addr) - (a->addr < b->addr);
}

static int caches_walk(struct run *run)
{
	int err = 0;

	if (run->caches_cnt)
		qsort(run->caches, run->caches_cnt, sizeof(*run->caches), cache_compare);
	for (size_t i = 0; !err && i < run->caches_cnt; i++) {
		const struct cache_place *c = &run->caches[i];
		bool sound = true;

		/* what was read again was told again */
		if (i && c->addr == run->caches[i - 1].addr)
			continue;
		run->ring = c->ring;
		err = tcache_each(run->m, c->addr, c->bytes, cached_book, run, &sound);
		run->w->changed |= !sound;
	}
	return err;
}

#define NUMBER(name) offsetof(struct heap_arena, name)
/* All numbers of an arena but its address and largest_free_bytes: what can be added up. */
const size_t heap_arena_sums[HEAP_ARENA_SUMS] = {
	NUMBER(system_bytes), NUMBER(used_bytes), NUMBER(used_cnt), NUMBER(cached_bytes), NUMBER(cached_cnt), NUMBER(fast_bytes),
	NUMBER(fast_cnt), NUMBER(free_bytes), NUMBER(free_cnt), NUMBER(top_bytes), NUMBER(own_bytes), NUMBER(unseen_bytes),
	NUMBER(heaps_cnt), NUMBER(resident_bytes), NUMBER(swapped_bytes), NUMBER(trim_bytes), NUMBER(top_resident_bytes),
	NUMBER(retries),
};

static void sum_up(struct heap_walk *w)
{
	struct heap_arena *s = &w->sum;

	w->tiles = w->arenas_cnt > 0;
	for (size_t i = 0; i < w->arenas_cnt; i++) {
		const struct heap_arena *a = &w->arenas[i];

		w->tiles &= a->tiles;
		if (!a->tiles)
			continue;
		w->changed |= a->changed;
		for (size_t k = 0; k < HEAP_ARENA_SUMS; k++)
			*heap_arena_sum(s, k) += *heap_arena_sum((struct heap_arena *)a, k);
		if (a->largest_free_bytes > s->largest_free_bytes)
			s->largest_free_bytes = a->largest_free_bytes;
	}
	s->tiles = w->tiles;
	s->changed = w->changed;
}

static int rings_walk(struct run *run)
{
	struct heap_walk *w = run->w;
	size_t cnt = 0;
	int err = 0;

	for (size_t i = 0; i < run->rings_cnt; i++)
		cnt += run->rings[i].cnt;
	w->arenas = calloc(cnt + 1, sizeof(*w->arenas));
	if (!w->arenas)
		return -ENOMEM;
	for (size_t i = 0; !err && i < run->rings_cnt; i++) {
		struct arena_ring *r = &run->rings[i];

		run->ring = i;
		err = arena_params_find(run->m, run->places, r);
		err = is_fatal(err) ? err : heap_bytes_find(run->m, r);
		if (r->has_mmapped) {
			w->has_mmapped = true;
			w->mmapped_bytes += r->mmapped_bytes;
			w->mmapped_cnt += r->mmapped_cnt;
		}
		for (size_t k = 0; !err && k < r->cnt; k++)
			err = arena_walk(run, r, r->addrs[k]);
	}
	return err ? err : caches_walk(run);
}

int heap_walk_memory(struct heap_memory *m, const struct heap_places *places, struct heap_walk *ret)
{
	struct run run = { .m = m, .places = places, .w = ret };
	uint64_t swapped_bytes = 0;
	char buf[TEXT_BYTES_MAX];
	int err;

	memset(ret, 0, sizeof(*ret));
	err = arena_rings_find(m, places, &run.rings, &run.rings_cnt, &swapped_bytes);
	if (!err && !run.rings_cnt) {
		text_add(&run.why, "no arena of glibc's malloc was found, by the layouts of glibc 2.23 to 2.43, or it has not allocated yet");
		if (swapped_bytes)
			text_printf(&run.why, "; %s of the data of its files are swapped out and were not looked at",
				    text_bytes(buf, swapped_bytes, false));
	} else if (!err) {
		err = rings_walk(&run);
	}
	if (!err)
		sum_up(ret);
	if (err == -ETIME) {
		text_clear(&run.why);
		text_add(&run.why, "it took too long");
		ret->arenas_cnt = 0;
		err = 0;
	}
	arena_rings_free(run.rings, run.rings_cnt);
	free(run.caches);
	ret->read_bytes = m->read_bytes;
	ret->why = run.why.str;
	if (run.why.failed)
		err = -ENOMEM;
	if (err)
		heap_walk_free(ret);
	return err;
}

void heap_walk_free(struct heap_walk *w)
{
	free(w->arenas);
	free(w->why);
	memset(w, 0, sizeof(*w));
}
