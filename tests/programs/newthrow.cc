// SPDX-License-Identifier: GPL-2.0-only
/*
 * C++ on top of malloc: operator new that throws, and blocks with known sums.
 *
 * Prints `ready PID`; then obeys, a line each, answering `ok COMMAND`:
 *
 *	throw N	N times new of a size that nobody has, each bad_alloc caught; `caught N`
 *	keep	hold_new: 100 ints by new, 100 arrays of 25 ints by new[]; 50 of each deleted:
 *		5,200 bytes in 100 blocks stay
 *	quit
 *
 * Exits with 0 only if every bad_alloc was caught.
 */
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

extern "C" {
#include "line.h"
}

static volatile size_t huge = PTRDIFF_MAX / 2;
static long wrong;
static int *kept[200];

__attribute__((noinline)) char *throw_new()
{
	char *p = new char[huge];

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

__attribute__((noinline)) bool catch_new()
{
	try {
		delete[] throw_new();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

/* The name to look for: operator new of the C++ library keeps no frame, so that the frame of the
 * function that calls it may be missing from a stack that was taken by frame pointers. */
__attribute__((noinline)) int *keep_new(bool array)
{
	int *p = array ? new int[25] : new int;

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

__attribute__((noinline)) void hold_new()
{
	for (int i = 0; i < 200; i++) {
		kept[i] = keep_new(i % 2);
		__asm__ volatile("" ::: "memory");
	}
	for (int i = 0; i < 100; i++) {
		if (i % 2)
			delete[] kept[i];
		else
			delete kept[i];
	}
}

int main()
{
	char cmd[64];

	line_say("ready %d", getpid());
	while (line_read(cmd, sizeof(cmd)) && strcmp(cmd, "quit")) {
		if (!strncmp(cmd, "throw ", 6)) {
			long n = atol(cmd + 6), caught = 0;

			for (long i = 0; i < n; i++)
				caught += catch_new();
			line_say("caught %ld", caught);
			wrong += n - caught;
		} else if (!strcmp(cmd, "keep")) {
			hold_new();
		}
		line_say("ok %s", cmd);
	}
	return wrong != 0;
}
