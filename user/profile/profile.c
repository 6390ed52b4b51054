/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames and stacks are interned: what is equal is stored once and known by an index.
 *
 *	frames        see frames.h
 *	stack_index   hash of (process, cut, frames)      -> stack
 *	pool          blocks of frame indexes, innermost first; a stack points into one
 *	values        types_cnt numbers a stack, one stack after the other
 *
 * A stack costs 4 bytes a frame and about 80 beside them. Nothing is ever removed.
 *
 * With inlined functions a stack is shown by a second list of frames, made when it is first asked for after all its
 * frames have names, so each is made once, and a stack without inlined functions needs none. The first list remains
 * what the stack is known by.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "base/hashmap.h"
#include "profile/frames.h"
#include "profile/profile.h"

#define POOL_BLOCK_CNT 16384	/* 64 KiB of indexes: small beside a profile, far longer than any stack */
#define LOSSES_MAX 64		/* names are constants of the sources, each of which has about ten */
#define NOTES_MAX 64

/* How a stack is shown. */
struct shown {
	const uint32_t *frames;
	uint32_t frames_cnt;
	uint32_t renames;	/* of the profile's frames, when it was made; from 1 on */
};

struct pool_block {
	struct pool_block *next;
	size_t used_cnt;
	size_t size_cnt;
	uint32_t frames[];
};

struct profile {
	const struct value_type *types;
	size_t types_cnt;

	struct frames frames;

	struct stack *stacks;	/* with the frames that they are known by */
	struct shown *shown;	/* of each; zeros = not made yet */
	int64_t *values;
	size_t stacks_cnt;
	size_t stacks_size;	/* room in stacks, shown and values */
	struct index stack_index;
	struct pool_block *pool;	/* the one that is filled comes first */

	struct process **processes;
	size_t processes_cnt, processes_size;

	struct loss losses[LOSSES_MAX];
	size_t losses_cnt;
	struct note notes[NOTES_MAX];
	size_t notes_cnt;
	uint64_t unshown_cnt;	/* of a loss: see shown_make() */
};

struct profile *profile_new(const struct value_type *types)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->types = types;
	while (types[p->types_cnt].name)
		p->types_cnt++;
	return frames_open(&p->frames) ? profile_free(p) : p;
}

struct profile *profile_free(struct profile *p)
{
	if (!p)
		return NULL;
	frames_close(&p->frames);
	while (p->pool) {
		struct pool_block *next = p->pool->next;

		free(p->pool);
		p->pool = next;
	}
	for (size_t i = 0; i < p->processes_cnt; i++) {
		free(p->processes[i]->comm);
		free(p->processes[i]);
	}
	free(p->processes);
	free(p->stack_index.slots);
	free(p->stacks);
	free(p->shown);
	free(p->values);
	free(p);
	return NULL;
}

/* Room for cnt indexes at the end of the pool; they are not used up yet. NULL when memory is short. */
static uint32_t *pool_reserve(struct profile *p, size_t cnt)
{
	size_t size_cnt = cnt > POOL_BLOCK_CNT ? cnt : POOL_BLOCK_CNT;
	struct pool_block *block = p->pool;

	if (block && block->size_cnt - block->used_cnt >= cnt)
		return block->frames + block->used_cnt;
	block = malloc(sizeof(*block) + size_cnt * sizeof(block->frames[0]));
	if (!block)
		return NULL;
	*block = (struct pool_block){ .next = p->pool, .size_cnt = size_cnt };
	p->pool = block;
	return block->frames;
}

static int stacks_reserve(struct profile *p)
{
	size_t size = p->stacks_size ? p->stacks_size + p->stacks_size / 2 : 64;
	struct stack *stacks;
	struct shown *shown;
	int64_t *values;

	if (p->stacks_cnt < p->stacks_size)
		return 0;
	if (p->stacks_cnt >= INT_MAX)
		return -EOVERFLOW;
	stacks = realloc(p->stacks, size * sizeof(*stacks));
	if (!stacks)
		return -ENOMEM;
	p->stacks = stacks;
	shown = realloc(p->shown, size * sizeof(*shown));
	if (!shown)
		return -ENOMEM;
	p->shown = shown;
	values = realloc(p->values, (size * p->types_cnt + 1) * sizeof(*values));
	if (!values)
		return -ENOMEM;
	p->values = values;
	p->stacks_size = size;
	return 0;
}

static bool stack_equal(const struct stack *a, const struct stack *b)
{
	if (a->process != b->process || a->cut != b->cut || a->frames_cnt != b->frames_cnt)
		return false;
	if (a->label || b->label)
		return a->label && b->label && !strcmp(a->label, b->label);
	return !memcmp(a->frames, b->frames, a->frames_cnt * sizeof(a->frames[0]));
}

