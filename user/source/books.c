/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "source/books.h"
#include "trace/chunks.h"

#define DRAIN_SLICE_NS	50000000ull	/* of each call */

struct books {
	int outer_fd;
	struct blocks_index *index;
	int *chunk_fds;
	uint32_t chunks_cnt;		/* in the outer map */
	uint32_t generations_cnt;	/* that fit into the limit */
	uint32_t limits[BLOCKS_GENERATIONS_MAX];	/* chunks of each */
	bool refused;			/* there is no more memory */
	struct books_room *room;	/* shared with others; NULL = its own limit is all */
	/* emptying older generations */
	int drain_fd;			/* the program, -1 = none */
	struct leak_state *state;
	uint32_t drain_chunk, drain_bucket;	/* where it goes on */
	uint32_t drain_left;		/* blocks that stayed in this pass */
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int chunk_new(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "blocks_chunk", 4, BLOCKS_CHUNK_BYTES, 1, &opts);
}

/* Stocks generation g, then says so to the kernel, which may flip to it from then on. */
static int generation_stock(struct books *b, uint32_t g)
{
	uint32_t first = b->chunks_cnt;
	int err;

	while (b->chunks_cnt < b->limits[g]) {
		int fd = chunk_new();

		if (fd < 0)
			return fd;
		b->chunk_fds[b->chunks_cnt++] = fd;
		if (b->room)
			b->room->used_bytes += BLOCKS_CHUNK_BYTES;
	}
	err = outer_map_publish(b->outer_fd, b->chunk_fds + first, first, b->chunks_cnt - first);
	if (err)
		return err;
	__atomic_store_n(&b->index->chunks_cnt[g], b->limits[g], __ATOMIC_RELEASE);
	__atomic_store_n(&b->index->stocked, g, __ATOMIC_RELEASE);
	return 0;
}

/*
 * 1, 4, 16, 64, 128, 256 … chunks; the last takes what the limit leaves. In fewer, larger steps a search
 * looks at fewer places; from 64 MiB on memory counts more.
 */
static void generations_plan(struct books *b, uint64_t max_bytes)
{
	uint64_t max = max_bytes / BLOCKS_CHUNK_BYTES, n = 1;

	if (max < 1)
		max = 1;
	if (max > BLOCKS_CHUNKS_MAX)
		max = BLOCKS_CHUNKS_MAX;
	while (n < max && b->generations_cnt < BLOCKS_GENERATIONS_MAX - 1) {
		b->limits[b->generations_cnt++] = n;
		n *= n < 64 ? 4 : 2;
	}
	b->limits[b->generations_cnt++] = max;
}

int books_open(int outer_fd, struct blocks_index *index, uint64_t max_bytes, struct books **ret)
{
	struct books *b = calloc(1, sizeof(*b));
	int err = 0;

	if (!b)
		return -ENOMEM;
	b->outer_fd = outer_fd;
	b->drain_fd = -1;
	b->index = index;
	b->chunk_fds = malloc(BLOCKS_CHUNKS_MAX * sizeof(*b->chunk_fds));
	if (!b->chunk_fds)
		err = -ENOMEM;
	generations_plan(b, max_bytes);
	for (uint32_t g = 0; !err && g < 2 && g < b->generations_cnt; g++)
		err = generation_stock(b, g);
	if (err) {
		books_free(b);
		return err;
	}
	*ret = b;
	return 0;
}

void books_share(struct books *b, struct books_room *room)
{
	b->room = room;
	room->used_bytes += books_bytes(b);
}

struct books *books_free(struct books *b)
{
	if (!b)
		return NULL;
	if (b->room)
		b->room->used_bytes -= books_bytes(b);
	for (uint32_t i = 0; i < b->chunks_cnt; i++)
		close(b->chunk_fds[i]);
	free(b->chunk_fds);
	free(b);
	return NULL;
}

/* What the others have left may be less than this generation wants: then it is the last. */
static int generation_fit(struct books *b, uint32_t g)
{
	uint64_t left = 0, fit;

	if (!b->room)
		return 0;
	if (b->room->max_bytes > b->room->used_bytes)
		left = b->room->max_bytes - b->room->used_bytes;
	fit = b->chunks_cnt + left / BLOCKS_CHUNK_BYTES;
	if (fit >= b->limits[g])
		return 0;
	if (fit <= b->limits[g - 1])
		return -ENOSPC;
	b->limits[g] = fit;
	b->generations_cnt = g + 1;
	return 0;
}

static int books_restock(struct books *b)
{
	uint32_t next = __atomic_load_n(&b->index->wanted, __ATOMIC_ACQUIRE);
	int err;

	if (b->refused || next >= b->generations_cnt || b->index->stocked >= next)
		return 0;
	err = generation_fit(b, next);
	if (!err)
		err = generation_stock(b, next);
	log_debug("books: generation %u stocked with %u chunks, %lld blocks live", next, b->limits[next],
		  (long long)b->index->live_cnt);
	if (err)
		b->refused = true;
	return err;
}

void books_set_drain(struct books *b, int prog_fd, struct leak_state *state)
{
	b->drain_fd = prog_fd;
	b->state = state;
}

