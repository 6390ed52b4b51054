/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Call frame information that lies: cut, damaged at random, and made to cost too much. What is sound beside it has to
 * be read all the same. Files are in memory that ends where they do, so that the sanitizer sees a read past them.
 */
#include <errno.h>
#include <sys/auxv.h>

#include "cfi_file.h"

#define SOUND_ROWS	"2000 sp+8 same+0, 2001 sp+16 cfa-16, 2008 gap"
#define CODE_SOUND	"\x41\x0e\x10\x86\x02"

/* The usual CIE and a sound function. */
static size_t sound_add(struct cfi_file *f)
{
	size_t cie = CIE_USUAL(f);

	FDE(f, cie, TEXT_VA + 0x2000, 8, CODE_SOUND);
	return cie;
}

static const char *rows_of(struct cfi_file *f)
{
	file_finish(f, ".eh_frame", SHF_ALLOC);
	return file_rows(f);
}

/* A sound function and one with this code. */
static const char *with_code(const void *code, size_t len)
{
	struct cfi_file f = file_new();

	fde_add(&f, sound_add(&f), TEXT_VA + 0x3000, 1024, code, len);
	return rows_of(&f);
}

/* Code with an n-fold repetition. */
static const char *with_repeated(const char *unit, size_t len, size_t cnt)
{
	char *code = malloc(len * cnt);
	const char *text;

	for (size_t i = 0; i < cnt; i++)
		memcpy(code + i * len, unit, len);
	text = with_code(code, len * cnt);
	free(code);
	return text;
}

TEST(code)
{
	static const struct { const char *code; size_t len; } bad[] = {
#define BAD(code) { code, sizeof(code) - 1 }
		BAD("\x17"), BAD("\x2d"), BAD("\x2f\x06\x01"), BAD("\x3f"), BAD("\x1d"),	/* of no compiler for x86-64 */
		BAD("\x01\0\0\0\0\0\0\0\0"),						/* set_loc */
		BAD("\x0b"), BAD("\x0a\x0b\x0b"),					/* nothing to restore */
		BAD("\x0d\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),		/* a number without end */
		BAD("\x07\x80\x80\x80\x40"), BAD("\x07\xff\xff\xff\x3f"), BAD("\x07\x80\x01"),	/* a large register */
		BAD("\x05\xff\xff\xff\x3f\x01"), BAD("\x10\xff\xff\xff\x3f\x01\x00"), BAD("\x06\xff\xff\xff\x3f"),
		BAD("\x0f\x7f\x77\x00"), BAD("\x10\x06\x7f\x76"), BAD("\x0f\xff\xff\xff\xff\x0f"),
#undef BAD
	};
	char block[300] = { 0x0f, (char)0x80, 0x02 };	/* an expression of 256 bytes */

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK_STR(with_code(bad[i].code, bad[i].len), SOUND_ROWS))
			fprintf(stderr, "code %zu\n", i);
	memset(block + 3, 0x96, 256);
	CHECK_STR(with_code(block, sizeof(block)), SOUND_ROWS);
	/* operands that are cut off by the end of the entry: entries end at a multiple of 8 with nops */
	CHECK_STR(with_code("\0\0\0\0\0\0\x04", 7), SOUND_ROWS);
	CHECK_STR(with_code("\0\0\0\0\0\0\x0c", 7), SOUND_ROWS);
	CHECK_STR(with_code("\0\0\0\0\0\x03\x01", 7), SOUND_ROWS);
	CHECK_STR(with_code("\0\0\0\0\0\x0f\x01", 7), SOUND_ROWS);
}

