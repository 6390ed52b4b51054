/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * books.insert, books.delete: the table of bpf/blocks.bpf.h at 1 M live blocks beside the kernel's preallocated
 * hash; leak.snapshot: reading these blocks from user space.
 *
 *	growing  built up from nothing through the generations, before older ones were emptied: the worst case,
 *	         which lasts for about as long as the process grows quickly
 *	settled  the same a little later: all blocks are in the newest generation
 *	turned   after every one of these blocks was freed and another one born
 *
 * In each round both tables delete the same blocks, drawn from all live ones, and insert the same new ones, in
 * random order of who is first. The price of the loop around an operation is measured as well, and taken off.
 * The loops are short on purpose: then the processor begins the next operation's cache miss before the last one's
 * is over, with either table. In life each operation stands alone between two traps, and costs its misses in full.
 *
 * All of it is done LOADS times with the programs loaded anew: where the kernel puts them is worth some percent.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "bench.h"
#include "bench_books.skel.h"
#include "books_abi.h"
#include "source/books.h"
#include "source/loader.h"

#define LOADS	3
#define BATCH	16384u		/* operations that are timed together: some milliseconds */

/* What ebb leaves to blocks of its default --max-memory. */
#define BOOKS_BYTES	(252ull << 20)

struct table {
	struct bench_books *skel;
	struct books *books;
	struct blocks_index *index;
	uint64_t *keys;			/* of the next run: shared with the programs */
	uint64_t *live;			/* addresses of all live blocks, in the order of birth */
	uint64_t born_cnt;		/* so far: gives the next address */
	uint64_t strange_cnt;		/* the same for addresses that never are in the table */
	double settle_ms;
};

/* Every 16-byte step of 1 GiB once, in an order without order: a bijection of 26 bits. */
static uint64_t address(uint64_t i)
{
	return 0x7f0000000000ull + ((i * 0x9e3779b1ull & 0x3ffffff) << 4) + (i >> 26 << 34);
}

static int run(struct table *t, struct bpf_program *prog, uint32_t cnt, double *ret_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	double start;
	int err;

	t->skel->bss->bench_cnt = cnt;
	start = cpu_ns();
	err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	if (!err && ret_ns)
		*ret_ns = (cpu_ns() - start) / cnt;
	return err;
}

/* As live_add() and blocks_flip() of bpf/leak.bpf.h do it, and then ebb's restocking. */
static int flip(struct table *t, int64_t live_cnt)
{
	struct blocks_index *x = t->index;
	uint32_t own = x->chunks_cnt[x->generation] - (x->generation ? x->chunks_cnt[x->generation - 1] : 0);

	x->live_cnt = live_cnt;
	if (x->generation < BLOCKS_GENERATIONS_MAX - 1 && x->generation < x->stocked &&
	    live_cnt >= (int64_t)own * BLOCKS_BUCKETS * BLOCKS_SLOTS / 2)
		x->generation++;
	x->wanted = x->generation + 1;	/* as the kernel asks for the next one, only sooner */
	return books_tend(t->books);
}

static int fill(struct table *t)
{
	const struct bench_books *s = t->skel;

	for (uint32_t done = 0; done < BENCH_LIVE;) {
		uint32_t cnt = BENCH_LIVE - done < 1000 ? BENCH_LIVE - done : 1000;
		int err;

		for (uint32_t i = 0; i < cnt; i++)
			t->keys[i] = t->live[done + i] = address(t->born_cnt++);
		err = run(t, s->progs.bench_table_put, cnt, NULL);
		if (!err)
			err = run(t, s->progs.bench_hash_put, cnt, NULL);
		done += cnt;
		if (!err)
			err = flip(t, done);
		if (err)
			return err;
	}
	return 0;
}

static int table_open(struct table *t)
{
	int err;

	loader_prepare();
	t->live = malloc(BENCH_LIVE * sizeof(*t->live));
	t->skel = t->live ? bench_books__open_and_load() : NULL;
	if (!t->skel)
		return -errno;
	t->index = &t->skel->bss->bench_index;
	t->keys = (uint64_t *)t->skel->bss->bench_keys;
	err = books_open(bpf_map__fd(t->skel->maps.blocks_chunks), t->index, BOOKS_BYTES, &t->books);
	return err ? err : fill(t);
}

static void table_close(struct table *t)
{
	books_free(t->books);
	bench_books__destroy(t->skel);
	free(t->live);
}

/* What is timed; deletions come first in a round, so that there are always 1 M live blocks or a little less. */
enum op { EMPTY, TABLE_DELETE, HASH_DELETE, ABSENT, ABSENT_NEWEST, TABLE_PUT, HASH_PUT, HASH_REPLACE, HASH_DELETE_ONLY, OPS };

static const char *const op_words[OPS] = {
	[TABLE_DELETE] = "delete, table of ebb",
	[HASH_DELETE] = "look up, copy, delete, kernel's hash",
	[HASH_DELETE_ONLY] = "delete, kernel's hash",
	[ABSENT] = "search of a block that is not there, table of ebb",
	[ABSENT_NEWEST] = "  of it in the newest generation",
	[TABLE_PUT] = "insert, table of ebb",
	[HASH_PUT] = "insert, kernel's hash",
	[HASH_REPLACE] = "look up and insert, kernel's hash",
};

