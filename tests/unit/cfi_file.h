/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small ELF files with call frame information that a test writes entry by entry: a header, one executable segment of
 * 1 MiB at 0x400000, and what is asked for of .eh_frame, .debug_frame and .eh_frame_hdr.
 */
#ifndef CFI_FILE_H
#define CFI_FILE_H

#include <dwarf.h>
#include <elf.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "elf/ehframe.h"
#include "elf/image.h"
#include "test.h"

/* No test uses all of them. */
#define FILE_FUNCTION	__attribute__((unused)) static

#define TEXT_VA		((uint64_t)0x400000)
#define TEXT_BYTES	((uint64_t)0x100000)
#define CFI_OFF		4096u
#define CFI_VA		(TEXT_VA + CFI_OFF)

struct cfi_file {
	uint8_t *bytes;
	size_t len, size;
	size_t open;	/* where the entry's length stands */
};

FILE_FUNCTION void file_add(struct cfi_file *f, const void *bytes, size_t len)
{
	if (f->len + len > f->size) {
		f->size = (f->len + len) * 2;
		f->bytes = realloc(f->bytes, f->size);
	}
	memcpy(f->bytes + f->len, bytes, len);
	f->len += len;
}

FILE_FUNCTION void file_number(struct cfi_file *f, uint64_t n, size_t bytes)
{
	file_add(f, &n, bytes);
}

/* Space for the headers; text that a test wants goes there, from 0x400200 on. */
FILE_FUNCTION struct cfi_file file_new(void)
{
	static const uint8_t zeroes[CFI_OFF];
	struct cfi_file f = { 0 };

	file_add(&f, zeroes, sizeof(zeroes));
	return f;
}

FILE_FUNCTION void entry_end(struct cfi_file *f)
{
	uint32_t len;

	while ((f->len - CFI_OFF) % 8)
		file_number(f, DW_CFA_nop, 1);
	len = f->len - f->open - 4;
	memcpy(f->bytes + f->open, &len, sizeof(len));
}

/* Bytes of both may be a string literal; len counts them without its NUL. Returns the CIE's offset in the file. */
FILE_FUNCTION size_t cie_add(struct cfi_file *f, uint32_t id, const char *aug, const char *data, size_t data_len,
			     const char *code, size_t code_len)
{
	size_t pos = f->open = f->len;

	file_number(f, 0, 4);
	file_number(f, id, 4);
	file_number(f, 1, 1);
	file_add(f, aug, strlen(aug) + 1);
	file_add(f, "\x01\x78\x10", 3);	/* code * 1, data * -8, return address in 16 */
	if (*aug == 'z') {
		file_number(f, data_len & 0x7f, 1);
		file_add(f, data, data_len);
	}
	file_add(f, code, code_len);
	entry_end(f);
	return pos;
}

/* The usual CIE of compilers: CFA = rsp + 8, return address below it. */
#define CODE_USUAL	"\x0c\x07\x08\x90\x01"
#define CIE_USUAL(f)	cie_add((f), 0, "zR", "\x1b", 1, CODE_USUAL, 5)

FILE_FUNCTION void fde_begin(struct cfi_file *f, size_t cie)
{
	f->open = f->len;
	file_number(f, 0, 4);
	file_number(f, f->len - cie, 4);
}

/* pcrel|sdata4, with an empty augmentation. */
FILE_FUNCTION void fde_add(struct cfi_file *f, size_t cie, uint64_t va, uint64_t bytes, const char *code, size_t len)
{
	fde_begin(f, cie);
	file_number(f, va - (TEXT_VA + f->len), 4);
	file_number(f, bytes, 4);
	file_number(f, 0, 1);
	file_add(f, code, len);
	entry_end(f);
}
#define FDE(f, cie, va, bytes, code)	fde_add((f), (cie), (va), (bytes), (code), sizeof(code) - 1)

/* Headers in front, and section headers behind when there is a name of a section. */
FILE_FUNCTION void file_finish(struct cfi_file *f, const char *section, uint64_t flags)
{
	static const char names[] = "\0.eh_frame\0.debug_frame\0.shstrtab";
	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(ehdr),
		.e_phoff = sizeof(ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
	};
	Elf64_Phdr phdrs[2] = { { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = TEXT_VA, .p_filesz = TEXT_BYTES } };
	Elf64_Shdr shdrs[3] = {
		[1] = { .sh_name = section && section[1] == 'd' ? 11 : 1, .sh_type = SHT_PROGBITS, .sh_flags = flags,
			.sh_addr = CFI_VA, .sh_offset = CFI_OFF, .sh_size = f->len - CFI_OFF },
		[2] = { .sh_name = 24, .sh_type = SHT_STRTAB, .sh_size = sizeof(names) },
	};

	if (section) {
		shdrs[2].sh_offset = f->len;
		file_add(f, names, sizeof(names));
		while (f->len % 8)
			file_number(f, 0, 1);
		ehdr.e_shoff = f->len;
		ehdr.e_shnum = 3;
		ehdr.e_shstrndx = 2;
		ehdr.e_shentsize = sizeof(*shdrs);
		file_add(f, shdrs, sizeof(shdrs));
	}
	memcpy(f->bytes, &ehdr, sizeof(ehdr));
	memcpy(f->bytes + sizeof(ehdr), phdrs, sizeof(phdrs));
}

