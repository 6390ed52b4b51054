/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	cfree:      e9 ....        jmp free        straight
 *	cfree:      e9 ....        jmp free@plt
 *	free@plt:   ff 25 ....     jmp *word       the word is in the import table, the process has its value
 *
 * endbr64 may stand before either, and the prefix f2 (bnd) before either jump. mimalloc and musl are
 * full of these.
 */
#include <string.h>

#include "elf/image.h"
#include "elf/image_import.h"
#include "trace/stub.h"

/* A stub, its PLT entry, the function; with room for a stub to a stub. */
#define HOPS_MAX 4

struct import_search {
	uint64_t got_va;
	const char *name;
};

static int search_import(const struct image_import *imp, void *ctx)
{
	struct import_search *s = ctx;

	if (imp->got_va != s->got_va)
		return 0;
	s->name = imp->name;
	return 1;
}

static const struct allocator_function *function_at(const struct allocator *a, uint64_t va)
{
	for (size_t i = 0; i < a->functions_cnt; i++)
		if (a->functions[i].va == va)
			return &a->functions[i];
	return NULL;
}

static const struct allocator_function *function_named(const struct allocator *a, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < a->functions_cnt; i++)
		for (const char *p = a->functions[i].names; p; p = strchr(p, '='), p = p ? p + 1 : NULL)
			if (!strncmp(p, name, len) && (!p[len] || p[len] == '='))
				return &a->functions[i];
	return NULL;
}

/*
 * Where a jump through the import table leads. A word that is not bound yet will be bound to the
 * function of that name; within an allocator that is its own, or its own would not be the used one.
 */
static bool follow_word(const struct target *t, const struct image *img, const struct allocator *a, uint64_t got_va,
			uint64_t *va)
{
	const struct allocator_function *fn;
	struct import_search search = { .got_va = got_va };
	uint64_t addr;

	if (target_read(t, target_addr(a->module, got_va), &addr, sizeof(addr)) != sizeof(addr))
		return false;
	*va = addr - a->module->bias;
	if (function_at(a, *va))
		return true;
	if (image_each_import(img, search_import, &search) != 1)
		return false;
	/* bound to another file's function: that is another one, whatever its name */
	if (!target_mapping_at(t, addr) || target_mapping_at(t, addr)->module != a->module)
		return false;
	fn = function_named(a, search.name);
	if (fn)
		*va = fn->va;
	return fn != NULL;
}

/* Follows the jump at *va, if there is one. */
static bool follow_jump(const struct target *t, const struct image *img, const struct allocator *a, uint64_t *va)
{
	static const unsigned char endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	const unsigned char *code;
	uint64_t at = *va;
	int32_t distance;
	size_t len;

	if (image_text(img, at, 16, &code, &len) || len < 16)
		return false;
	if (!memcmp(code, endbr64, sizeof(endbr64))) {
		code += sizeof(endbr64);
		at += sizeof(endbr64);
	}
	if (*code == 0xf2) {
		code++;
		at++;
	}
	if (code[0] == 0xeb) {
		*va = at + 2 + (int8_t)code[1];
		return true;
	}
	if (code[0] == 0xe9) {
		memcpy(&distance, code + 1, sizeof(distance));
		*va = at + 5 + distance;
		return true;
	}
	if (code[0] == 0xff && code[1] == 0x25) {
		memcpy(&distance, code + 2, sizeof(distance));
		return follow_word(t, img, a, at + 6 + distance, va);
	}
	return false;
}

const struct allocator_function *stub_target(const struct target *t, const struct image *img, const struct allocator *a,
					     const struct allocator_function *fn)
{
	const struct allocator_function *to;
	uint64_t va = fn->va;

	for (int hops = 0; hops < HOPS_MAX && follow_jump(t, img, a, &va); hops++) {
		to = function_at(a, va);
		if (to)
			return to == fn ? NULL : to;
	}
	return NULL;
}
