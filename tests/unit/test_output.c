/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the writers make of profiles and reports that are built here, byte for byte as in tests/golden/.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "unit/golden.h"
#include "output/output.h"
#include "test.h"

static const struct value_type types[] = { { "held-bytes", "bytes" }, { "held-blocks", "blocks" }, { NULL, NULL } };

static struct bytes folded_bytes(const struct profile *p, int type)
{
	struct writer_options opt = { .type = type };
	struct bytes b = { 0 };
	FILE *out = open_memstream(&b.at, &b.len);

	CHECK_EQ(writer_find("folded")->write(out, p, &opt), 0);
	fclose(out);
	return b;
}

static void columns_set(struct report *r)
{
	static const struct report_column columns[] = {
		{ "CLASS", false, false }, { "HELD", true, false }, { "LAST 60s", true, false },
		{ "TREND", false, false }, { "KEPT", true, false }, { "YOUR CODE", false, true },
	};

	report_columns(r, columns, sizeof(columns) / sizeof(columns[0]));
}

static void row_add(struct report *r, enum report_style style, const char *class, const char *held, const char *last,
		    const char *trend, const char *kept, const char *code)
{
	report_row(r, style);
	report_cell(r, "%s", class);
	report_cell(r, "%s", held);
	report_cell(r, "%s", last);
	report_cell(r, "%s", trend);
	report_cell(r, "%s", kept);
	report_cell(r, "%s", code);
}

/* The screen of the design. */
static struct report *screen(void)
{
	struct report *r = report_new();

	report_head(r, REPORT_BOLD, "leak  node[26119] server.js · 5m00s · exact · costs 1.4 %% (limit 30) · lost 0 · cut 0.2 %%");
	report_head(r, REPORT_PLAIN, "RSS 6,140 → 6,590 MiB = +450: 391 below, 18 V8 heap, 41 unexplained");
	report_head(r, REPORT_WARN, "only allocations since 14:03:22");
	columns_set(r);
	row_add(r, REPORT_BAD, "LEAK", "372 MiB", "+74 MiB", "▁▂▃▄▅▆▇█", "100%",
		"handleUpload server.js:41 via Buffer.alloc");
	report_detail(r, "< Layer.handle < Server.emit");
	report_detail(r, "< a second line that is a good deal longer than what is left of the width");
	row_add(r, REPORT_WARN, "EARLY", "4 MiB", "+1 MiB", "▁▁▂▂▁▂▃▃", "31%", "renderPdf pdf.js:210 via libcairo");
	row_add(r, REPORT_PLAIN, "WARM-UP", "2 MiB", "0", "████████", "98%", "[runtime] JIT, 214 paths");
	row_add(r, REPORT_DIM, "other", "1 MiB", "0", "", "", "88 paths, flat");
	report_foot(r, REPORT_PLAIN, "LEAK: 60 of 60 snapshots up; no block older than 60 s was freed");
	report_foot(r, REPORT_GOOD, "next: ebb leak 26119 -f folded -o leak.folded");
	return r;
}

TEST(table_screen)
{
	struct report *r = screen();

	golden("table_screen.txt", table_bytes(r, 100, false));
	golden("table_endless.txt", table_bytes(r, 0, false));
	golden("table_narrow.txt", table_bytes(r, 60, false));
	golden("table_tiny.txt", table_bytes(r, 5, false));
	golden("table_color.txt", table_bytes(r, 80, true));
	report_free(r);
}

/* No line is wider than the terminal, none is cut inside a character, whatever the width. */
TEST(table_widths)
{
	struct report *r = screen();

	for (unsigned int width = 16; width < 130; width++) {
		struct bytes b = table_bytes(r, width, false);
		unsigned int column = 0, broken = 0, over = 0;

		for (size_t i = 0; i < b.len; i++) {
			unsigned char c = b.at[i];

			/* every character of this report takes one column; a byte that continues one follows another */
			if (c == '\n') {
				over += column > width;
				column = 0;
			} else if ((c & 0xc0) != 0x80) {
				column++;
				for (size_t k = 1; c >= 0xc0 && k < (c >= 0xe0 ? 3 : 2); k++)
					broken += (b.at[i + k] & 0xc0) != 0x80;
			}
		}
		CHECK_EQ(over, 0);
		CHECK_EQ(broken, 0);
		free(b.at);
	}
	report_free(r);
}

