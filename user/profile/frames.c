/* SPDX-License-Identifier: GPL-2.0-only */
#include <limits.h>
#include <string.h>

#include "abi.h"
#include "base/hashmap.h"
#include "profile/frames.h"

#define FRAMES_A_BLOCK 1024

struct frame_slot {
	struct frame frame;
	uint32_t inlined_first, inlined_cnt;
};

int frames_open(struct frames *fs)
{
	*fs = (struct frames){ .string_index = hashmap_new() };
	return fs->string_index ? 0 : -ENOMEM;
}

void frames_close(struct frames *fs)
{
	for (size_t i = 0; i < fs->blocks_cnt; i++)
		free(fs->blocks[i]);
	for (size_t i = 0; i < fs->strings_cnt; i++)
		free(fs->strings[i]);
	free(fs->blocks);
	free(fs->strings);
	free(fs->index.slots);
	hashmap_free(fs->string_index);
	*fs = (struct frames){ 0 };
}

static struct frame_slot *slot_at(const struct frames *fs, uint32_t frame)
{
	return &fs->blocks[frame / FRAMES_A_BLOCK][frame % FRAMES_A_BLOCK];
}

struct frame *frames_at(const struct frames *fs, uint32_t frame)
{
	return &slot_at(fs, frame)->frame;
}

uint32_t frames_inlined(const struct frames *fs, uint32_t frame, uint32_t *ret_first)
{
	const struct frame_slot *slot = slot_at(fs, frame);

	*ret_first = slot->inlined_first;
	return slot->inlined_cnt;
}

static int frame_add(struct frames *fs, const struct frame *f, uint32_t *ret)
{
	size_t block = fs->cnt / FRAMES_A_BLOCK;

	if (fs->cnt >= INT_MAX)
		return -EOVERFLOW;
	if (block == fs->blocks_cnt) {
		struct frame_slot **blocks = realloc(fs->blocks, (block + 1) * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		fs->blocks = blocks;
		blocks[block] = malloc(FRAMES_A_BLOCK * sizeof(**blocks));
		if (!blocks[block])
			return -ENOMEM;
		fs->blocks_cnt++;
	}
	*ret = fs->cnt++;
	*slot_at(fs, *ret) = (struct frame_slot){ .frame = *f };
	return 0;
}

/* Tags are taken off, which addresses of the kernel do not have. */
static struct frame frame_of(uint32_t process, uint64_t stored)
{
	bool tagged = !(stored >> 63);

	return (struct frame){
		.addr = tagged ? STACK_FRAME_ADDR(stored) : stored, .process = process,
		.is_return = !tagged || !(stored & STACK_FRAME_EXACT), .epoch = tagged ? STACK_FRAME_EPOCH(stored) : 0,
	};
}

int frames_intern(struct frames *fs, uint32_t process, uint64_t stored, uint32_t *ret)
{
	uint64_t hash = index_hash(index_hash(stored, process), 0);
	const struct frame new = frame_of(process, stored);
	size_t at;
	int err;

	err = index_reserve(&fs->index);
	if (err)
		return err;
	for (at = index_first(&fs->index, hash); fs->index.slots[at]; at = index_next(&fs->index, at)) {
		uint64_t slot = fs->index.slots[at];
		const struct frame *f;

		if ((slot ^ hash) >> 32)
			continue;
		f = frames_at(fs, (uint32_t)slot - 1);
		if (f->addr == new.addr && f->process == process && f->is_return == new.is_return && f->epoch == new.epoch) {
			*ret = (uint32_t)slot - 1;
			return 0;
		}
	}
	err = frame_add(fs, &new, ret);
	if (err)
		return err;
	index_set(&fs->index, at, hash, *ret);
	return 0;
}

/* The only copy of a string; NULL stays NULL. last: what may well be the same again. */
static int string_intern(struct frames *fs, const char *str, const char **last, const char **ret)
{
	size_t len;
	uint64_t i;
	char *copy;

	*ret = str ? *last : NULL;
	if (!str || (*last && !strcmp(str, *last)))
		return 0;
	len = strlen(str);
	if (hashmap_get(fs->string_index, str, len, &i)) {
		*ret = *last = fs->strings[i];
		return 0;
	}
	if (fs->strings_cnt == fs->strings_size) {
		size_t size = fs->strings_size ? fs->strings_size * 2 : 64;
		char **strings = realloc(fs->strings, size * sizeof(*strings));

		if (!strings)
			return -ENOMEM;
		fs->strings = strings;
		fs->strings_size = size;
	}
	copy = strdup(str);
	if (!copy || hashmap_put(fs->string_index, str, len, fs->strings_cnt)) {
		free(copy);
		return -ENOMEM;
	}
	*ret = *last = fs->strings[fs->strings_cnt++] = copy;
	return 0;
}

static int name_set(struct frames *fs, struct frame *f, const struct frame_name *name)
{
	struct frame named = *f;
	int err;

	err = string_intern(fs, name->name, &fs->last[0], &named.name);
	if (!err)
		err = string_intern(fs, name->module, &fs->last[1], &named.module);
	if (!err)
		err = string_intern(fs, name->file, &fs->last[2], &named.file);
	if (err)
		return err;
	named.line = name->line;
	named.kind = name->kind;
	named.guessed = name->guessed;
	*f = named;
	return 0;
}

/* Frames for the functions that are inlined in one, all or none. */
static int inlined_add(struct frames *fs, const struct frame *outer, const struct frame_name *names, uint32_t cnt,
		       uint32_t *ret_first)
{
	const struct frame new = {
		.addr = outer->addr, .process = outer->process, .epoch = outer->epoch, .is_return = outer->is_return,
		.inlined = true,
	};
	size_t cnt_before = fs->cnt;
	int err = 0;

	for (uint32_t i = 0; !err && i < cnt; i++) {
		uint32_t frame;

		err = frame_add(fs, &new, &frame);
		if (!err)
			err = name_set(fs, frames_at(fs, frame), &names[i]);
	}
	if (err)
		fs->cnt = cnt_before;
	else
		*ret_first = cnt_before;
	return err;
}

int frames_name(struct frames *fs, uint32_t frame, const struct frame_name *names, uint32_t cnt)
{
	struct frame_slot *slot = slot_at(fs, frame);
	bool was_named = slot->frame.kind != FRAME_UNNAMED;
	uint32_t first = 0;
	int err = 0;

	if (!cnt)
		return -EINVAL;
	if (cnt > 1)
		err = inlined_add(fs, &slot->frame, names, cnt - 1, &first);
	if (!err)
		err = name_set(fs, &slot->frame, &names[cnt - 1]);
	if (err)
		return err;
	/* those of before, if any, remain as frames that no stack has */
	fs->renames += was_named && (cnt > 1 || slot->inlined_cnt);
	slot->inlined_first = first;
	slot->inlined_cnt = cnt - 1;
	return 0;
}
