/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The target that a command line names: a PID or a process name, found and checked. What is wrong with it
 * is said in words, with what to do.
 */
#ifndef CMD_PICK_H
#define CMD_PICK_H

#include "target/target.h"

struct worker;

/*
 * arg: a PID or a name. w: for target_open(). EXIT_DONE and the opened target (the caller frees it), or the exit code,
 * printed.
 * command: for the command lines in messages ("leak").
 */
int pick_target(const char *command, const char *arg, struct worker *w, struct target **ret);

/* The same with target_open_plain(). */
int pick_target_plain(const char *command, const char *arg, struct target **ret);

/* Says why a process cannot be a target: what target_open() gave. The exit code. */
int pick_problem(const char *command, pid_t pid, enum target_problem problem, pid_t tgid, int err);

/*
 * Only the number, for commands that look at a process without opening it: it exists. EXIT_DONE, or the exit code, printed.
 */
int pick_pid(const char *command, const char *arg, pid_t *ret);

#endif
