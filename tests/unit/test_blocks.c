/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks, one thread.
 */
#include "table.h"

TEST(round_trip)
{
	struct block_op op;

	TABLE_OPEN(1);
	CHECK_EQ(get(0x1000), 0);
	CHECK_EQ(del(0x1000), BLOCKS_ABSENT);
	CHECK_EQ(put(0x1000, 7), BLOCKS_DONE);
	CHECK_EQ(get(0x1000), 7);
	CHECK_EQ(get(0x1008), 0);
	CHECK_EQ(table_check(), 1);
	CHECK_EQ(del_in(0x1000, 0, &op), BLOCKS_DONE);
	CHECK_EQ(op_number(&op), 7);
	CHECK_EQ(del(0x1000), BLOCKS_ABSENT);
	CHECK_EQ(get(0x1000), 0);
	CHECK_EQ(table_check(), 0);
	table_close();
}

TEST(replace)
{
	__u64 old = 0;

	TABLE_OPEN(1);
	CHECK_EQ(put(0x1000, 7), BLOCKS_DONE);
	CHECK_EQ(put_in(0x1000, 0, 8, &old), BLOCKS_REPLACED);
	CHECK_EQ(old, 7);
	CHECK_EQ(get(0x1000), 8);
	CHECK_EQ(put_in(0x1000, 0, 8, &old), BLOCKS_REPLACED);
	CHECK_EQ(old, 8);
	CHECK_EQ(table_check(), 1);
	CHECK_EQ(del(0x1000), BLOCKS_DONE);
	CHECK_EQ(table_check(), 0);
	table_close();
}

TEST(delete_same)
{
	struct block_op first, second, wrong;

	TABLE_OPEN(1);
	put(0x1000, 7);
	CHECK_EQ(get_in(0x1000, 0, &first), BLOCKS_DONE);
	/* another block with the same size, time and stack is not the same block */
	put(0x1000, 7);
	CHECK_EQ(get_in(0x1000, 0, &second), BLOCKS_DONE);
	CHECK_EQ(blocks_delete(&table, &first, 1), BLOCKS_ABSENT);
	CHECK_EQ(get(0x1000), 7);
	wrong = second;
	wrong.old_time_stack ^= 1;
	CHECK_EQ(blocks_delete(&table, &wrong, 1), BLOCKS_ABSENT);
	wrong = second;
	wrong.old_size_flags ^= 1 << 16;
	CHECK_EQ(blocks_delete(&table, &wrong, 1), BLOCKS_ABSENT);
	CHECK_EQ(table_check(), 1);
	CHECK_EQ(blocks_delete(&table, &second, 1), BLOCKS_DONE);
	CHECK_EQ(blocks_delete(&table, &second, 1), BLOCKS_ABSENT);
	/* nor is the next one in the emptied slot */
	put(0x1000, 7);
	CHECK_EQ(blocks_delete(&table, &second, 1), BLOCKS_ABSENT);
	CHECK_EQ(table_check(), 1);
	table_close();
}

TEST(domains)
{
	struct block_op op;
	__u64 old;

	TABLE_OPEN(1);
	CHECK_EQ(put_in(0x1000, 0, 7, &old), BLOCKS_DONE);
	CHECK_EQ(put_in(0x1000, 1, 8, &old), BLOCKS_DONE);
	CHECK_EQ(put_in(0x1000, 255, 9, &old), BLOCKS_DONE);
	CHECK_EQ(table_check(), 3);
	CHECK_EQ(put_in(0x1000, 1, 10, &old), BLOCKS_REPLACED);
	CHECK_EQ(old, 8);
	CHECK_EQ(get_in(0x1000, 0, &op), BLOCKS_DONE);
	CHECK_EQ(op_number(&op), 7);
	CHECK_EQ(del_in(0x1000, 2, &op), BLOCKS_ABSENT);
	CHECK_EQ(del_in(0x1000, 1, &op), BLOCKS_DONE);
	CHECK_EQ(op_number(&op), 10);
	CHECK_EQ(get_in(0x1000, 1, &op), BLOCKS_ABSENT);
	CHECK_EQ(get_in(0x1000, 255, &op), BLOCKS_DONE);
	CHECK_EQ(table_check(), 2);
	table_close();
}

