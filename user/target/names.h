/* SPDX-License-Identifier: GPL-2.0-only */
/* The names of allocator functions, all in one place. Inside the layer. */
#ifndef TARGET_NAMES_H
#define TARGET_NAMES_H

#include <stdbool.h>

#include "abi.h"

/* Under which prefix a function is defined; one file may hold an allocator under each. */
enum names_group {
	NAMES_PLAIN,	/* malloc, and __libc_malloc, which merges with it by address */
	NAMES_JE,	/* je_: jemalloc built with a prefix (redis, Firefox) */
	NAMES_RJEM,	/* _rjem_: jemalloc in Rust programs */
	NAMES_MI,	/* mi_: mimalloc */
	NAMES_TC,	/* tc_: gperftools */
	NAMES_GROUPS,
};

/* Symbols that are no functions to probe but tell whose code this is: bits. */
enum names_mark {
	NAMES_MARK_LOADER = 1 << 0,	/* glibc's ld.so */
	NAMES_MARK_JEMALLOC = 1 << 1,
	NAMES_MARK_TCMALLOC = 1 << 2,
	NAMES_MARK_MIMALLOC = 1 << 3,
	NAMES_MARK_GLIBC = 1 << 4,
	NAMES_MARK_MUSL = 1 << 5,
	NAMES_MARK_LIBC = 1 << 6,	/* some libc */
};

/* True when the symbol is a function that can be probed, and as what. */
bool names_find(const char *symbol, enum names_group *ret_group, enum probe_kind *ret_kind);
/* The marks that the symbol sets, 0 for most. */
unsigned int names_marks(const char *symbol);
/* "jemalloc" … for a prefix; NULL for NAMES_PLAIN, where marks decide. */
const char *names_group_family(enum names_group group);

#endif
