/* SPDX-License-Identifier: GPL-2.0-only */
/* What DWARF says of an address, and what becomes of DWARF that lies: written by hand, in assembler. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "child.h"
#include "elf/image.h"
#include "elf/inlines.h"
#include "test.h"

struct file {
	struct image *img;
	struct inlines *in;
	int err;		/* of inlines_new() */
};

/* Takes over path; NULL: it could not be built. */
static bool file_open(char *path, struct file *ret)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	*ret = (struct file){ 0 };
	free(path);
	if (!CHECK(fd >= 0) || !CHECK_EQ(image_open(fd, &ret->img), 0))
		return false;
	close(fd);
	ret->err = inlines_new(ret->img, NULL, &ret->in);
	return true;
}

static void file_close(struct file *f)
{
	inlines_free(f->in);
	image_free(f->img);
}

struct wanted {
	const char *name;
	uint64_t va;
};

static int on_symbol(const struct image_symbol *sym, void *ctx)
{
	struct wanted *w = ctx;

	if (!strcmp(sym->name, w->name))
		w->va = sym->va;
	return 0;
}

static uint64_t va_of(const struct file *f, const char *name)
{
	struct wanted w = { .name = name };

	if (f->img)
		image_each_symbol(f->img, on_symbol, &w);
	CHECK(w.va != 0);
	return w.va;
}

/* "inner < outer < function" at fn + off; "" when nothing is known. */
static char *names_at(struct file *f, uint64_t va)
{
	struct inlines_list list = { .cnt = 0 };
	struct text text = { 0 };

	if (f->in)
		inlines_find(f->in, va, &list);
	for (uint32_t i = 0; i < list.cnt; i++)
		text_printf(&text, "%s%s", i ? " < " : "", list.at[i].name ? list.at[i].name : "?");
	return text.str ? text.str : strdup("");
}

static void check_names(struct file *f, uint64_t va, const char *want)
{
	char *got = names_at(f, va);

	CHECK_STR(got, want);
	free(got);
}

TEST(inlined)
{
	static const char source[] =
		"extern int sink;\n"
		"static inline __attribute__((always_inline)) void inner(void) { __asm__ volatile(\"spot: nop\" : : : \"memory\"); }\n"
		"static inline __attribute__((always_inline)) void outer(int n) { sink += n; inner(); }\n"
		"int sink;\n"
		"int function(int n) {\n"
		"	outer(n);\n"
		"	return sink; }\n";
	static const uint32_t lines[] = { 2, 3, 6 };
	struct inlines_list list;
	struct text flags = { 0 };
	struct file f;

	/* the folder of the source becomes a relative one, as with builds that can be reproduced */
	free(child_path(""));
	text_printf(&flags, "-shared -nostdlib -fPIC -g -ffile-prefix-map=%s=src", child_dir_path);
	if (file_open(child_build("inlined.so", "cc", source, flags.str), &f) && CHECK_EQ(f.err, 0)) {
		check_names(&f, va_of(&f, "spot"), "inner < outer < function");
		inlines_find(f.in, va_of(&f, "spot"), &list);
		CHECK_EQ(list.cnt, 3);
		for (uint32_t i = 0; i < list.cnt && i < 3; i++) {
			size_t len = list.at[i].file ? strlen(list.at[i].file) : 0;

			CHECK_EQ(list.at[i].line, lines[i]);
			/* seen from the folder of the compilation */
			CHECK(len > 14 && list.at[i].file[0] == '/' && !strcmp(list.at[i].file + len - 13, "/src/source.c"));
			CHECK(list.at[i].file == list.at[0].file);
		}
	}
	file_close(&f);
	text_free(&flags);
}

