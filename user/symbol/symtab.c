/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A sorted array of the functions of an image; the rules that decide which name an address gets:
 *
 *  - A symbol covers [va, va + size), clipped to its section. Nothing else is ever given its name.
 *  - Where several cover an address, the innermost is chosen: the one that begins last, and of those that
 *    begin together the smallest.
 *
 *	  outer   |===========================|
 *	  inner        |=======|
 *	  name     outer inner    outer         module+0x…
 *
 *  - Aliases (same va, same size): those with a type first; global and weak before local; fewer leading underscores, where a
 *    mangled name (_Z, _R, _D) counts as having none; the default version before name@VERSION; the
 *    shorter; the lower in strcmp() order. So write, not __write or __libc_write.
 *  - Size 0 (assembly that forgot .size) is no licence to name all that follows. Such a symbol reaches
 *    to the next symbol of any kind, the next function in .eh_frame, the end of its section or 4096
 *    bytes, whichever comes first, and is dropped where a symbol with a size covers its start.
 *    The limit is for stripped files: what follows may be any number of functions without a name.
 *  - STT_FUNC and STT_GNU_IFUNC (its resolver) give names, and STT_NOTYPE with a size (assembly that
 *    forgot .type). STT_OBJECT in code (tables) does not, nor do mapping symbols ($x, $d) and local
 *    labels (.L…). GCC's parts of functions (.cold, .part.0, .isra.0, .constprop.0) do, with their
 *    suffix: they are where the address is.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "elf/fde.h"
#include "base/text.h"
#include "elf/image.h"
#include "elf/plt.h"
#include "symbol/symtab.h"

/* The longest assembly routines without .size that were met (OpenSSL, glibc) are below one page. */
#define SIZELESS_MAX_BYTES 4096

/*
 * `link` while the table is built: what the comparison needs to know. Afterwards: the nearest symbol
 * before this one that also covers its start, or one of the two marks.
 */
#define RANK_LOCAL	(1u << 0)
#define RANK_HIDDEN	(1u << 1)	/* name@VERSION */
#define RANK_UNTYPED	(1u << 2)
#define RANK_BOUND	(1u << 3)	/* not a function: only ends the reach of a symbol without a size */
#define LINK_NONE	UINT32_MAX
#define LINK_SIZELESS	(UINT32_MAX - 1)	/* .size is the most it may cover, not yet checked against .eh_frame */
#define SYMBOLS_MAX	(UINT32_MAX - 2)

#define OTHERS_MAX 2

struct symtab {
	struct image *img;
	struct image *others[OTHERS_MAX];	/* names come from there too */
	char **strings;		/* names that are in no file */
	size_t strings_cnt;
	struct symtab_symbol *symbols;
	size_t cnt;
	size_t size;
};

static bool name_is_skipped(const char *name)
{
	/* $x, $d, $a, $t, and with a suffix: $x.12. ELF for the Arm Architecture, 5.5.5. */
	if (name[0] == '$' && name[1] && strchr("xdat", name[1]))
		return !name[2] || name[2] == '.';
	return name[0] == '.' && name[1] == 'L';
}

static int collect(const struct image_symbol *sym, void *ctx)
{
	struct symtab *tab = ctx;
	struct symtab_symbol *s;
	bool is_typed = sym->type == IMAGE_FUNC || sym->type == IMAGE_IFUNC;
	bool is_function = is_typed || (sym->type == IMAGE_OTHER && sym->size);

	if (name_is_skipped(sym->name))
		return 0;
	if (tab->cnt == tab->size) {
		size_t size = tab->size ? tab->size * 2 : 1024;

		if (size > SYMBOLS_MAX)
			return -ENOMEM;
		s = realloc(tab->symbols, size * sizeof(*s));
		if (!s)
			return -ENOMEM;
		tab->symbols = s;
		tab->size = size;
	}
	s = &tab->symbols[tab->cnt++];
	s->va = sym->va;
	s->name = sym->name;
	s->size = sym->size > UINT32_MAX ? UINT32_MAX : sym->size;
	s->link = (sym->global ? 0 : RANK_LOCAL) | (sym->hidden_version ? RANK_HIDDEN : 0) |
		  (is_typed ? 0 : RANK_UNTYPED) | (is_function ? 0 : RANK_BOUND);
	return 0;
}

