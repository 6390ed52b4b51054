/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the call frame information of a file is: .eh_frame, with or without section headers, and .debug_frame. */
#ifndef ELF_CFI_SECTION_H
#define ELF_CFI_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

struct cfi_section {
	const uint8_t *bytes;	/* live as long as the image, or up to cfi_section_free() */
	size_t len;
	uint64_t va;
	bool is_eh;		/* .eh_frame; else .debug_frame */
	bool is_bounded;	/* len is the section's; else it ends before, with an entry of length 0 */
	void *copy;
};

/* -ENOENT: the file has none. -ENOEXEC: it says it has, and lies. -ENOMEM. */
int cfi_section_eh_frame(const struct image *img, struct cfi_section *ret);
int cfi_section_debug_frame(const struct image *img, struct cfi_section *ret);
void cfi_section_free(struct cfi_section *s);

#endif
