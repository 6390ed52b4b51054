/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks under threads, and its reader in user space (user/source/books.c) beside them: the
 * reader is a static function, hence the .c file.
 */
#include <pthread.h>

#include "source/books.c"
#include "table.h"

/* Threads. CHECK counts without a lock, so threads only count here and the case checks. */

#define THREADS	4

static void threads_run(void *(*fn)(void *), void *ctx, size_t size, int cnt)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < cnt; i++)
		if (pthread_create(&threads[i], NULL, fn, (char *)ctx + i * size))
			abort();
	for (int i = 0; i < cnt; i++)
		pthread_join(threads[i], NULL);
}

/* Addresses that one thread at a time has, as allocators have it; half of them are freed by another. */

#define OWNED_KEYS	7000	/* a thread; all together 68 % of a chunk */
#define OWNED_OPS	120000
#define EXCHANGE	64

static __u64 owned_ledger[THREADS * OWNED_KEYS];	/* number of the block; 0 = none */
static __u32 owned_exchange[EXCHANGE];			/* key + 1 of a live block */

struct owned_thread {
	int id;
	__u32 live[THREADS * OWNED_KEYS], dead[THREADS * OWNED_KEYS];
	__u32 live_cnt, dead_cnt;
	unsigned int wrong_cnt;
	__u64 random;
};

static __u64 owned_addr(__u32 key)
{
	return 0x7f1200000000 + key * 48ull;
}

static void owned_delete(struct owned_thread *t, __u32 key)
{
	struct block_op op;
	int r;

	do {	/* on the host the mover can be put aside while it has the slot */
		op = (struct block_op){ .addr = owned_addr(key) };
		r = blocks_delete(&table, &op, 0);
	} while (r == BLOCKS_CONTENDED);

	t->wrong_cnt += r != BLOCKS_DONE || op.old_time_stack >> 24 != owned_ledger[key] ||
			!words_agree(op.old_size_flags, op.old_time_stack);
	owned_ledger[key] = 0;
	t->dead[t->dead_cnt++] = key;
}

static void owned_put(struct owned_thread *t, __u64 number)
{
	__u32 key = t->dead[--t->dead_cnt];
	struct block_op op = {
		.addr = owned_addr(key), .size = size_of(number), .time = number, .stack = stack_of(number),
	};

	t->wrong_cnt += blocks_put(&table, &op) != BLOCKS_DONE;
	owned_ledger[key] = number;
	t->live[t->live_cnt++] = key;
}

static void *owned_run(void *arg)
{
	struct owned_thread *t = arg;

	for (__u64 i = 0; i < OWNED_OPS; i++) {
		__u64 r = random_next(&t->random);
		__u32 pick, key, theirs;

		if (!t->id && i % (OWNED_OPS / 4) == OWNED_OPS / 5)
			__atomic_store_n(&table.generation, i / (OWNED_OPS / 4), __ATOMIC_RELEASE);
		if (t->dead_cnt && (!t->live_cnt || r % 2)) {
			owned_put(t, (__u64)t->id << 32 | (i + 1));
			continue;
		}
		if (!t->live_cnt)
			continue;
		pick = (r >> 8) % t->live_cnt;
		key = t->live[pick];
		t->live[pick] = t->live[--t->live_cnt];
		if (r & 2) {
			owned_delete(t, key);
			continue;
		}
		theirs = __atomic_exchange_n(&owned_exchange[(r >> 40) % EXCHANGE], key + 1, __ATOMIC_ACQ_REL);
		if (theirs)
			owned_delete(t, theirs - 1);
	}
	return NULL;
}

/* Empties the older generations all the time, as user space does after the table has grown. */
static volatile bool mover_stop;
static size_t mover_moved_cnt;

static void mover_pass(void)
{
	__u32 g = __atomic_load_n(&table.generation, __ATOMIC_ACQUIRE);

	for (__u32 chunk = 0; g && chunk < table.chunks_cnt[g - 1]; chunk++)
		for (__u32 i = 0; i < BLOCKS_BUCKETS * BLOCKS_SLOTS; i++)
			mover_moved_cnt += blocks_move(&table, chunk, BLOCK_POS(0, i / BLOCKS_SLOTS, i % BLOCKS_SLOTS),
						       g) == BLOCKS_DONE;
}

static void *mover_run(void *arg)
{
	while (!mover_stop)
		mover_pass();
	return arg;
}

