/* SPDX-License-Identifier: GPL-2.0-only */
/* How much kernel memory ebb may take by itself: a machine, or a container, that is short of it must not die of us. */
#ifndef CMD_BUDGET_H
#define CMD_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BUDGET_MAX_BYTES	(256ull << 20)
#define BUDGET_MIN_BYTES	(1ull << 20)

struct budget {
	uint64_t bytes;
	const char *why;	/* constant: "5 % of the available memory" */
};

/* The least of 256 MiB, 5 % of available_bytes (0 = not known) and 25 % of room_bytes (UINT64_MAX = no limit). Pure. */
struct budget budget_least(uint64_t available_bytes, uint64_t room_bytes);
/* The same from this machine and our own memory cgroup. An exit code; less than BUDGET_MIN_BYTES is refused, printed. */
int budget_default(struct budget *ret);
/*
 * Refuses, printed, where what we take counts against a limit of the target's memory cgroup: the kernel might kill it for
 * it. An exit code.
 */
int budget_check_target(pid_t pid);

#endif
