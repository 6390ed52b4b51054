/* SPDX-License-Identifier: GPL-2.0-only */
/* Unwind rows of files whose call frame information is known: rules, encodings, what overlaps and what is added. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include "cfi_file.h"

/* push %rbp; mov %rsp, %rbp; …; leave */
#define CODE_FUNCTION	"\x41\x0e\x10\x86\x02\x43\x0d\x06\x48\x0c\x07\x08"
#define ROWS_FUNCTION	"2000 sp+8 same+0, 2001 sp+16 cfa-16, 2004 bp+16 cfa-16, 200c sp+8 cfa-16, 2010 gap"

TEST(function)
{
	struct cfi_file f = file_new();

	FDE(&f, CIE_USUAL(&f), TEXT_VA + 0x2000, 16, CODE_FUNCTION);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	CHECK_STR(file_rows(&f), ROWS_FUNCTION);
}

TEST(rules)
{
	static const struct { const char *code; size_t len; const char *want; } rules[] = {
#define RULE(code, want) { code, sizeof(code) - 1, want }
		RULE("", "sp+8 same+0"),
		RULE("\x0e\x80\x80\x04", "sp+65536 same+0"),
		RULE("\x0c\x06\x10", "bp+16 same+0"),
		RULE("\x12\x07\x7d", "sp+24 same+0"),			/* def_cfa_sf */
		RULE("\x12\x07\x01", "sp-8 same+0"),
		RULE("\x0c\x03\x10", "bad"),				/* rbx */
		RULE("\x0c\x00\x08", "bad"),				/* rax */
		RULE("\x0c\x10\x08", "bad"),
		RULE("\x0e\x80\x80\x80\x80\x08", "bad"),		/* 2^31 */
		RULE("\x86\x02", "sp+8 cfa-16"),
		RULE("\x11\x06\x7e", "sp+8 cfa+16"),			/* offset_extended_sf */
		RULE("\x86\x80\x20", "sp+8 cfa-32768"),
		RULE("\x86\x81\x20", "sp+8 lost+0"),
		RULE("\x07\x06", "sp+8 lost+0"),			/* undefined */
		RULE("\x86\x02\x08\x06", "sp+8 same+0"),
		RULE("\x86\x02\xc6", "sp+8 same+0"),			/* restore */
		RULE("\x86\x02\x0a\x86\x03\x0b", "sp+8 cfa-16"),	/* remember, restore */
		RULE("\x09\x06\x03", "sp+8 lost+0"),			/* in rbx */
		RULE("\x14\x06\x02", "sp+8 lost+0"),			/* val_offset */
		RULE("\x10\x06\x02\x76\x00", "sp+8 *bp+0"),		/* expression: breg6 0 */
		RULE("\x10\x06\x02\x76\x08", "sp+8 lost+0"),
		RULE("\x16\x06\x02\x76\x00", "sp+8 lost+0"),		/* val_expression */
		RULE("\x10\x06\x00", "sp+8 lost+0"),
		RULE("\x0f\x03\x76\x78\x06\x10\x06\x02\x76\x00", "*bp-8+0 *bp+0"),	/* a function that realigns */
		RULE("\x0f\x05\x77\x10\x06\x23\x08", "*sp+16+8 same+0"),
		RULE("\x0f\x07\x77\x10\x06\x23\x80\x80\x04", "bad"),	/* + 65536 */
		RULE("\x0f\x05\x77\x80\x80\x04\x06", "bad"),
		RULE("\x0f\x02\x77\x20", "sp+32 same+0"),
		RULE("\x0f\x03\x92\x06\x20", "bp+32 same+0"),		/* bregx */
		RULE("\x0f\x03\x73\x78\x06", "bad"),
		RULE("\x0f\x00", "bad"),
		RULE("\x0f\x01\xff", "bad"),
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22", "plt+11"),
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x39\x2a\x33\x24\x22", "plt+9"),	/* -z ibtplt */
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x35\x2a\x33\x24\x22", "plt+5"),	/* -z bndplt */
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x30\x2a\x33\x24\x22", "bad"),
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x40\x2a\x33\x24\x22", "bad"),	/* lit16 */
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x22\x2a\x33\x24\x22", "bad"),
		RULE("\x0f\x0b\x77\x10\x80\x00\x3f\x1a\x39\x2a\x33\x24\x22", "bad"),
		RULE("\x0f\x0c\x77\x08\x80\x00\x3f\x1a\x39\x2a\x33\x24\x22\x96", "bad"),
		RULE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x96", "bad"),
		RULE("\x07\x10", "end"),
		RULE("\x08\x10", "bad"),
		RULE("\x90\x02", "bad"),				/* return address elsewhere */
		RULE("\x09\x10\x00", "bad"),
		RULE("\x87\x03", "bad"),				/* the caller's rsp is not the CFA */
		RULE("\x2e\x10", "sp+8 same+0"),			/* GNU_args_size */
		RULE("\x91\x04\x92\x06", "sp+8 same+0"),		/* xmm0, xmm1 */
#undef RULE
	};
	char want[128];

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct cfi_file f = file_new();

		fde_add(&f, CIE_USUAL(&f), TEXT_VA + 0x2000, 16, rules[i].code, rules[i].len);
		file_finish(&f, ".eh_frame", SHF_ALLOC);
		snprintf(want, sizeof(want), "2000 %s, 2010 gap", rules[i].want);
		if (!CHECK_STR(file_rows(&f), want))
			fprintf(stderr, "rule %zu\n", i);
	}
}

