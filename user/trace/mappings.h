/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions by which a program maps memory. Inside the layer. */
#ifndef TRACE_MAPPINGS_H
#define TRACE_MAPPINGS_H

#include "target/allocator.h"

#define MAPPING_FUNCTIONS_MAX	8

/*
 * mmap, munmap and mremap that a file defines, sorted by va, one an address; how many, or a negative errno. 0 unless
 * both mmap and munmap are there. The caller frees the names.
 */
int mapping_functions_find(const struct image *img, struct allocator_function ret[MAPPING_FUNCTIONS_MAX]);

#endif