/* A function that the linker left out begins at 0 in DWARF, and is nowhere: what has that va is something else. */
TEST(left_out)
{
	static const char source[] =
		"void big(void) { __asm__ volatile(\".zero 65536\"); }\n"
		"__attribute__((noinline)) int used(int n) { return n * 3; }\n"
		"__asm__(\".section .text.bare,\\\"ax\\\"\\n.globl bare\\n.type bare,@function\\nbare: .zero 64\\n.size bare,64\\n\");\n"
		"extern char bare[];\n"
		"char *_start(int n) { return bare + used(n); }\n";
	struct file f;

	if (file_open(child_build("left_out", "cc", source, "-g -nostdlib -pie -fPIE -ffunction-sections -Wl,--gc-sections"), &f) &&
	    CHECK_EQ(f.err, 0)) {
		CHECK(va_of(&f, "bare") < 65536);
		check_names(&f, va_of(&f, "bare") + 8, "");
		check_names(&f, va_of(&f, "used"), "used");
	}
	file_close(&f);
}

/*
 * DWARF 4 by hand. Of the abbreviations: 1 unit (name, low_pc, high_pc), 2 function (name, low_pc, high_pc), 3 inlined
 * (abstract_origin, low_pc, high_pc, call_line), 4 function with ranges, 5 function of abstract_origin alone, 6 unit with
 * ranges, 7 function with a sibling. All but 5 may have children.
 */
#define DWARF_HEAD \
	"__asm__(\".text\\n.globl fn\\n.type fn,@function\\nfn: .zero 64\\n.size fn,64\\n" \
	".section .debug_abbrev,\\\"\\\",@progbits\\n" \
	".uleb128 1,0x11\\n.byte 1\\n.uleb128 0x03,0x08, 0x11,0x01, 0x12,0x06, 0,0\\n" \
	".uleb128 2,0x2e\\n.byte 1\\n.uleb128 0x03,0x08, 0x11,0x01, 0x12,0x06, 0,0\\n" \
	".uleb128 3,0x1d\\n.byte 1\\n.uleb128 0x31,0x13, 0x11,0x01, 0x12,0x06, 0x59,0x0b, 0,0\\n" \
	".uleb128 4,0x2e\\n.byte 1\\n.uleb128 0x03,0x08, 0x55,0x17, 0,0\\n" \
	".uleb128 5,0x2e\\n.byte 0\\n.uleb128 0x31,0x13, 0,0\\n" \
	".uleb128 6,0x11\\n.byte 1\\n.uleb128 0x03,0x08, 0x55,0x17, 0,0\\n" \
	".uleb128 7,0x2e\\n.byte 1\\n.uleb128 0x01,0x13, 0x03,0x08, 0x11,0x01, 0x12,0x06, 0,0\\n" \
	".byte 0\\n" \
	".section .debug_info,\\\"\\\",@progbits\\n"
#define UNIT_HEAD "head: .long end - . - 4\\n.short 4\\n.long .debug_abbrev\\n.byte 8\\n"
#define UNIT UNIT_HEAD ".uleb128 1\\n.asciz \\\"unit\\\"\\n.quad fn\\n.long 64\\n"
#define FUNCTION(name, off, len) ".uleb128 2\\n.asciz \\\"" name "\\\"\\n.quad fn + " #off "\\n.long " #len "\\n"
#define INLINED(origin, off, len) ".uleb128 3\\n.long " origin " - head\\n.quad fn + " #off "\\n.long " #len "\\n.byte 7\\n"
#define UP ".byte 0\\n"
#define DWARF_END "end:\\n\");"

static void lie_open(const char *source, struct file *f)
{
	file_open(child_build("lie.so", "cc", source, "-shared -nostdlib"), f);
}

/* What all lies are made from, without one. */
TEST(by_hand)
{
	struct file f;

	lie_open(DWARF_HEAD UNIT "origin: " FUNCTION("callee", 0x100, 1) UP FUNCTION("fn", 0, 64) INLINED("origin", 8, 8) UP UP UP
		 DWARF_END, &f);
	CHECK_EQ(f.err, 0);
	check_names(&f, va_of(&f, "fn"), "fn");
	check_names(&f, va_of(&f, "fn") + 8, "callee < fn");
	check_names(&f, va_of(&f, "fn") + 16, "fn");
	check_names(&f, va_of(&f, "fn") + 64, "");
	file_close(&f);
}

