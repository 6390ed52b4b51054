/* SPDX-License-Identifier: GPL-2.0-only */
/* Any bytes as an ELF file: all that is read of one, and what is promised of the results. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "elf/ehframe.h"
#include "elf/fde.h"
#include "elf/image.h"
#include "elf/image_import.h"
#include "elf/plt.h"
#include "symbol/symtab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned long sink;

/* Reads all of a string, for the sanitizer. */
static void touch(const char *text)
{
	sink += strlen(text);
}

static int on_symbol(const struct image_symbol *sym, void *ctx)
{
	touch(sym->name);
	if (!*sym->name)
		abort();
	*(uint64_t *)ctx = sym->va;
	return 0;
}

static int on_import(const struct image_import *imp, void *ctx)
{
	(void)ctx;
	touch(imp->name);
	return 0;
}

static int on_plt(const struct plt_entry *entry, void *ctx)
{
	(void)ctx;
	touch(entry->name);
	return 0;
}

static void rows_check(const struct ehframe *e)
{
	if (!e->rows_cnt || !e->rules_cnt || e->rules[0] || e->base_va % UNWIND_BLOCK_BYTES || e->rows[e->rows_cnt - 1].rule)
		abort();
	for (size_t i = 0; i < e->rules_cnt; i++)
		if (UNWIND_RULE_KIND(e->rules[i]) >= UNWIND_KINDS || UNWIND_RULE_BP_KIND(e->rules[i]) >= UNWIND_BP_KINDS)
			abort();
	for (size_t i = 0; i < e->rows_cnt; i++)
		if (e->rows[i].rule >= e->rules_cnt || (i && (e->rows[i].va_off <= e->rows[i - 1].va_off ||
							      e->rows[i].rule == e->rows[i - 1].rule)))
			abort();
}

static void symbols_check(struct image *img, uint64_t last_va)
{
	struct symtab *tab;

	if (symtab_new(img, NULL, 0, &tab))
		return;
	for (uint64_t va = last_va - 64; va != last_va + 64; va += 8) {
		const struct symtab_symbol *s = symtab_find(tab, va);

		if (!s)
			continue;
		touch(s->name);
		if (va < s->va || va - s->va >= s->size)
			abort();
	}
	symtab_free(tab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned char *id, *text;
	struct image *img;
	uint64_t last_va = 0;
	struct ehframe e;
	size_t len;

	if (image_open_memory(data, size, &img))
		return 0;
	image_each_symbol(img, on_symbol, &last_va);
	image_each_import(img, on_import, NULL);
	plt_each(img, on_plt, NULL);
	for (len = image_build_id(img, &id); len; len--)
		sink += id[len - 1];
	sink += image_has_section(img, ".debug_info") + fde_starts_at(img, last_va);
	if (!image_text(img, last_va, 64, &text, &len))
		for (; len; len--)
			sink += text[len - 1];
	symbols_check(img, last_va);
	if (!ehframe_read(img, &e)) {
		rows_check(&e);
		ehframe_free(&e);
	}
	image_free(img);
	return 0;
}