FILE_FUNCTION void file_free(struct cfi_file *f)
{
	free(f->bytes);
	*f = (struct cfi_file){ 0 };
}

/* What ehframe.h promises of rows. */
FILE_FUNCTION bool rows_are_right(const struct ehframe *e)
{
	if (!e->rows_cnt || !e->rules_cnt || e->rules[0] || e->base_va % UNWIND_BLOCK_BYTES || e->rows[e->rows_cnt - 1].rule)
		return false;
	for (size_t i = 0; i < e->rows_cnt; i++)
		if (e->rows[i].rule >= e->rules_cnt || (i && (e->rows[i].va_off <= e->rows[i - 1].va_off ||
							      e->rows[i].rule == e->rows[i - 1].rule)))
			return false;
	for (size_t i = 0; i < e->rules_cnt; i++) {
		if (UNWIND_RULE_KIND(e->rules[i]) >= UNWIND_KINDS || UNWIND_RULE_BP_KIND(e->rules[i]) >= UNWIND_BP_KINDS)
			return false;
		for (size_t k = 0; k < i && e->rules_cnt < 1000; k++)
			if (e->rules[k] == e->rules[i])
				return false;
	}
	return true;
}

/* Of bytes in memory that ends where they do. The error, or 0 with the rows checked. */
FILE_FUNCTION int bytes_read(const void *bytes, size_t len, struct ehframe *ret)
{
	struct image *img = NULL;
	int err = image_open_memory(bytes, len, &img);

	if (err)
		return err;
	err = ehframe_read(img, ret);
	image_free(img);
	if (!err)
		CHECK(rows_are_right(ret));
	return err;
}

FILE_FUNCTION const char *rule_text(uint64_t rule)
{
	static const char *const kinds[UNWIND_KINDS] = { "gap", "sp", "bp", "*sp", "*bp", "plt", "signal", "end", "bad" };
	static const char *const bps[UNWIND_BP_KINDS] = { "same", "cfa", "lost", "*bp" };
	unsigned int kind = UNWIND_RULE_KIND(rule), bp = UNWIND_RULE_BP_KIND(rule);
	static char text[64];

	if (kind == UNWIND_SP_DEREF || kind == UNWIND_BP_DEREF)
		snprintf(text, sizeof(text), "%s%+d%+d %s%+d", kinds[kind], (int16_t)UNWIND_RULE_CFA(rule),
			 UNWIND_RULE_CFA(rule) >> 16, bps[bp], UNWIND_RULE_BP(rule));
	else if (kind == UNWIND_SP || kind == UNWIND_BP)
		snprintf(text, sizeof(text), "%s%+d %s%+d", kinds[kind], UNWIND_RULE_CFA(rule), bps[bp], UNWIND_RULE_BP(rule));
	else if (kind == UNWIND_PLT)
		snprintf(text, sizeof(text), "%s%+d%s", kinds[kind], UNWIND_RULE_CFA(rule), (uint32_t)rule >> 8 ? "?" : "");
	else
		snprintf(text, sizeof(text), "%s%s", kinds[kind], rule >> 8 ? "?" : "");
	return text;
}

/* "va rule, va rule, …" with va as an offset from 0x400000 in hex; or the error. Frees the file. */
FILE_FUNCTION const char *file_rows(struct cfi_file *f)
{
	static char text[4096];
	struct ehframe e = { 0 };
	size_t len = 0;
	int err = bytes_read(f->bytes, f->len, &e);

	file_free(f);
	if (err) {
		snprintf(text, sizeof(text), "error %d", err);
		return text;
	}
	text[0] = '\0';
	for (size_t i = 0; i < e.rows_cnt && len < sizeof(text) - 100; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%" PRIx64 " %s", i ? ", " : "",
				e.base_va + e.rows[i].va_off - TEXT_VA, rule_text(e.rules[e.rows[i].rule]));
	ehframe_free(&e);
	return text;
}

#endif
