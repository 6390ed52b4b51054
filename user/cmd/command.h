/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands of ebb, and what their functions promise: everything they print about errors is printed
 * when they return, and the result is the exit code.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

/* Exit codes, the same everywhere. 4 beats 3. */
enum command_exit {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,		/* wrong command line */
	EXIT_LOST = 3,		/* done, but events or bookings were lost: totals may be wrong */
	EXIT_STOPPED = 4,	/* by its own brake, or not possible here */
};

struct command {
	const char *name;
	const char *help;	/* one line */
	int (*run)(int argc, char **argv);	/* without the program and command names */
};

/* Ends with a NULL name. */
extern const struct command commands[];

/* The command with exactly this name, NULL when this build does not have it. */
const struct command *command_find(const char *name);

int cmd_leak(int argc, char **argv);
int cmd_mem(int argc, char **argv);
int cmd_faults(int argc, char **argv);
int cmd_ports(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif
