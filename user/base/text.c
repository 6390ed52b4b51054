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
	if (len >= 0 && text_reserve(t, len)) {
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

/*
 * Length of the well-formed UTF-8 sequence at p, 0 if there is none or if it is a control
 * character (C0, DEL, C1). Table 3-7 of the Unicode standard, without its finer points:
 * overlong forms and surrogates are refused.
 */
static size_t utf8_printable_len(const unsigned char *p)
{
	uint32_t cp;

	if (p[0] < 0x20 || p[0] == 0x7f)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf && (p[1] & 0xc0) == 0x80) {
		cp = (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
		return cp < 0xa0 ? 0 : 2;
	}
	if ((p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
		cp = (p[0] & 0xf) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
		/* also the marks that reorder a line: what is seen must be what is there */
		if (cp < 0x800 || (cp >= 0xd800 && cp <= 0xdfff) || (cp >= 0x2028 && cp <= 0x202e) ||
		    (cp >= 0x2066 && cp <= 0x2069))
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 &&
	    (p[3] & 0xc0) == 0x80) {
		cp = (p[0] & 7) << 18 | (p[1] & 0x3f) << 12 | (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
		return cp < 0x10000 || cp > 0x10ffff ? 0 : 4;
	}
	return 0;
}

void text_add_safe(struct text *t, const char *str)
{
	const unsigned char *p = (const unsigned char *)str;

	while (*p) {
		size_t len = utf8_printable_len(p);

		if (*p == '\\') {
			text_add(t, "\\\\");
			p++;
		} else if (len) {
			text_add_len(t, (const char *)p, len);
			p += len;
		} else {
			text_printf(t, "\\x%02x", *p++);
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

size_t text_width(const char *str)
{
	size_t width = 0;

	for (; *str; str++)
		width += ((unsigned char)*str & 0xc0) != 0x80;
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
