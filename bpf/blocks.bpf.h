/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of live blocks: open addressing in chunks of one array value each, because plain loads and stores
 * are cheaper than the kernel's hash map (measured: tests/bench, books.*).
 *
 *	hash(addr):  high 32 bits choose the chunk, low 13 bits the bucket in it
 *	generation g owns chunks [n(g-1), n(g)):  n = 1, 4, 16, … and so chunks 0 │ 1-3 │ 4-15 │ 16-63 │ …
 *	a search     looks at the bucket and goes on to the next while `overflow` says that keys went further:
 *	             no tombstones
 *
 * When the table grows nothing stops and nothing is rehashed in a hurry: a new block goes to the newest
 * generation that has room for it, and a search looks into all that are in use, from the oldest on. User space
 * then has the older ones emptied into the newest, block by block (blocks_move), and a search has one place to
 * look at again: at 1 M blocks an insert that searches four generations takes 373 ns, with one 110.
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
	__u32 pos;		/* where it was found; see BLOCK_POS */
	__u32 moves;		/* insert: the words in old as they are, not a new block */
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
	const __u32 *ends = &index->none + g;	/* of the generation before g, and of g */
	__u32 first = block_once(ends[0]);

	return first + ((hash >> 32) * (block_once(ends[1]) - first) >> 32);
}

static __always_inline char *block_chunk_at(__u32 chunk)
{
	void *inner = bpf_map_lookup_elem(&blocks_chunks, &chunk);
	__u32 zero = 0;

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline struct block_bucket *block_bucket_at(char *chunk, __u32 bucket)
{
	return (struct block_bucket *)(chunk + (bucket & (BLOCKS_BUCKETS - 1)) * sizeof(struct block_bucket));
}

/*
 * Where a slot is, in one scalar:
 * distance from the home bucket << 16 | bucket << 3 | slot.
 */
#define BLOCK_POS(distance, bucket, slot)	((distance) << 16 | ((bucket) & (BLOCKS_BUCKETS - 1)) << 3 | (slot))

/* One slot: a bucket and an index that the verifier believes. b is NULL when pos is none. */
struct block_ref {
	struct block_bucket *b;
	__u32 i;
};

static __always_inline struct block_ref block_at(char *chunk, __u32 pos)
{
	struct block_ref s = { .i = pos & 7 };

	block_hide(s.i);
	if (s.i < BLOCKS_SLOTS)
		s.b = block_bucket_at(chunk, pos >> 3);
	return s;
}

/*
 * Looks for op's key in a chunk; true when it is there, op->pos says where. The position goes through memory
 * on purpose: a constant for each of the 80 places would make the verifier walk what follows 80 times (6.18).
 */
static __always_inline bool block_find(char *chunk, __u32 home, struct block_op *op)
{
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++) {
		struct block_bucket *b = block_bucket_at(chunk, home + distance);

#pragma unroll
		for (__u32 i = 0; i < BLOCKS_SLOTS; i++)
			if ((block_once(b->addrs[i]) & ~BLOCK_BUSY) == op->addr &&
			    (block_once(b->words[i].size_flags) & 0xff) == op->domain) {
				block_once(op->pos) = BLOCK_POS(distance, home + distance, i);
				return true;
			}
		if (!block_once(b->overflow))
			break;
	}
	return false;
}

/* Gives a slot of ours back: addr to publish it, 0 to empty it. All writes before are seen before. */
static __always_inline void block_release(struct block_ref s, __u64 addr)
{
#if defined(__TARGET_ARCH_x86)
	asm volatile("" ::: "memory");	/* stores are not reordered with stores */
	block_once(s.b->addrs[s.i]) = addr;
#else
	__sync_lock_test_and_set(&s.b->addrs[s.i], addr);
#endif
}

/* Makes the slot ours. BLOCKS_DONE; BLOCKS_MOVED: the key is not there any more; BLOCKS_CONTENDED. */
static __always_inline int block_claim(struct block_ref s, const struct block_op *op)
{
	for (int i = 0; i < BLOCKS_SPINS; i++) {
		__u64 seen = __sync_val_compare_and_swap(&s.b->addrs[s.i], op->addr, op->addr | BLOCK_BUSY);

		if (seen == op->addr) {
			if ((s.b->words[s.i].size_flags & 0xff) == op->domain)
				return BLOCKS_DONE;
			block_release(s, op->addr);	/* it is the address in another domain by now */
			return BLOCKS_MOVED;
		}
		if (seen != (op->addr | BLOCK_BUSY))
			return BLOCKS_MOVED;
	}
	return BLOCKS_CONTENDED;
}

