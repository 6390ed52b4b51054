/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls that map and unmap, as the kernel tells of them, against an array with a cell a page and against maps. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "source/mapping_book.h"
#include "target/space.h"
#include "test.h"

#define PAGE	4096ull
#define PAGES	256

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

struct cell {
	uint32_t owner;		/* 0 = nothing is there */
	uint32_t call;		/* by which it came to be */
};

struct sim {
	struct mapping_book book;
	uint64_t ns;
	uint32_t calls;
	struct cell cells[PAGES];
};

static void sim_open(struct sim *s, uint64_t min_bytes)
{
	*s = (struct sim){ .ns = 1000 };
	CHECK_EQ(mapping_book_open(&s->book, PAGE, min_bytes), 0);
}

static void sim_close(struct sim *s)
{
	CHECK_EQ(s->book.err, 0);
	mapping_book_close(&s->book);
}

static void sim_mmap(struct sim *s, uint64_t page, uint64_t pages, uint32_t stack)
{
	const struct mapping_event e = { .type = LEAK_EVENT_MMAP, .stack = stack, .addr = page * PAGE, .bytes = pages * PAGE - 100,
					 .ns = s->ns += 5000000 };

	s->calls++;
	for (uint64_t i = page; i < page + pages && i < PAGES; i++)
		s->cells[i] = (struct cell){ stack ? stack : MAPPING_ALLOCATOR, s->calls };
	mapping_book_event(&s->book, &e);
}

static void sim_munmap(struct sim *s, uint64_t page, uint64_t pages)
{
	const struct mapping_event e = { .type = LEAK_EVENT_MUNMAP, .addr = page * PAGE, .bytes = pages * PAGE - 1,
					 .ns = s->ns += 5000000 };

	for (uint64_t i = page; i < page + pages && i < PAGES; i++)
		s->cells[i] = (struct cell){ 0 };
	mapping_book_event(&s->book, &e);
}

static void sim_mremap(struct sim *s, uint64_t old, uint64_t old_pages, uint64_t page, uint64_t pages, uint32_t stack)
{
	const struct mapping_event e = {
		.type = LEAK_EVENT_MREMAP, .stack = stack, .addr = page * PAGE, .bytes = pages * PAGE, .old_addr = old * PAGE,
		.old_bytes = old_pages * PAGE | MREMAP_MAYMOVE, .begin_ns = s->ns + 1000, .ns = s->ns += 5000000,
	};
	struct cell from[PAGES];
	bool ours = false;

	s->calls++;
	memcpy(from, s->cells, sizeof(from));
	for (uint64_t i = old; i < old + old_pages; i++) {
		ours |= from[i].owner && from[i].owner < MAPPING_STACKS;
		s->cells[i] = (struct cell){ 0 };
	}
	for (uint64_t i = 0; i < pages; i++) {
		bool mine = i >= old_pages || (ours && pages > old_pages);

		s->cells[page + i] = mine ? (struct cell){ stack ? stack : MAPPING_ALLOCATOR, s->calls } : from[old + i];
	}
	mapping_book_event(&s->book, &e);
}

/* Whose each page is; and no interval is of two calls. (What was moved away and back may be two of one call.) */
static void sim_check(struct sim *s)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		const struct interval *in = intervals_after(s->book.intervals, i * PAGE);
		bool is_in = in && in->start <= i * PAGE;

		if (!CHECK_EQ(is_in ? in->owner : 0, s->cells[i].owner))
			return;
		if (is_in && i && in->start < i * PAGE)
			CHECK_EQ(s->cells[i - 1].call, s->cells[i].call);
	}
}

static size_t held(const struct sim *s, uint32_t owner, uint64_t *ret_pages)
{
	size_t cnt = 0;

	*ret_pages = 0;
	for (const struct interval *i = intervals_after(s->book.intervals, 0); i; i = intervals_after(s->book.intervals, i->end))
		if (i->owner == owner) {
			cnt++;
			*ret_pages += (i->end - i->start) / PAGE;
		}
	return cnt;
}

