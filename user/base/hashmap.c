/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"

struct entry {
	void *key;	/* owned; NULL = empty */
	size_t len;
	uint64_t hash;
	uint64_t value;
};

struct hashmap {
	struct entry *entries;
	size_t size;	/* a power of two */
	size_t cnt;
};

uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	h ^= h >> 32;
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
		free(map->entries[i].key);
	free(map->entries);
	free(map);
	return NULL;
}

/* The entry that holds the key, or the empty one where it would go. */
static struct entry *entry_find(const struct hashmap *map, const void *key, size_t len, uint64_t hash)
{
	for (size_t i = hash & (map->size - 1);; i = (i + 1) & (map->size - 1)) {
		struct entry *e = &map->entries[i];

		if (!e->key || (e->hash == hash && e->len == len && !memcmp(e->key, key, len)))
			return e;
	}
}

bool hashmap_get(const struct hashmap *map, const void *key, size_t len, uint64_t *ret)
{
	const struct entry *e = entry_find(map, key, len, hash_bytes(key, len));

	if (!e->key)
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

		if (e->key)
			*entry_find(&bigger, e->key, e->len, e->hash) = *e;
	}
	free(map->entries);
	*map = bigger;
	return 0;
}

int hashmap_put(struct hashmap *map, const void *key, size_t len, uint64_t value)
{
	uint64_t hash = hash_bytes(key, len);
	struct entry *e;

	if ((map->cnt + 1) * 4 > map->size * 3 && hashmap_grow(map))
		return -ENOMEM;
	e = entry_find(map, key, len, hash);
	if (!e->key) {
		e->key = malloc(len ? len : 1);
		if (!e->key)
			return -ENOMEM;
		memcpy(e->key, key, len);
		e->len = len;
		e->hash = hash;
		map->cnt++;
	}
	e->value = value;
	return 0;
}

size_t hashmap_count(const struct hashmap *map)
{
	return map->cnt;
}
