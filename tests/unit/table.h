/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks (bpf/blocks.bpf.h) compiled for this machine: chunks in the place of the kernel's
 * maps, operations, and a look at all of it. Included by the programs that test it, once each.
 *
 * Every put has a number of its own. It is the block's time, and size and stack are functions of it, so that
 * words of two blocks in one slot show.
 */
#ifndef UNIT_TABLE_H
#define UNIT_TABLE_H

#include <stdlib.h>

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "blocks.bpf.h"

#include "test.h"

#define CHUNK_SLOTS	(BLOCKS_BUCKETS * BLOCKS_SLOTS)

/* The chunks, in the place of the kernel's maps. */

static char *chunks[BLOCKS_CHUNKS_MAX];
static struct blocks_index table;

void *shim_map_lookup_elem(void *map, const void *key)
{
	__u32 i = *(const __u32 *)key;

	if (map == &blocks_chunks)
		return i < BLOCKS_CHUNKS_MAX && chunks[i] ? &chunks[i] : NULL;
	return i ? NULL : *(char **)map;
}

/* An empty table with so many chunks in its generations, all of them there. */
static inline void table_open(const __u32 *limits, __u32 generations_cnt)
{
	memset(&table, 0, sizeof(table));
	for (__u32 g = 0; g < generations_cnt; g++)
		table.chunks_cnt[g] = limits[g];
	table.stocked = generations_cnt - 1;
	for (__u32 i = 0; i < limits[generations_cnt - 1]; i++)
		chunks[i] = calloc(1, BLOCKS_CHUNK_BYTES);
}

#define TABLE_OPEN(...) do {							\
	static const __u32 limits_[] = { __VA_ARGS__ };				\
	table_open(limits_, sizeof(limits_) / sizeof(limits_[0]));		\
} while (0)

static inline void table_close(void)
{
	for (__u32 i = 0; i < BLOCKS_CHUNKS_MAX; i++) {
		free(chunks[i]);
		chunks[i] = NULL;
	}
}

static inline struct block_bucket *bucket_at(__u32 chunk, __u32 bucket)
{
	return (struct block_bucket *)chunks[chunk] + bucket;
}

/* A slot as it stands. */
static inline struct block_slot slot_at(__u32 chunk, __u32 bucket, __u32 i)
{
	const struct block_bucket *b = bucket_at(chunk, bucket);

	return (struct block_slot){ b->addrs[i], b->words[i].size_flags, b->words[i].time_stack };
}

/* Position of a key in a chunk, -1 = it is not there. */
static inline int find_in(__u32 chunk, __u64 addr, __u32 domain)
{
	struct block_op op = { .addr = addr, .domain = domain };

	return block_find(chunks[chunk], block_hash(addr), &op) ? (int)op.pos : -1;
}

/* The word that claims the slot of a key in chunk 0. */
static inline __u64 *addr_of(__u64 addr)
{
	struct block_ref s = block_at(chunks[0], find_in(0, addr, 0));

	return &s.b->addrs[s.i];
}

static inline bool chunk_is_home(__u32 chunk, __u64 hash)
{
	for (__u32 g = 0; g <= table.generation; g++)
		if (block_chunk(&table, g, hash) == chunk)
			return true;
	return false;
}

static inline int slot_compare(const void *pa, const void *pb)
{
	const struct block_slot *a = pa, *b = pb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return (int)block_domain(a) - (int)block_domain(b);
}

/* What a look at all slots of a table that nobody changes finds. */
struct table_facts {
	struct block_slot *slots;	/* sorted by address and domain */
	size_t cnt;
	unsigned int busy_cnt;
	unsigned int twice_cnt;		/* keys beyond their first slot */
	unsigned int stray_cnt;		/* slots where no search would look */
	unsigned int overflow_wrong_cnt;	/* buckets whose overflow is not what the slots say */
	__u64 overflow_sum, distance_sum;
};

static inline void bucket_look(struct table_facts *f, __u32 chunk, __u32 bucket, __u32 overflow[BLOCKS_BUCKETS])
{
	for (__u32 i = 0; i < BLOCKS_SLOTS; i++) {
		struct block_slot s = slot_at(chunk, bucket, i);
		__u64 hash;
		__u32 distance;

		if (!s.addr)
			continue;
		f->busy_cnt += !!(s.addr & BLOCK_BUSY);
		s.addr &= ~BLOCK_BUSY;
		hash = block_hash(s.addr);
		distance = (bucket - (__u32)hash) & (BLOCKS_BUCKETS - 1);
		if (distance >= BLOCKS_PROBE_MAX || !chunk_is_home(chunk, hash)) {
			f->stray_cnt++;
			continue;
		}
		f->distance_sum += distance;
		for (__u32 d = 0; d < distance; d++)
			overflow[(hash + d) & (BLOCKS_BUCKETS - 1)]++;
		f->slots[f->cnt++] = s;
	}
}

