/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose code a frame is: the user's own, or what else there is in a process. The rules are one table, in kinds.c. */
#ifndef CMD_KINDS_H
#define CMD_KINDS_H

#include "profile/profile.h"

struct kinds;

/*
 * app, not_app: extended regular expressions of the user, which win over the table, or NULL. What matches not_app is not
 * the user's own, whatever app says. Each is searched for in the function's name, in the path of its file, and in that of
 * its source file where it is known; one of them is enough. -EINVAL (printed: no regular expression), -ENOMEM.
 */
int kinds_open(const char *app, const char *not_app, struct kinds **ret);
struct kinds *kinds_free(struct kinds *k);

/* What is known of a function. None of it is to be trusted. */
struct kinds_query {
	const char *function;	/* as it is shown: "operator new(unsigned long)", "libc.so.6+0x1234", "[anon+0x7f…]" */
	const char *module;	/* path as the target sees it, "[vdso]", "[jit]" …; "" for anonymous memory and no mapping */
	const char *file;	/* source file; NULL = not known */
	const char *exe;	/* the target's own executable; NULL = not known */
};

enum frame_kind kinds_of(struct kinds *k, const struct kinds_query *q);

#endif
