/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The clock of the books: the kernel's jiffies, which cost a program almost nothing to read, and what they
 * are in nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef SOURCE_TICKS_H
#define SOURCE_TICKS_H

#include <stdint.h>

#include "abi.h"

struct ticks {
	int prog_fd;			/* of the program that reads the clocks, e.g. leak_clock; borrowed */
	const struct clock_state *clock;	/* where it writes; borrowed */
	uint64_t hz;			/* CONFIG_HZ of this kernel */
};

/* Measures HZ, which takes about 50 ms. */
int ticks_open(struct ticks *t, int prog_fd, const struct clock_state *clock);

/* The jiffies at the moment ns of CLOCK_MONOTONIC, which lies in the past. */
int ticks_at(const struct ticks *t, uint64_t ns, uint64_t *ret_jiffies);

/* The jiffies so many nanoseconds ago. */
int ticks_ago(const struct ticks *t, uint64_t ago_ns, uint64_t *ret_jiffies);

#endif