/* What would cost quadratic time, or memory by the megabyte an instruction. */
TEST(cost)
{
	/* rows by the ten thousand */
	CHECK_STR(with_repeated("\x41\x0e\x10\x41\x0e\x18", 6, 100000), SOUND_ROWS);
	/* states in states; a pair at a time is what compilers write */
	CHECK_STR(with_repeated("\x0a", 1, 65), SOUND_ROWS);
	CHECK_STR(with_repeated("\x0a", 1, 1 << 19), SOUND_ROWS);
	CHECK_STR(with_repeated("\x0a\x0b", 2, 100), SOUND_ROWS ", 3000 sp+8 same+0, 3400 gap");
	CHECK_STR(with_repeated("\x41\x0a\x0b", 3, 100000), SOUND_ROWS);
	/* more than any function has */
	CHECK_STR(with_repeated("\x2e\x01", 2, 1 << 20), SOUND_ROWS);
	/* nops cost nothing */
	CHECK_STR(with_repeated("\x00", 1, 1 << 19), SOUND_ROWS ", 3000 sp+8 same+0, 3400 gap");
}

/* All of a section may cost so much and no more; what was read until then is used. */
TEST(cost_of_all)
{
	struct cfi_file f = file_new();
	size_t cie = CIE_USUAL(&f), len = 3 * 6000;
	struct ehframe e = { 0 };
	char *code = malloc(len + 2);

	for (size_t i = 0; i < len; i += 3)
		memcpy(code + i, "\x41\x2e\x01", 3);
	for (unsigned int i = 0; i < 20; i++) {
		code[len] = 0x0e;
		code[len + 1] = (char)(i + 1);
		fde_add(&f, cie, TEXT_VA + 0x1000 + 0x2000 * i, 0x2000, code, len + 2);
	}
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	if (CHECK_EQ(bytes_read(f.bytes, f.len, &e), 0)) {
		CHECK(e.rows_cnt >= 3 && e.rows_cnt < 2 * 20);
		ehframe_free(&e);
	}
	file_free(&f);
	free(code);
}

static const char *with_cie(const char *aug, const char *data, size_t data_len, const char *code, size_t len)
{
	struct cfi_file f = file_new();

	sound_add(&f);
	FDE(&f, cie_add(&f, 0, aug, data, data_len, code, len), TEXT_VA + 0x3000, 8, CODE_SOUND);
	return rows_of(&f);
}

TEST(cies)
{
	static char letters[2000], code[4000];

	CHECK_STR(with_cie("zR", "\x1b", 1, CODE_USUAL "\x41", 6), SOUND_ROWS);	/* advances */
	CHECK_STR(with_cie("zR", "\x1b", 1, CODE_USUAL "\xc6", 6), SOUND_ROWS);	/* restores */
	CHECK_STR(with_cie("zR", "\x1b", 1, CODE_USUAL "\x07\xff\xff\xff\x3f", 10), SOUND_ROWS);
	CHECK_STR(with_cie("zR", "\x1b", 1, code, sizeof(code)), SOUND_ROWS);
	/* libdw 0.188 reads as many bytes behind a CIE as these letters ask for */
	memset(letters, 'P', 900);
	letters[0] = 'z';
	CHECK_STR(with_cie(letters, "", 0, "", 0), SOUND_ROWS);
	memset(letters, 'P', sizeof(letters) - 1);
	letters[0] = 'z';
	CHECK_STR(with_cie(letters, "", 0, "", 0), SOUND_ROWS);
}

/* Such a CIE almost at the end of the file. */
TEST(cie_at_end)
{
	static char letters[990];
	struct cfi_file f = file_new();
	Elf64_Phdr phdrs[3] = {
		{ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = TEXT_VA },
		{ .p_type = PT_GNU_EH_FRAME, .p_offset = 0x800, .p_vaddr = TEXT_VA + 0x800, .p_filesz = 12 },
		{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = TEXT_VA, .p_filesz = TEXT_BYTES },
	};
	const unsigned char hdr[4] = { 1, 0x1b, 0xff, 0xff };
	const uint32_t rel = CFI_OFF - 0x804;

	memset(letters, 'P', sizeof(letters) - 1);
	letters[0] = 'z';
	sound_add(&f);
	FDE(&f, cie_add(&f, 0, letters, "", 0, "", 0), TEXT_VA + 0x3000, 8, CODE_SOUND);
	file_finish(&f, NULL, 0);
	phdrs[0].p_filesz = f.len;
	((Elf64_Ehdr *)f.bytes)->e_phnum = 3;
	memcpy(f.bytes + sizeof(Elf64_Ehdr), phdrs, sizeof(phdrs));
	memcpy(f.bytes + 0x800, hdr, sizeof(hdr));
	memcpy(f.bytes + 0x804, &rel, 4);
	CHECK_STR(file_rows(&f), SOUND_ROWS);
}

