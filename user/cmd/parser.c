/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/parser.h"
#include "elf/image.h"
#include "elf/parser_ops.h"
#include "symbol/names.h"
#include "symbol/perfmap.h"
#include "target/file.h"
#include "trace/rows.h"

static const struct worker_op ops[PARSER_OPS] = {
	[PARSER_ROWS] = { .name = "unwind rows", .handle = rows_handle, .open = rows_state_new },
	[PARSER_NAMES] = { .name = "symbols", .handle = names_handle, .open = names_open },
	[PARSER_DEBUG] = { .name = "debug information", .handle = names_handle_debug, .shares = PARSER_NAMES, .is_sharing = true },
	[PARSER_FILE] = { .name = "headers", .handle = file_handle },
	[PARSER_PERFMAP] = { .name = "perf map", .handle = perfmap_handle, .open = perfmap_state_new },
};
_Static_assert(PARSER_OPS <= WORKER_OPS_MAX, "the worker keeps a state for each");

const struct worker_service parser_service = {
	.ops = ops, .ops_cnt = PARSER_OPS, .time_ms = PARSER_TIME_MS, .data_bytes = PARSER_DATA_BYTES,
	.enter = image_allow,
};

#define SAID_MAX	8	/* a target may have any number of files that are made for it */

static void on_death(void *ctx, const struct worker_death *d)
{
	char *file = d->file ? text_safe(d->file) : NULL;
	const struct worker *w = ctx;

	if (!d->op)
		log_debug("the parser %s; a new one goes on", d->how);
	else if (worker_deaths(w) > SAID_MAX)
		log_debug("reading %s of %s failed: the parser %s", d->op, file ? file : "?", d->how);
	else
		log_warn("reading %s of %s failed: the parser %s; ebb goes on without%s", d->op, file ? file : "a file", d->how,
			 worker_deaths(w) == SAID_MAX ? " (more of this is not said)" : "");
	free(file);
}

int parser_start(struct worker **ret)
{
	int err = worker_start(&parser_service, ret);

	if (err)
		return log_error(err, "starting the process without privileges that reads files: %s", strerror(-err));
	worker_on_death(*ret, on_death, *ret);
	log_debug("files are read by a process without privileges");
	return 0;
}
