/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks: open addressing in chunks of one array value each, because a plain load is
 * three to five times cheaper than the kernel's hash map (measured: tests/bench, books.*).
 *
 *	hash(addr):  high 32 bits choose the chunk, low 13 bits the bucket in it
 *	generation g owns chunks [n(g-1), n(g)):  n = 1, 4, 16, … and so chunks 0 │ 1-3 │ 4-15 │ 16-63 │ …
 *	a search     looks at the bucket and goes on to the next while `overflow` says that keys went further:
 *	             no tombstones
 *
 * When the table grows nothing stops and nothing is rehashed in a hurry: a new block goes to the newest
 * generation that has room for it, and a search looks into all that are in use, from the oldest on. User space
 * then has the older ones emptied into the newest, block by block (blocks_move), and a search has one place to
 * look at again: at 1 M blocks an insert that searched four generations took 373 ns, one takes 140.
 * A block that moves is in the new place before it leaves the old one, and the old one is looked at first, so
 * no search misses it.
 * (Generations do not overlap. If they did, as chunk = hash mod n would have it, the first chunks would take
 * their share of every generation and fill up: 480 k of 4 M blocks were lost that way.)
 *
 * One word claims a slot: addr. Whoever swaps it from 0 (to insert) or from addr (to delete or replace)
 * to addr|BLOCK_BUSY owns the slot until it stores addr or 0 there. So every other word of a slot is
 * written and read by its owner only; a thread that finds the address it looks for in another's hands
 * waits a little, and gives up with BLOCKS_CONTENDED. That takes two threads with the same address at the
 * same moment, which only a realloc race or a missed free can bring about.
 *
 * Readers in user space take the words without owning the slot, and again, until both readings agree:
 * the sequence in the flags changes with every write of the slot.
 *
 * This file computes only. It is compiled for the host in tests/unit/test_blocks.c and hammered there.
 */
#ifndef EBB_BLOCKS_BPF_H
#define EBB_BLOCKS_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, BLOCKS_CHUNKS_MAX);
	__type(key, __u32);
	/*
	 * Chunks must have exactly this geometry: with another max_entries or BPF_F_INNER_MAP their look-up
	 * is no longer inlined.
	 */
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(key_size, 4);
		__uint(value_size, BLOCKS_CHUNK_BYTES);
	});
} blocks_chunks SEC(".maps");

enum blocks_result {
	BLOCKS_ABSENT = 0,	/* no such block */
	BLOCKS_DONE = 1,	/* inserted, deleted, found */
	BLOCKS_REPLACED = 2,	/* inserted over a block with the same key, whose words are in old */
	BLOCKS_FULL = 3,
	BLOCKS_CONTENDED = 4,
	BLOCKS_MOVED = 5,	/* it is not in this slot any more: deleted, or in a newer generation */
};

/* One operation: what is looked for, what is written, and the words that were there before. */
struct block_op {
	__u64 addr;
	__u64 size;
	__u64 time;
	__u32 stack;
	__u32 domain;
	__u64 old_size_flags;
	__u64 old_time_stack;
};

#define BLOCKS_SPINS	256	/* several µs: an owner needs a tenth of one */

/* Keeps the compiler from using what it knows of x, so that the verifier sees the check that follows. */
#define block_hide(x)	asm volatile("" : "+r"(x))
#define block_once(x)	(*(volatile typeof(x) *)&(x))

/*
 * Two rounds of multiply and fold: equal chunks and buckets need equal addresses in all bits. The lowest count
 * as well (a descriptor, a slice of a pool), so they are not shifted out of the way.
 */
static __always_inline __u64 block_hash(__u64 addr)
{
	addr *= 0x9e3779b97f4a7c15ull;
	addr ^= addr >> 32;
	return addr * 0xd6e8feb86659fd93ull;
}

/* The chunk of a key in generation g. */
static __always_inline __u32 block_chunk(const struct blocks_index *index, __u32 g, __u64 hash)
{
	__u32 first = g ? block_once(index->chunks_cnt[g - 1]) : 0;

	return first + ((hash >> 32) * (block_once(index->chunks_cnt[g]) - first) >> 32);
}

