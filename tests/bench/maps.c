/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * maps COUNT MIB: a process with COUNT mappings of a page and MIB MiB in one mapping, in small pages. For each line `go` of its
 * input it maps and unmaps a page for a second and says how long that took: `mmap P50 P99 P99.9 MAX` in µs. The longest waits
 * are those for a lock of its mappings that somebody else holds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define SAMPLES_MAX 2000000

static uint32_t samples[SAMPLES_MAX];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static char *map(size_t bytes, int prot)
{
	char *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	return p;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(void)
{
	uint64_t begin = now_ns(), before = begin, after;
	size_t cnt = 0;

	while (before - begin < 1000000000 && cnt < SAMPLES_MAX) {
		munmap(map(PAGE, PROT_READ), PAGE);
		after = now_ns();
		samples[cnt++] = after - before;
		before = after;
	}
	qsort(samples, cnt, sizeof(*samples), compare);
	printf("mmap %.1f %.1f %.1f %.1f\n", samples[cnt / 2] / 1e3, samples[cnt * 99 / 100] / 1e3, samples[cnt * 999 / 1000] / 1e3,
	       samples[cnt - 1] / 1e3);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t cnt = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, bytes = argc > 2 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	char line[64], *p;

	for (size_t i = 0; i < cnt; i++) {
		p = map(PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE);
		if (!(i % 2))
			*p = 1;
	}
	if (bytes) {
		p = map(bytes, PROT_READ | PROT_WRITE);
		madvise(p, bytes, MADV_NOHUGEPAGE);
		memset(p, 1, bytes);
	}
	memset(samples, 1, sizeof(samples));
	printf("ready %d\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		measure();
	return 0;
}
