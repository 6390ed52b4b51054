/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Profiles of several processes in one. Addresses differ from process to process, so frames are the same when what is
 * shown of them is: name, file, line, module, kind. Frames without a name are merged by their addresses, as text.
 *
 *	merge_open ─ (merge_begin ─ merge_add … )… ─ merge_close
 */
#ifndef PROFILE_MERGE_H
#define PROFILE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/profile.h"

struct merge;

/* What a merge knows of one profile that is added to it again and again. Zeros at first. */
struct merge_source {
	uint32_t *stacks;	/* its stack -> that of the merged one */
	size_t stacks_cnt;
};

/* types: of all the profiles. NULL when memory is short. */
struct merge *merge_open(const struct value_type *types);
struct merge *merge_close(struct merge *m);
void merge_source_free(struct merge_source *s);

/* The merged one; lives as long as m. */
struct profile *merge_profile(struct merge *m);
/* A process of the merged profile, for merge_add(). Its index; negative errno. */
int merge_process(struct merge *m, int pid, const char *comm);
/* All values to those that were kept, losses and notes to 0: before the profiles are added again. */
void merge_begin(struct merge *m);
/*
 * Adds the values of p, whose stacks have their names, to those of the merged one, and its losses and notes. process: whose
 * stacks they are there, always the same for one s. types: a bit for each kind of value that counts.
 */
int merge_add(struct merge *m, struct merge_source *s, const struct profile *p, uint32_t process, uint32_t types);
/* What was added since merge_begin() of these kinds is there ever after: of a profile that is about to go. */
int merge_keep(struct merge *m, struct merge_source *s, const struct profile *p, uint32_t types);

#endif
