/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers and strings as bytes between two processes of one ebb: same machine, same build. The reader believes nothing:
 * what is not there is 0 or NULL, and it says so once, at the end.
 *
 *	struct wire w = wire_open(&reply);
 *	cnt = wire_max(&w, LIMIT);
 *	name = wire_str(&w);
 *	err = wire_end(&w);	-EBADMSG: what was read is not to be believed
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

void wire_put(struct text *t, uint64_t n);
void wire_put_bytes(struct text *t, const void *bytes, size_t len);
/* NULL is a string of its own. */
void wire_put_str(struct text *t, const char *str);

struct wire {
	const char *at, *end;
	bool bad;	/* something was not as it should be */
	bool failed;	/* memory was short */
};

struct wire wire_open(const struct text *t);
uint64_t wire_u64(struct wire *w);
/* A number that is max at most; else bad, and 0. For counts, and numbers that index something. */
uint64_t wire_max(struct wire *w, uint64_t max);
/* A count of things that take each_bytes or more: one that cannot be there is bad. */
uint64_t wire_cnt(struct wire *w, size_t each_bytes);
bool wire_bool(struct wire *w);
/* At most size bytes to buf; how many there were. */
size_t wire_bytes(struct wire *w, void *buf, size_t size);
/* The caller frees it. NULL: that is what was sent, or an error. */
char *wire_str(struct wire *w);
/* 0 when everything was there and nothing is left; -EBADMSG, -ENOMEM. */
int wire_end(const struct wire *w);

#endif
