/* SPDX-License-Identifier: GPL-2.0-only */
#include "cmd/parser.h"
#include "elf/parser_ops.h"
#include "symbol/names.h"
#include "symbol/perfmap.h"
#include "trace/rows.h"

static const struct worker_op ops[PARSER_OPS] = {
	[PARSER_ROWS] = { .name = "unwind rows", .handle = rows_handle, .open = rows_state_new },
	[PARSER_NAMES] = { .name = "symbols", .handle = names_handle, .open = names_open },
	[PARSER_DEBUG] = { .name = "debug information", .handle = names_handle_debug, .shares = PARSER_NAMES, .is_sharing = true },
	[PARSER_PERFMAP] = { .name = "perf map", .handle = perfmap_handle, .open = perfmap_state_new },
};
_Static_assert(PARSER_OPS <= WORKER_OPS_MAX, "the worker keeps a state for each");

#define TIME_MS		30000		/* the debug information of the largest programs takes some seconds */
#define DATA_BYTES	(512ull << 20)	/* files are mapped and do not count */

const struct worker_service parser_service = {
	.ops = ops, .ops_cnt = PARSER_OPS, .time_ms = TIME_MS, .data_bytes = DATA_BYTES,
};
