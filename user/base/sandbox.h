/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes everything from the calling process that a parser of foreign bytes does not need.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sandbox {
	pid_t parent;		/* the process ends when this one does */
	/* Descriptors that stay open; 0, 1 and 2 are one of them or /dev/null. */
	const int *fds;
	size_t fds_cnt;
	uint64_t data_bytes;	/* what it may allocate beyond what it was born with; 0 = no limit */
};

/*
 * For a child that was just forked. Afterwards the process is nobody, without capabilities, shares no memory with its
 * parent, cannot open files, execute, signal, connect or map executable memory (a seccomp filter; most kill it if it
 * tries), and dumps no core. Signals of a terminal and SIGTERM are ignored: the parent decides. 0, or a negative
 * errno: then do not go on.
 */
int sandbox_enter(const struct sandbox *s);

#endif
