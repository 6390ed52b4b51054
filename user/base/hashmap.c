/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"

#define KEY_INSIDE_BYTES 24	/* of addresses and numbers; longer keys, which are names, are copies of their own */

struct entry {
	union {
		unsigned char inside[KEY_INSIDE_BYTES];
		void *copy;	/* owned */
	} key;
	size_t len;		/* + 1; 0 = empty */
	uint64_t hash;
	uint64_t value;
};

struct hashmap {
	struct entry *entries;
	size_t size;	/* a power of two */
	size_t cnt;
};

/* Names have a hundred bytes and more: eight at a time. */
uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ull ^ len, word;

	for (; len; p += sizeof(word)) {
		size_t part = len < sizeof(word) ? len : sizeof(word);

		word = 0;
		if (part == sizeof(word))
			memcpy(&word, p, sizeof(word));
		else
			memcpy(&word, p, part);
		h = (h ^ word) * 0x9fb21c651e98df25ull;
		h ^= h >> 32;
		len -= part;
	}
	h *= 0xd6e8feb86659fd93ull;
	return h ^ h >> 32;
}

struct hashmap *hashmap_new(void)
{
	struct hashmap *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->size = 64;
	map->entries = calloc(map->size, sizeof(*map->entries));
	if (!map->entries)
		return hashmap_free(map);
	return map;
}

struct hashmap *hashmap_free(struct hashmap *map)
{
	if (!map)
		return NULL;
	for (size_t i = 0; map->entries && i < map->size; i++)
		if (map->entries[i].len > KEY_INSIDE_BYTES + 1)
			free(map->entries[i].key.copy);
	free(map->entries);
	free(map);
	return NULL;
}

static const void *key_of(const struct entry *e)
{
	return e->len > KEY_INSIDE_BYTES + 1 ? e->key.copy : e->key.inside;
}

/* The entry that holds the key, or the empty one where it would go. */
static struct entry *entry_find(const struct hashmap *map, const void *key, size_t len, uint64_t hash)
{
	for (size_t i = hash & (map->size - 1);; i = (i + 1) & (map->size - 1)) {
		struct entry *e = &map->entries[i];

		if (!e->len || (e->hash == hash && e->len == len + 1 && !memcmp(key_of(e), key, len)))
			return e;
	}
}

bool hashmap_get(const struct hashmap *map, const void *key, size_t len, uint64_t *ret)
{
	const struct entry *e = entry_find(map, key, len, hash_bytes(key, len));

	if (!e->len)
		return false;
	*ret = e->value;
	return true;
}

static int hashmap_grow(struct hashmap *map)
{
	struct hashmap bigger = { .size = map->size * 2, .cnt = map->cnt };

	bigger.entries = calloc(bigger.size, sizeof(*bigger.entries));
	if (!bigger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < map->size; i++) {
		const struct entry *e = &map->entries[i];

		if (e->len)
			*entry_find(&bigger, key_of(e), e->len - 1, e->hash) = *e;
	}
	free(map->entries);
	*map = bigger;
	return 0;
}

/* The entry of a key, made when it is new. NULL when memory is short. */
static struct entry *entry_get(struct hashmap *map, const void *key, size_t len, bool *ret_new)
{
	uint64_t hash = hash_bytes(key, len);
	struct entry *e;
	void *copy;

	if ((map->cnt + 1) * 4 > map->size * 3 && hashmap_grow(map))
		return NULL;
	e = entry_find(map, key, len, hash);
	*ret_new = !e->len;
	if (e->len)
		return e;
	copy = len > KEY_INSIDE_BYTES ? malloc(len) : e->key.inside;
	if (!copy)
		return NULL;
	memcpy(copy, key, len);
	if (len > KEY_INSIDE_BYTES)
		e->key.copy = copy;
	e->len = len + 1;
	e->hash = hash;
	map->cnt++;
	return e;
}

int hashmap_put(struct hashmap *map, const void *key, size_t len, uint64_t value)
{
	bool is_new;
	struct entry *e = entry_get(map, key, len, &is_new);

	if (!e)
		return -ENOMEM;
	e->value = value;
	return 0;
}

int hashmap_add(struct hashmap *map, const void *key, size_t len, uint64_t value, uint64_t *ret_known)
{
	bool is_new;
	struct entry *e = entry_get(map, key, len, &is_new);

	if (!e)
		return -ENOMEM;
	if (is_new)
		e->value = value;
	else
		*ret_known = e->value;
	return !is_new;
}

size_t hashmap_count(const struct hashmap *map)
{
	return map->cnt;
}
