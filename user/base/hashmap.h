/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A map from byte strings to 64-bit values: open addressing, keys are copied, nothing is removed.
 * A NULL map is never valid; hashmap_free(NULL) is.
 */
#ifndef BASE_HASHMAP_H
#define BASE_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap;

/* NULL when memory is short. */
struct hashmap *hashmap_new(void);
struct hashmap *hashmap_free(struct hashmap *map);

/* True and the value, or false and *ret is left alone. */
bool hashmap_get(const struct hashmap *map, const void *key, size_t len, uint64_t *ret);
/* Adds or replaces. 0 or -ENOMEM. */
int hashmap_put(struct hashmap *map, const void *key, size_t len, uint64_t value);
/* Adds, unless the key is there: then 1, and the value that it has. 0; -ENOMEM. */
int hashmap_add(struct hashmap *map, const void *key, size_t len, uint64_t value, uint64_t *ret_known);
size_t hashmap_count(const struct hashmap *map);

/* The map's own hash: words are mixed as MurmurHash does it. Not the same on machines of another byte order. */
uint64_t hash_bytes(const void *data, size_t len);

#endif
