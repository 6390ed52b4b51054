/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Written as it comes: there is no tree. A call out of order is a mistake of the program; it stops the writing, and
 * json_end() says so, so that a broken document never passes for a whole one.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "output/json.h"

void json_begin(struct json *j, FILE *out)
{
	*j = (struct json){ .out = out, .empty = { true } };
	errno = 0;
}

int json_end(struct json *j)
{
	if (!j->err && (j->depth || j->empty[0]))
		j->err = -EINVAL;
	if (!j->err)
		fputc('\n', j->out);
	if (ferror(j->out))
		return errno ? -errno : -EIO;
	return j->err;
}

static void line_begin(struct json *j)
{
	fprintf(j->out, "\n%*s", 2 * (int)j->depth, "");
}

static void unit_write(struct json *j, uint32_t unit)
{
	fprintf(j->out, "\\u%04" PRIx32, unit);
}

static void escape_write(struct json *j, uint32_t cp)
{
	static const char letters[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

	if (cp < sizeof(letters) && letters[cp]) {
		fprintf(j->out, "\\%c", letters[cp]);
	} else if (cp < 0x10000) {
		unit_write(j, cp);
	} else {
		unit_write(j, 0xd800 + ((cp - 0x10000) >> 10));
		unit_write(j, 0xdc00 + (cp & 0x3ff));
	}
}

static void string_write(struct json *j, const char *str)
{
	fputc('"', j->out);
	while (*str) {
		uint32_t cp = 0;
		size_t len = text_decode(str, &cp);

		if (!len)
			fputs("\ufffd", j->out);
		else if (cp == '"' || cp == '\\')
			fprintf(j->out, "\\%c", (int)cp);
		else if (!text_printable_len(str))
			escape_write(j, cp);
		else
			fwrite(str, 1, len, j->out);
		str += len ? len : 1;
	}
	fputc('"', j->out);
}

/* What stands before a value. False: nothing may be written. */
static bool value_begin(struct json *j, const char *key)
{
	bool in_object = j->depth && j->close[j->depth - 1] == '}';

	if (!j->err && (in_object != !!key || (!j->depth && !j->empty[0])))
		j->err = -EINVAL;
	if (j->err)
		return false;
	if (!j->empty[j->depth])
		fputc(',', j->out);
	j->empty[j->depth] = false;
	if (j->depth)
		line_begin(j);
	if (key) {
		string_write(j, key);
		fputs(": ", j->out);
	}
	return true;
}

static void container_begin(struct json *j, const char *key, char open, char close)
{
	if (!j->err && j->depth == JSON_DEPTH_MAX)
		j->err = -E2BIG;
	if (!value_begin(j, key))
		return;
	fputc(open, j->out);
	j->close[j->depth++] = close;
	j->empty[j->depth] = true;
}

static void container_end(struct json *j, char close)
{
	if (!j->err && (!j->depth || j->close[j->depth - 1] != close))
		j->err = -EINVAL;
	if (j->err)
		return;
	j->depth--;
	if (!j->empty[j->depth + 1])
		line_begin(j);
	fputc(close, j->out);
}

void json_object(struct json *j, const char *key)
{
	container_begin(j, key, '{', '}');
}

void json_object_end(struct json *j)
{
	container_end(j, '}');
}

void json_list(struct json *j, const char *key)
{
	container_begin(j, key, '[', ']');
}

void json_list_end(struct json *j)
{
	container_end(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
	if (!value)
		json_null(j, key);
	else if (value_begin(j, key))
		string_write(j, value);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	if (value_begin(j, key))
		fprintf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	if (value_begin(j, key))
		fprintf(j->out, "%" PRId64, value);
}

void json_double(struct json *j, const char *key, double value, int digits)
{
	if (!isfinite(value))
		json_null(j, key);
	else if (value_begin(j, key))
		/* no "-0.0" */
		fprintf(j->out, "%.*f", digits, fabs(value) < 0.5 * pow(10, -digits) ? 0.0 : value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	if (value_begin(j, key))
		fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *key)
{
	if (value_begin(j, key))
		fputs("null", j->out);
}
