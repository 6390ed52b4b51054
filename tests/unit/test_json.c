/* SPDX-License-Identifier: GPL-2.0-only */
/* The bytes that output/json.c writes, and what a parser of somebody else makes of them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/text.h"
#include "output/json.h"
#include "test.h"

struct doc {
	struct json j;
	FILE *out;
	char *str;
	size_t len;
};

static void doc_open(struct doc *d)
{
	*d = (struct doc){ 0 };
	d->out = open_memstream(&d->str, &d->len);
	json_begin(&d->j, d->out);
}

/* What json_end() says. The text is there until doc_free(). */
static int doc_end(struct doc *d)
{
	int err = json_end(&d->j);

	fclose(d->out);
	return err;
}

static void doc_free(struct doc *d)
{
	free(d->str);
}

/* A document that is one string, with its newline. */
static void check_string(const char *value, const char *want)
{
	struct doc d;

	doc_open(&d);
	json_string(&d.j, NULL, value);
	CHECK_EQ(doc_end(&d), 0);
	CHECK_STR(d.str, want);
	doc_free(&d);
}

TEST(shape)
{
	struct doc d;

	doc_open(&d);
	json_object(&d.j, NULL);
	json_string(&d.j, "name", "ebb");
	json_null(&d.j, "none");
	json_string(&d.j, "no string", NULL);
	json_bool(&d.j, "yes", true);
	json_bool(&d.j, "no", false);
	json_u64(&d.j, "most", UINT64_MAX);
	json_i64(&d.j, "least", INT64_MIN);
	json_object(&d.j, "empty");
	json_object_end(&d.j);
	json_list(&d.j, "empty list");
	json_list_end(&d.j);
	json_list(&d.j, "list");
	json_u64(&d.j, NULL, 1);
	json_object(&d.j, NULL);
	json_i64(&d.j, "a\"b", -2);
	json_object_end(&d.j);
	json_list(&d.j, NULL);
	json_list_end(&d.j);
	json_list_end(&d.j);
	json_object_end(&d.j);
	CHECK_EQ(doc_end(&d), 0);
	CHECK_STR(d.str, "{\n"
		  "  \"name\": \"ebb\",\n"
		  "  \"none\": null,\n"
		  "  \"no string\": null,\n"
		  "  \"yes\": true,\n"
		  "  \"no\": false,\n"
		  "  \"most\": 18446744073709551615,\n"
		  "  \"least\": -9223372036854775808,\n"
		  "  \"empty\": {},\n"
		  "  \"empty list\": [],\n"
		  "  \"list\": [\n"
		  "    1,\n"
		  "    {\n"
		  "      \"a\\\"b\": -2\n"
		  "    },\n"
		  "    []\n"
		  "  ]\n"
		  "}\n");
	doc_free(&d);
}