struct figures {
	double ns[OPS][ROUNDS_MAX];
	int rounds;
};

static struct bpf_program *op_program(const struct table *t, enum op op)
{
	struct bpf_program *const progs[OPS] = {
		[EMPTY] = t->skel->progs.bench_empty,
		[TABLE_DELETE] = t->skel->progs.bench_table_delete,
		[HASH_DELETE] = t->skel->progs.bench_hash_delete,
		[HASH_DELETE_ONLY] = t->skel->progs.bench_hash_delete_only,
		[ABSENT] = t->skel->progs.bench_table_absent,
		[ABSENT_NEWEST] = t->skel->progs.bench_table_absent_newest,
		[TABLE_PUT] = t->skel->progs.bench_table_put,
		[HASH_PUT] = t->skel->progs.bench_hash_put,
		[HASH_REPLACE] = t->skel->progs.bench_hash_replace,
	};

	return progs[op];
}

static int run_shuffled(struct table *t, struct figures *f, const enum op *ops, int cnt)
{
	int order[OPS];

	shuffle(order, cnt);
	for (int i = 0; i < cnt; i++) {
		enum op op = ops[order[i]];
		int err;

		if (op == ABSENT || op == ABSENT_NEWEST || op == EMPTY)
			for (uint32_t k = 0; k < BATCH; k++)
				t->keys[k] = address((1ull << 40) + t->strange_cnt++);
		err = run(t, op_program(t, op), BATCH, &f->ns[op][f->rounds]);

		if (err)
			return err;
	}
	return 0;
}

/* BATCH blocks out of the middle of nowhere die, then others are born. Two ways to use the hash take turns. */
static int round_run(struct table *t, struct figures *f)
{
	static const enum op absent[] = { ABSENT, ABSENT_NEWEST, EMPTY };
	enum op deletes[] = { TABLE_DELETE, HASH_DELETE }, puts[] = { TABLE_PUT, HASH_PUT };
	uint32_t stride = BENCH_LIVE / BATCH, first = random() % stride;
	int err;

	for (int half = 0; half < 2; half++) {
		deletes[1] = half ? HASH_DELETE_ONLY : HASH_DELETE;
		puts[1] = half ? HASH_REPLACE : HASH_PUT;
		first = (first + half * (stride / 2)) % stride;
		for (uint32_t i = 0; i < BATCH; i++)
			t->keys[i] = t->live[(uint64_t)i * 7919 % BATCH * stride + first];
		err = run_shuffled(t, f, deletes, 2);
		if (err)
			return err;
		if (half)
			err = run_shuffled(t, f, absent, 3);
		if (err)
			return err;
		for (uint32_t i = 0; i < BATCH; i++)
			t->keys[i] = t->live[(uint64_t)i * 7919 % BATCH * stride + first] = address(t->born_cnt++);
		err = run_shuffled(t, f, puts, 2);
		if (err)
			return err;
	}
	f->rounds++;
	return 0;
}

/* Some rounds more. */
static int measure(struct table *t, struct figures *f, int rounds)
{
	for (int end = f->rounds + rounds; f->rounds < end;) {
		int err = round_run(t, f);

		if (err)
			return err;
		for (int op = EMPTY + 1; op < OPS; op++)
			f->ns[op][f->rounds - 1] -= f->ns[EMPTY][f->rounds - 1];
	}
	if (t->skel->bss->bench_failed) {
		fprintf(stderr, "books: %" PRIu64 " operations did not do what they should\n",
			(uint64_t)t->skel->bss->bench_failed);
		return -EIO;
	}
	return 0;
}

/* Empties the older generations, as books_tend() does in ebb. */
static int settle(struct table *t)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct blocks_index *x = t->index;
	uint32_t end = x->generation ? x->chunks_cnt[x->generation - 1] : 0;
	double start = cpu_ns();

	x->closed = x->generation;
	for (uint32_t chunk = 0; chunk < end; chunk++) {
		int err;

		t->skel->bss->bench_chunk = chunk;
		err = bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.bench_drain), &opts);
		if (err)
			return err;
	}
	x->oldest = x->generation;
	t->settle_ms = (cpu_ns() - start) / 1e6;
	return 0;
}

/* Every block dies and is replaced, oldest first. */
static int turn_over(struct table *t)
{
	for (uint32_t done = 0; done < BENCH_LIVE;) {
		uint32_t cnt = BENCH_LIVE - done < BENCH_KEYS_MAX ? BENCH_LIVE - done : BENCH_KEYS_MAX;
		const struct bench_books *s = t->skel;
		int err;

		memcpy(t->keys, t->live + done, cnt * sizeof(*t->keys));
		err = run(t, s->progs.bench_table_delete, cnt, NULL);
		if (!err)
			err = run(t, s->progs.bench_hash_delete, cnt, NULL);
		for (uint32_t i = 0; i < cnt; i++)
			t->keys[i] = t->live[done + i] = address(t->born_cnt++);
		if (!err)
			err = run(t, s->progs.bench_table_put, cnt, NULL);
		if (!err)
			err = run(t, s->progs.bench_hash_put, cnt, NULL);
		if (err)
			return err;
		done += cnt;
	}
	return 0;
}

