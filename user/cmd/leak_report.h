/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `ebb leak` shows of a run: the table for people.
 */
#ifndef CMD_LEAK_REPORT_H
#define CMD_LEAK_REPORT_H

#include "cmd/rows.h"
#include "cmd/session.h"
#include "profile/report.h"

struct leak_view {
	const struct session *session;
	struct rows *rows;
	struct target_memory memory_start, memory_now;
	uint64_t cutoff_ns;
	int type;			/* enum leak_value that is shown and sorted by */
	uint64_t top;			/* rows at most */
	bool pairs;			/* no memory: what --pairs and --acquire give, in its own unit */
	bool older;			/* held counts old blocks only: no part of the growth is explained by it */
	bool verbose;
	double limit_percent;		/* of the brake; < 0 = off */
	bool last;
};

/* Classifies the rows and composes the report. The caller frees it. -ENOMEM. */
int leak_report(const struct leak_view *v, struct report **ret);

/* "exited with code 1", "was killed by signal 9 (Killed)"; status as wait(2) has it, < 0 = unknown. Returns buf. */
#define LEAK_HOW_MAX 96
const char *leak_how_ended(char buf[LEAK_HOW_MAX], int status);

/* Part of all stacks that are provably cut, in percent of the blocks allocated. */
double leak_cut_percent(const struct profile *p);

#endif
