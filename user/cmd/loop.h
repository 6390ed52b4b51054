/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What wakes ebb while it watches: one thread, one epoll, for signals, timers and the sessions that are under way, each
 * with its source's rings and the end of its target.
 *
 *	loop_open ─ session_open … loop_add ─ loop_run ─ loop_close
 *
 * It calls what cmd/session.h has for each of these events, and prints nothing.
 */
#ifndef CMD_LOOP_H
#define CMD_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct session;

/* Why it returned, or a session ended. */
enum session_end {
	SESSION_RUNNING,
	SESSION_DURATION,	/* its time was over */
	SESSION_SIGNAL,		/* SIGINT, SIGTERM, SIGHUP */
	SESSION_EXITED,		/* the target ended: exit_status */
	SESSION_EXECED,		/* the target runs another program now */
	SESSION_BRAKE,		/* it cost too much */
	SESSION_OUTPUT,		/* the result cannot be written any more */
};

struct loop_config {
	uint64_t interval_ns;	/* between snapshots of all sessions; 0 = none but the last */
	uint64_t duration_ns;	/* 0 = until something ends it */
	bool targets;		/* sessions have targets: whether these map code is looked at ten times a second */
	/* After the snapshots of all sessions; an error ends the loop: SESSION_OUTPUT. May be NULL. */
	int (*shown)(struct loop *l, void *ctx);
	/*
	 * After whatever woke it, when no session is being looked at: sessions may be added and removed; those that ended
	 * are to be. tick: a second is over. True: go on though there is no session. NULL: goes on while there is one.
	 */
	bool (*settle)(struct loop *l, bool tick, void *ctx);
	void *ctx;
};

#define LOOP_FDS 5

struct loop {
	const struct loop_config *config;	/* borrowed; NULL before loop_run() */
	int epoll_fd;
	int sources_fd;		/* an epoll of the sources alone: readable when one has sent something */
	int fds[LOOP_FDS];	/* signals and timers; -1 = not there */
	struct session **sessions;
	size_t sessions_cnt, sessions_size;
	enum session_end end;
	int err;		/* of a session; it ends the loop */
};

/*
 * Holds back the signals that end a run (true), or lets them through: a loop takes those that came
 * before it, and lets them through again when it is closed. Hold them before a temporary file exists.
 */
void session_hold_signals(bool hold);

/* Negative errno; close it in any case. */
int loop_open(struct loop *l);
/* A session that is open and attached; borrowed until it is removed. */
int loop_add(struct loop *l, struct session *s);
void loop_remove(struct loop *l, struct session *s);
/* Until l->end is set, or no session runs. 0, or the error of a session, printed. config: borrowed. */
int loop_run(struct loop *l, const struct loop_config *config);
/* Whether a signal has come that ends the run; for who does something long before or beside loop_run(). */
bool loop_signalled(struct loop *l);
void loop_close(struct loop *l);

/* What must go on while something else is waited for: for the pump of a worker, every 100 ms and when fd is readable. */
void loop_pump(void *loop);
int loop_pump_fd(const struct loop *l);

#endif
