/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source behind `ebb faults`: page faults of one process and its later children, of a group of processes or of the whole
 * machine, by stack, by what happened and in what memory. Needs no target.
 *
 * A stack of the profile is a stack of the kernel's with one more frame inside, which says what happened where: "[first
 * touch: malloc heap]".
 */
#ifndef SOURCE_FAULTS_H
#define SOURCE_FAULTS_H

#include "source/faults_kinds.h"
#include "source/source.h"
#include "target/group.h"

enum faults_sensor {
	FAULTS_SENSOR_AUTO,		/* the tracepoint where this machine has it */
	FAULTS_SENSOR_TRACEPOINT,	/* page_fault_user, and the event of major faults */
	FAULTS_SENSOR_EVENTS,		/* the events of minor and major faults */
};

struct faults_options {
	pid_t pid;			/* one process; 0 = those of the group */
	const struct group *group;	/* NULL with 0: the whole machine. Borrowed */
	enum faults_sensor sensor;
	uint64_t max_memory_bytes;
};

enum faults_value { FAULTS_FAULTS, FAULTS_BYTES, FAULTS_MAJOR_NS, FAULTS_VALUES };

extern const struct source_type faults_source;

/* What a stack of the profile stands for. memory is FAULTS_MEMORY_UNKNOWN and how FAULTS_HOWS for a label. */
struct faults_tag {
	enum faults_how how;
	enum faults_memory memory;
	bool huge;		/* a fault may have made a huge page resident: its bytes are the least that it can be */
};

struct faults_tag faults_tag_at(const struct source *s, uint32_t stack);

/* All that was counted at the last snapshot, also what has no stack in the profile. */
struct faults_summary {
	uint64_t counts[FAULTS_MEMORIES][FAULTS_HOWS];
	uint64_t bytes;
	uint64_t huge;			/* first touches in memory that may get huge pages */
	uint64_t major_ns, timed, majors, kernel_majors;
	uint64_t without_stack;		/* faults in no stack of the profile, yet or at all */
	uint64_t own, own_majors;	/* of the process of options.pid, without children and what ended in a signal */
};

const struct faults_summary *faults_summary(const struct source *s);

/* A process of the profile, from one exec to the next. */
struct faults_process {
	int pid;
	bool ended;
	uint64_t minflt, majflt;	/* in all its life, as the kernel counted; valid with ended */
};

struct faults_process faults_process_at(const struct source *s, uint32_t process);
/* Processes that are watched, or were met. */
size_t faults_processes_cnt(const struct source *s);

/* Which sensor it is, for people. */
const char *faults_sensor_name(const struct source *s);
/* Whether it tells first touch from copy-on-write. */
bool faults_tells_how(const struct source *s);
/* Beside the losses, i from 0: what explains the numbers; false at the end. */
bool faults_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt);
/* For naming: whether t is the process that has this index in the profile. */
bool faults_is_same_process(const struct source *s, uint32_t process, const struct target *t);

#endif
