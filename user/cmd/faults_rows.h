/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rows of the faults report: by code path, named as those of leak are, or by process. Made anew for each table; only the
 * counts of the one before are kept, for rates.
 */
#ifndef CMD_FAULTS_ROWS_H
#define CMD_FAULTS_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "source/faults.h"

struct faults_row {
	uint32_t process;
	uint32_t frame;			/* that names it, an index in the profile; UINT32_MAX: a label, or a process */
	uint32_t best_stack;		/* with the most faults */
	uint32_t stacks_cnt;
	uint64_t faults, recent;	/* of the time since the last table */
	uint64_t bytes, major_ns;
	bool huge;			/* bytes are the least that it can be */
	uint64_t hows[FAULTS_HOWS];
	uint64_t memories[FAULTS_MEMORIES];
	uint64_t best_faults;		/* of best_stack */
};

struct faults_rows {
	const struct profile *profile;	/* borrowed, as the next one */
	const struct source *source;
	struct faults_tag (*tag)(const struct source *s, uint32_t stack);	/* faults_tag_at() */
	bool by_process, raw;		/* raw: a row a stack */
	struct faults_row *list;	/* sorted: most faults first, or most of the value that is asked for */
	size_t cnt, size;
	uint64_t *before;		/* faults of a stack of the profile at the last table */
	size_t before_cnt;
};

void faults_rows_close(struct faults_rows *r);
/* type: the value by which they are sorted. -ENOMEM. */
int faults_rows_make(struct faults_rows *r, int type);
/* What is counted from now on is recent. -ENOMEM. */
int faults_rows_mark(struct faults_rows *r);

/* A stack without the frame that says what happened: for chains. */
struct stack faults_rows_stack(const struct profile *p, uint32_t stack);
/* The most frequent memory of a row. */
enum faults_memory faults_row_memory(const struct faults_row *row);

#endif
