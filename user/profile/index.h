/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What profiles find equal things by: open addressing over hashes, the things themselves stand elsewhere. Nothing is ever
 * removed, so there are no tombstones. Inside the layer.
 */
#ifndef PROFILE_INDEX_H
#define PROFILE_INDEX_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define INDEX_SLOTS_MIN 256	/* a power of two */

/*
 * A slot: the upper 32 bits of the hash, and the number of the thing + 1 below; 0 = empty. Since it carries half of the
 * hash, most misses never touch the thing.
 */
struct index {
	uint64_t *slots;
	size_t size;	/* a power of two, or 0 */
	size_t cnt;
};

/* One step of a multiply-and-fold hash; the constant is that of splitmix64. */
static inline uint64_t index_hash(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 29;
}

static inline int index_grow(struct index *ix)
{
	size_t size = ix->size ? ix->size * 2 : INDEX_SLOTS_MIN;
	uint64_t *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < ix->size; i++) {
		/* the upper half of the hash says where it goes: size stays below 2^32 */
		size_t at = ix->slots[i] >> 32 & (size - 1);

		if (!ix->slots[i])
			continue;
		while (slots[at])
			at = (at + 1) & (size - 1);
		slots[at] = ix->slots[i];
	}
	free(ix->slots);
	ix->slots = slots;
	ix->size = size;
	return 0;
}

/* Makes room for one more, so that the slot found afterwards stays where it is. */
static inline int index_reserve(struct index *ix)
{
	return (ix->cnt + 1) * 3 > ix->size * 2 ? index_grow(ix) : 0;
}

static inline size_t index_first(const struct index *ix, uint64_t hash)
{
	return hash >> 32 & (ix->size - 1);
}

static inline size_t index_next(const struct index *ix, size_t at)
{
	return (at + 1) & (ix->size - 1);
}

static inline void index_set(struct index *ix, size_t at, uint64_t hash, size_t value)
{
	ix->slots[at] = (hash & 0xffffffff00000000ull) | (value + 1);
	ix->cnt++;
}

#endif
