/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Gives the frames of a profile their names as they appear, since the process may end at any time, and
 * says of each whether it is the user's own code.
 */
#ifndef CMD_NAMING_H
#define CMD_NAMING_H

#include <stdbool.h>

#include "profile/profile.h"
#include "symbol/symbol.h"
#include "target/target.h"

struct naming {
	struct symbolizer *symbols;
	struct target *target;		/* borrowed */
	struct profile *profile;	/* borrowed */
	size_t frames_named;
	size_t stacks_seen;
};

int naming_open(struct naming *n, struct target *t, struct profile *p);
void naming_close(struct naming *n);
/* Names what was added since the last call. 0 or a negative errno. */
int naming_update(struct naming *n);

/*
 * Whose code a file is. path: as the target sees it; "" for anonymous memory (JIT code). exe: the target's own
 * executable, which is the user's code wherever it lies.
 */
enum frame_kind naming_kind(const char *path, const char *exe, const char *function);

#endif
