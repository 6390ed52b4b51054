/* SPDX-License-Identifier: GPL-2.0-only */
/* Symbols and debug information in other places, made by whoever means ill. */
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/text.h"
#include "child.h"
#include "elf/debug_file.h"
#include "elf/image.h"
#include "symbol/debug_path.h"
#include "symbol/name_file.h"
#include "test.h"

static const char source[] =
	"__attribute__((noinline)) int hidden(int n) { __asm__ volatile(\"\"); return n * 3; }\n"
	"int main(int argc, char **argv) { (void)argv; return hidden(argc); }\n";

/* Writes a file into the directory of the test. */
static char *bytes_write(const char *name, const void *data, size_t len)
{
	char *path = child_path(name);
	FILE *f = fopen(path, "we");

	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		abort();
	return path;
}

static void *bytes_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st))
		abort();
	data = malloc(st.st_size + 1);
	if (!data || read(fd, data, st.st_size) != st.st_size)
		abort();
	close(fd);
	*ret_len = st.st_size;
	return data;
}

/* A copy of a file with a section of these bytes; a section of that name goes first. */
static char *with_section(const char *from, const char *name, const char *section, const void *data, size_t len)
{
	char *bytes = bytes_write("section.bin", data, len), *to = child_path(name), *remove = NULL, *add = NULL;

	if (asprintf(&remove, "--remove-section=%s", section) < 0 || asprintf(&add, "--add-section=%s=%s", section, bytes) < 0)
		abort();
	{
		char *argv[] = { (char *)"objcopy", remove, add, (char *)from, to, NULL };

		if (!CHECK(child_run(argv)))
			abort();
	}
	free(bytes);
	free(remove);
	free(add);
	return to;
}

static char *stripped(const char *from, const char *name)
{
	char *to = child_path(name), *argv[] = { (char *)"strip", (char *)"-o", to, (char *)from, NULL };

	if (!CHECK(child_run(argv)))
		abort();
	return to;
}

static int open_file(const char *path, struct name_file *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	err = name_file_open(fd, ret);
	close(fd);
	return err;
}

/* What becomes of a debug file. */
static int offer(struct name_file *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	err = fd < 0 ? -errno : name_file_add_debug(f, fd);
	close(fd);
	return err;
}

static int offer_alt(struct name_file *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = name_file_add_alt(f, fd);

	close(fd);
	return err;
}

static int find_hidden(const struct image_symbol *sym, void *ctx)
{
	if (!strcmp(sym->name, "hidden"))
		*(uint64_t *)ctx = sym->va;
	return 0;
}

/* The va of hidden(), of a file that is not stripped. */
static uint64_t hidden_va(const char *path)
{
	struct name_file f;
	uint64_t va = 0;

	if (CHECK_EQ(open_file(path, &f), 0)) {
		image_each_symbol(f.img, find_hidden, &va);
		name_file_close(&f);
	}
	CHECK(va != 0);
	return va;
}

static void check_name(struct name_file *f, uint64_t va, const char *want)
{
	struct name_file_answer answer;
	int err = name_file_find(f, va, false, &answer);

	if (!want)
		CHECK_EQ(err, -ENOENT);
	else if (CHECK_EQ(err, 0))
		CHECK_STR(answer.frames.at[answer.frames.cnt - 1].name, want);
}