/* One run of the program, on the next buckets. True at the end of a pass over all chunks before `end`. */
static bool drain_step(struct books *b, uint32_t end)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	b->state->drain_chunk = b->drain_chunk;
	b->state->drain_bucket = b->drain_bucket;
	if (bpf_prog_test_run_opts(b->drain_fd, &opts)) {
		b->drain_fd = -1;	/* then they stay where they are */
		return false;
	}
	b->drain_left += *(volatile __u32 *)&b->state->drain_left;
	b->drain_bucket += DRAIN_BUCKETS;
	if (b->drain_bucket < BLOCKS_BUCKETS)
		return false;
	b->drain_bucket = 0;
	return ++b->drain_chunk >= end;
}

/* A pass begins at the first chunk that may hold something. */
static void drain_begin(struct books *b)
{
	b->drain_chunk = b->index->oldest ? b->index->chunks_cnt[b->index->oldest - 1] : 0;
	b->drain_bucket = b->drain_left = 0;
}

/*
 * Closes the generations before the newest, and waits until inserts that had begun before are over: an update
 * of the outer map, here with what is there already, returns after an RCU grace period.
 */
static void drain_close(struct books *b, uint32_t newest)
{
	__atomic_store_n(&b->index->closed, newest, __ATOMIC_RELEASE);
	if (outer_map_publish(b->outer_fd, b->chunk_fds, 0, 1))
		b->drain_fd = -1;
	drain_begin(b);
}

/*
 * Empties the generations before the newest, in slices, unless it is the last there will ever be: then their
 * room is needed.
 */
static void books_drain(struct books *b)
{
	uint32_t newest = __atomic_load_n(&b->index->generation, __ATOMIC_ACQUIRE);
	uint64_t until_ns = clock_ns() + DRAIN_SLICE_NS;

	if (b->refused || newest + 1 >= b->generations_cnt) {
		__atomic_store_n(&b->index->closed, b->index->oldest, __ATOMIC_RELEASE);
		return;
	}
	if (newest == b->index->oldest)
		return;
	if (b->drain_fd >= 0 && b->index->closed < newest)
		drain_close(b, newest);
	while (b->drain_fd >= 0 && clock_ns() < until_ns) {
		if (!drain_step(b, b->index->chunks_cnt[newest - 1]))
			continue;
		if (b->drain_left) {	/* another pass, later */
			drain_begin(b);
			return;
		}
		__atomic_store_n(&b->index->oldest, newest, __ATOMIC_RELEASE);
		log_debug("books: all blocks are in generation %u", newest);
		return;
	}
}

int books_tend(struct books *b)
{
	int err = books_restock(b);

	books_drain(b);
	return err;
}

uint64_t books_bytes(const struct books *b)
{
	return (uint64_t)b->chunks_cnt * BLOCKS_CHUNK_BYTES;
}

/* A slot in one state, between two writes of the kernel. False: empty, or in a program's hands. */
static bool slot_read(const struct block_bucket *b, uint32_t i, struct block_slot *ret)
{
	const struct block_words *words = &b->words[i];

	for (;;) {
		uint64_t addr = __atomic_load_n(&b->addrs[i], __ATOMIC_ACQUIRE);

		if (!addr || addr & BLOCK_BUSY)
			return false;
		ret->size_flags = __atomic_load_n(&words->size_flags, __ATOMIC_ACQUIRE);
		ret->time_stack = __atomic_load_n(&words->time_stack, __ATOMIC_ACQUIRE);
		ret->addr = addr;
		/*
		 * The sequence in the flags changes with every write, also of the same address. It is read last:
		 * if the writer of the stack above has given the slot back, it has changed the flags before.
		 */
		if (__atomic_load_n(&b->addrs[i], __ATOMIC_ACQUIRE) == addr &&
		    __atomic_load_n(&words->size_flags, __ATOMIC_ACQUIRE) == ret->size_flags)
			return true;
	}
}

static int chunk_each(int fd, void (*fn)(const struct block_slot *block, void *ctx), void *ctx)
{
	const struct block_bucket *buckets;
	struct block_slot block;

	buckets = mmap(NULL, BLOCKS_CHUNK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (buckets == MAP_FAILED)
		return -errno;
	for (uint32_t i = 0; i < BLOCKS_BUCKETS; i++)
		for (uint32_t j = 0; j < BLOCKS_SLOTS; j++)
			if (slot_read(&buckets[i], j, &block))
				fn(&block, ctx);
	munmap((void *)buckets, BLOCKS_CHUNK_BYTES);
	return 0;
}

int books_each(struct books *b, void (*fn)(const struct block_slot *block, void *ctx), void *ctx)
{
	/* chunks beyond the generation in use are empty, and so are those before the oldest */
	uint32_t used = b->index->chunks_cnt[__atomic_load_n(&b->index->generation, __ATOMIC_ACQUIRE)];
	uint32_t oldest = b->index->oldest;

	for (uint32_t i = oldest ? b->index->chunks_cnt[oldest - 1] : 0; i < used && i < b->chunks_cnt; i++) {
		int err = chunk_each(b->chunk_fds[i], fn, ctx);

		if (err)
			return err;
	}
	return 0;
}
