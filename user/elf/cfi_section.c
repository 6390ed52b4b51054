/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sections by their headers. Without headers, .eh_frame is what .eh_frame_hdr points to (Linux Standard Base Core,
 * 10.6.2), as it is for the unwinder in the process itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "elf/cfi_section.h"
#include "elf/image.h"
#include "elf/image_private.h"

/* What a compressed section may claim to hold. Those of the largest Go programs have 5 MB. */
#define INFLATED_MAX	((uint64_t)64 << 20)
/* zlib, Technical Details: no more comes out of a byte. */
#define INFLATE_RATIO	1032

/* A section with its bytes. */
static int section_find(const struct image *img, const char *name, GElf_Shdr *shdr, struct cfi_section *ret)
{
	int err = image_section(img, name, shdr);

	if (err || shdr->sh_type == SHT_NOBITS || !shdr->sh_size)
		return -ENOENT;
	*ret = (struct cfi_section){
		.bytes = image_range(img, shdr->sh_offset, shdr->sh_size), .len = shdr->sh_size, .va = shdr->sh_addr,
		.is_bounded = true,
	};
	return ret->bytes ? 0 : -ENOEXEC;
}

static int section_by_hdr(const struct image *img, struct cfi_section *ret)
{
	const unsigned char *hdr;
	uint64_t hdr_va, va;
	int32_t rel;

	/* version 1, a pointer of the encoding pcrel|sdata4: every linker in use writes these */
	if (image_eh_frame_hdr(img, &hdr, &hdr_va) < 8 || hdr[0] != 1 || hdr[1] != 0x1b)
		return -ENOENT;
	memcpy(&rel, hdr + 4, sizeof(rel));
	va = hdr_va + 4 + (int64_t)rel;
	for (size_t i = 0; i < img->segment_cnt; i++) {
		const struct image_segment *s = &img->segments[i];
		uint64_t left;

		if (va < s->va || va - s->va >= s->file_bytes)
			continue;
		left = s->file_bytes - (va - s->va);
		*ret = (struct cfi_section){
			.bytes = image_range(img, s->off + (va - s->va), left), .len = left, .va = va, .is_eh = true,
		};
		return ret->bytes ? 0 : -ENOEXEC;
	}
	return -ENOEXEC;
}

int cfi_section_eh_frame(const struct image *img, struct cfi_section *ret)
{
	GElf_Shdr shdr;
	int err = section_find(img, ".eh_frame", &shdr, ret);

	if (err)
		return section_by_hdr(img, ret);
	ret->is_eh = true;
	return 0;
}

/* ELF gABI, "Section Compression": a header, then a zlib stream. */
static int section_inflate(struct cfi_section *s)
{
	Elf64_Chdr chdr;
	uLongf len;

	if (s->len < sizeof(chdr))
		return -ENOEXEC;
	memcpy(&chdr, s->bytes, sizeof(chdr));
	if (chdr.ch_type != ELFCOMPRESS_ZLIB)
		return -ENOENT;
	if (!chdr.ch_size || chdr.ch_size > INFLATED_MAX || chdr.ch_size / INFLATE_RATIO > s->len)
		return -ENOEXEC;
	s->copy = malloc(chdr.ch_size);
	if (!s->copy)
		return -ENOMEM;
	len = chdr.ch_size;
	if (uncompress(s->copy, &len, s->bytes + sizeof(chdr), s->len - sizeof(chdr)) != Z_OK) {
		cfi_section_free(s);
		return -ENOEXEC;
	}
	s->bytes = s->copy;
	s->len = len;
	return 0;
}

int cfi_section_debug_frame(const struct image *img, struct cfi_section *ret)
{
	GElf_Shdr shdr;
	int err = section_find(img, ".debug_frame", &shdr, ret);

	if (err)
		return err;
	return shdr.sh_flags & SHF_COMPRESSED ? section_inflate(ret) : 0;
}

void cfi_section_free(struct cfi_section *s)
{
	free(s->copy);
	*s = (struct cfi_section){ 0 };
}
