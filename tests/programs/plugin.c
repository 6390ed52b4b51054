/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A library that takes memory: built more than once, as NAME with frames of FRAME_BYTES, so that one may stand where another
 * stood, with other functions and other rules for unwinding at the same addresses.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

void **plugin_take(void **list);
void plugin_drop(void **block);

/* A block in front of a list of blocks. */
__attribute__((noinline)) void **JOIN(NAME, _inner)(void **list)
{
	volatile char frame[FRAME_BYTES];
	void **block = malloc(BLOCK_BYTES);

	memset((void *)frame, 1, sizeof(frame));
	if (block)
		*block = list;
	return block + (frame[0] == 2);
}

void **plugin_take(void **list)
{
	volatile char frame[FRAME_BYTES / 2];
	void **block = JOIN(NAME, _inner)(list);

	frame[0] = 1;
	return block + (frame[0] == 2);
}

/* A pair, for who looks for one: nobody calls it. */
void plugin_drop(void **block)
{
	free(block);
}