/* All blocks of a full first generation into the second: the same blocks, and nothing is left behind. */
TEST(move)
{
	size_t cnt = BLOCKS_BUCKETS * BLOCKS_SLOTS * 3 / 4, moved = 0, put_cnt = 0;
	struct block_op op = { 0 };
	__u64 old;

	TABLE_OPEN(1, 4);
	for (size_t i = 1; i <= cnt; i++)
		put_cnt += put_in(0x7f0000000000 + i * 112, i % 3, i, &old) == BLOCKS_DONE;
	table.generation = table.closed = 1;
	for (__u32 i = 0; i < BLOCKS_BUCKETS * BLOCKS_SLOTS; i++)
		moved += blocks_move(&table, 0, BLOCK_POS(0, i / BLOCKS_SLOTS, i % BLOCKS_SLOTS), 1) == BLOCKS_DONE;
	CHECK_EQ(moved, put_cnt);
	CHECK_EQ(table_check(), put_cnt);
	for (__u32 i = 0; i < BLOCKS_BUCKETS; i++)
		if (!CHECK_EQ(bucket_at(0, i)->overflow, 0))
			break;
	table.oldest = 1;
	for (size_t i = 1; i <= cnt; i += 97) {
		CHECK_EQ(get_in(0x7f0000000000 + i * 112, i % 3, &op), BLOCKS_DONE);
		CHECK_EQ(op_number(&op), i);
	}
	table_close();
}

/* A realloc that began before the move still knows its block; a slot in another's hands is not passed over. */
TEST(move_in_between)
{
	struct block_op op = { 0 };
	int pos;

	TABLE_OPEN(1, 4);
	put(0x1000, 1);
	CHECK_EQ(get_in(0x1000, 0, &op), BLOCKS_DONE);
	pos = find_in(0, 0x1000, 0);
	table.generation = table.closed = 1;
	*addr_of(0x1000) |= BLOCK_BUSY;
	CHECK_EQ(blocks_move(&table, 0, pos, 1), BLOCKS_CONTENDED);
	*addr_of(0x1000) &= ~BLOCK_BUSY;
	CHECK_EQ(blocks_move(&table, 0, pos, 1), BLOCKS_DONE);
	op.addr = 0x1000;
	CHECK_EQ(blocks_delete(&table, &op, true), BLOCKS_DONE);
	CHECK_EQ(table_check(), 0);
	table_close();
}

/* A slot can change hands between the search that found it and the claim. */
TEST(domain_of_a_slot_that_changed_hands)
{
	struct block_op op = { .addr = 0x1000 };
	__u64 old;
	int pos;

	TABLE_OPEN(1);
	put_in(0x1000, 0, 7, &old);
	pos = find_in(0, 0x1000, 0);
	CHECK(pos >= 0);
	del(0x1000);
	put_in(0x1000, 1, 8, &old);
	CHECK_EQ(find_in(0, 0x1000, 1), pos);
	CHECK_EQ(block_read_at(chunks[0], pos, &op), BLOCKS_MOVED);
	CHECK_EQ(block_replace_at(chunks[0], pos, &op), BLOCKS_MOVED);
	CHECK_EQ(block_remove_at(chunks[0], pos, &op, 0), BLOCKS_MOVED);
	CHECK_EQ(table_check(), 1);
	CHECK_EQ(del_in(0x1000, 1, &op), BLOCKS_DONE);
	CHECK_EQ(op_number(&op), 8);
	table_close();
}

TEST(addresses)
{
	static const __u64 addrs[] = {
		1, 8, 9, 0x1001, 0x7fffffffeff0, 0x7fffffffeff1, 1ull << 47, 1ull << 48, 1ull << 52, 1ull << 56,
		(1ull << 56) + 8, 0x0f00ffff80001230, 0x3fffffffffffffff, 0x7fffffffffffffff,
	};
	size_t cnt = sizeof(addrs) / sizeof(addrs[0]);

	TABLE_OPEN(1, 4);
	for (table.generation = 0; table.generation < 2; table.generation++) {
		for (size_t i = 0; i < cnt; i++)
			CHECK_EQ(put(addrs[i], i + 1), BLOCKS_DONE);
		for (size_t i = 0; i < cnt; i++)
			CHECK_EQ(get(addrs[i]), i + 1);
		CHECK_EQ(table_check(), cnt);
		for (size_t i = 0; i < cnt; i++)
			CHECK_EQ(del(addrs[i]), BLOCKS_DONE);
		CHECK_EQ(table_check(), 0);
	}
	table_close();
}

TEST(sizes)
{
	static const struct { __u64 size, stored; } sizes[] = {
		{ 0, 0 }, { 1, 1 }, { BLOCK_SIZE_MAX, BLOCK_SIZE_MAX }, { BLOCK_SIZE_MAX + 1, BLOCK_SIZE_MAX },
		{ ~0ull, BLOCK_SIZE_MAX },
	};

	TABLE_OPEN(1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct block_op op = {
			.addr = 16, .size = sizes[i].size, .time = (1ull << 40) - 1, .stack = 0xffffff, .domain = 0xff,
		};
		struct block_slot s;

		blocks_put(&table, &op);
		CHECK_EQ(get_in(16, 0xff, &op), BLOCKS_DONE);
		s = (struct block_slot){ op.addr, op.old_size_flags, op.old_time_stack };
		CHECK_EQ(block_size(&s), sizes[i].stored);
		CHECK_EQ(block_time(&s), (1ull << 40) - 1);
		CHECK_EQ(block_stack(&s), 0xffffff);
		CHECK_EQ(block_domain(&s), 0xff);
	}
	table_close();
}

