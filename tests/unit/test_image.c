/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What image.c reads of real files, compared with readelf. Files that lie: test_image_lies.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "elf/fde.h"
#include "elf/image.h"
#include "elf/image_import.h"
#include "test.h"

/* A function with two versions in .symtab, as a library's linker script would give them. */
int versioned_old(void);
int versioned_new(void);
int versioned_old(void) { return 1; }
int versioned_new(void) { return 2; }
__asm__(".symver versioned_old, versioned@EBB_1");
__asm__(".symver versioned_new, versioned@@EBB_2");

struct file {
	int fd;
	struct image *img;
};

static bool file_open(struct file *file, const char *path)
{
	int err;

	file->img = NULL;
	file->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (file->fd < 0)
		return false;
	err = image_open(file->fd, &file->img);
	return CHECK_EQ(err, 0);
}

static void file_close(struct file *file)
{
	image_free(file->img);
	if (file->fd >= 0)
		close(file->fd);
}

/* The C library that this program runs with. */
static const char *libc_path(void)
{
	Dl_info info;

	return dladdr((void *)gnu_get_libc_version, &info) ? info.dli_fname : NULL;
}

static FILE *readelf(const char *options, const char *path)
{
	char cmd[512];

	if (system("readelf --version >/dev/null 2>&1"))
		return NULL;
	snprintf(cmd, sizeof(cmd), "LC_ALL=C readelf -W %s %s", options, path);
	return popen(cmd, "re");
}

struct found {
	const char *name;
	bool (*wanted)(const struct image_symbol *sym);
	struct image_symbol sym;
	size_t cnt;
};

static int find_symbol(const struct image_symbol *sym, void *ctx)
{
	struct found *f = ctx;

	CHECK(sym->name[0]);
	CHECK(sym->va);
	if (strcmp(sym->name, f->name) || (f->wanted && !f->wanted(sym)))
		return 0;
	f->sym = *sym;
	f->cnt++;
	return 0;
}

static struct found find(const struct image *img, const char *name, bool (*wanted)(const struct image_symbol *sym))
{
	struct found f = { .name = name, .wanted = wanted };

	CHECK_EQ(image_each_symbol(img, find_symbol, &f), 0);
	return f;
}

static bool is_hidden(const struct image_symbol *sym) { return sym->hidden_version; }
static bool is_shown(const struct image_symbol *sym) { return !sym->hidden_version; }
static bool is_static_symbol(const struct image_symbol *sym) { return !sym->dynamic; }

TEST(symbols)
{
	const unsigned char *text;
	struct file libc;
	struct found f;
	void *handle;
	size_t len;

	handle = dlopen(libc_path(), RTLD_LAZY | RTLD_NOLOAD);
	if (!CHECK(handle) || !CHECK(file_open(&libc, libc_path())))
		return;
	CHECK(image_is_64bit(libc.img));
	CHECK(!image_is_static_exec(libc.img));
	CHECK(image_has_section(libc.img, ".eh_frame_hdr"));
	CHECK(!image_has_section(libc.img, ".eh_frame_hd"));
	f = find(libc.img, "malloc", NULL);
	CHECK(f.cnt >= 1);
	CHECK_EQ(f.sym.type, IMAGE_FUNC);
	CHECK(f.sym.global);
	CHECK(f.sym.size > 16);
	CHECK(fde_starts_at(libc.img, f.sym.va));
	CHECK(!fde_starts_at(libc.img, f.sym.va + 1));
	CHECK(!fde_starts_at(libc.img, 0));
	CHECK(!fde_starts_at(libc.img, UINT64_MAX));
	if (CHECK_EQ(image_text(libc.img, f.sym.va, f.sym.size, &text, &len), 0)) {
		CHECK_EQ(len, f.sym.size);
		/* Behind the first byte: somebody's probe may be there. */
		CHECK(!memcmp(text + 1, (const char *)dlsym(handle, "malloc") + 1, 8));
	}
	CHECK_EQ(image_text(libc.img, UINT64_MAX, 1, &text, &len), -ENOENT);
	CHECK_EQ(find(libc.img, "errno", NULL).cnt, 0);	/* TLS */
	CHECK_EQ(find(libc.img, "environ", NULL).sym.type, IMAGE_OBJECT);
	dlclose(handle);
	file_close(&libc);
}

static int stop_at_third(const struct image_symbol *sym, void *ctx)
{
	int *cnt = ctx;

	(void)sym;
	return ++*cnt == 3 ? 42 : 0;
}