static __always_inline void block_write(struct block_ref s, const struct block_op *op)
{
	__u64 seq = ((s.b->words[s.i].size_flags >> 8) + 1) & BLOCK_SEQ_MASK;
	__u64 size = op->size > BLOCK_SIZE_MAX ? BLOCK_SIZE_MAX : op->size;
	__u64 time_stack = op->time << 24 | (op->stack & 0xffffff);
	__u64 size_flags = size << 16 | seq << 8 | (op->domain & 0xff);

	/* a realloc under way knows the block by all its words, the sequence too */
	block_once(s.b->words[s.i].time_stack) = op->moves ? op->old_time_stack : time_stack;
	asm volatile("" ::: "memory");
	block_once(s.b->words[s.i].size_flags) = op->moves ? op->old_size_flags : size_flags;
}

/* What stands in a slot of ours, into op. */
static __always_inline void block_take(struct block_ref s, struct block_op *op)
{
	op->old_size_flags = s.b->words[s.i].size_flags;
	op->old_time_stack = s.b->words[s.i].time_stack;
}

/* Overwrites the block at pos, if it still has our address. */
static __always_inline int block_replace_at(char *chunk, __u32 pos, struct block_op *op)
{
	struct block_ref s = block_at(chunk, pos);
	int r;

	if (!s.b)
		return BLOCKS_MOVED;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	block_take(s, op);
	block_write(s, op);
	block_release(s, op->addr);
	return BLOCKS_REPLACED;
}

/* A new block into a bucket; false when that is full. */
static __always_inline bool block_insert_bucket(struct block_bucket *b, const struct block_op *op)
{
#pragma unroll
	for (__u32 i = 0; i < BLOCKS_SLOTS; i++) {
		struct block_ref s = { .b = b, .i = i };

		if (block_once(b->addrs[i]) || __sync_val_compare_and_swap(&b->addrs[i], 0, op->addr | BLOCK_BUSY))
			continue;
		block_write(s, op);
		block_release(s, op->addr);
		return true;
	}
	return false;
}

static __always_inline int block_insert(char *chunk, __u32 home, const struct block_op *op)
{
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++) {
		struct block_bucket *b = block_bucket_at(chunk, home + distance);

		if (block_insert_bucket(b, op))
			return BLOCKS_DONE;
		__sync_fetch_and_add(&b->overflow, 1);
	}
	for (__u32 distance = 0; distance < BLOCKS_PROBE_MAX; distance++)
		__sync_fetch_and_add(&block_bucket_at(chunk, home + distance)->overflow, -1);
	return BLOCKS_FULL;
}

/* A new block into its chunk. BLOCKS_DONE, BLOCKS_FULL. */
__noinline int blocks_insert(__u32 chunk_index, __u32 home, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);

	return chunk && op ? block_insert(chunk, home, op) : BLOCKS_FULL;
}

/* Over the block with the same key in its chunk, or BLOCKS_MOVED: it is not there. */
__noinline int blocks_replace(__u32 chunk_index, __u32 home, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk || !op || !block_find(chunk, home, op))
		return BLOCKS_MOVED;
	return block_replace_at(chunk, block_once(op->pos), op);
}

/* Both in one: what almost every birth does. */
__noinline int blocks_upsert(__u32 chunk_index, __u32 home, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk || !op)
		return BLOCKS_FULL;
	if (block_find(chunk, home, op)) {
		int r = block_replace_at(chunk, block_once(op->pos), op);

		if (r != BLOCKS_MOVED)
			return r;
	}
	return block_insert(chunk, home, op);
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
static __always_inline int block_remove_at(char *chunk, __u32 pos, struct block_op *op, __u32 same)
{
	struct block_ref s = block_at(chunk, pos);
	int r;

	if (!s.b)
		return BLOCKS_MOVED;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	if (same && (s.b->words[s.i].size_flags != op->old_size_flags ||
		     s.b->words[s.i].time_stack != op->old_time_stack)) {
		block_release(s, op->addr);
		return BLOCKS_ABSENT;
	}
	block_take(s, op);
	block_release(s, 0);
	block_unflow(chunk, pos >> 3, pos >> 16);
	return BLOCKS_DONE;
}

/* The block with op's key out of its chunk; BLOCKS_MOVED: it is not there. */
__noinline int blocks_remove(__u32 chunk_index, __u32 home, struct block_op *op, __u32 same)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk || !op || !block_find(chunk, home, op))
		return BLOCKS_MOVED;
	return block_remove_at(chunk, block_once(op->pos), op, same);
}

