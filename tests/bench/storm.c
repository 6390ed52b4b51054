/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks of faults watch: storms of first touches in anonymous memory, at a stack of five frames (_start,
 * __libc_start_main, __libc_start_call_main, main, storm).
 *
 *	STORMS PAGES	on standard input; answers with ns of CPU time a fault, the median of the storms
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "line.h"

#define STORMS_MAX	1000
#define PAGE		4096l

static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

__attribute__((noinline)) static double storm(long pages)
{
	volatile char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double ns;

	if (p == MAP_FAILED)
		_exit(1);
	madvise((void *)p, pages * PAGE, MADV_NOHUGEPAGE);
	ns = cpu_ns();
	for (long i = 0; i < pages; i++)
		p[i * PAGE] = 1;
	ns = cpu_ns() - ns;
	munmap((void *)p, pages * PAGE);
	return ns / pages;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static double ns[STORMS_MAX];
	char line[64];
	long storms, pages;

	line_say("ready");
	while (line_read(line, sizeof(line))) {
		if (sscanf(line, "%ld %ld", &storms, &pages) != 2 || storms < 1 || storms > STORMS_MAX)
			return 1;
		for (long i = 0; i < storms; i++)
			ns[i] = storm(pages);
		qsort(ns, storms, sizeof(ns[0]), compare);
		line_say("%.1f", ns[storms / 2]);
	}
	return 0;
}
