/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pairs of functions that acquire something and give it back: pools, handles, descriptors, threads. What the user names is
 * looked up in the files of a target, and comes out as what the plan knows: allocators, one a pair and file.
 */
#ifndef TRACE_PAIRS_H
#define TRACE_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/allocator.h"
#include "target/images.h"
#include "target/target.h"

struct pair_function {
	char *name;		/* a symbol, mangled or not, or "0x…": a va in the object */
	bool acquires;		/* else it releases */
	uint64_t shape;		/* see bpf/abi.h; the domain is filled in by pairs_find() */
};

struct pair {
	const char *unit;	/* "threads"; constant */
	bool in_libc;		/* built in: looked for in the C library only, and those that it does not have are left out */
	bool are_threads;	/* they end by themselves */
	bool has_sizes;
	struct pair_function *functions;
	size_t functions_cnt;
};

struct pairs {
	struct pair *list;	/* the domain is the index + 1 */
	size_t cnt;
	const char *object;	/* NULL, or the only mapped file to look in: a path or the end of one; borrowed */
};

/*
 * In a process without privileges: it parses files. What is not found, or more than once, is said in
 * allocators->missing, and then nothing else is in it. An object that is not loaded yet is awaited. -ENOMEM.
 */
int pairs_find(const struct target *t, const struct images *images, const struct pairs *pairs, struct allocators **ret);
/* Frees what is in it. */
void pairs_free(struct pairs *pairs);

#endif
