/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/glibc_arena.h"

/*
 * Offset of the bins in malloc_state, 64-bit: from 2.27 on; to 2.26, which has one word less before the fastbins; without
 * fastbins.
 */
static const unsigned int bins_offs[] = { 112, 104, 24 };

#define NONCONTIGUOUS	2u		/* in flags */
#define EMPTY_BINS_MIN	4		/* of 127 */
#define SIZE_SANE_MAX	(1ull << 47)
#define DATA_BYTES_MAX	(64ull << 20)	/* of one mapping; those of files that hold an arena have some KiB */
#define SCAN_BYTES	(256u << 10)
#define RINGS_MAX	16

static uint64_t word_at(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static bool is_pointer(uint64_t word)
{
	return word >= 4096 && word < 1ull << 56;
}

/* Whether 127 bins of an arena may stand at p, which is the process's addr. */
static bool are_bins(const unsigned char *p, uint64_t addr)
{
	unsigned int empty = 0;

	/* from the last on: the bins of the largest chunks are empty in nearly all processes */
	for (int i = ARENA_BINS - 1; i >= 0; i--) {
		uint64_t self = addr + 16 * i - 16, fd = word_at(p + 16 * i), bk = word_at(p + 16 * i + 8);

		if (fd == self && bk == self)
			empty++;
		else if (fd == self || bk == self || !is_pointer(fd) || !is_pointer(bk) || fd & 15 || bk & 15)
			return false;
	}
	return empty >= EMPTY_BINS_MIN;
}

static int ring_follow(struct heap_memory *m, struct arena_ring *r)
{
	struct arena_state s;
	size_t size = 16;
	int err = 0;

	r->addrs = malloc(size * sizeof(*r->addrs));
	for (uint64_t addr = r->main_addr; r->addrs; addr = s.next) {
		if (r->cnt == size) {
			uint64_t *more = realloc(r->addrs, 2 * size * sizeof(*more));

			if (!more)
				return -ENOMEM;
			r->addrs = more;
			size *= 2;
		}
		err = arena_state_read(m, r, addr, &s);
		if (err || !s.system_bytes || s.system_bytes > SIZE_SANE_MAX)
			return err ? err : -EBADMSG;
		r->addrs[r->cnt++] = addr;
		if (s.next == r->main_addr)
			return 0;
		if (r->cnt == ARENAS_MAX || !is_pointer(s.next) || s.next & 15)
			return -EBADMSG;
	}
	return -ENOMEM;
}

struct finder {
	struct heap_memory *m;
	struct arena_ring *rings;
	size_t cnt;
	uint64_t swapped_bytes;
};

/* -ENOMEM, -ETIME, -ESRCH end the search; nothing else does. */
static bool is_fatal(int err)
{
	return err == -ENOMEM || err == -ETIME || err == -ESRCH || err == -EACCES || err == -EPERM;
}

/* p: len bytes of the process at addr. */
static int find_in(struct finder *f, const unsigned char *p, size_t len, uint64_t addr)
{
	for (size_t i = 0; i < sizeof(bins_offs) / sizeof(bins_offs[0]); i++) {
		struct arena_ring r = { .bins_off = bins_offs[i] };
		size_t bytes = arena_state_bytes(&r);

		for (size_t at = 0; at + bytes <= len && f->cnt < RINGS_MAX; at += 8) {
			/* one arena alone: most searches end with this comparison */
			uint64_t next = word_at(p + at + bytes - 40);
			int err;

			if (!is_pointer(next) || next & 7 || !are_bins(p + at + r.bins_off, addr + at + r.bins_off))
				continue;
			r = (struct arena_ring){ .bins_off = bins_offs[i], .main_addr = addr + at };
			err = ring_follow(f->m, &r);
			if (err) {
				free(r.addrs);
				if (is_fatal(err))
					return err;
				continue;
			}
			f->rings[f->cnt++] = r;
		}
	}
	return 0;
}

/* Looks through what is resident of a mapping. Parts overlap, so that an arena is whole in one of them. */
static int find_in_range(struct finder *f, const struct arena_range *range, unsigned char *buf)
{
	uint64_t overlap = (ARENA_STATE_MAX + f->m->page_bytes - 1) & -f->m->page_bytes;
	size_t have = 0;	/* bytes at the start of buf that are the end of the part before */
	int err = 0;

	if (range->end - range->start > DATA_BYTES_MAX)
		return 0;
	for (uint64_t addr = range->start; !err && addr < range->end && f->cnt < RINGS_MAX;) {
		size_t got = 0, max = SCAN_BYTES;

		if (max > range->end - addr)
			max = range->end - addr;
		err = heap_memory_run(f->m, addr, buf + have, max, &got);
		if (err == -EFAULT)	/* unmapped meanwhile */
			err = got = 0;
		if (!err && !got) {
			if (heap_memory_page(f->m, addr) == HEAP_PAGE_SWAPPED)
				f->swapped_bytes += f->m->page_bytes;
			addr += f->m->page_bytes;
			have = 0;
			continue;
		}
		if (!err)
			err = find_in(f, buf, have + got, addr - have);
		addr += got;
		if (have + got > overlap) {
			memmove(buf, buf + have + got - overlap, overlap);
			have = overlap;
		} else {
			have += got;
		}
	}
	return err;
}

/* Two parts that overlap may both have it. */
static void drop_twins(struct finder *f)
{
	size_t out = 0;

	for (size_t i = 0; i < f->cnt; i++) {
		bool twin = false;

		for (size_t k = 0; k < out; k++)
			twin |= f->rings[k].main_addr == f->rings[i].main_addr;
		if (twin)
			free(f->rings[i].addrs);
		else
			f->rings[out++] = f->rings[i];
	}
	f->cnt = out;
}

int arena_rings_find(struct heap_memory *m, const struct heap_places *places, struct arena_ring **ret, size_t *ret_cnt,
		     uint64_t *ret_swapped_bytes)
{
	struct finder f = { .m = m, .rings = calloc(RINGS_MAX, sizeof(*f.rings)) };
	unsigned char *buf = malloc(SCAN_BYTES + ARENA_STATE_MAX + 2 * m->page_bytes);
	int err = f.rings && buf ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < places->data_cnt; i++)
		err = find_in_range(&f, &places->data[i], buf);
	free(buf);
	if (f.rings)
		drop_twins(&f);
	if (err) {
		arena_rings_free(f.rings, f.cnt);
		return err;
	}
	*ret = f.rings;
	*ret_cnt = f.cnt;
	*ret_swapped_bytes = f.swapped_bytes;
	return 0;
}