TEST(truncated)
{
	struct file f;

	/* the unit says that it is longer than the section */
	lie_open(DWARF_HEAD "head: .long 0x10000\\n.short 4\\n.long .debug_abbrev\\n.byte 8\\n.uleb128 1\\n.asciz \\\"unit\\\"\\n"
		 ".quad fn\\n.long 64\\n" FUNCTION("fn", 0, 64) DWARF_END, &f);
	CHECK(f.err == 0 || f.err == -ENOENT);
	free(names_at(&f, va_of(&f, "fn")));
	file_close(&f);
	/* ends within a function; nothing behind the name */
	lie_open(DWARF_HEAD UNIT ".uleb128 2\\n.asciz \\\"fn\\\"\\n.long 0\\n" DWARF_END, &f);
	free(names_at(&f, va_of(&f, "fn")));
	file_close(&f);
	/* an abbreviation that is not there, a string without an end */
	lie_open(DWARF_HEAD UNIT ".uleb128 99\\n.ascii \\\"fn\\\"\\n" DWARF_END, &f);
	free(names_at(&f, va_of(&f, "fn")));
	file_close(&f);
}

/* The section of strings ends within the name. */
TEST(string_without_end)
{
	static const char names[] =
		"__asm__(\".text\\n.globl fn\\n.type fn,@function\\nfn: .zero 64\\n.size fn,64\\n"
		".section .debug_abbrev,\\\"\\\",@progbits\\n"
		".uleb128 1,0x11\\n.byte 1\\n.uleb128 0x03,0x08, 0x11,0x01, 0x12,0x06, 0,0\\n"
		".uleb128 2,0x2e\\n.byte 1\\n.uleb128 0x03,0x0e, 0x11,0x01, 0x12,0x06, 0,0\\n"
		".uleb128 3,0x1d\\n.byte 0\\n.uleb128 0x03,0x0e, 0x11,0x01, 0x12,0x06, 0x59,0x0b, 0,0\\n.byte 0\\n"
		".section .debug_str,\\\"\\\",@progbits\\n.asciz \\\"fn\\\"\\n.ascii \\\"without an end\\\"\\n"
		".section .debug_info,\\\"\\\",@progbits\\n"
		"head: .long end - . - 4\\n.short 4\\n.long .debug_abbrev\\n.byte 8\\n"
		".uleb128 1\\n.asciz \\\"unit\\\"\\n.quad fn\\n.long 64\\n"
		".uleb128 2\\n.long .debug_str\\n.quad fn\\n.long 64\\n"
		".uleb128 3\\n.long .debug_str + 3\\n.quad fn + 8\\n.long 8\\n.byte 1\\n.byte 0, 0\\nend:\\n\");";
	struct file f;

	lie_open(names, &f);
	CHECK_EQ(f.err, 0);
	check_names(&f, va_of(&f, "fn"), "fn");
	check_names(&f, va_of(&f, "fn") + 8, "fn");
	file_close(&f);
}

TEST(cyclic_origin)
{
	struct file f;

	lie_open(DWARF_HEAD UNIT "one: .uleb128 5\\n.long two - head\\n" "two: .uleb128 5\\n.long one - head\\n"
		 FUNCTION("fn", 0, 64) INLINED("one", 8, 8) UP "self: " INLINED("self", 16, 8) UP
		 INLINED("end", 24, 8) UP ".uleb128 3\\n.long 0xfffffff0\\n.quad fn + 32\\n.long 8\\n.byte 7\\n" UP UP UP DWARF_END, &f);
	CHECK_EQ(f.err, 0);
	check_names(&f, va_of(&f, "fn"), "fn");
	for (int off = 8; off < 40; off += 8)
		check_names(&f, va_of(&f, "fn") + off, "fn");
	file_close(&f);
}

