/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

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
