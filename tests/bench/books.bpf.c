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
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BENCH_HASH_ENTRIES);
	__type(key, __u64);
	__type(value, struct bench_block);
} bench_hash SEC(".maps");

/* Plain memory, so that the loops around the operations are short. */
struct blocks_index bench_index;
__u64 bench_keys[BENCH_KEYS_MAX];
__u32 bench_cnt;
__u64 bench_failed;
__u64 bench_sum;	/* keeps the compiler from dropping what is read */

#define BENCH(name, ...)								\
	static long name##_each(__u32 i, void *ctx)					\
	{										\
		__u64 addr = bench_keys[i & (BENCH_KEYS_MAX - 1)];			\
											\
		__VA_ARGS__;								\
		return 0;								\
	}										\
	SEC("raw_tp") int name(void *ctx)						\
	{										\
		bpf_loop(bench_cnt, name##_each, NULL, 0);				\
		return 0;								\
	}

/* The price of the loop: taken off all others. */
BENCH(bench_empty, bench_sum += addr)

BENCH(bench_table_put, {
	struct block_op op = {};

	op.addr = addr;
	op.size = i;
	op.stack = i & 63;
	op.time = i;
	if (blocks_put(&bench_index, &op) != BLOCKS_DONE)
		bench_failed++;
})

BENCH(bench_table_delete, {
	struct block_op op = {};

	op.addr = addr;
	if (blocks_delete(&bench_index, &op, 0) != BLOCKS_DONE)
		bench_failed++;
	bench_sum += op.old_size_flags;
})

/* The search for a block that is not there, which every insert begins with. */
BENCH(bench_table_absent, {
	struct block_op op = {};

	op.addr = addr;
	if (blocks_get(&bench_index, &op) != BLOCKS_ABSENT)
		bench_failed++;
})

/* The same in the newest generation only: what older generations cost is the difference. */
BENCH(bench_table_absent_newest, {
	__u64 hash = block_hash(addr);
	__u32 g = bench_index.generation;
	struct block_op op = {};

	op.addr = addr;
	block_hide(g);
	if (g >= BLOCKS_GENERATIONS_MAX || blocks_read(block_chunk(&bench_index, g, hash), hash, &op) != BLOCKS_MOVED)
		bench_failed++;
})

/* Empties one chunk of an older generation, as leak_drain of bpf/leak.bpf.c does for ebb. */
__u32 bench_chunk;

static long bench_drain_each(__u32 i, void *ctx)
{
	if ((i & 7) < BLOCKS_SLOTS &&
	    blocks_move(&bench_index, bench_chunk, BLOCK_POS(0, i / 8, i & 7), bench_index.generation) == BLOCKS_FULL)
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
	if (bpf_map_update_elem(&bench_hash, &addr, &block, BPF_ANY))
		bench_failed++;
})

/* What ebb would need of it: the words of the block that is replaced. */
BENCH(bench_hash_replace, {
	struct bench_block *old = bpf_map_lookup_elem(&bench_hash, &addr);
	struct bench_block block = {};

	if (old)
		bench_sum += old->size;
	block.size = i;
	block.stack = i & 63;
	block.time = i;
	if (bpf_map_update_elem(&bench_hash, &addr, &block, BPF_ANY))
		bench_failed++;
})

/* The words of the block are what books a death: they are copied out before its entry is deleted. */
BENCH(bench_hash_delete, {
	struct bench_block *old = bpf_map_lookup_elem(&bench_hash, &addr);

	if (old)
		bench_sum += old->size + old->time + old->stack;
	if (!old || bpf_map_delete_elem(&bench_hash, &addr))
		bench_failed++;
})

BENCH(bench_hash_delete_only, {
	if (bpf_map_delete_elem(&bench_hash, &addr))
		bench_failed++;
})

char LICENSE[] SEC("license") = "GPL";
