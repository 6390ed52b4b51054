/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `ebb leak` shows of a process, or of several that are looked at as one: the table for people.
 */
#ifndef CMD_LEAK_REPORT_H
#define CMD_LEAK_REPORT_H

#include "cmd/rows.h"
#include "cmd/session.h"
#include "profile/report.h"

struct leak_view {
	/* Of whom. All is borrowed. */
	const char *who;		/* "redis-server[12] /usr/bin/redis-server", "nginx ×8 /usr/sbin/nginx" */
	const char *comm;
	int pid;			/* 0 = several */
	const struct profile *profile;
	struct rows *rows;
	struct target_memory memory_start, memory_now;
	uint64_t memory_ns;		/* when memory_now was read: before its end, of one that has ended; 0 = not known */
	bool heap_is_old;		/* heap_bytes is of an earlier moment */
	uint64_t cutoff_ns;
	uint64_t start_ns, now_ns;	/* CLOCK_MONOTONIC */
	int64_t start_wall_s;
	double cost_percent;		/* of its CPU time; < 0 = not known yet */
	uint64_t kernel_bytes;
	const struct source *source;	/* for what -v shows; NULL = it is closed */
	enum session_end end;
	int exit_status;
	bool is_part;			/* there are reports of others: no next line */
	/* What is asked for. */
	int type;			/* enum leak_value that is shown and sorted by */
	uint64_t top;			/* rows at most */
	bool pairs;			/* no memory: what --pairs and --acquire give, in its own unit */
	bool older;			/* held counts old blocks only: no part of the growth is explained by it */
	bool verbose;
	double limit_percent;		/* of the brake; < 0 = off */
	bool last;
};

extern const enum report_style leak_class_styles[TREND_CLASSES];

/* Classifies the rows; leak_report() does it too. */
void leak_view_classify(const struct leak_view *v);
/* What its rows hold, bytes or the unit of pairs. */
int64_t leak_view_held(const struct leak_view *v);
/* Cells for a value, and for one that is a difference, in the unit of the profile. */
void leak_value_cell(const struct leak_view *v, struct report *r, int64_t value);
void leak_growth_cell(const struct leak_view *v, struct report *r, int64_t grown);

/* Adds what names a row, "handle_upload server via malloc_wrapper". Where it stands in the row's best stack; -1 for a label. */
int leak_row_name(const struct leak_view *v, const struct row *row, struct text *name);

/* Whether it ever had anything: "[stacks full]" is always there. */
bool leak_row_has_any(const struct row *row);

/* Classifies the rows and composes the report. The caller frees it. -ENOMEM. */
int leak_report(const struct leak_view *v, struct report **ret);

/* "exited with code 1", "was killed by signal 9 (Killed)"; status as wait(2) has it, < 0 = unknown. Returns buf. */
#define LEAK_HOW_MAX 96
const char *leak_how_ended(char buf[LEAK_HOW_MAX], int status);

/* Part of all stacks that are provably cut, in percent of the blocks allocated. */
double leak_cut_percent(const struct profile *p);

#endif