/* An xz file of many GiB of zeros in some hundred KiB: the LZMA2 chunks of 2 MiB, over and over. Returns its length. */
static size_t bomb_make(uint8_t *out, size_t size)
{
	static uint8_t zeros[2 << 20], chunk[4096];
	lzma_options_lzma options;
	lzma_filter filters[] = { { .id = LZMA_FILTER_LZMA2, .options = &options }, { .id = LZMA_VLI_UNKNOWN } };
	lzma_stream_flags flags = { .check = LZMA_CHECK_NONE };
	lzma_block block = { .check = LZMA_CHECK_NONE, .filters = filters, .compressed_size = LZMA_VLI_UNKNOWN,
			     .uncompressed_size = LZMA_VLI_UNKNOWN };
	size_t chunk_len = 0, len = LZMA_STREAM_HEADER_SIZE;

	if (lzma_lzma_preset(&options, 0) || lzma_stream_header_encode(&flags, out) || lzma_block_header_size(&block) ||
	    lzma_block_header_encode(&block, out + len) ||
	    lzma_raw_buffer_encode(filters, NULL, zeros, sizeof(zeros), chunk, &chunk_len, sizeof(chunk)))
		abort();
	len += block.header_size;
	chunk_len--;	/* the end mark */
	for (int n = 0; n < 8192 && len + chunk_len < size; n++, len += chunk_len)
		memcpy(out + len, chunk, chunk_len);
	return len;
}

TEST(mini_bomb)
{
	const size_t size = 8 << 20;
	uint8_t *bomb = calloc(1, size);
	char *full = child_build("full", "cc", source, "-g"), *bare = stripped(full, "bare"), *evil;
	size_t len = bomb_make(bomb, size);
	struct image *mini = NULL;
	struct name_file f;

	evil = with_section(bare, "bomb", ".gnu_debugdata", bomb, len);
	if (CHECK_EQ(open_file(evil, &f), 0)) {
		CHECK(f.mini == NULL);
		CHECK_EQ(debug_file_mini(f.img, &mini), -ENOEXEC);
		check_name(&f, hidden_va(full), NULL);
		name_file_close(&f);
	}
	free(evil);
	free(bare);
	free(full);
	free(bomb);
}

static void *xz_of(const void *data, size_t len, size_t *ret_len)
{
	size_t size = lzma_stream_buffer_bound(len);
	uint8_t *out = malloc(size);

	*ret_len = 0;
	if (!out || lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, data, len, out, ret_len, size))
		abort();
	return out;
}

/* Every cut of it, and a byte changed everywhere: nothing or the right name. */
TEST(mini_broken)
{
	char *full = child_build("full", "cc", source, ""), *bare = stripped(full, "bare"), *path;
	size_t len, xz_len;
	void *data = bytes_read(full, &len);
	uint8_t *xz = xz_of(data, len, &xz_len);
	uint64_t va = hidden_va(full);
	struct name_file f;

	path = with_section(bare, "mini", ".gnu_debugdata", xz, xz_len);
	if (CHECK_EQ(open_file(path, &f), 0)) {
		CHECK(f.mini != NULL);
		check_name(&f, va, "hidden");
		name_file_close(&f);
	}
	free(path);
	for (int i = 0; i < 12; i++) {
		bool cut = i % 2;
		size_t at = xz_len * i / 12;

		if (!cut)
			xz[at] ^= 0x55;
		path = with_section(bare, "mini", ".gnu_debugdata", xz, cut ? at : xz_len);
		if (CHECK_EQ(open_file(path, &f), 0)) {
			CHECK(f.mini == NULL);
			check_name(&f, va, NULL);
			name_file_close(&f);
		}
		free(path);
		if (!cut)
			xz[at] ^= 0x55;
	}
	free(xz);
	free(data);
	free(bare);
	free(full);
}

