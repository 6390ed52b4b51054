/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wrappers that end in a jump to the allocator (sibling calls are optimised in this file only): the
 * return address on the stack is that of the wrapper's caller. See edges.c.
 */
#include <stdlib.h>

void *tail_malloc(size_t size);
void *tail_tail_malloc(size_t size);
void tail_free(void *p);

__attribute__((noinline)) void *tail_malloc(size_t size)
{
	return malloc(size);
}

__attribute__((noinline)) void *tail_tail_malloc(size_t size)
{
	return tail_malloc(size);
}

__attribute__((noinline)) void tail_free(void *p)
{
	free(p);
}