/* Index of the stack that is equal to s, which is added when there is none; *ret_added says so. */
static int stack_intern(struct profile *p, const struct stack *s, bool *ret_added)
{
	uint64_t hash = index_hash(s->process, s->cut);
	size_t at;
	int err;

	for (uint32_t i = 0; i < s->frames_cnt; i++)
		hash = index_hash(hash, s->frames[i]);
	if (s->label)
		hash = index_hash(hash, hash_bytes(s->label, strlen(s->label)));
	err = index_reserve(&p->stack_index);
	if (!err)
		err = stacks_reserve(p);
	if (err)
		return err;
	*ret_added = false;
	for (at = index_first(&p->stack_index, hash); p->stack_index.slots[at]; at = index_next(&p->stack_index, at)) {
		uint64_t slot = p->stack_index.slots[at];

		if (!((slot ^ hash) >> 32) && stack_equal(&p->stacks[(uint32_t)slot - 1], s))
			return (uint32_t)slot - 1;
	}
	p->stacks[p->stacks_cnt] = *s;
	p->shown[p->stacks_cnt] = (struct shown){ 0 };
	memset(p->values + p->stacks_cnt * p->types_cnt, 0, p->types_cnt * sizeof(*p->values));
	index_set(&p->stack_index, at, hash, p->stacks_cnt);
	*ret_added = true;
	return p->stacks_cnt++;
}

int profile_stack(struct profile *p, uint32_t process, const uint64_t *addrs, uint32_t addrs_cnt, bool cut)
{
	struct stack s = { .frames_cnt = addrs_cnt, .process = process, .cut = cut };
	uint32_t *frames;
	bool added;
	int stack, err;

	if (process >= p->processes_cnt)
		return -EINVAL;
	frames = pool_reserve(p, addrs_cnt);
	if (!frames)
		return -ENOMEM;
	for (uint32_t i = 0; i < addrs_cnt; i++) {
		err = frames_intern(&p->frames, process, addrs[i], &frames[i]);
		if (err)
			return err;
	}
	s.frames = frames;
	stack = stack_intern(p, &s, &added);
	if (stack >= 0 && added)
		p->pool->used_cnt += addrs_cnt;
	return stack;
}

int profile_stack_label(struct profile *p, uint32_t process, const char *label)
{
	struct stack s = { .process = process, .label = label };
	bool added;

	if (process >= p->processes_cnt)
		return -EINVAL;
	return stack_intern(p, &s, &added);
}

size_t profile_stacks_cnt(const struct profile *p)
{
	return p->stacks_cnt;
}

/* Frames that a stack is shown with, when all of its own have names; 0 before that. */
static uint32_t shown_count(const struct profile *p, const struct stack *st)
{
	uint32_t cnt = 0, first;

	for (uint32_t i = 0; i < st->frames_cnt; i++) {
		if (frames_at(&p->frames, st->frames[i])->kind == FRAME_UNNAMED)
			return 0;
		cnt += 1 + frames_inlined(&p->frames, st->frames[i], &first);
	}
	return cnt;
}

static void shown_make(struct profile *p, const struct stack *st, struct shown *s)
{
	uint32_t cnt = shown_count(p, st), at = 0;
	uint32_t *frames;

	if (!cnt)
		return;
	s->frames = st->frames;
	s->frames_cnt = st->frames_cnt;
	s->renames = p->frames.renames + 1;
	if (cnt == st->frames_cnt)
		return;
	frames = pool_reserve(p, cnt);
	if (!frames) {
		profile_loss_set(p, "stacks without inlined functions: out of memory", ++p->unshown_cnt);
		return;
	}
	for (uint32_t i = 0; i < st->frames_cnt; i++) {
		uint32_t first, inlined = frames_inlined(&p->frames, st->frames[i], &first);

		for (uint32_t j = 0; j < inlined; j++)
			frames[at++] = first + j;
		frames[at++] = st->frames[i];
	}
	p->pool->used_cnt += cnt;
	s->frames = frames;
	s->frames_cnt = cnt;
}

struct stack profile_stack_at(const struct profile *p, uint32_t stack)
{
	struct stack st = p->stacks[stack];
	struct shown *s = &p->shown[stack];

	if (s->renames != p->frames.renames + 1)
		shown_make((struct profile *)p, &p->stacks[stack], s);	/* remembers what was true before */
	if (s->renames) {
		st.frames = s->frames;
		st.frames_cnt = s->frames_cnt;
	}
	return st;
}

size_t profile_frames_cnt(const struct profile *p)
{
	return p->frames.cnt;
}

const struct frame *profile_frame_at(const struct profile *p, uint32_t frame)
{
	return frames_at(&p->frames, frame);
}

