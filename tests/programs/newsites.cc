// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every form of operator new from a function of its own, and every form of delete.
 *
 * Prints `ready PID`; then obeys, a line each, answering `ok COMMAND`:
 *
 *	hold		each site holds what HELD_CNT calls give; prints `SITE BYTES BLOCKS` for each
 *	churn N		N times each form of new and each form of delete: nothing stays
 *	throw N		N times new of a size that nobody has, each bad_alloc caught; `caught N`
 *	quit
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

extern "C" {
#include "line.h"
}

#define HELD_CNT 700
#define KEEP(p) __asm__ volatile("" : "+r"(p) :: "memory")

static volatile size_t huge = PTRDIFF_MAX / 2;
static const std::align_val_t align{ 128 };

#define SITE(name, call) __attribute__((noinline)) static void *name(size_t n) { void *p = call; KEEP(p); return p; }
SITE(site_new, operator new(n))
SITE(site_array, operator new[](n))
SITE(site_nothrow, operator new(n, std::nothrow))
SITE(site_array_nothrow, operator new[](n, std::nothrow))
SITE(site_aligned, operator new(n, align))
SITE(site_array_aligned, operator new[](n, align))
SITE(site_aligned_nothrow, operator new(n, align, std::nothrow))
SITE(site_array_aligned_nothrow, operator new[](n, align, std::nothrow))

static const struct {
	const char *name;
	void *(*make)(size_t);
	size_t bytes;
} sites[] = {
	{ "site_new", site_new, 40 },
	{ "site_array", site_array, 136 },
	{ "site_nothrow", site_nothrow, 1000 },
	{ "site_array_nothrow", site_array_nothrow, 24 },
	{ "site_aligned", site_aligned, 256 },
	{ "site_array_aligned", site_array_aligned, 384 },
	{ "site_aligned_nothrow", site_aligned_nothrow, 128 },
	{ "site_array_aligned_nothrow", site_array_aligned_nothrow, 640 },
};

static void hold()
{
	for (const auto &s : sites) {
		for (int i = 0; i < HELD_CNT; i++)
			s.make(s.bytes);
		line_say("%s %zu %d", s.name, s.bytes * HELD_CNT, HELD_CNT);
	}
}

__attribute__((noinline)) static void churn()
{
	operator delete(site_new(48));
	operator delete(site_new(48), (size_t)48);
	operator delete(site_nothrow(48), std::nothrow);
	operator delete[](site_array(48));
	operator delete[](site_array(48), (size_t)48);
	operator delete[](site_array_nothrow(48), std::nothrow);
	operator delete(site_aligned(256), align);
	operator delete(site_aligned(256), (size_t)256, align);
	operator delete(site_aligned_nothrow(256), align, std::nothrow);
	operator delete[](site_array_aligned(256), align);
	operator delete[](site_array_aligned(256), (size_t)256, align);
	operator delete[](site_array_aligned_nothrow(256), align, std::nothrow);
}

/* At all depths of the stack that a call of the sites may have, so that a call that never came back could be taken for one. */
__attribute__((noinline)) static bool catch_one()
{
	try {
		free(site_new(huge));
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

int main()
{
	char cmd[64];

	line_say("ready %d", getpid());
	while (line_read(cmd, sizeof(cmd)) && strcmp(cmd, "quit")) {
		if (!strcmp(cmd, "hold")) {
			hold();
		} else if (!strncmp(cmd, "churn ", 6)) {
			for (long n = atol(cmd + 6); n > 0; n--)
				churn();
		} else if (!strncmp(cmd, "throw ", 6)) {
			long n = atol(cmd + 6), caught = 0;

			for (long i = 0; i < n; i++)
				caught += catch_one();
			line_say("caught %ld", caught);
		}
		line_say("ok %s", cmd);
	}
	return 0;
}