/* Blocks at equal distances until nothing fits, and out again. */
static void fill(__u64 first, __u64 stride)
{
	size_t stored = 0, lost = 0, before_loss = 0;
	__u64 n = CHUNK_SLOTS * 2;
	struct table_facts f;
	bool *in;

	in = calloc(n, 1);
	for (__u64 i = 0; i < n; i++) {
		int r = put(first + i * stride, i + 1);

		in[i] = r == BLOCKS_DONE;
		stored += r == BLOCKS_DONE;
		lost += r == BLOCKS_FULL;
		if (!lost)
			before_loss = stored;
	}
	CHECK_EQ(stored + lost, n);
	CHECK_EQ(table_check(), stored);
	/* 60-95 %, by the stride; a hash with a weakness for it is far below */
	CHECK(before_loss * 100 / CHUNK_SLOTS >= 55);
	CHECK(stored * 100 / CHUNK_SLOTS >= 95);
	for (__u64 i = 0; i < n; i++) {
		CHECK_EQ(get(first + i * stride), in[i] ? i + 1 : 0);
		CHECK_EQ(del(first + i * stride), in[i] ? BLOCKS_DONE : BLOCKS_ABSENT);
	}
	f = table_look();
	CHECK_EQ(f.cnt, 0);
	CHECK_EQ(f.overflow_sum, 0);
	CHECK_EQ(f.overflow_wrong_cnt, 0);
	free(f.slots);
	free(in);
}

TEST(full)
{
	static const __u64 strides[] = { 1, 2, 8, 16, 24, 48, 64, 112, 4096, 4112, 1 << 16, 1 << 21, 1 << 26 };

	TABLE_OPEN(1);
	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++)
		fill(0x55d0c0a012a0, strides[i]);
	table_close();
}

/*
 * A last generation that adds one chunk to 4. A program whose old blocks are all replaced by new ones holds
 * no more than before: there is room in the older chunks.
 */
TEST(last_generation_is_small)
{
	const __u64 live = 5 * CHUNK_SLOTS / 2;
	size_t lost = 0, stored = 0;

	TABLE_OPEN(1, 4, 5);
	for (__u64 i = 1; i <= live; i++) {
		if (i == CHUNK_SLOTS / 2 || i == 4 * CHUNK_SLOTS / 2)
			table.generation++;
		lost += put(i * 16, i) == BLOCKS_FULL;
	}
	CHECK_EQ(lost, 0);
	for (__u64 i = 1; i <= live; i++) {
		CHECK_EQ(del(i * 16), BLOCKS_DONE);
		lost += put((live + i) * 16, i) == BLOCKS_FULL;
	}
	CHECK_EQ(lost, 0);
	CHECK_EQ(table_check(), live);
	/* and all of it is used before a block is lost */
	for (__u64 i = 1; i <= 5 * CHUNK_SLOTS; i++)
		stored += put((2 * live + i) * 16, i) == BLOCKS_DONE;
	CHECK((live + stored) * 100 / (5 * CHUNK_SLOTS) >= 95);
	CHECK_EQ(table_check(), live + stored);
	table_close();
}

TEST(no_chunk)
{
	struct block_op op = { .addr = 16 };

	TABLE_OPEN(1, 4);
	table.chunks_cnt[0] = 1;
	free(chunks[0]);
	chunks[0] = NULL;
	CHECK_EQ(put(16, 1), BLOCKS_FULL);
	CHECK_EQ(del(16), BLOCKS_ABSENT);
	CHECK_EQ(get(16), 0);
	CHECK_EQ(blocks_replace(0, 0, &op), BLOCKS_MOVED);
	CHECK_EQ(blocks_move(&table, 0, 0, 1), BLOCKS_ABSENT);
	table.generation = BLOCKS_GENERATIONS_MAX;
	CHECK_EQ(put(16, 1), BLOCKS_FULL);
	table_close();
}

/* A slot that stays in another's hands. */
TEST(contended)
{
	struct block_op op;
	__u64 *addr;

	TABLE_OPEN(1);
	put(0x1000, 1);
	addr = addr_of(0x1000);
	*addr |= BLOCK_BUSY;
	CHECK_EQ(put(0x1000, 2), BLOCKS_CONTENDED);
	CHECK_EQ(del(0x1000), BLOCKS_CONTENDED);
	CHECK_EQ(get_in(0x1000, 0, &op), BLOCKS_CONTENDED);
	*addr &= ~BLOCK_BUSY;
	CHECK_EQ(get(0x1000), 1);
	CHECK_EQ(table_check(), 1);
	table_close();
}

