/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <errno.h>
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "elf/fde.h"
#include "elf/image.h"
#include "elf/insn.h"
#include "trace/pairs.h"

#define SHOWN_MAX	8	/* candidates that are listed where a name is ambiguous */
#define FOUND_MAX	256

/* A place that a function's name stands for. */
struct found {
	struct target_module *module;
	uint64_t va, bytes;
	char *name;		/* the symbol, or "0x…" */
	bool ifunc;
};

struct search {
	const struct target *t;
	const struct images *images;
	const struct pairs *pairs;
	struct text why;	/* what is missing; empty while nothing is */
	bool waits;		/* the object is not loaded yet */
	/* of one function: */
	const struct pair *pair;
	const struct pair_function *fn;
	struct target_module *module;
	struct found found[FOUND_MAX];
	size_t found_cnt;
};

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void found_clear(struct search *s)
{
	while (s->found_cnt)
		free(s->found[--s->found_cnt].name);
}

/* Whether it is worth the time to demangle the symbol: the last identifier of a name is in it as it is. */
static bool may_be_name(const char *symbol, const char *name)
{
	const char *end = name + strcspn(name, "(<"), *start = end;
	char word[256];

	if (strncmp(symbol, "_Z", 2) && strncmp(symbol, "_R", 2))
		return false;
	while (start > name && (isalnum((unsigned char)start[-1]) || start[-1] == '_'))
		start--;
	if (start == end || (size_t)(end - start) >= sizeof(word))
		return true;	/* an operator */
	memcpy(word, start, end - start);
	word[end - start] = '\0';
	return strstr(symbol, word) != NULL;
}

/* Mangled, as it is demangled, or that without its parameters: "pool::get(int)", "pool::get". */
static bool is_name(const char *symbol, const char *name)
{
	char *plain, *without;
	bool is;

	if (!strcmp(symbol, name))
		return true;
	if (!may_be_name(symbol, name))
		return false;
	plain = cplus_demangle(symbol, DMGL_PARAMS | DMGL_ANSI);
	is = plain && !strcmp(plain, name);
	free(plain);
	if (is)
		return true;
	without = cplus_demangle(symbol, DMGL_ANSI);
	is = without && !strcmp(without, name);
	free(without);
	return is;
}

static int on_symbol(const struct image_symbol *sym, void *ctx)
{
	struct search *s = ctx;

	if ((sym->type != IMAGE_FUNC && sym->type != IMAGE_IFUNC) || !is_name(sym->name, s->fn->name))
		return 0;
	for (size_t i = 0; i < s->found_cnt; i++)
		if (s->found[i].module == s->module && s->found[i].va == sym->va)
			return 0;
	if (s->found_cnt == FOUND_MAX)
		return 0;
	s->found[s->found_cnt] = (struct found){
		.module = s->module, .va = sym->va, .bytes = sym->size, .name = strdup(sym->name), .ifunc = sym->type == IMAGE_IFUNC,
	};
	if (!s->found[s->found_cnt].name)
		return -ENOMEM;
	s->found_cnt++;
	return 0;
}

/* The path, or its end from a slash on. */
static bool is_object(const struct target_module *m, const char *object)
{
	size_t have = strlen(m->path), want = strlen(object);

	return have >= want && !strcmp(m->path + have - want, object) &&
	       (have == want || *object == '/' || m->path[have - want - 1] == '/');
}

static int is_libc_symbol(const struct image_symbol *sym, void *ctx)
{
	(void)ctx;
	return !strcmp(sym->name, "__libc_start_main");
}

/* The C library, or what it was linked into. Before glibc 2.34 threads have a library of their own. */
static bool is_libc(const struct target_module *m, const struct image *img)
{
	return !strncmp(base_of(m->path), "libpthread", 10) || image_each_symbol(img, is_libc_symbol, NULL) == 1;
}

/* Whether a file is one to look in. */
static bool is_wanted(const struct search *s, const struct target_module *m)
{
	const struct image *img = images_of(s->images, m);

	if (!img)
		return false;
	if (s->pair->in_libc)
		return is_libc(m, img);
	if (s->pairs->object)
		return is_object(m, s->pairs->object);
	/* an address means something in one file only */
	return strncmp(s->fn->name, "0x", 2) || m->is_exe;
}

