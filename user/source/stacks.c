/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "source/stacks.h"

#define STORE_BLOCK	65536u	/* words: 512 KiB, far more than a record */

#define HEAD_CNT	0xffffu
#define HEAD_CUT	(1u << 16)
#define HEAD_LABEL	(1u << 17)
_Static_assert(sizeof(char *) == sizeof(uint64_t), "a label is one word");

/* at: what by_index says, or a negative errno. */
static int stack_set(struct stacks *s, uint32_t index, int at)
{
	if (at < 0)
		return at;
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
	s->by_index[index] = at;
	if (index >= s->known)
		s->known = index + 1;
	return 0;
}

/* A record of the store; where it begins, or a negative errno. */
static int store_add(struct stacks *s, uint64_t head, const void *words, uint32_t words_cnt)
{
	uint32_t at = s->store_words, left = (STORE_BLOCK - at % STORE_BLOCK) % STORE_BLOCK;
	uint64_t **store, *record;

	if (left < 1 + words_cnt) {	/* a new block */
		at += left;
		if (at > INT_MAX - STORE_BLOCK)
			return -EOVERFLOW;
		store = realloc(s->store, (at / STORE_BLOCK + 1) * sizeof(*store));
		if (!store)
			return -ENOMEM;
		s->store = store;
		store[at / STORE_BLOCK] = malloc(STORE_BLOCK * sizeof(**store));
		if (!store[at / STORE_BLOCK])
			return -ENOMEM;
	}
	record = s->store[at / STORE_BLOCK] + at % STORE_BLOCK;
	record[0] = head;
	if (words_cnt)
		memcpy(record + 1, words, words_cnt * sizeof(*record));
	s->store_words = at + 1 + words_cnt;
	return at;
}

int stacks_open(struct stacks *s, struct profile *p, int pid, const char *comm)
{
	*s = (struct stacks){ .profile = p, .process = profile_process(p, pid, comm) };
	if (s->process < 0)
		return s->process;
	return stacks_label(s, STACK_FULL, "[stacks full]");
}

int stacks_open_many(struct stacks *s, struct profile *p)
{
	*s = (struct stacks){ .profile = p, .process = -1 };
	return stacks_label(s, STACK_FULL, "[stacks full]");
}

void stacks_close(struct stacks *s)
{
	for (uint32_t i = 0; s->store && i * STORE_BLOCK < s->store_words; i++)
		free(s->store[i]);
	free(s->store);
	free(s->by_index);
	*s = (struct stacks){ 0 };
}

int stacks_label(struct stacks *s, uint32_t index, const char *label)
{
	if (s->process < 0)
		return stack_set(s, index, store_add(s, HEAD_LABEL, &label, 1));
	return stack_set(s, index, profile_stack_label(s->profile, s->process, label));
}

static int stack_put(struct stacks *s, const struct stack_event *e)
{
	if (s->process < 0)
		return stack_set(s, e->index, store_add(s, e->frames_cnt | (e->end != STACK_ENDED ? HEAD_CUT : 0), e->frames,
							e->frames_cnt));
	return stack_set(s, e->index, profile_stack(s->profile, s->process, (const uint64_t *)e->frames, e->frames_cnt,
						    e->end != STACK_ENDED));
}

int stacks_on_event(void *ctx, void *data, size_t size)
{
	const size_t head = offsetof(struct stack_event, frames);
	__u64 hash[2] = { STACK_HASH_SEED0, STACK_HASH_SEED1 };
	const struct stack_event *e = data;
	struct stacks *s = ctx;
	int err;

	if (size < head || e->frames_cnt > STACK_FRAMES_MAX || size < head + 8ull * e->frames_cnt ||
	    e->index < STACK_FIRST || e->index >= STACKS_MAX)
		return 0;
	for (uint32_t i = 0; i < e->frames_cnt; i++)
		stack_hash_add(hash, e->frames[i]);
	stack_hash_add(hash, e->end);
	if (hash[0] == e->hash[0] && hash[1] == e->hash[1]) {
		err = stack_put(s, e);
	} else {	/* another task wrote into the scratch meanwhile: the program saw that too */
		s->garbled_cnt++;
		err = stacks_label(s, e->index, "[stack garbled]");
	}
	if (err && !s->err)
		s->err = err;
	return 0;
}

/* Frames of the store, with one more inside where there is one. */
static int stack_add(struct stacks *s, const uint64_t *record, uint32_t process, uint64_t inner)
{
	uint64_t frames[STACK_FRAMES_MAX + 1];
	uint32_t cnt = record[0] & HEAD_CNT;
	const char *label;

	if (record[0] & HEAD_LABEL) {
		memcpy(&label, record + 1, sizeof(label));
		return profile_stack_label(s->profile, process, label);
	}
	if (!inner)
		return profile_stack(s->profile, process, record + 1, cnt, record[0] & HEAD_CUT);
	frames[0] = inner;
	memcpy(frames + 1, record + 1, cnt * sizeof(*frames));
	return profile_stack(s->profile, process, frames, cnt + 1, record[0] & HEAD_CUT);
}

int stacks_of_with(struct stacks *s, uint32_t index, uint32_t process, uint64_t inner)
{
	int at = stacks_at(s, index), stack;

	if (at < 0)
		return -1;
	stack = stack_add(s, s->store[at / STORE_BLOCK] + at % STORE_BLOCK, process, inner);
	if (stack >= 0)
		return stack;
	if (!s->err)
		s->err = stack;
	return -1;
}

int stacks_of(struct stacks *s, uint32_t index, uint32_t process)
{
	return stacks_of_with(s, index, process, 0);
}
