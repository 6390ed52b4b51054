/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/glibc_arena.h"
#include "target/glibc_chunks.h"
#include "target/glibc_tcache.h"

#define WINDOW_BYTES	(256u << 10)	/* of what is read at once: it stays in the processor's cache */
#define FAR_BYTES	(64u << 10)	/* behind a chunk of this size reading begins with one page again */
#define TRIES_MAX	4		/* from the same place */
#define RETRIES_MAX	400		/* in one walk of a piece */
#define HOLE_BYTES_MAX	(1u << 20)	/* how far chunks are looked for behind somebody else's memory */
#define TRIM_HEAD_BYTES	48		/* sizeof(struct malloc_chunk): malloc_trim() leaves them */

/* Where the walk stands, so that it can stand there again. */
struct position {
	uint64_t chunk;			/* the next one */
	uint64_t prev, prev_bytes;	/* the one before, of which it is not known yet whether it is free; prev 0: none */
	uint64_t run, run_counted;	/* free neighbours: start, 0: none; up to where their pages were counted */
	uint64_t run_trim_bytes;
	uint64_t counted;		/* pages up to here are in resident_bytes */
	size_t fast_at;
	unsigned int fences;		/* one behind the other, before `chunk` */
	struct chunk_tally tally;
};

struct walk {
	struct heap_memory *m;
	struct chunk_piece *p;
	struct position now;
	struct position last, older;	/* at the start of what was read last, and of what was read before */
	unsigned char *buf;
	uint64_t window, window_end;	/* what is in buf; the same: nothing */
	size_t ahead;			/* how much to read next */
	unsigned int tries;		/* from `last` */
	bool is_older;			/* `older` was tried, too */
	bool is_top_sure;		/* top was read again when the walk came there */
	uint64_t retries;
	enum chunk_problem problem;
};

/* Counts what is resident in [now.counted, end). Pages are the process's, so both are rounded to them. */
static int resident_count(struct walk *w, uint64_t end)
{
	struct chunk_tally *t = &w->now.tally;
	uint64_t page_bytes = w->m->page_bytes, addr = w->now.counted;
	int err = 0;

	for (; addr < end; addr += page_bytes) {
		enum heap_page page;

		if (!w->m->has_step || addr - w->m->step_start >= HEAP_STEP_BYTES)
			err = heap_memory_step(w->m, addr);
		if (err)
			return err;
		page = heap_memory_page(w->m, addr);
		t->resident_bytes += page == HEAP_PAGE_RESIDENT ? page_bytes : 0;
		t->swapped_bytes += page == HEAP_PAGE_SWAPPED ? page_bytes : 0;
	}
	w->now.counted = addr;
	return 0;
}

/* Pages that lie wholly in [start, end), as long as they are resident. */
static int pages_count(struct walk *w, uint64_t start, uint64_t end, uint64_t *bytes)
{
	uint64_t page_bytes = w->m->page_bytes;

	for (uint64_t addr = (start + page_bytes - 1) & -page_bytes; addr + page_bytes <= end; addr += page_bytes) {
		int err = heap_memory_step(w->m, addr);

		if (err)
			return err;
		if (heap_memory_page(w->m, addr) == HEAP_PAGE_RESIDENT)
			*bytes += page_bytes;
	}
	return 0;
}

/*
 * malloc_trim() first merges what lies in fastbins with what is free beside it, and then gives back the whole pages in what
 * is free, but for those of the head.
 */
static int run_extend(struct walk *w, uint64_t chunk, uint64_t bytes)
{
	uint64_t page_bytes = w->m->page_bytes, end = (chunk + bytes) & -page_bytes;
	struct position *n = &w->now;
	int err;

	if (!n->run) {
		n->run = chunk;
		n->run_counted = (chunk + TRIM_HEAD_BYTES + page_bytes - 1) & -page_bytes;
	}
	if (end <= n->run_counted)
		return 0;
	err = pages_count(w, n->run_counted, end, &n->run_trim_bytes);
	n->run_counted = end;
	return err;
}

static void run_close(struct walk *w, bool is_given_back)
{
	if (is_given_back)
		w->now.tally.trim_bytes += w->now.run_trim_bytes;
	w->now.run = 0;
	w->now.run_trim_bytes = 0;
}

static bool is_fast(struct walk *w, uint64_t chunk)
{
	struct position *n = &w->now;

	for (; n->fast_at < w->p->fast_cnt && w->p->fast[n->fast_at] < chunk; n->fast_at++)
		n->tally.fast_missed += w->p->fast[n->fast_at] >= w->p->start;
	if (n->fast_at == w->p->fast_cnt || w->p->fast[n->fast_at] != chunk)
		return false;
	n->fast_at++;
	return true;
}

