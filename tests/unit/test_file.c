/* SPDX-License-Identifier: GPL-2.0-only */
/* What is told of a file, in this process and by a worker, against the file itself; and tellers that lie. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/wire.h"
#include "elf/image.h"
#include "elf/parser_ops.h"
#include "target/file.h"
#include "test.h"

static const struct worker_op ops[PARSER_OPS] = { [PARSER_FILE] = { .name = "headers", .handle = file_handle } };
static const struct worker_service service = { .ops = ops, .ops_cnt = PARSER_OPS, .time_ms = 30000 };

static uint64_t key;	/* a new one each time: nothing is remembered */

static void check_places(const struct file_facts *f, const struct image *img)
{
	srand(1);
	for (int i = 0; i < 20000; i++) {
		uint64_t x = ((uint64_t)rand() << 16 ^ rand()) % (image_bytes(img) + 65536), want = 0, got = 0;
		const unsigned char *bytes;
		size_t len;
		int err;

		if (i % 2 && f->segments_cnt)	/* and around the ends of segments */
			x = f->segments[i % f->segments_cnt].off + f->segments[i % f->segments_cnt].file_bytes - 4 + rand() % 8;
		err = image_off_to_va(img, x, &want);
		CHECK_EQ(file_off_to_va(f, x, &got), err);
		CHECK_EQ(got, want);
		want = got = 0;
		err = image_va_to_off(img, x, &want);
		CHECK_EQ(file_va_to_off(f, x, &got), err);
		CHECK_EQ(got, want);
		CHECK_EQ(file_is_code(f, x), !image_text(img, x, 1, &bytes, &len));
	}
}

static void check_file(struct worker *w, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct file_facts f = { 0 };
	const unsigned char *id = NULL;
	struct image *img;

	if (fd < 0)
		return;
	if (CHECK_EQ(image_open(fd, &img), 0)) {
		if (CHECK_EQ(file_facts_read(w, ++key, fd, &f), 0)) {
			size_t len = image_build_id(img, &id);

			CHECK(f.is_elf && f.is_64bit);
			CHECK_EQ(f.machine, image_machine(img));
			CHECK_EQ(f.bytes, image_bytes(img));
			CHECK_EQ(f.is_static_exec, image_is_static_exec(img));
			CHECK_EQ(f.has_symtab, image_has_symtab(img));
			CHECK(f.build_id_len == len && !memcmp(f.build_id, id, len));
			check_places(&f, img);
			file_facts_free(&f);
		}
		image_free(img);
	}
	close(fd);
}