TEST(table_hostile)
{
	struct report *r = report_new();

	report_head(r, REPORT_PLAIN, "leak  %s", "evil\x1b[2J\x1b]0;title\x07\nsecond line");
	columns_set(r);
	row_add(r, REPORT_BAD, "LEAK", "1 MiB", "0", "", "1%", "reverse \u202e txt.exe \u2066 and \x9b" "31m red");
	report_detail(r, "%s", "back\\slash \xc3( \xff\xfe tab\there");
	row_add(r, REPORT_PLAIN, "FLAT", "2 MiB", "0", "", "2%", "日本語の関数名は幅が二つ分です: wide characters are cut where they end");
	row_add(r, REPORT_PLAIN, "FLAT", "3 MiB", "0", "", "3%", "e\u0301\u0301\u0301 combining, zero\u200bwidth");
	row_add(r, REPORT_PLAIN, "a\nlong\nclass", "", "", "", "", "");
	report_row(r, REPORT_PLAIN);
	report_cell(r, "only one cell");
	report_foot(r, REPORT_PLAIN, "%s", "");
	report_foot(r, REPORT_PLAIN, "averyveryverylongwordwithoutaspacethatcannotbebrokenanywhereandhastobebrokenhard/because/it/is/a/path");
	report_foot(r, REPORT_PLAIN, "    an indented line keeps its indentation, and its rest goes below it with two spaces");
	golden("table_hostile.txt", table_bytes(r, 80, true));
	golden("table_hostile_endless.txt", table_bytes(r, 0, false));
	report_free(r);
}

TEST(table_parts)
{
	struct report *r = report_new();
	struct bytes b;

	b = table_bytes(r, 80, false);
	CHECK_EQ(b.len, 0);
	free(b.at);
	report_head(r, REPORT_PLAIN, "only a head");
	b = table_bytes(r, 80, false);
	CHECK_STR(b.at, "only a head\n");
	free(b.at);
	report_columns(r, &(struct report_column){ "N", true, false }, 1);
	report_row(r, REPORT_PLAIN);
	report_cell(r, "%d", 10);
	report_detail(r, "below");
	b = table_bytes(r, 80, false);
	CHECK_STR(b.at, "only a head\n\n N\n10\n  below\n");
	free(b.at);
	report_free(r);
}

/* What is called out of order marks the report, and a report that failed is not shown. */
TEST(report_misuse)
{
	struct table_options opt = { 0 };
	struct report *r = report_new();

	report_detail(r, "no row yet");
	CHECK(report_failed(r));
	CHECK_EQ(table_write(stdout, r, &opt), -ENOMEM);
	CHECK(!report_free(r));
	r = report_new();
	report_row(r, REPORT_PLAIN);
	report_cell(r, "no columns");
	CHECK(report_failed(r));
	report_free(r);
	r = report_new();
	columns_set(r);
	columns_set(r);
	CHECK(report_failed(r));
	report_free(r);
	CHECK(!report_free(NULL));
}

static void frame_set(struct profile *p, uint64_t addr, const char *name, bool guessed)
{
	for (size_t i = 0; i < profile_frames_cnt(p); i++)
		if (profile_frame_at(p, i)->addr == addr)
			CHECK_EQ(profile_frame_name(p, i, name, "/lib/x.so", FRAME_APP, guessed), 0);
}

static void stack_set(struct profile *p, uint32_t process, const uint64_t *addrs, uint32_t cnt, bool cut, int64_t bytes)
{
	int stack = profile_stack(p, process, addrs, cnt, cut);

	CHECK(stack >= 0);
	profile_value_set(p, stack, 0, bytes);
	profile_value_set(p, stack, 1, 1);
}

#define STACK(p, process, cut, bytes, ...) \
	stack_set(p, process, (const uint64_t[]){ __VA_ARGS__ }, \
		  sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t), cut, bytes)

/* Innermost first here, outermost first in the file. */
static struct profile *stacks(void)
{
	struct profile *p = profile_new(types);

