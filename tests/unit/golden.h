/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Compares what a writer made with a file of tests/golden/, byte for byte. EBB_GOLDEN=write writes the file instead:
 * tools/golden.sh. Run from the repository's root.
 */
#ifndef UNIT_GOLDEN_H
#define UNIT_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/output.h"
#include "test.h"

struct bytes {
	char *at;
	size_t len;
};

static inline struct bytes file_read(const char *path)
{
	struct bytes b = { 0 };
	FILE *in = fopen(path, "re");
	char buf[4096];
	size_t len;

	if (!in)
		return b;
	while ((len = fread(buf, 1, sizeof(buf), in))) {
		b.at = realloc(b.at, b.len + len + 1);
		memcpy(b.at + b.len, buf, len);
		b.len += len;
		b.at[b.len] = '\0';
	}
	fclose(in);
	return b;
}

/* Compares, or writes when asked to. Takes the bytes over. */
static inline void golden(const char *name, struct bytes got)
{
	const char *mode = getenv("EBB_GOLDEN");
	struct bytes want;
	char path[256];

	snprintf(path, sizeof(path), "tests/golden/%s", name);
	if (mode && !strcmp(mode, "write")) {
		FILE *out = fopen(path, "we");

		CHECK(out && fwrite(got.at, 1, got.len, out) == got.len);
		CHECK(!out || !fclose(out));
		free(got.at);
		return;
	}
	want = file_read(path);
	if (!CHECK(want.at && got.len == want.len && !memcmp(got.at, want.at, want.len)))
		fprintf(stderr, "%s: want\n%s\ngot\n%s\n(tools/golden.sh rewrites it)\n", path,
			want.at ? want.at : "a file", got.at);
	free(want.at);
	free(got.at);
}

static inline struct bytes table_bytes(const struct report *r, unsigned int width, bool color)
{
	struct table_options opt = { .width = width, .color = color };
	unsigned int newlines = 0;
	struct bytes b = { 0 };
	FILE *out = open_memstream(&b.at, &b.len);

	CHECK(!report_failed(r));
	CHECK_EQ(table_write(out, r, &opt), 0);
	fclose(out);
	for (size_t i = 0; i < b.len; i++)
		newlines += b.at[i] == '\n';
	CHECK_EQ(table_lines(r, &opt), newlines);
	return b;
}

#endif