TEST(threads_with_their_own_addresses)
{
	struct owned_thread *threads = calloc(THREADS, sizeof(*threads));
	size_t live = 0, wrong = 0;
	pthread_t mover;

	TABLE_OPEN(1, 4, 16, 20);
	for (int i = 0; i < THREADS; i++) {
		threads[i].id = i;
		threads[i].random = i + 1;
		for (__u32 k = 0; k < OWNED_KEYS; k++)
			threads[i].dead[threads[i].dead_cnt++] = i * OWNED_KEYS + k;
	}
	mover_stop = false;
	mover_moved_cnt = 0;
	if (pthread_create(&mover, NULL, mover_run, NULL))
		abort();
	threads_run(owned_run, threads, sizeof(*threads), THREADS);
	mover_stop = true;
	pthread_join(mover, NULL);
	mover_pass();
	table.oldest = table.generation;	/* nothing is left before it */
	for (int i = 0; i < THREADS; i++)
		wrong += threads[i].wrong_cnt;
	CHECK_EQ(wrong, 0);
	CHECK_EQ(table.generation, 3);
	CHECK(mover_moved_cnt > 0);
	for (__u32 key = 0; key < THREADS * OWNED_KEYS; key++) {
		CHECK_EQ(get(owned_addr(key)), owned_ledger[key]);
		live += !!owned_ledger[key];
	}
	CHECK_EQ(table_check(), live);
	CHECK(live > 1000);
	table_close();
	free(threads);
}

/*
 * Few addresses, many threads. Each block must end as often as it began: replaced, deleted, or still there.
 *
 * As allocators have it, an address belongs to one thread at a time, but a thread whose realloc moved a block
 * deletes it (`same`) when it may be another's already. In the wild mode nothing belongs to anyone.
 */

#define SHARED_ADDRS	8
#define SHARED_OPS	100000
#define NUMBER(thread, i)	((__u64)(thread) * SHARED_OPS + (i))

struct shared {
	bool wild;
	__u64 addrs[SHARED_ADDRS];
	__u32 addrs_cnt;
	__u32 owned[SHARED_ADDRS];
	__u8 born[THREADS * SHARED_OPS + 1], ended[THREADS * SHARED_OPS + 1];
	__u32 stop;
};

struct shared_thread {
	struct shared *shared;
	int id;
	__u64 random;
	unsigned int contended_cnt, wrong_cnt, torn_cnt;
};

/* Addresses of one home bucket: with more than its slots some overflow. */
static void shared_addrs(struct shared *s, __u32 cnt)
{
	for (__u64 addr = 0x7f0000001000; s->addrs_cnt < cnt; addr += 16)
		if (block_hash(addr) % BLOCKS_BUCKETS == 7)
			s->addrs[s->addrs_cnt++] = addr;
}

static void shared_end(struct shared_thread *t, const struct block_op *op)
{
	__u64 number = op->old_time_stack >> 24;

	if (!words_agree(op->old_size_flags, op->old_time_stack) || !number || number > THREADS * SHARED_OPS)
		t->torn_cnt++;
	else
		__atomic_fetch_add(&t->shared->ended[number], 1, __ATOMIC_RELAXED);
}

static void shared_put(struct shared_thread *t, __u64 addr, __u64 number)
{
	struct block_op op = { .addr = addr, .size = size_of(number), .time = number, .stack = stack_of(number) };
	int r;

	r = blocks_put(&table, &op);
	if (r == BLOCKS_CONTENDED) {
		t->contended_cnt++;
		return;
	}
	t->wrong_cnt += r != BLOCKS_DONE && r != BLOCKS_REPLACED;
	t->shared->born[number] = 1;
	if (r == BLOCKS_REPLACED)
		shared_end(t, &op);
	if (t->shared->wild)
		return;
	/* nobody else may end it: it is there */
	op = (struct block_op){ .addr = addr };
	r = blocks_get(&table, &op);
	if (r == BLOCKS_CONTENDED)
		t->contended_cnt++;
	else
		t->wrong_cnt += r != BLOCKS_DONE || op.old_time_stack >> 24 != number ||
				!words_agree(op.old_size_flags, op.old_time_stack);
}

static void shared_delete(struct shared_thread *t, struct block_op *op, bool same)
{
	int r = blocks_delete(&table, op, same);

	if (r == BLOCKS_DONE)
		shared_end(t, op);
	t->contended_cnt += r == BLOCKS_CONTENDED;
	t->wrong_cnt += r != BLOCKS_DONE && r != BLOCKS_CONTENDED && r != BLOCKS_ABSENT;
}

static bool shared_take(struct shared *s, __u32 i)
{
	return s->wild || !__atomic_exchange_n(&s->owned[i], 1, __ATOMIC_ACQUIRE);
}

static void shared_give(struct shared *s, __u32 i)
{
	__atomic_store_n(&s->owned[i], 0, __ATOMIC_RELEASE);
}

static void *shared_run(void *arg)
{
	struct shared_thread *t = arg;

	for (__u64 n = 1; n <= SHARED_OPS; n++) {
		__u64 r = random_next(&t->random);
		__u32 i = r % t->shared->addrs_cnt;
		struct block_op op = { .addr = t->shared->addrs[i] };

		if (!shared_take(t->shared, i))
			continue;
		if (!t->id && n == SHARED_OPS / 2)
			__atomic_store_n(&table.generation, 1, __ATOMIC_RELEASE);
		if ((r >> 8) % 8 < 4) {
			shared_put(t, op.addr, NUMBER(t->id, n));
			shared_give(t->shared, i);
		} else if ((r >> 8) % 8 < 6) {
			shared_delete(t, &op, false);
			shared_give(t->shared, i);
		} else {
			int found = blocks_get(&table, &op);

			shared_give(t->shared, i);
			if (found == BLOCKS_DONE)
				shared_delete(t, &op, true);
		}
	}
	return NULL;
}

