/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What DWARF says of an address: source file and line, and the functions that the compiler has inlined there. Through
 * libdw; an index of each compilation unit is made when the first of its addresses comes.
 */
#ifndef ELF_INLINES_H
#define ELF_INLINES_H

#include <stdint.h>

struct image;
struct inlines;

#define INLINES_MAX	32	/* deeper ones are left out, the innermost first */

/* One function at an address. Strings live as long as the object. */
struct inlines_frame {
	const char *name;	/* linkage name if there is one; NULL = DWARF has none */
	const char *file;	/* where in it the address, or the call of the next inner one, is, with its folder; NULL = not known */
	uint32_t line;		/* 0 = not known */
};

struct inlines_list {
	struct inlines_frame at[INLINES_MAX + 1];	/* innermost first; the last is the function itself */
	uint32_t cnt;		/* 0 = DWARF does not know the address */
};

/*
 * img has the debug information: the file itself or the one that was split off from it. alt: what it has in common with
 * others, see debug_file_alt(); NULL: what is only there is not known. Both are kept. -ENOENT: there is none. -ENOMEM.
 */
int inlines_new(struct image *img, struct image *alt, struct inlines **ret);
struct inlines *inlines_free(struct inlines *in);

void inlines_find(struct inlines *in, uint64_t va, struct inlines_list *ret);

#endif