/* All loads together. */
struct states {
	struct figures growing, settled, turned;
	double snapshot_ms[ROUNDS_MAX];
	int snapshots;
	uint32_t chunks;
	double settle_ms;
};

static void say(const char *state, const struct states *st, const struct figures *f, bool insert, bool delete)
{
	printf("books, %s: %u live blocks, %u chunks, %d rounds of %u operations, ns an operation:\n", state,
	       BENCH_LIVE, st->chunks, f->rounds, BATCH);
	for (int op = EMPTY + 1; op < OPS; op++) {
		bool is_delete = op == TABLE_DELETE || op == HASH_DELETE || op == HASH_DELETE_ONLY;

		if (is_delete ? delete : insert)
			printf("  %-52s %6.1f\n", op_words[op], median(f->ns[op], f->rounds));
	}
}

static void say_results(const char *suffix, enum bar bar, const struct figures *f, bool insert, bool delete)
{
	char name[64];

	snprintf(name, sizeof(name), "books.insert%s", suffix);
	if (insert)
		result(name, median_ratio(f->ns[TABLE_PUT], f->ns[HASH_PUT], f->rounds), 3, bar, 0.5, "");
	snprintf(name, sizeof(name), "books.delete%s", suffix);
	if (delete)
		result(name, median_ratio(f->ns[TABLE_DELETE], f->ns[HASH_DELETE], f->rounds), 3, bar, 0.35, "");
}

struct reading {
	uint64_t blocks, bytes, oldest;
};

static void read_block(const struct block_slot *block, void *ctx)
{
	struct reading *r = ctx;

	r->blocks++;
	r->bytes += block_size(block);
	if (block_time(block) < r->oldest)
		r->oldest = block_time(block);
}

static int snapshot(struct table *t, struct states *st, int rounds)
{
	for (int end = st->snapshots + rounds; st->snapshots < end;) {
		struct reading r = { .oldest = UINT64_MAX };
		double start = cpu_ns();
		int err = books_each(t->books, read_block, &r);

		if (err)
			return err;
		st->snapshot_ms[st->snapshots++] = (cpu_ns() - start) / 1e6;
		if (r.blocks != BENCH_LIVE) {
			fprintf(stderr, "leak.snapshot: %" PRIu64 " blocks read, %u are live\n", r.blocks, BENCH_LIVE);
			return -EIO;
		}
	}
	return 0;
}

static int load_run(struct states *st, int rounds, bool tables, bool read)
{
	struct table t = { 0 };
	int err;

	err = table_open(&t);
	if (!err && tables)
		err = measure(&t, &st->growing, rounds);
	if (!err)
		err = settle(&t);
	if (!err && tables)
		err = measure(&t, &st->settled, rounds);
	if (!err && read)
		err = snapshot(&t, st, rounds);
	if (!err && tables)
		err = turn_over(&t);
	if (!err && tables)
		err = measure(&t, &st->turned, rounds);
	if (!err) {
		st->chunks = t.index->chunks_cnt[t.index->generation];
		st->settle_ms = t.settle_ms;
	}
	table_close(&t);
	return err;
}

int bench_books(bool insert, bool delete, bool read)
{
	int rounds = (rounds_wanted(15) + LOADS - 1) / LOADS, err = 0;
	bool tables = insert || delete;
	struct states st = { 0 };

	if (rounds * LOADS > ROUNDS_MAX)
		rounds = ROUNDS_MAX / LOADS;
	for (int i = 0; !err && i < LOADS; i++)
		err = load_run(&st, rounds, tables, read);
	if (err) {
		fprintf(stderr, "books: %s\n", strerror(-err));
		return err;
	}
	if (tables) {
		say("growing", &st, &st.growing, insert, delete);
		say_results(".growing", BAR_NONE, &st.growing, insert, delete);
		printf("books: older generations emptied in %.0f ms\n", st.settle_ms);
		say("settled", &st, &st.settled, insert, delete);
		say_results("", BAR_MAX, &st.settled, insert, delete);
		say("turned over", &st, &st.turned, insert, delete);
		say_results(".turned", BAR_MAX, &st.turned, insert, delete);
	}
	if (read) {
		double ms = median(st.snapshot_ms, st.snapshots);

		printf("leak.snapshot: books_each() over %u live blocks in %u chunks, %d rounds: %.1f ms, %.1f ns a block\n",
		       BENCH_LIVE, st.chunks, st.snapshots, ms, ms * 1e6 / BENCH_LIVE);
		result("leak.snapshot", ms, 1, BAR_MAX, 40, "ms");
	}
	return 0;
}
