/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "cmd/meter.h"

void meter_open(struct meter *m, const struct trap_price *price)
{
	memset(m, 0, sizeof(*m));
	m->price = *price;
}

static const struct meter_sample *newest(const struct meter *m)
{
	return &m->samples[(m->samples_cnt - 1) % METER_SAMPLES];
}

/* The sample that the window begins with: the newest that is at least METER_WINDOW_NS old, else the oldest. */
static const struct meter_sample *window_start(const struct meter *m)
{
	const struct meter_sample *now = newest(m), *s = now;

	for (unsigned int back = 2; back <= m->samples_cnt && back <= METER_SAMPLES; back++) {
		s = &m->samples[(m->samples_cnt - back) % METER_SAMPLES];
		if (now->time_ns - s->time_ns >= METER_WINDOW_NS)
			break;
	}
	return s;
}

void meter_sample(struct meter *m, uint64_t time_ns, uint64_t target_cpu_ns, const struct source_traps *traps)
{
	if (m->samples_cnt && time_ns - newest(m)->time_ns < 900000000)
		return;
	m->samples[m->samples_cnt++ % METER_SAMPLES] = (struct meter_sample){
		.time_ns = time_ns,
		.target_cpu_ns = target_cpu_ns,
		.traps_ns = traps->emulated * m->price.trap_ns + traps->stepped * m->price.stepped_ns +
			    traps->returned * m->price.return_ns,
	};
}

double meter_cost_percent(const struct meter *m)
{
	const struct meter_sample *now, *start;
	double cost;

	if (m->samples_cnt < 2)
		return -1;
	now = newest(m);
	start = window_start(m);
	if (now->target_cpu_ns <= start->target_cpu_ns)
		return 0;
	cost = 100 * (now->traps_ns - start->traps_ns) / (now->target_cpu_ns - start->target_cpu_ns);
	return cost > 100 ? 100 : cost;
}

bool meter_brakes(struct meter *m, double limit_percent)
{
	const struct meter_sample *now, *start;
	double of_core;

	if (limit_percent < 0 || m->samples_cnt < 2)
		return false;
	now = newest(m);
	start = window_start(m);
	of_core = 100 * (now->traps_ns - start->traps_ns) / (now->time_ns - start->time_ns);
	if (meter_cost_percent(m) <= limit_percent || of_core <= METER_BRAKE_MIN_PERCENT) {
		m->above_since_ns = 0;
		return false;
	}
	/* from now on, not from the start of the window: one second can lift the average of five */
	if (!m->above_since_ns)
		m->above_since_ns = now->time_ns;
	return now->time_ns - m->above_since_ns >= METER_WINDOW_NS;
}