/* The next sibling is an earlier one: round and round. */
TEST(cyclic_sibling)
{
	struct file f;

	lie_open(DWARF_HEAD UNIT "back: " FUNCTION("fn", 0, 64) UP
		 ".uleb128 7\\n.long back - head\\n.asciz \\\"other\\\"\\n.quad fn + 8\\n.long 8\\n" UP UP DWARF_END, &f);
	CHECK_EQ(f.err, 0);
	check_names(&f, va_of(&f, "fn"), "fn");
	file_close(&f);
}

/* 2,000 functions that each say that they are in all of 20,000 places. */
TEST(absurd_ranges)
{
	struct file f;

	lie_open(DWARF_HEAD UNIT ".rept 2000\\n.uleb128 4\\n.asciz \\\"much\\\"\\n.long .debug_ranges\\n" UP ".endr\\n"
		 FUNCTION("fn", 0, 64) UP UP "end:\\n.section .debug_ranges,\\\"\\\",@progbits\\n"
		 ".set at, 0\\n.rept 20000\\n.quad fn - fn + at, 0x100000\\n.set at, at + 1\\n.endr\\n.quad 0, 0\\n\");", &f);
	CHECK_EQ(f.err, 0);
	for (int off = 0; off < 64; off++)
		free(names_at(&f, va_of(&f, "fn") + off));
	file_close(&f);
	/* the same of units */
	lie_open(DWARF_HEAD ".rept 5000\\n.long 1f - . - 4\\n.short 4\\n.long .debug_abbrev\\n.byte 8\\n.uleb128 6\\n.asciz \\\"u\\\"\\n"
		 ".long .debug_ranges\\n" UP "1:\\n.endr\\nend:\\n.section .debug_ranges,\\\"\\\",@progbits\\n"
		 ".set at, 0\\n.rept 20000\\n.quad fn - fn + at, 0x100000\\n.set at, at + 1\\n.endr\\n.quad 0, 0\\n\");", &f);
	CHECK(f.err == 0 || f.err == -ENOENT);
	for (int off = 0; off < 64; off++)
		free(names_at(&f, va_of(&f, "fn") + off));
	file_close(&f);
}

/* 100,000 inlined functions, each in the one before; then beside each other, each a little shorter. */
TEST(deep)
{
	struct file f;
	char *got;

	lie_open(DWARF_HEAD UNIT "origin: " FUNCTION("callee", 0x100, 1) UP FUNCTION("fn", 0, 64)
		 ".rept 100000\\n" INLINED("origin", 0, 64) ".endr\\n.rept 100000\\n" UP ".endr\\n" UP UP DWARF_END, &f);
	CHECK_EQ(f.err, 0);
	got = names_at(&f, va_of(&f, "fn"));
	CHECK(strlen(got) < 400);
	free(got);
	file_close(&f);
	lie_open(DWARF_HEAD UNIT "origin: " FUNCTION("callee", 0x100, 1) UP FUNCTION("fn", 0, 64)
		 ".set at, 200000\\n.rept 100000\\n.uleb128 3\\n.long origin - head\\n.quad fn\\n.long at\\n.byte 7\\n" UP
		 ".set at, at - 1\\n.endr\\n" UP UP DWARF_END, &f);
	CHECK_EQ(f.err, 0);
	for (int off = 0; off < 64; off++) {
		got = names_at(&f, va_of(&f, "fn") + off);
		CHECK(strlen(got) < 400);
		free(got);
	}
	file_close(&f);
}

TEST_MAIN(TEST_CASE(inlined), TEST_CASE(left_out), TEST_CASE(by_hand), TEST_CASE(truncated), TEST_CASE(string_without_end), TEST_CASE(cyclic_origin),
	  TEST_CASE(cyclic_sibling), TEST_CASE(absurd_ranges), TEST_CASE(deep))