/* Reads like a reader in user space, where the addresses are. */
static void *shared_read(void *arg)
{
	struct shared_thread *t = arg;

	while (!__atomic_load_n(&t->shared->stop, __ATOMIC_RELAXED))
		for (__u32 i = 0; i < 4 * 2 * BLOCKS_SLOTS; i++) {
			struct block_bucket *b = bucket_at(i / (2 * BLOCKS_SLOTS), 7 + i / BLOCKS_SLOTS % 2);
			struct block_slot s;

			if (slot_read(b, i % BLOCKS_SLOTS, &s))
				t->torn_cnt += !words_agree(s.size_flags, s.time_stack);
		}
	return NULL;
}

static void shared_hammer(bool wild, int threads_cnt, __u32 addrs_cnt)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct shared_thread threads[THREADS], reader = { .shared = shared };
	unsigned int wrong = 0, torn = 0, births = 0, unmatched = 0;
	struct table_facts f;
	pthread_t reading;

	TABLE_OPEN(1, 4);
	shared->wild = wild;
	shared_addrs(shared, addrs_cnt);
	if (pthread_create(&reading, NULL, shared_read, &reader))
		abort();
	for (int i = 0; i < threads_cnt; i++)
		threads[i] = (struct shared_thread){ .shared = shared, .id = i, .random = i + 1 };
	threads_run(shared_run, threads, sizeof(threads[0]), threads_cnt);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	pthread_join(reading, NULL);

	f = table_look();
	CHECK_EQ(f.busy_cnt, 0);
	CHECK_EQ(f.overflow_wrong_cnt, 0);
	CHECK_EQ(f.stray_cnt, 0);
	if (!wild)
		CHECK_EQ(f.twice_cnt, 0);
	for (size_t i = 0; i < f.cnt; i++)
		shared->ended[f.slots[i].time_stack >> 24]++;
	for (__u32 n = 1; n <= THREADS * SHARED_OPS; n++) {
		births += shared->born[n];
		unmatched += shared->born[n] != shared->ended[n];
	}
	for (int i = 0; i < threads_cnt; i++) {
		wrong += threads[i].wrong_cnt;
		torn += threads[i].torn_cnt;
	}
	CHECK_EQ(unmatched, 0);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(torn, 0);
	CHECK_EQ(reader.torn_cnt, 0);
	CHECK(births > SHARED_OPS / 100);
	free(f.slots);
	table_close();
	free(shared);
}

TEST(threads_with_the_same_addresses)
{
	shared_hammer(false, 2, 1);
	shared_hammer(false, 3, 4);
	shared_hammer(false, 4, 8);
}

TEST(threads_without_rules)
{
	shared_hammer(true, 2, 1);
	shared_hammer(true, 4, 2);
	shared_hammer(true, 4, 8);
}

/* One block: get while it is replaced, and while it is tried in vain to delete it. */

#define TEAR_OPS	1000000

static void *tear_write(void *arg)
{
	struct shared *s = arg;

	for (__u64 n = 1; n <= TEAR_OPS; n++) {
		struct block_op op = { .addr = 0x1000, .size = size_of(n), .time = n, .stack = stack_of(n) };

		blocks_put(&table, &op);
	}
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *probe_write(void *arg)
{
	struct shared *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		struct block_op op = { .addr = 0x1000, .old_size_flags = 1, .old_time_stack = 1 };

		blocks_delete(&table, &op, 1);
	}
	return NULL;
}

static unsigned int get_often(void *(*fn)(void *), __u64 *ret_torn)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	unsigned int absent = 0;
	pthread_t writer;

	TABLE_OPEN(1);
	put(0x1000, 1);
	*ret_torn = 0;
	if (pthread_create(&writer, NULL, fn, shared))
		abort();
	for (unsigned int i = 0; i < TEAR_OPS && !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
		struct block_op op = { .addr = 0x1000 };
		int r = blocks_get(&table, &op);

		absent += r == BLOCKS_ABSENT;
		*ret_torn += r == BLOCKS_DONE && !words_agree(op.old_size_flags, op.old_time_stack);
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	table_close();
	free(shared);
	return absent;
}

TEST(get_sees_no_torn_block)
{
	__u64 torn;

	CHECK_EQ(get_often(tear_write, &torn), 0);
	CHECK_EQ(torn, 0);
	CHECK_EQ(get_often(probe_write, &torn), 0);
	CHECK_EQ(torn, 0);
}

TEST_MAIN(TEST_CASE(threads_with_their_own_addresses), TEST_CASE(threads_with_the_same_addresses),
	  TEST_CASE(threads_without_rules), TEST_CASE(get_sees_no_torn_block))
