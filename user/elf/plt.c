/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An entry is known by what it does: within its 16 bytes (8 in a .plt.got without endbr64) it jumps to the address in a word
 * of the GOT, and the relocation of that word says to what.
 *
 *	[endbr64] [bnd] jmp *rel32(%rip)	f3 0f 1e fa  f2  ff 25 rel32
 */
#include <errno.h>
#include <string.h>

#include "base/hashmap.h"
#include "elf/image.h"
#include "elf/image_import.h"
#include "elf/image_private.h"
#include "elf/plt.h"

static int import_add(const struct image_import *imp, void *ctx)
{
	return hashmap_put(ctx, &imp->got_va, sizeof(imp->got_va), (uintptr_t)imp->name);
}

#define ENDBR64_BYTES 4

static bool begins_with_endbr64(const unsigned char *code, size_t len)
{
	return len >= ENDBR64_BYTES && !memcmp(code, "\xf3\x0f\x1e\xfa", ENDBR64_BYTES);
}

/* The word of the GOT through which an entry at va jumps; 0 = it does not. */
static uint64_t entry_target(const unsigned char *code, size_t len, uint64_t va)
{
	size_t at = begins_with_endbr64(code, len) ? ENDBR64_BYTES : 0;
	int32_t rel;

	if (at < len && code[at] == 0xf2)
		at++;
	if (at + 6 > len || code[at] != 0xff || code[at + 1] != 0x25)
		return 0;
	memcpy(&rel, code + at + 2, sizeof(rel));
	return va + at + 6 + (int64_t)rel;
}

static int section_each(const struct image *img, const GElf_Shdr *head, uint32_t entry_bytes, const struct hashmap *names,
			int (*fn)(const struct plt_entry *entry, void *ctx), void *ctx)
{
	const unsigned char *code = image_range(img, head->sh_offset, head->sh_size);
	int err = 0;

	if (code && begins_with_endbr64(code, head->sh_size))
		entry_bytes = 16;
	for (uint64_t off = 0; code && !err && off + entry_bytes <= head->sh_size; off += entry_bytes) {
		struct plt_entry entry = { .va = head->sh_addr + off, .size_bytes = entry_bytes };
		uint64_t got = entry_target(code + off, entry_bytes, entry.va), name;

		if (!got || !hashmap_get(names, &got, sizeof(got), &name))
			continue;
		entry.name = (const char *)(uintptr_t)name;
		err = fn(&entry, ctx);
	}
	return err;
}

int plt_each(const struct image *img, int (*fn)(const struct plt_entry *entry, void *ctx), void *ctx)
{
	static const struct {
		const char *name;
		uint32_t entry_bytes;
	} sections[] = { { ".plt", 16 }, { ".plt.sec", 16 }, { ".plt.got", 8 } };
	struct hashmap *names;
	Elf_Scn *scn = NULL;
	size_t strings;
	int err = 0;

	if (image_machine(img) != EM_X86_64 || elf_getshdrstrndx(img->elf, &strings))
		return 0;
	names = hashmap_new();
	if (!names)
		return -ENOMEM;
	if (image_each_import(img, import_add, names) == -ENOMEM)
		err = -ENOMEM;
	while (!err && (scn = elf_nextscn(img->elf, scn))) {
		GElf_Shdr head;
		const char *name;

		if (!gelf_getshdr(scn, &head) || head.sh_type != SHT_PROGBITS)
			continue;
		name = elf_strptr(img->elf, strings, head.sh_name);
		for (size_t i = 0; name && !err && i < sizeof(sections) / sizeof(sections[0]); i++)
			if (!strcmp(name, sections[i].name))
				err = section_each(img, &head, sections[i].entry_bytes, names, fn, ctx);
	}
	hashmap_free(names);
	return err;
}