static int on_start(const struct image_symbol *sym, void *ctx)
{
	const struct found *f = ctx;

	return (sym->type == IMAGE_FUNC || sym->type == IMAGE_IFUNC) && sym->va == f->va;
}

/* A va that the user gives: it must be where a function begins, or a probe would be in the middle of something. */
static int find_va(struct search *s, struct target_module *m, const struct image *img)
{
	struct found *f = &s->found[0];
	const unsigned char *code;
	uint64_t word_va;
	char *end;
	size_t len;
	int r;

	*f = (struct found){ .module = m, .va = strtoull(s->fn->name, &end, 16) };
	if (*end || image_text(img, f->va, 16, &code, &len)) {
		text_add_safe(&s->why, s->fn->name);
		text_add(&s->why, " is not in the code of ");
		text_add_safe(&s->why, base_of(m->path));
		return 0;
	}
	if (insn_is_plt(code, len, f->va, &word_va)) {
		text_add_safe(&s->why, s->fn->name);
		text_add(&s->why, " is an entry of the PLT, a jump to another function: name that one");
		return 0;
	}
	r = image_each_symbol(img, on_start, f);
	if (r < 0 && r != -ENOEXEC)
		return r;
	if (r <= 0 && !fde_starts_at(img, f->va)) {
		text_add_safe(&s->why, s->fn->name);
		text_add(&s->why, " is not where a function of ");
		text_add_safe(&s->why, base_of(m->path));
		text_add(&s->why, " begins");
		return 0;
	}
	f->name = strdup(s->fn->name);
	if (!f->name)
		return -ENOMEM;
	s->found_cnt = 1;
	return 0;
}

static void why_absent(struct search *s, size_t files_cnt)
{
	const char *object = s->pairs->object;

	text_printf(&s->why, object ? "the file of --object has no function " : "none of the %zu mapped files has a function ",
		    files_cnt);
	text_add_safe(&s->why, s->fn->name);
	text_add(&s->why, ": stripped, inlined, or of a library that is not loaded yet; an address in a file will do "
		 "(0x… with --object FILE)");
}

static void why_ambiguous(struct search *s)
{
	text_add_safe(&s->why, s->fn->name);
	text_printf(&s->why, " is %zu functions: ", s->found_cnt);
	for (size_t i = 0; i < s->found_cnt && i < SHOWN_MAX; i++) {
		char *plain = cplus_demangle(s->found[i].name, DMGL_PARAMS | DMGL_ANSI);

		text_add(&s->why, i ? ", " : "");
		text_add_safe(&s->why, plain ? plain : s->found[i].name);
		text_printf(&s->why, " at 0x%llx of ", (unsigned long long)s->found[i].va);
		text_add_safe(&s->why, base_of(s->found[i].module->path));
		free(plain);
	}
	text_add(&s->why, s->found_cnt > SHOWN_MAX ? " …" : "");
	text_add(&s->why, "; say which: 0x… with --object FILE, or a full name");
}

/* Fills s->found, or s->why. */
static int function_find(struct search *s)
{
	size_t files_cnt = 0;
	int r = 0;

	found_clear(s);
	for (size_t i = 0; i < s->t->modules_cnt && r >= 0 && !s->why.len; i++) {
		struct target_module *m = s->t->modules[i];

		if (!is_wanted(s, m))
			continue;
		files_cnt++;
		s->module = m;
		r = strncmp(s->fn->name, "0x", 2) ? image_each_symbol(images_of(s->images, m), on_symbol, s) :
		    find_va(s, m, images_of(s->images, m));
		r = r == -ENOEXEC ? 0 : r;	/* a file that lies about its symbols has none */
	}
	if (r < 0 || s->why.len || s->pair->in_libc)
		return r < 0 ? r : 0;
	if (!files_cnt && s->pairs->object)
		s->waits = true;
	else if (!s->found_cnt)
		why_absent(s, files_cnt);
	else if (s->found_cnt > 1)
		why_ambiguous(s);
	else if (s->found[0].ifunc) {
		text_add_safe(&s->why, s->fn->name);
		text_add(&s->why, " is chosen at run time (IFUNC): its symbol is not the function; name the one that is chosen");
	}
	return 0;
}

