/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One line on a terminal while something takes long: written when half a second has passed, taken away at its end. Nothing
 * where standard error is no terminal, and with -q.
 *
 *	progress_begin(&p, "reading symbols of node (99 MB)");
 *	worker_call(…);		its pump calls progress_tick(&p)
 *	progress_end(&p);
 */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct progress {
	uint64_t start_ns;	/* CLOCK_MONOTONIC; 0 = nothing is under way */
	struct text line;	/* what is written: safe for a terminal */
	bool shown;
};

/* what: raw, it is made safe. In the middle of something else it takes that one's place, and its time runs on. */
void progress_begin(struct progress *p, const char *what);
/* Writes the line when it is time. Cheap. */
void progress_tick(struct progress *p);
/* Takes it away. Does no harm where nothing was begun. */
void progress_end(struct progress *p);

#endif
