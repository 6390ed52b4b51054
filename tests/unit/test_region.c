/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What mappings are for: recorded processes in tests/unit/maps, whose kinds were looked at by hand, and what those do not
 * have. A line there is KIND FLAG and one of maps; KIND/OTHER where it is OTHER without the flags.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "target/maps.h"
#include "target/proc.h"
#include "target/region.h"
#include "test.h"

#define LINES_MAX 1000

struct recording {
	struct region_facts facts;
	uint64_t sps[LINES_MAX], ends[LINES_MAX];
	uint8_t flags[LINES_MAX];
	char want[LINES_MAX][40];
	struct text text;
	struct target_mapping *maps;
	size_t cnt;
};

static uint8_t flag_of(const char *word)
{
	char words[16];

	snprintf(words, sizeof(words), " rd %s\n", word);
	return region_flags_parse(words);
}

static struct recording *recording_read(const char *name)
{
	struct recording *r = calloc(1, sizeof(*r));
	size_t size = 0, lines = 0;
	char path[64], *line = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "tests/unit/maps/%s.txt", name);
	f = fopen(path, "r");
	if (!f || !r)
		abort();
	while (getline(&line, &size, f) > 0) {
		char word[40], flag[8];
		int used = 0;

		if (sscanf(line, "%39s %7s %n", word, flag, &used) < 2)
			abort();
		if (!strcmp(word, "runtime"))
			r->facts.runtime = !strcmp(flag, "v8") ? REGION_RUNTIME_V8 : !strcmp(flag, "dotnet") ? REGION_RUNTIME_DOTNET :
					   REGION_RUNTIME_NONE;
		else if (!strcmp(word, "sp"))
			r->sps[r->facts.sps_cnt++] = strtoull(line + 3, NULL, 16);
		else if (!strcmp(word, "end"))
			r->ends[r->facts.image_ends_cnt++] = strtoull(line + 4, NULL, 16);
		else {
			strcpy(r->want[lines], word);
			r->flags[lines++] = flag_of(flag);
			text_add(&r->text, line + used);
		}
	}
	free(line);
	fclose(f);
	r->facts.sp_addrs = r->sps;
	r->facts.image_end_addrs = r->ends;
	if (maps_parse(r->text.str, r->text.len, &r->maps, &r->cnt) || r->cnt != lines)
		abort();
	return r;
}

static void recording_free(struct recording *r)
{
	maps_free(r->maps, r->cnt);
	text_free(&r->text);
	free(r);
}

static void check(const char *name)
{
	struct recording *r = recording_read(name);
	enum region_kind kinds[LINES_MAX];

	for (int flagless = 0; flagless < 2; flagless++) {
		size_t wrong = 0;

		r->facts.flags = flagless ? NULL : r->flags;
		CHECK_EQ(regions_classify(r->maps, r->cnt, &r->facts, kinds), 0);
		for (size_t i = 0; i < r->cnt; i++) {
			const char *want = r->want[i], *other = strchr(want, '/'), *got = region_kind_name(kinds[i]);
			size_t len = other ? (size_t)(other - want) : strlen(want);

			if (flagless && other ? !strcmp(got, other + 1) : strlen(got) == len && !strncmp(got, want, len))
				continue;
			fprintf(stderr, "%s, %llx: %s, want %s\n", name, (unsigned long long)r->maps[i].start, got, want);
			wrong++;
		}
		CHECK_EQ(wrong, 0);
	}
	recording_free(r);
}

TEST(redis) { check("redis"); }
TEST(node) { check("node"); }
TEST(dotnet) { check("dotnet"); }
TEST(python) { check("python"); }
TEST(nginx) { check("nginx"); }
TEST(static_program) { check("static"); }

TEST(runtimes)
{
	static const char *const names[] = { "redis", "node", "dotnet", "python", "nginx", "static" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct recording *r = recording_read(names[i]);

		CHECK_EQ(region_runtime_of(r->maps, r->cnt), r->facts.runtime);
		recording_free(r);
	}
}

