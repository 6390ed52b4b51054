/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "test.h"

#define ENTRIES(array) (sizeof(array) / sizeof((array)[0]))

TEST(sizes)
{
	static const struct { const char *str; uint64_t bytes; } good[] = {
		{ "0", 0 }, { "500", 500 }, { "12B", 12 }, { "64K", 65536 }, { "64k", 65536 }, { "64KiB", 65536 },
		{ "1MiB", 1 << 20 }, { "1.5M", 3 << 19 }, { ".5K", 512 }, { "3GB", 3ull << 30 },
		{ "2T", 2ull << 40 }, { "1 MiB", 1 << 20 },
	};
	static const char *const bad[] = {
		"", "K", "-1", "+1", " 1", "1X", "1KX", "0x10", "nan", "inf", ".", "1,5M", "1K ", "--", "1KK",
	};
	uint64_t n = 77;

	for (size_t i = 0; i < ENTRIES(good); i++) {
		CHECK_EQ(text_parse_size(good[i].str, &n), 0);
		if (!CHECK_EQ(n, good[i].bytes))
			fprintf(stderr, "\"%s\"\n", good[i].str);
	}
	n = 77;
	for (size_t i = 0; i < ENTRIES(bad); i++)
		if (!CHECK_EQ(text_parse_size(bad[i], &n), -EINVAL))
			fprintf(stderr, "\"%s\"\n", bad[i]);
	CHECK_EQ(text_parse_size("99999999999T", &n), -ERANGE);
	CHECK_EQ(text_parse_size("1e400", &n), -ERANGE);
	CHECK_EQ(n, 77);
}

TEST(durations)
{
	static const struct { const char *str; uint64_t ns; } good[] = {
		{ "5", 5000000000ull }, { "500ms", 500000000 }, { "30s", 30000000000ull }, { "1m", 60000000000ull },
		{ "2min", 120000000000ull }, { "2h", 7200000000000ull }, { "1d", 86400000000000ull },
		{ "1.5s", 1500000000 }, { "10us", 10000 }, { "7ns", 7 }, { "0", 0 },
	};
	static const char *const bad[] = { "", "s", "-5s", "5 0", "5sec", "1h30m", "5S", "infs" };
	uint64_t n = 77;

	for (size_t i = 0; i < ENTRIES(good); i++) {
		CHECK_EQ(text_parse_duration(good[i].str, &n), 0);
		if (!CHECK_EQ(n, good[i].ns))
			fprintf(stderr, "\"%s\"\n", good[i].str);
	}
	for (size_t i = 0; i < ENTRIES(bad); i++)
		if (!CHECK_EQ(text_parse_duration(bad[i], &n), -EINVAL))
			fprintf(stderr, "\"%s\"\n", bad[i]);
	CHECK_EQ(text_parse_duration("999999999d", &n), -ERANGE);
}

TEST(numbers)
{
	uint64_t n = 77;

	CHECK_EQ(text_parse_u64("18446744073709551615", &n), 0);
	CHECK(n == UINT64_MAX);
	CHECK_EQ(text_parse_u64("18446744073709551616", &n), -ERANGE);
	CHECK_EQ(text_parse_u64("007", &n), 0);
	CHECK_EQ(n, 7);
	CHECK_EQ(text_parse_u64("", &n), -EINVAL);
	CHECK_EQ(text_parse_u64("-1", &n), -EINVAL);
	CHECK_EQ(text_parse_u64(" 1", &n), -EINVAL);
	CHECK_EQ(text_parse_u64("1 ", &n), -EINVAL);
	CHECK_EQ(n, 7);
}

TEST(bytes)
{
	static const struct { int64_t n; bool sign; const char *str; } cases[] = {
		{ 0, false, "0 B" }, { 0, true, "0 B" }, { 1, true, "+1 B" }, { -1, false, "-1 B" },
		{ 1023, false, "1023 B" }, { 1024, false, "1.0 KiB" }, { 1536, false, "1.5 KiB" },
		{ 10188, false, "9.9 KiB" }, { 10189, false, "10 KiB" }, { 10240, false, "10 KiB" },
		{ 1023 * 1024, false, "1023 KiB" }, { 1024 * 1024 - 1, false, "1.0 MiB" },
		{ 1047551, false, "1023 KiB" }, { 1048064, false, "1.0 MiB" },
		{ 372ll << 20, false, "372 MiB" }, { 74ll << 20, true, "+74 MiB" }, { -(74ll << 20), true, "-74 MiB" },
		{ INT64_MAX, true, "+8192 PiB" }, { INT64_MIN, false, "-8192 PiB" },
	};
	char buf[TEXT_BYTES_MAX];

	for (size_t i = 0; i < ENTRIES(cases); i++)
		CHECK_STR(text_bytes(buf, cases[i].n, cases[i].sign), cases[i].str);
}

TEST(times)
{
	char buf[TEXT_BYTES_MAX];

	CHECK_STR(text_duration(buf, 0), "0ms");
	CHECK_STR(text_duration(buf, 340000000), "340ms");
	CHECK_STR(text_duration(buf, 999999999), "999ms");
	CHECK_STR(text_duration(buf, 12500000000), "12.5s");
	CHECK_STR(text_duration(buf, 59999999999), "59.9s");
	CHECK_STR(text_duration(buf, 60000000000), "1m00s");
	CHECK_STR(text_duration(buf, 300000000000), "5m00s");
	CHECK_STR(text_duration(buf, 3720000000000), "1h02m");
	CHECK_STR(text_duration(buf, UINT64_MAX), "5124095h34m");
}

