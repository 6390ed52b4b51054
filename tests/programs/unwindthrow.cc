/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unwindthrow MODE: as unwindlab, for stacks that C++ exceptions make: `destructor` pauses while the stack is unwound,
 * `catch` in the handler, `new` below operator new through libstdc++.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <unistd.h>

extern "C" __attribute__((noinline, noclone)) void pause_here(void)
{
	static char line[16];

	printf("paused\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

struct guard {
	~guard() { pause_here(); }
};

__attribute__((noinline)) static void thrower(int n)
{
	if (n)
		thrower(n - 1);
	else
		throw 42;
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void guarded(int n)
{
	guard g;

	thrower(n);
}

static void handler() { pause_here(); throw std::bad_alloc(); }

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	char line[16];

	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	try {
		if (!strcmp(mode, "destructor")) {
			guarded(5);
		} else if (!strcmp(mode, "new")) {
			std::set_new_handler(handler);
			void *volatile p = operator new(~size_t(0) / 4);
			(void)p;
		} else {
			thrower(5);
		}
	} catch (...) {
		if (!strcmp(mode, "catch"))
			pause_here();
	}
	return 0;
}