/* One text of maps, one kind a letter of want: see letters. */
static void check_text(const char *text, const struct region_facts *facts, const char *want)
{
	static const char letters[] = "HAMJSaCDFsO";
	struct target_mapping *maps;
	enum region_kind kinds[64];
	char got[64] = "";
	size_t cnt;

	if (!CHECK_EQ(maps_parse(text, strlen(text), &maps, &cnt), 0))
		return;
	CHECK_EQ(regions_classify(maps, cnt, facts, kinds), 0);
	for (size_t i = 0; i < cnt; i++)
		got[i] = letters[kinds[i]];
	CHECK_STR(got, want);
	maps_free(maps, cnt);
}

TEST(names)
{
	static const struct region_facts none;

	check_text("10000-11000 rw-p 00000000 00:00 0 [anon: glibc: malloc arena]\n"
		   "12000-13000 rw-p 00000000 00:00 0 [anon: glibc: pthread stack: 7]\n"
		   "14000-15000 rw-p 00000000 00:00 0 [anon:mine]\n"
		   "16000-17000 rw-s 00000000 00:01 5 /SYSV00000000 (deleted)\n"
		   "18000-19000 rw-s 00000000 00:01 6 /memfd:x (deleted)\n"
		   "1a000-1b000 rw-s 00000000 00:1a 7 /dev/shm/y\n"
		   "1c000-1d000 rw-s 00000000 00:05 8 /dev/nvidia0\n"
		   "1e000-1f000 rw-s 00000000 00:0f 9 anon_inode:[io_uring]\n"
		   "20000-21000 rw-p 00000000 00:0f 3 /anon_hugepage (deleted)\n"
		   "22000-23000 rw-s 00000000 00:0f 4 /anon_hugepage (deleted)\n"
		   "24000-25000 rw-p 00000000 fe:00 4 /srv/a\\012b (deleted)\n"
		   "26000-27000 rwxp 00000000 00:00 0\n"
		   "28000-29000 rw-p 00000000 00:00 0 [stack:12]\n"
		   "2a000-2b000 rw-p 00000000 00:00 0 [never heard of]\n", &none, "ASasssOOasFJSO");
}

/* A memfd is code as a whole when a part of it can be executed. */
TEST(memfd_code)
{
	static const struct region_facts none;

	check_text("10000-11000 rw-s 00000000 00:01 5 /memfd:jit (deleted)\n"
		   "12000-13000 rw-s 00000000 00:01 6 /memfd:data (deleted)\n"
		   "14000-15000 r-xs 00001000 00:01 5 /memfd:jit (deleted)\n", &none, "JsJ");
}

/* Coroutines' stack pointers are in the heap; a stack has a guard. */
TEST(stacks)
{
	static const uint64_t sps[] = { 0x7f0000010800, 0x7f0000310000, 0x7f0001010000 };
	static const uint8_t marked[] = { REGION_FLAG_KNOWN, REGION_FLAG_KNOWN | REGION_FLAG_NOHUGE, REGION_FLAG_KNOWN,
					  REGION_FLAG_KNOWN | REGION_FLAG_NOHUGE, REGION_FLAG_KNOWN, REGION_FLAG_KNOWN };
	static const char text[] = "7f0000010000-7f0000110000 rw-p 00000000 00:00 0\n"
				   "7f0000200000-7f0000201000 ---p 00000000 00:00 0\n"
				   "7f0000201000-7f0000401000 rw-p 00000000 00:00 0\n"
				   "7f0000500000-7f0000501000 ---p 00000000 00:00 0\n"
				   "7f0000501000-7f0000701000 rw-p 00000000 00:00 0\n"
				   "7f0000701000-7f0000901000 rw-p 00000000 00:00 0\n";
	struct region_facts facts = { .sp_addrs = sps, .sps_cnt = 3 };

	/* the second by its length: its thread runs, or has ended */
	check_text(text, &facts, "aSSSSa");
	/* without any stack pointer there is no length to go by */
	facts.sps_cnt = 0;
	check_text(text, &facts, "aaaaaa");
	/* the kernel's mark needs a guard, or a stack pointer */
	facts.flags = marked;
	check_text(text, &facts, "aaaaaa");
}

