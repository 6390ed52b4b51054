/* SPDX-License-Identifier: GPL-2.0-only */
/* Entries of the PLT: code without symbols that jumps to a function of another file. */
#ifndef ELF_PLT_H
#define ELF_PLT_H

#include <stdint.h>

struct image;

struct plt_entry {
	const char *name;	/* of the function that it jumps to; lives as long as the image */
	uint64_t va;
	uint32_t size_bytes;
};

/*
 * Calls fn for each entry of .plt, .plt.sec and .plt.got whose function is known (x86-64; other machines have none). A
 * return other than 0 ends it and becomes the result. -ENOMEM.
 */
int plt_each(const struct image *img, int (*fn)(const struct plt_entry *entry, void *ctx), void *ctx);

#endif
