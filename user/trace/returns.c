/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A function comes back by its own rets, and by those of what it jumps to at its end:
 *
 *	operator new:  …  ret
 *	               jz  slow ───▸ slow:  …  ret
 *	               jmp f@plt ──▸ f:     …  ret          the word of the PLT entry says where f is
 *
 * All of these pieces are decoded whole, each from its first byte to its last, which its symbol or its unwind
 * information tells; a jump may lead into the middle of one (.cold has parts of many functions, each with an entry of its
 * own). A jump to another file, or to where nobody sees: then a ret might be missing, and there are none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "elf/image_import.h"
#include "elf/insn.h"
#include "trace/returns.h"

#define PIECES_MAX	32	/* tcmalloc's operator new has 9 */
#define RETURNS_MAX	256
#define BREAKPOINT	0xcc

struct search {
	const struct returns_file *f;
	struct fde_range pieces[PIECES_MAX];
	size_t pieces_cnt;
	uint64_t *vas;
	size_t vas_cnt;
	struct text *why;
};

int returns_open(const struct target *t, const struct target_module *m, const struct image *img, struct returns_file *ret)
{
	*ret = (struct returns_file){ .t = t, .module = m, .img = img };
	return fde_ranges_read(img, &ret->fdes, &ret->fdes_cnt);
}

void returns_close(struct returns_file *f)
{
	free(f->fdes);
	*f = (struct returns_file){ .t = NULL };
}

static int why(struct search *s, const char *words, uint64_t va)
{
	text_printf(s->why, "%s (at 0x%llx)", words, (unsigned long long)va);
	return s->why->failed ? -ENOMEM : -ENOEXEC;
}

static int piece_add(struct search *s, uint64_t start, uint64_t end)
{
	if (s->pieces_cnt == PIECES_MAX)
		return why(s, "it goes on in too many other functions", start);
	s->pieces[s->pieces_cnt++] = (struct fde_range){ start, end };
	return 0;
}

static bool is_known(const struct search *s, uint64_t va)
{
	for (size_t i = 0; i < s->pieces_cnt; i++)
		if (va >= s->pieces[i].start && va < s->pieces[i].end)
			return true;
	return false;
}

struct named {
	const char *name;
	uint64_t va;
};

static int is_named(const struct image_symbol *sym, void *ctx)
{
	struct named *n = ctx;

	if (sym->type != IMAGE_FUNC || strcmp(sym->name, n->name))
		return 0;
	n->va = sym->va;
	return 1;
}

struct import_at {
	uint64_t got_va;
	const char *name;
};

static int is_import_at(const struct image_import *imp, void *ctx)
{
	struct import_at *at = ctx;

	if (imp->got_va != at->got_va || imp->is_variable)
		return 0;
	at->name = imp->name;
	return 1;
}

/* Jumps through a word: the process has its value. One that is not bound yet points back to the PLT. */
static int word_follow(struct search *s, uint64_t word_va, uint64_t *ret_va)
{
	const struct returns_file *f = s->f;
	struct import_at at = { .got_va = word_va };
	const struct target_mapping *map;
	struct named named = { .va = 0 };
	uint64_t addr;

	if (target_read(f->t, target_addr(f->module, word_va), &addr, sizeof(addr)) != sizeof(addr))
		return why(s, "it jumps through a word that cannot be read", word_va);
	if (image_each_import(f->img, is_import_at, &at) != 1)
		return why(s, "it jumps through a variable, which may lead elsewhere later", word_va);
	map = target_mapping_at(f->t, addr);
	if (!map || map->module != f->module)
		return why(s, "it goes on in another file", word_va);
	*ret_va = addr - f->module->bias;
	named.name = at.name;
	/* its own function of that name, whether the word is bound by now or will be */
	if (image_each_symbol(f->img, is_named, &named) == 1)
		*ret_va = named.va;
	return 0;
}

