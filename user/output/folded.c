/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lines of a profile of 65,000 stacks are some 40 MB, its distinct names a few. So lines are never built:
 * names are made safe once and numbered, a stack is a walk over such numbers, and two stacks are compared as if
 * their lines stood there:
 *
 *	comm ; [cut] ; outermost ; … ; innermost ␠
 *
 * Equal numbers are equal text. Where two numbers differ their texts are compared, each with what follows it
 * in its line, a semicolon or the space; no text contains either, so that always decides.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "output/output.h"

struct names {
	struct hashmap *index;	/* safe text -> number */
	char **at;
	size_t cnt;
	size_t size;
};

struct folding {
	const struct profile *p;
	struct names names;
	uint32_t *frames;	/* name of each frame */
	uint32_t *processes;	/* of each process's comm */
	uint32_t *labels;	/* of each stack's label; CUT where there is none */
	uint32_t *order;	/* stacks that have a value, then sorted */
	size_t order_cnt;
};

#define CUT 0			/* the first name: [cut] */

/* White space beyond ASCII: Unicode's White_Space property, less what text_printable_len() refuses anyway. */
static size_t wide_space_len(const char *str)
{
	static const char *const spaces[] = {
		"\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
		"\u2007", "\u2008", "\u2009", "\u200a", "\u202f", "\u205f", "\u3000",
	};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (!strncmp(str, spaces[i], strlen(spaces[i])))
			return strlen(spaces[i]);
	return 0;
}

static void text_add_folded(struct text *t, const char *str)
{
	while (*str) {
		size_t len = text_printable_len(str);
		size_t space = *str == ' ' ? 1 : len > 1 ? wide_space_len(str) : 0;

		if (*str == ';')
			text_add(t, ":");
		else if (space || !len)
			text_add(t, "_");
		else
			text_add_len(t, str, len);
		str += space ? space : len ? len : 1;
	}
}

/* Number of a text that is safe already. */
static int name_intern(struct names *names, const struct text *t, uint32_t *ret)
{
	uint64_t found;
	char *copy;

	if (t->failed)
		return -ENOMEM;
	if (hashmap_get(names->index, text_str(t), t->len, &found)) {
		*ret = found;
		return 0;
	}
	if (names->cnt == names->size) {
		size_t size = names->size ? names->size * 2 : 256;
		char **at = realloc(names->at, size * sizeof(*at));

		if (!at)
			return -ENOMEM;
		names->at = at;
		names->size = size;
	}
	copy = strdup(text_str(t));
	if (!copy || hashmap_put(names->index, copy, t->len, names->cnt)) {
		free(copy);
		return -ENOMEM;
	}
	names->at[names->cnt] = copy;
	*ret = names->cnt++;
	return 0;
}

static void frame_text(struct text *t, const struct frame *f)
{
	if (f->kind == FRAME_UNNAMED || !f->name || !*f->name) {
		text_printf(t, "0x%" PRIx64, f->addr);
		return;
	}
	text_add_folded(t, f->name);
	if (f->guessed)
		text_add(t, "?");
}

static int names_fill(struct folding *f)
{
	struct text t = { 0 };
	uint32_t cut;
	int err;

	text_add(&t, "[cut]");
	err = name_intern(&f->names, &t, &cut);
	for (size_t i = 0; !err && i < profile_processes_cnt(f->p); i++) {
		const struct process *process = profile_process_at(f->p, i);

		text_clear(&t);
		text_add_folded(&t, process->comm);
		if (!t.len)
			text_printf(&t, "%d", process->pid);
		err = name_intern(&f->names, &t, &f->processes[i]);
	}
	for (size_t i = 0; !err && i < profile_frames_cnt(f->p); i++) {
		text_clear(&t);
		frame_text(&t, profile_frame_at(f->p, i));
		err = name_intern(&f->names, &t, &f->frames[i]);
	}
	for (size_t i = 0; !err && i < profile_stacks_cnt(f->p); i++) {
		const char *label = profile_stack_at(f->p, i).label;

		text_clear(&t);
		if (label)
			text_add_folded(&t, label);
		if (label)
			err = name_intern(&f->names, &t, &f->labels[i]);
	}
	text_free(&t);
	return err;
}

