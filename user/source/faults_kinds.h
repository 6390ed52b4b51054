/* SPDX-License-Identifier: GPL-2.0-only */
/* What a page fault was, and in what memory: from the kernel's counts and flags, and from the process's regions. Pure. */
#ifndef SOURCE_FAULTS_KINDS_H
#define SOURCE_FAULTS_KINDS_H

#include <stdint.h>

#include "faults_abi.h"
#include "target/region.h"

enum faults_how {
	FAULTS_FIRST,		/* first touch */
	FAULTS_ZERO,		/* first touch that only read: a page of zeroes that all share */
	FAULTS_COPIED,		/* copy-on-write */
	FAULTS_DIRTIED,		/* first write to a page of shared memory that was mapped to be read */
	FAULTS_MINOR,		/* any of these: the sensor does not tell */
	FAULTS_MAJOR,		/* read from disk or swap */
	FAULTS_HOWS,
};

/* The kinds of regions, and what is beside them. */
enum faults_memory {
	FAULTS_MEMORY_FILE_SHARED = REGION_KINDS,	/* REGION_FILE is private then */
	FAULTS_MEMORY_HUGETLB,
	FAULTS_MEMORY_ANON,	/* anonymous, of a process that was gone before its mappings were read */
	FAULTS_MEMORY_UNMAPPED,	/* none: the fault ended in a signal */
	FAULTS_MEMORY_UNKNOWN,	/* the kernel was just changing its list of mappings */
	FAULTS_MEMORIES,
};

const char *faults_how_label(enum faults_how how);
const char *faults_memory_label(enum faults_memory memory);

/* Whether the process's regions must be asked. */
int faults_memory_asks(uint64_t memory);
/* The address that they are to be asked about. */
uint64_t faults_memory_addr(uint64_t memory);
/* region: what they say; NULL = nothing, or they are not there. memory: as the kernel has stored it, see faults_abi.h. */
enum faults_memory faults_memory_of(uint64_t memory, const struct region *region);

struct faults_split {
	uint64_t counts[FAULTS_HOWS];
};

/* Counts by what happened: each fault once. */
struct faults_split faults_split(const struct faults_counts *c, uint64_t memory);
/* What n of them made resident at least. huge_bytes: of a page of hugetlbfs. */
uint64_t faults_bytes(enum faults_how how, enum faults_memory memory, uint64_t n, uint64_t page_bytes, uint64_t huge_bytes);

#endif
