/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A profile or a report -> bytes on a FILE. Writers do not close or flush; 0 or a negative errno.
 */
#ifndef OUTPUT_OUTPUT_H
#define OUTPUT_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "profile/profile.h"
#include "profile/report.h"

struct table_options {
	unsigned int width;	/* columns of the terminal; 0 = do not cut */
	bool color;
};

/*
 * Draws a report: plain text, every control character of names escaped. Lines of the table are cut at the
 * width, those above and below it are wrapped. -ENOMEM, also for a report that has failed; write errors.
 */
int table_write(FILE *out, const struct report *r, const struct table_options *opt);
/* Lines that table_write() would print with the same options; for live updates. */
unsigned int table_lines(const struct report *r, const struct table_options *opt);

/* What a file format needs to know beside the profile. */
struct writer_options {
	int type;		/* which value, an index into profile_types() */
};

/* A file format. */
struct writer {
	const char *name;	/* as -f takes it */
	int (*write)(FILE *out, const struct profile *p, const struct writer_options *opt);
	const char *terminal_hint;	/* said on stderr when it goes to a terminal; NULL */
};

/* Ends with a NULL name. */
extern const struct writer writers[];
const struct writer *writer_find(const char *name);

/*
 * Folded stacks (Brendan Gregg's flamegraph.pl): comm;outermost;…;innermost value, one line a stack,
 * sorted (as LC_ALL=C sort does it), equal ones added up, values of 0 left out.
 * In names ; becomes : and white space, control and invisible characters become _, so that a line has exactly
 * one space. A frame without a name is 0x…, a guessed one ends in ?, and a stack whose outer part is missing
 * has the frame [cut] right after comm. -ENOMEM; write errors.
 */
int folded_write(FILE *out, const struct profile *p, const struct writer_options *opt);

#endif
