/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which allocators a process has, and which one it really uses. Found, not guessed: a definition in a
 * mapped file, and for the question "is it used" the words in the import tables (GOT) of the other
 * mapped files, read from the process.
 */
#ifndef TARGET_ALLOCATOR_H
#define TARGET_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "target/images.h"
#include "target/target.h"

struct allocator_function {
	char *names;		/* all aliases at this address, sorted, joined by '=': "aligned_alloc=memalign" */
	enum probe_kind kind;
	uint64_t va;
	uint64_t size_bytes;	/* 0 = unknown */
	uint64_t shape;		/* of PROBE_ACQUIRE and PROBE_RELEASE: see the cookie in bpf/abi.h; else 0 */
};

struct allocator {
	const char *family;	/* "glibc", "musl", "jemalloc", "tcmalloc", "mimalloc", "unknown"; "pair": see trace/pairs.h */
	struct target_module *module;	/* lives as long as the target */
	struct allocator_function *functions;	/* sorted by va, one an address */
	size_t functions_cnt;
	bool used;
	char *evidence;		/* why it is called used or not, one line */
	char *warning;		/* NULL, or what cannot be seen: "operator new of … does not pass through malloc" */
};

struct allocators {
	struct allocator *list;
	size_t cnt;
	/* NULL, or why nothing may be found: a stripped static executable … one line */
	char *missing;
	char *awaited;		/* NULL, or the file that will have what is looked for, once it is loaded */
};

/* In a process without privileges: it parses files. */
int allocators_find(const struct target *t, const struct images *images, struct allocators **ret);
/* Whether what brk gives goes to one that is used: jemalloc and mimalloc map all they have. */
bool allocators_use_brk(const struct allocators *a);
struct allocators *allocators_free(struct allocators *a);

#endif
