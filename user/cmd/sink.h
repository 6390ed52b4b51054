/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a result goes: stdout, or a file that appears whole or not at all (written beside it, then renamed).
 * Tables may be written again and again: on a terminal the new one takes the place of the old.
 */
#ifndef CMD_SINK_H
#define CMD_SINK_H

#include <stdbool.h>
#include <stdio.h>

#include "output/output.h"

struct sink {
	const char *path;	/* NULL = stdout; borrowed */
	char *temp_path;	/* the file that becomes path */
	FILE *file;		/* NULL until it is needed */
	bool terminal;
	bool color;
	unsigned int lines;	/* of the last live table, still on the terminal */
	bool stalled;		/* a live table could not be written to its end */
	char *pending;		/* what sink_document() wrote, until it is committed */
	size_t pending_len;
};

/* Checks at once that a file can be written. 0, or a negative errno, printed. */
int sink_open(struct sink *k, const char *path, bool no_color);
/* The terminal's width, 0 when it is none. */
unsigned int sink_width(const struct sink *k);
/*
 * A table: on a terminal it replaces the last one. `last`: it stays, and may be longer than the screen. A table
 * that is not the last never blocks: where nobody reads (a pager, Ctrl-S), it is dropped, so that probes stay
 * under control.
 */
int sink_table(struct sink *k, struct report *r, bool last);
/* The same of several, one below the other. */
int sink_tables(struct sink *k, struct report *const *reports, size_t cnt, bool last);
/* What write() makes; it takes the place of what was written before, until sink_commit(). 0 or a negative errno, printed. */
int sink_document(struct sink *k, int (*write)(FILE *out, const void *ctx), const void *ctx);
/* The same of a file format. */
int sink_profile(struct sink *k, const struct writer *w, const struct profile *p, const struct writer_options *opt);
/* Flushes and, for a file, renames. 0, or a negative errno, printed. */
int sink_commit(struct sink *k);
/* Drops what was not committed. */
void sink_close(struct sink *k);

#endif
