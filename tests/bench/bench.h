/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks share: rounds, medians of paired ratios, results.
 *
 * Everything is interleaved: a round runs each variant once, in a new random order, so that what else the machine
 * does meets them all. A ratio is the median of the ratios of the rounds, never the ratio of two medians. Figures
 * are printed, not asserted: a missed bar is said, a benchmark that could not run is an error.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define ROUNDS_MAX 101

double now_ns(void);	/* CLOCK_MONOTONIC */
/* CPU time of this thread. What is measured on a busy machine is measured with it: waiting for a processor is noise. */
double cpu_ns(void);
/* BENCH_ROUNDS of the environment, else the benchmark's own number. */
int rounds_wanted(int usual);
/* 0 … n-1 in random order. */
void shuffle(int *order, int n);
double median(const double *values, int n);
/* Median of a[i] / b[i]. */
double median_ratio(const double *a, const double *b, int n);

enum bar { BAR_NONE, BAR_MAX, BAR_MIN };

/* The line `RESULT name value`, then the unit and the bar in words. */
void result(const char *name, double value, int digits, enum bar bar, double limit, const char *unit);

/* The benchmarks. 0 or a negative errno, printed. */
int bench_price(void);
int bench_leak_books(void);
int bench_leak_entry0(void);
int bench_fork_child(void);
int bench_leak_pair(void);
int bench_unwind(void);
/* books.insert, books.delete, leak.snapshot: those that are wanted, on one table. */
int bench_books(bool insert, bool delete, bool snapshot);
int bench_symbols(void);
int bench_mem_walk(void);
int bench_ports_churn(void);
int bench_ports_snapshot(void);
int bench_ports_lost(void);

#endif
