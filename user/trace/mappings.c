/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elf/image.h"
#include "trace/mappings.h"

static const struct {
	const char *name;
	enum probe_kind kind;
} functions[] = {
	{ "mmap", PROBE_MMAP },
	{ "mmap64", PROBE_MMAP },
	{ "mremap", PROBE_MREMAP },
	{ "munmap", PROBE_MUNMAP },
};

#define FUNCTIONS_CNT	(sizeof(functions) / sizeof(functions[0]))

struct found {
	uint64_t va[FUNCTIONS_CNT], bytes[FUNCTIONS_CNT];
};

static int on_symbol(const struct image_symbol *sym, void *ctx)
{
	struct found *f = ctx;

	if (sym->type != IMAGE_FUNC || *sym->name != 'm')
		return 0;
	for (size_t i = 0; i < FUNCTIONS_CNT; i++) {
		if (f->va[i] || strcmp(sym->name, functions[i].name))
			continue;
		f->va[i] = sym->va;
		f->bytes[i] = sym->size;
	}
	return 0;
}

static int function_cmp(const void *a, const void *b)
{
	const struct allocator_function *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

/* One more name for what is at that address, or a function. -ENOMEM. */
static int function_add(struct allocator_function *list, int *cnt, const struct found *f, size_t which)
{
	struct allocator_function *fn = list;
	char *names = NULL;

	while (fn < list + *cnt && fn->va != f->va[which])
		fn++;
	if (asprintf(&names, "%s%s%s", fn < list + *cnt ? fn->names : "", fn < list + *cnt ? "=" : "", functions[which].name) < 0)
		return -ENOMEM;
	if (fn < list + *cnt)
		free(fn->names);
	else
		(*cnt)++;
	*fn = (struct allocator_function){ .names = names, .kind = functions[which].kind, .va = f->va[which],
					   .size_bytes = f->bytes[which] };
	return 0;
}

int mapping_functions_find(const struct image *img, struct allocator_function ret[MAPPING_FUNCTIONS_MAX])
{
	struct found found = { .va = { 0 } };
	bool maps = false, unmaps = false;
	int cnt = 0, err = 0;

	if (image_each_symbol(img, on_symbol, &found) < 0)
		return 0;	/* a file that lies about its symbols has none */
	for (size_t i = 0; i < FUNCTIONS_CNT; i++) {
		maps |= found.va[i] && functions[i].kind == PROBE_MMAP;
		unmaps |= found.va[i] && functions[i].kind == PROBE_MUNMAP;
	}
	for (size_t i = 0; i < FUNCTIONS_CNT && maps && unmaps && !err; i++)
		if (found.va[i])
			err = function_add(ret, &cnt, &found, i);
	qsort(ret, cnt, sizeof(*ret), function_cmp);
	while (err && cnt)
		free(ret[--cnt].names);
	return err ? err : cnt;
}
