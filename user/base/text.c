/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static bool text_reserve(struct text *t, size_t more)
{
	size_t need = t->len + more + 1;
	size_t size = t->size ? t->size : 64;
	char *str;

	if (t->failed)
		return false;
	if (need <= t->size)
		return true;
	while (size < need)
		size *= 2;
	str = realloc(t->str, size);
	if (!str) {
		t->failed = true;
		return false;
	}
	t->str = str;
	t->size = size;
	return true;
}

void text_add_len(struct text *t, const char *str, size_t len)
{
	if (!text_reserve(t, len))
		return;
	memcpy(t->str + t->len, str, len);
	t->len += len;
	t->str[t->len] = '\0';
}

void text_add(struct text *t, const char *str)
{
	text_add_len(t, str, strlen(str));
}

void text_vprintf(struct text *t, const char *fmt, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	if (len < 0) {
		t->failed = true;
	} else if (text_reserve(t, len)) {
		vsnprintf(t->str + t->len, len + 1, fmt, again);
		t->len += len;
	}
	va_end(again);
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	text_vprintf(t, fmt, args);
	va_end(args);
}

struct range {
	uint32_t first, last;
};

static bool in_ranges(const struct range *ranges, size_t cnt, uint32_t cp)
{
	for (size_t i = 0; i < cnt; i++)
		if (cp >= ranges[i].first && cp <= ranges[i].last)
			return true;
	return false;
}

/* Table 3-7 of the Unicode standard. */
size_t text_decode(const char *str, uint32_t *ret_cp)
{
	const unsigned char *p = (const unsigned char *)str;

	if (p[0] < 0x80) {
		*ret_cp = p[0];
		return p[0] != 0;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf && (p[1] & 0xc0) == 0x80) {
		*ret_cp = (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
		return 2;
	}
	if ((p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
		*ret_cp = (p[0] & 0xf) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
		return *ret_cp < 0x800 || (*ret_cp >= 0xd800 && *ret_cp <= 0xdfff) ? 0 : 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 &&
	    (p[3] & 0xc0) == 0x80) {
		*ret_cp = (p[0] & 7) << 18 | (p[1] & 0x3f) << 12 | (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
		return *ret_cp < 0x10000 || *ret_cp > 0x10ffff ? 0 : 4;
	}
	return 0;
}

size_t text_printable_len(const char *str)
{
	/*
	 * Controls (C0, DEL, C1), and what reorders a line or takes no room in it: what is seen must be what
	 * is there. General categories Cc, Cf, Zl and Zp, and the tags of plane 14.
	 */
	static const struct range hidden[] = {
		{ 0x00, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c },
		{ 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x180e, 0x180e }, { 0x200b, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb },
		{ 0xe0000, 0xe0fff },
	};
	uint32_t cp = 0;
	size_t len = text_decode(str, &cp);

	return len && in_ranges(hidden, sizeof(hidden) / sizeof(hidden[0]), cp) ? 0 : len;
}

void text_add_safe(struct text *t, const char *str)
{
	while (*str) {
		size_t len = text_printable_len(str);

		if (*str == '\\') {
			text_add(t, "\\\\");
			str++;
		} else if (len) {
			text_add_len(t, str, len);
			str += len;
		} else {
			text_printf(t, "\\x%02x", (unsigned char)*str++);
		}
	}
}

void text_clear(struct text *t)
{
	t->len = 0;
	if (t->str)
		t->str[0] = '\0';
}

void text_free(struct text *t)
{
	free(t->str);
	*t = (struct text){ 0 };
}

const char *text_str(const struct text *t)
{
	return t->str ? t->str : "";
}

char *text_safe(const char *str)
{
	struct text t = { 0 };

	text_add_safe(&t, str);
	if (!t.str && !t.failed)
		return strdup("");
	if (t.failed) {
		text_free(&t);
		return NULL;
	}
	return t.str;
}

/*
 * Columns that a terminal gives to a code point: East Asian wide ones (UAX #11, W and F, whole blocks) take
 * two, combining marks none. Blocks only: what is off by one in a rare script is cut a column too early.
 */
static size_t cp_columns(uint32_t cp)
{
	static const struct range wide[] = {
		{ 0x1100, 0x115f }, { 0x231a, 0x231b }, { 0x2e80, 0x303e }, { 0x3041, 0xa4cf },
		{ 0xa960, 0xa97c }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe30, 0xfe6f },
		{ 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff },
		{ 0x1f900, 0x1faff }, { 0x20000, 0x3fffd },
	};
	static const struct range combining[] = {
		{ 0x300, 0x36f }, { 0x483, 0x489 }, { 0x591, 0x5bd }, { 0x610, 0x61a }, { 0x64b, 0x65f },
		{ 0xe31, 0xe31 }, { 0xe34, 0xe3a }, { 0xe47, 0xe4e }, { 0x1ab0, 0x1aff },
		{ 0x1dc0, 0x1dff }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f },
	};

	if (cp < 0x300)
		return 1;
	if (in_ranges(combining, sizeof(combining) / sizeof(combining[0]), cp))
		return 0;
	return in_ranges(wide, sizeof(wide) / sizeof(wide[0]), cp) ? 2 : 1;
}

size_t text_fit(const char *str, size_t columns)
{
	const char *p = str;

	while (*p) {
		uint32_t cp = 0;
		size_t len = text_decode(p, &cp);
		size_t width = len ? cp_columns(cp) : 1;

		if (width > columns)
			break;
		columns -= width;
		p += len ? len : 1;
	}
	return p - str;
}

size_t text_width(const char *str)
{
	size_t width = 0;

	while (*str) {
		uint32_t cp = 0;
		size_t len = text_decode(str, &cp);

		width += len ? cp_columns(cp) : 1;
		str += len ? len : 1;
	}
	return width;
}

int text_parse_u64(const char *str, uint64_t *ret)
{
	unsigned long long n;
	char *end;

	if (*str < '0' || *str > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(str, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end)
		return -EINVAL;
	*ret = n;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A decimal number, whole or with a fraction, then one of the units. */
static int parse_with_unit(const char *str, const struct unit *units, uint64_t *ret)
{
	double n, value;
	char *end;

	if ((*str < '0' || *str > '9') && *str != '.')
		return -EINVAL;
	if (str[0] == '0' && (str[1] | 0x20) == 'x')
		return -EINVAL;
	n = strtod(str, &end);
	if (end == str)
		return -EINVAL;
	while (*end == ' ')
		end++;
	for (; units->name; units++) {
		if (strcmp(end, units->name))
			continue;
		value = n * units->factor;
		if (!(value < 9.0e18))
			return -ERANGE;
		*ret = (uint64_t)value;
		return 0;
	}
	return -EINVAL;
}

int text_parse_size(const char *str, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 }, { "B", 1 },
		{ "K", 1ull << 10 }, { "k", 1ull << 10 }, { "KB", 1ull << 10 }, { "KiB", 1ull << 10 },
		{ "M", 1ull << 20 }, { "MB", 1ull << 20 }, { "MiB", 1ull << 20 },
		{ "G", 1ull << 30 }, { "GB", 1ull << 30 }, { "GiB", 1ull << 30 },
		{ "T", 1ull << 40 }, { "TB", 1ull << 40 }, { "TiB", 1ull << 40 },
		{ NULL, 0 },
	};

	return parse_with_unit(str, units, ret_bytes);
}

int text_parse_duration(const char *str, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{ "", 1000000000ull }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 },
		{ "s", 1000000000ull }, { "m", 60000000000ull }, { "min", 60000000000ull },
		{ "h", 3600000000000ull }, { "d", 86400000000000ull }, { NULL, 0 },
	};

	return parse_with_unit(str, units, ret_ns);
}