/* The words of the slot at pos into op. It is ours meanwhile: they are of one block. */
static __always_inline int block_read_at(char *chunk, __u32 pos, struct block_op *op)
{
	struct block_ref s = block_at(chunk, pos);
	int r;

	if (!s.b)
		return BLOCKS_MOVED;
	r = block_claim(s, op);
	if (r != BLOCKS_DONE)
		return r;
	block_take(s, op);
	block_release(s, op->addr);
	return BLOCKS_DONE;
}

/* The words of the block with op's key; BLOCKS_MOVED: it is not in this chunk. */
__noinline int blocks_read(__u32 chunk_index, __u32 home, struct block_op *op)
{
	char *chunk = block_chunk_at(chunk_index);

	if (!chunk || !op || !block_find(chunk, home, op))
		return BLOCKS_MOVED;
	return block_read_at(chunk, block_once(op->pos), op);
}

enum blocks_action { BLOCKS_REPLACE, BLOCKS_REMOVE, BLOCKS_REMOVE_SAME, BLOCKS_READ };

static __always_inline int blocks_act(enum blocks_action action, __u32 chunk, __u32 home, struct block_op *op)
{
	switch (action) {
	case BLOCKS_REPLACE:
		return blocks_replace(chunk, home, op);
	case BLOCKS_READ:
		return blocks_read(chunk, home, op);
	default:
		return blocks_remove(chunk, home, op, action == BLOCKS_REMOVE_SAME);
	}
}

/*
 * Does something with the block at op->addr in the generations before `end`, the oldest first, because blocks
 * move to newer ones. BLOCKS_MOVED when it is in none.
 */
static __always_inline int blocks_with(const struct blocks_index *index, __u64 hash, __u32 end,
				       enum blocks_action action, struct block_op *op)
{
	__u32 first = block_once(index->oldest);

	for (__u32 i = 0; i < BLOCKS_GENERATIONS_MAX; i++) {
		__u32 g = first + i;
		int r;

		block_hide(g);
		/* read anew: the block may be moved to a generation that was not there when we began */
		if (g >= BLOCKS_GENERATIONS_MAX || g >= end || g > block_once(index->generation))
			break;
		r = blocks_act(action, block_chunk(index, g, hash), hash, op);
		if (r != BLOCKS_MOVED)
			return r;
	}
	return BLOCKS_MOVED;
}

/* The same in all generations. BLOCKS_ABSENT when there is no such block. */
static __always_inline int blocks_with_all(const struct blocks_index *index, enum blocks_action action,
					   struct block_op *op)
{
	int r = blocks_with(index, block_hash(op->addr), BLOCKS_GENERATIONS_MAX, action, op);

	return r == BLOCKS_MOVED ? BLOCKS_ABSENT : r;
}

/* What its home bucket tells of an address. */
enum block_where {
	BLOCK_HERE,		/* in this slot of it, in op's domain or another */
	BLOCK_NOWHERE,
	BLOCK_ANYWHERE,		/* nothing without a search */
};

/*
 * The short way. Nearly always one generation is in use, and a block lies in its home bucket there or is known
 * from that bucket to be nowhere. So put and delete look there first, in some dozens of instructions without a
 * call, and leave all else to the search. With it an insert at 1 M blocks takes 110 ns instead of 195, a delete
 * 105 instead of 205 (tests/bench, books.*).
 */
static __always_inline enum block_where block_look(const struct blocks_index *index, __u64 hash, __u64 addr,
						   struct block_ref *ret)
{
	__u32 newest = block_once(index->generation), g = newest;
	__u64 seen = 0, words;
	char *chunk;

	block_hide(g);
	if (newest != block_once(index->oldest) || g >= BLOCKS_GENERATIONS_MAX)
		return BLOCK_ANYWHERE;
	chunk = block_chunk_at(block_chunk(index, g, hash));
	if (!chunk)
		return BLOCK_ANYWHERE;
	ret->b = block_bucket_at(chunk, hash);
	/* the line with the words comes while we look at the one with the addresses, not after */
	words = block_once(ret->b->words[BLOCKS_SLOTS - 1].size_flags);
	block_hide(words);
#pragma unroll
	for (__u32 i = 0; i < BLOCKS_SLOTS; i++) {
		__u64 other = block_once(ret->b->addrs[i]);

		if (other == addr) {
			ret->i = i;
			return BLOCK_HERE;
		}
		seen |= other;
	}
	/* A slot in another's hands may be this address. After a flip it may have been moved before we looked. */
	if (block_once(ret->b->overflow) || seen & BLOCK_BUSY || block_once(index->generation) != newest)
		return BLOCK_ANYWHERE;
	return BLOCK_NOWHERE;
}

