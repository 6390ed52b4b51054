/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses of a process -> names. A name is right or it is not given: an address past the end of a
 * symbol is not that symbol, and what nobody knows is module+0x1234.
 */
#ifndef SYMBOL_SYMBOL_H
#define SYMBOL_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/target.h"

struct symbolizer;

struct worker;

/* A function at an address: the one that is there, or one that the compiler has inlined into it. */
struct symbol {
	const char *name;	/* demangled; or "libc.so.6+0x1234", "[anon+0x7f…]"; raw: make it safe before printing */
	const char *module;	/* path of the file, "[vdso]", "[heap]" …; "" for anonymous memory and no mapping */
	const char *file;	/* source file as DWARF has it; NULL = not known */
	uint32_t line;		/* 0 = not known */
	uint64_t off;		/* from the symbol's start; where known is false the number in the name */
	bool known;		/* false for module+0x…, [anon+0x…], 0x… */
	bool guessed;		/* the name may be wrong: a perf map that was rewritten meanwhile */
};

#define SYMBOL_INLINED_MAX	32	/* deeper ones are left out, the innermost first */

/* What stands at one address: functions that were inlined there, innermost first, and last the function itself. */
struct symbol_list {
	struct symbol at[SYMBOL_INLINED_MAX + 1];
	uint32_t cnt;		/* one at least */
};

struct symbolizer_options {
	bool no_demangle;
	bool no_inline;
	bool debuginfod;	/* ask the servers of DEBUGINFOD_URLS */
};

/* What is asked of one address. */
struct symbol_query {
	uint64_t addr;
	uint8_t epoch;		/* see target_mapping_of() */
	bool is_return;		/* a return address: the call lies before it, so addr - 1 is looked up; off is that of addr */
};

/*
 * w: parses the files, borrowed; it must have the ops of symbol_ops (see there). NULL: only addresses are given. Errors:
 * -ENOMEM.
 */
int symbolizer_new(const struct symbolizer_options *opt, struct worker *w, struct symbolizer **ret);
struct symbolizer *symbolizer_free(struct symbolizer *s);

/*
 * Names addresses of one process; by their numbers alone where there is none to ask (t NULL). Calls fn for each query i,
 * in any order; a return other than 0 ends it and becomes the result. The strings live as long as the symbolizer,
 * which keeps nothing of t; the list lives until fn returns. Errors: -ENOMEM.
 */
int symbolizer_batch(struct symbolizer *s, const struct target *t, const struct symbol_query *queries, size_t cnt,
		     int (*fn)(void *ctx, size_t i, const struct symbol_list *list), void *ctx);

/* A file whose names could not be read: its addresses stay module+0x…, and it is not tried again. */
struct symbolizer_failure {
	const char *path;	/* raw; lives as long as the symbolizer */
	int err;		/* -EPIPE: the worker died of it, -ETIME: it took too long */
};

/* Whether there were any: how many, and the last one. */
bool symbolizer_failures(const struct symbolizer *s, size_t *ret_cnt, struct symbolizer_failure *ret_last);

#endif
