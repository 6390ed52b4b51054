/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes of a profile as open targets: found by their pids when they are asked for, and kept open for a
 * while, so that one that has ended meanwhile still has its mappings.
 */
#ifndef CMD_TARGETS_H
#define CMD_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/profile.h"
#include "target/target.h"

#define TARGETS_OPEN_MAX	32
#define TARGETS_FILES_MAX	4096	/* open at once, a descriptor each; the newest target may have more */

/*
 * Whether t, found by the pid of a process of the profile, still is that process and runs the same program: pids are
 * used again, and exec changes what addresses mean. Its start_ticks tell.
 */
typedef bool targets_check_fn(void *ctx, uint32_t process, const struct target *t);

struct targets {
	const struct profile *profile;	/* borrowed */
	targets_check_fn *is_same;	/* NULL: a pid is believed */
	void *ctx;			/* of is_same */
	struct worker *worker;		/* for target_open(); borrowed */
	struct targets_entry {
		uint32_t process;
		struct target *target;
		size_t files_cnt;	/* when it was opened: what dlopen() adds is not counted */
	} open[TARGETS_OPEN_MAX];	/* the last used first */
	size_t open_cnt;
	size_t files_cnt;		/* of the open ones */
	bool *missed;			/* by process */
	size_t missed_size;
	size_t missed_cnt;		/* processes that could not be opened, or are others by now */
	uint64_t opened_cnt;		/* ever */
};

void targets_close(struct targets *s);
/*
 * A process by its index in the profile; the target lives until the next call. -ESRCH: it could not be opened (it has
 * ended, is a kernel thread or one of 32 bits, may not be read), now or earlier: nobody tries twice. -ENOMEM.
 */
int targets_get(struct targets *s, uint32_t process, struct target **ret);

#endif
