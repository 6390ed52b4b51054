/* SPDX-License-Identifier: GPL-2.0-only */
/* A trace of ebb itself in syslog: who attaches to whom, and for how long. */
#ifndef CMD_AUDIT_H
#define CMD_AUDIT_H

/*
 * One line, LOG_DAEMON and LOG_NOTICE. Names of processes in it must have been made safe. Nobody waits for a logger that hangs, and
 * without one it is lost.
 */
__attribute__((format(printf, 1, 2))) void audit_note(const char *fmt, ...);
/* "uid 0", "uid 0 (login uid 1000)": who runs ebb. buf lives at the caller's. */
#define AUDIT_WHO_MAX 64
const char *audit_who(char buf[AUDIT_WHO_MAX]);

#endif