static __always_inline char *block_chunk_at(__u32 chunk)
{
	void *inner = bpf_map_lookup_elem(&blocks_chunks, &chunk);
	__u32 zero = 0;

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline struct block_bucket *block_bucket_at(char *chunk, __u32 bucket)
{
	bucket &= BLOCKS_BUCKETS - 1;
	block_hide(bucket);
	bucket &= BLOCKS_BUCKETS - 1;
	return (struct block_bucket *)(chunk + bucket * sizeof(struct block_bucket));
}

/*
 * Where a slot is, in one scalar (a global function can return no pointer):
 * distance from the home bucket << 16 | bucket << 3 | slot.
 */
#define BLOCK_POS(distance, bucket, slot)	((distance) << 16 | ((bucket) & (BLOCKS_BUCKETS - 1)) << 3 | (slot))

static __always_inline struct block_slot *block_slot_at(char *chunk, __u32 pos)
{
	__u32 slot = pos & 7;

	if (slot >= BLOCKS_SLOTS)
		return NULL;
	return (struct block_slot *)(chunk + (pos >> 3 & (BLOCKS_BUCKETS - 1)) * sizeof(struct block_bucket) +
				     __builtin_offsetof(struct block_bucket, slots) + slot * sizeof(struct block_slot));
}

/* The position of a key in a chunk, or -1. The home bucket is in the low bits of home. */
__noinline int blocks_find(__u32 chunk_index, __u32 home, __u64 addr, __u32 domain)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk)
		return -1;
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++) {
		struct block_bucket *b = block_bucket_at(chunk, home + distance);

#pragma unroll
		for (__u32 i = 0; i < BLOCKS_SLOTS; i++)
			if ((block_once(b->slots[i].addr) & ~BLOCK_BUSY) == addr &&
			    (block_once(b->slots[i].size_flags) & 0xff) == domain)
				return BLOCK_POS(distance, home + distance, i);
		if (!block_once(b->overflow))
			return -1;
	}
	return -1;
}

/* Gives a slot of ours back: addr to publish it, 0 to empty it. All writes before are seen before. */
static __always_inline void block_release(struct block_slot *s, __u64 addr)
{
#if defined(__TARGET_ARCH_x86)
	asm volatile("" ::: "memory");	/* stores are not reordered with stores */
	block_once(s->addr) = addr;
#else
	__sync_lock_test_and_set(&s->addr, addr);
#endif
}

/* Makes the slot ours. BLOCKS_DONE; BLOCKS_MOVED: the key is not there any more; BLOCKS_CONTENDED. */
static __always_inline int block_claim(struct block_slot *s, const struct block_op *op)
{
	for (int i = 0; i < BLOCKS_SPINS; i++) {
		__u64 seen = __sync_val_compare_and_swap(&s->addr, op->addr, op->addr | BLOCK_BUSY);

		if (seen == op->addr) {
			if ((s->size_flags & 0xff) == op->domain)
				return BLOCKS_DONE;
			block_release(s, op->addr);	/* it is the address in another domain by now */
			return BLOCKS_MOVED;
		}
		if (seen != (op->addr | BLOCK_BUSY))
			return BLOCKS_MOVED;
	}
	return BLOCKS_CONTENDED;
}

static __always_inline void block_write(struct block_slot *s, const struct block_op *op)
{
	__u64 seq = ((s->size_flags >> 8) + 1) & BLOCK_SEQ_MASK;
	__u64 size = op->size > BLOCK_SIZE_MAX ? BLOCK_SIZE_MAX : op->size;

	block_once(s->time_stack) = op->time << 24 | (op->stack & 0xffffff);
	asm volatile("" ::: "memory");
	block_once(s->size_flags) = size << 16 | seq << 8 | (op->domain & 0xff);
}

