/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that has to be known of a target's files before it is probed: allocators, dangers, sites. Found in a child of
 * its own that has no privileges (base/worker.h), because files and memory of the target are parsed; it has descriptors
 * of the modules and of the memory, and what it answers is checked against what is known here.
 *
 *	ebb: texts of /proc ──fork──▸ child: images ▸ hazards_find, allocators_find, plan_make ──bytes──▸ ebb: checks
 */
#ifndef TRACE_SURVEY_H
#define TRACE_SURVEY_H

#include <stdint.h>

#include "target/allocator.h"
#include "target/hazard.h"
#include "target/target.h"
#include "trace/pairs.h"
#include "trace/plan.h"

struct survey_options {
	uint32_t time_ms;	/* limits of the child */
	uint64_t data_bytes;	/* 0 = no limit */
	const struct pairs *pairs;	/* what to look for; NULL: allocators. Borrowed */
};

struct survey {
	struct hazards hazards;		/* those of threads included */
	struct allocators *allocators;
	struct plan *plan;		/* with a refusal where there is nothing to attach to */
	char *died;			/* how the child ended, with -EPIPE and -ETIME: "crashed (SIGSEGV)" */
};

struct survey_run;

/*
 * Begins to look, in the child, and comes back at once; survey_finish() waits for what it found, and survey_abandon() ends
 * it without (NULL is fine). The target must live as long. Errors of both as survey_make().
 */
int survey_begin(const struct target *t, const struct survey_options *options, struct survey_run **ret);
int survey_finish(struct survey_run *run, struct survey *ret);
void survey_abandon(struct survey_run *run);
/* As worker_set_pump(), while survey_finish() waits. */
void survey_set_pump(struct survey_run *run, int pump_fd, void (*pump)(void *ctx), void *ctx);

/*
 * Both at once. The plan and the allocators live no longer than the target. What was found is handed out in any case; the caller
 * frees it. Errors: -ENOMEM, those of worker_call(); -ESRCH: its threads could not be read; -EBADMSG: the child lied.
 */
int survey_make(const struct target *t, const struct survey_options *options, struct survey *ret);
void survey_free(struct survey *s);

/*
 * After a survey for allocators that found no danger in files: those without one need not be looked through again, which
 * takes a fifth of a second for a file of 100 MB.
 */
void survey_mark_plain(struct target *t, const struct allocators *found);

#endif
