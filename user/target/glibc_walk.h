/* SPDX-License-Identifier: GPL-2.0-only */
/* The walk itself, on memory that may be anything: see glibc_heap.h for what a target is asked. Inside the layer. */
#ifndef TARGET_GLIBC_WALK_H
#define TARGET_GLIBC_WALK_H

#include "target/glibc_arena.h"
#include "target/glibc_heap.h"

/* 0, also when there is no heap that can be walked; -ESRCH, -ENOMEM, -EACCES, -EPERM. */
int heap_walk_memory(struct heap_memory *m, const struct heap_places *places, struct heap_walk *ret);

/* The numbers of an arena that can be added up: offsets in struct heap_arena. */
#define HEAP_ARENA_SUMS	18
extern const size_t heap_arena_sums[HEAP_ARENA_SUMS];
static inline uint64_t *heap_arena_sum(struct heap_arena *a, size_t i)
{
	return (uint64_t *)((char *)a + heap_arena_sums[i]);
}

#endif
