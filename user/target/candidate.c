/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Symbols of one file -> the allocators in it.
 *
 *	symbols that names.c knows, by prefix:   malloc=tc_malloc@1000  free@2000  je_malloc@9000 …
 *	prefixes that share an address are one allocator (tcmalloc's malloc is tc_malloc)
 *	an allocator allocates and frees: a file with a function named "free" alone has none
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "elf/image.h"
#include "target/candidate.h"

/* No file defines more of these names than names.c has, a few times over (aliases, versions). */
#define FOUND_MAX 1024

struct found {
	const char *name;
	uint64_t va, size_bytes;
	enum probe_kind kind;
	enum names_group group;
	bool ifunc;
};

struct scan {
	struct target_module *module;
	const struct image *img;
	struct found *list;
	size_t cnt;
	unsigned int marks;
	bool exported[NAMES_GROUPS];
	struct text unresolved;	/* names of IFUNCs whose function is not known */
};

static int scan_symbol(const struct image_symbol *sym, void *ctx)
{
	struct scan *scan = ctx;
	enum names_group group;
	enum probe_kind kind;
	unsigned int marks;
	struct found *more;

	/* most symbols of a large program, and only one of them counts */
	if (!strncmp(sym->name, "_ZN", 3))
		return 0;
	marks = names_marks(sym->name);
	/* a static executable has parts of the loader in it, but exports none */
	if (!sym->dynamic)
		marks &= ~NAMES_MARK_LOADER;
	scan->marks |= marks;
	if (sym->type != IMAGE_FUNC && sym->type != IMAGE_IFUNC)
		return 0;
	if (!names_find(sym->name, &group, &kind) || scan->cnt == FOUND_MAX)
		return 0;
	/* doubled at each power of two */
	if (!(scan->cnt & (scan->cnt - 1))) {
		more = realloc(scan->list, (scan->cnt ? scan->cnt * 2 : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		scan->list = more;
	}
	scan->list[scan->cnt++] = (struct found){ .name = sym->name, .va = sym->va, .size_bytes = sym->size,
						  .kind = kind, .group = group, .ifunc = sym->type == IMAGE_IFUNC };
	scan->exported[group] |= sym->dynamic;
	return 0;
}

/*
 * An IFUNC symbol is a resolver; the function is what it returned, and that stands in the words of
 * those who import it. Only words of other files: the file's own may still be its own PLT.
 */
static bool resolve_ifunc(struct found *f, const struct scan *scan, const struct import_words *words)
{
	const unsigned char *bytes;
	size_t len;

	for (size_t i = 0; i < words->cnt; i++) {
		const struct import_word *w = &words->list[i];
		uint64_t va = w->addr - scan->module->bias;

		if (w->importer == scan->module || strcmp(w->name, f->name) || image_text(scan->img, va, 1, &bytes, &len))
			continue;
		f->va = va;
		f->size_bytes = 0;
		f->ifunc = false;
		return true;
	}
	return false;
}

static void resolve_ifuncs(struct scan *scan, const struct import_words *words)
{
	size_t out = 0;

	for (size_t i = 0; i < scan->cnt; i++) {
		struct found f = scan->list[i];

		if (f.ifunc && !resolve_ifunc(&f, scan, words)) {
			text_printf(&scan->unresolved, "%s%s", scan->unresolved.len ? ", " : "", f.name);
			continue;
		}
		scan->list[out++] = f;
	}
	scan->cnt = out;
}

static int found_cmp(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->va != y->va)
		return x->va < y->va ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Prefixes with an address in common become one group: the prefixed one, whose family is certain. */
static void merge_groups(struct scan *scan)
{
	for (size_t i = 1; i < scan->cnt; i++) {
		enum names_group a = scan->list[i - 1].group, b = scan->list[i].group;
		enum names_group from = a < b ? a : b, to = a < b ? b : a;

		if (scan->list[i - 1].va != scan->list[i].va || a == b)
			continue;
		for (size_t n = 0; n < scan->cnt; n++)
			if (scan->list[n].group == from)
				scan->list[n].group = to;
		scan->exported[to] |= scan->exported[from];
		i = 0;
	}
}

static bool group_is_allocator(const struct scan *scan, enum names_group group)
{
	bool allocates = false, frees = false;

	for (size_t i = 0; i < scan->cnt; i++) {
		if (scan->list[i].group != group)
			continue;
		frees |= scan->list[i].kind == PROBE_FREE;
		allocates |= scan->list[i].kind == PROBE_MALLOC || scan->list[i].kind == PROBE_CALLOC;
	}
	return allocates && frees;
}

static const char *plain_family(const struct scan *scan)
{
	const char *base = path_base(scan->module->path);

	if (scan->marks & NAMES_MARK_JEMALLOC)
		return "jemalloc";
	/* with functions of their own prefix here these two would share addresses with malloc */
	if ((scan->marks & NAMES_MARK_TCMALLOC) && !group_is_allocator(scan, NAMES_TC))
		return "tcmalloc";
	if ((scan->marks & NAMES_MARK_MIMALLOC) && !group_is_allocator(scan, NAMES_MI))
		return "mimalloc";
	if (scan->marks & NAMES_MARK_GLIBC)
		return "glibc";
	if ((scan->marks & NAMES_MARK_MUSL) || !strncmp(base, "ld-musl", 7))
		return "musl";
	/* stripped, and a libc that is not glibc; in an executable it would say nothing of its malloc */
	if ((scan->marks & NAMES_MARK_LIBC) && !scan->module->is_exe)
		return "musl";
	return "unknown";
}

static int function_add_name(struct allocator_function *fn, const char *name)
{
	struct text names = { 0 };

	/* sorted, so that an equal one (from .dynsym and .symtab) is the last that was added */
	if (fn->names) {
		const char *last = strrchr(fn->names, '=');

		if (!strcmp(last ? last + 1 : fn->names, name))
			return 0;
		text_printf(&names, "%s=%s", fn->names, name);
	} else {
		text_add(&names, name);
	}
	if (names.failed) {
		text_free(&names);
		return -ENOMEM;
	}
	free(fn->names);
	fn->names = names.str;
	return 0;
}

/* The functions of a group; scan->list is sorted by va and name. */
static int candidate_fill(const struct scan *scan, enum names_group group, struct allocator *a)
{
	a->functions = calloc(scan->cnt, sizeof(*a->functions));
	if (!a->functions)
		return -ENOMEM;
	for (size_t i = 0; i < scan->cnt; i++) {
		const struct found *f = &scan->list[i];
		struct allocator_function *fn = NULL;
		int err;

		if (f->group != group)
			continue;
		if (a->functions_cnt)
			fn = &a->functions[a->functions_cnt - 1];
		if (!fn || fn->va != f->va) {
			fn = &a->functions[a->functions_cnt++];
			fn->va = f->va;
			fn->kind = f->kind;
		}
		if (f->kind < fn->kind)		/* an alias that does not throw: malloc is a nothrow operator new */
			fn->kind = f->kind;
		if (fn->size_bytes < f->size_bytes)
			fn->size_bytes = f->size_bytes;
		err = function_add_name(fn, f->name);
		if (err)
			return err;
	}
	return 0;
}

static int candidate_add(const struct scan *scan, enum names_group group, bool prefixed, struct candidates *c)
{
	struct candidate *more, *new;
	struct text warning = { 0 };

	more = realloc(c->list, (c->cnt + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	c->list = more;
	new = &c->list[c->cnt++];
	*new = (struct candidate){
		.a.module = scan->module,
		.img = scan->img,
		.a.family = names_group_family(group) ? names_group_family(group) : plain_family(scan),
		.exported = scan->exported[group],
		.prefixed = prefixed,
	};
	if (scan->unresolved.len) {
		text_printf(&warning, "%s: chosen at run time (IFUNC) and called by nobody yet: not seen",
			    scan->unresolved.str);
		if (warning.failed)
			return -ENOMEM;
		new->a.warning = warning.str;
	}
	return candidate_fill(scan, group, &new->a);
}

int candidates_scan(struct target_module *m, const struct image *img, const struct import_words *words,
		    struct candidates *c)
{
	struct scan scan = { .module = m, .img = img };
	bool plain;
	int err;

	err = image_each_symbol(img, scan_symbol, &scan);
	/* ld.so's own malloc serves it alone, and only until libc is there */
	if (err || (scan.marks & NAMES_MARK_LOADER)) {
		err = err == -ENOMEM ? err : 0;
		goto out;
	}
	resolve_ifuncs(&scan, words);
	if (scan.cnt)
		qsort(scan.list, scan.cnt, sizeof(*scan.list), found_cmp);
	plain = group_is_allocator(&scan, NAMES_PLAIN);
	merge_groups(&scan);
	for (int group = 0; group < NAMES_GROUPS && !err; group++)
		if (group_is_allocator(&scan, group))
			err = candidate_add(&scan, group, group != NAMES_PLAIN &&
					    (!plain || group_is_allocator(&scan, NAMES_PLAIN)), c);
out:
	text_free(&scan.unresolved);
	free(scan.list);
	return err;
}

void candidates_free(struct candidates *c)
{
	for (size_t i = 0; i < c->cnt; i++) {
		struct allocator *a = &c->list[i].a;

		for (size_t n = 0; a->functions && n < a->functions_cnt; n++)
			free(a->functions[n].names);
		free(a->functions);
		free(a->evidence);
		free(a->warning);
	}
	free(c->list);
	*c = (struct candidates){ 0 };
}

const struct allocator_function *allocator_function_at(const struct allocator *a, uint64_t va)
{
	for (size_t i = 0; i < a->functions_cnt; i++)
		if (a->functions[i].va == va)
			return &a->functions[i];
	return NULL;
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
