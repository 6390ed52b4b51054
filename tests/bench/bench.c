/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bench NAME…: the benchmarks that drive the kernel's side directly. tests/bench/run calls it, and does those
 * that run a whole ebb itself.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define TIMEOUT_S	300	/* of one benchmark; the longest takes 120 s where a trap is cheap */

static void on_alarm(int sig)
{
	static const char words[] = "bench: timed out\n";

	(void)sig;
	if (write(STDERR_FILENO, words, sizeof(words) - 1) >= 0)
		_exit(124);
	_exit(125);
}

static int run(const char *name)
{
	if (!strcmp(name, "price"))
		return bench_price();
	if (!strcmp(name, "leak.books"))
		return bench_leak_books();
	if (!strcmp(name, "leak.entry0"))
		return bench_leak_entry0();
	if (!strcmp(name, "fork.child"))
		return bench_fork_child();
	if (!strcmp(name, "leak.pair"))
		return bench_leak_pair();
	if (!strcmp(name, "unwind.frames22"))
		return bench_unwind();
	if (!strcmp(name, "books.insert"))
		return bench_books(true, false, false);
	if (!strcmp(name, "books.delete"))
		return bench_books(false, true, false);
	if (!strcmp(name, "leak.snapshot"))
		return bench_books(false, false, true);
	if (!strcmp(name, "books"))	/* the last three in one go */
		return bench_books(true, true, true);
	if (!strcmp(name, "symbols.node"))
		return bench_symbols();
	if (!strcmp(name, "mem.walk"))
		return bench_mem_walk();
	if (!strcmp(name, "ports.churn"))
		return bench_ports_churn();
	if (!strcmp(name, "ports.snapshot"))
		return bench_ports_snapshot();
	if (!strcmp(name, "ports.lost"))
		return bench_ports_lost();
	fprintf(stderr, "bench: there is no benchmark '%s'\n", name);
	return -1;
}

int main(int argc, char **argv)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom(time(NULL));
	signal(SIGALRM, on_alarm);
	for (int i = 1; i < argc; i++) {
		alarm(TIMEOUT_S);
		failed |= run(argv[i]) != 0;
	}
	return failed;
}
