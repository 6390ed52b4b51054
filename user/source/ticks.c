/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <stddef.h>

#include "base/log.h"
#include "source/ticks.h"

#define MEASURE_NS	40000000ull	/* 10 ticks of 250, 12 of 300: enough to tell them apart */

static int read_both(const struct ticks *t, uint64_t *ret_jiffies, uint64_t *ret_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err = bpf_prog_test_run_opts(t->prog_fd, &opts);

	if (err)
		return err;
	*ret_jiffies = *(const volatile __u64 *)&t->clock->jiffies;
	*ret_ns = *(const volatile __u64 *)&t->clock->ns;
	return 0;
}

/* Waits for a tick, so that a measurement begins or ends where a jiffy does. */
static int read_at_tick(const struct ticks *t, uint64_t *ret_jiffies, uint64_t *ret_ns)
{
	uint64_t first;
	int err = read_both(t, &first, ret_ns);

	do
		err = err ? err : read_both(t, ret_jiffies, ret_ns);
	while (!err && *ret_jiffies == first);
	return err;
}

/* The value that kernels are built with which is nearest to a measured one. */
static uint64_t nearest_hz(double hz)
{
	static const unsigned int known[] = { 100, 250, 300, 1000 };
	uint64_t best = known[0];

	for (size_t i = 1; i < sizeof(known) / sizeof(known[0]); i++)
		if (hz > (best + known[i]) / 2.0)
			best = known[i];
	return best;
}

int ticks_open(struct ticks *t, int prog_fd, const struct clock_state *clock)
{
	uint64_t jiffies, jiffies_end, ns, ns_end;
	int err;

	*t = (struct ticks){ .prog_fd = prog_fd, .clock = clock };
	err = read_at_tick(t, &jiffies, &ns);
	do
		err = err ? err : read_at_tick(t, &jiffies_end, &ns_end);
	while (!err && ns_end - ns < MEASURE_NS);
	if (err)
		return err;
	t->hz = nearest_hz((jiffies_end - jiffies) * 1e9 / (ns_end - ns));
	log_debug("clock of the books: %" PRIu64 " ticks a second", t->hz);
	return 0;
}

int ticks_ago(const struct ticks *t, uint64_t ago_ns, uint64_t *ret_jiffies)
{
	uint64_t jiffies, ns, ago;
	int err = read_both(t, &jiffies, &ns);

	if (err)
		return err;
	ago = ago_ns / 1000000000 * t->hz + ago_ns % 1000000000 * t->hz / 1000000000;
	*ret_jiffies = ago < jiffies ? jiffies - ago : 0;
	return 0;
}

int ticks_at(const struct ticks *t, uint64_t at_ns, uint64_t *ret_jiffies)
{
	uint64_t jiffies, ns;
	int err = read_both(t, &jiffies, &ns);

	return err ? err : ticks_ago(t, at_ns < ns ? ns - at_ns : 0, ret_jiffies);
}