/* Empties a slot of the home bucket, if it still is the block's; false: nothing was done. */
static __always_inline bool block_remove_home(struct block_ref s, struct block_op *op)
{
	if (__sync_val_compare_and_swap(&s.b->addrs[s.i], op->addr, op->addr | BLOCK_BUSY) != op->addr)
		return false;
	block_take(s, op);
	if ((op->old_size_flags & 0xff) != op->domain) {
		block_release(s, op->addr);
		return false;
	}
	block_release(s, 0);
	return true;
}

/* Inserts op's block. BLOCKS_DONE, BLOCKS_REPLACED, BLOCKS_FULL, BLOCKS_CONTENDED. */
static __always_inline int blocks_put(const struct blocks_index *index, struct block_op *op)
{
	__u64 hash = block_hash(op->addr);
	struct block_ref home = {};
	__u32 newest, closed;
	int r;

	if (block_look(index, hash, op->addr, &home) == BLOCK_NOWHERE && home.b && block_insert_bucket(home.b, op))
		return BLOCKS_DONE;
	newest = block_once(index->generation);
	closed = block_once(index->closed);
	r = blocks_with(index, hash, newest, BLOCKS_REPLACE, op);
	if (r != BLOCKS_MOVED)
		return r;
	block_hide(newest);
	if (newest >= BLOCKS_GENERATIONS_MAX)
		return BLOCKS_FULL;
	r = blocks_upsert(block_chunk(index, newest, hash), hash, op);
	for (__u32 i = 1; r == BLOCKS_FULL && i < BLOCKS_GENERATIONS_MAX; i++) {
		__u32 g = newest - i;

		block_hide(g);
		if (g >= BLOCKS_GENERATIONS_MAX || g < closed)
			break;
		r = blocks_insert(block_chunk(index, g, hash), hash, op);
	}
	return r;
}

/* Deletes the block at op->addr, with `same` only if its words are op's. BLOCKS_DONE, _ABSENT, _CONTENDED. */
static __always_inline int blocks_delete(const struct blocks_index *index, struct block_op *op, bool same)
{
	struct block_ref home = {};

	switch (block_look(index, block_hash(op->addr), op->addr, &home)) {
	case BLOCK_NOWHERE:
		return BLOCKS_ABSENT;
	case BLOCK_HERE:
		if (!same && home.b && block_remove_home(home, op))
			return BLOCKS_DONE;
		break;
	default:
		break;
	}
	return blocks_with_all(index, same ? BLOCKS_REMOVE_SAME : BLOCKS_REMOVE, op);
}

/* The words of the block at op->addr into op. BLOCKS_DONE, BLOCKS_ABSENT, BLOCKS_CONTENDED. */
static __always_inline int blocks_get(const struct blocks_index *index, struct block_op *op)
{
	struct block_ref home = {};

	if (block_look(index, block_hash(op->addr), op->addr, &home) == BLOCK_NOWHERE)
		return BLOCKS_ABSENT;
	return blocks_with_all(index, BLOCKS_READ, op);
}

/*
 * Moves the block in one slot to generation g. BLOCKS_DONE; BLOCKS_ABSENT: there is none; it stays for now:
 * BLOCKS_FULL, BLOCKS_CONTENDED.
 * The caller makes sure that the slot's generation is closed.
 */
__noinline int blocks_move(struct blocks_index *index, __u32 chunk_index, __u32 pos, __u32 g)
{
	char *chunk = block_chunk_at(chunk_index);
	struct block_op op = {};
	struct block_ref s;
	__u64 hash;

	if (!chunk || !index || g >= BLOCKS_GENERATIONS_MAX)
		return BLOCKS_ABSENT;
	s = block_at(chunk, pos);
	if (!s.b)
		return BLOCKS_ABSENT;
	op.addr = block_once(s.b->addrs[s.i]);
	op.domain = block_once(s.b->words[s.i].size_flags) & 0xff;
	if (!op.addr)
		return BLOCKS_ABSENT;
	if (op.addr & BLOCK_BUSY || block_claim(s, &op) != BLOCKS_DONE)
		return BLOCKS_CONTENDED;
	block_take(s, &op);
	op.moves = 1;
	hash = block_hash(op.addr);
	/* once more, where it is used: Linux 6.1 has forgotten the bound that it had at the beginning */
	block_hide(g);
	if (g >= BLOCKS_GENERATIONS_MAX || blocks_insert(block_chunk(index, g, hash), hash, &op) != BLOCKS_DONE) {
		block_release(s, op.addr);
		return BLOCKS_FULL;
	}
	block_release(s, 0);
	block_unflow(chunk, pos >> 3, ((pos >> 3) - hash) & (BLOCKS_BUCKETS - 1));
	return BLOCKS_DONE;
}

#endif