/* The same operations on a list of keys, and the same answers. */

#define MODEL_KEYS	300000
#define MODEL_OPS	1000000

struct model {
	__u64 numbers[MODEL_KEYS];	/* 0 = not there */
	size_t live_cnt;
	__u64 random;
	__u64 next;
};

/* Four kinds of address; each 8th key shares its address with the one before, in another domain. */
static __u64 model_addr(__u32 key)
{
	__u64 k = key % 8 == 7 ? key - 1 : key;

	switch (k % 4) {
	case 0:
		return 0x7f0000000000 + k * 16;
	case 1:
		return 0x550000000000 + k * 4096;
	case 2:
		return 0x12345670 + k * 2 + 1;
	default:
		return 1ull << 56 | k << 20 | 8;
	}
}

static __u32 model_domain(__u32 key)
{
	return key % 8 == 7;
}

static void model_put(struct model *m, __u32 key)
{
	__u64 number = m->next++, old = 0;
	int r = put_in(model_addr(key), model_domain(key), number, &old);

	CHECK_EQ(r, m->numbers[key] ? BLOCKS_REPLACED : BLOCKS_DONE);
	CHECK_EQ(old, m->numbers[key]);
	m->live_cnt += !m->numbers[key];
	m->numbers[key] = number;
}

static void model_delete(struct model *m, __u32 key, bool same, bool wrong)
{
	struct block_op op = { .addr = model_addr(key), .domain = model_domain(key) };
	int want = m->numbers[key] && !wrong ? BLOCKS_DONE : BLOCKS_ABSENT;

	if (same)
		blocks_get(&table, &op);
	if (wrong)
		op.old_size_flags ^= 1ull << (8 + m->random % 56);
	CHECK_EQ(blocks_delete(&table, &op, same), want);
	if (want != BLOCKS_DONE)
		return;
	CHECK_EQ(op_number(&op), m->numbers[key]);
	m->numbers[key] = 0;
	m->live_cnt--;
}

static void model_get(struct model *m, __u32 key)
{
	struct block_op op;
	int r = get_in(model_addr(key), model_domain(key), &op);

	CHECK_EQ(r, m->numbers[key] ? BLOCKS_DONE : BLOCKS_ABSENT);
	if (r == BLOCKS_DONE)
		CHECK_EQ(op_number(&op), m->numbers[key]);
}

static void model_step(struct model *m)
{
	__u64 r = random_next(&m->random);
	__u32 key = (r >> 32) % MODEL_KEYS, what = r % 100;

	if (what < 45)
		model_put(m, key);
	else if (what < 80)
		model_delete(m, key, false, false);
	else if (what < 85)
		model_delete(m, key, true, false);
	else if (what < 90)
		model_delete(m, key, true, true);
	else
		model_get(m, key);
}

/* The books' own rule, and by hand what so few blocks never reach. */
static void model_flip(const struct model *m, unsigned int op)
{
	if (table.generation < 2 && m->live_cnt >= table.chunks_cnt[table.generation] * CHUNK_SLOTS / 2)
		table.generation++;
	if (op == MODEL_OPS / 2 || op == MODEL_OPS * 3 / 4)
		table.generation++;
}

TEST(model)
{
	struct model *m = calloc(1, sizeof(*m));

	TABLE_OPEN(1, 4, 16, 64, 100);
	m->random = 1;
	m->next = 1;
	for (unsigned int i = 0; i < MODEL_OPS && !test_failures; i++) {
		model_flip(m, i);
		model_step(m);
		if (i % (MODEL_OPS / 8) != MODEL_OPS / 8 - 1)
			continue;
		/* as many, none twice, and each of them there: the same */
		CHECK_EQ(table_check(), m->live_cnt);
		for (__u32 key = 0; key < MODEL_KEYS; key++)
			model_get(m, key);
	}
	CHECK_EQ(table.generation, 4);
	CHECK(m->live_cnt > MODEL_KEYS / 3);
	for (__u32 key = 0; key < MODEL_KEYS; key++)
		model_delete(m, key, false, false);
	CHECK_EQ(table_check(), 0);
	table_close();
	free(m);
}

TEST_MAIN(TEST_CASE(round_trip), TEST_CASE(replace), TEST_CASE(delete_same), TEST_CASE(domains),
	  TEST_CASE(move), TEST_CASE(move_in_between), TEST_CASE(domain_of_a_slot_that_changed_hands), TEST_CASE(addresses), TEST_CASE(sizes), TEST_CASE(full),
	  TEST_CASE(last_generation_is_small), TEST_CASE(no_chunk), TEST_CASE(contended), TEST_CASE(model))