const char *text_bytes(char buf[TEXT_BYTES_MAX], int64_t bytes, bool with_sign)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	const char *sign = bytes < 0 ? "-" : with_sign && bytes > 0 ? "+" : "";
	double n = bytes < 0 ? -(double)bytes : (double)bytes;
	size_t unit = 0;

	/* 1023.95 would print as 1024.0: step up where the rounded figure has four digits */
	while (n >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		unit++;
	}
	if (unit && n < 9.95)
		snprintf(buf, TEXT_BYTES_MAX, "%s%.1f %s", sign, n, units[unit]);
	else
		snprintf(buf, TEXT_BYTES_MAX, "%s%.0f %s", sign, n, units[unit]);
	return buf;
}

const char *text_duration(char buf[TEXT_BYTES_MAX], uint64_t ns)
{
	uint64_t ms = ns / 1000000, s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, TEXT_BYTES_MAX, "%ums", (unsigned int)ms);
	else if (s < 60)
		snprintf(buf, TEXT_BYTES_MAX, "%u.%us", (unsigned int)s, (unsigned int)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(buf, TEXT_BYTES_MAX, "%um%02us", (unsigned int)(s / 60), (unsigned int)(s % 60));
	else
		snprintf(buf, TEXT_BYTES_MAX, "%lluh%02um", (unsigned long long)(s / 3600),
			 (unsigned int)(s % 3600 / 60));
	return buf;
}

const char *text_count(char buf[TEXT_BYTES_MAX], int64_t n)
{
	char digits[TEXT_BYTES_MAX];
	int len, out = 0;
	uint64_t abs = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)abs);
	if (n < 0)
		buf[out++] = '-';
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = '\0';
	return buf;
}
