/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Gives the frames of a profile their names as they appear, since the process may end at any time, and
 * says of each whether it is the user's own code.
 */
#ifndef CMD_NAMING_H
#define CMD_NAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/kinds.h"
#include "cmd/options.h"
#include "cmd/progress.h"
#include "cmd/targets.h"
#include "profile/profile.h"
#include "symbol/symbol.h"
#include "target/target.h"

#define NAMING_OPENED_MAX	64	/* processes that a call opens: some milliseconds each */

/* What the user says about names, the same in all commands. Zeros are the defaults. */
struct naming_options {
	bool no_demangle;
	bool no_inline;
	bool debuginfod;
	const char *app, *not_app;	/* see kinds_open() */
};

/* The rows of an option table; s has a field of this struct. */
#define NAMING_OPTION_ROWS(s, field) \
	OPTION_STRING(0, "app", s, field.app, "REGEX", "what is your own code, by function, file or source file"), \
	OPTION_STRING(0, "not-app", s, field.not_app, "REGEX", "what is not, although it looks like it"), \
	OPTION_FLAG(0, "no-inline", s, field.no_inline, "no frames for inlined functions"), \
	OPTION_FLAG(0, "no-demangle", s, field.no_demangle, "names as the compiler or the JIT writes them"), \
	OPTION_FLAG(0, "debuginfod", s, field.debuginfod, "ask the servers of DEBUGINFOD_URLS for debug information")

/* Whether they can be used; -EINVAL, printed: a wrong command line. -ENOMEM. */
int naming_check(const struct naming_options *opt);

/* All of it is borrowed until naming_close(). */
struct naming_config {
	const struct naming_options *options;	/* NULL = the defaults */
	struct worker *worker;		/* reads the files; NULL: there are only addresses */
	/*
	 * The one process that all frames are of. NULL: frames of any process of the profile, each of which is one program:
	 * after exec it is another process.
	 */
	struct target *target;
	struct profile *profile;
	targets_check_fn *is_same;	/* without a target; may be NULL */
	void *ctx;			/* of is_same */
	struct progress *progress;	/* may be NULL */
	bool exact_is_allocator;	/* frames that are no return addresses are probed functions: not the user's code */
};

struct naming {
	struct naming_config config;
	struct symbolizer *symbols;
	struct kinds *kinds;
	struct hashmap *kind_index;	/* what is asked again and again: see kind_of() */
	struct targets targets;		/* without a target */
	uint32_t *pending;		/* frames without a name (FRAME_UNNAMED) */
	size_t pending_cnt, pending_size;
	size_t frames_seen;		/* what came before has a name or is pending */
};

int naming_open(struct naming *n, const struct naming_config *config);
void naming_close(struct naming *n);
/*
 * Names what was added since the last call; with many processes only as much as a call may take, the newest processes
 * first, and the rest at the next call. last: everything. 0 or a negative errno.
 */
int naming_update(struct naming *n, bool last);
/* Processes whose frames have only addresses for names: they had ended, or could not be read. */
size_t naming_processes_missed(const struct naming *n);

#endif
