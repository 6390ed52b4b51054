/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes that one `ebb leak` watches, from the first to the last report: who comes, who goes, who calls exec. One
 * process is a group of one, and is shown by itself.
 */
#ifndef CMD_LEAK_GROUP_H
#define CMD_LEAK_GROUP_H

#include "cmd/leak_choice.h"
#include "cmd/sink.h"

/* Watches what was chosen, shows and writes the result. The exit code; everything is said. */
int leak_group_run(struct leak_choice *choice, struct worker *w, struct sink *sink);

#endif
