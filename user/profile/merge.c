/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "profile/merge.h"

#define TYPES_MAX 32

struct merge {
	struct profile *p;
	int types_cnt;
	struct hashmap *frames;		/* what is shown of a frame -> its address in p, which is a number */
	int64_t *kept;			/* stack * types_cnt + type */
	size_t kept_stacks;
	struct text key;		/* of the frame that is looked up */
};

struct merge *merge_open(const struct value_type *types)
{
	struct merge *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	while (types[m->types_cnt].name)
		m->types_cnt++;
	m->p = profile_new(types);
	m->frames = hashmap_new();
	if (!m->p || !m->frames || m->types_cnt > TYPES_MAX)
		return merge_close(m);
	return m;
}

struct merge *merge_close(struct merge *m)
{
	if (!m)
		return NULL;
	profile_free(m->p);
	hashmap_free(m->frames);
	free(m->kept);
	text_free(&m->key);
	free(m);
	return NULL;
}

void merge_source_free(struct merge_source *s)
{
	free(s->stacks);
	*s = (struct merge_source){ .stacks = NULL };
}

struct profile *merge_profile(struct merge *m)
{
	return m->p;
}

int merge_process(struct merge *m, int pid, const char *comm)
{
	return profile_process_add(m->p, pid, comm);
}

void merge_begin(struct merge *m)
{
	profile_values_clear(m->p);
	for (size_t i = 0; i < m->kept_stacks; i++)
		for (int t = 0; t < m->types_cnt; t++)
			profile_value_set(m->p, i, t, m->kept[i * m->types_cnt + t]);
	for (size_t i = 0; i < profile_losses_cnt(m->p); i++)
		profile_loss_set(m->p, profile_loss_at(m->p, i).name, 0);
	for (size_t i = 0; i < profile_notes_cnt(m->p); i++)
		profile_note_set(m->p, profile_note_at(m->p, i).name, 0);
}

static void key_add(struct text *key, const char *str)
{
	text_add(key, str ? str : "");
	text_add_len(key, "", 1);
}

/* The number of a frame that is shown so: its address in the merged profile. */
static int frame_number(struct merge *m, const struct frame *f, uint64_t *ret)
{
	struct text *key = &m->key;
	int err;

	key->len = 0;
	text_printf(key, "%d %d %u ", f->kind, f->guessed, f->line);
	if (f->kind == FRAME_UNNAMED)
		text_printf(key, "%" PRIx64, f->addr);
	else
		key_add(key, f->name);
	key_add(key, f->module);
	key_add(key, f->file);
	if (key->failed)
		return -ENOMEM;
	err = hashmap_add(m->frames, key->str, key->len, hashmap_count(m->frames) + 1, ret);
	if (!err)
		*ret = hashmap_count(m->frames);
	return err < 0 ? err : 0;
}

/* Gives the frames of a stack that was just added their names; those of stacks before it have theirs. */
static int frames_name(struct merge *m, const struct profile *p, const struct stack *from, uint32_t to)
{
	struct stack st = profile_stack_at(m->p, to);

	for (uint32_t i = 0; i < st.frames_cnt && i < from->frames_cnt; i++) {
		const struct frame *f = profile_frame_at(p, from->frames[i]);
		char addr[32];
		int err;

		if (profile_frame_at(m->p, st.frames[i])->kind != FRAME_UNNAMED)
			continue;
		snprintf(addr, sizeof(addr), "0x%" PRIx64, f->addr);
		const struct frame_name name = {
			.name = f->kind == FRAME_UNNAMED || !f->name || !*f->name ? addr : f->name,
			.module = f->module, .file = f->file, .line = f->line,
			.kind = f->kind == FRAME_UNNAMED ? FRAME_DEPENDENCY : f->kind, .guessed = f->guessed,
		};

		err = profile_frame_names(m->p, st.frames[i], &name, 1);
		if (err)
			return err;
	}
	return 0;
}

static int stack_add(struct merge *m, const struct profile *p, uint32_t stack, uint32_t process)
{
	struct stack st = profile_stack_at(p, stack);
	uint64_t *addrs;
	int err = 0, to;

	if (st.label)
		return profile_stack_label(m->p, process, st.label);
	addrs = malloc((st.frames_cnt + 1) * sizeof(*addrs));
	if (!addrs)
		return -ENOMEM;
	for (uint32_t i = 0; !err && i < st.frames_cnt; i++)
		err = frame_number(m, profile_frame_at(p, st.frames[i]), &addrs[i]);
	to = err ? err : profile_stack(m->p, process, addrs, st.frames_cnt, st.cut);
	free(addrs);
	if (to >= 0)
		err = frames_name(m, p, &st, to);
	return err ? err : to;
}

static int stacks_find(struct merge *m, struct merge_source *s, const struct profile *p, uint32_t process)
{
	size_t cnt = profile_stacks_cnt(p);
	uint32_t *stacks = realloc(s->stacks, (cnt + 1) * sizeof(*stacks));

	if (!stacks)
		return -ENOMEM;
	s->stacks = stacks;
	while (s->stacks_cnt < cnt) {
		int to = stack_add(m, p, s->stacks_cnt, process);

		if (to < 0)
			return to;
		stacks[s->stacks_cnt++] = to;
	}
	return 0;
}

static void counts_add(struct merge *m, const struct profile *p)
{
	for (size_t i = 0; i < profile_losses_cnt(p); i++) {
		struct loss l = profile_loss_at(p, i);
		uint64_t before = 0;

		for (size_t j = 0; j < profile_losses_cnt(m->p); j++)
			if (!strcmp(profile_loss_at(m->p, j).name, l.name))
				before = profile_loss_at(m->p, j).cnt;
		profile_loss_set(m->p, l.name, before + l.cnt);
	}
	for (size_t i = 0; i < profile_notes_cnt(p); i++) {
		struct note n = profile_note_at(p, i);
		uint64_t before = 0;

		for (size_t j = 0; j < profile_notes_cnt(m->p); j++)
			if (!strcmp(profile_note_at(m->p, j).name, n.name))
				before = profile_note_at(m->p, j).cnt;
		profile_note_set(m->p, n.name, before + n.cnt);
	}
}

int merge_add(struct merge *m, struct merge_source *s, const struct profile *p, uint32_t process, uint32_t types)
{
	int err = stacks_find(m, s, p, process);

	if (err)
		return err;
	for (size_t i = 0; i < s->stacks_cnt; i++)
		for (int t = 0; t < m->types_cnt; t++)
			if (types & 1u << t)
				profile_value_set(m->p, s->stacks[i], t,
						  profile_value(m->p, s->stacks[i], t) + profile_value(p, i, t));
	counts_add(m, p);
	return 0;
}

int merge_keep(struct merge *m, struct merge_source *s, const struct profile *p, uint32_t types)
{
	size_t cnt = profile_stacks_cnt(m->p);
	int64_t *kept = realloc(m->kept, (cnt + 1) * m->types_cnt * sizeof(*kept));

	if (!kept)
		return -ENOMEM;
	memset(kept + m->kept_stacks * m->types_cnt, 0, (cnt - m->kept_stacks) * m->types_cnt * sizeof(*kept));
	m->kept = kept;
	m->kept_stacks = cnt;
	for (size_t i = 0; i < s->stacks_cnt; i++)
		for (int t = 0; t < m->types_cnt; t++)
			if (types & 1u << t)
				kept[s->stacks[i] * m->types_cnt + t] += profile_value(p, i, t);
	return 0;
}