#define CHECK_HELD(s, owner, pages, blocks) do { \
	uint64_t pages_; \
	CHECK_EQ(held(s, owner, &pages_), blocks); \
	CHECK_EQ(pages_, pages); \
} while (0)

TEST(calls)
{
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 8, 5);
	sim_mmap(&s, 18, 8, 5);		/* adjacent */
	CHECK_HELD(&s, 5, 16, 2);
	sim_munmap(&s, 12, 2);
	CHECK_HELD(&s, 5, 14, 3);
	sim_mmap(&s, 14, 6, 6);		/* MAP_FIXED over two */
	CHECK_HELD(&s, 5, 8, 2);
	CHECK_HELD(&s, 6, 6, 1);
	sim_mremap(&s, 20, 6, 20, 2, 7);	/* shrinks: stays whose it was */
	CHECK_HELD(&s, 5, 4, 2);
	sim_mremap(&s, 20, 2, 20, 2, 7);	/* does nothing */
	CHECK_HELD(&s, 5, 4, 2);
	sim_mremap(&s, 20, 2, 40, 2, 7);	/* moves */
	CHECK_HELD(&s, 5, 4, 2);
	sim_mremap(&s, 40, 2, 60, 10, 7);	/* grows: is the call's */
	CHECK_HELD(&s, 5, 2, 1);
	CHECK_HELD(&s, 7, 10, 1);
	sim_mremap(&s, 62, 4, 62, 4, 7);	/* does nothing, in the middle; and shrinks a part */
	CHECK_HELD(&s, 7, 10, 1);
	sim_mremap(&s, 62, 4, 62, 3, 7);
	CHECK_HELD(&s, 7, 9, 2);
	sim_munmap(&s, 0, PAGES);
	CHECK_EQ(intervals_cnt(s.book.intervals), 0);
	CHECK_EQ(mapping_book_counts(&s.book, 5).calls, 2);
	CHECK_EQ(mapping_book_counts(&s.book, 5).bytes, 16 * PAGE);
	CHECK_EQ(mapping_book_counts(&s.book, 7).bytes, 10 * PAGE);
	CHECK_EQ(mapping_book_counts(&s.book, 1000000).calls, 0);
	sim_close(&s);
}

TEST(not_ours)
{
	struct sim s;

	sim_open(&s, 4 * PAGE);
	sim_mmap(&s, 10, 8, STACK_NONE);
	CHECK_HELD(&s, MAPPING_ALLOCATOR, 8, 1);
	sim_mremap(&s, 10, 8, 50, 12, STACK_NONE);	/* the allocator grows what it has */
	CHECK_HELD(&s, MAPPING_ALLOCATOR, 12, 2);
	sim_mremap(&s, 50, 8, 80, 16, 9);	/* by somebody else: what has come to it is his */
	CHECK_HELD(&s, 9, 8, 1);
	sim_mmap(&s, 100, 3, 9);
	CHECK_HELD(&s, MAPPING_SMALL, 3, 1);
	CHECK_EQ(mapping_book_counts(&s.book, 9).calls, 1);
	sim_close(&s);
}

/* What the kernel refuses, and the ends of the address space. */
TEST(refused)
{
	struct mapping_event e = { .type = LEAK_EVENT_MUNMAP, .addr = 10 * PAGE + 1, .bytes = PAGE, .ns = 1ull << 40 };
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 8, 5);
	mapping_book_event(&s.book, &e);
	e.addr = 10 * PAGE;
	e.bytes = 0;
	mapping_book_event(&s.book, &e);
	e.bytes = UINT64_MAX;
	mapping_book_event(&s.book, &e);
	e.bytes = UINT64_MAX - 10 * PAGE - 10;	/* wraps when it is rounded */
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 5, 8, 1);
	e = (struct mapping_event){ .type = LEAK_EVENT_MREMAP, .stack = 6, .addr = 50 * PAGE, .bytes = 4 * PAGE,
				    .old_addr = UINT64_MAX - PAGE + 1, .old_bytes = UINT64_MAX, .ns = 1ull << 41 };
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 5, 8, 1);
	sim_close(&s);
}

