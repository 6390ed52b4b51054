/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One run of a source on a target, or on the whole machine: from attaching to the last snapshot. A loop (cmd/loop.h) says
 * when it is to do what. Knows no kind of source and prints no result.
 */
#ifndef CMD_SESSION_H
#define CMD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/loop.h"
#include "cmd/meter.h"
#include "cmd/naming.h"
#include "cmd/progress.h"
#include "source/source.h"

struct session;

struct session_config {
	const struct source_type *type;
	bool exact_is_allocator;	/* see struct naming_config */
	struct source_context context;
	struct target *target;		/* NULL: the whole machine; then nothing is metered and there is no brake */
	const char *who;		/* without a target: what is looked at, for the log; safe text. NULL: the whole machine */
	const void *source_options;
	const struct naming_options *naming;	/* NULL = the defaults */
	uint64_t interval_ns, duration_ns;	/* of session_run(), see struct loop_config */
	double max_overhead_percent;	/* < 0 = no brake */
	uint64_t capabilities;		/* PRIVILEGE() of those that are needed once it is attached */
	uint64_t spare_capabilities;	/* and of those that are needed for moments */
	/* Without a target: whether a pid still is that process, see cmd/targets.h. NULL, or called with ctx. */
	targets_check_fn *is_same;
	/* Once, when everything is attached and counts. */
	void (*started)(struct session *s, void *ctx);
	/* When the target has mapped or unmapped files with code, and once more a second later; may be NULL. */
	void (*mapped)(struct session *s, void *ctx);
	void (*tick)(struct session *s, void *ctx);	/* every second; may be NULL */
	/*
	 * Before each snapshot, and after it when all frames have names; without a target some may still wait for theirs,
	 * except in the last. `last`: the run has ended.
	 */
	void (*before)(struct session *s, void *ctx);
	int (*after)(struct session *s, bool last, void *ctx);	/* an error ends the run: SESSION_OUTPUT */
	void *ctx;
};

struct session {
	const struct session_config *config;
	struct loop *loop;		/* borrowed */
	struct source *source;
	struct naming naming;
	struct progress progress;	/* what takes long; the worker's pump calls progress_tick() */
	struct meter meter;	/* empty without a target */
	enum session_end end;
	int exit_status;	/* as wait(2) has it; -1 = unknown */
	uint64_t start_ns;	/* when everything counted, CLOCK_MONOTONIC */
	uint64_t now_ns;	/* of the present snapshot */
	uint64_t renew_ns;	/* not before then are the mappings read again */
	bool mapped_due;	/* `mapped` is to be called, not before … */
	uint64_t mapped_ns;
	uint64_t settled_ns;	/* and once more at … 0 = not */
	uint64_t pumped_ns;	/* when the meter was last read while the worker was waited for */
	int64_t start_wall_s;	/* the start as wall clock time */
	bool noted;		/* in syslog */
	bool stopped;
};

/*
 * Opens, attaches and calls `started`: from then on it counts. 0 or a negative errno, printed; close it in any case. Where
 * s->end is set already it has nothing to be added to the loop for. config and l are borrowed until session_close().
 */
int session_open(struct session *s, const struct session_config *config, struct loop *l);
/* Takes the probes off and out of the loop; the books stay. end: why, unless there is a reason already. */
void session_stop(struct session *s, enum session_end end);
/* Values, names, `after`. last: of the moment when it was stopped. 0, or a negative errno, printed. */
int session_snapshot(struct session *s, bool last);
/* The result is gone with it. */
void session_close(struct session *s);

/*
 * All of it for one: runs until the end, takes the last snapshot. 0 or a negative errno, printed; the reasons to end are no
 * errors. The result remains in s until session_close().
 */
int session_run(struct session *s, const struct session_config *config);

/* What a loop calls: when the source has sent something, the target's end, ten times a second, every second. */
int session_on_source(struct session *s);
void session_on_exit(struct session *s);
int session_on_code(struct session *s);
int session_on_tick(struct session *s);
/* And while the worker is waited for. */
void session_pump(struct session *s);

/*
 * What was lost, on stderr, also with -q, and without it what is noted: for results that do not say it themselves.
 * events_cnt: what the notes are a part of.
 */
void session_say_losses(const struct session *s, uint64_t events_cnt);

#endif