/* A jump out of a piece. */
static int jump_follow(struct search *s, uint64_t va)
{
	const struct fde_range *fde;
	const unsigned char *code;
	uint64_t word_va;
	size_t len;
	int err;

	if (is_known(s, va))
		return 0;
	if (!image_text(s->f->img, va, 16, &code, &len) && insn_is_plt(code, len, va, &word_va)) {
		err = word_follow(s, word_va, &va);
		if (err)
			return err;
	}
	if (is_known(s, va))
		return 0;
	fde = fde_range_at(s->f->fdes, s->f->fdes_cnt, va);
	if (!fde || image_text(s->f->img, fde->start, fde->end - fde->start, &code, &len) ||
	    !insn_starts_at(code, len, va - fde->start))
		return why(s, "it jumps to code of which the beginning and the end are not known", va);
	return piece_add(s, fde->start, fde->end);
}

static int rets_add(struct search *s, const struct insn_ends *e)
{
	uint64_t *more = realloc(s->vas, (s->vas_cnt + e->rets_cnt + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	s->vas = more;
	for (size_t i = 0; i < e->rets_cnt; i++)
		s->vas[s->vas_cnt++] = e->rets[i];
	return s->vas_cnt > RETURNS_MAX ? why(s, "it has too many ends", s->vas[0]) : 0;
}

/* The process runs what the file holds; breakpoints of other tracers stand for what was there. */
static bool is_as_mapped(const struct returns_file *f, uint64_t va, const unsigned char *code, size_t len)
{
	unsigned char *memory = malloc(len);
	bool same = memory && target_read(f->t, target_addr(f->module, va), memory, len) == (ssize_t)len;

	for (size_t i = 0; i < len && same; i++)
		same = memory[i] == code[i] || memory[i] == BREAKPOINT;
	free(memory);
	return same;
}

static int piece_look(struct search *s, const struct fde_range *piece)
{
	size_t want = piece->end - piece->start, len;
	const char *words = "it does not decode";
	struct insn_ends ends = { .rets = NULL };
	const unsigned char *code;
	uint64_t to;
	int err;

	if (image_text(s->f->img, piece->start, want, &code, &len) || len != want)
		return why(s, "it is not in one executable segment", piece->start);
	if (!is_as_mapped(s->f, piece->start, code, len))
		return why(s, "its code in memory was changed by somebody, or cannot be read", piece->start);
	err = insn_ends_find(code, len, piece->start, &ends, &words);
	if (err == -ENOEXEC)
		err = why(s, words, piece->start);
	if (!err)
		err = rets_add(s, &ends);
	for (size_t i = 0; i < ends.jumps_cnt && !err; i++)
		err = jump_follow(s, ends.jumps[i]);
	for (size_t i = 0; i < ends.words_cnt && !err; i++) {
		err = word_follow(s, ends.words[i], &to);
		if (!err)
			err = jump_follow(s, to);
	}
	insn_ends_free(&ends);
	return err;
}

static int va_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int returns_find(const struct returns_file *f, uint64_t va, uint64_t bytes, uint64_t **ret_vas, size_t *ret_cnt,
		 struct text *ret_why)
{
	const struct fde_range *fde = fde_range_at(f->fdes, f->fdes_cnt, va);
	struct search s = { .f = f, .why = ret_why };
	int err;

	/* unwind information knows the end better: sizes of hand-written symbols lie */
	if (fde && fde->start == va)
		err = piece_add(&s, va, fde->end);
	else if (bytes && !fde)
		err = piece_add(&s, va, va + bytes);
	else
		err = why(&s, "its end is not known", va);
	for (size_t i = 0; i < s.pieces_cnt && !err; i++) {
		const struct fde_range piece = s.pieces[i];

		err = piece_look(&s, &piece);
	}
	if (!err && !s.vas_cnt)
		err = why(&s, "it never comes back by a ret", va);
	if (err) {
		free(s.vas);
		return err;
	}
	qsort(s.vas, s.vas_cnt, sizeof(*s.vas), va_cmp);
	*ret_vas = s.vas;
	*ret_cnt = s.vas_cnt;
	return 0;
}
