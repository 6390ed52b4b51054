/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "elf/cfi.h"
#include "elf/cfi_section.h"
#include "elf/fde.h"

/*
 * .eh_frame_hdr has a sorted table for just this question (Linux Standard Base, "The .eh_frame_hdr
 * section"). Every linker in use writes these encodings; another, or no table, is "no evidence".
 *
 *	0  version = 1
 *	1  encoding of the pointer to .eh_frame	0x1b pc-relative, 4 bytes signed
 *	2  encoding of the count		0x03 4 bytes
 *	3  encoding of the table		0x3b relative to this section, 4 bytes signed
 *	4  pointer to .eh_frame
 *	8  count
 *	12 { start of the function, address of its FDE } × count, by start
 */
bool fde_starts_at(const struct image *img, uint64_t va)
{
	const unsigned char *hdr;
	uint64_t hdr_va, bytes = image_eh_frame_hdr(img, &hdr, &hdr_va);
	uint32_t cnt, low = 0;
	int64_t want;

	if (bytes < 12 || hdr[0] != 1 || hdr[1] != 0x1b || hdr[2] != 0x03 || hdr[3] != 0x3b)
		return false;
	memcpy(&cnt, hdr + 8, sizeof(cnt));
	if (cnt > (bytes - 12) / 8)
		return false;
	want = (int64_t)(va - hdr_va);
	for (uint32_t high = cnt; low < high;) {
		uint32_t mid = low + (high - low) / 2;
		int32_t start;

		memcpy(&start, hdr + 12 + (size_t)mid * 8, sizeof(start));
		if (start == want)
			return true;
		if (start < want)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static int range_cmp(const void *a, const void *b)
{
	const struct fde_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int ranges_collect(struct cfi_reader *r, struct fde_range **list, size_t *cnt)
{
	struct cfi_fde fde;
	int more;

	while ((more = cfi_next(r, &fde)) > 0) {
		/* doubled at each power of two */
		if (!(*cnt & (*cnt - 1))) {
			struct fde_range *grown = realloc(*list, (*cnt ? *cnt * 2 : 1) * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			*list = grown;
		}
		(*list)[(*cnt)++] = (struct fde_range){ fde.start, fde.end };
	}
	return more;
}

int fde_ranges_read(const struct image *img, struct fde_range **ret_list, size_t *ret_cnt)
{
	struct fde_range *list = NULL;
	struct cfi_section section;
	struct cfi_reader *r;
	size_t cnt = 0;
	int err = cfi_section_eh_frame(img, &section);

	*ret_list = NULL;
	*ret_cnt = 0;
	if (err)
		return err == -ENOMEM ? err : 0;
	r = cfi_reader_new(&section);
	err = r ? ranges_collect(r, &list, &cnt) : -ENOMEM;
	cfi_reader_free(r);
	cfi_section_free(&section);
	if (err) {
		free(list);
		return err;
	}
	if (cnt)
		qsort(list, cnt, sizeof(*list), range_cmp);
	*ret_list = list;
	*ret_cnt = cnt;
	return 0;
}

const struct fde_range *fde_range_at(const struct fde_range *list, size_t cnt, uint64_t va)
{
	size_t low = 0;

	for (size_t high = cnt; low < high;) {
		size_t mid = low + (high - low) / 2;

		if (list[mid].start <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low && va < list[low - 1].end ? &list[low - 1] : NULL;
}
