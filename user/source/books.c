/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "source/books.h"

struct books {
	int outer_fd;
	struct blocks_index *index;
	int *chunk_fds;
	uint32_t chunks_cnt;		/* in the outer map */
	uint32_t generations_cnt;	/* that fit into the limit */
	uint32_t limits[BLOCKS_GENERATIONS_MAX];	/* chunks of each */
	bool refused;			/* the kernel gave no more memory */
};

static int chunk_new(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "blocks_chunk", 4, BLOCKS_CHUNK_BYTES, 1, &opts);
}

/*
 * Puts the chunks [first, first + cnt) into the outer map. Every single update waits for an RCU grace period,
 * 10 ms on a busy machine, so they go in one batch; kernels before 5.15 have none, those before 6.8 wait for
 * each element all the same.
 */
static int chunks_publish(struct books *b, uint32_t first, uint32_t cnt)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
	uint32_t *keys = malloc(cnt * sizeof(*keys));
	uint32_t done = cnt;
	int err;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++)
		keys[i] = first + i;
	err = bpf_map_update_batch(b->outer_fd, keys, b->chunk_fds + first, &done, &opts);
	if (err) {
		err = 0;
		for (uint32_t i = 0; !err && i < cnt; i++)
			err = bpf_map_update_elem(b->outer_fd, &keys[i], &b->chunk_fds[first + i], BPF_ANY);
	}
	free(keys);
	return err;
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
	}
	err = chunks_publish(b, first, b->chunks_cnt - first);
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

struct books *books_free(struct books *b)
{
	if (!b)
		return NULL;
	for (uint32_t i = 0; i < b->chunks_cnt; i++)
		close(b->chunk_fds[i]);
	free(b->chunk_fds);
	free(b);
	return NULL;
}

int books_restock(struct books *b)
{
	uint32_t next = __atomic_load_n(&b->index->wanted, __ATOMIC_ACQUIRE);
	int err;

	if (b->refused || next >= b->generations_cnt || b->index->stocked >= next)
		return 0;
	err = generation_stock(b, next);
	log_debug("books: generation %u stocked with %u chunks, %lld blocks live", next, b->limits[next],
		  (long long)b->index->live_cnt);
	if (err)
		b->refused = true;
	return err;
}

uint64_t books_bytes(const struct books *b)
{
	return (uint64_t)b->chunks_cnt * BLOCKS_CHUNK_BYTES;
}

/* A slot in one state, between two writes of the kernel. False: empty, or in a program's hands. */
static bool slot_read(const struct block_slot *slot, struct block_slot *ret)
{
	for (;;) {
		uint64_t addr = __atomic_load_n(&slot->addr, __ATOMIC_ACQUIRE);

		if (!addr || addr & BLOCK_BUSY)
			return false;
		ret->size_flags = __atomic_load_n(&slot->size_flags, __ATOMIC_ACQUIRE);
		ret->time_stack = __atomic_load_n(&slot->time_stack, __ATOMIC_ACQUIRE);
		ret->addr = addr;
		/*
		 * The sequence in the flags changes with every write, also of the same address. It is read last:
		 * if the writer of the stack above has given the slot back, it has changed the flags before.
		 */
		if (__atomic_load_n(&slot->addr, __ATOMIC_ACQUIRE) == addr &&
		    __atomic_load_n(&slot->size_flags, __ATOMIC_ACQUIRE) == ret->size_flags)
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
			if (slot_read(&buckets[i].slots[j], &block))
				fn(&block, ctx);
	munmap((void *)buckets, BLOCKS_CHUNK_BYTES);
	return 0;
}

int books_each(struct books *b, void (*fn)(const struct block_slot *block, void *ctx), void *ctx)
{
	/* chunks beyond the generation in use are empty */
	uint32_t used = b->index->chunks_cnt[__atomic_load_n(&b->index->generation, __ATOMIC_ACQUIRE)];

	for (uint32_t i = 0; i < used && i < b->chunks_cnt; i++) {
		int err = chunk_each(b->chunk_fds[i], fn, ctx);

		if (err)
			return err;
	}
	return 0;
}
