/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CACHE_H
#define CACHE_H

#define CACHE_ENTRIES 1500
#define CACHE_VALUE_BYTES 508

/* Stores a value for key; the oldest entry is freed when the cache is full. */
void cache_put(unsigned int key);

#endif
