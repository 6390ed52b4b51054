/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reader of the table of live blocks (user/source/books.c) on chunks that are memory files here: what it
 * stocks, what it reads, and what it makes of slots that change under its eyes.
 */
#include <bpf/bpf.h>

/* What it asks the kernel for. */
#define bpf_map_create		fake_map_create
#define bpf_map_update_elem	fake_map_update_elem
#define bpf_map_update_batch	fake_map_update_batch
static int fake_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
			   __u32 max_entries, const struct bpf_map_create_opts *opts);
static int fake_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
static int fake_map_update_batch(int fd, const void *keys, const void *values, __u32 *cnt,
				 const struct bpf_map_batch_opts *opts);
static void (*load_hook)(void);
/* A thread could be stopped before each of the reader's loads. */
#define __atomic_load_n(ptr, order) ({ if (load_hook) load_hook(); __atomic_load_n(ptr, order); })
#include "trace/chunks.c"
#include "source/books.c"
#undef __atomic_load_n

#include "table.h"

static int fake_creates_left;
static bool fake_no_batch;	/* an old kernel */

static int fake_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
			   __u32 max_entries, const struct bpf_map_create_opts *opts)
{
	int fd;

	/* the geometry of the inner map in blocks.bpf.h, or its look-up is not inlined */
	CHECK(type == BPF_MAP_TYPE_ARRAY && key_size == 4 && value_size == BLOCKS_CHUNK_BYTES && max_entries == 1);
	CHECK(opts && opts->map_flags == BPF_F_MMAPABLE);
	if (!fake_creates_left--) {
		fake_creates_left = 0;
		return -ENOMEM;
	}
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, BLOCKS_CHUNK_BYTES))
		abort();
	return fd;
}

static int fake_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	__u32 i = *(const __u32 *)key;

	CHECK(fd == 99 && flags == BPF_ANY && i < BLOCKS_CHUNKS_MAX);
	if (chunks[i])
		munmap(chunks[i], BLOCKS_CHUNK_BYTES);
	chunks[i] = mmap(NULL, BLOCKS_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *(const int *)value, 0);
	return chunks[i] == MAP_FAILED ? -ENOMEM : 0;
}

/* An old kernel may have done a part before it gave up. */
static int fake_map_update_batch(int fd, const void *keys, const void *values, __u32 *cnt,
				 const struct bpf_map_batch_opts *opts)
{
	__u32 todo = fake_no_batch ? *cnt / 2 : *cnt;

	for (__u32 i = 0; i < todo; i++)
		fake_map_update_elem(fd, (const __u32 *)keys + i, (const int *)values + i, opts->elem_flags);
	*cnt = todo;
	return fake_no_batch ? -EINVAL : 0;
}

static void books_end(struct books *b)
{
	books_free(b);
	for (__u32 i = 0; i < BLOCKS_CHUNKS_MAX; i++)
		if (chunks[i]) {
			munmap(chunks[i], BLOCKS_CHUNK_BYTES);
			chunks[i] = NULL;
		}
}

struct sum {
	size_t cnt, wrong_cnt;
	__u64 numbers;
};

static void sum_add(const struct block_slot *block, void *ctx)
{
	struct sum *s = ctx;

	s->cnt++;
	s->numbers += block_time(block);
	s->wrong_cnt += !words_agree(block->size_flags, block->time_stack) || block->addr != block_time(block) * 16;
}

TEST(books_plan)
{
	static const struct { __u64 max_mib; __u32 limits[BLOCKS_GENERATIONS_MAX + 1]; } plans[] = {
		{ 0, { 1 } }, { 1, { 1 } }, { 2, { 1, 2 } }, { 4, { 1, 4 } }, { 5, { 1, 4, 5 } }, { 16, { 1, 4, 16 } },
		{ 65, { 1, 4, 16, 64, 65 } }, { 100, { 1, 4, 16, 64, 100 } }, { 128, { 1, 4, 16, 64, 128 } },
		{ 256, { 1, 4, 16, 64, 128, 256 } }, { 257, { 1, 4, 16, 64, 128, 256, 257 } },
		{ 4095, { 1, 4, 16, 64, 128, 256, 4095 } }, { 4096, { 1, 4, 16, 64, 128, 256, 4096 } },
		{ 1 << 20, { 1, 4, 16, 64, 128, 256, 4096 } },
	};

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		struct blocks_index index = { 0 };
		struct books *b = NULL;
		__u32 cnt = 0;

		fake_creates_left = 4;
		if (!CHECK_EQ(books_open(99, &index, plans[i].max_mib << 20, &b), 0))
			continue;
		while (plans[i].limits[cnt])
			cnt++;
		CHECK_EQ(b->generations_cnt, cnt);
		for (__u32 g = 0; g < cnt; g++)
			CHECK_EQ(b->limits[g], plans[i].limits[g]);
		CHECK_EQ(index.stocked, cnt > 1);
		CHECK_EQ(books_bytes(b), (__u64)plans[i].limits[cnt > 1] << 20);
		books_end(b);
	}
}

