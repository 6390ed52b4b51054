/* SPDX-License-Identifier: GPL-2.0-only */
#include <inttypes.h>
#include <string.h>

#include "cmd/chain.h"

#define NAME_MAX_COLUMNS 60

int chain_start(const struct profile *p, const struct stack *st)
{
	for (uint32_t i = 0; i < st->frames_cnt; i++)
		if (profile_frame_at(p, st->frames[i])->kind == FRAME_APP)
			return i;
	for (uint32_t i = 0; i < st->frames_cnt; i++)
		if (profile_frame_at(p, st->frames[i])->kind != FRAME_ALLOCATOR)
			return i;
	return st->frames_cnt ? 0 : -1;
}

/* Groups of parentheses go, but not "(anonymous namespace)" and "operator()". */
void chain_add_name(struct text *t, const struct frame *f)
{
	struct text plain = { 0 };
	int depth = 0;

	if (f->kind == FRAME_UNNAMED || !f->name || !*f->name) {
		text_printf(t, "0x%" PRIx64, f->addr);
		return;
	}
	for (const char *p = f->name; *p; p++) {
		bool kept = !strncmp(p, "(anonymous namespace)", 21);

		if (!depth && kept) {
			text_add_len(&plain, p, 21);
			p += 20;
		} else if (*p == '(' && (depth || p - f->name < 8 || strncmp(p - 8, "operator()", 10))) {
			depth++;
		} else if (*p == ')' && depth) {
			depth--;
		} else if (!depth) {
			text_add_len(&plain, p, 1);
		}
	}
	if (text_width(text_str(&plain)) > NAME_MAX_COLUMNS) {
		text_add_len(t, plain.str, text_fit(plain.str, NAME_MAX_COLUMNS - 1));
		text_add(t, "…");
	} else {
		text_add(t, text_str(&plain));
	}
	if (f->guessed)
		text_add(t, "?");
	text_free(&plain);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

void chain_add_place(struct text *t, const struct frame *f)
{
	struct text place = { 0 };

	if (f->file && f->line)
		text_printf(&place, "%s:%u", base_name(f->file), f->line);
	else if (f->file)
		text_add(&place, base_name(f->file));
	else if (f->module)
		text_add(&place, base_name(f->module));
	/* "(anonymous server.js:41)" says it already */
	if (place.len && !(f->name && *f->name == '(' && strstr(f->name, place.str)))
		text_printf(t, " %s", place.str);
	t->failed |= place.failed;
	text_free(&place);
}

void chain_add(struct text *t, const struct profile *p, const struct stack *st, uint32_t at, uint32_t max)
{
	for (uint32_t i = at; i < st->frames_cnt; i++) {
		if (i > at)
			text_add(t, " < ");
		if (i - at == max) {
			text_add(t, "…");
			return;
		}
		chain_add_name(t, profile_frame_at(p, st->frames[i]));
	}
}
