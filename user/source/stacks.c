/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "source/stacks.h"

static int stack_set(struct stacks *s, uint32_t index, int stack)
{
	if (stack < 0)
		return stack;
	if (index >= s->size) {
		uint32_t size = s->size ? s->size : 1024;
		int *by_index;

		while (size <= index)
			size *= 2;
		by_index = realloc(s->by_index, size * sizeof(*by_index));
		if (!by_index)
			return -ENOMEM;
		for (uint32_t i = s->size; i < size; i++)
			by_index[i] = -1;
		s->by_index = by_index;
		s->size = size;
	}
	s->by_index[index] = stack;
	if (index >= s->known)
		s->known = index + 1;
	return 0;
}

int stacks_open(struct stacks *s, struct profile *p, int pid, const char *comm)
{
	*s = (struct stacks){ .profile = p, .process = profile_process(p, pid, comm) };
	if (s->process < 0)
		return s->process;
	return stacks_label(s, STACK_FULL, "[stacks full]");
}

void stacks_close(struct stacks *s)
{
	free(s->by_index);
	*s = (struct stacks){ 0 };
}

int stacks_label(struct stacks *s, uint32_t index, const char *label)
{
	return stack_set(s, index, profile_stack_label(s->profile, s->process, label));
}

int stacks_on_event(void *ctx, void *data, size_t size)
{
	const size_t head = offsetof(struct stack_event, frames);
	__u64 hash[2] = { STACK_HASH_SEED0, STACK_HASH_SEED1 };
	const struct stack_event *e = data;
	struct stacks *s = ctx;
	int err;

	if (size < head || e->frames_cnt > STACK_FRAMES_MAX || size < head + 8ull * e->frames_cnt ||
	    e->index >= STACKS_MAX)
		return 0;
	for (uint32_t i = 0; i < e->frames_cnt; i++)
		stack_hash_add(hash, e->frames[i]);
	if (hash[0] == e->hash[0] && hash[1] == e->hash[1]) {
		err = stack_set(s, e->index, profile_stack(s->profile, s->process, (const uint64_t *)e->frames,
							   e->frames_cnt, true, e->outside));
	} else {	/* another task wrote into the scratch meanwhile: the program saw that too */
		s->garbled_cnt++;
		err = stacks_label(s, e->index, "[stack garbled]");
	}
	if (err && !s->err)
		s->err = err;
	return 0;
}
