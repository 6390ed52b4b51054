/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libcache.so of the server: a bounded cache. The oldest entry goes when the cache is full, so what
 * it holds stops growing while it goes on allocating: not a leak. See server.c.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

struct entry {
	unsigned int key;
	unsigned char value[CACHE_VALUE_BYTES];
};

static struct entry *ring[CACHE_ENTRIES];
static unsigned int next_place;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noinline)) struct entry *cache_entry_new(unsigned int key)
{
	struct entry *e = malloc(sizeof(*e));

	if (e) {
		e->key = key;
		memset(e->value, (int)key, sizeof(e->value));
	}
	return e;
}

__attribute__((noinline)) void cache_put(unsigned int key)
{
	struct entry *e = cache_entry_new(key), *old;

	pthread_mutex_lock(&lock);
	old = ring[next_place];
	ring[next_place] = e;
	next_place = (next_place + 1) % CACHE_ENTRIES;
	pthread_mutex_unlock(&lock);
	free(old);
}
