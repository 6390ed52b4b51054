/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions that a file takes from others. */
#ifndef ELF_IMAGE_IMPORT_H
#define ELF_IMAGE_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

struct image;

/* A relocation that the dynamic linker fills with the address of a named function (GLOB_DAT, JUMP_SLOT; 64). */
struct image_import {
	const char *name;
	uint64_t got_va;	/* where the address is stored */
	bool is_variable;	/* in data that the program may write: not in an import table */
};
int image_each_import(const struct image *img, int (*fn)(const struct image_import *imp, void *ctx), void *ctx);

#endif
