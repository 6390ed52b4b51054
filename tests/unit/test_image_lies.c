/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What image.c makes of files that lie: cut, damaged at random, and with one lie each. The files are in
 * memory that ends where they do, so that the sanitizer sees a read past them.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf/fde.h"
#include "elf/image.h"
#include "elf/image_import.h"
#include "test.h"

/* The least that is an executable: a header and one segment. */
struct tiny {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
};

static struct tiny tiny_make(void)
{
	struct tiny t = {
		.ehdr = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			.e_ehsize = sizeof(Elf64_Ehdr), .e_phoff = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
		},
		.phdr = {
			{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000, .p_filesz = sizeof(struct tiny) },
			{ .p_type = PT_NULL },
		},
	};

	return t;
}

static int tiny_open(const struct tiny *t, struct image **ret)
{
	*ret = NULL;
	return image_open_memory(t, sizeof(*t), ret);
}

static int count_symbol(const struct image_symbol *sym, void *ctx)
{
	/* Reads all of the name, for the sanitizer. */
	*(size_t *)ctx += strlen(sym->name) > 0;
	return 0;
}

static int count_import(const struct image_import *imp, void *ctx)
{
	*(size_t *)ctx += strlen(imp->name) > 0;
	return 0;
}

TEST(kinds)
{
	struct tiny t = tiny_make();
	Elf32_Ehdr ehdr32 = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN, .e_machine = EM_386, .e_version = EV_CURRENT, .e_ehsize = sizeof(Elf32_Ehdr),
	};
	struct image *img = NULL;
	size_t cnt = 0;

	CHECK_EQ(tiny_open(&t, &img), 0);
	CHECK(image_is_static_exec(img));
	CHECK_EQ(image_machine(img), EM_X86_64);
	CHECK(!image_has_symtab(img));
	CHECK_EQ(image_each_symbol(img, count_symbol, &cnt), 0);
	CHECK_EQ(image_each_import(img, count_import, &cnt), 0);
	img = image_free(img);
	t.phdr[1].p_type = PT_INTERP;
	CHECK_EQ(tiny_open(&t, &img), 0);
	CHECK(!image_is_static_exec(img));
	img = image_free(img);
	CHECK_EQ(image_open_memory(&ehdr32, sizeof(ehdr32), &img), 0);
	CHECK(!image_is_64bit(img));
	CHECK_EQ(image_each_symbol(img, count_symbol, &cnt), 0);
	CHECK_EQ(cnt, 0);
	image_free(img);
	CHECK(!image_free(NULL));
}

TEST(not_elf)
{
	static const char *const paths[] = { "/dev/null", "/", "/proc/self/maps" };
	struct tiny t = tiny_make();
	struct image *img = NULL;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

		CHECK_EQ(image_open(fd, &img), -ENOEXEC);
		close(fd);
	}
	CHECK_EQ(image_open(-1, &img), -ENOEXEC);
	CHECK_EQ(image_open_memory("!<arch>\n", 8, &img), -ENOEXEC);
	CHECK_EQ(image_open_memory("", 0, &img), -ENOEXEC);
	t.ehdr.e_type = ET_REL;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t.ehdr.e_type = ET_CORE;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t = tiny_make();
	t.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t = tiny_make();
	t.ehdr.e_phnum = 3;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t.ehdr.e_phnum = PN_XNUM;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t = tiny_make();
	t.ehdr.e_phoff = UINT64_MAX - 8;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	t = tiny_make();
	t.phdr[0].p_filesz = UINT64_MAX;
	CHECK_EQ(tiny_open(&t, &img), -ENOEXEC);
	CHECK(!img);
}

/* Asks everything of an image, whatever it is. True when it was one. */
static bool exercise(const void *data, size_t len)
{
	const unsigned char *bytes;
	struct image *img = NULL;
	size_t cnt = 0, got;
	uint64_t x;
	int err;

	err = image_open_memory(data, len, &img);
	if (err) {
		CHECK_EQ(err, -ENOEXEC);
		CHECK(!img);
		return false;
	}
	err = image_each_symbol(img, count_symbol, &cnt);
	CHECK(!err || err == -ENOEXEC);
	err = image_each_import(img, count_import, &cnt);
	CHECK(!err || err == -ENOEXEC);
	got = image_build_id(img, &bytes);
	for (size_t i = 0; i < got; i++)
		cnt += bytes[i];
	image_has_section(img, ".note.stapsdt");
	image_is_static_exec(img);
	for (uint64_t va = 0; va < len + 0x3000; va += 0x800) {
		fde_starts_at(img, va);
		image_off_to_va(img, va, &x);
		if (!image_text(img, va, 64, &bytes, &got))
			for (size_t i = 0; i < got; i++)
				cnt += bytes[i];
	}
	image_free(img);
	return true;
}

