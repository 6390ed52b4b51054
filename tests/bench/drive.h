/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that is traced (victim.c, churn.c), driven over two pipes. */
#ifndef BENCH_DRIVE_H
#define BENCH_DRIVE_H

#include <sys/types.h>

#include "source/leak.h"

struct victim {
	pid_t pid;
	int in_fd, out_fd;
};

/* What it shall do: see victim.c. */
enum job_kind { JOB_TIGHT, JOB_CHURN, JOB_CHILD };

struct job {
	enum job_kind kind;
	int frames, threads;
	long pairs, live;
};

#define VICTIM_LINE	128

/* Starts the program of that name, which stands beside this one, and waits until it is ready. */
int victim_start(const char *program, struct victim *v);
void victim_stop(struct victim *v);
int victim_tell(struct victim *v, const char *request);
/* A line from it; until it is there, `source`, unless NULL, is served. */
int victim_answer(struct victim *v, const struct source_type *type, struct source *source, char answer[VICTIM_LINE]);
/* victim.c: ns a pair; serves `source`, unless NULL, until the answer is there. */
int victim_run(struct victim *v, const struct job *job, struct source *source, double *ret_ns);

#endif
