/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/mapping_book.h"

/* While a reading is under way; with more of them nothing is found in it, but in the next one. */
#define GONE_MAX	4096

/*
 * A call that two programs have told of: while ebb goes over from one way of attaching to another, both are there
 * (leak_programs_spare_children()). It is hardly the same thread that does the same again in this time.
 */
#define TWICE_NS	1000000u

/* A call that is told of so long after maps has shown what it did is another one. */
#define FIND_NS		1000000000u

int mapping_book_open(struct mapping_book *b, uint64_t page_bytes, uint64_t min_bytes)
{
	*b = (struct mapping_book){ .intervals = intervals_new(), .page_bytes = page_bytes, .min_bytes = min_bytes };
	b->gone = malloc(GONE_MAX * sizeof(*b->gone));
	return b->intervals && b->gone ? 0 : -ENOMEM;
}

void mapping_book_close(struct mapping_book *b)
{
	intervals_free(b->intervals);
	free(b->counts);
	free(b->gone);
	free(b->vanished);
	*b = (struct mapping_book){ .intervals = NULL };
}

static bool is_stack(uint32_t owner)
{
	return owner < MAPPING_STACKS;
}

static void failed(struct mapping_book *b, int err)
{
	if (err && !b->err)
		b->err = err;
}

static void count(struct mapping_book *b, uint32_t owner, uint64_t bytes)
{
	struct mapping_counts *c;

	if (owner >= MAPPING_RAW) {
		c = &b->raw[owner - MAPPING_RAW];
	} else if (!is_stack(owner)) {
		return;
	} else {
		if (owner >= b->counts_cnt) {
			uint32_t cnt = owner < 512 ? 1024 : owner * 2;

			c = realloc(b->counts, cnt * sizeof(*c));
			if (!c) {
				failed(b, -ENOMEM);
				return;
			}
			memset(c + b->counts_cnt, 0, (cnt - b->counts_cnt) * sizeof(*c));
			b->counts = c;
			b->counts_cnt = cnt;
		}
		c = &b->counts[owner];
	}
	c->calls++;
	c->bytes += bytes;
}

struct mapping_counts mapping_book_counts(const struct mapping_book *b, uint32_t owner)
{
	if (owner >= MAPPING_RAW)
		return b->raw[owner - MAPPING_RAW];
	return owner < b->counts_cnt ? b->counts[owner] : (struct mapping_counts){ 0 };
}

static int put(struct mapping_book *b, const struct interval *new)
{
	if (intervals_cnt(b->intervals) >= MAPPINGS_MAX) {
		b->lost_cnt++;
		return 0;
	}
	return intervals_put(b->intervals, new);
}

/* The end of a piece in whole pages; addr when the kernel would refuse it. */
static uint64_t end_of(const struct mapping_book *b, uint64_t addr, uint64_t bytes)
{
	uint64_t end = addr + bytes, mask = b->page_bytes - 1;

	if (addr & mask || end < addr || end + mask < end)
		return addr;
	return (end + mask) & ~mask;
}

static void gone(struct mapping_book *b, uint64_t start, uint64_t end)
{
	if (!b->begin_ns)
		return;
	if (b->gone_cnt < GONE_MAX) {
		b->gone[b->gone_cnt].start = start;
		b->gone[b->gone_cnt].end = end;
	}
	b->gone_cnt++;
}

static void cut(struct mapping_book *b, uint64_t start, uint64_t end, uint64_t until_ns)
{
	if (start >= end)
		return;
	gone(b, start, end);
	failed(b, intervals_take(b->intervals, start, end, until_ns, NULL, NULL));
}

/* Whose it is that a call maps. */
static uint32_t owner_of(const struct mapping_book *b, const struct mapping_event *e, uint64_t bytes)
{
	if (e->stack == STACK_NONE || !is_stack(e->stack))
		return MAPPING_ALLOCATOR;
	return bytes < b->min_bytes ? MAPPING_SMALL : e->stack;
}