static void grow(void)
{
	struct sum sum = { 0 };
	struct books *b = NULL;
	__u64 n = 0;

	memset(&table, 0, sizeof(table));
	fake_creates_left = 16;
	CHECK_EQ(books_open(99, &table, 6 << 20, &b), 0);
	CHECK_EQ(books_tend(b), 0);	/* the next is there already */
	CHECK_EQ(books_bytes(b), 4 << 20);
	for (table.generation = 0; table.generation < 3;) {
		for (int i = 0; i < 10000; i++) {
			n++;
			CHECK_EQ(put(n * 16, n), BLOCKS_DONE);
		}
		sum = (struct sum){ 0 };
		CHECK_EQ(books_each(b, sum_add, &sum), 0);
		CHECK_EQ(sum.cnt, n);
		CHECK_EQ(sum.numbers, n * (n + 1) / 2);
		CHECK_EQ(sum.wrong_cnt, 0);
		CHECK_EQ(table_check(), n);
		if (table.generation == 2)
			break;
		/* the kernel asks before it flips */
		table.wanted = 2;
		CHECK_EQ(books_tend(b), 0);
		table.generation++;
		CHECK_EQ(books_bytes(b), 6 << 20);
		CHECK_EQ(table.stocked, 2);
		CHECK_EQ(table.chunks_cnt[2], 6);
	}
	/* beyond the limit there is nothing to ask for */
	table.wanted = 3;
	CHECK_EQ(books_tend(b), 0);
	CHECK_EQ(books_bytes(b), 6 << 20);
	/* what a program has in its hands is passed over */
	*addr_of(16) |= BLOCK_BUSY;
	sum = (struct sum){ 0 };
	CHECK_EQ(books_each(b, sum_add, &sum), 0);
	CHECK_EQ(sum.cnt, n - 1);
	books_end(b);
}

TEST(books_grow)
{
	for (int old = 0; old < 2; old++) {
		fake_no_batch = old;
		grow();
	}
	fake_no_batch = false;
}

TEST(books_without_memory)
{
	struct books *b = NULL;

	memset(&table, 0, sizeof(table));
	fake_creates_left = 3;
	CHECK_EQ(books_open(99, &table, 16 << 20, &b), -ENOMEM);
	CHECK(!b);
	books_end(NULL);

	fake_creates_left = 7;
	CHECK_EQ(books_open(99, &table, 16 << 20, &b), 0);
	table.wanted = 2;
	CHECK_EQ(books_tend(b), -ENOMEM);
	CHECK_EQ(table.stocked, 1);
	CHECK_EQ(table.chunks_cnt[2], 0);
	/* said once */
	CHECK_EQ(books_tend(b), 0);
	CHECK_EQ(put(16, 1), BLOCKS_DONE);
	CHECK_EQ(get(16), 1);
	books_end(b);
}

/*
 * Every way in which the five loads of one reading and the four stores of a replacement (or of a deletion and
 * a new block) can follow each other, on a machine that keeps the order of both.
 */

#define STORES_MAX	8

static struct {
	struct block_bucket *bucket;	/* its slot 0 */
	const __u64 (*stores)[2];	/* word of the slot, value */
	unsigned int stores_cnt, done;
	unsigned int at[STORES_MAX];	/* before which load */
	unsigned int loads;
} script;

static void script_step(void)
{
	while (script.done < script.stores_cnt && script.at[script.done] <= script.loads) {
		const __u64 *store = script.stores[script.done++];
		__u64 *const words[] = {
			&script.bucket->addrs[0], &script.bucket->words[0].size_flags,
			&script.bucket->words[0].time_stack,
		};

		*words[store[0]] = store[1];
	}
	script.loads++;
}

static bool script_next(void)
{
	for (int i = script.stores_cnt - 1; i >= 0; i--)
		if (script.at[i] < 5) {
			unsigned int at = script.at[i] + 1;

			for (unsigned int j = i; j < script.stores_cnt; j++)
				script.at[j] = at;
			return true;
		}
	return false;
}

static __u64 sf(__u64 number, __u64 seq) { return size_of(number) << 16 | seq << 8; }
static __u64 ts(__u64 number) { return number << 24 | stack_of(number); }

/* Returns the number of interleavings. */
static unsigned int script_run(const __u64 (*stores)[2], unsigned int cnt)
{
	unsigned int runs = 0, torn = 0;

	memset(&script, 0, sizeof(script));
	script.stores = stores;
	script.stores_cnt = cnt;
	load_hook = script_step;
	do {
		struct block_bucket bucket = { .addrs = { 0x1000 }, .words = { { sf(1, 0), ts(1) } } };
		struct block_slot s;

		script.bucket = &bucket;
		script.loads = script.done = 0;
		runs++;
		if (slot_read(&bucket, 0, &s))
			torn += !words_agree(s.size_flags, s.time_stack) || s.addr != 0x1000;
	} while (script_next());
	load_hook = NULL;
	CHECK_EQ(torn, 0);
	return runs;
}

TEST(slots_that_change)
{
	const __u64 busy = 0x1000 | BLOCK_BUSY;
	const __u64 replaced[][2] = { { 0, busy }, { 2, ts(2) }, { 1, sf(2, 1) }, { 0, 0x1000 } };
	const __u64 born_anew[][2] = { { 0, busy }, { 0, 0 }, { 0, busy }, { 2, ts(2) }, { 1, sf(2, 1) }, { 0, 0x1000 } };
	const __u64 twice[][2] = {
		{ 0, busy }, { 2, ts(2) }, { 1, sf(2, 1) }, { 0, 0x1000 },
		{ 0, busy }, { 2, ts(3) }, { 1, sf(3, 2) }, { 0, 0x1000 },
	};

	CHECK_EQ(script_run(replaced, 4), 126);
	CHECK_EQ(script_run(born_anew, 6), 462);
	CHECK_EQ(script_run(twice, 8), 1287);
}

TEST_MAIN(TEST_CASE(slots_that_change), TEST_CASE(books_plan), TEST_CASE(books_grow), TEST_CASE(books_without_memory))