static void check_files(struct worker *w)
{
	static const char *const paths[] = {
		"/proc/self/exe", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/busybox",
		"/sbin/ldconfig", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "/usr/bin/node",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		check_file(w, paths[i]);
}

TEST(here)
{
	check_files(NULL);
}

TEST(worker)
{
	struct worker *w;

	if (CHECK_EQ(worker_start(&service, &w), 0)) {
		check_files(w);
		CHECK_EQ(worker_deaths(w), 0);
		worker_stop(w);
	}
}

TEST(no_elf)
{
	int fd = open(__FILE__, O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct file_facts f = { .machine = 1 };
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	CHECK_EQ(file_facts_read(w, ++key, null, &f), 0);
	CHECK_EQ(file_facts_read(NULL, ++key, null, &f), 0);
	if (fd >= 0)
		CHECK_EQ(file_facts_read(w, ++key, fd, &f), 0);
	CHECK(!f.is_elf && !f.segments && f.machine == 1);	/* left alone */
	worker_stop(w);
	close(null);
	if (fd >= 0)
		close(fd);
}

/* ebb itself may not parse, and what has left its privileges behind may. */
TEST(forbidden)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct worker_service allowed = service;
	struct image *img = NULL;
	struct file_facts f;
	struct worker *w;

	image_forbid();
	CHECK_EQ(image_open(fd, &img), -EPERM);
	CHECK_EQ(image_open_memory("\177ELF", 4, &img), -EPERM);
	CHECK_EQ(file_facts_read(NULL, ++key, fd, &f), -EPERM);
	if (CHECK_EQ(worker_start(&service, &w), 0)) {
		CHECK_EQ(file_facts_read(w, ++key, fd, &f), -EPERM);
		worker_stop(w);
	}
	allowed.enter = image_allow;
	if (CHECK_EQ(worker_start(&allowed, &w), 0)) {
		if (CHECK_EQ(file_facts_read(w, ++key, fd, &f), 0))
			file_facts_free(&f);
		worker_stop(w);
	}
	CHECK_EQ(image_open(fd, &img), -EPERM);
	image_allow();
	if (CHECK_EQ(image_open(fd, &img), 0))
		image_free(img);
	close(fd);
}

/* --- Answers that cannot be --- */

static void (*lie)(struct text *reply);

static int handle_lie(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	(void)state, (void)request, (void)len, (void)fd;
	lie(reply);
	return 0;
}

static void put_head(struct text *t, uint64_t is_64bit, size_t id_len, uint64_t segments_cnt)
{
	char id[FILE_BUILD_ID_MAX + 1] = { 0 };

	wire_put(t, is_64bit);
	wire_put(t, 0);
	wire_put(t, 0);
	wire_put(t, EM_X86_64);
	wire_put(t, 1000);
	wire_put_bytes(t, id, id_len);
	wire_put(t, segments_cnt);
}

static void put_segment(struct text *t, uint64_t va, uint64_t off, uint64_t bytes, uint64_t exec)
{
	wire_put(t, va);
	wire_put(t, off);
	wire_put(t, bytes);
	wire_put(t, exec);
}

static void no_lie(struct text *t) { put_head(t, 1, 20, 1); put_segment(t, 0, 0, 5, 1); }
static void nothing(struct text *t) { (void)t; }
static void no_bool(struct text *t) { put_head(t, 2, 20, 0); }
static void long_id(struct text *t) { put_head(t, 1, FILE_BUILD_ID_MAX + 1, 0); }
static void many_segments(struct text *t) { put_head(t, 1, 20, UINT64_MAX / 32 + 2); }
static void missing_segment(struct text *t) { put_head(t, 1, 20, 2); put_segment(t, 0, 0, 5, 1); }
static void va_overflows(struct text *t) { put_head(t, 1, 20, 1); put_segment(t, UINT64_MAX - 3, 0, 5, 1); }
static void off_overflows(struct text *t) { put_head(t, 1, 20, 1); put_segment(t, 0, UINT64_MAX - 3, 5, 1); }
static void more(struct text *t) { no_lie(t); text_add(t, "x"); }

TEST(lies)
{
	static const struct worker_op lying[PARSER_OPS] = { [PARSER_FILE] = { .name = "headers", .handle = handle_lie } };
	static const struct worker_service lies = { .ops = lying, .ops_cnt = PARSER_OPS, .time_ms = 30000 };
	static void (*const all[])(struct text *) = {
		no_lie, nothing, no_bool, long_id, many_segments, missing_segment, va_overflows, off_overflows, more,
	};
	struct file_facts f = { 0 };
	struct worker *w;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		lie = all[i];
		if (!CHECK_EQ(worker_start(&lies, &w), 0))
			return;
		if (!CHECK_EQ(file_facts_read(w, 1, 0, &f), i ? -EBADMSG : 0))
			fprintf(stderr, "\tlie %zu\n", i);
		CHECK_EQ(f.is_elf, !i);
		file_facts_free(&f);
		worker_stop(w);
	}
}

/* --- The bytes themselves --- */

TEST(wire)
{
	struct text t = { 0 };
	char buf[4], *str;
	struct wire w;

	wire_put(&t, UINT64_MAX);
	wire_put_str(&t, NULL);
	wire_put_str(&t, "");
	wire_put_str(&t, "two words");
	wire_put_bytes(&t, "a\0b", 3);
	w = wire_open(&t);
	CHECK(wire_u64(&w) == UINT64_MAX);
	CHECK(!wire_str(&w));
	str = wire_str(&w);
	CHECK_STR(str, "");
	free(str);
	str = wire_str(&w);
	CHECK_STR(str, "two words");
	free(str);
	CHECK_EQ(wire_end(&w), -EBADMSG);	/* something is left */
	CHECK_EQ(wire_bytes(&w, buf, sizeof(buf)), 3);
	CHECK_EQ(wire_end(&w), 0);
	CHECK_EQ(wire_u64(&w), 0);
	CHECK_EQ(wire_end(&w), -EBADMSG);
	/* it stays bad */
	w = wire_open(&t);
	CHECK_EQ(wire_max(&w, 7), 0);
	CHECK(w.bad && !wire_str(&w) && !wire_cnt(&w, 1) && !wire_bool(&w));
	/* a string with a NUL in it, and one that is longer than what there is */
	text_clear(&t);
	wire_put(&t, 4);
	text_add_len(&t, "a\0b", 3);
	w = wire_open(&t);
	CHECK(!wire_str(&w) && w.bad);
	text_clear(&t);
	wire_put(&t, 5);
	text_add_len(&t, "abc", 3);
	w = wire_open(&t);
	CHECK(!wire_str(&w) && w.bad);
	/* counts of what cannot be there */
	text_clear(&t);
	wire_put(&t, 3);
	wire_put(&t, 0);
	w = wire_open(&t);
	CHECK(wire_cnt(&w, 8) == 0 && w.bad);
	text_free(&t);
}

TEST_MAIN(TEST_CASE(here), TEST_CASE(worker), TEST_CASE(no_elf), TEST_CASE(forbidden), TEST_CASE(lies), TEST_CASE(wire))
