/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * glibc's arenas, found by their shape: no symbol and no version is needed, so it works on what is stripped or linked
 * statically. Inside the layer. All of it is after malloc/malloc.c and malloc/arena.c of glibc.
 *
 *	malloc_state   lock, flags │ fastbins, to 2.42 │ top │ last remainder │ bins: 127 × (fd, bk) │ binmap │ next │
 *	               next free │ threads │ system_mem │ max_system_mem
 *	               ◂──────────────── bins_off ────────────────▸
 *
 * The two words of an empty bin point at the place 16 bytes before them, as if there were a chunk. In a process that has
 * allocated anything most bins of the main arena, which is initialised data of its file, are empty; the arenas are a ring
 * through `next`. Others than the main one lie in heaps of their own, each aligned to its size:
 *
 *	heap   arena's address │ previous heap │ size │ size with rights …, padded to 0x20 or (2.35 on) 0x30 bytes │
 *	       malloc_state, in the first │ chunks … to size
 */
#ifndef TARGET_GLIBC_ARENA_H
#define TARGET_GLIBC_ARENA_H

#include "target/glibc_memory.h"

#define ARENA_BINS		127
#define ARENA_FASTBINS		10
#define ARENA_STATE_MAX		2200	/* bytes of the largest malloc_state */
#define ARENAS_MAX		65536
#define CHUNK_HEAD_BYTES	16	/* size of the chunk before, if free │ size and flags: of this one */
#define CHUNK_BYTES_MIN		32
#define CHUNK_PREV_INUSE	1ull
#define CHUNK_MMAPPED		2ull
#define CHUNK_OTHER_ARENA	4ull	/* not of the main one */
#define CHUNK_FLAGS		7ull

struct arena_range {
	uint64_t start, end;
};

/* Where to look. Sorted. */
struct heap_places {
	struct arena_range *data;	/* private, writable mappings of files */
	size_t data_cnt;
	struct arena_range *anon;	/* anonymous, readable and writable: where a main arena is that brk has no room for */
	size_t anon_cnt;
	struct arena_range brk;		/* [heap]; 0, 0: there is none */
};

struct arena_state {
	uint64_t addr, top, next, system_bytes;
	uint64_t fast[ARENA_FASTBINS];
	bool is_contiguous;		/* of a main one: brk has always had room, so that it ends where the sum of all says */
	unsigned char bytes[ARENA_STATE_MAX];	/* all of it, to see whether it changed */
	size_t bytes_cnt;
};

/* What one copy of glibc has: its ring, and what its layout turned out to be. */
struct arena_ring {
	uint64_t main_addr;
	unsigned int bins_off;
	uint64_t *addrs;		/* the main one first */
	size_t cnt;
	uint64_t heap_bytes;		/* largest size and alignment of a heap; 0: there is only the main arena */
	uint64_t sbrk_base_addr;	/* where the main one's memory began; 0: not found */
	bool has_mmapped;
	uint64_t mmapped_bytes, mmapped_cnt;
};

static inline uint64_t arena_state_bytes(const struct arena_ring *r)
{
	return r->bins_off + 16 * ARENA_BINS + 16 + 40;
}

/*
 * All rings, one for each copy of glibc that has allocated; *ret_cnt may be 0. swapped: how much of the data could not be
 * looked at. The caller frees with arena_rings_free().
 */
int arena_rings_find(struct heap_memory *m, const struct heap_places *places, struct arena_ring **ret, size_t *ret_cnt,
		     uint64_t *ret_swapped_bytes);
void arena_rings_free(struct arena_ring *rings, size_t cnt);

int arena_state_read(struct heap_memory *m, const struct arena_ring *r, uint64_t addr, struct arena_state *ret);

/* Whether the main arena's top lies in what brk gives. It may have grown since brk was looked at. */
bool arena_top_is_in_brk(const struct heap_places *places, const struct arena_state *s);
/* What malloc_par says: sbrk_base and the blocks with mappings of their own. It stands in the same data as the main arena. */
int arena_params_find(struct heap_memory *m, const struct heap_places *places, struct arena_ring *r);

/* Whether 64 chunks of the main arena follow on each other from addr on, or as many as there are up to top. */
bool arena_is_chain(struct heap_memory *m, uint64_t addr, uint64_t top);

struct arena_heap {
	uint64_t addr, prev_addr, bytes;
	uint64_t first_chunk_addr;
};
/* The heap of this arena that addr lies in. -EBADMSG: there is none. */
int arena_heap_read(struct heap_memory *m, const struct arena_ring *r, uint64_t arena_addr, uint64_t addr,
		    struct arena_heap *ret);

/*
 * The chunks in its fastbins, sorted; at most max of them are kept. *ret_sound: the lists were what they should be, none was
 * cut and no chunk was there twice. The caller frees.
 */
int arena_fast_read(struct heap_memory *m, const struct arena_state *s, size_t max, uint64_t **ret, size_t *ret_cnt,
		    bool *ret_sound);

/*
 * The word at pos as a link to a chunk or block: stored as it is (to 2.31), or XORed with its own page's number. 0: the end;
 * 1: neither of both leads anywhere.
 */
uint64_t arena_link(uint64_t pos, uint64_t word);

#endif
