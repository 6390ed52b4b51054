/* SPDX-License-Identifier: GPL-2.0-only */
/* Relocations that the dynamic linker fills, found as it finds them. */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "elf/image.h"
#include "elf/image_import.h"
#include "elf/image_private.h"

/* Whether the dynamic linker stores the bare address of the function that the symbol names. */
static bool import_is_function(const struct image *img, const Elf64_Rela *rela, const Elf64_Sym *s, bool *ret_is_variable)
{
	unsigned int reloc = ELF64_R_TYPE(rela->r_info), type = ELF64_ST_TYPE(s->st_info);
	bool undefined = s->st_shndx == SHN_UNDEF;
	bool func = type == STT_FUNC || type == STT_GNU_IFUNC;
	bool got, word;

	switch (img->ehdr.e_machine) {
	case EM_X86_64:
		got = reloc == R_X86_64_GLOB_DAT || reloc == R_X86_64_JUMP_SLOT;
		word = reloc == R_X86_64_64;
		break;
	case EM_AARCH64:
		got = reloc == R_AARCH64_GLOB_DAT || reloc == R_AARCH64_JUMP_SLOT;
		word = reloc == R_AARCH64_ABS64;
		break;
	default:
		return false;
	}
	/* An undefined symbol may have no type; a pointer in data is taken only when it says function. */
	*ret_is_variable = word;
	if (got)
		return func || (undefined && type == STT_NOTYPE);
	return word && func && undefined && !rela->r_addend;
}

static int each_rela(const struct image *img, uint64_t va, uint64_t bytes,
		     int (*fn)(const struct image_import *imp, void *ctx), void *ctx)
{
	const uint64_t *dyn = img->dynamic;
	const unsigned char *relas = image_at_va(img, va, bytes);
	const char *strings = (const char *)image_at_va(img, dyn[DT_STRTAB], dyn[DT_STRSZ]);
	uint64_t syms_off;

	if (!bytes)
		return 0;
	if (!relas || !strings || !dyn[DT_STRSZ] || strings[dyn[DT_STRSZ] - 1] ||
	    image_va_to_off(img, dyn[DT_SYMTAB], &syms_off))
		return -ENOEXEC;
	for (size_t i = 0; i < bytes / sizeof(Elf64_Rela); i++) {
		const unsigned char *at;
		struct image_import imp;
		Elf64_Rela rela;
		bool is_variable;
		Elf64_Sym s;
		int err;

		memcpy(&rela, relas + i * sizeof(rela), sizeof(rela));
		at = image_range(img, syms_off + ELF64_R_SYM(rela.r_info) * sizeof(s), sizeof(s));
		if (!at)
			return -ENOEXEC;
		memcpy(&s, at, sizeof(s));
		if (s.st_name >= dyn[DT_STRSZ] || !strings[s.st_name] || !import_is_function(img, &rela, &s, &is_variable))
			continue;
		imp = (struct image_import){ .name = strings + s.st_name, .got_va = rela.r_offset, .is_variable = is_variable };
		err = fn(&imp, ctx);
		if (err)
			return err;
	}
	return 0;
}

int image_each_import(const struct image *img, int (*fn)(const struct image_import *imp, void *ctx), void *ctx)
{
	uint64_t rela_va = img->dynamic[DT_RELA], rela_bytes = img->dynamic[DT_RELASZ];
	uint64_t plt_va = img->dynamic[DT_JMPREL], plt_bytes = img->dynamic[DT_PLTRELSZ];
	int err;

	/* Some linkers count the PLT's relocations, which come last, in DT_RELASZ too. */
	if (plt_bytes && plt_va >= rela_va && plt_va - rela_va < rela_bytes)
		rela_bytes = plt_va - rela_va;
	err = each_rela(img, rela_va, rela_bytes, fn, ctx);
	return err ? err : each_rela(img, plt_va, plt_bytes, fn, ctx);
}
