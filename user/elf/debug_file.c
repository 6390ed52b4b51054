/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Formats: .gnu_debuglink is a name, padded to 4 bytes, and a CRC32 of the whole other file (GDB manual, "Separate Debug
 * Files"). .gnu_debugdata: the same manual, "MiniDebugInfo". .gnu_debugaltlink is a name and a build id without its length
 * (dwz(1)).
 */
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "elf/debug_file.h"
#include "elf/image.h"
#include "elf/image_private.h"

#define CRC_BYTES_MAX	((size_t)2 << 30)	/* seconds; what is larger has a build id */
#define MINI_BYTES_MAX	(64u << 20)	/* a browser's has 5 */
#define MINI_MEMORY_MAX	(128u << 20)	/* of the decoder: xz -9 needs 65 MiB */

/* The bytes of a section in the file; NULL. */
static const unsigned char *section_bytes(const struct image *img, const char *name, size_t *ret_len)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(img->elf, &names))
		return NULL;
	while ((scn = elf_nextscn(img->elf, scn))) {
		GElf_Shdr head;
		const char *its_name;

		if (!gelf_getshdr(scn, &head) || head.sh_type == SHT_NOBITS)
			continue;
		its_name = elf_strptr(img->elf, names, head.sh_name);
		if (!its_name || strcmp(its_name, name))
			continue;
		*ret_len = head.sh_size;
		return image_range(img, head.sh_offset, head.sh_size);
	}
	return NULL;
}

const char *debug_file_link(const struct image *img, uint32_t *ret_crc)
{
	size_t len, name_len, at;
	const unsigned char *data = section_bytes(img, ".gnu_debuglink", &len);

	if (!data || !len || !memchr(data, '\0', len))
		return NULL;
	name_len = strlen((const char *)data);
	at = (name_len + 1 + 3) & ~(size_t)3;
	if (!name_len || at + 4 > len)
		return NULL;
	memcpy(ret_crc, data + at, sizeof(*ret_crc));
	return (const char *)data;
}

const char *debug_file_alt(const struct image *img, const unsigned char **ret_id, size_t *ret_id_len)
{
	size_t len, name_len;
	const unsigned char *data = section_bytes(img, ".gnu_debugaltlink", &len);

	if (!data || !len || !memchr(data, '\0', len))
		return NULL;
	name_len = strlen((const char *)data);
	if (!name_len || name_len + 1 == len)
		return NULL;
	*ret_id = data + name_len + 1;
	*ret_id_len = len - name_len - 1;
	return (const char *)data;
}

bool debug_file_matches(const struct image *img, const struct image *debug)
{
	const unsigned char *id, *its_id;
	size_t len = image_build_id(img, &id), its_len = image_build_id(debug, &its_id);
	uint32_t crc;

	if (len)
		return len == its_len && !memcmp(id, its_id, len);
	return debug_file_link(img, &crc) && debug->len <= CRC_BYTES_MAX && crc32_z(0, debug->bytes, debug->len) == crc;
}

/* Decodes into a buffer that grows; bombs end at MINI_BYTES_MAX. */
static int decode(const unsigned char *data, size_t len, unsigned char **ret, size_t *ret_len)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	unsigned char *out = NULL;
	size_t size = 0, used = 0;
	lzma_ret got = LZMA_OK;

	if (lzma_stream_decoder(&stream, MINI_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	stream.next_in = data;
	stream.avail_in = len;
	while (got == LZMA_OK && size < MINI_BYTES_MAX) {
		unsigned char *more = realloc(out, size = size ? size * 2 : 1 << 16);

		if (!more)
			break;
		out = more;
		stream.next_out = out + used;
		stream.avail_out = size - used;
		got = lzma_code(&stream, LZMA_FINISH);
		used = size - stream.avail_out;
	}
	lzma_end(&stream);
	if (got != LZMA_STREAM_END) {
		free(out);
		return got == LZMA_MEM_ERROR ? -ENOMEM : -ENOEXEC;
	}
	*ret = out;
	*ret_len = used;
	return 0;
}

int debug_file_mini(const struct image *img, struct image **ret)
{
	size_t len, out_len;
	const unsigned char *data = section_bytes(img, ".gnu_debugdata", &len);
	unsigned char *out;
	int err;

	if (!data)
		return -ENOENT;
	err = decode(data, len, &out, &out_len);
	if (err)
		return err;
	err = image_open_memory(out, out_len, ret);
	free(out);
	return err;
}
