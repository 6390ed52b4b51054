/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this kernel can do and what a trap costs here: tried and measured on functions of ebb's own, a few
 * milliseconds. Loading proves nothing (6.1 loads uprobe.multi programs and refuses the link), and hosts
 * differ tenfold in the price of a trap.
 */
#ifndef TRACE_SELFTEST_H
#define TRACE_SELFTEST_H

#include <stdbool.h>

#include "trace/attach.h"

/* What a probe with an empty program costs the process that hits it. */
struct trap_price {
	double trap_ns;		/* at an emulated instruction */
	double stepped_ns;	/* at one that is single-stepped */
	double return_ns;	/* what a return probe costs on top of its entry */
};

struct selftest {
	enum attach_mode mode;	/* the best that attaches */
	bool forced;		/* the user chose it: no other may take its place */
	struct trap_price price;
};

/*
 * Tries the modes, best first, beginning with `first` and, unless `only`, going on to the others; then
 * measures. Fails with the error of the last mode when none attaches.
 */
int selftest_run(enum attach_mode first, bool only, struct selftest *ret);

/*
 * Whether a return probe kills a thread under a seccomp filter: a child of ours under a filter that kills
 * on the system call of the return trampoline runs a return-probed function. 0 it lives, 1 it dies,
 * negative errno: could not be tried.
 */
int selftest_seccomp(enum attach_mode mode);

/* Whether what is rare can come to us; 0 or a negative errno each. */
struct selftest_events {
	int ring_err;		/* making a ring buffer and mapping it */
	int tracepoint_err;	/* attaching to a raw tracepoint with BTF; -ENODATA: attached, but a fork of ours was not seen */
};

/* Tries both; a few milliseconds, most of them for reading the kernel's BTF. */
void selftest_events(struct selftest_events *ret);

#endif