/* One thread unmaps, another is given the addresses and tells first. */
TEST(late)
{
	struct mapping_event e = { .type = LEAK_EVENT_MREMAP, .stack = 7, .addr = 80 * PAGE, .bytes = 4 * PAGE,
				   .old_addr = 10 * PAGE, .old_bytes = 4 * PAGE };
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 4, 5);
	e.begin_ns = s.ns + 1;
	sim_mmap(&s, 10, 4, 6);		/* what mremap has left is somebody else's by now */
	e.ns = s.ns + 1;
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 6, 4, 1);
	sim_close(&s);
}

/* Two programs tell of one call, while the way of attaching changes. */
TEST(twice)
{
	struct mapping_event e = { .type = LEAK_EVENT_MMAP, .stack = 5, .addr = 10 * PAGE, .bytes = 4 * PAGE, .ns = 1000 };
	struct sim s;

	sim_open(&s, 0);
	mapping_book_event(&s.book, &e);
	e.ns += 1000;
	mapping_book_event(&s.book, &e);
	CHECK_EQ(mapping_book_counts(&s.book, 5).calls, 1);
	e = (struct mapping_event){ .type = LEAK_EVENT_MREMAP, .stack = 6, .addr = 20 * PAGE, .bytes = 8 * PAGE,
				    .old_addr = 10 * PAGE, .old_bytes = 4 * PAGE, .begin_ns = 5000, .ns = 6000 };
	mapping_book_event(&s.book, &e);
	e.begin_ns += 1;
	e.ns += 100;
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 6, 8, 1);
	CHECK_EQ(mapping_book_counts(&s.book, 6).calls, 1);
	e = (struct mapping_event){ .type = LEAK_EVENT_MREMAP, .stack = 7, .addr = 20 * PAGE, .bytes = 3 * PAGE,
				    .old_addr = 20 * PAGE, .old_bytes = 8 * PAGE, .begin_ns = 7000, .ns = 8000 };
	mapping_book_event(&s.book, &e);
	e.ns += 100;
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 6, 3, 1);
	CHECK_EQ(mapping_book_counts(&s.book, 7).calls, 0);
	sim_close(&s);
}

TEST(dontunmap)
{
	const struct mapping_event e = { .type = LEAK_EVENT_MREMAP, .stack = 7, .addr = 80 * PAGE, .bytes = 4 * PAGE,
					 .old_addr = 10 * PAGE, .old_bytes = 4 * PAGE | MAPPING_DONTUNMAP, .ns = 1ull << 40 };
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 4, 5);
	mapping_book_event(&s.book, &e);
	CHECK_HELD(&s, 5, 4, 1);
	CHECK_HELD(&s, 7, 4, 1);
	sim_close(&s);
}

static void settle(struct sim *s, const struct mapping_seen *seen, size_t cnt)
{
	CHECK_EQ(mapping_book_settle(&s->book, seen, cnt, s->ns), 0);
}

TEST(maps)
{
	struct mapping_seen old = { 100 * PAGE, 110 * PAGE, MAPPING_OLD };
	struct sim s;

	sim_open(&s, 0);
	mapping_book_begin(&s.book, s.ns);
	settle(&s, &old, 1);
	sim_mmap(&s, 10, 8, 5);
	/* half of it went without a word, and something came: anonymous, of a file, and at the end of an old one */
	mapping_book_begin(&s.book, s.ns += 10);
	settle(&s, (struct mapping_seen[]){ { 14 * PAGE, 20 * PAGE, MAPPING_RAW }, { 40 * PAGE, 44 * PAGE, MAPPING_RAW_FILE },
					    { 100 * PAGE, 112 * PAGE, MAPPING_RAW } }, 3);
	CHECK_HELD(&s, 5, 4, 1);
	CHECK_HELD(&s, MAPPING_RAW, 4, 2);
	CHECK_HELD(&s, MAPPING_RAW_FILE, 4, 1);
	CHECK_HELD(&s, MAPPING_OLD, 10, 1);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW).bytes, 4 * PAGE);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW_FILE).calls, 1);
	/* what is found in an old place that was unmapped is new */
	sim_munmap(&s, 100, 5);
	mapping_book_begin(&s.book, s.ns += 10);
	settle(&s, (struct mapping_seen[]){ { 100 * PAGE, 112 * PAGE, MAPPING_RAW } }, 1);
	CHECK_HELD(&s, MAPPING_RAW, 7, 2);
	CHECK_HELD(&s, 5, 0, 0);
	sim_close(&s);
}

