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

#include "cmd/targets.h"
#include "profile/profile.h"
#include "symbol/symbol.h"
#include "target/target.h"

#define NAMING_OPENED_MAX	64	/* processes that a call opens: some milliseconds each */

struct naming {
	struct symbolizer *symbols;
	struct target *target;		/* borrowed; NULL: frames of any process */
	struct targets targets;		/* then */
	struct profile *profile;	/* borrowed */
	uint32_t *pending;		/* frames without a name (FRAME_UNNAMED) */
	size_t pending_cnt, pending_size;
	size_t frames_seen;		/* what came before has a name or is pending */
	size_t stacks_seen;
};

/*
 * t: the one process that all frames are of. NULL: frames of any process of the profile, each of which is one program:
 * after exec it is another process. is_same (with its ctx) may be NULL then.
 */
int naming_open(struct naming *n, struct target *t, struct profile *p, targets_check_fn *is_same, void *ctx);
void naming_close(struct naming *n);
/*
 * Names what was added since the last call; with many processes only as much as a call may take, the newest processes
 * first, and the rest at the next call. last: everything. 0 or a negative errno.
 */
int naming_update(struct naming *n, bool last);
/* Processes whose frames have only addresses for names: they had ended, or could not be read. */
size_t naming_processes_missed(const struct naming *n);

/*
 * Whose code a file is. path: as the target sees it; "" for anonymous memory (JIT code). exe: the target's own
 * executable, which is the user's code wherever it lies.
 */
enum frame_kind naming_kind(const char *path, const char *exe, const char *function);

#endif
