/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The books of faults, read about every second: so the memory of a new entry is looked up while it is still mapped. What it
 * was stays with the entry. Inside the layer.
 */
#ifndef SOURCE_FAULTS_BOOKS_H
#define SOURCE_FAULTS_BOOKS_H

#include "base/hashmap.h"
#include "source/faults.h"
#include "source/faults_owners.h"
#include "source/stacks.h"

struct faults_entry {
	struct faults_key key;
	struct faults_counts counts;	/* never less than before: see pending_take() */
	struct faults_counts now;	/* of the look that is under way */
	enum faults_memory memory;
	bool resolved;
	int stacks[FAULTS_HOWS];	/* of the profile; -1 = not yet */
};

struct faults_books {
	struct profile *profile;	/* borrowed, as the next ones */
	struct faults_owners *owners;
	struct stacks *stacks;
	int fd, pending_fd;		/* of the maps */
	uint64_t page_bytes, huge_bytes;
	struct hashmap *index;		/* key -> entry */
	struct faults_entry *list;
	size_t cnt, size;
	struct faults_tag *tags;	/* by stack of the profile */
	size_t tags_size;
	struct faults_summary summary;
};

/* The rest of b is filled in. -ENOMEM. */
int faults_books_open(struct faults_books *b);
void faults_books_close(struct faults_books *b);
/* Counts of now, and the memory of what is new. */
int faults_books_look(struct faults_books *b);
/* Into the profile, after a look. own: the process whose faults are summed up by themselves; 0 = none. */
int faults_books_fill(struct faults_books *b, pid_t own);

#endif