TEST(versions)
{
	struct file self;
	struct found f;
	int cnt = 0;

	if (!CHECK(file_open(&self, "/proc/self/exe")))
		return;
	CHECK(image_has_symtab(self.img));
	CHECK_EQ(image_each_symbol(self.img, stop_at_third, &cnt), 42);
	CHECK_EQ(cnt, 3);
	/* Twice: the names without a version are made once. */
	for (int i = 0; i < 2; i++) {
		f = find(self.img, "versioned", is_hidden);
		CHECK(f.cnt >= 1);
		CHECK_EQ(f.sym.va, find(self.img, "versioned_old", NULL).sym.va);
		f = find(self.img, "versioned", is_shown);
		CHECK(f.cnt >= 1);
		CHECK_EQ(f.sym.va, find(self.img, "versioned_new", NULL).sym.va);
	}
	f = find(self.img, "libc_path", is_static_symbol);
	CHECK_EQ(f.cnt, 1);
	CHECK(!f.sym.global);
	CHECK(!f.sym.dynamic);
	CHECK_EQ(find(self.img, "test_image.c", NULL).cnt, 0);	/* STT_FILE */
	file_close(&self);
}

struct sum { uint64_t cnt, va, size, hidden; };

static int sum_dynamic(const struct image_symbol *sym, void *ctx)
{
	struct sum *sum = ctx;

	if (!sym->dynamic)
		return 0;
	sum->cnt++;
	sum->va += sym->va;
	sum->size += sym->size;
	sum->hidden += sym->hidden_version;
	return 0;
}

/* Every symbol of .dynsym, counted and summed by both. */
TEST(symbols_readelf)
{
	const char *path = libc_path();
	struct sum ours = { 0 }, theirs = { 0 };
	FILE *f = readelf("--dyn-syms", path);
	size_t size = 0;
	char *line = NULL;
	struct file libc;

	if (!f)
		TEST_SKIP("readelf is not installed");
	while (getline(&line, &size, f) > 0) {
		char va[32], bytes[32], type[32], bind[32], vis[32], section[32], name[512] = "";

		if (sscanf(line, " %*d: %31s %31s %31s %31s %31s %31s %511s", va, bytes, type, bind, vis, section, name) != 7 ||
		    !strcmp(section, "UND") || !strcmp(section, "ABS") || !strcmp(type, "TLS") ||
		    !strtoull(va, NULL, 16))
			continue;
		theirs.cnt++;
		theirs.va += strtoull(va, NULL, 16);
		theirs.size += strtoull(bytes, NULL, 0);
		theirs.hidden += strchr(name, '@') && !strstr(name, "@@");
	}
	free(line);
	pclose(f);
	if (CHECK(file_open(&libc, path))) {
		CHECK_EQ(image_each_symbol(libc.img, sum_dynamic, &ours), 0);
		CHECK(ours.cnt > 1000);
		CHECK_EQ(ours.cnt, theirs.cnt);
		CHECK_EQ(ours.va, theirs.va);
		CHECK_EQ(ours.size, theirs.size);
		CHECK_EQ(ours.hidden, theirs.hidden);
	}
	file_close(&libc);
}

struct imports {
	size_t cnt, allocator_cnt;
	struct { char name[64]; uint64_t got_va; } theirs[4096];
	size_t theirs_cnt, unmatched_cnt;
};

static int check_import(const struct image_import *imp, void *ctx)
{
	struct imports *all = ctx;

	all->cnt++;
	for (size_t i = 0; i < all->theirs_cnt; i++) {
		if (all->theirs[i].got_va != imp->got_va || strncmp(all->theirs[i].name, imp->name, 63))
			continue;
		all->allocator_cnt += !strcmp(imp->name, "malloc") || !strcmp(imp->name, "calloc") ||
				      !strcmp(imp->name, "free") || !strcmp(imp->name, "realloc");
		return 0;
	}
	all->unmatched_cnt++;
	return 0;
}

/* Each import is a relocation that readelf shows too, at the same place and with the same name. */
static void check_imports(const char *path, bool calls_malloc)
{
	struct imports *all = calloc(1, sizeof(*all));
	FILE *f = readelf("-r", path);
	char *line = NULL;
	size_t size = 0, slots = 0;
	struct file file;

	if (!f || !CHECK(all)) {
		free(all);
		TEST_SKIP("readelf is not installed");
	}
	while (getline(&line, &size, f) > 0) {
		char va[32], type[64], name[64] = "";

		if (all->theirs_cnt == 4096 || sscanf(line, "%31s %*s %63s %*s %63[^@ ]", va, type, name) != 3)
			continue;
		if (!strstr(type, "GLOB_DAT") && !strstr(type, "JUMP_SLO") && strcmp(type, "R_X86_64_64"))
			continue;
		slots += strstr(type, "JUMP_SLO") && strcmp(name, "+");
		strcpy(all->theirs[all->theirs_cnt].name, name);
		all->theirs[all->theirs_cnt++].got_va = strtoull(va, NULL, 16);
	}
	free(line);
	pclose(f);
	if (CHECK(file_open(&file, path))) {
		CHECK_EQ(image_each_import(file.img, check_import, all), 0);
		CHECK_EQ(all->unmatched_cnt, 0);
		CHECK(all->cnt >= slots);
		if (calls_malloc)
			CHECK(all->allocator_cnt >= 3);
	}
	file_close(&file);
	free(all);
}

