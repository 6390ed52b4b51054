/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames and stacks are interned: what is equal is stored once and known by an index.
 *
 *	frame_index   hash of (process, addr, is_return)  -> frame
 *	stack_index   hash of (process, cut, frames)      -> stack
 *	frames        blocks of FRAMES_A_BLOCK, so that a frame never moves
 *	pool          blocks of frame indexes, innermost first; a stack points into one
 *	values        types_cnt numbers a stack, one stack after the other
 *
 * A stack costs 4 bytes a frame and about 60 beside them. Nothing is ever removed, so the two hash tables
 * need no tombstones, and a slot carries the upper half of its hash: most misses never touch the object.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "profile/profile.h"

#define FRAMES_A_BLOCK 1024
#define POOL_BLOCK_CNT 16384	/* 64 KiB of indexes: small beside a profile, far longer than any stack */
#define LOSSES_MAX 64		/* names are constants of the sources, each of which has about ten */
#define INDEX_SLOTS_MIN 256	/* a power of two */

/* A slot: the upper 32 bits of the hash, and the index + 1 below; 0 = empty. */
struct index {
	uint64_t *slots;
	size_t size;	/* a power of two, or 0 */
	size_t cnt;
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

	struct frame **frame_blocks;
	size_t frame_blocks_cnt;
	size_t frames_cnt;
	struct index frame_index;

	struct stack *stacks;
	int64_t *values;
	size_t stacks_cnt;
	size_t stacks_size;	/* room in stacks and in values */
	struct index stack_index;
	struct pool_block *pool;	/* the one that is filled comes first */

	struct process **processes;
	size_t processes_cnt, processes_size;

	char **modules;		/* many frames share few modules: one copy of each name */
	size_t modules_cnt;
	struct hashmap *module_index;

	struct loss losses[LOSSES_MAX];
	size_t losses_cnt;
};

struct profile *profile_new(const struct value_type *types)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->types = types;
	while (types[p->types_cnt].name)
		p->types_cnt++;
	p->module_index = hashmap_new();
	return p->module_index ? p : profile_free(p);
}

static void frames_free(struct profile *p)
{
	for (size_t i = 0; i < p->frames_cnt; i++)
		free(p->frame_blocks[i / FRAMES_A_BLOCK][i % FRAMES_A_BLOCK].name);
	for (size_t i = 0; i < p->frame_blocks_cnt; i++)
		free(p->frame_blocks[i]);
	free(p->frame_blocks);
}

struct profile *profile_free(struct profile *p)
{
	if (!p)
		return NULL;
	frames_free(p);
	while (p->pool) {
		struct pool_block *next = p->pool->next;

		free(p->pool);
		p->pool = next;
	}
	for (size_t i = 0; i < p->processes_cnt; i++) {
		free(p->processes[i]->comm);
		free(p->processes[i]);
	}
	for (size_t i = 0; i < p->modules_cnt; i++)
		free(p->modules[i]);
	free(p->modules);
	hashmap_free(p->module_index);
	free(p->processes);
	free(p->frame_index.slots);
	free(p->stack_index.slots);
	free(p->stacks);
	free(p->values);
	free(p);
	return NULL;
}

/* One step of a multiply-and-fold hash; the constant is that of splitmix64. */
static uint64_t hash_step(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 29;
}

static int index_grow(struct index *ix)
{
	size_t size = ix->size ? ix->size * 2 : INDEX_SLOTS_MIN;
	uint64_t *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < ix->size; i++) {
		/* the upper half of the hash says where it goes: size stays below 2^32 */
		size_t at = ix->slots[i] >> 32 & (size - 1);

		if (!ix->slots[i])
			continue;
		while (slots[at])
			at = (at + 1) & (size - 1);
		slots[at] = ix->slots[i];
	}
	free(ix->slots);
	ix->slots = slots;
	ix->size = size;
	return 0;
}

/* Makes room for one more, so that the slot found afterwards stays where it is. */
static int index_reserve(struct index *ix)
{
	return (ix->cnt + 1) * 3 > ix->size * 2 ? index_grow(ix) : 0;
}

static void index_set(struct index *ix, size_t at, uint64_t hash, size_t value)
{
	ix->slots[at] = (hash & 0xffffffff00000000ull) | (value + 1);
	ix->cnt++;
}

static struct frame *frame_get(const struct profile *p, size_t i)
{
	return &p->frame_blocks[i / FRAMES_A_BLOCK][i % FRAMES_A_BLOCK];
}