static int collect_plt(const struct plt_entry *entry, void *ctx)
{
	struct symtab *tab = ctx;
	char **strings = realloc(tab->strings, (tab->strings_cnt + 1) * sizeof(*strings));
	struct image_symbol sym = { .va = entry->va, .size = entry->size_bytes, .type = IMAGE_FUNC };
	struct text name = { 0 };

	if (!strings)
		return -ENOMEM;
	tab->strings = strings;
	text_printf(&name, "%s@plt", entry->name);
	if (name.failed)
		return -ENOMEM;
	sym.name = strings[tab->strings_cnt++] = name.str;
	return collect(&sym, tab);
}

static size_t leading_underscores(const char *name)
{
	if (name[0] == '_' && name[1] && strchr("ZRD", name[1]))
		return 0;
	return strspn(name, "_");
}

/* The better of two names for one place comes first. */
static int alias_compare(const struct symtab_symbol *a, const struct symtab_symbol *b)
{
	const uint32_t kinds = RANK_BOUND | RANK_UNTYPED | RANK_LOCAL;
	size_t x = a->link & kinds, y = b->link & kinds;

	if (x != y)
		return x < y ? -1 : 1;
	x = leading_underscores(a->name);
	y = leading_underscores(b->name);
	if (x != y)
		return x < y ? -1 : 1;
	if ((a->link ^ b->link) & RANK_HIDDEN)
		return a->link & RANK_HIDDEN ? 1 : -1;
	x = strlen(a->name);
	y = strlen(b->name);
	if (x != y)
		return x < y ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* By start; of those that begin together the largest first, so that the innermost is the last. */
static int symbol_compare(const void *pa, const void *pb)
{
	const struct symtab_symbol *a = pa, *b = pb;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return alias_compare(a, b);
}

#define DIGIT_BITS	11
#define DIGITS		(1u << DIGIT_BITS)

/*
 * By va, digit by digit, since a program has 200,000 symbols in no order, and to compare them takes longer than anything else
 * with them. What begins together is then compared. Without memory for it all is compared.
 */
static void symbols_sort(struct symtab_symbol *symbols, size_t cnt)
{
	struct symtab_symbol *other = malloc(cnt * sizeof(*other)), *from = symbols, *to = other;
	size_t *ends = calloc(DIGITS, sizeof(*ends)), at;

	for (unsigned int shift = 0; other && ends && shift < 64; shift += DIGIT_BITS) {
		size_t sum = 0;

		memset(ends, 0, DIGITS * sizeof(*ends));
		for (size_t i = 0; i < cnt; i++)
			ends[from[i].va >> shift & (DIGITS - 1)]++;
		if (ends[from[0].va >> shift & (DIGITS - 1)] == cnt)
			continue;
		for (size_t d = 0; d < DIGITS; d++) {
			size_t n = ends[d];

			ends[d] = sum;
			sum += n;
		}
		for (size_t i = 0; i < cnt; i++)
			to[ends[from[i].va >> shift & (DIGITS - 1)]++] = from[i];
		from = to;
		to = from == symbols ? other : symbols;
	}
	if (from != symbols)
		memcpy(symbols, from, cnt * sizeof(*symbols));
	if (!other || !ends)
		qsort(symbols, cnt, sizeof(*symbols), symbol_compare);
	for (size_t i = 0; i < cnt; i = at) {
		for (at = i + 1; at < cnt && symbols[at].va == symbols[i].va; at++)
			;
		if (at > i + 1)
			qsort(symbols + i, at - i, sizeof(*symbols), symbol_compare);
	}
	free(other);
	free(ends);
}

/*
 * Where the section ends that va lies in, and whether there is code in it. What is in none ends where
 * the next one begins (the headers of the file, which may be in a segment with code); without section
 * headers the segment stands for it.
 */
static bool section_at(const struct image *img, uint64_t va, uint64_t *ret_end)
{
	const unsigned char *text;
	uint64_t end;
	size_t len;
	bool is_code = !image_text(img, va, SIZE_MAX, &text, &len), in_section = !image_section_end(img, va, &end);

	*ret_end = is_code ? va + len : va + 1;
	if (end < *ret_end || (in_section && !is_code))
		*ret_end = end;
	return is_code;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Drops what gives no name, clips what remains. The symbols are sorted. */
static void clip(struct symtab *tab)
{
	uint64_t end = 0;	/* of the section that holds the symbol */
	bool is_code = false;
	uint64_t covered = 0;	/* by a symbol with a size, up to here */
	size_t kept = 0;

	for (size_t i = 0, next = 0; i < tab->cnt; i++) {
		struct symtab_symbol s = tab->symbols[i], *last = kept ? &tab->symbols[kept - 1] : NULL;
		uint64_t reach;

		if (s.va >= end)
			is_code = section_at(tab->img, s.va, &end);
		if ((s.link & RANK_BOUND) || !is_code)
			continue;
		if (s.size) {
			s.size = min_u64(s.size, end - s.va);
			s.link = LINK_NONE;
			covered = covered > s.va + s.size ? covered : s.va + s.size;
		} else {
			for (next = next > i ? next : i; next < tab->cnt && tab->symbols[next].va == s.va; next++)
				;
			reach = min_u64(end, next < tab->cnt ? tab->symbols[next].va : UINT64_MAX);
			s.size = min_u64(reach - s.va, SIZELESS_MAX_BYTES);
			s.link = LINK_SIZELESS;
			if (s.va < covered)
				continue;
		}
		/* The better alias came first. */
		if (!last || last->va != s.va || last->size != s.size)
			tab->symbols[kept++] = s;
	}
	tab->cnt = kept;
}

/* Lets every symbol point to the nearest one before it that also covers its start. */
static void link_enclosing(struct symtab *tab)
{
	uint32_t open = LINK_NONE;

	for (uint32_t i = 0; i < tab->cnt; i++) {
		struct symtab_symbol *s = &tab->symbols[i];

		/* A symbol whose end is passed encloses nothing any more, nor does what points to it need it. */
		while (open != LINK_NONE && s->va - tab->symbols[open].va >= tab->symbols[open].size)
			open = tab->symbols[open].link;
		if (s->link == LINK_SIZELESS)
			continue;
		s->link = open;
		open = i;
	}
}

int symtab_new(struct image *img, struct image *const *others, size_t others_cnt, struct symtab **ret)
{
	struct symtab *tab = calloc(1, sizeof(*tab));
	struct symtab_symbol *fit;
	int err;

	if (!tab)
		return -ENOMEM;
	tab->img = image_ref(img);
	err = image_each_symbol(img, collect, tab);
	for (size_t i = 0; i < others_cnt && i < OTHERS_MAX; i++) {
		tab->others[i] = image_ref(others[i]);
		if (image_each_symbol(others[i], collect, tab) == -ENOMEM)
			err = -ENOMEM;
	}
	if (!err)
		err = plt_each(img, collect_plt, tab);
	if (err) {
		symtab_free(tab);
		return err;
	}
	if (tab->cnt) {
		symbols_sort(tab->symbols, tab->cnt);
		clip(tab);
		link_enclosing(tab);
	}
	fit = realloc(tab->symbols, (tab->cnt ? tab->cnt : 1) * sizeof(*fit));
	if (fit)
		tab->symbols = fit;
	*ret = tab;
	return 0;
}

struct symtab *symtab_free(struct symtab *tab)
{
	if (!tab)
		return NULL;
	image_free(tab->img);
	for (int i = 0; i < OTHERS_MAX; i++)
		image_free(tab->others[i]);
	for (size_t i = 0; i < tab->strings_cnt; i++)
		free(tab->strings[i]);
	free(tab->strings);
	free(tab->symbols);
	free(tab);
	return NULL;
}

/* Ends a symbol without a size where .eh_frame says that another function begins. */
static void settle(struct symtab *tab, struct symtab_symbol *s)
{
	uint32_t size = 1;

	while (size < s->size && !fde_starts_at(tab->img, s->va + size))
		size++;
	s->size = size;
	s->link = LINK_NONE;
}

const struct symtab_symbol *symtab_find(struct symtab *tab, uint64_t va)
{
	size_t low = 0, high = tab->cnt;
	uint32_t i;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (tab->symbols[mid].va <= va)
			low = mid + 1;
		else
			high = mid;
	}
	for (i = low ? low - 1 : LINK_NONE; i != LINK_NONE; i = tab->symbols[i].link) {
		struct symtab_symbol *s = &tab->symbols[i];

		if (s->link == LINK_SIZELESS)
			settle(tab, s);
		if (va - s->va < s->size)
			return s;
	}
	return NULL;
}

size_t symtab_count(const struct symtab *tab)
{
	return tab->cnt;
}
