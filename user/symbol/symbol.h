/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses of a process -> names. A name is right or it is not given: an address past the end of a
 * symbol is not that symbol, and what nobody knows is module+0x1234.
 */
#ifndef SYMBOL_SYMBOL_H
#define SYMBOL_SYMBOL_H

#include <stdbool.h>
#include <stdint.h>

#include "target/target.h"

struct symbolizer;

struct symbol {
	const char *name;	/* demangled; or "libc.so.6+0x1234", "[anon+0x7f…]"; raw: make it safe before printing */
	const char *module;	/* path of the file, "[vdso]", "[heap]" …; "" for anonymous memory and no mapping */
	uint64_t off;		/* from the symbol's start; where known is false the number in the name */
	bool known;		/* false for module+0x…, [anon+0x…], 0x… */
};

struct symbolizer_options {
	bool no_demangle;
};

/* Errors: -ENOMEM. */
int symbolizer_new(const struct symbolizer_options *opt, struct symbolizer **ret);
struct symbolizer *symbolizer_free(struct symbolizer *s);

/*
 * Names an address; by its number alone where there is no process to ask (t NULL). is_return: it is a return
 * address, so the call lies before it and addr - 1 is looked up; off is that of addr all the same. The strings live
 * as long as the symbolizer, which keeps nothing of t. Errors: -ENOMEM.
 */
int symbolizer_resolve(struct symbolizer *s, const struct target *t, uint64_t addr, bool is_return, struct symbol *ret);

#endif