/* Symbols that are everywhere, nowhere, or of another file: none has more than its section, and the rest is as it was. */
TEST(mini_lies)
{
	static const char lies[] =
		"__asm__(\".globl all, none, far, last\\n.type all,@function\\n.type none,@function\\n.type far,@function\\n\"\n"
		"\".type last,@function\\n.set all, 1\\n.size all, -1\\n.set none, 0x7fffffffffffffff\\n.size none, -1\\n\"\n"
		"\".set far, 0xfffffffffffffff0\\n.size far, 0x20\\n.set last, 0x123456\\n.size last, 16\\n\");\n"
		"int in_text(void) { return 0; }\n";
	char *full = child_build("full", "cc", source, ""), *bare = stripped(full, "bare"), *path;
	char *liar = child_build("liar", "cc", lies, "-shared -nostdlib -Wl,-Ttext=0x1000");
	size_t len, xz_len;
	void *data = bytes_read(liar, &len);
	uint8_t *xz = xz_of(data, len, &xz_len);
	const uint64_t vas[] = { 0, 1, 0x1000, 0x123456, UINT64_MAX, UINT64_MAX - 8, 0x7fffffffffffffff };
	struct name_file_answer answer;
	struct name_file f;

	path = with_section(bare, "mini", ".gnu_debugdata", xz, xz_len);
	if (CHECK_EQ(open_file(path, &f), 0)) {
		CHECK(f.mini != NULL);
		for (size_t i = 0; i < sizeof(vas) / sizeof(vas[0]); i++) {
			int err = name_file_find(&f, vas[i], false, &answer);

			CHECK(err == 0 || err == -ENOENT);
		}
		/* headers and what is beyond the file are no code */
		check_name(&f, 1, NULL);
		check_name(&f, 0x123456, NULL);
		check_name(&f, UINT64_MAX - 8, NULL);
		name_file_close(&f);
	}
	free(path);
	free(xz);
	free(data);
	free(liar);
	free(bare);
	free(full);
}

static size_t link_fill(char *out, const char *name, uint32_t crc)
{
	size_t at = (strlen(name) + 4) & ~(size_t)3;

	memset(out, 0, at);
	strcpy(out, name);
	memcpy(out + at, &crc, sizeof(crc));
	return at + sizeof(crc);
}

/* A link that names its own file, one with a wrong CRC, the debug file of another program. */
TEST(link_lies)
{
	char *full = child_build("full", "cc", source, "-g -Wl,--build-id=none");
	char *other = child_build("other", "cc", source, "-g -O0 -Wl,--build-id=sha1");
	char *bare = stripped(full, "bare"), *other_bare = stripped(other, "other_bare"), *path, link[64];
	size_t len;
	void *data = bytes_read(full, &len);
	uint32_t crc = crc32_z(0, data, len), got;
	uint64_t va = hidden_va(full);
	struct name_file f;

	path = with_section(bare, "link", ".gnu_debuglink", link, link_fill(link, "full", crc ^ 1));
	if (CHECK_EQ(open_file(path, &f), 0)) {
		CHECK(name_file_wants_debug(&f));
		CHECK_STR(debug_file_link(f.img, &got), "full");
		CHECK_EQ(offer(&f, full), -ENOEXEC);
		CHECK_EQ(offer(&f, other), -ENOEXEC);
		CHECK_EQ(offer(&f, path), -ENOEXEC);
		CHECK_EQ(offer(&f, "/dev/null"), -ENOEXEC);
		check_name(&f, va, NULL);
		name_file_close(&f);
	}
	free(path);
	path = with_section(bare, "link", ".gnu_debuglink", link, link_fill(link, "link", crc));
	if (CHECK_EQ(open_file(path, &f), 0)) {
		CHECK_EQ(offer(&f, path), -ENOEXEC);
		CHECK_EQ(offer(&f, full), 0);
		check_name(&f, va, "hidden");
		/* only one */
		CHECK_EQ(offer(&f, full), -ENOEXEC);
		name_file_close(&f);
	}
	free(path);
	/* a build id counts more than a CRC; the file itself has the right one, and says nothing new */
	path = with_section(other_bare, "link", ".gnu_debuglink", link, link_fill(link, "link", crc));
	if (CHECK_EQ(open_file(path, &f), 0)) {
		CHECK_EQ(offer(&f, full), -ENOEXEC);
		CHECK_EQ(offer(&f, path), -ENOEXEC);
		CHECK_EQ(offer(&f, other), 0);
		name_file_close(&f);
	}
	free(path);
	free(data);
	free(bare);
	free(other_bare);
	free(other);
	free(full);
}

