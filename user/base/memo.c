/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/hashmap.h"
#include "base/memo.h"

#define EACH_BYTES	64	/* an entry, and its key in the map */

struct entry {
	int err;
	struct text answer;
};

struct memo {
	size_t max_bytes, bytes;
	struct hashmap *index;	/* key -> entry */
	struct entry *list;
	size_t cnt, size;
};

struct memo *memo_new(size_t max_bytes)
{
	struct memo *m = calloc(1, sizeof(*m));

	if (m)
		m->max_bytes = max_bytes;
	return m;
}

static void forget_all(struct memo *m)
{
	for (size_t i = 0; i < m->cnt; i++)
		text_free(&m->list[i].answer);
	free(m->list);
	hashmap_free(m->index);
	*m = (struct memo){ .max_bytes = m->max_bytes };
}

struct memo *memo_free(struct memo *m)
{
	if (m)
		forget_all(m);
	free(m);
	return NULL;
}

bool memo_get(const struct memo *m, const void *key, size_t len, int *ret_err, struct text *ret)
{
	const struct entry *e;
	uint64_t index;

	if (!m->index || !hashmap_get(m->index, key, len, &index))
		return false;
	e = &m->list[index];
	text_add_len(ret, text_str(&e->answer), e->answer.len);
	*ret_err = ret->failed ? -ENOMEM : e->err;
	return true;
}

static bool room_for_one(struct memo *m)
{
	size_t size = m->size ? m->size * 2 : 64;
	struct entry *list;

	if (!m->index)
		m->index = hashmap_new();
	if (!m->index || m->cnt < m->size)
		return m->index != NULL;
	list = realloc(m->list, size * sizeof(*list));
	if (!list)
		return false;
	m->list = list;
	m->size = size;
	return true;
}

void memo_put(struct memo *m, const void *key, size_t len, int err, const struct text *answer)
{
	struct entry e = { .err = err };

	if (answer->len > m->max_bytes / 16)
		return;
	if (m->bytes + answer->len + EACH_BYTES > m->max_bytes)
		forget_all(m);
	text_add_len(&e.answer, text_str(answer), answer->len);
	if (e.answer.failed || !room_for_one(m) || hashmap_put(m->index, key, len, m->cnt)) {
		text_free(&e.answer);
		return;
	}
	m->list[m->cnt++] = e;
	m->bytes += answer->len + EACH_BYTES;
}
