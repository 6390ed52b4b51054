/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/glibc_arena.h"
#include "target/glibc_tcache.h"

/*
 *	2.26 to 2.29   counts: 64 × char │ lists: 64 × pointer
 *	2.30 to 2.41   counts: 64 × u16  │ lists: 64 × pointer
 *	2.42 on        room: 76 × u16    │ lists: 76 × pointer; list 64 and more: of chunks that differ in size
 */
struct shape {
	uint64_t chunk_bytes;
	unsigned int lists, count_bytes;
	bool has_counts;	/* else how much room there is, which does not say how many are there */
	bool has_key;		/* from 2.29 on; the shape of 2.26 is that of 2.29 */
};

static const struct shape shapes[] = {
	{ 0x250, 64, 1, true, false },
	{ 0x290, 64, 2, true, true },
	{ 0x300, 76, 2, false, true },
};

#define SMALL_LISTS	64
#define LISTS_MAX	76
#define LIST_MAX	65535u	/* as many as a u16 counts */
#define LARGE_MIN	(CHUNK_BYTES_MIN + 16 * SMALL_LISTS)

static const struct shape *shape_of(uint64_t chunk_bytes)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (shapes[i].chunk_bytes == chunk_bytes)
			return &shapes[i];
	return NULL;
}

bool tcache_is_size(uint64_t chunk_bytes)
{
	return shape_of(chunk_bytes);
}

struct cache {
	uint64_t first[LISTS_MAX];
	unsigned int counts[LISTS_MAX];
};

static void cache_parse(const struct shape *s, const unsigned char *user, struct cache *ret)
{
	for (unsigned int i = 0; i < s->lists; i++) {
		uint16_t count = user[i];

		if (s->count_bytes == 2)
			memcpy(&count, user + 2 * i, 2);
		ret->counts[i] = count;
		memcpy(&ret->first[i], user + s->count_bytes * s->lists + 8 * i, 8);
	}
}

bool tcache_is_likely(uint64_t chunk_bytes, const unsigned char *user)
{
	const struct shape *s = shape_of(chunk_bytes);
	struct cache c;
	bool any = false;

	if (!s)
		return false;
	cache_parse(s, user, &c);
	for (unsigned int i = 0; i < s->lists; i++) {
		if (c.first[i] & 15 || c.first[i] >= 1ull << 56 || (c.first[i] && c.first[i] < 4096))
			return false;
		if (s->has_counts && !c.first[i] != !c.counts[i])
			return false;
		any |= c.first[i] != 0;
	}
	return any;
}

struct lists {
	struct heap_memory *m;
	const struct shape *s;
	uint64_t key;			/* of the blocks so far; 0: none yet */
	uint64_t (*found)[2];		/* address and head of the chunks of one list */
	size_t size;
};

/* Whether a chunk of this size belongs into that list. */
static bool is_of_list(unsigned int list, uint64_t bytes)
{
	return list < SMALL_LISTS ? bytes == CHUNK_BYTES_MIN + 16 * list : bytes >= LARGE_MIN && !(bytes & 15);
}

static int found_grow(struct lists *l)
{
	size_t size = l->size ? 2 * l->size : 64;
	uint64_t (*more)[2] = realloc(l->found, size * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->found = more;
	l->size = size;
	return 0;
}

/* One list into l->found: how many; -ECANCELED: it is not what it should be. */
static ssize_t list_follow(struct lists *l, unsigned int list, uint64_t block, unsigned int count)
{
	size_t cnt = 0;

	while (block) {
		uint64_t words[4];	/* of the chunk before; size; next; key */
		int err;

		if (block & 15 || block < 4096 || cnt == (l->s->has_counts ? count : LIST_MAX))
			return -ECANCELED;
		err = heap_memory_get(l->m, block - CHUNK_HEAD_BYTES, words, sizeof(words));
		if (err)
			return err == -ENODATA || err == -EFAULT ? -ECANCELED : err;
		if (!is_of_list(list, words[1] & ~CHUNK_FLAGS) || words[1] & CHUNK_MMAPPED)
			return -ECANCELED;
		if (l->s->has_key && (!words[3] || (l->key && words[3] != l->key)))
			return -ECANCELED;
		l->key = words[3];
		err = cnt == l->size ? found_grow(l) : 0;
		if (err)
			return err;
		l->found[cnt][0] = block - CHUNK_HEAD_BYTES;
		l->found[cnt++][1] = words[1];
		block = arena_link(block, words[2]);
	}
	return l->s->has_counts && cnt != count ? -ECANCELED : (ssize_t)cnt;
}

int tcache_each(struct heap_memory *m, uint64_t chunk_addr, uint64_t chunk_bytes,
		void (*fn)(void *ctx, uint64_t chunk_addr, uint64_t head), void *ctx, bool *ret_sound)
{
	struct lists l = { .m = m, .s = shape_of(chunk_bytes) };
	unsigned char user[CACHE_BYTES_MAX];
	struct cache c;
	ssize_t cnt = 0;

	*ret_sound = true;
	if (!l.s)
		return -EINVAL;
	cnt = heap_memory_get(m, chunk_addr + CHUNK_HEAD_BYTES, user, chunk_bytes - CHUNK_HEAD_BYTES);
	if (cnt)
		return cnt == -ENODATA || cnt == -EFAULT ? 0 : cnt;
	if (!tcache_is_likely(chunk_bytes, user))	/* it is none, or an empty one */
		return 0;
	cache_parse(l.s, user, &c);
	for (unsigned int i = 0; i < l.s->lists && cnt >= 0; i++) {
		cnt = c.first[i] ? list_follow(&l, i, c.first[i], c.counts[i]) : 0;
		if (cnt == -ECANCELED) {
			*ret_sound = false;
			cnt = 0;
		}
		for (ssize_t k = 0; k < cnt; k++)
			fn(ctx, l.found[k][0], l.found[k][1]);
	}
	free(l.found);
	return cnt < 0 ? cnt : 0;
}
