/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "target/allocator.h"
#include "target/candidate.h"

/* A file that could not be read may hold the allocator that is used: that is said, whatever was found. */
static void explain_unread(const struct target *t, struct text *why)
{
	const struct target_module *first = NULL;
	size_t cnt = 0;

	for (size_t i = 0; i < t->modules_cnt; i++) {
		if (!t->modules[i]->open_err)
			continue;
		cnt++;
		if (!first)
			first = t->modules[i];
	}
	if (!first)
		return;
	text_printf(why, "%zu mapped file%s cannot be read (", cnt, cnt == 1 ? "" : "s");
	text_add_safe(why, first->path);
	text_printf(why, ": %s): an allocator there is not found", strerror(-first->open_err));
	if (first->open_err == -EPERM || first->open_err == -EACCES)
		text_add(why, "; run as root, or with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
}

static void explain_missing(const struct target *t, const struct candidates *c, struct text *why)
{
	const struct target_module *exe = NULL;

	explain_unread(t, why);
	if (c->cnt || why->len)
		return;
	for (size_t i = 0; i < t->modules_cnt; i++)
		if (t->modules[i]->is_exe)
			exe = t->modules[i];
	if (exe && exe->facts.is_elf && exe->facts.is_static_exec && !exe->facts.has_symtab) {
		text_add(why, "the executable is linked statically and stripped: nothing says where its malloc is; "
			 "run a build that keeps its symbols (without strip or -s), or one that is linked dynamically");
		return;
	}
	text_printf(why, "none of the %zu mapped files defines malloc and free", t->modules_cnt);
	if (exe && exe->facts.is_elf && !exe->facts.has_symtab)
		text_add(why, "; the executable is stripped: an allocator that is linked into it cannot be found");
}

static int take_over(struct candidates *c, struct allocators *a)
{
	a->list = calloc(c->cnt ? c->cnt : 1, sizeof(*a->list));
	if (!a->list)
		return -ENOMEM;
	for (; a->cnt < c->cnt; a->cnt++) {
		a->list[a->cnt] = c->list[a->cnt].a;
		c->list[a->cnt].a = (struct allocator){ 0 };
	}
	return 0;
}

int allocators_find(const struct target *t, const struct images *images, struct allocators **ret)
{
	struct allocators *a = calloc(1, sizeof(*a));
	struct import_words words = { 0 };
	struct candidates c = { 0 };
	struct text missing = { 0 };
	int err;

	if (!a)
		return -ENOMEM;
	err = import_words_read(t, images, &words);
	for (size_t i = 0; i < t->modules_cnt && !err; i++)
		if (images_of(images, t->modules[i]) && !t->modules[i]->is_plain)
			err = candidates_scan(t->modules[i], images_of(images, t->modules[i]), &words, &c);
	if (!err)
		err = candidates_judge(&c, &words);
	if (!err) {
		explain_missing(t, &c, &missing);
		a->missing = missing.str;
		err = missing.failed ? -ENOMEM : take_over(&c, a);
	}
	candidates_free(&c);
	free(words.list);
	if (err) {
		allocators_free(a);
		return err;
	}
	*ret = a;
	return 0;
}

bool allocators_use_brk(const struct allocators *a)
{
	for (size_t i = 0; i < a->cnt; i++)
		if (a->list[i].used && strcmp(a->list[i].family, "jemalloc") && strcmp(a->list[i].family, "mimalloc"))
			return true;
	return false;
}

struct allocators *allocators_free(struct allocators *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->cnt; i++) {
		struct allocator *one = &a->list[i];

		for (size_t n = 0; n < one->functions_cnt; n++)
			free(one->functions[n].names);
		free(one->functions);
		free(one->evidence);
		free(one->warning);
	}
	free(a->list);
	free(a->missing);
	free(a->awaited);
	free(a);
	return NULL;
}
