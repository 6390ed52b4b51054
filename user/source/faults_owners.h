/* SPDX-License-Identifier: GPL-2.0-only */
/* The processes that the programs of faults have given an index, as processes of the profile. Inside the layer. */
#ifndef SOURCE_FAULTS_OWNERS_H
#define SOURCE_FAULTS_OWNERS_H

#include <stdbool.h>
#include <stddef.h>

#include "faults_abi.h"
#include "profile/profile.h"
#include "source/unwind_many.h"
#include "target/region.h"
#include "target/target.h"

struct faults_owner {
	bool known;		/* its event has come */
	struct faults_owner_key key;
	int pid;		/* 0: not visible from here */
	uint64_t start_ticks;	/* of /proc; 0 = it was gone before it could be read */
	uint32_t process;	/* of the profile */
	bool ended;
	uint64_t minflt, majflt;	/* in all its life; valid with ended */
};

struct faults_owners {
	struct profile *profile;	/* borrowed */
	bool joins_children;	/* stacks of children are their parent's: they have the same addresses */
	struct faults_owner *list;	/* by the kernel's index */
	uint32_t size;
	uint32_t *by_process;
	size_t processes_cnt;
};

void faults_owners_open(struct faults_owners *o, struct profile *profile, bool joins_children);
void faults_owners_close(struct faults_owners *o);
/* A new one, or the end of one. -ENOMEM. */
int faults_owners_on_event(struct faults_owners *o, const struct faults_owner_event *e);
/* NULL: its event has not come yet. */
const struct faults_owner *faults_owners_at(const struct faults_owners *o, uint32_t index);
/* Its regions as they are now. -ESRCH: it is gone, or runs another program; what regions_read() gives. */
int faults_owner_regions(const struct faults_owners *o, uint32_t index, struct regions *ret);
/* Whether a process of the profile is still the one that it was: not after exec. */
bool faults_owners_is_same(const struct faults_owners *o, uint32_t process, const struct target *t);
/* For unwind_many. */
void faults_owners_who(const void *owners, uint32_t owner, struct unwind_many_who *ret);

#endif
