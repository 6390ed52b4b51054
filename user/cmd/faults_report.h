/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of `ebb faults`. */
#ifndef CMD_FAULTS_REPORT_H
#define CMD_FAULTS_REPORT_H

#include "cmd/faults_rows.h"
#include "profile/report.h"

/* What the kernel has counted for the one process, and what is resident. */
struct faults_kernel {
	bool known;
	uint64_t minflt, majflt;
	struct target_memory memory;
	uint64_t anon_huge_bytes;	/* AnonHugePages of smaps_rollup */
	bool huge_known;
};

struct faults_view {
	const struct profile *profile;
	const struct source *source;
	const struct faults_rows *rows;
	const char *who;		/* "node[26119]", "the whole machine" */
	bool one;			/* of one process: start and now are known */
	const struct faults_kernel *start, *now;
	uint64_t start_ns, now_ns;	/* CLOCK_MONOTONIC */
	uint64_t recent_ns;		/* what rates are of */
	int64_t start_wall_s;
	uint64_t kernel_bytes;
	uint64_t top;
	int type;
	bool verbose;
	int pid;			/* with one */
	bool exited;
};

/* -ENOMEM. The caller frees *ret. */
int faults_report(const struct faults_view *v, struct report **ret);

/* Faults that the kernel has counted and the sensor has not seen; 0 where it is the other way round. */
uint64_t faults_unattributed(uint64_t counted, uint64_t seen);

#endif
