/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Carries out a plan: probe sites to links. Takes descriptors of loaded programs, never a skeleton.
 *
 * Frees are attached first, then what moves blocks, then rets, then the other allocators; detached in the other
 * order. So no block is seen born whose death could be missed, and no call begun whose end could be.
 */
#ifndef TRACE_ATTACH_H
#define TRACE_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace/plan.h"

enum attach_mode {
	ATTACH_SESSION,		/* uprobe.session for allocators, uprobe.multi for frees: from 6.13 */
	ATTACH_MULTI,		/* uprobe.multi, entry and return apart: from 6.6 */
	ATTACH_PERF,		/* a perf event each: everywhere */
	ATTACH_MODES,
};

/* BPF_TRACE_UPROBE_MULTI, BPF_TRACE_UPROBE_SESSION (include/uapi/linux/bpf.h): libbpf 1.1 has no names. */
#define ATTACH_TYPE_MULTI	48
#define ATTACH_TYPE_SESSION	57

const char *attach_mode_name(enum attach_mode mode);
/* "session", "multi", "perf". -EINVAL. */
int attach_mode_parse(const char *name, enum attach_mode *ret);
/* The expected_attach_type that programs for entries, returns and frees are loaded with. */
int attach_type(enum attach_mode mode);

struct attach_programs {
	int session_fd;		/* ATTACH_SESSION: entry and return; else unused */
	int enter_fd;		/* the other modes */
	int return_fd;
	int free_fd;
	int begin_fd;		/* of functions without return probes, in all modes */
	int ret_fd;
	int release_fd;		/* of pairs */
	int loaded_fd;		/* of the dynamic linker */
};

struct attach;

/*
 * Attaches all sites of a plan to a process. Nothing is left attached on failure. The links go with
 * this process however it ends: the kernel drops them with their descriptors.
 * -EINVAL, -EOPNOTSUPP, -ENOTSUP as a rule mean that the kernel does not have this mode.
 */
int attach_plan(const struct plan *p, const struct target *t, enum attach_mode mode,
		const struct attach_programs *progs, struct attach **ret);
/* Detaches, in the other order. */
struct attach *attach_free(struct attach *a);
/* Detaches from a file that is not mapped any more: its breakpoints are gone already. */
void attach_forget(struct attach *a, const struct target_module *m);

/*
 * Reads each site back from the process. Returns how many sites do not show a breakpoint, their indexes
 * in the plan in *ret_missing (the caller frees it; NULL when none); negative errno when the memory cannot be read.
 */
int attach_verify(const struct plan *p, const struct target *t, size_t **ret_missing);

/*
 * One probe on one file offset, for self-tests and benchmarks: a link's descriptor, or a negative errno.
 * is_return is for ATTACH_MULTI and ATTACH_PERF. file_fd is the file's. In ATTACH_PERF mode the perf
 * event's descriptor, which must be closed after the link's, goes to *ret_event_fd.
 */
int attach_one(enum attach_mode mode, int prog_fd, int file_fd, uint64_t off, uint64_t cookie, bool is_return,
	       pid_t pid, int *ret_event_fd);

#endif
