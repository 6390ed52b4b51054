/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

int rounds_wanted(int usual)
{
	const char *text = getenv("BENCH_ROUNDS");
	int n = text ? atoi(text) : 0;

	if (n <= 0)
		n = usual;
	return n > ROUNDS_MAX ? ROUNDS_MAX : n;
}

void shuffle(int *order, int n)
{
	for (int i = 0; i < n; i++)
		order[i] = i;
	for (int i = n - 1; i > 0; i--) {
		int j = random() % (i + 1), was = order[i];

		order[i] = order[j];
		order[j] = was;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(const double *values, int n)
{
	double sorted[ROUNDS_MAX];

	if (n <= 0)
		return 0;
	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double median_ratio(const double *a, const double *b, int n)
{
	double ratios[ROUNDS_MAX];

	for (int i = 0; i < n; i++)
		ratios[i] = b[i] > 0 ? a[i] / b[i] : 0;
	return median(ratios, n);
}

void result(const char *name, double value, int digits, enum bar bar, double limit, const char *unit)
{
	bool pass = bar == BAR_MAX ? value <= limit : value >= limit;

	if (bar == BAR_NONE)
		printf("RESULT %s %.*f%s%s (no bar: measured)\n", name, digits, value, *unit ? " " : "", unit);
	else
		printf("RESULT %s %.*f%s%s (bar %s %g: %s)\n", name, digits, value, *unit ? " " : "", unit,
		       bar == BAR_MAX ? "at most" : "at least", limit, pass ? "PASS" : "MISS");
	fflush(stdout);
}
