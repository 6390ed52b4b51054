/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of one ELF image, sorted by address, the entries of its PLT included ("malloc@plt"). Knows of files only: no process, no cache, no
 * demangling.
 */
#ifndef SYMBOL_SYMTAB_H
#define SYMBOL_SYMTAB_H

#include <stddef.h>
#include <stdint.h>

struct image;
struct symtab;

/* 24 bytes each: node has 100,000 of them. */
struct symtab_symbol {
	uint64_t va;
	const char *name;	/* lives as long as the table */
	uint32_t size;		/* what it covers, in bytes; never more than 2^32 - 1 */
	uint32_t link;		/* private */
};

/*
 * Reads the symbols of an image, and those that were split off from it into others; all are kept until symtab_free().
 * Where sections are, and which hold code, img alone says. Errors: -ENOMEM, those of image_each_symbol().
 */
int symtab_new(struct image *img, struct image *const *others, size_t others_cnt, struct symtab **ret);
struct symtab *symtab_free(struct symtab *tab);

/* The innermost function that covers va, NULL when none does. Lives as long as the table. */
const struct symtab_symbol *symtab_find(struct symtab *tab, uint64_t va);

size_t symtab_count(const struct symtab *tab);

#endif