/* A number in the FDE that follows a sound one: at an offset of it. */
static const char *with_lie(size_t at, uint64_t lie, size_t bytes)
{
	struct cfi_file f = file_new();
	size_t cie = sound_add(&f), fde = f.len;

	FDE(&f, cie, TEXT_VA + 0x3000, 8, CODE_SOUND);
	memcpy(f.bytes + fde + at, &lie, bytes);
	return rows_of(&f);
}

TEST(numbers)
{
	static const uint64_t lengths[] = { 1, 2, 3, 5, 0x7fffffff, 0xfffffff0, 0xfffffffe, 0xffffffff, 1000 };
	static const uint64_t ids[] = { 1, 3, 0xffffffff, 0x80000000, 0x7fffffff, 0x1000, 21, 24, 28, 36 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		CHECK_STR(with_lie(0, lengths[i], 4), SOUND_ROWS);
	CHECK_STR(with_lie(0, 0xffffffffffffffff, 8), SOUND_ROWS);
	CHECK_STR(with_lie(0, 0x7fffffffffffffff, 8), SOUND_ROWS);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		CHECK_STR(with_lie(4, ids[i], 4), SOUND_ROWS);
	CHECK_STR(with_lie(12, 0, 4), SOUND_ROWS);		/* length of the function */
	CHECK_STR(with_lie(8, 0x7fffffff, 4), SOUND_ROWS);	/* its start */
	CHECK_STR(with_lie(8, 0x80000000, 4), SOUND_ROWS);
	CHECK_STR(with_lie(16, 0x7f, 1), SOUND_ROWS);		/* its augmentation */
	CHECK_STR(with_lie(16, 0xffffffffffffffff, 8), SOUND_ROWS);
	CHECK_STR(with_lie(12, 0xffffffff, 4), SOUND_ROWS ", 3000 sp+8 same+0, 3001 sp+16 cfa-16, 100000 gap");
}

/* Functions more than 4 GiB apart, in two segments that say so. */
TEST(far_apart)
{
	struct cfi_file f = file_new();
	size_t cie = sound_add(&f), wide = cie_add(&f, 0, "zR", "\0", 1, CODE_USUAL, 5);
	Elf64_Phdr phdr = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x200000000, .p_filesz = 0x1000 };

	(void)cie;
	fde_begin(&f, wide);
	file_number(&f, 0x200000010, 8);
	file_number(&f, 16, 8);
	file_number(&f, 0, 1);
	entry_end(&f);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	memcpy(f.bytes + sizeof(Elf64_Ehdr) + sizeof(phdr), &phdr, sizeof(phdr));
	CHECK_STR(file_rows(&f), "error -8");
}

/* Reads a copy that ends where the bytes end. */
static void read_copy(const uint8_t *bytes, size_t len)
{
	struct ehframe e = { 0 };

	if (!bytes_read(bytes, len, &e))
		ehframe_free(&e);
}

/* Each byte that may be the last. */
static void cut_all(const uint8_t *bytes, size_t len, size_t step)
{
	for (size_t i = 0; i < len; i += step)
		read_copy(bytes, i);
}

static uint32_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