static inline struct table_facts table_look(void)
{
	static __u32 overflow[BLOCKS_BUCKETS];
	__u32 chunks_cnt = table.chunks_cnt[table.generation];
	struct table_facts f = { .slots = malloc((size_t)chunks_cnt * CHUNK_SLOTS * sizeof(struct block_slot)) };

	for (__u32 c = 0; c < chunks_cnt; c++) {
		memset(overflow, 0, sizeof(overflow));
		for (__u32 b = 0; b < BLOCKS_BUCKETS; b++)
			bucket_look(&f, c, b, overflow);
		for (__u32 b = 0; b < BLOCKS_BUCKETS; b++) {
			f.overflow_sum += bucket_at(c, b)->overflow;
			f.overflow_wrong_cnt += bucket_at(c, b)->overflow != overflow[b];
		}
	}
	qsort(f.slots, f.cnt, sizeof(f.slots[0]), slot_compare);
	for (size_t i = 1; i < f.cnt; i++)
		f.twice_cnt += !slot_compare(&f.slots[i - 1], &f.slots[i]);
	return f;
}

/* All that holds whenever nobody is at work. Returns how many blocks there are. */
static inline size_t table_check(void)
{
	struct table_facts f = table_look();

	CHECK_EQ(f.busy_cnt, 0);
	CHECK_EQ(f.twice_cnt, 0);
	CHECK_EQ(f.stray_cnt, 0);
	CHECK_EQ(f.overflow_wrong_cnt, 0);
	CHECK_EQ(f.overflow_sum, f.distance_sum);
	free(f.slots);
	return f.cnt;
}

/* Operations; a put is known by its number. */

static inline __u64 size_of(__u64 number) { return (number * 0x9e3779b97f4a7c15ull) & BLOCK_SIZE_MAX; }
static inline __u32 stack_of(__u64 number) { return (number * 0x85ebca6bu >> 3) & 0xffffff; }

static inline bool words_agree(__u64 size_flags, __u64 time_stack)
{
	__u64 number = time_stack >> 24;

	return (time_stack & 0xffffff) == stack_of(number) && size_flags >> 16 == size_of(number);
}

static inline int put_in(__u64 addr, __u32 domain, __u64 number, __u64 *ret_old)
{
	struct block_op op = {
		.addr = addr, .domain = domain, .size = size_of(number), .time = number, .stack = stack_of(number),
	};
	int r = blocks_put(&table, &op);

	if (r == BLOCKS_REPLACED) {
		*ret_old = op.old_time_stack >> 24;
		CHECK_EQ(op.old_time_stack & 0xffffff, stack_of(*ret_old));
		CHECK_EQ(op.old_size_flags >> 16, size_of(*ret_old));
		CHECK_EQ(op.old_size_flags & 0xff, domain);
	}
	return r;
}

static inline int put(__u64 addr, __u64 number)
{
	__u64 old;

	return put_in(addr, 0, number, &old);
}

/* The number of the block that was deleted or found; its other words are checked. */
static inline __u64 op_number(const struct block_op *op)
{
	__u64 number = op->old_time_stack >> 24;

	CHECK_EQ(op->old_time_stack & 0xffffff, stack_of(number));
	CHECK_EQ(op->old_size_flags >> 16, size_of(number));
	CHECK_EQ(op->old_size_flags & 0xff, op->domain);
	return number;
}

static inline int get_in(__u64 addr, __u32 domain, struct block_op *op)
{
	*op = (struct block_op){ .addr = addr, .domain = domain };
	return blocks_get(&table, op);
}

/* The number of the block at addr, 0 when there is none. */
static inline __u64 get(__u64 addr)
{
	struct block_op op;

	return get_in(addr, 0, &op) == BLOCKS_DONE ? op_number(&op) : 0;
}

static inline int del_in(__u64 addr, __u32 domain, struct block_op *op)
{
	*op = (struct block_op){ .addr = addr, .domain = domain };
	return blocks_delete(&table, op, 0);
}

static inline int del(__u64 addr)
{
	struct block_op op;

	return del_in(addr, 0, &op);
}

static inline __u64 random_next(__u64 *state)
{
	__u64 z = *state += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

#endif
