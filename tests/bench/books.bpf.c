/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks beside the kernel's hash, for books.* of tests/bench.
 *
 * Hooks nothing: user space runs each program by BPF_PROG_TEST_RUN on the first `bench_cnt` keys of bench_keys.
 * What a program did not do as it should (no room, key missing) is in bench_failed.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "blocks.bpf.h"
#include "books_abi.h"

/* What the kernel's hash has to keep for a block: the same 24 bytes, without packing. */
struct bench_block {
	__u64 size;
	__u64 time;
	__u32 stack;
	__u32 domain;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct blocks_index);
} bench_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BENCH_KEYS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} bench_keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BENCH_HASH_ENTRIES);
	__type(key, __u64);
	__type(value, struct bench_block);
} bench_hash SEC(".maps");

__u32 bench_cnt;
__u64 bench_failed;
__u64 bench_sum;	/* keeps the compiler from dropping what is read */

static __always_inline struct blocks_index *index_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bench_index, &zero);
}

#define BENCH(name, ...)								\
	static long name##_each(__u32 i, void *ctx)					\
	{										\
		__u64 *key = bpf_map_lookup_elem(&bench_keys, &i);			\
											\
		if (!key)								\
			return 1;							\
		__VA_ARGS__;									\
		return 0;								\
	}										\
	SEC("raw_tp") int name(void *ctx)						\
	{										\
		bpf_loop(bench_cnt, name##_each, NULL, 0);				\
		return 0;								\
	}

/* The price of the loop: taken off all others. */
BENCH(bench_empty, bench_sum += *key)

BENCH(bench_table_put, {
	struct blocks_index *index = index_get();
	struct block_op op = {};

	op.addr = *key;
	op.size = i;
	op.stack = i & 63;
	op.time = i;
	if (!index || blocks_put(index, &op) != BLOCKS_DONE)
		bench_failed++;
})

BENCH(bench_table_delete, {
	struct blocks_index *index = index_get();
	struct block_op op = {};

	op.addr = *key;
	if (!index || blocks_delete(index, &op, 0) != BLOCKS_DONE)
		bench_failed++;
	bench_sum += op.old_size_flags;
})

/* The search for a block that is not there, which every insert begins with. */
BENCH(bench_table_absent, {
	struct blocks_index *index = index_get();
	struct block_op op = {};

	op.addr = *key;
	if (!index || blocks_get(index, &op) != BLOCKS_ABSENT)
		bench_failed++;
})

/* The same in the newest generation only: what older generations cost is the difference. */
BENCH(bench_table_absent_newest, {
	struct blocks_index *index = index_get();
	__u64 hash = block_hash(*key);
	__u32 g = index ? index->generation : BLOCKS_GENERATIONS_MAX;

	block_hide(g);
	struct block_op op = {};

	op.addr = *key;
	if (g >= BLOCKS_GENERATIONS_MAX || blocks_read(block_chunk(index, g, hash), hash, &op) != BLOCKS_MOVED)
		bench_failed++;
})

/* Empties one chunk of an older generation, as leak_drain of bpf/leak.bpf.c does for ebb. */
__u32 bench_chunk;

static long bench_drain_each(__u32 i, void *ctx)
{
	struct blocks_index *index = index_get();

	if (index && (i & 7) < BLOCKS_SLOTS &&
	    blocks_move(index, bench_chunk, BLOCK_POS(0, i / 8, i & 7), index->generation) == BLOCKS_FULL)
		bench_failed++;
	return 0;
}
SEC("raw_tp") int bench_drain(void *ctx)
{
	bpf_loop(BLOCKS_BUCKETS * 8, bench_drain_each, NULL, 0);
	return 0;
}

BENCH(bench_hash_put, {
	struct bench_block block = {};

	block.size = i;
	block.stack = i & 63;
	block.time = i;
	if (bpf_map_update_elem(&bench_hash, key, &block, BPF_ANY))
		bench_failed++;
})

/* What ebb would need of it: the words of the block that is replaced. */
BENCH(bench_hash_replace, {
	struct bench_block *old = bpf_map_lookup_elem(&bench_hash, key);
	struct bench_block block = {};

	if (old)
		bench_sum += old->size;
	block.size = i;
	block.stack = i & 63;
	block.time = i;
	if (bpf_map_update_elem(&bench_hash, key, &block, BPF_ANY))
		bench_failed++;
})

/* The words of the block are what books a death: they are copied out before its entry is deleted. */
BENCH(bench_hash_delete, {
	struct bench_block *old = bpf_map_lookup_elem(&bench_hash, key);

	if (old)
		bench_sum += old->size + old->time + old->stack;
	if (!old || bpf_map_delete_elem(&bench_hash, key))
		bench_failed++;
})

BENCH(bench_hash_delete_only, {
	if (bpf_map_delete_elem(&bench_hash, key))
		bench_failed++;
})

char LICENSE[] SEC("license") = "GPL";
