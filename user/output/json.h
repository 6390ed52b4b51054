/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * JSON (RFC 8259) on a FILE, two spaces an indent, keys in the order of writing. The caller says what is an object
 * or a list; commas, quotes and escapes are done here. Strings may hold any bytes: what is not valid UTF-8 is
 * written as U+FFFD, control characters and what cannot be seen or reorders a line (bidi marks) as \uXXXX.
 */
#ifndef OUTPUT_JSON_H
#define OUTPUT_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ports;
struct profile;

#define JSON_DEPTH_MAX 32		/* objects and lists inside each other */

struct json {
	FILE *out;
	unsigned int depth;		/* of what is open */
	char close[JSON_DEPTH_MAX];	/* the bracket that ends each */
	bool empty[JSON_DEPTH_MAX + 1];	/* nothing is written at this level yet */
	int err;			/* the first thing that went wrong: nothing is written from then on */
};

void json_begin(struct json *j, FILE *out);
/*
 * Newline at the end; 0 or a negative errno: of a failed write; -EINVAL when the calls made no document (a missing
 * or superfluous key, an end that does not fit, not exactly one value), -E2BIG when it is deeper than JSON_DEPTH_MAX.
 */
int json_end(struct json *j);
/* key: NULL inside a list. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_list(struct json *j, const char *key);
void json_list_end(struct json *j);
void json_string(struct json *j, const char *key, const char *value);	/* NULL = null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_double(struct json *j, const char *key, double value, int digits);	/* not finite = null */
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

/* What a document about ports says beside the model. */
struct ports_json_options {
	const char *command;		/* "ports" */
	bool all;			/* destinations that are not selected, too */
};

/* The document of `ebb ports -f json`: its keys are documented in the man page. 0, -ENOMEM, -EIO. */
int ports_json_write(FILE *out, const struct ports *p, const struct profile *stacks,
		     const struct ports_json_options *opt);

#endif