void arena_rings_free(struct arena_ring *rings, size_t cnt)
{
	for (size_t i = 0; rings && i < cnt; i++)
		free(rings[i].addrs);
	free(rings);
}

int arena_state_read(struct heap_memory *m, const struct arena_ring *r, uint64_t addr, struct arena_state *ret)
{
	size_t fastbins = r->bins_off >= 96 ? ARENA_FASTBINS : 0;
	const unsigned char *p = ret->bytes;
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->bytes_cnt = arena_state_bytes(r);
	err = heap_memory_get(m, addr, ret->bytes, ret->bytes_cnt);
	if (err)
		return err;
	ret->addr = addr;
	ret->is_contiguous = !(word_at(p) >> 32 & NONCONTIGUOUS);
	for (size_t i = 0; i < fastbins; i++)
		ret->fast[i] = word_at(p + r->bins_off - 16 - 8 * (ARENA_FASTBINS - i));
	ret->top = word_at(p + r->bins_off - 16);
	ret->next = word_at(p + ret->bytes_cnt - 40);
	ret->system_bytes = word_at(p + ret->bytes_cnt - 16);
	return 0;
}

/*
 *	malloc_par   … │ n_mmaps n_mmaps_max max_n_mmaps no_dyn_threshold │ mmapped_mem │ max_mmapped_mem │ sbrk_base
 *	             int, and since 2.35 an int more before them               -16             -8             0
 */
