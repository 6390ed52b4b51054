/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One run of a source on a target, or on the whole machine: from attaching to the last snapshot. One thread, one
 * epoll: signals, timers, the source's rings, the end of the target. Knows no kind of source and prints no result.
 */
#ifndef CMD_SESSION_H
#define CMD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/meter.h"
#include "cmd/naming.h"
#include "cmd/progress.h"
#include "source/source.h"

enum session_end {
	SESSION_RUNNING,
	SESSION_DURATION,	/* its time was over */
	SESSION_SIGNAL,		/* SIGINT, SIGTERM, SIGHUP */
	SESSION_EXITED,		/* the target ended: exit_status */
	SESSION_EXECED,		/* the target runs another program now */
	SESSION_BRAKE,		/* it cost too much */
	SESSION_OUTPUT,		/* the result cannot be written any more */
};

struct session;

struct session_config {
	const struct source_type *type;
	bool exact_is_allocator;	/* see struct naming_config */
	struct source_context context;
	struct target *target;		/* NULL: the whole machine; then nothing is metered and there is no brake */
	const void *source_options;
	const struct naming_options *naming;	/* NULL = the defaults */
	uint64_t interval_ns;		/* between snapshots; 0 = only the last one */
	uint64_t duration_ns;		/* 0 = until something ends it */
	double max_overhead_percent;	/* < 0 = no brake */
	uint64_t capabilities;		/* PRIVILEGE() of those that are needed once it is attached */
	uint64_t spare_capabilities;	/* and of those that are needed for moments */
	/* Without a target: whether a pid still is that process, see cmd/targets.h. NULL, or called with ctx. */
	targets_check_fn *is_same;
	/* Once, when everything is attached and counts. */
	void (*started)(struct session *s, void *ctx);
	/* When the target has mapped or unmapped files with code, and once more a second later; may be NULL. */
	void (*mapped)(struct session *s, void *ctx);
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
};

/*
 * Holds back the signals that end a run (true), or lets them through: session_run() takes those that came
 * before it, and lets them through again when no probe is left. Hold them before a temporary file exists.
 */
void session_hold_signals(bool hold);

/*
 * Runs until the end. 0 or a negative errno, printed; the reasons to end are no errors. The result
 * remains in s until session_close().
 */
int session_run(struct session *s, const struct session_config *config);
void session_close(struct session *s);

/* What must go on while something else is waited for: for the pump of a worker, every 100 ms and when fd is readable. */
void session_pump(void *session);
int session_pump_fd(const struct session *s);

/*
 * What was lost, on stderr, also with -q, and without it what is noted: for results that do not say it themselves.
 * events_cnt: what the notes are a part of.
 */
void session_say_losses(const struct session *s, uint64_t events_cnt);

#endif