/* A small real file, in memory that ends where the file does. */
static unsigned char *small_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char *data = NULL;
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_size < 4 << 20 && (data = malloc(st.st_size))) {
		*ret_len = st.st_size;
		if (read(fd, data, st.st_size) != st.st_size)
			abort();
	}
	if (fd >= 0)
		close(fd);
	return data;
}

TEST(truncated)
{
	size_t len;
	unsigned char *data = small_read("/bin/true", &len), *cut;

	if (!data)
		TEST_SKIP("no small program to cut");
	for (size_t at = 0; at < len; at += at < 1024 ? 7 : 211) {
		cut = malloc(at ? at : 1);
		if (!CHECK(cut))
			break;
		memcpy(cut, data, at);
		exercise(cut, at);
		free(cut);
	}
	CHECK(exercise(data, len));
	free(data);
}

/* Where lies matter most: headers, the dynamic section, the symbols, the section headers. */
static size_t flip_offset(const unsigned char *data, size_t len, uint64_t r)
{
	Elf64_Ehdr ehdr;

	memcpy(&ehdr, data, sizeof(ehdr));
	switch (r & 3) {
	case 0:
		return (r >> 8) % 1024;
	case 1:
		return ehdr.e_shoff + (r >> 8) % (len - ehdr.e_shoff);
	case 2:
		return 0x318 + (r >> 8) % 4096;
	}
	return (r >> 8) % len;
}

TEST(flipped)
{
	static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	uint64_t x = 0x2545f4914f6cdd1d;
	size_t len, opened_cnt = 0;
	unsigned char *data = small_read("/bin/true", &len), *bad;

	if (!data)
		TEST_SKIP("no small program to damage");
	bad = malloc(len);
	for (int round = 0; bad && round < 20000; round++) {
		memcpy(bad, data, len);
		for (int flips = 1 + round % 8; flips; flips--) {
			size_t at;

			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			at = flip_offset(data, len, x);
			bad[at] = x >> 60 & 1 ? values[(x >> 40) % sizeof(values)] : bad[at] ^ (1 << (x >> 40 & 7));
		}
		opened_cnt += exercise(bad, len);
	}
	/* Damage that only makes the header unreadable would test little. */
	CHECK(opened_cnt > 10000);
	free(bad);
	free(data);
}

/* One lie each, on a program with every table (this one), and what becomes of it. */
static Elf64_Shdr *section_of(unsigned char *data, unsigned int type)
{
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)data;
	Elf64_Shdr *shdr = (Elf64_Shdr *)(data + ehdr->e_shoff);

	for (int i = 0; i < ehdr->e_shnum; i++)
		if (shdr[i].sh_type == type)
			return &shdr[i];
	abort();
}

static int symbols_of(const void *data, size_t len, size_t *ret_cnt)
{
	struct image *img;
	int err = image_open_memory(data, len, &img);

	*ret_cnt = 0;
	if (err)
		return err;
	err = image_each_symbol(img, count_symbol, ret_cnt);
	image_free(img);
	return err;
}

TEST(lies)
{
	size_t len, cnt, all_cnt;
	unsigned char *data = small_read("/bin/true", &len);
	Elf64_Shdr *dynsym, keep;

	if (!data)
		TEST_SKIP("no small program to damage");
	dynsym = section_of(data, SHT_DYNSYM);
	keep = *dynsym;
	CHECK_EQ(symbols_of(data, len, &all_cnt), 0);
	dynsym->sh_link = 9999;
	CHECK_EQ(symbols_of(data, len, &cnt), -ENOEXEC);
	dynsym->sh_link = 1;	/* not a string table */
	CHECK_EQ(symbols_of(data, len, &cnt), -ENOEXEC);
	*dynsym = keep;
	dynsym->sh_size = UINT64_MAX;
	CHECK_EQ(symbols_of(data, len, &cnt), -ENOEXEC);
	*dynsym = keep;
	dynsym->sh_offset = len - 24;
	CHECK_EQ(symbols_of(data, len, &cnt), -ENOEXEC);
	*dynsym = keep;
	dynsym->sh_entsize = 1;
	CHECK_EQ(symbols_of(data, len, &cnt), -ENOEXEC);
	*dynsym = keep;
	((Elf64_Ehdr *)data)->e_shoff = len + 1;
	CHECK_EQ(symbols_of(data, len, &cnt), 0);
	CHECK_EQ(cnt, 0);
	free(data);
}

TEST_MAIN(TEST_CASE(kinds), TEST_CASE(not_elf), TEST_CASE(truncated), TEST_CASE(flipped), TEST_CASE(lies))