#define PARAMS_BEFORE	40
#define CHAIN_CNT	64		/* chunks that must follow on each other for a place to be believed */
#define BRK_START_MAX	(64u << 10)	/* a static program keeps its thread's data before them */

bool arena_is_chain(struct heap_memory *m, uint64_t addr, uint64_t top)
{
	for (int i = 0; i < CHAIN_CNT && addr != top; i++) {
		uint64_t head[2], bytes;

		if (addr > top || heap_memory_get(m, addr, head, sizeof(head)))
			return false;
		bytes = head[1] & ~CHUNK_FLAGS;
		if (bytes < CHUNK_BYTES_MIN || bytes & 8 || head[1] & (CHUNK_MMAPPED | CHUNK_OTHER_ARENA) || bytes > top - addr)
			return bytes == CHUNK_HEAD_BYTES && i;	/* the end of what was before somebody else's sbrk() */
		addr += bytes;
	}
	return true;
}

static bool params_parse(const unsigned char *p, uint64_t page_bytes, struct arena_ring *r)
{
	uint64_t bytes = word_at(p + PARAMS_BEFORE - 16), most = word_at(p + PARAMS_BEFORE - 8);

	if (bytes > most || most > SIZE_SANE_MAX || bytes & (page_bytes - 1))
		return false;
	r->mmapped_bytes = bytes;
	/* the one order of the four numbers in which it makes sense */
	for (int before = 36; before >= 32; before -= 4) {
		int32_t n[4];

		memcpy(n, p + PARAMS_BEFORE - before, sizeof(n));
		if (n[0] < 0 || n[1] < n[0] || n[2] < n[0] || (n[3] != 0 && n[3] != 1) || !n[0] != !bytes)
			continue;
		r->has_mmapped = true;
		r->mmapped_cnt = n[0];
		break;
	}
	return true;
}

static bool is_in(const struct arena_range *range, uint64_t addr)
{
	return addr >= range->start && addr < range->end;
}

bool arena_top_is_in_brk(const struct heap_places *places, const struct arena_state *s)
{
	return places->brk.end && s->top >= places->brk.start && s->top - places->brk.start < s->system_bytes + BRK_START_MAX;
}

int arena_params_find(struct heap_memory *m, const struct heap_places *places, struct arena_ring *r)
{
	const struct arena_range *data = NULL;
	unsigned char buf[4096 + PARAMS_BEFORE];
	struct arena_state s;
	uint64_t limit;
	int err = arena_state_read(m, r, r->main_addr, &s);

	for (size_t i = 0; i < places->data_cnt; i++)
		if (is_in(&places->data[i], r->main_addr))
			data = &places->data[i];
	if (err || !data || !places->brk.end)
		return err;
	limit = arena_top_is_in_brk(places, &s) ? s.top : places->brk.end;
	for (uint64_t addr = data->start; addr < data->end; addr += 4096) {
		/* a word at the start of a page is looked at with what is before it */
		size_t before = addr > data->start ? PARAMS_BEFORE : 0;

		if (is_fatal(err = heap_memory_get(m, addr - before, buf, 4096 + before)))
			return err;
		for (size_t at = PARAMS_BEFORE; !err && at + 8 <= 4096 + before; at += 8) {
			uint64_t word = word_at(buf + at), own = addr - before + at, first = (word + 15) & ~15ull;

			if (word < places->brk.start || word - places->brk.start >= BRK_START_MAX || first > limit ||
			    (own >= r->main_addr && own < r->main_addr + s.bytes_cnt))
				continue;
			if (!arena_is_chain(m, first, limit) || !params_parse(buf + at - PARAMS_BEFORE, m->page_bytes, r))
				continue;
			r->sbrk_base_addr = word;
			return 0;
		}
	}
	return 0;
}