/* Up to eight bytes of each copy are replaced, from `from` on more often than before it. */
static void damage(const uint8_t *bytes, size_t len, size_t from, unsigned int rounds)
{
	static const uint8_t interesting[] = { 0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0b, 0x0f, 0x10, 0x1b, 'P', 'z' };
	uint8_t *copy = malloc(len);
	uint64_t state = 6;

	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int cnt = 1 + random_next(&state) % 8;

		memcpy(copy, bytes, len);
		while (cnt--) {
			size_t at = random_next(&state) % 4 ? from + random_next(&state) % (len - from) : random_next(&state) % len;
			uint32_t n = random_next(&state);

			copy[at] = n & 0x100 ? n : interesting[n % sizeof(interesting)];
		}
		read_copy(copy, len);
	}
	free(copy);
}

/* A file with every kind of entry. */
static struct cfi_file rich_file(void)
{
	struct cfi_file f = file_new();
	size_t cie = sound_add(&f), signal, wide;

	FDE(&f, cie, TEXT_VA + 0x3000, 64, "\x0f\x03\x76\x78\x06\x10\x06\x02\x76\x00\x44\x0a\x44\x0c\x07\x08\x44\x0b");
	FDE(&f, cie, TEXT_VA + 0x3100, 64, "\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22");
	FDE(&f, cie, TEXT_VA + 0x3200, 64, "\x02\x10\x0e\x20\x03\x10\x00\x0e\x18\x04\x10\x00\x00\x00\x0e\x10\x86\x02\xc6");
	signal = cie_add(&f, 0, "zPLRS", "\x9b\x01\x02\x03\x04\x1b\x1b", 7, CODE_USUAL, 5);
	fde_begin(&f, signal);
	file_number(&f, TEXT_VA + 0x3300 - (TEXT_VA + f.len), 4);
	file_number(&f, 16, 4);
	file_number(&f, 4, 1);
	file_number(&f, 0, 4);
	file_add(&f, "\x0f\x04\x77\xa0\x01\x06\x10\x10\x03\x77\xa8\x01", 12);
	entry_end(&f);
	wide = cie_add(&f, 0, "", "", 0, CODE_USUAL, 5);
	fde_begin(&f, wide);
	file_number(&f, TEXT_VA + 0x3400, 8);
	file_number(&f, 16, 8);
	file_add(&f, CODE_SOUND, 5);
	entry_end(&f);
	file_finish(&f, ".eh_frame", SHF_ALLOC);
	return f;
}

TEST(damaged)
{
	struct cfi_file f = rich_file();

	CHECK_STR(file_rows(&f),
		  SOUND_ROWS ", 3000 *bp-8+0 *bp+0, 3008 sp+8 *bp+0, 300c *bp-8+0 *bp+0, 3040 gap, 3100 plt+11, 3140 gap, "
		  "3200 sp+8 same+0, 3210 sp+32 same+0, 3220 sp+24 same+0, 3230 sp+16 same+0, 3240 gap, 3300 signal, 3310 gap, "
		  "3400 sp+8 same+0, 3401 sp+16 cfa-16, 3410 gap");
	f = rich_file();
	cut_all(f.bytes, f.len, 1);
	damage(f.bytes, f.len, CFI_OFF, 20000);
	file_free(&f);
}

/* The vdso: a real file, small, with everything that a linker writes. */
TEST(vdso)
{
	const uint8_t *vdso = (const void *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *ehdr = (const void *)vdso;
	struct ehframe e = { 0 };
	size_t len;

	if (!vdso || ehdr->e_machine != EM_X86_64)
		TEST_SKIP("no vdso of x86-64");
	len = ehdr->e_shoff + (size_t)ehdr->e_shnum * ehdr->e_shentsize;
	if (CHECK_EQ(bytes_read(vdso, len, &e), 0)) {
		CHECK(e.rows_cnt > 5);
		ehframe_free(&e);
	}
	cut_all(vdso, len, 7);
	damage(vdso, len, 0, 5000);
}

TEST_MAIN(TEST_CASE(code), TEST_CASE(cost), TEST_CASE(cost_of_all), TEST_CASE(cies), TEST_CASE(cie_at_end),
	  TEST_CASE(numbers), TEST_CASE(far_apart), TEST_CASE(damaged), TEST_CASE(vdso))
