/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A source: BPF programs on a target, or on the whole machine, and what they counted. The only layer that sees a
 * skeleton.
 *
 *	open ─ attach ─┬─ on_event (when fd is readable) ─┬─ detach ─ snapshot ─ close
 *	               └─ snapshot, traps, life (when the session wants) ┘
 *
 * A session drives one source through this table and knows nothing else of it.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/profile.h"
#include "target/target.h"
#include "trace/plan.h"
#include "trace/selftest.h"

struct source;
struct worker;

/* What a source is opened on. All of it is borrowed until close. */
struct source_context {
	/* of the one process that is looked at; NULL in a look at the whole machine */
	const struct target *target;
	const struct plan *plan;
	const struct selftest *selftest;
	struct worker *worker;		/* makes unwind rows */
	struct worker *names_worker;	/* reads names; NULL: the same does. A second one does not wait for rows */
	struct profile *profile;	/* of the source's own kinds of value; stacks are added as they appear */
};

/* How often the target was trapped so far. */
struct source_traps {
	uint64_t emulated, stepped, returned;
};

/* What became of the target, as the kernel saw it. */
struct source_life {
	bool execed;
	bool exited;
	int exit_status;	/* as wait(2) has it; valid with exited */
};

struct source_type {
	const char *name;
	const struct value_type *values;	/* ends with a NULL name */

	/* Loads. Prints what is wrong. options: the source's own struct. */
	int (*open)(const struct source_context *ctx, const void *options, struct source **ret);
	/* Attaches; from its return on everything counts. Prints what is wrong. */
	int (*attach)(struct source *s);
	int (*fd)(const struct source *s);	/* for epoll; the source keeps it */
	int (*on_event)(struct source *s);	/* when fd is readable, and every second */
	/* Values and losses of now into the profile. */
	int (*snapshot)(struct source *s);
	uint64_t (*kernel_bytes)(const struct source *s);	/* memory of its maps */
	/* Takes the probes off; the books stay. May be called twice. */
	void (*detach)(struct source *s);
	struct source *(*close)(struct source *s);

	/* From here on: of a source that looks at one target. NULL in one that never has a target. */

	const char *(*attached_by)(const struct source *s);	/* the way that worked: "session" … */
	/* Whether it met code that it did not know: the target may have mapped some. */
	bool (*misses_code)(struct source *s);
	/* The target's mappings were read again and are others. */
	int (*on_target)(struct source *s);
	void (*traps)(const struct source *s, struct source_traps *ret);
	/* What one run of its programs takes; 0 until it is measured, in the first seconds. */
	double (*program_ns)(struct source *s);
	void (*life)(const struct source *s, struct source_life *ret);
};

#endif
