/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that is traced (victim.c), driven over two pipes. */
#ifndef BENCH_DRIVE_H
#define BENCH_DRIVE_H

#include <sys/types.h>

#include "source/leak.h"

struct victim {
	pid_t pid;
	int in_fd, out_fd;
};

/* What it shall do: see victim.c. */
struct job {
	bool churn;
	int frames, threads;
	long pairs, live;
};

int victim_start(struct victim *v);
void victim_stop(struct victim *v);
/* ns a pair; serves `source`, unless NULL, until the answer is there. */
int victim_run(struct victim *v, const struct job *job, struct source *source, double *ret_ns);

#endif
