/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "trace/code.h"

static void ranges_add(struct code_ranges *c, uint64_t start, uint64_t end)
{
	if (c->cnt && start <= c->ranges[c->cnt - 1].end) {	/* neighbours are one */
		c->ranges[c->cnt - 1].end = end;
		return;
	}
	c->ranges[c->cnt].start = start;
	c->ranges[c->cnt++].end = end;
}

/* Closes the narrowest gap. */
static void ranges_squeeze(struct code_ranges *c)
{
	uint32_t best = 1;

	for (uint32_t i = 2; i < c->cnt; i++)
		if (c->ranges[i].start - c->ranges[i - 1].end < c->ranges[best].start - c->ranges[best - 1].end)
			best = i;
	c->ranges[best - 1].end = c->ranges[best].end;
	for (uint32_t i = best; i + 1 < c->cnt; i++)
		c->ranges[i] = c->ranges[i + 1];
	c->cnt--;
}

void code_ranges_make(const struct target *t, struct code_ranges *ret)
{
	ret->cnt = 0;
	for (size_t i = 0; i < t->mappings_cnt; i++) {
		const struct target_mapping *m = &t->mappings[i];

		if (m->gone || m->prot[2] != 'x')
			continue;
		if (ret->cnt == CODE_RANGES_MAX)
			ranges_squeeze(ret);
		ranges_add(ret, m->start, m->end);
	}
}

int code_publish(int map_fd, struct stack_state *state, const struct target *t)
{
	struct code_ranges *ranges = calloc(1, sizeof(*ranges));
	uint32_t buffer = !state->code;
	int err;

	if (!ranges)
		return -ENOMEM;
	code_ranges_make(t, ranges);
	err = bpf_map_update_elem(map_fd, &buffer, ranges, BPF_ANY);
	free(ranges);
	if (!err)
		__atomic_store_n(&state->code, buffer, __ATOMIC_RELEASE);
	return err;
}