/* A stack whose guard is no mapping of its own, and the heap of a Go program with stack pointers in it. */
TEST(stacks_unguarded)
{
	static const uint64_t sps[] = { 0xc000010000, 0x7f0000110000 };
	static const uint8_t nohuge = REGION_FLAG_KNOWN | REGION_FLAG_NOHUGE, flags[] = { nohuge, nohuge, nohuge, REGION_FLAG_KNOWN };
	struct region_facts facts = { .sp_addrs = sps, .sps_cnt = 2, .flags = flags };

	check_text("c000000000-c004000000 rw-p 00000000 00:00 0\n"
		   "7f0000100000-7f0000900000 rw-p 00000000 00:00 0\n"
		   "7f0001000000-7f0001800000 rw-p 00000000 00:00 0\n"
		   "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\n", &facts, "aSaS");
}

TEST(arenas)
{
	static const bool marked[] = { true, true, true, false, false };
	struct region_facts facts = { .runtime = REGION_RUNTIME_NONE };
	static const char text[] = "7f0000000000-7f0004000000 rw-p 00000000 00:00 0\n"
				   "7f0008000000-7f000c021000 rw-p 00000000 00:00 0\n"
				   "7f000c021000-7f0010000000 ---p 00000000 00:00 0\n"
				   "7f0014001000-7f0014021000 rw-p 00000000 00:00 0\n"
				   "7f0014021000-7f0018000000 ---p 00000000 00:00 0\n";
	uint8_t flags[5];

	for (size_t i = 0; i < 5; i++)
		flags[i] = REGION_FLAG_KNOWN | (marked[i] ? REGION_FLAG_NORESERVE : 0);
	/* one that is used up is seen by its flag only; what does not begin there is none */
	check_text(text, &facts, "aAAaa");
	facts.flags = flags;
	check_text(text, &facts, "AAAaa");
}

/* A large block of malloc just below V8's reserve for code is no code, nor is one whose start happens to fit. */
TEST(v8_code)
{
	static const uint8_t reserve = REGION_FLAG_KNOWN | REGION_FLAG_NORESERVE;
	static const char text[] = "7f0000001000-7f00041c0000 rw-p 00000000 00:00 0\n"
				   "7f00041c0000-7f00041c2000 rw-p 00000000 00:00 0\n"
				   "7f00041c2000-7f00041c3000 ---p 00000000 00:00 0\n"
				   "7f00041c3000-7f00041ff000 rwxp 00000000 00:00 0\n"
				   "7f00041ff000-7f0010000000 ---p 00000000 00:00 0\n";
	static const char aligned[] = "7f0000040000-7f00041c0000 rw-p 00000000 00:00 0\n"
				      "7f00041c0000-7f00041c3000 ---p 00000000 00:00 0\n"
				      "7f00041c3000-7f00041ff000 rwxp 00000000 00:00 0\n";
	const uint8_t flags[] = { REGION_FLAG_KNOWN, reserve, reserve, reserve, reserve };
	struct region_facts facts = { .runtime = REGION_RUNTIME_V8 };

	check_text(text, &facts, "aJJJJ");
	check_text(aligned, &facts, "aJJ");
	facts.flags = flags;
	check_text(text, &facts, "aJJJJ");
	check_text(aligned, &facts, "aJJ");
}

/* A library is often put just below memory that was there before, and becomes one mapping with it. */
TEST(bss)
{
	static const char text[] = "7f0000000000-7f0000001000 r-xp 00000000 fe:00 9 /l.so\n"
				   "7f0000001000-7f0000002000 r--p 00001000 fe:00 9 /l.so\n"
				   "7f0000002000-7f0000003000 rw-p 00002000 fe:00 9 /l.so\n"
				   "7f0000003000-7f0000013000 rw-p 00000000 00:00 0\n";
	uint64_t end;
	struct region_facts facts = { .image_end_addrs = &end, .image_ends_cnt = 1 };

	end = 0x7f0000013000;
	check_text(text, &facts, "CDDD");
	end = 0x7f000000c000;
	check_text(text, &facts, "CDDD");
	end = 0x7f0000004000;
	check_text(text, &facts, "CDDa");
	end = 0x7f0000003000;
	check_text(text, &facts, "CDDa");
	facts.image_end_addrs = NULL;
	check_text(text, &facts, "CDDD");
}

