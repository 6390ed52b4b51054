/* SPDX-License-Identifier: GPL-2.0-only */
/* What a page fault is said to have been, whose it was, and the rows that are made of it. */
#include <stdlib.h>
#include <unistd.h>

#include "cmd/faults_report.h"
#include "source/faults_kinds.h"
#include "source/faults_owners.h"
#include "target/peer.h"
#include "test.h"

#define PLACE	0x7f0000400000ull
#define K	FAULTS_KNOWN

TEST(memory)
{
	static const struct {
		uint64_t memory;
		int region;		/* -1 = none */
		int want;
	} cases[] = {
		{ 0, REGION_ARENA, FAULTS_MEMORY_UNKNOWN },
		{ K | FAULTS_UNMAPPED, -1, FAULTS_MEMORY_UNMAPPED },
		{ K | FAULTS_BRK, -1, REGION_HEAP },
		{ K | FAULTS_BRK, REGION_DATA, REGION_HEAP },
		{ K | FAULTS_STACK, -1, REGION_STACK },
		{ K | FAULTS_HUGETLB | FAULTS_FILE | PLACE, REGION_SHMEM, FAULTS_MEMORY_HUGETLB },
		{ K | PLACE, REGION_ARENA, REGION_ARENA },
		{ K | PLACE | FAULTS_AT_END, REGION_MANAGED, REGION_MANAGED },
		{ K | PLACE, REGION_DATA, REGION_DATA },	/* .bss */
		{ K | PLACE, REGION_ANON, REGION_ANON },
		{ K | PLACE, -1, FAULTS_MEMORY_ANON },
		/* another mapping is there by now */
		{ K | PLACE, REGION_FILE, FAULTS_MEMORY_ANON },
		{ K | PLACE | FAULTS_FILE, REGION_ARENA, REGION_FILE },
		{ K | PLACE | FAULTS_FILE, REGION_SHMEM, REGION_FILE },
		{ K | PLACE | FAULTS_FILE | FAULTS_SHMEM, REGION_FILE, REGION_SHMEM },
		/* by the stack pointer, where nobody knows better */
		{ K | PLACE | FAULTS_THREAD, -1, REGION_STACK },
		{ K | PLACE | FAULTS_THREAD, REGION_ANON, REGION_STACK },
		{ K | PLACE | FAULTS_THREAD, REGION_MANAGED, REGION_MANAGED },
		{ K | PLACE | FAULTS_FILE, REGION_CODE, REGION_CODE },
		{ K | PLACE | FAULTS_FILE | FAULTS_EXEC, -1, REGION_CODE },
		{ K | PLACE | FAULTS_FILE, REGION_FILE, REGION_FILE },
		{ K | PLACE | FAULTS_FILE | FAULTS_SHARED, REGION_FILE, FAULTS_MEMORY_FILE_SHARED },
		{ K | PLACE | FAULTS_FILE | FAULTS_SHARED, -1, FAULTS_MEMORY_FILE_SHARED },
		{ K | PLACE | FAULTS_FILE | FAULTS_SHMEM | FAULTS_SHARED, REGION_SHMEM, REGION_SHMEM },
		{ K | PLACE | FAULTS_FILE | FAULTS_SHMEM | FAULTS_SHARED | FAULTS_EXEC, REGION_JIT, REGION_JIT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct region r = { .start = PLACE, .end = PLACE + 1, .kind = cases[i].region };

		if (!CHECK_EQ(faults_memory_of(cases[i].memory, cases[i].region < 0 ? NULL : &r), cases[i].want))
			fprintf(stderr, "case %zu\n", i);
	}
	/* what is asked about: the first byte, or the last */
	CHECK_EQ(faults_memory_addr(K | PLACE | FAULTS_SHARED), PLACE);
	CHECK_EQ(faults_memory_addr(K | PLACE | FAULTS_AT_END), PLACE - 1);
	CHECK(faults_memory_asks(K | PLACE));
	CHECK(!faults_memory_asks(K | FAULTS_BRK) && !faults_memory_asks(0) && !faults_memory_asks(K | FAULTS_UNMAPPED));
}

/* Everything that can be shown has a word of its own. */
TEST(labels)
{
	for (int a = 0; a < FAULTS_MEMORIES; a++) {
		if (!CHECK(faults_memory_label(a) && *faults_memory_label(a)))
			continue;
		for (int b = 0; b < a; b++)
			CHECK(strcmp(faults_memory_label(a), faults_memory_label(b)));
	}
	for (int a = 0; a < FAULTS_HOWS; a++)
		for (int b = 0; b < a; b++)
			CHECK(strcmp(faults_how_label(a), faults_how_label(b)));
}

TEST(split)
{
	struct faults_counts c = { .first = 100, .zero = 7, .copied = 20, .major_user = 30, .major_kernel = 4, .minor = 0 };
	struct faults_split s = faults_split(&c, K | PLACE);

	/* a major fault was counted as a first touch before */
	CHECK_EQ(s.counts[FAULTS_FIRST], 70);
	CHECK_EQ(s.counts[FAULTS_MAJOR], 34);
	CHECK_EQ(s.counts[FAULTS_ZERO], 7);
	CHECK_EQ(s.counts[FAULTS_COPIED], 20);
	CHECK_EQ(s.counts[FAULTS_DIRTIED], 0);
	/* nothing is copied in shared memory */
	s = faults_split(&c, K | PLACE | FAULTS_SHARED);
	CHECK_EQ(s.counts[FAULTS_COPIED], 0);
	CHECK_EQ(s.counts[FAULTS_DIRTIED], 20);
	/* read in between */
	c.first = 29;
	CHECK_EQ(faults_split(&c, K).counts[FAULTS_FIRST], 0);
	c = (struct faults_counts){ .minor = 5, .major_user = 2 };
	s = faults_split(&c, K);
	CHECK_EQ(s.counts[FAULTS_MINOR], 5);
	CHECK_EQ(s.counts[FAULTS_MAJOR], 2);
	CHECK_EQ(s.counts[FAULTS_FIRST], 0);
}

TEST(bytes)
{
	CHECK_EQ(faults_bytes(FAULTS_FIRST, (enum faults_memory)REGION_HEAP, 3, 4096, 2 << 20), 12288);
	CHECK_EQ(faults_bytes(FAULTS_COPIED, (enum faults_memory)REGION_HEAP, 3, 65536, 2 << 20), 196608);
	CHECK_EQ(faults_bytes(FAULTS_FIRST, FAULTS_MEMORY_HUGETLB, 3, 4096, 2 << 20), 6 << 20);
	/* nothing became resident */
	CHECK_EQ(faults_bytes(FAULTS_ZERO, (enum faults_memory)REGION_ANON, 3, 4096, 2 << 20), 0);
	CHECK_EQ(faults_bytes(FAULTS_DIRTIED, FAULTS_MEMORY_FILE_SHARED, 3, 4096, 2 << 20), 0);
	CHECK_EQ(faults_bytes(FAULTS_FIRST, FAULTS_MEMORY_UNMAPPED, 3, 4096, 2 << 20), 0);
	CHECK_EQ(faults_unattributed(10, 4), 6);
	CHECK_EQ(faults_unattributed(4, 10), 0);
}

static const struct value_type types[] = {
	[FAULTS_FAULTS] = { "faults", "faults" }, [FAULTS_BYTES] = { "bytes", "bytes" },
	[FAULTS_MAJOR_NS] = { "major-ns", "nanoseconds" }, { NULL, NULL },
};

static struct faults_owner_event owner_event(uint32_t index, uint32_t exec_id, int pid, uint32_t parent)
{
	return (struct faults_owner_event){
		.type = FAULTS_EVENT_OWNER, .index = index, .pid = pid, .parent = parent, .comm = "unit",
		.key = { .start_ns = 5, .tgid = pid, .exec_id = exec_id },
	};
}

TEST(owners)
{
	struct profile *p = profile_new(types);
	struct target t = { .start_ticks = peer_start_ticks(getpid()) };
	struct faults_owner_event e = owner_event(70, 1, getpid(), FAULTS_NONE);
	struct faults_owners o;

	faults_owners_open(&o, p, true);
	CHECK(!faults_owners_at(&o, 70));
	CHECK_EQ(faults_owners_on_event(&o, &e), 0);
	CHECK(faults_owners_at(&o, 70) && !faults_owners_at(&o, 69) && !faults_owners_at(&o, 1000));
	CHECK(faults_owners_is_same(&o, 0, &t));
	/* a child has its parent's stacks, and its own end */
	e = owner_event(71, 1, 999999999, 70);
	CHECK_EQ(faults_owners_on_event(&o, &e), 0);
	CHECK_EQ(faults_owners_at(&o, 71)->process, 0);
	CHECK_EQ(profile_processes_cnt(p), 1);
	e = (struct faults_owner_event){ .type = FAULTS_EVENT_END, .index = 71, .minflt = 12, .majflt = 3 };
	CHECK_EQ(faults_owners_on_event(&o, &e), 0);
	CHECK(faults_owners_at(&o, 71)->ended && !faults_owners_at(&o, 70)->ended);
	CHECK_EQ(faults_owners_at(&o, 71)->minflt, 12);
	/* after exec it is another program: the first one cannot be asked any more */
	e = owner_event(72, 2, getpid(), FAULTS_NONE);
	CHECK_EQ(faults_owners_on_event(&o, &e), 0);
	CHECK_EQ(faults_owners_at(&o, 72)->process, 1);
	CHECK(!faults_owners_is_same(&o, 0, &t) && faults_owners_is_same(&o, 1, &t));
	/* a number that is another process's by now */
	t.start_ticks++;
	CHECK(!faults_owners_is_same(&o, 1, &t));
	CHECK(!faults_owners_is_same(&o, 5, &t));
	faults_owners_close(&o);
	profile_free(p);
}

static struct faults_tag tags[8];

static struct faults_tag tag_of(const struct source *s, uint32_t stack)
{
	(void)s;
	return tags[stack];
}

/* A stack whose innermost frame says what happened, and whose second one has this name. */
static int stack_add(struct profile *p, uint64_t leaf, uint64_t addr, const char *name, struct faults_tag tag)
{
	const uint64_t addrs[] = { leaf, addr, 0x9000 };
	int stack = profile_stack(p, 0, addrs, 3, false);
	struct stack st = profile_stack_at(p, stack);

	profile_frame_name(p, st.frames[0], "[leaf]", NULL, FRAME_KERNEL, false);
	profile_frame_name(p, st.frames[1], name, "/bin/unit", FRAME_APP, false);
	profile_frame_name(p, st.frames[2], "main", "/bin/unit", FRAME_APP, false);
	tags[stack] = tag;
	return stack;
}

static void count_set(struct profile *p, int stack, int64_t faults, int64_t bytes)
{
	profile_value_set(p, stack, FAULTS_FAULTS, faults);
	profile_value_set(p, stack, FAULTS_BYTES, bytes);
}

TEST(rows)
{
	const struct faults_tag first = { FAULTS_FIRST, (enum faults_memory)REGION_HEAP, true };
	const struct faults_tag copied = { FAULTS_COPIED, (enum faults_memory)REGION_ANON, false };
	struct profile *p = profile_new(types);
	struct faults_rows r = { .profile = p, .tag = tag_of };
	int a, b, c;

	profile_process_add(p, 1, "unit");
	a = stack_add(p, ~0ull, 0x1000, "fill", first);
	b = stack_add(p, ~1ull, 0x1000, "fill", copied);
	c = stack_add(p, ~0ull, 0x2000, "other", first);
	count_set(p, a, 10, 40960);
	count_set(p, b, 5, 20480);
	count_set(p, c, 12, 1 << 20);
	/* stacks that differ only in what happened are one row, named after the code and not after the leaf */
	CHECK_EQ(faults_rows_make(&r, FAULTS_FAULTS), 0);
	if (CHECK_EQ(r.cnt, 2)) {
		CHECK_EQ(r.list[0].faults, 15);
		CHECK_EQ(r.list[0].recent, 15);
		CHECK_EQ(r.list[0].bytes, 61440);
		CHECK_EQ(r.list[0].hows[FAULTS_FIRST], 10);
		CHECK_EQ(r.list[0].hows[FAULTS_COPIED], 5);
		CHECK_EQ(faults_row_memory(&r.list[0]), REGION_HEAP);
		CHECK(r.list[0].huge);
		CHECK_STR(profile_frame_at(p, r.list[0].frame)->name, "fill");
		CHECK_EQ(r.list[1].faults, 12);
	}
	/* by another value; what came since the last table */
	CHECK_EQ(faults_rows_mark(&r), 0);
	count_set(p, b, 9, 20480);
	CHECK_EQ(faults_rows_make(&r, FAULTS_BYTES), 0);
	if (CHECK_EQ(r.cnt, 2)) {
		CHECK_EQ(r.list[0].faults, 12);
		CHECK_EQ(r.list[0].recent, 0);
		CHECK_EQ(r.list[1].recent, 4);
	}
	r.by_process = true;
	CHECK_EQ(faults_rows_make(&r, FAULTS_FAULTS), 0);
	CHECK_EQ(r.cnt, 1);
	r.by_process = false;
	r.raw = true;
	CHECK_EQ(faults_rows_make(&r, FAULTS_FAULTS), 0);
	CHECK_EQ(r.cnt, 3);
	faults_rows_close(&r);
	profile_free(p);
}

TEST_MAIN(TEST_CASE(memory), TEST_CASE(labels), TEST_CASE(split), TEST_CASE(bytes), TEST_CASE(owners), TEST_CASE(rows))