static bool is_booked(const struct mapping_book *b, const struct mapping_event *e, uint64_t start, uint64_t end)
{
	const struct interval *there = intervals_after(b->intervals, start);

	return there && there->start == start && there->end == end && there->owner == owner_of(b, e, end - start) &&
	       e->ns - there->placed_ns < TWICE_NS;
}

/* What maps has shown before its call was told of was no find. */
static void find_forget(struct mapping_book *b, const struct mapping_event *e, uint64_t start, uint64_t end)
{
	const struct interval *there = intervals_after(b->intervals, start);

	if (there && there->start == start && there->end == end && there->owner >= MAPPING_RAW && e->ns - there->placed_ns < FIND_NS) {
		b->raw[there->owner - MAPPING_RAW].calls--;
		b->raw[there->owner - MAPPING_RAW].bytes -= end - start;
	}
}

/* Books [start, end) as mapped by this call. */
static void book(struct mapping_book *b, const struct mapping_event *e, uint64_t start, uint64_t end)
{
	const struct interval new = { .start = start, .end = end, .born_ns = e->ns, .placed_ns = e->ns,
				      .owner = owner_of(b, e, end - start) };

	if (start >= end)
		return;
	find_forget(b, e, start, end);
	if (!is_booked(b, e, start, end))
		count(b, new.owner, end - start);
	failed(b, put(b, &new));
}

/* Puts parts of what was moved where they are now; what lies beyond `limit` of their old place is no more. */
static void replace(struct mapping_book *b, const struct mapping_event *e, struct interval *parts, size_t cnt, uint64_t limit)
{
	for (size_t i = 0; i < cnt; i++) {
		struct interval *part = &parts[i];

		if (part->start >= limit)
			break;
		if (part->end > limit)
			part->end = limit;
		part->start += e->addr - e->old_addr;
		part->end += e->addr - e->old_addr;
		part->placed_ns = e->ns;
		failed(b, put(b, part));
	}
}