int arena_heap_read(struct heap_memory *m, const struct arena_ring *r, uint64_t arena_addr, uint64_t addr,
		    struct arena_heap *ret)
{
	uint64_t head[3], arena_heap = arena_addr & -r->heap_bytes, heap = addr & -r->heap_bytes;
	uint64_t head_bytes = arena_addr - arena_heap;
	int err = r->heap_bytes ? heap_memory_get(m, heap, head, sizeof(head)) : -EBADMSG;

	if (err)
		return err;
	if (head[0] != arena_addr || (head_bytes != 0x20 && head_bytes != 0x30) || head[2] > r->heap_bytes ||
	    head[2] < head_bytes + CHUNK_BYTES_MIN || addr - heap >= head[2])
		return -EBADMSG;
	*ret = (struct arena_heap){ .addr = heap, .prev_addr = head[1], .bytes = head[2] };
	ret->first_chunk_addr = (heap + head_bytes + (heap == arena_heap ? arena_state_bytes(r) : 0) + 15) & ~15ull;
	return 0;
}

uint64_t arena_link(uint64_t pos, uint64_t word)
{
	uint64_t revealed = word ^ (pos >> 12);

	if (!word || !revealed)
		return 0;
	if (is_pointer(revealed) && !(revealed & 15))
		return revealed;
	return is_pointer(word) && !(word & 15) ? word : 1;
}

static int address_compare(const void *pa, const void *pb)
{
	uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a > b) - (a < b);
}

struct fast_list {
	uint64_t *addrs;
	size_t cnt, size, max;
};

/* One list; -ECANCELED: it is not what it should be, or as many as may be kept are there. */
static int fast_follow(struct heap_memory *m, struct fast_list *l, uint64_t addr, uint64_t bytes)
{
	/* Brent's way to see a circle: the place that was remembered last comes again */
	uint64_t remembered = 0, steps = 0, until = 1;

	for (; addr; steps++) {
		uint64_t chunk[3];
		int err;

		if (l->cnt == l->max || addr == remembered)
			return -ECANCELED;
		if (steps == until) {
			remembered = addr;
			until *= 2;
		}
		if (l->cnt == l->size) {
			size_t size = l->size ? 2 * l->size : 256;
			uint64_t *more = realloc(l->addrs, size * sizeof(*more));

			if (!more)
				return -ENOMEM;
			l->addrs = more;
			l->size = size;
		}
		err = addr & 15 ? -ECANCELED : heap_memory_get(m, addr, chunk, sizeof(chunk));
		if (err)
			return is_fatal(err) ? err : -ECANCELED;
		if ((chunk[1] & ~CHUNK_FLAGS) != bytes)
			return -ECANCELED;
		l->addrs[l->cnt++] = addr;
		addr = arena_link(addr + CHUNK_HEAD_BYTES, chunk[2]);
	}
	return 0;
}

int arena_fast_read(struct heap_memory *m, const struct arena_state *s, size_t max, uint64_t **ret, size_t *ret_cnt,
		    bool *ret_sound)
{
	struct fast_list l = { .max = max };
	bool sound = true;
	size_t out = 0;
	int err;

	for (int i = 0; i < ARENA_FASTBINS; i++) {
		err = fast_follow(m, &l, s->fast[i], CHUNK_BYTES_MIN + 16 * i);
		sound &= !err;
		if (err && err != -ECANCELED) {
			free(l.addrs);
			return err;
		}
	}
	if (l.cnt)
		qsort(l.addrs, l.cnt, sizeof(*l.addrs), address_compare);
	for (size_t i = 0; i < l.cnt; i++) {
		if (out && l.addrs[out - 1] == l.addrs[i])
			sound = false;
		else
			l.addrs[out++] = l.addrs[i];
	}
	*ret = l.addrs;
	*ret_cnt = out;
	*ret_sound = sound;
	return 0;
}