TEST(flags)
{
	CHECK_EQ(region_flags_parse(" rd wr mr mw me nr\n"), REGION_FLAG_KNOWN | REGION_FLAG_NORESERVE);
	CHECK_EQ(region_flags_parse(" mr dd nh"), REGION_FLAG_KNOWN | REGION_FLAG_DONTDUMP | REGION_FLAG_NOHUGE);
	CHECK_EQ(region_flags_parse(""), REGION_FLAG_KNOWN);
	CHECK_EQ(region_flags_parse(" rd\nxx: nr"), REGION_FLAG_KNOWN);
}

/* As many as a process may have by default. */
TEST(many)
{
	enum region_kind *kinds = calloc(65530, sizeof(*kinds));
	struct region_facts none = { .runtime = REGION_RUNTIME_V8 };
	struct target_mapping *maps;
	struct text text = { 0 };
	size_t cnt, code = 0;

	for (size_t i = 0; i < 65530; i++)
		text_printf(&text, "%zx-%zx %s 00000000 fe:00 %zu /f%zu\n", 0x10000 + i * 0x2000, 0x11000 + i * 0x2000,
			    i % 3 ? "rw-p" : "r-xp", i % 1000 + 1, i % 1000);
	CHECK_EQ(maps_parse(text.str, text.len, &maps, &cnt), 0);
	CHECK_EQ(cnt, 65530);
	CHECK_EQ(regions_classify(maps, cnt, &none, kinds), 0);
	for (size_t i = 0; i < cnt; i++)
		code += kinds[i] == REGION_CODE;
	CHECK_EQ(code, 21844);
	maps_free(maps, cnt);
	text_free(&text);
	free(kinds);
}

static int in_data = 1;

TEST(own)
{
	int proc_fd = proc_open(getpid()), on_stack = 0;
	struct regions r = { 0 };
	const struct region *region;

	if (!CHECK_EQ(regions_read(proc_fd, &r), 0))
		return;
	for (size_t i = 1; i < r.cnt; i++)
		CHECK(r.list[i - 1].end <= r.list[i].start);
	region = regions_at(&r, (uintptr_t)&on_stack);
	if (CHECK(region != NULL))
		CHECK_EQ(region->kind, REGION_STACK);
	region = regions_at(&r, (uintptr_t)&in_data);
	if (CHECK(region != NULL))
		CHECK_EQ(region->kind, REGION_DATA);
	region = regions_at(&r, (uintptr_t)test_flags);
	if (CHECK(region != NULL))
		CHECK_EQ(region->kind, REGION_CODE);
	CHECK(regions_at(&r, 0) == NULL);
	CHECK(regions_at(&r, UINT64_MAX) == NULL);
	regions_free(&r);
	close(proc_fd);
}

/* Kernel threads have no mappings. */
TEST(kernel_thread)
{
	struct regions r = { 0 };
	int proc_fd = proc_open(2);

	if (proc_fd < 0)
		TEST_SKIP("no kernel thread is visible here");
	CHECK(regions_read(proc_fd, &r) < 0);
	close(proc_fd);
}

TEST_MAIN(TEST_CASE(redis), TEST_CASE(node), TEST_CASE(dotnet), TEST_CASE(python), TEST_CASE(nginx), TEST_CASE(static_program),
	  TEST_CASE(runtimes), TEST_CASE(names), TEST_CASE(memfd_code), TEST_CASE(stacks), TEST_CASE(stacks_unguarded), TEST_CASE(arenas), TEST_CASE(v8_code), TEST_CASE(bss),
	  TEST_CASE(flags), TEST_CASE(many), TEST_CASE(own), TEST_CASE(kernel_thread))
