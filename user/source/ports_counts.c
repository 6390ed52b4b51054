/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

#include "source/ports_counts.h"

static const char *const counter_names[PORTS_COUNTERS] = {
	[PORTS_EVENTS] = "state changes of sockets looked at",
	[PORTS_NESTED] = "ends of sockets that were seen late (while another one was looked at)",
	[PORTS_LOST_FLOWS] = "connects that found no room in the books (--max-memory)",
	[PORTS_LOST_SOCKETS] = "connects whose socket could not be followed",
	[PORTS_LOST_OWNERS] = "connects whose process could not be kept (--max-memory)",
	[PORTS_LOST_STACKS] = "stacks that found no room in the books (--max-memory)",
	[PORTS_LOST_TIME_WAIT] = "TIME_WAIT sockets that were not followed",
	[PORTS_LOST_BINDS] = "bind() calls that were not followed",
	[PORTS_QUIET_FAILURES] = "failed connects not told one by one",
	[PORTS_STACKS_TAKEN] = "stacks taken",
};

const char *ports_count_name(enum ports_counter counter)
{
	return counter_names[counter];
}

uint64_t ports_count_read(int counts_fd, enum ports_counter counter)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t key = counter;
	uint64_t *values, sum = 0;

	values = cpus > 0 ? calloc(cpus, sizeof(*values)) : NULL;
	if (values && !bpf_map_lookup_elem(counts_fd, &key, values))
		for (int i = 0; i < cpus; i++)
			sum += values[i];
	free(values);
	return sum;
}

void ports_count_losses(int counts_fd, struct profile *p)
{
	for (int i = PORTS_LOST_FLOWS; i <= PORTS_LOST_BINDS; i++)
		profile_loss_set(p, counter_names[i], ports_count_read(counts_fd, i));
}
