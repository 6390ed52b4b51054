/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory for unwind rows in the kernel: chunks of one size that stand in an array of maps, so that it grows without
 * loading anything anew. Each piece of a file's rows lies in one chunk.
 */
#ifndef TRACE_CHUNKS_H
#define TRACE_CHUNKS_H

#include <stdint.h>

#include "abi.h"

struct chunks {
	int outer_fd;		/* borrowed */
	uint32_t max;		/* chunks that there may be */
	uint32_t cnt;
	uint32_t published;	/* of them in the outer map */
	int fds[UNWIND_CHUNKS_MAX];
	uint32_t used[UNWIND_CHUNKS_MAX];	/* words from the beginning */
	uint32_t pieces[UNWIND_CHUNKS_MAX];	/* that are there; a chunk without any is empty again */
};

void chunks_open(struct chunks *c, int outer_fd, uint64_t max_bytes);
void chunks_close(struct chunks *c);

/*
 * Copies a piece (words_cnt of at most UNWIND_CHUNK_WORDS) into a chunk. It has its place then, but the kernel sees it
 * only after chunks_publish(). -ENOSPC: max chunks are full. -ENOMEM and the kernel's errors.
 */
int chunks_add(struct chunks *c, const uint32_t *words, uint32_t words_cnt, uint32_t *ret_chunk, uint32_t *ret_word);
/* The word at which chunks_add() would put a piece of so many words. */
uint32_t chunks_room(const struct chunks *c, uint32_t words_cnt);
/* The kernel has forgotten all mappings of this piece. */
void chunks_remove(struct chunks *c, uint32_t chunk);
int chunks_publish(struct chunks *c);
uint64_t chunks_bytes(const struct chunks *c);	/* of kernel memory */

/*
 * Puts inner maps into an array of maps, the keys from `first` on. Every single update waits for an RCU grace period,
 * 10 ms on a busy machine, so they go in one batch; kernels before 5.15 have none, those before 6.8 wait for
 * each element all the same.
 */
int outer_map_publish(int outer_fd, const int *inner_fds, uint32_t first, uint32_t cnt);

#endif