/* Calls that are told of between the beginning of a reading and its end. */
TEST(maps_while_it_maps)
{
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 8, 5);
	sim_mmap(&s, 30, 8, 5);
	mapping_book_begin(&s.book, s.ns += 10);
	sim_munmap(&s, 10, 8);		/* was read before that */
	sim_mmap(&s, 60, 4, 6);		/* was not there when it was read */
	settle(&s, (struct mapping_seen[]){ { 10 * PAGE, 18 * PAGE, MAPPING_RAW }, { 30 * PAGE, 38 * PAGE, MAPPING_RAW } }, 2);
	CHECK_HELD(&s, MAPPING_RAW, 0, 0);
	CHECK_HELD(&s, 5, 8, 1);
	CHECK_HELD(&s, 6, 4, 1);
	/* and a reading that failed */
	mapping_book_begin(&s.book, s.ns += 10);
	mapping_book_drop(&s.book);
	CHECK_HELD(&s, 5, 8, 1);
	sim_close(&s);
}

/* A reading that shows what a call has done before the call is told of: nothing changes hands. */
TEST(maps_before_the_call)
{
	struct mapping_seen seen[] = { { 10 * PAGE, 14 * PAGE, MAPPING_RAW }, { 40 * PAGE, 48 * PAGE, MAPPING_RAW },
				       { 60 * PAGE, 64 * PAGE, MAPPING_RAW } };
	struct sim s;

	sim_open(&s, 0);
	sim_mmap(&s, 10, 4, 1);
	sim_mmap(&s, 20, 4, 2);
	sim_mmap(&s, 30, 4, 3);
	/* 20 has grown and is at 40, 30 is at 60 as large as it was; the calls have not come back */
	mapping_book_begin(&s.book, s.ns + 3000);
	CHECK_EQ(mapping_book_settle(&s.book, seen, 3, s.ns + 4000), 0);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW).calls, 2);
	struct mapping_event grown = {
		.type = LEAK_EVENT_MREMAP, .stack = 4, .addr = 40 * PAGE, .bytes = 8 * PAGE, .old_addr = 20 * PAGE,
		.old_bytes = 4 * PAGE, .begin_ns = s.ns + 2000, .ns = s.ns + 5000,
	}, moved = grown;

	mapping_book_event(&s.book, &grown);
	moved.addr = 60 * PAGE;
	moved.bytes = 4 * PAGE;
	moved.old_addr = 30 * PAGE;
	mapping_book_event(&s.book, &moved);
	CHECK_EQ(intervals_after(s.book.intervals, 40 * PAGE)->owner, 4);
	CHECK_EQ(intervals_after(s.book.intervals, 40 * PAGE)->end, 48 * PAGE);
	CHECK_EQ(intervals_after(s.book.intervals, 60 * PAGE)->owner, 3);
	CHECK_EQ(intervals_cnt(s.book.intervals), 3);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW).calls, 0);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW).bytes, 0);
	CHECK_EQ(mapping_book_counts(&s.book, 4).calls, 1);
	/* the same of mmap */
	seen[1] = (struct mapping_seen){ 100 * PAGE, 104 * PAGE, MAPPING_RAW };
	mapping_book_begin(&s.book, s.ns + 6000);
	CHECK_EQ(mapping_book_settle(&s.book, seen, 2, s.ns + 7000), 0);
	struct mapping_event new = { .type = LEAK_EVENT_MMAP, .stack = 5, .addr = 100 * PAGE, .bytes = 4 * PAGE, .ns = s.ns + 8000 };

	mapping_book_event(&s.book, &new);
	CHECK_EQ(intervals_after(s.book.intervals, 100 * PAGE)->owner, 5);
	CHECK_EQ(mapping_book_counts(&s.book, MAPPING_RAW).calls, 0);
	sim_close(&s);
}