/* A file with one FDE, whose address and length are written as the encoding says. */
static const char *encoded_rows(unsigned char encoding, size_t bytes, bool pcrel)
{
	struct cfi_file f = file_new();
	char data[1] = { (char)encoding };
	size_t cie = cie_add(&f, 0, "zR", data, 1, CODE_USUAL, 5);

	fde_begin(&f, cie);
	file_number(&f, TEXT_VA + 0x2000 - (pcrel ? TEXT_VA + f.len : 0), bytes);
	file_number(&f, 16, bytes);
	file_number(&f, 0, 1);
	file_add(&f, CODE_FUNCTION, sizeof(CODE_FUNCTION) - 1);
	entry_end(&f);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	return file_rows(&f);
}

TEST(encodings)
{
	static const unsigned char bad[] = { 0x01, 0x09, 0x05, 0x0d, 0x1f, 0x2b, 0x3b, 0x4b, 0x50, 0x9b, 0x80, 0xff };

	CHECK_STR(encoded_rows(0x00, 8, false), ROWS_FUNCTION);	/* absptr */
	CHECK_STR(encoded_rows(0x04, 8, false), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x0c, 8, false), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x03, 4, false), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x0b, 4, false), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x10, 8, true), ROWS_FUNCTION);	/* pcrel */
	CHECK_STR(encoded_rows(0x14, 8, true), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x1c, 8, true), ROWS_FUNCTION);
	CHECK_STR(encoded_rows(0x1b, 4, true), ROWS_FUNCTION);
	for (size_t i = 0; i < sizeof(bad); i++)
		CHECK_STR(encoded_rows(bad[i], 4, true), "error -8");
}

static const char *augmented_rows(const char *aug, const char *data, size_t len)
{
	struct cfi_file f = file_new();
	size_t cie = cie_add(&f, 0, aug, data, len, CODE_USUAL, 5);

	FDE(&f, cie, TEXT_VA + 0x2000, 16, "");
	FDE(&f, CIE_USUAL(&f), TEXT_VA + 0x2800, 16, "\x0e\x10");
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	return file_rows(&f);
}

