/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ebb costs its target, and the brake.
 *
 * Cost = traps x (the price of a trap on this machine + the run of a program), over the CPU time of the target (which contains
 * them), in the last 5 seconds. Pure: the session feeds it.
 */
#ifndef CMD_METER_H
#define CMD_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "source/source.h"
#include "trace/selftest.h"

#define METER_WINDOW_NS		5000000000ull
#define METER_SAMPLES		16	/* of a second or more: covers the window */
#define METER_WARN_PERCENT	10.0
#define METER_BRAKE_MIN_PERCENT	5.0	/* of one core: below, nobody is harmed whatever the ratio */

struct meter_sample {
	uint64_t time_ns;
	uint64_t target_cpu_ns;
	struct source_traps traps;
};

struct meter {
	struct trap_price price;
	double program_ns;		/* of one run; set it when it is known */
	struct meter_sample samples[METER_SAMPLES];
	unsigned int samples_cnt;	/* ever; the newest is at (samples_cnt - 1) % METER_SAMPLES */
	uint64_t above_since_ns;	/* 0 = the cost is below the limit */
};

void meter_open(struct meter *m, const struct trap_price *price);
/* At most one sample a second is kept; more often does no harm. */
void meter_sample(struct meter *m, uint64_t time_ns, uint64_t target_cpu_ns, const struct source_traps *traps);
/* Percent of the target's CPU time over the window; -1 when it is too early to tell. */
double meter_cost_percent(const struct meter *m);
/* True when the cost has been above the limit for the window and hurts. limit < 0: never. */
bool meter_brakes(struct meter *m, double limit_percent);

#endif