TEST(model)
{
	struct sim s;

	sim_open(&s, 0);
	for (int i = 0; i < 300000 && !test_failures; i++) {
		uint64_t pages = 1 + random_next() % 12, page = random_next() % (PAGES - pages);
		uint64_t old_pages = 1 + random_next() % 12, old = random_next() % (PAGES - old_pages);

		switch (random_next() % 4) {
		case 0:
		case 1:
			sim_mmap(&s, page, pages, random_next() % 5 ? 2 + random_next() % 50 : STACK_NONE);
			break;
		case 2:
			sim_munmap(&s, page, pages);
			break;
		default:
			if (page == old && old + old_pages <= PAGES && page + pages <= PAGES) {
				sim_mremap(&s, old, old_pages, page, pages, 2 + random_next() % 50);
			} else if (page >= old + old_pages || page + pages <= old) {
				sim_mremap(&s, old, old_pages, page, pages, 2 + random_next() % 50);
			}
		}
		if (i % 200 < 3)
			sim_check(&s);
	}
	sim_check(&s);
	sim_close(&s);
}

/* Our own address space, in both ways of counting pages. */
TEST(pages)
{
	struct target self = { .pid = 0 };
	struct target_piece *pieces = NULL;
	struct target_space *space = NULL;
	uint64_t bytes = 0, start;
	bool found = false;
	size_t cnt = 0;
	char *p;

	self.proc_fd = open("/proc/self", O_PATH | O_CLOEXEC);
	if (!CHECK(self.proc_fd >= 0))
		return;
	p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sysconf(_SC_PAGESIZE) != (long)PAGE || p == MAP_FAILED || madvise(p, 64 * PAGE, MADV_NOHUGEPAGE))
		TEST_SKIP("no pages of 4 KiB");
	start = (uintptr_t)p;
	for (int i = 0; i < 64; i += 3)
		p[i * PAGE] = 1;
	if (CHECK_EQ(target_space_open(&self, &space), 0)) {
		CHECK_EQ(target_space_resident(space, start, start + 64 * PAGE, UINT64_MAX, &bytes), 0);
		CHECK_EQ(bytes, 22 * PAGE);
		CHECK_EQ(target_space_resident(space, start + PAGE, start + 7 * PAGE, UINT64_MAX, &bytes), 0);
		CHECK_EQ(bytes, 2 * PAGE);
		CHECK_EQ(target_space_pieces(space, &pieces, &cnt), 0);
		for (size_t i = 0; i < cnt; i++)
			found |= pieces[i].start <= start && pieces[i].end >= start + 64 * PAGE && pieces[i].kind == TARGET_PIECE_ANON;
		CHECK(found);
		target_space_without_scan(space);
		CHECK_EQ(target_space_resident(space, start, start + 64 * PAGE, UINT64_MAX, &bytes), 0);
		CHECK_EQ(bytes, 22 * PAGE);
		/* many words, and no time */
		CHECK_EQ(target_space_resident(space, 0, 1ull << 36, 1, &bytes), -ETIME);
	}
	free(pieces);
	target_space_free(space);
	munmap(p, 64 * PAGE);
	close(self.proc_fd);
}

TEST_MAIN(TEST_CASE(calls), TEST_CASE(not_ours), TEST_CASE(refused), TEST_CASE(late), TEST_CASE(twice), TEST_CASE(dontunmap),
	  TEST_CASE(maps), TEST_CASE(maps_while_it_maps), TEST_CASE(maps_before_the_call), TEST_CASE(model), TEST_CASE(pages))