/* What dwz makes of a pair of files; NULL without dwz. */
static char *dwz_make(const char *first, const char *second)
{
	char *common = child_path("common"), *argv[] = {
		(char *)"dwz", (char *)"-m", common, (char *)"-M", (char *)"/usr/lib/debug/.dwz/common", (char *)first,
		(char *)second, NULL,
	};

	unlink(common);
	if (child_run(argv))
		return common;
	free(common);
	return NULL;
}

/* Of debug information that has its common part elsewhere, only the right other file is taken. */
TEST(alt_file)
{
	static const char text[] =
		"struct common { long a, b, c, d, e; char name[100]; struct common *next; int (*fn)(struct common *, long, char **); };\n"
		"struct common list; int sink;\n"
		"static inline __attribute__((always_inline)) int inner(struct common *c, long n) {\n"
		"	__asm__ volatile(\"spot: nop\" : : : \"memory\"); sink += c->a * n; return c->b; }\n"
		"__attribute__((noinline)) int hidden(int n) { return inner(&list, n); }\n"
		"int main(int argc, char **argv) { (void)argv; return hidden(argc); }\n";
	char *one = child_build("one", "cc", text, "-g -gdwarf-4 -Wl,--build-id=sha1");
	char *two = child_build("two", "cc", text, "-g -gdwarf-4 -Wl,--build-id=sha1 -nostartfiles -Wl,-e,main");
	char *common = dwz_make(one, two);
	struct name_file_answer answer;
	const unsigned char *id;
	struct name_file f;
	uint64_t va;
	size_t len;

	if (!common) {
		free(one);
		free(two);
		TEST_SKIP("dwz is not installed");
	}
	va = hidden_va(one);
	if (CHECK_EQ(open_file(one, &f), 0)) {
		CHECK_STR(name_file_wants_alt(&f, &id, &len), "/usr/lib/debug/.dwz/common");
		CHECK_EQ(len, 20);
		/* not known what is inlined: the function */
		if (CHECK_EQ(name_file_find(&f, va, false, &answer), 0))
			CHECK_STR(answer.frames.at[0].name, "hidden");
		CHECK_EQ(offer_alt(&f, one), -ENOEXEC);
		CHECK_EQ(offer_alt(&f, "/dev/null"), -ENOEXEC);
		CHECK_EQ(offer_alt(&f, common), 0);
		CHECK(name_file_wants_alt(&f, &id, &len) == NULL);
		if (CHECK_EQ(name_file_find(&f, va, false, &answer), 0) && CHECK_EQ(answer.frames.cnt, 2)) {
			CHECK_STR(answer.frames.at[0].name, "inner");
			CHECK_STR(answer.frames.at[1].name, "hidden");
		}
		CHECK_EQ(offer_alt(&f, common), -ENOEXEC);
		name_file_close(&f);
	}
	free(common);
	free(one);
	free(two);
}

/* Links without an end, without a CRC, without a name. */
TEST(link_broken)
{
	static const struct { const char *bytes; size_t len; } links[] = {
		{ "", 0 }, { "", 1 }, { "abc", 3 }, { "abc", 4 }, { "abc\0\1\2\3", 7 }, { "\0\0\0\0\1\2\3\4", 8 },
	};
	char *full = child_build("full", "cc", source, "");
	struct name_file f;
	uint32_t crc;

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		char *path = with_section(full, "link", ".gnu_debuglink", links[i].bytes, links[i].len);

		if (CHECK_EQ(open_file(path, &f), 0)) {
			CHECK(debug_file_link(f.img, &crc) == NULL);
			name_file_close(&f);
		}
		free(path);
	}
	free(full);
}