/* Books the chunk before, now that the next one's head is known. */
static int prev_book(struct walk *w, bool is_free)
{
	uint64_t chunk = w->now.prev, bytes = w->now.prev_bytes;
	struct chunk_tally *t = &w->now.tally;

	if (!chunk)
		return 0;
	w->now.prev = 0;
	if (is_free) {
		t->free_bytes += bytes;
		t->free_cnt++;
		if (bytes > t->largest_free_bytes)
			t->largest_free_bytes = bytes;
		return run_extend(w, chunk, bytes);
	}
	if (is_fast(w, chunk)) {
		t->fast_bytes += bytes;
		t->fast_cnt++;
		return run_extend(w, chunk, bytes);
	}
	t->used_bytes += bytes;
	t->used_cnt++;
	run_close(w, true);
	if (w->p->cache && tcache_is_size(bytes)) {
		bool here = chunk >= w->window && chunk + bytes <= w->window_end;

		return w->p->cache(w->p->ctx, chunk, bytes, here ? w->buf + (chunk - w->window) + CHUNK_HEAD_BYTES : NULL);
	}
	return 0;
}

/* Reads on at the next chunk. 1: its head is in no page that is resident. */
static int window_read(struct walk *w)
{
	size_t got = 0;
	int err;

	if (w->now.chunk != w->last.chunk) {
		w->older = w->last.chunk ? w->last : w->now;
		w->last = w->now;
		w->tries = 0;
		w->is_older = false;
	}
	w->window = w->window_end = 0;
	err = heap_memory_run(w->m, w->now.chunk, w->buf, w->ahead, &got);
	if (err == -EFAULT)	/* unmapped meanwhile */
		err = got = 0;
	if (err)
		return err;
	if (!got)
		return 1;
	w->window = w->now.chunk & -w->m->page_bytes;
	w->window_end = w->window + got;
	w->ahead = 4 * w->ahead < WINDOW_BYTES ? 4 * w->ahead : WINDOW_BYTES;
	return 0;
}

/* It does not fit: read again. 1: as often as is sensible. */
static int read_again(struct walk *w)
{
	int err;

	if (w->retries++ >= RETRIES_MAX)
		return 1;
	if (w->tries++ >= TRIES_MAX) {
		if (w->is_older || !w->older.chunk)
			return 1;
		w->last = w->older;
		w->is_older = true;
		w->tries = 0;
	}
	w->now = w->last;
	w->is_top_sure = false;
	w->window = w->window_end = 0;
	heap_memory_forget(w->m);
	err = w->p->refresh ? w->p->refresh(w->p->ctx, w->p) : 0;
	return err;
}

enum verdict { GO_ON, BAD, DONE };

/*
 * Somebody else has called sbrk(): behind two fences is what is his, and then glibc's memory goes on, nobody says where. It is
 * where chunks follow on each other.
 */
static enum verdict hole_skip(struct walk *w)
{
	uint64_t addr = w->now.chunk, end = addr + HOLE_BYTES_MAX;

	w->problem = CHUNK_FOREIGN;
	for (; addr < end && addr <= w->p->top; addr += 16)
		if (arena_is_chain(w->m, addr, w->p->top))
			break;
	if (addr >= end || addr > w->p->top)
		return BAD;
	w->problem = CHUNK_ASTRAY;
	w->now.chunk = addr;
	w->now.fences = 0;
	return GO_ON;
}

/* The end of a piece that is full: heads that are no chunk's. */
static enum verdict fence(struct walk *w, uint64_t bytes)
{
	if (bytes && bytes != CHUNK_HEAD_BYTES)
		return BAD;
	w->now.tally.fence_bytes += CHUNK_HEAD_BYTES;
	w->now.chunk += CHUNK_HEAD_BYTES;
	if (!bytes)	/* the last one of a heap, whose head is all that there is of it */
		return !w->p->top && !w->p->is_main && w->now.chunk == w->p->end ? DONE : BAD;
	if (!w->p->is_main || !w->now.fences++)
		return w->p->end && w->now.chunk >= w->p->end ? BAD : GO_ON;
	if (w->p->top)
		return hole_skip(w);
	return w->now.chunk == w->p->end || (w->p->ends_early && !(w->now.chunk & (w->m->page_bytes - 1))) ? DONE : BAD;
}

static int top_book(struct walk *w, uint64_t bytes)
{
	struct chunk_tally *t = &w->now.tally;
	uint64_t top = w->now.chunk;
	int err;

	t->top_bytes = bytes;
	err = pages_count(w, top + TRIM_HEAD_BYTES, top + bytes, &t->top_resident_bytes);
	if (!err)
		err = run_extend(w, top, bytes);
	run_close(w, w->p->top_is_brk);
	if (!err)
		err = resident_count(w, top + bytes);
	w->now.chunk = top + bytes;
	return err;
}