/* Overwrites the block at pos, if it still has our address. */
__noinline int blocks_replace(__u32 chunk_index, __u32 pos, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);
	struct block_slot *s;
	int r;

	if (!chunk || !op)
		return BLOCKS_ABSENT;
	s = block_slot_at(chunk, pos);
	if (!s)
		return BLOCKS_ABSENT;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	op->old_size_flags = s->size_flags;
	op->old_time_stack = s->time_stack;
	block_write(s, op);
	block_release(s, op->addr);
	return BLOCKS_REPLACED;
}

/* A new block into its chunk. */
__noinline int blocks_insert(__u32 chunk_index, __u32 home, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk || !op)
		return BLOCKS_FULL;
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++) {
		struct block_bucket *b = block_bucket_at(chunk, home + distance);

#pragma unroll
		for (__u32 i = 0; i < BLOCKS_SLOTS; i++) {
			struct block_slot *s = &b->slots[i];

			if (!block_once(s->addr) &&
			    !__sync_val_compare_and_swap(&s->addr, 0, op->addr | BLOCK_BUSY)) {
				block_write(s, op);
				block_release(s, op->addr);
				return BLOCKS_DONE;
			}
		}
		__sync_fetch_and_add(&b->overflow, 1);
	}
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++)
		__sync_fetch_and_add(&block_bucket_at(chunk, home + distance)->overflow, -1);
	return BLOCKS_FULL;
}

/* Takes back the overflow that a block has caused which lay at pos, so far from its home. */
static __always_inline void block_unflow(char *chunk, __u32 bucket, __u32 distance)
{
	for (__u32 i = 0; i < BLOCKS_PROBE_MAX; i++) {
		if (i >= distance)
			break;
		__sync_fetch_and_add(&block_bucket_at(chunk, bucket - distance + i)->overflow, -1);
	}
}

/* Empties the slot at pos; with `same` only if its words are those in op. The words go to op. */
__noinline int blocks_remove(__u32 chunk_index, __u32 pos, struct block_op *op, __u32 same)
{
	char *chunk = block_chunk_at(chunk_index);
	struct block_slot *s;
	__u32 distance = pos >> 16;
	int r;

	if (!chunk || !op)
		return BLOCKS_ABSENT;
	s = block_slot_at(chunk, pos);
	if (!s)
		return BLOCKS_ABSENT;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	if (same && (s->size_flags != op->old_size_flags || s->time_stack != op->old_time_stack)) {
		block_release(s, op->addr);
		return BLOCKS_ABSENT;
	}
	op->old_size_flags = s->size_flags;
	op->old_time_stack = s->time_stack;
	block_release(s, 0);
	block_unflow(chunk, pos >> 3, distance);
	return BLOCKS_DONE;
}

/* The words of the slot at pos into op. It is ours meanwhile: they are of one block. */
__noinline int blocks_read(__u32 chunk_index, __u32 pos, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);
	struct block_slot *s;
	int r;

	if (!chunk || !op)
		return BLOCKS_ABSENT;
	s = block_slot_at(chunk, pos);
	if (!s)
		return BLOCKS_ABSENT;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	op->old_size_flags = s->size_flags;
	op->old_time_stack = s->time_stack;
	block_release(s, op->addr);
	return BLOCKS_DONE;
}

/* What to do with the slot that has the key. */
enum blocks_action { BLOCKS_REPLACE, BLOCKS_REMOVE, BLOCKS_REMOVE_SAME, BLOCKS_READ };

static __always_inline int blocks_act(enum blocks_action action, __u32 chunk, __u32 pos, struct block_op *op)
{
	switch (action) {
	case BLOCKS_REPLACE:
		return blocks_replace(chunk, pos, op);
	case BLOCKS_READ:
		return blocks_read(chunk, pos, op);
	default:
		return blocks_remove(chunk, pos, op, action == BLOCKS_REMOVE_SAME);
	}
}

/*
 * Does something with the block at op->addr, wherever it is: oldest generation first, because blocks move
 * to newer ones. BLOCKS_ABSENT when there is none.
 */
