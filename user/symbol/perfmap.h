/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of JIT code from /tmp/perf-PID.map, which a runtime writes when it is told to (node --perf-basic-prof, python
 * -X perf, agents for Java, .NET with DOTNET_PerfMapEnabled …). The file is the target's: found in its mount namespace under
 * its number in its own pid namespace, and believed only when it is a regular file that its user owns.
 *
 *	symbolizer ── perfmap_names(addresses) ─ open and check ──▸ worker: perfmap_table.h ──▸ names, taken apart
 *
 * The worker reads only what the file has grown by; when it has died it reads it all once more, and that is all.
 */
#ifndef SYMBOL_PERFMAP_H
#define SYMBOL_PERFMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "base/worker.h"
#include "target/target.h"

#define PERFMAP_MODULE		"[jit]"		/* the module of what has its name from a perf map */
#define PERFMAP_BYTES_MAX	(64ull << 20)	/* a larger file is refused */

struct perfmap_name {
	const char *name;	/* as the file has it, or its function alone: see perfmap_split(); raw */
	const char *file;	/* source file; NULL = not known */
	uint32_t line;		/* 0 = not known */
	uint64_t off;		/* from the start of the code with that name */
	bool guessed;		/* code with another name was there before, or the line was not complete */
};

struct perfmap;

/* w: borrowed, with the op PARSER_PERFMAP; NULL: there are no names. raw: names are not taken apart. -ENOMEM. */
int perfmap_new(struct worker *w, bool raw, struct perfmap **ret);
struct perfmap *perfmap_free(struct perfmap *m);

/* Whether there may be JIT code in a mapping: memory without a file, memfds; map NULL: nobody knows what is there. */
bool perfmap_covers(const struct target_mapping *map);

/*
 * Calls fn for each address whose name is known, i its index. The strings live until fn returns; a return other than 0 ends
 * it and becomes the result. addrs: to be looked up as they are, so a call's, not the return address behind it. -ENOMEM;
 * a file that is not there or is refused is no error, and said once, at debug level.
 */
int perfmap_names(struct perfmap *m, const struct target *t, const uint64_t *addrs, size_t cnt,
		  int (*fn)(void *ctx, size_t i, const struct perfmap_name *name), void *ctx);

/*
 * What a runtime's name says: the function, its source file and line. What is of no known form stays as it is.
 *
 *	V8       JS:*handleUpload /srv/server.js:41:17                    handleUpload, /srv/server.js, 41
 *	         LazyCompile:~ node:events:465                            (anonymous events:465), node:events, 465
 *	.NET     void [Shop] Shop.Cart::Add(class System.String)[Tier0]   Shop.Cart::Add(class System.String)
 *	Python   py::handle:/srv/server.py                                handle, /srv/server.py
 *
 * The grade of compilation goes: code that is compiled again remains the same function. ret_file: empty = not known.
 */
void perfmap_split(const char *raw, struct text *ret_name, struct text *ret_file, uint32_t *ret_line);

/* The op PARSER_PERFMAP, in the worker. state: from perfmap_state_new(). */
int perfmap_handle(void *state, const void *request, size_t len, int fd, struct text *reply);
void *perfmap_state_new(void);
void *perfmap_state_free(void *state);

#endif