static struct allocator *allocator_of(struct allocators *a, struct target_module *m, size_t first)
{
	struct allocator *more;

	for (size_t i = first; i < a->cnt; i++)
		if (a->list[i].module == m)
			return &a->list[i];
	more = realloc(a->list, (a->cnt + 1) * sizeof(*more));
	if (!more)
		return NULL;
	a->list = more;
	a->list[a->cnt] = (struct allocator){ .family = "pair", .module = m, .used = true, .evidence = strdup("named by the user") };
	return a->list[a->cnt].evidence ? &a->list[a->cnt++] : NULL;
}

static int function_add(struct allocator *a, const struct search *s, const struct found *f, uint64_t domain)
{
	struct allocator_function *more = realloc(a->functions, (a->functions_cnt + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	a->functions = more;
	for (size_t i = 0; i < a->functions_cnt; i++)	/* open and open64 are one */
		if (a->functions[i].va == f->va)
			return 0;
	more[a->functions_cnt] = (struct allocator_function){
		.names = strdup(f->name), .kind = s->fn->acquires ? PROBE_ACQUIRE : PROBE_RELEASE, .va = f->va,
		.size_bytes = f->bytes, .shape = s->fn->shape | COOKIE_SHAPE(domain, 0, 0),
	};
	return more[a->functions_cnt].names ? (a->functions_cnt++, 0) : -ENOMEM;
}

static int function_cmp(const void *a, const void *b)
{
	const struct allocator_function *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

static int pair_find(struct search *s, struct allocators *a, uint64_t domain)
{
	size_t first = a->cnt;
	int err = 0;

	for (size_t i = 0; i < s->pair->functions_cnt && !err && !s->why.len; i++) {
		s->fn = &s->pair->functions[i];
		err = function_find(s);
		for (size_t n = 0; n < s->found_cnt && !err && !s->why.len; n++) {
			struct allocator *one = s->found[n].ifunc ? NULL : allocator_of(a, s->found[n].module, first);

			if (!s->found[n].ifunc)
				err = one ? function_add(one, s, &s->found[n], domain) : -ENOMEM;
		}
	}
	for (size_t i = first; i < a->cnt; i++)
		qsort(a->list[i].functions, a->list[i].functions_cnt, sizeof(*a->list[i].functions), function_cmp);
	if (!err && !s->why.len && s->pair->in_libc && a->cnt == first)
		text_printf(&s->why, "the C library of this process has none of the functions that give %s", s->pair->unit);
	return err;
}

int pairs_find(const struct target *t, const struct images *images, const struct pairs *pairs, struct allocators **ret)
{
	struct allocators *a = calloc(1, sizeof(*a)), *none = calloc(1, sizeof(*none));
	struct search *s = calloc(1, sizeof(*s));
	int err = a && none && s ? 0 : -ENOMEM;

	if (!err)
		*s = (struct search){ .t = t, .images = images, .pairs = pairs };
	for (size_t i = 0; i < pairs->cnt && !err && !s->why.len; i++) {
		s->pair = &pairs->list[i];
		err = pair_find(s, a, i + 1);
	}
	if (!err && !s->why.len && s->waits) {
		struct text object = { 0 };

		text_add_safe(&object, pairs->object);
		a->awaited = object.str;
		err = object.failed ? -ENOMEM : 0;
	}
	if (!err && s->why.failed)
		err = -ENOMEM;
	if (!err && s->why.len) {
		none->missing = s->why.str;
		s->why = (struct text){ 0 };
	}
	if (s) {
		found_clear(s);
		text_free(&s->why);
	}
	free(s);
	if (!err)
		*ret = none->missing ? none : a;
	if (err || !none->missing)
		allocators_free(none);
	if (err || none->missing)
		allocators_free(a);
	return err;
}

void pairs_free(struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->cnt; i++) {
		for (size_t n = 0; n < pairs->list[i].functions_cnt; n++)
			free(pairs->list[i].functions[n].name);
		free(pairs->list[i].functions);
	}
	free(pairs->list);
	*pairs = (struct pairs){ .list = NULL };
}