TEST(counts)
{
	char buf[TEXT_BYTES_MAX];

	CHECK_STR(text_count(buf, 0), "0");
	CHECK_STR(text_count(buf, 999), "999");
	CHECK_STR(text_count(buf, 6140), "6,140");
	CHECK_STR(text_count(buf, -1234567), "-1,234,567");
	CHECK_STR(text_count(buf, INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(safe)
{
	static const struct { const char *raw, *safe; } cases[] = {
		{ "", "" }, { "plain ü € 😀", "plain ü € 😀" }, { "a\\b", "a\\\\b" },
		{ "\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m" }, { "a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd" },
		{ "\x7f\x01", "\\x7f\\x01" },
		/* C1: CSI in one character, and as a bare byte */
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m" }, { "\x9b" "31m", "\\x9b31m" },
		/* broken: alone, cut short, overlong, surrogate, too high, never a byte of UTF-8 */
		{ "\x80", "\\x80" }, { "\xc3", "\\xc3" }, { "\xe2\x82", "\\xe2\\x82" }, { "\xf0\x9f\x98", "\\xf0\\x9f\\x98" },
		{ "\xc3(", "\\xc3(" }, { "\xc0\xaf", "\\xc0\\xaf" }, { "\xe0\x80\xaf", "\\xe0\\x80\\xaf" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, { "\xff", "\\xff" },
		/* what reorders or hides: overrides, isolates, marks, zero width, line separators, tags, soft hyphen */
		{ "a\u202eb", "a\\xe2\\x80\\xaeb" }, { "\u2066", "\\xe2\\x81\\xa6" }, { "\u200f", "\\xe2\\x80\\x8f" },
		{ "\u061c", "\\xd8\\x9c" }, { "\u200b", "\\xe2\\x80\\x8b" }, { "\ufeff", "\\xef\\xbb\\xbf" },
		{ "\u2028", "\\xe2\\x80\\xa8" }, { "\U000e0041", "\\xf3\\xa0\\x81\\x81" }, { "\u00ad", "\\xc2\\xad" },
	};

	for (size_t i = 0; i < ENTRIES(cases); i++) {
		char *safe = text_safe(cases[i].raw);

		CHECK_STR(safe, cases[i].safe);
		free(safe);
	}
}

TEST(widths)
{
	CHECK_EQ(text_width(""), 0);
	CHECK_EQ(text_width("abc"), 3);
	CHECK_EQ(text_width("ü€…▁"), 4);
	CHECK_EQ(text_width("日本"), 4);
	CHECK_EQ(text_width("e\u0301"), 1);
	CHECK_EQ(text_width("\xff\xc3"), 2);
	CHECK_EQ(text_fit("abc", 2), 2);
	CHECK_EQ(text_fit("abc", 9), 3);
	CHECK_EQ(text_fit("aü€", 2), 3);
	/* half of a wide character does not fit, a combining mark goes with its letter */
	CHECK_EQ(text_fit("日本", 3), 3);
	CHECK_EQ(text_fit("e\u0301x", 1), 3);
	CHECK_EQ(text_fit("x", 0), 0);
}

TEST(growing)
{
	struct text t = { 0 };

	CHECK_STR(text_str(&t), "");
	for (int i = 0; i < 1000; i++)
		text_printf(&t, "%d,", i % 10);
	CHECK_EQ(t.len, 2000);
	CHECK_EQ(strlen(t.str), 2000);
	text_clear(&t);
	CHECK_STR(text_str(&t), "");
	text_add_len(&t, "abcdef", 3);
	text_add(&t, "");
	text_add(&t, "d");
	CHECK_STR(text_str(&t), "abcd");
	CHECK(!t.failed);
	text_free(&t);
	CHECK(!t.str);
	text_free(&t);
}

TEST(maps)
{
	struct hashmap *map = hashmap_new();
	uint64_t value = 77;
	int wrong = 0;

	CHECK(!hashmap_get(map, "a", 1, &value));
	CHECK_EQ(value, 77);
	CHECK_EQ(hashmap_put(map, "", 0, 5), 0);
	CHECK(hashmap_get(map, "", 0, &value));
	CHECK_EQ(value, 5);
	/* keys are byte strings: a NUL inside counts */
	CHECK_EQ(hashmap_put(map, "a\0b", 3, 6), 0);
	CHECK(!hashmap_get(map, "a\0c", 3, &value));
	CHECK(!hashmap_get(map, "a", 1, &value));
	for (uint64_t i = 0; i < 20000; i++)
		wrong += hashmap_put(map, &i, sizeof(i), i * 3) != 0;
	for (uint64_t i = 0; i < 20000; i += 2)
		wrong += hashmap_put(map, &i, sizeof(i), i) != 0;
	CHECK_EQ(hashmap_count(map), 20002);
	for (uint64_t i = 0; i < 20000; i++)
		wrong += !hashmap_get(map, &i, sizeof(i), &value) || value != (i % 2 ? i * 3 : i);
	for (uint64_t i = 20000; i < 30000; i++)
		wrong += hashmap_get(map, &i, sizeof(i), &value);
	CHECK_EQ(wrong, 0);
	CHECK(!hashmap_free(map));
	CHECK(!hashmap_free(NULL));
}

TEST_MAIN(TEST_CASE(sizes), TEST_CASE(durations), TEST_CASE(numbers), TEST_CASE(bytes), TEST_CASE(times),
	  TEST_CASE(counts), TEST_CASE(safe), TEST_CASE(widths), TEST_CASE(growing), TEST_CASE(maps))
