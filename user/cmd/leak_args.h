/* SPDX-License-Identifier: GPL-2.0-only */
/* What the command line of `ebb leak` says. */
#ifndef CMD_LEAK_ARGS_H
#define CMD_LEAK_ARGS_H

#include "cmd/budget.h"
#include "cmd/naming.h"
#include "cmd/options.h"
#include "trace/pairs.h"

struct leak_args {
	struct option_list pids;	/* -p */
	bool tree;
	const char *cgroup, *container, *unit;
	bool merge;
	uint64_t duration_ns;		/* LEAK_NO_DURATION: until something ends it */
	uint64_t interval_ns;
	int format;			/* index into leak_formats */
	const char *output;
	uint64_t top;
	bool raw;
	struct naming_options naming;
	bool dry_run;
	double max_overhead;
	uint64_t max_memory;		/* 0: not given; then the budget */
	struct budget budget;
	bool same_cgroup;
	uint64_t min_size;
	uint64_t older_ns;
	struct option_list pair_options;
	const char *object;
	struct pairs pairs;		/* what these say; with any, memory is not looked at */
	int value;			/* enum leak_value */
	bool verbose;
	bool quiet;
	bool no_color;
};

#define LEAK_NO_DURATION	UINT64_MAX

/* The first is the table; ends with NULL. */
extern const char *const leak_formats[];

static inline bool leak_wants_table(const struct leak_args *args)
{
	return args->format == 0;
}

/* What is looked for instead of allocators; NULL. */
static inline const struct pairs *leak_args_pairs(const struct leak_args *args)
{
	return args->pairs.cnt ? &args->pairs : NULL;
}

#endif