	profile_process(p, 10, "server");
	profile_process(p, 11, "a b;c\n\x1b[31m");
	profile_process(p, 12, "");
	profile_process(p, 13, "server");
	STACK(p, 0, false, 300, 0x30, 0x20, 0x10);
	STACK(p, 0, false, 100, 0x20, 0x10);
	STACK(p, 0, false, 7, 0x40, 0x10);
	STACK(p, 0, false, 8, 0x30, 0x40, 0x10);
	STACK(p, 0, true, 50, 0x30, 0x20);
	STACK(p, 0, false, 0, 0x30);
	STACK(p, 0, false, -40, 0x50, 0x10);
	STACK(p, 0, false, 1, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0);
	STACK(p, 1, false, 9, 0x30);
	STACK(p, 2, false, 11, 0x7f0012345678);
	/* equal text of another process; a sum of 0; one that is too large */
	STACK(p, 3, false, 1000, 0x20, 0x10);
	STACK(p, 0, false, 5, 0xc0);
	STACK(p, 3, false, -5, 0xc0);
	STACK(p, 0, false, INT64_MAX, 0xd0);
	STACK(p, 3, false, INT64_MAX, 0xd0);
	stack_set(p, 0, NULL, 0, true, 2);
	profile_value_set(p, profile_stack_label(p, 0, "[stacks full]"), 0, 77);
	frame_set(p, 0x10, "main", false);
	frame_set(p, 0x20, "run", false);
	frame_set(p, 0x30, "alloc", true);
	/* sorted as text: - is below ; and ( is below - */
	frame_set(p, 0x40, "run-fast", false);
	frame_set(p, 0x50, "run(int)", false);
	frame_set(p, 0x60, "std::vector<int, std::allocator<int> >::push_back(int&&)", false);
	frame_set(p, 0x70, "new\nline\ttab\rreturn", false);
	frame_set(p, 0x80, "\x1b]0;title\x07", false);
	frame_set(p, 0x90, "semi;colon \u202e bidi \u00a0\u3000 spaces", false);
	frame_set(p, 0xa0, "broken \xc3( \xff", true);
	frame_set(p, 0xb0, "", true);
	frame_set(p, 0xc0, "zero", false);
	frame_set(p, 0xd0, "huge", false);
	return p;
}

TEST(folded)
{
	struct profile *p = stacks();

	golden("folded.txt", folded_bytes(p, 0));
	golden("folded_blocks.txt", folded_bytes(p, 1));
	profile_free(p);
}

TEST(folded_form)
{
	struct profile *p = stacks();
	struct bytes b = folded_bytes(p, 0);
	char *line, *rest = b.at, *before = NULL;

	/* one space a line, and the order that LC_ALL=C sort would make */
	while ((line = strsep(&rest, "\n")) && *line) {
		char *space = strchr(line, ' ');

		CHECK(space && space == strrchr(line, ' '));
		CHECK(!before || strcmp(before, line) < 0);
		before = line;
	}
	free(b.at);
	profile_free(p);
	p = profile_new(types);
	b = folded_bytes(p, 0);
	CHECK_EQ(b.len, 0);
	free(b.at);
	profile_free(p);
}

TEST(writers_found)
{
	CHECK_STR(writer_find("folded")->name, "folded");
	CHECK(!writer_find("fold"));
	CHECK(!writer_find("table"));
}

/* A full disk is an error of the writer, or of the flush that is the caller's; never silence. */
TEST(full_disk)
{
	struct table_options opt = { .width = 80 };
	struct writer_options writer_opt = { .type = 0 };
	struct profile *p = stacks();
	struct report *r = screen();
	FILE *out = fopen("/dev/full", "we");

	if (!out) {
		profile_free(p);
		report_free(r);
		TEST_SKIP("no /dev/full");
	}
	setvbuf(out, NULL, _IONBF, 0);
	CHECK_EQ(table_write(out, r, &opt), -ENOSPC);
	clearerr(out);
	CHECK_EQ(folded_write(out, p, &writer_opt), -ENOSPC);
	fclose(out);
	profile_free(p);
	report_free(r);
}

TEST_MAIN(TEST_CASE(table_screen), TEST_CASE(table_widths), TEST_CASE(table_hostile), TEST_CASE(table_parts),
	  TEST_CASE(report_misuse), TEST_CASE(folded), TEST_CASE(folded_form), TEST_CASE(writers_found),
	  TEST_CASE(full_disk))
