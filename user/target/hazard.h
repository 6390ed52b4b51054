/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What makes a return probe dangerous in this process: whatever walks, checks or moves
 * return addresses meets the trampoline that the kernel puts in their place.
 */
#ifndef TARGET_HAZARD_H
#define TARGET_HAZARD_H

#include <stdbool.h>

#include "target/target.h"

enum hazard_kind {
	HAZARD_GO,		/* moves stacks */
	HAZARD_SANITIZER,	/* ASan, TSan, MSan, LSan walk stacks in malloc */
	HAZARD_PROFILER,	/* an allocator's own profiler is on: jemalloc prof:true, tcmalloc HEAPPROFILE */
	HAZARD_SHADOW_STACK,	/* a thread runs with a user shadow stack */
	HAZARD_SECCOMP,		/* a thread is under a filter: decided by a self-test, see trace/selftest.h */
	HAZARD_KINDS,
};

struct hazards {
	bool found[HAZARD_KINDS];
	char *detail[HAZARD_KINDS];	/* what was seen, one line; NULL when not found */
};

int hazards_find(struct target *t, struct hazards *ret);
void hazards_free(struct hazards *h);

/* Parts of it, on text, for tests. */
bool hazard_status_has_shadow_stack(const char *status);	/* /proc/PID/task/TID/status */
bool hazard_status_has_seccomp_filter(const char *status);
/* env: as /proc/PID/environ, NUL-separated, len bytes. Returns the variable that switches a profiler on, or NULL. */
const char *hazard_environ_profiler(const char *env, unsigned long len);

#endif
