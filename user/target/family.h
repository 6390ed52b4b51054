/* SPDX-License-Identifier: GPL-2.0-only */
/* Processes that are wanted by more than their pid: descendants, and those of a group. */
#ifndef TARGET_FAMILY_H
#define TARGET_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/group.h"

/* A process; its pid alone is not enough to know it again. */
struct family_member {
	pid_t pid;
	uint64_t start_ticks;	/* field 22 of stat */
	uint64_t rss_pages;
};

struct family {
	const struct group *group;	/* all of these; NULL */
	const pid_t *roots;		/* the descendants of these, without themselves; borrowed */
	size_t roots_cnt;
};

/*
 * All processes of a family, those with the most resident memory first; without kernel threads, zombies, this process and
 * its children. The caller frees *ret. Negative errno.
 */
int family_find(const struct family *f, struct family_member **ret, size_t *ret_cnt);

#endif
