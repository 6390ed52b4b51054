/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answers that are remembered: bytes, or an error, by a key. When there are too many all are forgotten.
 */
#ifndef BASE_MEMO_H
#define BASE_MEMO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct memo;

/* max_bytes: what all answers together may take. NULL when memory is short. */
struct memo *memo_new(size_t max_bytes);
struct memo *memo_free(struct memo *m);

/* Adds a copy of the answer to ret, which is empty, or sets *ret_err. False when there is none. */
bool memo_get(const struct memo *m, const void *key, size_t len, int *ret_err, struct text *ret);
/* Remembers one, if there is room and memory. */
void memo_put(struct memo *m, const void *key, size_t len, int err, const struct text *answer);

#endif