/* Name number i of a stack's line, counted from its left; -1 behind the last. */
static int64_t name_at(const struct folding *f, uint32_t index, uint32_t i)
{
	struct stack s = profile_stack_at(f->p, index);

	if (!i--)
		return f->processes[s.process];
	if (s.cut && !i--)
		return CUT;
	if (s.label)
		return i ? -1 : (int64_t)f->labels[index];
	return i < s.frames_cnt ? (int64_t)f->frames[s.frames[s.frames_cnt - 1 - i]] : -1;
}

static int stacks_compare(const void *left, const void *right, void *ctx)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	const struct folding *f = ctx;
	const unsigned char *x, *y;
	int64_t name_a, name_b;
	uint32_t i = 0;
	int c, d;

	do {
		name_a = name_at(f, a, i);
		name_b = name_at(f, b, i);
		i++;
	} while (name_a == name_b && name_a >= 0);
	/* one line ends: its space comes before the other's semicolon */
	if (name_a < 0 || name_b < 0)
		return (name_b < 0) - (name_a < 0);
	x = (const unsigned char *)f->names.at[name_a];
	y = (const unsigned char *)f->names.at[name_b];
	for (; *x && *x == *y; x++, y++)
		;
	c = *x ? *x : name_at(f, a, i) < 0 ? ' ' : ';';
	d = *y ? *y : name_at(f, b, i) < 0 ? ' ' : ';';
	return c - d;
}

static int line_write(FILE *out, const struct folding *f, uint32_t stack, int64_t value)
{
	int64_t name;

	errno = 0;
	for (uint32_t i = 0; (name = name_at(f, stack, i)) >= 0; i++) {
		if (i)
			fputc(';', out);
		fputs(f->names.at[name], out);
	}
	fprintf(out, " %" PRId64 "\n", value);
	if (ferror(out))
		return errno ? -errno : -EIO;
	return 0;
}

/* The sum, or the nearest number there is. */
static int64_t add_saturated(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static int lines_write(FILE *out, struct folding *f, int type)
{
	int err = 0;

	for (size_t i = 0; !err && i < f->order_cnt;) {
		uint32_t stack = f->order[i];
		int64_t value = 0;

		for (; i < f->order_cnt && !stacks_compare(&stack, &f->order[i], f); i++)
			value = add_saturated(value, profile_value(f->p, f->order[i], type));
		if (value)
			err = line_write(out, f, stack, value);
	}
	return err;
}

static int folding_open(struct folding *f)
{
	f->names.index = hashmap_new();
	f->frames = calloc(profile_frames_cnt(f->p) + 1, sizeof(*f->frames));
	f->processes = calloc(profile_processes_cnt(f->p) + 1, sizeof(*f->processes));
	f->labels = calloc(profile_stacks_cnt(f->p) + 1, sizeof(*f->labels));
	f->order = calloc(profile_stacks_cnt(f->p) + 1, sizeof(*f->order));
	if (!f->names.index || !f->frames || !f->processes || !f->labels || !f->order)
		return -ENOMEM;
	return names_fill(f);
}

static void folding_close(struct folding *f)
{
	hashmap_free(f->names.index);
	for (size_t i = 0; i < f->names.cnt; i++)
		free(f->names.at[i]);
	free(f->names.at);
	free(f->frames);
	free(f->processes);
	free(f->labels);
	free(f->order);
}

int folded_write(FILE *out, const struct profile *p, const struct writer_options *opt)
{
	struct folding f = { .p = p };
	int err;

	err = folding_open(&f);
	if (err)
		goto out;
	for (size_t i = 0; i < profile_stacks_cnt(p); i++)
		if (profile_value(p, i, opt->type))
			f.order[f.order_cnt++] = i;
	qsort_r(f.order, f.order_cnt, sizeof(*f.order), stacks_compare, &f);
	err = lines_write(out, &f, opt->type);
out:
	folding_close(&f);
	return err;
}
