/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many different call stacks: the bits of a counter choose the way down through two functions, so that
 * every block has a stack of its own.
 *
 *	deep [STACKS [DEPTH [BATCH]]]	16,384 stacks, 14 deep; 2^DEPTH are possible; with BATCH it sleeps
 *					10 ms after so many, as a program that does something would
 *
 * Prints `ready PID`, starts at a line on standard input, prints `done STACKS BYTES` (32 each, from
 * deep_block), and holds everything until the next line.
 */
#include <stdlib.h>

#include "line.h"

__attribute__((noinline)) void *deep_block(void)
{
	void *p = malloc(32);

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

void *deep_left(unsigned long path, int depth);
void *deep_right(unsigned long path, int depth);

__attribute__((noinline)) void *deep_step(unsigned long path, int depth)
{
	void *p;

	if (!depth)
		p = deep_block();
	else if (path & 1)
		p = deep_left(path >> 1, depth - 1);
	else
		p = deep_right(path >> 1, depth - 1);
	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

__attribute__((noinline)) void *deep_left(unsigned long path, int depth)
{
	void *p = deep_step(path, depth);

	__asm__ volatile("nop" : "+r"(p) :: "memory");
	return p;
}

__attribute__((noinline)) void *deep_right(unsigned long path, int depth)
{
	void *p = deep_step(path, depth);

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

int main(int argc, char **argv)
{
	unsigned long stacks = argc > 1 ? strtoul(argv[1], NULL, 10) : 16384;
	int depth = argc > 2 ? atoi(argv[2]) : 14;
	unsigned long batch = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;

	line_say("ready %d", getpid());
	line_wait();
	for (unsigned long i = 0; i < stacks; i++) {
		if (!deep_step(i, depth))
			return 1;
		if (batch && i % batch == batch - 1)
			usleep(10000);
	}
	line_say("done %lu %lu", stacks, stacks * 32);
	line_wait();
	return 0;
}
