/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The symbol tables of files, each built once for all processes that map the file. They outlive the processes; the
 * least recently used ones are dropped beyond TABLES_MAX of them or TABLES_SYMBOLS_MAX symbols. Inside the layer.
 */
#ifndef SYMBOL_TABLES_H
#define SYMBOL_TABLES_H

#include <stddef.h>

#include "symbol/symtab.h"
#include "target/target.h"

#define TABLES_MAX		256	/* a desktop program maps 200 files */
#define TABLES_SYMBOLS_MAX	(4u << 20)	/* 96 MiB; one file alone may have more. A browser: 1.5 million */

struct tables;

struct tables *tables_new(void);	/* NULL when memory is short */
struct tables *tables_free(struct tables *t);

/*
 * The table of a module that has an image; *ret is NULL when its symbols do not let themselves be read, and lives until
 * the next call. -ENOMEM.
 */
int tables_get(struct tables *t, const struct target_module *m, struct symtab **ret);
size_t tables_cnt(const struct tables *t);

#endif
