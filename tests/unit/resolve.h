/* SPDX-License-Identifier: GPL-2.0-only */
/* One address at a time, and of what stands there the function itself. */
#ifndef TESTS_RESOLVE_H
#define TESTS_RESOLVE_H

#include "base/worker.h"
#include "elf/parser_ops.h"
#include "symbol/names.h"
#include "symbol/perfmap.h"
#include "symbol/symbol.h"

/* The part of cmd/parser.c that names need. Under the sanitizers memory has no limit: they map terabytes. */
static const struct worker_op resolve_ops[PARSER_OPS] = {
	[PARSER_NAMES] = { .name = "symbols", .handle = names_handle, .open = names_open },
	[PARSER_DEBUG] = { .name = "debug information", .handle = names_handle_debug, .shares = PARSER_NAMES, .is_sharing = true },
	[PARSER_PERFMAP] = { .name = "perf map", .handle = perfmap_handle, .open = perfmap_state_new },
};
static const struct worker_service resolve_service = { .ops = resolve_ops, .ops_cnt = PARSER_OPS, .time_ms = 30000 };

static int resolve_on_name(void *ctx, size_t i, const struct symbol_list *list)
{
	(void)i;
	*(struct symbol *)ctx = list->at[list->cnt - 1];
	return 0;
}

static inline int symbolizer_resolve(struct symbolizer *s, const struct target *t, uint64_t addr, bool is_return,
				     struct symbol *ret)
{
	const struct symbol_query query = { .addr = addr, .is_return = is_return };

	return symbolizer_batch(s, t, &query, 1, resolve_on_name, ret);
}

#endif