/* The head of the chunk that the walk stands at. */
static enum verdict head_book(struct walk *w, const unsigned char *head, int *err)
{
	const struct chunk_piece *p = w->p;
	uint64_t chunk = w->now.chunk, words[2], bytes, limit = p->top ? p->top : p->end;
	bool prev_is_free;

	memcpy(words, head, sizeof(words));
	bytes = words[1] & ~CHUNK_FLAGS;
	prev_is_free = !(words[1] & CHUNK_PREV_INUSE);
	/* the two sizes of a free chunk; the first one of a piece has none before it, and top has none that is free */
	if (prev_is_free && (!w->now.prev || words[0] != w->now.prev_bytes || chunk == p->top))
		return BAD;
	*err = prev_book(w, prev_is_free);
	if (*err)
		return BAD;
	if (p->top && chunk == p->top && !w->is_top_sure) {
		/* it may have moved since it was read: then this is a chunk as others are */
		w->is_top_sure = true;
		*err = p->refresh ? p->refresh(p->ctx, w->p) : 0;
		if (*err)
			return BAD;
		limit = p->top ? p->top : p->end;
		w->is_top_sure = chunk == p->top;
	}
	if (p->top && chunk == p->top) {
		if (bytes < CHUNK_HEAD_BYTES || bytes & 8 || (p->end && bytes != p->end - chunk) || bytes > p->top_bytes_max)
			return BAD;
		*err = top_book(w, bytes);
		return *err ? BAD : DONE;
	}
	if (words[1] & CHUNK_MMAPPED || chunk >= limit)
		return BAD;
	if (bytes < CHUNK_BYTES_MIN)
		return fence(w, bytes);
	if (bytes & 8 || bytes > limit - chunk)
		return BAD;
	w->now.fences = 0;
	w->now.prev = chunk;
	w->now.prev_bytes = bytes;
	w->now.chunk = chunk + bytes;
	if (bytes >= FAR_BYTES)
		w->ahead = w->m->page_bytes;
	return GO_ON;
}

/* Chunks as long as their heads are in what was read. */
static enum verdict window_walk(struct walk *w, int *err)
{
	enum verdict v = GO_ON;

	while (v == GO_ON && w->now.chunk >= w->window && w->now.chunk + CHUNK_HEAD_BYTES <= w->window_end)
		v = head_book(w, w->buf + (w->now.chunk - w->window), err);
	if (!*err && v == GO_ON)
		*err = resident_count(w, w->now.chunk & -w->m->page_bytes);
	return v;
}

/* The rest of the pages, which are no chunk's, of a piece that ends here. */
static int piece_end(struct walk *w)
{
	for (; w->now.fast_at < w->p->fast_cnt; w->now.fast_at++)
		w->now.tally.fast_missed += w->p->fast[w->now.fast_at] < w->now.chunk;
	if (!w->now.tally.top_bytes)
		run_close(w, true);
	return resident_count(w, w->now.chunk);
}

static void problem_of_page(struct walk *w)
{
	w->problem = heap_memory_page(w->m, w->now.chunk) == HEAP_PAGE_SWAPPED ? CHUNK_SWAPPED : CHUNK_ABSENT;
}

static int walk_run(struct walk *w)
{
	for (;;) {
		int err = window_read(w), again;
		enum verdict v = GO_ON;

		if (err < 0)
			return err;
		w->problem = CHUNK_ASTRAY;
		if (err) {
			problem_of_page(w);
			v = BAD;
			err = 0;
		} else {
			v = window_walk(w, &err);
		}
		if (err)
			return err;
		if (v == DONE) {
			w->problem = CHUNK_OK;
			return piece_end(w);
		}
		if (v == GO_ON)
			continue;
		again = read_again(w);
		if (again)
			return again < 0 ? again : 0;
	}
}

int chunks_walk(struct heap_memory *m, struct chunk_piece *piece, struct chunk_result *ret)
{
	struct walk w = { .m = m, .p = piece, .ahead = WINDOW_BYTES, .now = { .chunk = piece->start } };
	int err;

	w.now.counted = piece->start & -m->page_bytes;
	w.buf = malloc(WINDOW_BYTES > m->page_bytes ? WINDOW_BYTES : m->page_bytes);
	if (!w.buf)
		return -ENOMEM;
	heap_memory_forget(m);
	err = walk_run(&w);
	free(w.buf);
	*ret = (struct chunk_result){ .problem = w.problem, .at = w.now.chunk, .retries = w.retries, .tally = w.now.tally };
	return err;
}