TEST(augmentations)
{
	const char *plain = "2000 sp+8 same+0, 2010 gap, 2800 sp+16 same+0, 2810 gap", *gap = "2800 sp+16 same+0, 2810 gap";

	CHECK_STR(augmented_rows("zR", "\x1b", 1), plain);
	CHECK_STR(augmented_rows("zPLR", "\x9b\x01\x02\x03\x04\x1b\x1b", 7), plain);
	CHECK_STR(augmented_rows("zPLR", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x1b\x1b", 11), plain);
	/* a signal frame has the kernel's ucontext, or is none that we know */
	CHECK_STR(augmented_rows("zRS", "\x1b", 1), "2000 bad, 2010 gap, 2800 sp+16 same+0, 2810 gap");
	CHECK_STR(augmented_rows("zSR", "\x1b", 1), "2000 bad, 2010 gap, 2800 sp+16 same+0, 2810 gap");
	CHECK_STR(augmented_rows("zXR", "\x1b\x1b", 2), gap);
	CHECK_STR(augmented_rows("zR", "", 0), gap);
	CHECK_STR(augmented_rows("zPR", "\x50\x01\x02\x03\x04\x05\x06\x07\x08\x1b", 10), gap);
	CHECK_STR(augmented_rows("R", "", 0), gap);
	CHECK_STR(augmented_rows("eh", "", 0), gap);
}

TEST(many)
{
	struct cfi_file f = file_new();
	size_t cie = CIE_USUAL(&f);

	/* out of order, empty, the same twice, out of the text, reaching out of it, at 0 */
	FDE(&f, cie, TEXT_VA + 0x3000, 0x100, "\x0e\x20");
	FDE(&f, cie, TEXT_VA + 0x2000, 0x10, "");
	FDE(&f, cie, TEXT_VA + 0x2008, 0, "\x0e\x40");
	FDE(&f, cie, TEXT_VA + 0x3000, 0x80, "\x0e\x40");
	FDE(&f, cie, TEXT_VA + TEXT_BYTES, 0x10, "");
	FDE(&f, cie, TEXT_VA + TEXT_BYTES - 8, 0x10, "\x0e\x10");
	FDE(&f, cie, 0, 0x10, "");
	FDE(&f, cie, TEXT_VA + 0x2010, 0x10, "");		/* goes on with the same rule */
	FDE(&f, cie, TEXT_VA + 0x2020, 0x10, "\x0e\x10\x48\x0e\x18");
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	CHECK_STR(file_rows(&f), "2000 sp+8 same+0, 2020 sp+16 same+0, 2028 sp+24 same+0, 2030 gap, "
				 "3000 sp+32 same+0, 3100 gap, ffff8 sp+16 same+0, 100000 gap");
}

TEST(overlaps)
{
	struct cfi_file f = file_new();
	size_t cie = CIE_USUAL(&f);

	FDE(&f, cie, TEXT_VA + 0x2000, 0x100, "\x0e\x10\x60\x0e\x18\x60\x0e\x20");
	FDE(&f, cie, TEXT_VA + 0x2030, 0x10, "");
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	CHECK_STR(file_rows(&f), "2000 sp+16 same+0, 2020 sp+24 same+0, 2030 sp+8 same+0, 2040 gap");
}

/* A program that many functions share ends with each of them, also in the middle of its rows. */
TEST(shared)
{
	struct cfi_file f = file_new();
	size_t cie = CIE_USUAL(&f);

	FDE(&f, cie, TEXT_VA + 0x2000, 0x10, CODE_FUNCTION);
	FDE(&f, cie, TEXT_VA + 0x2100, 0x03, CODE_FUNCTION);
	FDE(&f, cie, TEXT_VA + 0x2103, 0x10, CODE_FUNCTION "\0\0\0\0\0\0\0\0\0");
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	CHECK_STR(file_rows(&f), ROWS_FUNCTION ", 2100 sp+8 same+0, 2101 sp+16 cfa-16, 2103 sp+8 same+0, 2104 sp+16 cfa-16, "
				 "2107 bp+16 cfa-16, 210f sp+8 cfa-16, 2113 gap");
}

/* Linkers leave an end inside .eh_frame; version 3 counts the register as LEB128. */
TEST(ends_inside)
{
	struct cfi_file f = file_new();
	size_t cie = CIE_USUAL(&f);

	f.bytes[cie + 8] = 3;
	file_number(&f, 0, 4);
	FDE(&f, cie, TEXT_VA + 0x2000, 16, CODE_FUNCTION);
	file_number(&f, 0, 4);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	CHECK_STR(file_rows(&f), ROWS_FUNCTION);
}

static void debug_frame_fill(struct cfi_file *f)
{
	cie_add(f, UINT32_MAX, "", "", 0, CODE_USUAL, 5);
	f->open = f->len;
	file_number(f, 0, 4);
	file_number(f, 0, 4);
	file_number(f, TEXT_VA + 0x2000, 8);
	file_number(f, 16, 8);
	file_add(f, CODE_FUNCTION, sizeof(CODE_FUNCTION) - 1);
	entry_end(f);
}

TEST(debug_frame)
{
	Elf64_Chdr chdr = { .ch_type = ELFCOMPRESS_ZLIB, .ch_addralign = 1 };
	uint8_t packed[4096];
	uLongf packed_len = sizeof(packed);
	struct cfi_file f = file_new();

	debug_frame_fill(&f);
	chdr.ch_size = f.len - CFI_OFF;
	compress(packed, &packed_len, f.bytes + CFI_OFF, chdr.ch_size);
	file_finish(&f, ".debug_frame", 0);
	CHECK_STR(file_rows(&f), ROWS_FUNCTION);

	for (int i = 0; i < 4; i++) {
		f = file_new();
		file_add(&f, &chdr, sizeof(chdr));
		file_add(&f, packed, packed_len);
		file_finish(&f, ".debug_frame", SHF_COMPRESSED);
		CHECK_STR(file_rows(&f), i == 0 ? ROWS_FUNCTION : i == 3 ? "error -2" : "error -8");
		if (i == 0)
			chdr.ch_size--;
		else if (i == 1)
			chdr.ch_size = UINT64_MAX / 2;
		else
			chdr.ch_type = 77;
	}
}

/* Without section headers: .eh_frame_hdr says where it begins, an entry of length 0 where it ends. */
static const char *headless_rows(unsigned char encoding, uint64_t va)
{
	Elf64_Phdr phdr = { .p_type = PT_GNU_EH_FRAME, .p_offset = 0x800, .p_vaddr = TEXT_VA + 0x800, .p_filesz = 12 };
	struct cfi_file f = file_new();
	int32_t rel = va - (TEXT_VA + 0x804);

	FDE(&f, CIE_USUAL(&f), TEXT_VA + 0x2000, 16, CODE_FUNCTION);
	file_number(&f, 0, 4);
	while (f.len < TEXT_BYTES)
		file_number(&f, 0x1111111111111111, 8);
	file_finish(&f, NULL, 0);
	memcpy(f.bytes + sizeof(Elf64_Ehdr) + sizeof(phdr), &phdr, sizeof(phdr));
	memcpy(f.bytes + 0x800, (unsigned char[4]){ 1, encoding, 0xff, 0xff }, 4);
	memcpy(f.bytes + 0x804, &rel, 4);
	return file_rows(&f);
}

TEST(headless)
{
	CHECK_STR(headless_rows(0x1b, CFI_VA), ROWS_FUNCTION);
	CHECK_STR(headless_rows(0x3b, CFI_VA), "error -2");
	CHECK_STR(headless_rows(0x1b, TEXT_VA + TEXT_BYTES), "error -8");
	CHECK_STR(headless_rows(0x1b, TEXT_VA + TEXT_BYTES - 2), "error -2");
}

#define CODE_RESTORER	"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"

static const char *extra_rows(uint64_t entry, uint64_t restorer, uint64_t fde)
{
	struct cfi_file f = file_new();
	Elf64_Ehdr *ehdr;

	if (fde)
		FDE(&f, CIE_USUAL(&f), TEXT_VA + fde, 16, "");
	else
		file_number(&f, 0, 4);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	ehdr = (void *)f.bytes;
	ehdr->e_entry = entry ? TEXT_VA + entry : 0;
	if (restorer)
		memcpy(f.bytes + restorer, CODE_RESTORER, sizeof(CODE_RESTORER) - 1);
	return file_rows(&f);
}

TEST(extras)
{
	CHECK_STR(extra_rows(0x300, 0, 0x400), "300 end, 340 gap, 400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0x3f0, 0, 0x400), "3f0 end, 400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0x400, 0, 0x400), "400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0x40f, 0, 0x400), "400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0x410, 0, 0x400), "400 sp+8 same+0, 410 end, 450 gap");
	CHECK_STR(extra_rows(0, 0x300, 0x400), "300 signal, 309 gap, 400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0, 0x3fc, 0x400), "400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0, 0x402, 0x400), "400 sp+8 same+0, 410 gap");
	CHECK_STR(extra_rows(0x300, 0x3f7, 0), "300 end, 340 gap, 3f7 signal, 400 gap");
	CHECK_STR(extra_rows(0, 0, 0), "error -2");
	CHECK_STR(extra_rows(TEXT_BYTES, 0, 0), "error -2");
}

