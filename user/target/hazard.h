/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What makes a return probe dangerous in this process: whatever walks, checks or moves
 * return addresses meets the trampoline that the kernel puts in their place.
 */
#ifndef TARGET_HAZARD_H
#define TARGET_HAZARD_H

#include <stdbool.h>

#include "base/text.h"
#include "target/images.h"
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

/* What is read with privileges and only looked at without: as it is, unparsed. */
struct hazard_texts {
	struct text environ;	/* /proc/PID/environ */
	char *malloc_conf;	/* what /etc/malloc.conf of the target points to; NULL = nothing */
};

/* What is not readable is no reason to refuse. -ENOMEM. */
int hazard_texts_read(const struct target *t, struct hazard_texts *ret);
void hazard_texts_free(struct hazard_texts *texts);

/* What files, memory and those texts tell; in a process without privileges: it parses. */
int hazards_find(const struct target *t, const struct images *images, const struct hazard_texts *texts,
		 struct hazards *ret);
/* Adds what the kernel says of each thread. */
int hazards_find_threads(const struct target *t, struct hazards *ret);
void hazards_free(struct hazards *h);

/* Parts of it, on text, for tests. */
bool hazard_status_has_shadow_stack(const char *status);	/* /proc/PID/task/TID/status */
bool hazard_status_has_seccomp_filter(const char *status);
/* env: as /proc/PID/environ, NUL-separated, len bytes. Returns the variable that switches a profiler on, or NULL. */
const char *hazard_environ_profiler(const char *env, unsigned long len);

#endif