int profile_frame_names(struct profile *p, uint32_t frame, const struct frame_name *names, uint32_t cnt)
{
	return frames_name(&p->frames, frame, names, cnt);
}

int profile_frame_name(struct profile *p, uint32_t frame, const char *name, const char *module,
		       enum frame_kind kind, bool guessed)
{
	const struct frame_name one = { .name = name, .module = module, .kind = kind, .guessed = guessed };

	return frames_name(&p->frames, frame, &one, 1);
}

int profile_process_add(struct profile *p, int pid, const char *comm)
{
	struct process **processes;
	struct process *process;
	char *copy;

	if (p->processes_cnt >= INT_MAX)
		return -EOVERFLOW;
	if (p->processes_cnt == p->processes_size) {
		size_t size = p->processes_size ? p->processes_size * 2 : 8;

		processes = realloc(p->processes, size * sizeof(*processes));
		if (!processes)
			return -ENOMEM;
		p->processes = processes;
		p->processes_size = size;
	}
	copy = strdup(comm);
	process = malloc(sizeof(*process));
	if (!copy || !process) {
		free(copy);
		free(process);
		return -ENOMEM;
	}
	*process = (struct process){ .pid = pid, .comm = copy };
	p->processes[p->processes_cnt] = process;
	return p->processes_cnt++;
}

/* Only for those who look at few processes: a walk is enough. */
int profile_process(struct profile *p, int pid, const char *comm)
{
	char *copy;
	size_t i;

	for (i = 0; i < p->processes_cnt && p->processes[i]->pid != pid; i++)
		;
	if (i == p->processes_cnt)
		return profile_process_add(p, pid, comm);
	if (!strcmp(p->processes[i]->comm, comm))
		return i;
	copy = strdup(comm);
	if (!copy)
		return -ENOMEM;
	free(p->processes[i]->comm);
	p->processes[i]->comm = copy;
	return i;
}

size_t profile_processes_cnt(const struct profile *p)
{
	return p->processes_cnt;
}

const struct process *profile_process_at(const struct profile *p, uint32_t process)
{
	return p->processes[process];
}

const struct value_type *profile_types(const struct profile *p)
{
	return p->types;
}

int profile_type_find(const struct profile *p, const char *name)
{
	for (size_t i = 0; i < p->types_cnt; i++)
		if (!strcmp(p->types[i].name, name))
			return i;
	return -ENOENT;
}

void profile_value_set(struct profile *p, uint32_t stack, int type, int64_t value)
{
	p->values[stack * p->types_cnt + type] = value;
}

int64_t profile_value(const struct profile *p, uint32_t stack, int type)
{
	return p->values[stack * p->types_cnt + type];
}

int64_t profile_total(const struct profile *p, int type)
{
	int64_t sum = 0;

	for (size_t i = 0; i < p->stacks_cnt; i++)
		if (__builtin_add_overflow(sum, profile_value(p, i, type), &sum))
			return INT64_MAX;
	return sum;
}

void profile_values_clear(struct profile *p)
{
	if (p->values)
		memset(p->values, 0, p->stacks_cnt * p->types_cnt * sizeof(*p->values));
}

void profile_loss_set(struct profile *p, const char *name, uint64_t cnt)
{
	size_t i;

	for (i = 0; i < p->losses_cnt && strcmp(p->losses[i].name, name); i++)
		;
	if (i == LOSSES_MAX) {
		/* not to be lost in silence */
		p->losses[i - 1].name = "other losses";
		p->losses[i - 1].cnt += cnt;
		return;
	}
	if (i == p->losses_cnt)
		p->losses_cnt++;
	p->losses[i] = (struct loss){ .name = name, .cnt = cnt };
}

size_t profile_losses_cnt(const struct profile *p)
{
	return p->losses_cnt;
}

struct loss profile_loss_at(const struct profile *p, size_t i)
{
	return p->losses[i];
}

uint64_t profile_lost(const struct profile *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->losses_cnt; i++)
		sum += p->losses[i].cnt;
	return sum;
}

void profile_note_set(struct profile *p, const char *name, uint64_t cnt)
{
	size_t i;

	for (i = 0; i < p->notes_cnt && strcmp(p->notes[i].name, name); i++)
		;
	if (i == NOTES_MAX) {
		p->notes[i - 1].name = "other notes";
		p->notes[i - 1].cnt += cnt;
		return;
	}
	if (i == p->notes_cnt)
		p->notes_cnt++;
	p->notes[i] = (struct note){ .name = name, .cnt = cnt };
}

size_t profile_notes_cnt(const struct profile *p)
{
	return p->notes_cnt;
}

struct note profile_note_at(const struct profile *p, size_t i)
{
	return p->notes[i];
}