TEST(doubles)
{
	static const struct { double value; int digits; const char *want; } cases[] = {
		{ 0, 1, "0.0\n" }, { 470, 1, "470.0\n" }, { 2.149, 1, "2.1\n" }, { -2.5, 2, "-2.50\n" },
		{ 3.7, 0, "4\n" },
		{ -0.0, 1, "0.0\n" }, { -0.04, 1, "0.0\n" }, { -0.06, 1, "-0.1\n" },
		{ 1e15, 1, "1000000000000000.0\n" },
		{ NAN, 1, "null\n" }, { INFINITY, 1, "null\n" }, { -INFINITY, 0, "null\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct doc d;

		doc_open(&d);
		json_double(&d.j, NULL, cases[i].value, cases[i].digits);
		CHECK_EQ(doc_end(&d), 0);
		CHECK_STR(d.str, cases[i].want);
		doc_free(&d);
	}
}

TEST(control_characters)
{
	for (unsigned int c = 1; c < 0x20; c++) {
		const char str[] = { c, '\0' };
		char want[16];
		const char *letter = strchr("\bb\tt\nn\ff\rr", c);

		if (letter)
			snprintf(want, sizeof(want), "\"\\%c\"\n", letter[1]);
		else
			snprintf(want, sizeof(want), "\"\\u%04x\"\n", c);
		check_string(str, want);
	}
	check_string("\x7f", "\"\\u007f\"\n");
	check_string("\xc2\x80\xc2\x9f", "\"\\u0080\\u009f\"\n");
}

TEST(strings)
{
	check_string("", "\"\"\n");
	check_string("\"\\/'<&", "\"\\\"\\\\/'<&\"\n");
	check_string("für 日本 🙂", "\"für 日本 🙂\"\n");
	/* what reorders a line, has no width, or ends a line of JavaScript */
	check_string("a\u202eb\u2066c", "\"a\\u202eb\\u2066c\"\n");
	check_string("\u200b\u061c\ufeff\u2028\u2029", "\"\\u200b\\u061c\\ufeff\\u2028\\u2029\"\n");
	/* tags of plane 14 need two units */
	check_string("\U000e0041", "\"\\udb40\\udc41\"\n");
}

TEST(invalid_utf8)
{
	/* U+FFFD for each byte that is no part of a character */
	check_string("\xff\xfe", "\"\ufffd\ufffd\"\n");
	check_string("a\x80z", "\"a\ufffdz\"\n");
	/* overlong / and NUL */
	check_string("\xc0\xaf\xc0\x80", "\"\ufffd\ufffd\ufffd\ufffd\"\n");
	check_string("\xe0\x80\xaf", "\"\ufffd\ufffd\ufffd\"\n");
	check_string("\xf0\x80\x80\xaf", "\"\ufffd\ufffd\ufffd\ufffd\"\n");
	/* surrogates, above U+10FFFF */
	check_string("\xed\xa0\x80\xed\xbf\xbf", "\"\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\"\n");
	check_string("\xf4\x90\x80\x80", "\"\ufffd\ufffd\ufffd\ufffd\"\n");
	/* truncated by what follows, and by the end */
	check_string("\xc3(\xe2\x82(", "\"\ufffd(\ufffd\ufffd(\"\n");
	check_string("x\xf0\x9f\x99", "\"x\ufffd\ufffd\ufffd\"\n");
	check_string("x\xc3", "\"x\ufffd\"\n");
	/* a quote must not be swallowed as part of a character */
	check_string("\xe2\"\xe2\x82\"", "\"\ufffd\\\"\ufffd\ufffd\\\"\"\n");
	/* the last one before, and the first one behind the surrogates */
	check_string("\xed\x9f\xbf\xee\x80\x80", "\"\xed\x9f\xbf\xee\x80\x80\"\n");
}

/* Wait status of a python script that reads the document; 0 = it liked it. */
static int python_finds(const char *json, const char *script)
{
	char command[512];
	FILE *to;

	snprintf(command, sizeof(command), "python3 -c '%s'", script);
	to = popen(command, "we");
	if (!to)
		return -errno;
	fputs(json, to);
	return pclose(to);
}

/* Random strings come back from another parser as what they were. */
TEST(parsed_back)
{
	unsigned int seed = 1;
	struct doc d;

	if (system("command -v python3 > /dev/null") != 0)
		TEST_SKIP("no python3");
	doc_open(&d);
	json_list(&d.j, NULL);
	for (unsigned int i = 0; i < 20000; i++) {
		char raw[12] = { 0 }, hex[2 * sizeof(raw) + 1] = { 0 };

		for (size_t k = 0; k + 1 < sizeof(raw); k++) {
			seed = seed * 1103515245 + 12345;
			/* mostly bytes of two short ranges, so that whole characters come about */
			raw[k] = (seed >> 16) % 4 ? (seed >> 20) % 64 + 0x80 : (seed >> 18) % 255 + 1;
			if ((seed >> 28) % 4 == 0)
				raw[k] = "\xe2\xf0\xc3\xed\\\"\n\x1b"[(seed >> 20) % 8];
		}
		for (size_t k = 0; raw[k]; k++)
			snprintf(hex + 2 * k, 3, "%02x", (unsigned char)raw[k]);
		json_string(&d.j, NULL, hex);
		json_string(&d.j, NULL, raw);
	}
	json_list_end(&d.j);
	CHECK_EQ(doc_end(&d), 0);
	/* a character of U+FFFD for each broken byte: what is left is compared */
	CHECK_EQ(python_finds(d.str,
			      "import codecs, json, sys; l = json.load(sys.stdin.buffer)\n"
			      "assert len(l) == 40000\n"
			      "def r(e): return (\"\\ufffd\" * (e.end - e.start), e.end)\n"
			      "codecs.register_error(\"each\", r)\n"
			      "for h, s in zip(l[::2], l[1::2]):\n"
			      "  w = bytes.fromhex(h).decode(\"utf-8\", \"each\"); assert w == s, (h, w, s)"), 0);
	/* the check itself can fail */
	CHECK(python_finds("[1,]", "import json, sys\ntry: json.load(sys.stdin)\nexcept ValueError: sys.exit(1)") != 0);
	doc_free(&d);
}

TEST(depth)
{
	struct doc d;

	doc_open(&d);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		json_list(&d.j, NULL);
	json_u64(&d.j, NULL, 1);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		json_list_end(&d.j);
	CHECK_EQ(doc_end(&d), 0);
	CHECK(strstr(d.str, "[\n") && strstr(d.str, "]\n"));
	doc_free(&d);
	doc_open(&d);
	for (int i = 0; i <= JSON_DEPTH_MAX; i++)
		json_list(&d.j, NULL);
	for (int i = 0; i <= JSON_DEPTH_MAX; i++)
		json_list_end(&d.j);
	CHECK_EQ(doc_end(&d), -E2BIG);
	doc_free(&d);
}

/* Calls that make no document are an error, whatever follows them. */
TEST(misuse)
{
	struct doc d;

	doc_open(&d);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_object(&d.j, NULL);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_u64(&d.j, NULL, 1);
	json_u64(&d.j, NULL, 2);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_object(&d.j, NULL);
	json_bool(&d.j, NULL, true);
	json_object_end(&d.j);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_list(&d.j, NULL);
	json_string(&d.j, "key", "value");
	json_list_end(&d.j);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_list(&d.j, NULL);
	json_object_end(&d.j);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
	doc_open(&d);
	json_list_end(&d.j);
	CHECK_EQ(doc_end(&d), -EINVAL);
	doc_free(&d);
}

TEST(full_disk)
{
	FILE *out = fopen("/dev/full", "we");
	struct json j;

	if (!out)
		TEST_SKIP("no /dev/full");
	setvbuf(out, NULL, _IONBF, 0);
	json_begin(&j, out);
	json_list(&j, NULL);
	json_list_end(&j);
	CHECK_EQ(json_end(&j), -ENOSPC);
	fclose(out);
}

TEST_MAIN(TEST_CASE(shape), TEST_CASE(doubles), TEST_CASE(control_characters), TEST_CASE(strings),
	  TEST_CASE(invalid_utf8), TEST_CASE(parsed_back), TEST_CASE(depth), TEST_CASE(misuse), TEST_CASE(full_disk))
