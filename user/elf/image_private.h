/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of elf/image share. Nobody else includes it. */
#ifndef ELF_IMAGE_PRIVATE_H
#define ELF_IMAGE_PRIVATE_H

#include <elf.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elf/image.h"

/* A symbol table with its strings. All pointers are into the mapped file. */
struct table {
	bool present;
	bool lies;			/* not inside the file, or without a string table */
	bool dynamic;
	const unsigned char *syms;	/* Elf64_Sym, at any alignment */
	size_t sym_cnt;
	const char *strings;		/* the last byte is NUL */
	size_t strings_len;
	const unsigned char *versions;	/* Elf64_Versym, one a symbol; NULL: none */
};

/* A copy of a name in .symtab that carries a version, without it. */
struct versionless {
	uint32_t offset;	/* of the name in the string table */
	char name[];
};

struct image {
	unsigned int users_cnt;
	Elf *elf;
	void *copy;	/* of image_open_memory(): what elf reads */
	const unsigned char *bytes;
	size_t len;
	GElf_Ehdr ehdr;
	struct image_segment *segments;
	size_t segment_cnt;
	bool has_interp;
	uint64_t eh_frame_hdr_va, eh_frame_hdr_bytes;
	uint64_t dynamic[DT_NUM];	/* PT_DYNAMIC by tag, addresses are va; 0: not there */
	uint64_t flags_1;		/* its DT_FLAGS_1 */
	struct table dynsym, symtab;
	const unsigned char *build_id;
	size_t build_id_len;
	uint64_t note_bytes;	/* looked through for it so far */
	void *versionless;	/* tsearch() tree; a cache, so it grows in a const image too */
};

/* NULL when the range is not wholly inside the file. */
const unsigned char *image_range(const struct image *img, uint64_t off, uint64_t len);
/* Bytes at a va of any segment; NULL when they are not all in the file. */
const unsigned char *image_at_va(const struct image *img, uint64_t va, uint64_t len);
/* The header of the first section of that name. -ENOENT. */
int image_section(const struct image *img, const char *name, GElf_Shdr *ret);

#endif
