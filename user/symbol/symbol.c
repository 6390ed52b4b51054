/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An address becomes a name in three steps, of which the last two are remembered:
 *
 *	address ── target: mapping, va in the file ── symtab of the file, built when its first address
 *	comes, in whatever process ── readable form of the name, made when it is first met
 *
 * Mappings are asked each time: they change, and the same address may be another file tomorrow.
 *
 * What has no symbol is named by its place, with the number that can be looked up elsewhere:
 *
 *	libc.so.6+0x1234	va in the file, as addr2line takes it
 *	data.bin+0x1234		offset in a file that is mapped and is no ELF file that could be read
 *	[anon+0x7f0012345678]	address; so for the kernel's names of anonymous memory: [heap+0x…]
 *	[uprobes]		the page where the kernel steps over probed instructions: a name
 *	0x7f0012345678		in no mapping
 *
 * `off` of the unknown is that same number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "symbol/demangle.h"
#include "symbol/symbol.h"
#include "symbol/symtab.h"
#include "symbol/tables.h"

struct symbolizer {
	struct symbolizer_options opt;
	struct tables *tables;
	struct hashmap *names;		/* name as the file has it -> what is shown, in strings */
	struct hashmap *interned;	/* text -> its only copy, in strings */
	char **strings;			/* owned */
	size_t strings_cnt, strings_size;
};

int symbolizer_new(const struct symbolizer_options *opt, struct symbolizer **ret)
{
	struct symbolizer *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	s->tables = tables_new();
	s->names = hashmap_new();
	s->interned = hashmap_new();
	if (!s->tables || !s->names || !s->interned) {
		symbolizer_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

struct symbolizer *symbolizer_free(struct symbolizer *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->strings_cnt; i++)
		free(s->strings[i]);
	free(s->strings);
	tables_free(s->tables);
	hashmap_free(s->names);
	hashmap_free(s->interned);
	free(s);
	return NULL;
}

/* Makes room for one more string. */
static int strings_reserve(struct symbolizer *s)
{
	size_t size = s->strings_size ? s->strings_size * 2 : 256;
	char **strings;

	if (s->strings_cnt < s->strings_size)
		return 0;
	strings = realloc(s->strings, size * sizeof(*strings));
	if (!strings)
		return -ENOMEM;
	s->strings = strings;
	s->strings_size = size;
	return 0;
}

static int intern(struct symbolizer *s, const char *str, const char **ret)
{
	size_t len = strlen(str);
	uint64_t value;
	char *copy;

	if (hashmap_get(s->interned, str, len, &value)) {
		*ret = (const char *)(uintptr_t)value;
		return 0;
	}
	if (strings_reserve(s))
		return -ENOMEM;
	copy = strdup(str);
	if (!copy)
		return -ENOMEM;
	if (hashmap_put(s->interned, str, len, (uintptr_t)copy)) {
		free(copy);
		return -ENOMEM;
	}
	s->strings[s->strings_cnt++] = copy;
	*ret = copy;
	return 0;
}

/* What is shown for a name of the file. */
static int display_name(struct symbolizer *s, const char *raw, const char **ret)
{
	size_t len = strlen(raw);
	char *readable = NULL;
	const char *shown;
	uint64_t value;
	int err;

	if (s->opt.no_demangle)
		return intern(s, raw, ret);
	if (hashmap_get(s->names, raw, len, &value)) {
		*ret = (const char *)(uintptr_t)value;
		return 0;
	}
	err = demangle_name(raw, &readable);
	if (err && err != -ENOENT)
		return err;
	err = intern(s, readable ? readable : raw, &shown);
	free(readable);
	if (!err)
		err = hashmap_put(s->names, raw, len, (uintptr_t)shown);
	if (!err)
		*ret = shown;
	return err;
}

/* "prefix+0x12suffix" */
static int name_by_place(struct symbolizer *s, const char *prefix, size_t prefix_len, uint64_t off,
			 const char *suffix, struct symbol *ret)
{
	struct text text = { 0 };
	int err = -ENOMEM;

	text_add_len(&text, prefix, prefix_len);
	text_printf(&text, "+0x%" PRIx64 "%s", off, suffix);
	if (!text.failed)
		err = intern(s, text.str, &ret->name);
	text_free(&text);
	ret->off = off;
	ret->known = false;
	return err;
}

/* An address in a mapping that no module speaks for. */
static int name_mapping(struct symbolizer *s, const struct target_mapping *map, uint64_t addr, struct symbol *ret)
{
	const char *base = strrchr(map->path, '/');
	size_t len = strlen(map->path);

	if (!strcmp(map->path, "[uprobes]")) {
		ret->off = addr - map->start;
		ret->known = true;
		return intern(s, map->path, &ret->name);
	}
	if (base)
		return name_by_place(s, base + 1, strlen(base + 1), addr - map->start + map->off, "", ret);
	if (len > 2 && map->path[0] == '[' && map->path[len - 1] == ']')
		return name_by_place(s, map->path, len - 1, addr, "]", ret);
	return name_by_place(s, "[anon", strlen("[anon"), addr, "]", ret);
}

static int name_in_module(struct symbolizer *s, const struct target_mapping *map, uint64_t addr, uint64_t lookup_addr,
			  struct symbol *ret)
{
	const struct target_module *m = map->module;
	const char *base = strrchr(m->path, '/');
	const struct symtab_symbol *sym = NULL;
	struct symtab *tab;
	uint64_t va;
	int err;

	err = intern(s, m->path, &ret->module);
	if (err)
		return err;
	if (!m->image)
		return name_mapping(s, map, addr, ret);
	if (target_mapping_va(map, lookup_addr, &va)) {
		/* The rest of a page that the file has for something else. */
		va = lookup_addr - m->bias;
	} else {
		err = tables_get(s->tables, m, &tab);
		if (err)
			return err;
		sym = tab ? symtab_find(tab, va) : NULL;
	}
	va += addr - lookup_addr;
	if (!sym) {
		base = base ? base + 1 : m->path;
		return name_by_place(s, base, strlen(base), va, "", ret);
	}
	ret->off = va - sym->va;
	ret->known = true;
	return display_name(s, sym->name, &ret->name);
}

static int name_nowhere(struct symbolizer *s, uint64_t addr, struct symbol *ret)
{
	char name[sizeof("0x") + 16];

	snprintf(name, sizeof(name), "0x%" PRIx64, addr);
	ret->off = addr;
	ret->known = false;
	return intern(s, name, &ret->name);
}

int symbolizer_resolve(struct symbolizer *s, const struct target *t, uint64_t addr, bool is_return, struct symbol *ret)
{
	uint64_t lookup_addr = is_return && addr ? addr - 1 : addr;
	const struct target_mapping *map = t ? target_mapping_at(t, lookup_addr) : NULL;
	struct symbol sym = { .module = "" };
	int err;

	if (!map) {
		err = name_nowhere(s, addr, &sym);
	} else if (map->module) {
		err = name_in_module(s, map, addr, lookup_addr, &sym);
	} else {
		err = intern(s, map->path, &sym.module);
		if (!err)
			err = name_mapping(s, map, addr, &sym);
	}
	if (!err)
		*ret = sym;
	return err;
}
