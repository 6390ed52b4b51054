/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What threads have freed and keep for themselves: to the arenas it is in use. Inside the layer.
 *
 * A thread's cache is a block of the heap like others. It is known by its size and by what is in it: lists of blocks, in which
 * each has the size of its list and the same key, as many as the cache says.
 */
#ifndef TARGET_GLIBC_TCACHE_H
#define TARGET_GLIBC_TCACHE_H

#include "target/glibc_memory.h"

#define CACHE_BYTES_MAX	0x300	/* of the chunk */

/* Whether a chunk of this size can hold a cache. */
bool tcache_is_size(uint64_t chunk_bytes);
/* Whether what it holds looks like one that is not empty; user: all of it behind the chunk's head. */
bool tcache_is_likely(uint64_t chunk_bytes, const unsigned char *user);

/*
 * Calls fn for each chunk in the cache that chunk_addr holds, with the word that has its size and flags. *ret_sound: false when
 * a list was not what it should be; nothing of that list is told. Negative errno: gives up.
 */
int tcache_each(struct heap_memory *m, uint64_t chunk_addr, uint64_t chunk_bytes,
		void (*fn)(void *ctx, uint64_t chunk_addr, uint64_t head), void *ctx, bool *ret_sound);

#endif
