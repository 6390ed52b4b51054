/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	number	8 bytes
 *	bytes	length │ that many
 *	string	length + 1, or 0 for NULL │ that many without a NUL
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

void wire_put(struct text *t, uint64_t n)
{
	text_add_len(t, (const char *)&n, sizeof(n));
}

void wire_put_bytes(struct text *t, const void *bytes, size_t len)
{
	wire_put(t, len);
	if (len)
		text_add_len(t, bytes, len);
}

void wire_put_str(struct text *t, const char *str)
{
	wire_put(t, str ? strlen(str) + 1 : 0);
	if (str)
		text_add_len(t, str, strlen(str));
}

struct wire wire_open(const struct text *t)
{
	const char *str = text_str(t);

	return (struct wire){ .at = str, .end = str + t->len };
}

uint64_t wire_u64(struct wire *w)
{
	uint64_t n;

	if (w->bad || (size_t)(w->end - w->at) < sizeof(n)) {
		w->bad = true;
		return 0;
	}
	memcpy(&n, w->at, sizeof(n));
	w->at += sizeof(n);
	return n;
}

uint64_t wire_max(struct wire *w, uint64_t max)
{
	uint64_t n = wire_u64(w);

	if (n <= max)
		return n;
	w->bad = true;
	return 0;
}

uint64_t wire_cnt(struct wire *w, size_t each_bytes)
{
	uint64_t n = wire_u64(w);

	if (n <= (size_t)(w->end - w->at) / each_bytes)
		return n;
	w->bad = true;
	return 0;
}

bool wire_bool(struct wire *w)
{
	return wire_max(w, 1);
}

size_t wire_bytes(struct wire *w, void *buf, size_t size)
{
	uint64_t len = wire_cnt(w, 1);

	if (len > size) {
		w->bad = true;
		return 0;
	}
	if (len)
		memcpy(buf, w->at, len);
	w->at += len;
	return len;
}

char *wire_str(struct wire *w)
{
	uint64_t len = wire_max(w, (size_t)(w->end - w->at) + 1);
	char *str;

	if (!len)
		return NULL;
	len--;
	if (len > (size_t)(w->end - w->at) || memchr(w->at, '\0', len)) {
		w->bad = true;
		return NULL;
	}
	str = strndup(w->at, len);
	w->failed |= !str;
	w->at += len;
	return str;
}

int wire_end(const struct wire *w)
{
	if (w->failed)
		return -ENOMEM;
	return w->bad || w->at != w->end ? -EBADMSG : 0;
}