TEST(machines)
{
	struct cfi_file f = file_new();

	FDE(&f, CIE_USUAL(&f), TEXT_VA + 0x2000, 16, "");
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	((Elf64_Ehdr *)f.bytes)->e_machine = EM_AARCH64;
	CHECK_STR(file_rows(&f), "error -95");
}

/* More distinct rules than the unwinder has room for: what comes last is bad, and the file is not refused. */
TEST(rules_overflow)
{
	struct cfi_file f = file_new();
	struct ehframe e = { 0 };
	size_t cie = CIE_USUAL(&f), bad = 0;

	for (unsigned int i = 0; i < 20000; i++) {
		char code[4] = { 0x0e, (char)(0x80 | (i & 0x7f)), (char)(0x80 | (i >> 7 & 0x7f)), (char)(i >> 14) };

		fde_add(&f, cie, TEXT_VA + 0x2000 + 16 * i, 8, code, sizeof(code));
	}
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	if (CHECK_EQ(bytes_read(f.bytes, f.len, &e), 0)) {
		CHECK_EQ(e.rules_cnt, 1 << 14);
		for (size_t i = 0; i < e.rows_cnt; i++)
			bad += UNWIND_RULE_KIND(e.rules[e.rows[i].rule]) == UNWIND_BAD;
		CHECK_EQ(bad, 20000 - (1 << 14) + 2);
		ehframe_free(&e);
	}
	file_free(&f);
}

/* A real file: this program, mapped and from memory. */
TEST(itself)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct image *img = NULL;
	struct ehframe e = { 0 };

	CHECK_EQ(image_open(fd, &img), 0);
	close(fd);
	if (image_machine(img) != EM_X86_64) {
		image_free(img);
		TEST_SKIP("rows are for x86-64");
	}
	if (CHECK_EQ(ehframe_read(img, &e), 0)) {
		CHECK(rows_are_right(&e));
		CHECK(e.rows_cnt > 100);
		ehframe_free(&e);
	}
	image_free(img);
}

TEST_MAIN(TEST_CASE(function), TEST_CASE(rules), TEST_CASE(encodings), TEST_CASE(augmentations), TEST_CASE(many),
	  TEST_CASE(overlaps), TEST_CASE(shared), TEST_CASE(ends_inside), TEST_CASE(debug_frame), TEST_CASE(headless),
	  TEST_CASE(extras), TEST_CASE(machines), TEST_CASE(rules_overflow), TEST_CASE(itself))