TEST(imports_libc) { check_imports(libc_path(), true); }

TEST(imports_self)
{
	char *path = realpath("/proc/self/exe", NULL);

	if (CHECK(path))
		check_imports(path, false);
	free(path);
}

TEST(build_id)
{
	FILE *f = readelf("-n", libc_path());
	char *line = NULL, want[129] = "", have[129] = "";
	const unsigned char *id;
	size_t size = 0, len;
	struct file libc;

	if (!f)
		TEST_SKIP("readelf is not installed");
	while (getline(&line, &size, f) > 0)
		if (strstr(line, "Build ID: "))
			sscanf(strstr(line, "Build ID: "), "Build ID: %128s", want);
	free(line);
	pclose(f);
	if (CHECK(file_open(&libc, libc_path()))) {
		len = image_build_id(libc.img, &id);
		for (size_t i = 0; i < len; i++)
			sprintf(have + 2 * i, "%02x", id[i]);
		CHECK(len);
		CHECK_STR(have, want);
	}
	file_close(&libc);
}

TEST(va_and_off)
{
	FILE *f = readelf("-l", libc_path());
	char *line = NULL;
	size_t size = 0, len;
	struct file libc;
	int load_cnt = 0;

	if (!f)
		TEST_SKIP("readelf is not installed");
	if (!CHECK(file_open(&libc, libc_path())))
		return;
	while (getline(&line, &size, f) > 0) {
		unsigned long long off, va, file_bytes;
		const unsigned char *text;
		uint64_t got;

		if (sscanf(line, " LOAD 0x%llx 0x%llx %*s 0x%llx", &off, &va, &file_bytes) != 3 || !file_bytes)
			continue;
		load_cnt++;
		CHECK(!image_va_to_off(libc.img, va, &got) && got == off);
		CHECK(!image_off_to_va(libc.img, off, &got) && got == va);
		CHECK(!image_va_to_off(libc.img, va + file_bytes - 1, &got) && got == off + file_bytes - 1);
		CHECK(!image_off_to_va(libc.img, off + file_bytes - 1, &got) && got == va + file_bytes - 1);
		if (image_va_to_off(libc.img, va + file_bytes, &got) == 0)
			CHECK(got != off + file_bytes);
		if (strstr(line, "R E")) {
			CHECK(!image_text(libc.img, va + file_bytes - 3, 100, &text, &len) && len == 3);
		} else {
			CHECK_EQ(image_text(libc.img, va, 1, &text, &len), -ENOENT);
		}
	}
	CHECK(load_cnt >= 2);
	CHECK_EQ(image_va_to_off(libc.img, UINT64_MAX, &(uint64_t){ 0 }), -ENOENT);
	free(line);
	pclose(f);
	file_close(&libc);
}

/* The vdso, as the kernel maps it; its end is the end of the mapping. */
static size_t vdso_len(const void *start)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long long low, high;
	char *line = NULL;
	size_t size = 0, len = 0;

	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "%llx-%llx", &low, &high) == 2 && low == (uintptr_t)start)
			len = high - low;
	free(line);
	if (f)
		fclose(f);
	return len;
}

TEST(vdso)
{
	const void *start = (const void *)getauxval(AT_SYSINFO_EHDR);
	size_t len = start ? vdso_len(start) : 0;
	const unsigned char *id;
	struct image *img;
	uint64_t off;
	struct found f;
	void *copy;

	if (!len)
		TEST_SKIP("no vdso here");
	copy = malloc(len);
	if (!CHECK(copy))
		return;
	memcpy(copy, start, len);
	if (CHECK_EQ(image_open_memory(copy, len, &img), 0)) {
		CHECK(image_is_64bit(img));
		CHECK(!image_is_static_exec(img));
		CHECK(image_build_id(img, &id));
		f = find(img, "__vdso_clock_gettime", NULL);
		if (!f.cnt)
			f = find(img, "__kernel_clock_gettime", NULL);
		CHECK(f.cnt >= 1);
		CHECK_EQ(f.sym.type, IMAGE_FUNC);
		CHECK_EQ(image_va_to_off(img, f.sym.va, &off), 0);
		CHECK(fde_starts_at(img, f.sym.va));
		image_free(img);
	}
	free(copy);
}

TEST_MAIN(TEST_CASE(symbols), TEST_CASE(versions), TEST_CASE(symbols_readelf), TEST_CASE(imports_libc),
	  TEST_CASE(imports_self), TEST_CASE(build_id), TEST_CASE(va_and_off), TEST_CASE(vdso))
