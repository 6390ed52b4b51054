/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the symbols and the debug information of a stripped file are: in a part of its own, compressed, or in another
 * file that it names.
 */
#ifndef ELF_DEBUG_FILE_H
#define ELF_DEBUG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* Name of the file in .gnu_debuglink and its CRC; NULL when there is none. Lives as long as the image. */
const char *debug_file_link(const struct image *img, uint32_t *ret_crc);

/*
 * .gnu_debugaltlink: what several debug files have in common was moved (by dwz) to another one. Its name and build id, which
 * is all that tells it; NULL when there is none. They live as long as the image.
 */
const char *debug_file_alt(const struct image *img, const unsigned char **ret_id, size_t *ret_id_len);

/*
 * Whether `debug` was split off from img: the same build id or, where img has none, the CRC that its link says.
 */
bool debug_file_matches(const struct image *img, const struct image *debug);

/*
 * The symbols of .gnu_debugdata, an ELF file compressed with xz ("MiniDebugInfo"). -ENOENT: none. -ENOEXEC: broken, or
 * larger than it could sensibly be. -ENOMEM.
 */
int debug_file_mini(const struct image *img, struct image **ret);

#endif
