/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The software events of page faults, on all CPUs or on the threads of one process: those inherit to threads and children
 * that are born later, and cost nobody else anything. Inside the layer.
 */
#ifndef SOURCE_FAULTS_SENSORS_H
#define SOURCE_FAULTS_SENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bpf_link;
struct bpf_program;

struct faults_events {
	struct bpf_link **links;
	size_t cnt, size;
};

/* config: PERF_COUNT_SW_PAGE_FAULTS_MIN, _MAJ. A negative errno; what was attached stays until it is closed. */
int faults_events_cpus(struct faults_events *e, const struct bpf_program *prog, uint64_t config);
/* -ESRCH: the process has ended. */
int faults_events_threads(struct faults_events *e, const struct bpf_program *prog, uint64_t config, pid_t pid);
void faults_events_close(struct faults_events *e);

/* Whether this machine has the tracepoint page_fault_user, for programs with its types. */
bool faults_has_tracepoint(void);

#endif