/* Of what the last reading did not find, the parts that lay in [start, end). Adds to *parts. -ENOMEM. */
static int vanished_take(struct mapping_book *b, uint64_t start, uint64_t end, struct interval **parts, size_t *cnt)
{
	struct interval *more = realloc(*parts, (*cnt + b->vanished_cnt + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*parts = more;
	for (size_t i = 0; i < b->vanished_cnt; i++) {
		struct interval *v = &b->vanished[i], part = *v;

		if (v->start >= end || v->end <= start)
			continue;
		part.start = part.start < start ? start : part.start;
		part.end = part.end > end ? end : part.end;
		more[(*cnt)++] = part;
		v->end = v->start;	/* it is only moved once */
	}
	return 0;
}

static int vanished_add(struct mapping_book *b, const struct interval *parts, size_t cnt)
{
	if (b->vanished_cnt + cnt > b->vanished_size) {
		size_t size = 2 * (b->vanished_cnt + cnt);
		struct interval *more = realloc(b->vanished, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		b->vanished = more;
		b->vanished_size = size;
	}
	memcpy(b->vanished + b->vanished_cnt, parts, cnt * sizeof(*parts));
	b->vanished_cnt += cnt;
	return 0;
}

/*
 * As with realloc, what has grown belongs to the call that has made it grow, all of it; else it stays whose it was. Of what is
 * not counted only what has come to it is.
 */
static void mremap(struct mapping_book *b, const struct mapping_event *e)
{
	uint64_t end = end_of(b, e->addr, e->bytes), old_end = end_of(b, e->old_addr, e->old_bytes & ~MAPPING_FLAGS_MASK);
	uint64_t bytes = end - e->addr, old_bytes = old_end - e->old_addr;
	uint64_t both = bytes < old_bytes ? bytes : old_bytes;
	struct interval *parts = NULL;
	bool is_ours = false;
	size_t cnt = 0;
	int err;

	if (!old_bytes || e->old_bytes & MAPPING_DONTUNMAP) {	/* what was there stays, this is one more */
		book(b, e, e->addr, end);
		return;
	}
	if (is_booked(b, e, e->addr, end))
		return;
	if (e->addr == e->old_addr && bytes <= old_bytes) {
		cut(b, end, old_end, e->begin_ns);
		return;
	}
	gone(b, e->old_addr, old_end);
	err = intervals_take(b->intervals, e->old_addr, old_end, e->begin_ns, &parts, &cnt);
	if (!err && !cnt)
		err = vanished_take(b, e->old_addr, old_end, &parts, &cnt);
	failed(b, err);
	if (err) {
		free(parts);
		return;
	}
	for (size_t i = 0; i < cnt; i++)
		is_ours |= is_stack(parts[i].owner);
	cut(b, e->addr, end, e->begin_ns);
	if (is_ours && bytes > old_bytes) {
		book(b, e, e->addr, end);
	} else {
		find_forget(b, e, e->addr, end);
		replace(b, e, parts, cnt, e->old_addr + both);
		book(b, e, e->addr + both, end);
	}
	free(parts);
}

void mapping_book_event(struct mapping_book *b, const struct mapping_event *e)
{
	uint64_t end = end_of(b, e->addr, e->bytes);

	if (end == e->addr)
		return;		/* refused by the kernel */
	if (e->type == LEAK_EVENT_MUNMAP)
		cut(b, e->addr, end, e->ns);
	else if (e->type == LEAK_EVENT_MREMAP)
		mremap(b, e);
	else
		book(b, e, e->addr, end);
}

void mapping_book_begin(struct mapping_book *b, uint64_t now_ns)
{
	b->begin_ns = now_ns;
	b->gone_cnt = 0;
}

void mapping_book_drop(struct mapping_book *b)
{
	b->begin_ns = 0;
}

/* Whether it went while maps were read: it may have been read before, or be somebody else's by now. */
static bool is_gone(const struct mapping_book *b, uint64_t start, uint64_t end)
{
	if (b->gone_cnt > GONE_MAX)
		return true;
	for (size_t i = 0; i < b->gone_cnt; i++)
		if (b->gone[i].start < end && b->gone[i].end > start)
			return true;
	return false;
}

/* What is there and was not told of. */
static int find(struct mapping_book *b, uint64_t start, uint64_t end, uint32_t owner, uint64_t now_ns)
{
	const struct interval new = { .start = start, .end = end, .born_ns = now_ns, .placed_ns = now_ns,
				      .owner = owner >= MAPPING_RAW && end - start < b->min_bytes ? MAPPING_SMALL : owner };

	if (is_gone(b, start, end))
		return 0;
	count(b, new.owner, end - start);
	return put(b, &new);
}

/* Fills the holes in what is known of [start, end). */
static int fill(struct mapping_book *b, const struct mapping_seen *seen, uint64_t now_ns)
{
	uint64_t at = seen->start;
	int err = 0;

	while (!err && at < seen->end) {
		const struct interval *next = intervals_after(b->intervals, at);
		uint64_t known = next && next->start < seen->end ? next->start : seen->end;
		uint64_t behind = next && next->start < seen->end ? next->end : seen->end;

		if (known > at)
			err = find(b, at, known, seen->owner, now_ns);
		at = behind;
	}
	return err;
}

int mapping_book_settle(struct mapping_book *b, const struct mapping_seen *seen, size_t cnt, uint64_t now_ns)
{
	uint64_t at = 0, begin_ns = b->begin_ns;
	int err = 0;

	b->vanished_cnt = 0;
	for (size_t i = 0; !err && i <= cnt; i++) {
		uint64_t start = i < cnt ? seen[i].start : UINT64_MAX;
		struct interval *parts = NULL;
		size_t parts_cnt = 0;

		if (start > at)
			err = intervals_take(b->intervals, at, start, begin_ns, &parts, &parts_cnt);
		if (!err && parts_cnt)
			err = vanished_add(b, parts, parts_cnt);
		free(parts);
		at = i < cnt ? seen[i].end : UINT64_MAX;
	}
	for (size_t i = 0; !err && i < cnt; i++)
		err = fill(b, &seen[i], now_ns);
	b->begin_ns = 0;
	return err;
}