static int frame_add(struct profile *p, uint32_t process, uint64_t addr, bool is_return, uint32_t *ret)
{
	size_t block = p->frames_cnt / FRAMES_A_BLOCK;

	if (p->frames_cnt >= INT_MAX)
		return -EOVERFLOW;
	if (block == p->frame_blocks_cnt) {
		struct frame **blocks = realloc(p->frame_blocks, (block + 1) * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		p->frame_blocks = blocks;
		blocks[block] = calloc(FRAMES_A_BLOCK, sizeof(**blocks));
		if (!blocks[block])
			return -ENOMEM;
		p->frame_blocks_cnt++;
	}
	*ret = p->frames_cnt;
	*frame_get(p, p->frames_cnt++) = (struct frame){
		.addr = addr, .process = process, .is_return = is_return,
	};
	return 0;
}

static int frame_intern(struct profile *p, uint32_t process, uint64_t addr, bool is_return, uint32_t *ret)
{
	uint64_t hash = hash_step(hash_step(addr, (uint64_t)process << 1 | is_return), 0);
	size_t at;
	int err;

	err = index_reserve(&p->frame_index);
	if (err)
		return err;
	for (at = hash >> 32 & (p->frame_index.size - 1); p->frame_index.slots[at];
	     at = (at + 1) & (p->frame_index.size - 1)) {
		uint64_t slot = p->frame_index.slots[at];
		const struct frame *f;

		if ((slot ^ hash) >> 32)
			continue;
		f = frame_get(p, (uint32_t)slot - 1);
		if (f->addr == addr && f->process == process && f->is_return == is_return) {
			*ret = (uint32_t)slot - 1;
			return 0;
		}
	}
	err = frame_add(p, process, addr, is_return, ret);
	if (err)
		return err;
	index_set(&p->frame_index, at, hash, *ret);
	return 0;
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
	int64_t *values;

	if (p->stacks_cnt < p->stacks_size)
		return 0;
	if (p->stacks_cnt >= INT_MAX)
		return -EOVERFLOW;
	stacks = realloc(p->stacks, size * sizeof(*stacks));
	if (!stacks)
		return -ENOMEM;
	p->stacks = stacks;
	values = realloc(p->values, (size * p->types_cnt + 1) * sizeof(*values));
	if (!values)
		return -ENOMEM;
	p->values = values;
	p->stacks_size = size;
	return 0;
}

static bool stack_equal(const struct stack *a, const struct stack *b)
{
	if (a->process != b->process || a->cut_key != b->cut_key || a->frames_cnt != b->frames_cnt)
		return false;
	if (a->label || b->label)
		return a->label && b->label && !strcmp(a->label, b->label);
	return !memcmp(a->frames, b->frames, a->frames_cnt * sizeof(a->frames[0]));
}

/* Index of the stack that is equal to s, which is added when there is none; *ret_added says so. */
static int stack_intern(struct profile *p, const struct stack *s, bool *ret_added)
{
	uint64_t hash = hash_step(s->process, s->cut_key);
	size_t at;
	int err;

	for (uint32_t i = 0; i < s->frames_cnt; i++)
		hash = hash_step(hash, s->frames[i]);
	if (s->label)
		hash = hash_step(hash, hash_bytes(s->label, strlen(s->label)));
	err = index_reserve(&p->stack_index);
	if (!err)
		err = stacks_reserve(p);
	if (err)
		return err;
	*ret_added = false;
	for (at = hash >> 32 & (p->stack_index.size - 1); p->stack_index.slots[at];
	     at = (at + 1) & (p->stack_index.size - 1)) {
		uint64_t slot = p->stack_index.slots[at];

		if (!((slot ^ hash) >> 32) && stack_equal(&p->stacks[(uint32_t)slot - 1], s))
			return (uint32_t)slot - 1;
	}
	p->stacks[p->stacks_cnt] = *s;
	memset(p->values + p->stacks_cnt * p->types_cnt, 0, p->types_cnt * sizeof(*p->values));
	index_set(&p->stack_index, at, hash, p->stacks_cnt);
	*ret_added = true;
	return p->stacks_cnt++;
}

int profile_stack(struct profile *p, uint32_t process, const uint64_t *addrs, uint32_t addrs_cnt,
		  bool first_is_return, bool cut)
{
	struct stack s = { .frames_cnt = addrs_cnt, .process = process, .cut = cut, .cut_key = cut };
	uint32_t *frames;
	bool added;
	int stack, err;

	if (process >= p->processes_cnt)
		return -EINVAL;
	frames = pool_reserve(p, addrs_cnt);
	if (!frames)
		return -ENOMEM;
	for (uint32_t i = 0; i < addrs_cnt; i++) {
		err = frame_intern(p, process, addrs[i], i || first_is_return, &frames[i]);
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

void profile_stack_set_cut(struct profile *p, uint32_t stack, bool cut)
{
	p->stacks[stack].cut = cut;
}

size_t profile_stacks_cnt(const struct profile *p)
{
	return p->stacks_cnt;
}

struct stack profile_stack_at(const struct profile *p, uint32_t stack)
{
	return p->stacks[stack];
}

size_t profile_frames_cnt(const struct profile *p)
{
	return p->frames_cnt;
}

const struct frame *profile_frame_at(const struct profile *p, uint32_t frame)
{
	return frame_get(p, frame);
}

static int module_intern(struct profile *p, const char *module, char **ret)
{
	size_t len = strlen(module);
	char **modules;
	uint64_t i;
	char *copy;

	if (hashmap_get(p->module_index, module, len, &i)) {
		*ret = p->modules[i];
		return 0;
	}
	modules = realloc(p->modules, (p->modules_cnt + 1) * sizeof(*modules));
	if (!modules)
		return -ENOMEM;
	p->modules = modules;
	copy = strdup(module);
	if (!copy || hashmap_put(p->module_index, module, len, p->modules_cnt)) {
		free(copy);
		return -ENOMEM;
	}
	*ret = modules[p->modules_cnt++] = copy;
	return 0;
}

int profile_frame_name(struct profile *p, uint32_t frame, const char *name, const char *module,
		       enum frame_kind kind, bool guessed)
{
	struct frame *f = frame_get(p, frame);
	char *module_copy = NULL;
	char *name_copy;
	int err;

	if (module) {
		err = module_intern(p, module, &module_copy);
		if (err)
			return err;
	}
	name_copy = strdup(name);
	if (!name_copy)
		return -ENOMEM;
	free(f->name);
	f->name = name_copy;
	f->module = module_copy;
	f->kind = kind;
	f->guessed = guessed;
	return 0;
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
