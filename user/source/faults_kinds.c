/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdbool.h>
#include <stddef.h>

#include "source/faults_kinds.h"

const char *faults_how_label(enum faults_how how)
{
	static const char *const labels[FAULTS_HOWS] = {
		[FAULTS_FIRST] = "first touch",
		[FAULTS_ZERO] = "read of zeroes",
		[FAULTS_COPIED] = "copy-on-write",
		[FAULTS_DIRTIED] = "first write, shared",
		[FAULTS_MINOR] = "minor",
		[FAULTS_MAJOR] = "major",
	};

	return how < FAULTS_HOWS ? labels[how] : "";
}

const char *faults_memory_label(enum faults_memory memory)
{
	static const char *const labels[] = {
		[FAULTS_MEMORY_FILE_SHARED - REGION_KINDS] = "file, shared",
		[FAULTS_MEMORY_HUGETLB - REGION_KINDS] = "hugetlbfs",
		[FAULTS_MEMORY_ANON - REGION_KINDS] = "anonymous, gone before it was looked at",
		[FAULTS_MEMORY_UNMAPPED - REGION_KINDS] = "no mapping (ends in a signal)",
		[FAULTS_MEMORY_UNKNOWN - REGION_KINDS] = "not known",
	};

	if (memory == (enum faults_memory)REGION_FILE)
		return "file, private";
	return memory < (enum faults_memory)REGION_KINDS ? region_kind_label((enum region_kind)memory) :
	       memory < FAULTS_MEMORIES ? labels[memory - REGION_KINDS] : "";
}

int faults_memory_asks(uint64_t memory)
{
	return memory && !(memory & (FAULTS_UNMAPPED | FAULTS_HUGETLB | FAULTS_BRK | FAULTS_STACK));
}

uint64_t faults_memory_addr(uint64_t memory)
{
	return FAULTS_PLACE(memory) - !!(memory & FAULTS_AT_END);
}

/* Whether a region is what the kernel saw: the place may hold another mapping by now. */
static bool is_of_file(enum region_kind kind)
{
	return kind == REGION_CODE || kind == REGION_DATA || kind == REGION_FILE;
}

static bool fits(uint64_t memory, enum region_kind kind)
{
	if (memory & FAULTS_SHMEM)	/* .NET's code is in a memfd */
		return kind == REGION_SHMEM || kind == REGION_JIT;
	if (memory & FAULTS_FILE)
		return is_of_file(kind) || kind == REGION_OTHER || kind == REGION_JIT;
	/* .bss has no file but belongs to one */
	return kind != REGION_FILE && kind != REGION_CODE;
}

enum faults_memory faults_memory_of(uint64_t memory, const struct region *region)
{
	if (!memory)
		return FAULTS_MEMORY_UNKNOWN;
	if (memory & FAULTS_UNMAPPED)
		return FAULTS_MEMORY_UNMAPPED;
	if (memory & FAULTS_HUGETLB)
		return FAULTS_MEMORY_HUGETLB;
	if (memory & FAULTS_BRK)
		return (enum faults_memory)REGION_HEAP;
	if (memory & FAULTS_STACK)
		return (enum faults_memory)REGION_STACK;
	if (memory & FAULTS_THREAD && (!region || region->kind == REGION_ANON))
		return (enum faults_memory)REGION_STACK;
	if (region && fits(memory, region->kind)) {
		if (region->kind == REGION_FILE && memory & FAULTS_SHARED)
			return FAULTS_MEMORY_FILE_SHARED;
		return (enum faults_memory)region->kind;
	}
	if (memory & FAULTS_SHMEM)
		return (enum faults_memory)REGION_SHMEM;
	if (memory & FAULTS_FILE)
		return memory & FAULTS_SHARED ? FAULTS_MEMORY_FILE_SHARED :
		       (enum faults_memory)(memory & FAULTS_EXEC ? REGION_CODE : REGION_FILE);
	return FAULTS_MEMORY_ANON;
}

struct faults_split faults_split(const struct faults_counts *c, uint64_t memory)
{
	/* an event between the two readings of one fault: the major one is already there, the touch is not */
	uint64_t first = c->first > c->major_user ? c->first - c->major_user : 0;
	enum faults_how present = memory & FAULTS_SHARED ? FAULTS_DIRTIED : FAULTS_COPIED;
	struct faults_split s = {
		.counts = {
			[FAULTS_FIRST] = first, [FAULTS_ZERO] = c->zero, [FAULTS_MINOR] = c->minor,
			[FAULTS_MAJOR] = c->major_user + c->major_kernel,
		},
	};

	s.counts[present] = c->copied;
	return s;
}

uint64_t faults_bytes(enum faults_how how, enum faults_memory memory, uint64_t n, uint64_t page_bytes, uint64_t huge_bytes)
{
	if (how == FAULTS_ZERO || how == FAULTS_DIRTIED || memory == FAULTS_MEMORY_UNMAPPED)
		return 0;
	return n * (memory == FAULTS_MEMORY_HUGETLB ? huge_bytes : page_bytes);
}
