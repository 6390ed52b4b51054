/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which of several allocators the process uses. Each file that calls malloc in another one has a word
 * in its import table (GOT) that the dynamic linker fills with the address it chose:
 *
 *	nginx       malloc ──┐
 *	libssl.so   malloc ──┼──> libjemalloc.so: used
 *	libc.so     free   ──┘         libc.so:  nobody's word leads here: not used
 *
 * A word that is not bound yet (lazy binding) points at a stub of the importing file itself and hits no
 * function: it proves nothing. Calls within one file need no word: an allocator in the executable, with
 * a prefix, or that is not exported, is taken for used unless its own file's words lead elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "elf/image.h"
#include "elf/image_import.h"
#include "target/candidate.h"

/* In so many bytes of an operator new a call of malloc would be, if it passes through it. */
#define OPERATOR_NEW_BYTES_MAX 512

struct import_reading {
	const struct target *t;
	const struct target_module *module;
	struct import_words *words;
};

static bool is_operator_new(const char *name)
{
	return !strcmp(name, "_Znwm") || !strcmp(name, "_Znam");
}

static int read_import(const struct image_import *imp, void *ctx)
{
	struct import_reading *r = ctx;
	struct import_words *words = r->words;
	enum names_group group;
	enum probe_kind kind;
	struct import_word *more;
	uint64_t addr;

	if (!names_find(imp->name, &group, &kind) && !is_operator_new(imp->name))
		return 0;
	if (target_read(r->t, target_addr(r->module, imp->got_va), &addr, sizeof(addr)) != sizeof(addr))
		return 0;
	/* doubled at each power of two */
	if (!(words->cnt & (words->cnt - 1))) {
		more = realloc(words->list, (words->cnt ? words->cnt * 2 : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		words->list = more;
	}
	words->list[words->cnt++] = (struct import_word){ imp->name, r->module, addr };
	return 0;
}

int import_words_read(const struct target *t, const struct images *images, struct import_words *ret)
{
	for (size_t i = 0; i < t->modules_cnt; i++) {
		struct import_reading r = { t, t->modules[i], ret };

		if (!images_of(images, t->modules[i]))
			continue;
		/* a file that lies about its imports gives no evidence */
		if (image_each_import(images_of(images, t->modules[i]), read_import, &r) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

/* What the words say of one allocator. */
struct votes {
	size_t words, files;		/* that lead to it */
	const struct target_module *example, *last;
	bool contradicted;	/* its own file's word for one of its names leads to another one */
};

static bool has_name(const struct allocator *a, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < a->functions_cnt; i++)
		for (const char *p = a->functions[i].names; p; p = strchr(p, '='), p = p ? p + 1 : NULL)
			if (!strncmp(p, name, len) && (!p[len] || p[len] == '='))
				return true;
	return false;
}

static const struct candidate *candidate_of_addr(const struct candidates *c, uint64_t addr)
{
	for (size_t i = 0; i < c->cnt; i++)
		if (allocator_function_at(&c->list[i].a, addr - c->list[i].a.module->bias))
			return &c->list[i];
	return NULL;
}

static bool is_cplusplus_library(const struct target_module *m)
{
	return !strncmp(path_base(m->path), "libstdc++", 9) || !strncmp(path_base(m->path), "libc++", 6);
}

/* A word for operator new or delete in the library that has them for all others. */
static bool is_own_use(const struct import_word *w)
{
	return !strncmp(w->name, "_Z", 2) && is_cplusplus_library(w->importer);
}

/* votes: one a candidate. Returns how many words lead to any of them. */
static size_t count_votes(const struct candidates *c, const struct import_words *words, struct votes *votes)
{
	size_t total = 0;

	/* words of one file stand together */
	for (size_t i = 0; i < words->cnt; i++) {
		const struct import_word *w = &words->list[i];
		const struct candidate *to = candidate_of_addr(c, w->addr);

		if (!to)
			continue;
		/*
		 * That an allocator calls itself does not say that anybody calls it. Nor does
		 * reallocarray, which jemalloc leaves to glibc: it jumps to whatever realloc there is, or the C++ library,
		 * which is there because the allocator is written in C++.
		 */
		if (w->importer != to->a.module && !strstr(w->name, "reallocarray") && !is_own_use(w)) {
			struct votes *v = &votes[to - c->list];

			total++;
			v->words++;
			v->files += v->last != w->importer;
			v->last = w->importer;
			if (!v->example)
				v->example = w->importer;
		}
		for (size_t n = 0; n < c->cnt; n++)
			if (&c->list[n] != to && c->list[n].a.module == w->importer && has_name(&c->list[n].a, w->name))
				votes[n].contradicted = true;
	}
	return total;
}

/* "jemalloc in libjemalloc.so.2", for the reason why another one is not used. */
static void add_winner(struct text *t, const struct candidates *c, const struct votes *votes)
{
	size_t best = 0;

	for (size_t i = 1; i < c->cnt; i++)
		if (votes[i].words > votes[best].words)
			best = i;
	text_printf(t, "those of %zu file%s lead to %s in ", votes[best].files, votes[best].files == 1 ? "" : "s",
		    c->list[best].a.family);
	text_add_safe(t, path_base(c->list[best].a.module->path));
}

static int judge_one(struct candidates *c, size_t index, const struct votes *votes, size_t total)
{
	struct candidate *cand = &c->list[index];
	const struct votes *v = &votes[index];
	const char *direct = cand->a.module->is_exe ? "defined in the executable: called directly" :
			     cand->prefixed ? "has a prefix: called directly by the file that holds it" :
			     !cand->exported ? "not exported: called directly by the file that holds it" : NULL;
	struct text why = { 0 };

	if (v->words) {
		cand->a.used = true;
		text_printf(&why, "%zu import%s of %zu file%s lead here, first of ", v->words, v->words == 1 ? "" : "s",
			    v->files, v->files == 1 ? "" : "s");
		text_add_safe(&why, path_base(v->example->path));
	} else if (direct && !v->contradicted) {
		cand->a.used = true;
		text_add(&why, direct);
	} else if (!total) {
		cand->a.used = true;
		text_add(&why, "no import of another file tells: all that could be used are taken for used");
	} else {
		text_add(&why, "no import leads here: ");
		add_winner(&why, c, votes);
	}
	if (why.failed)
		return -ENOMEM;
	cand->a.evidence = why.str;
	return 0;
}

/* A call or jump with a 32-bit distance (e8, e9) from one function to another one of the allocator. */
static bool calls_allocator(const struct candidate *cand, const struct allocator_function *fn)
{
	uint64_t len_max = fn->size_bytes;
	const unsigned char *bytes;
	int32_t distance;
	size_t len;

	if (len_max > OPERATOR_NEW_BYTES_MAX)
		len_max = OPERATOR_NEW_BYTES_MAX;
	if (image_text(cand->img, fn->va, len_max, &bytes, &len))
		return false;
	for (size_t i = 0; i + 5 <= len; i++) {
		const struct allocator_function *to;

		if (bytes[i] != 0xe8 && bytes[i] != 0xe9)
			continue;
		memcpy(&distance, bytes + i + 1, sizeof(distance));
		to = allocator_function_at(&cand->a, fn->va + i + 5 + distance);
		if (to && to != fn)
			return true;
	}
	return false;
}

/* Does anybody but the C++ library itself call the operator new of this file? */
static bool operator_new_is_used(const struct candidate *cand, const struct import_words *words)
{
	if (cand->a.module->is_exe)
		return true;
	for (size_t i = 0; i < words->cnt; i++)
		if (is_operator_new(words->list[i].name) && words->list[i].importer != cand->a.module && !is_own_use(&words->list[i]))
			return true;
	return false;
}

static bool is_operator(const struct allocator_function *fn)
{
	for (const char *p = fn->names; p; p = strchr(p, '='), p = p ? p + 1 : NULL)
		if (strncmp(p, "_Z", 2))
			return false;
	return true;
}

/*
 * C++ allocates through operator new. The one of libstdc++ calls malloc, and so do some of an allocator's own: what is
 * booked there need not be booked again. Others (jemalloc since 5.3, tcmalloc, mimalloc) allocate by themselves. A delete
 * stays, whatever it calls: one that is not seen would be a leak that is none.
 */
static void drop_operators(struct candidate *cand, const struct import_words *words)
{
	bool used = operator_new_is_used(cand, words);
	struct allocator *a = &cand->a;
	size_t out = 0;

	/* who passes on to whom is asked while all are there */
	for (size_t i = 0; i < a->functions_cnt; i++) {
		struct allocator_function *fn = &a->functions[i];

		if (is_operator(fn) && (!used || (fn->kind == PROBE_NEW && calls_allocator(cand, fn))))
			fn->kind = PROBE_KINDS;
	}
	for (size_t i = 0; i < a->functions_cnt; i++) {
		if (a->functions[i].kind == PROBE_KINDS)
			free(a->functions[i].names);
		else
			a->functions[out++] = a->functions[i];
	}
	a->functions_cnt = out;
}

int candidates_judge(struct candidates *c, const struct import_words *words)
{
	struct votes *votes = calloc(c->cnt + 1, sizeof(*votes));
	size_t total;
	int err = 0;

	if (!votes)
		return -ENOMEM;
	total = count_votes(c, words, votes);
	for (size_t i = 0; i < c->cnt && !err; i++) {
		err = judge_one(c, i, votes, total);
	}
	/* not before all words are counted: those of operator new lead here as well */
	for (size_t i = 0; i < c->cnt && !err; i++)
		drop_operators(&c->list[i], words);
	free(votes);
	return err;
}
