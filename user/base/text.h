/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text: a buffer that grows, what a terminal may be shown, and numbers with units.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A string that grows. Zero-initialise it; text_free() when done. `str` is NUL-terminated once
 * something was added, and NULL before. When memory runs out the buffer becomes `failed`, stays
 * valid and ignores what is added: check it once, at the end.
 */
struct text {
	char *str;
	size_t len;
	size_t size;
	bool failed;
};

void text_add(struct text *t, const char *str);
void text_add_len(struct text *t, const char *str, size_t len);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *t, const char *fmt, va_list args);
/*
 * Adds str with every byte of control characters, invisible and reordering marks (bidi), and broken UTF-8
 * written as \xNN, and \ itself as \\.
 */
void text_add_safe(struct text *t, const char *str);
/* Empties the text and keeps its memory. */
void text_clear(struct text *t);
void text_free(struct text *t);
/* "" instead of NULL. */
const char *text_str(const struct text *t);

/* A copy of str as text_add_safe() writes it; the caller frees it. NULL when memory is short. */
char *text_safe(const char *str);
/* Length of the UTF-8 character at str that text_add_safe() would leave as it is; 0 = none, or the end. */
size_t text_printable_len(const char *str);
/*
 * Decodes the well-formed UTF-8 sequence at str: its length, 0 if there is none, or the end. Overlong forms,
 * surrogates and what lies above U+10FFFF are refused.
 */
size_t text_decode(const char *str, uint32_t *ret_cp);
/* How many terminal columns the UTF-8 string takes. */
size_t text_width(const char *str);
/* How many bytes of it, whole characters only, fit into so many columns. */
size_t text_fit(const char *str, size_t columns);

/* "64K", "1MiB", "3GB", "500" -> bytes, powers of 1024. -EINVAL, -ERANGE. */
int text_parse_size(const char *str, uint64_t *ret_bytes);
/* "500ms", "30s", "2h", "1m", "5" (seconds) -> nanoseconds. -EINVAL, -ERANGE. */
int text_parse_duration(const char *str, uint64_t *ret_ns);
/* Digits only. -EINVAL, -ERANGE. */
int text_parse_u64(const char *str, uint64_t *ret);

/* "372 MiB", "4.1 KiB", "12 B"; signed with_sign "+74 MiB". Returns buf. */
#define TEXT_BYTES_MAX 32
const char *text_bytes(char buf[TEXT_BYTES_MAX], int64_t bytes, bool with_sign);
/* "5m00s", "1h02m", "12.5s", "340ms". Returns buf. */
const char *text_duration(char buf[TEXT_BYTES_MAX], uint64_t ns);
/* "6,140". Returns buf. */
const char *text_count(char buf[TEXT_BYTES_MAX], int64_t n);

#endif
