/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An entry is known by what it does: within its 16 bytes (8 in .plt.got) it jumps to the address in a word of the GOT,
 * and the relocation of that word says to what.
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

/* The word of the GOT through which an entry at va jumps; 0 = it does not. */
static uint64_t entry_target(const unsigned char *code, size_t len, uint64_t va)
{
	static const unsigned char endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	size_t at = 0;
	int32_t rel;

	if (len >= sizeof(endbr64) && !memcmp(code, endbr64, sizeof(endbr64)))
		at += sizeof(endbr64);
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