static __always_inline int blocks_with(const struct blocks_index *index, __u64 hash, enum blocks_action action,
				       struct block_op *op)
{
	__u32 first = block_once(index->oldest);

	for (__u32 i = 0; i < BLOCKS_GENERATIONS_MAX; i++) {
		__u32 g = first + i, chunk;
		int pos, r;

		block_hide(g);
		if (g >= BLOCKS_GENERATIONS_MAX || g > block_once(index->generation))
			break;
		chunk = block_chunk(index, g, hash);
		pos = blocks_find(chunk, hash, op->addr, op->domain);
		if (pos < 0)
			continue;
		r = blocks_act(action, chunk, pos, op);
		if (r != BLOCKS_MOVED)
			return r;
	}
	return BLOCKS_ABSENT;
}

/* Inserts op's block. BLOCKS_DONE, BLOCKS_REPLACED, BLOCKS_FULL, BLOCKS_CONTENDED. */
static __always_inline int blocks_put(const struct blocks_index *index, struct block_op *op)
{
	__u32 newest = block_once(index->generation), closed = block_once(index->closed);
	__u64 hash = block_hash(op->addr);
	int r = blocks_with(index, hash, BLOCKS_REPLACE, op);

	if (r != BLOCKS_ABSENT)
		return r;
	for (__u32 i = 0; i < BLOCKS_GENERATIONS_MAX; i++) {
		__u32 g = newest - i;

		block_hide(g);
		if (g >= BLOCKS_GENERATIONS_MAX || g < closed)
			break;
		if (blocks_insert(block_chunk(index, g, hash), hash, op) == BLOCKS_DONE)
			return BLOCKS_DONE;
	}
	return BLOCKS_FULL;
}

/* Deletes the block at op->addr, with `same` only if its words are op's. BLOCKS_DONE, _ABSENT, _CONTENDED. */
static __always_inline int blocks_delete(const struct blocks_index *index, struct block_op *op, bool same)
{
	return blocks_with(index, block_hash(op->addr), same ? BLOCKS_REMOVE_SAME : BLOCKS_REMOVE, op);
}

/* The words of the block at op->addr into op. BLOCKS_DONE, BLOCKS_ABSENT, BLOCKS_CONTENDED. */
static __always_inline int blocks_get(const struct blocks_index *index, struct block_op *op)
{
	return blocks_with(index, block_hash(op->addr), BLOCKS_READ, op);
}

/*
 * Moves the block in one slot to generation g. BLOCKS_DONE; BLOCKS_ABSENT: there is none; BLOCKS_FULL: it stays.
 * The caller makes sure that the slot's generation is closed.
 */
__noinline int blocks_move(struct blocks_index *index, __u32 chunk_index, __u32 pos, __u32 g)
{
	char *chunk = block_chunk_at(chunk_index);
	struct block_op op = {};
	struct block_slot *s;
	__u64 hash;
	int r;

	if (!chunk || !index || g >= BLOCKS_GENERATIONS_MAX)
		return BLOCKS_ABSENT;
	s = block_slot_at(chunk, pos);
	if (!s)
		return BLOCKS_ABSENT;
	op.addr = block_once(s->addr);
	op.domain = block_once(s->size_flags) & 0xff;
	if (!op.addr || op.addr & BLOCK_BUSY)
		return BLOCKS_ABSENT;
	r = block_claim(s, &op);
	if (r != BLOCKS_DONE)
		return BLOCKS_ABSENT;
	op.size = s->size_flags >> 16;
	op.time = s->time_stack >> 24;
	op.stack = s->time_stack & 0xffffff;
	hash = block_hash(op.addr);
	r = blocks_insert(block_chunk(index, g, hash), hash, &op);
	if (r != BLOCKS_DONE) {
		block_release(s, op.addr);
		return BLOCKS_FULL;
	}
	block_release(s, 0);
	block_unflow(chunk, pos >> 3, ((pos >> 3) - hash) & (BLOCKS_BUCKETS - 1));
	return BLOCKS_DONE;
}

#endif