/* Nothing is opened that is not below the folders where debug files are. */
TEST(link_paths)
{
	static const char *const links[] = {
		"/etc/passwd", "../../../../../../etc/passwd", "..", ".", "a/b", "a/../secret", "",
	};
	struct names_wish wish = { .file = NAMES_DEBUG_FILE };
	struct target t = { .proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC) };
	char *secret = bytes_write("secret", "x", 1), *module = child_path("module"), *fifo = child_path("fifo");
	char *away = child_path("away");
	int fd;

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		strcpy(wish.link, links[i]);
		for (int n = 0; (fd = debug_path_open(&t, module, &wish, false, n)) != -ERANGE; n++)
			CHECK_EQ(fd, -ENOENT);
	}
	/* a FIFO and a device are no files; a name is one */
	CHECK(!mkfifo(fifo, 0600) && !symlink("/dev/zero", away));
	strcpy(wish.link, "fifo");
	for (int n = 0; (fd = debug_path_open(&t, module, &wish, false, n)) != -ERANGE; n++)
		CHECK_EQ(fd, -ENOENT);
	strcpy(wish.link, "away");
	for (int n = 0; (fd = debug_path_open(&t, module, &wish, false, n)) != -ERANGE; n++)
		CHECK_EQ(fd, -ENOENT);
	strcpy(wish.link, "secret");
	fd = debug_path_open(&t, module, &wish, false, 1);
	CHECK(fd >= 0);
	close(fd);
	/* what is in common lies below .dwz, by a path without .. */
	wish.file = NAMES_ALT_FILE;
	strcpy(wish.link, "/usr/lib/debug/.dwz/../../../../etc/passwd");
	for (int n = 0; (fd = debug_path_open(&t, module, &wish, false, n)) != -ERANGE; n++)
		CHECK_EQ(fd, -ENOENT);
	strcpy(wish.link, "secret");
	for (int n = 0; (fd = debug_path_open(&t, module, &wish, false, n)) != -ERANGE; n++)
		CHECK_EQ(fd, -ENOENT);
	wish.file = NAMES_DEBUG_FILE;
	/* a module without a path, a build id of one byte */
	CHECK_EQ(debug_path_open(&t, "[vdso]", &wish, false, 1), -ENOENT);
	CHECK_EQ(debug_path_open(&t, "", &wish, false, 1), -ENOENT);
	wish.build_id_len = 1;
	CHECK_EQ(debug_path_open(&t, module, &wish, false, 0), -ENOENT);
	close(t.proc_fd);
	free(secret);
	free(module);
	free(fifo);
	free(away);
}

/* The note of the build id with sizes that it does not have. */
TEST(build_id_sizes)
{
	static const struct { uint32_t name_len, id_len; size_t want; } cases[] = {
		{ 4, 20, 20 }, { 4, 0xffffffff, 0 }, { 4, 0x7ffffff0, 0 }, { 4, 0, 0 }, { 4, 65, 0 }, { 4, 4096, 0 }, { 4, 1, 1 },
		{ 0xffffffff, 20, 0 }, { 0, 20, 0 }, { 5, 20, 0 }, { 0x80000000, 0x80000000, 0 },
	};
	char *full = child_build("full", "cc", source, "-Wl,--build-id=sha1 -Wl,-z,noseparate-code"), *path;
	size_t len;
	unsigned char *data = bytes_read(full, &len), *note = memmem(data, len, "\4\0\0\0\24\0\0\0\3\0\0\0GNU", 16);
	const unsigned char *id;
	struct name_file f;

	if (CHECK(note != NULL)) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			memcpy(note, &cases[i].name_len, 4);
			memcpy(note + 4, &cases[i].id_len, 4);
			path = bytes_write("note", data, len);
			if (CHECK_EQ(open_file(path, &f), 0)) {
				if (!CHECK_EQ(image_build_id(f.img, &id), cases[i].want))
					fprintf(stderr, "  case %zu\n", i);
				name_file_close(&f);
			}
			free(path);
		}
	}
	free(data);
	free(full);
}

TEST_MAIN(TEST_CASE(mini_bomb), TEST_CASE(mini_broken), TEST_CASE(mini_lies), TEST_CASE(link_lies), TEST_CASE(alt_file),
	  TEST_CASE(link_broken), TEST_CASE(link_paths), TEST_CASE(build_id_sizes))
