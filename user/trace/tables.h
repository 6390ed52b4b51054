/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables for walking stacks in the kernel: which of a process's addresses are code, and by what rules a caller is found
 * there. The rows of a file are made once, however many processes and mappings use it.
 *
 *	target ─ mappings ─ files ─▸ rows (worker) ─▸ pieces in chunks
 *	                  └───────▸ the process's mappings, written beside those in use, then switched to
 *
 * Layout: bpf/abi.h. Order of publishing: rules, chunks, mappings, and last which mappings are in use.
 */
#ifndef TRACE_TABLES_H
#define TRACE_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "base/worker.h"
#include "target/target.h"

struct unwind_tables;

/* The maps of bpf/unwind_rows.bpf.h, borrowed, and their sizes. */
struct unwind_maps {
	int processes_fd, pids_fd, mappings_fd, rules_fd, chunks_fd;
	uint32_t processes_max;	/* 1: one process only, and pids_fd is not used */
	uint32_t mappings_max;
	uint64_t rows_max_bytes;
};

/* w makes the rows, borrowed. */
int unwind_tables_open(const struct unwind_maps *maps, struct worker *w, struct unwind_tables **ret);
struct unwind_tables *unwind_tables_close(struct unwind_tables *t);

/* A process as programs see it. With processes_max 1 only one pid matters. */
struct unwind_identity {
	uint32_t pid;		/* in the first pid namespace */
	uint32_t exec_id;
	uint64_t start_ns;
};

/*
 * What the programs note of code that is gone: tables that were made from mappings of before are not used then. state: the
 * map, borrowed, of programs that call stack_code_gone(); seen: its gone_cnt before the mappings were read that the next call
 * of unwind_tables_set() is given. Without a call nothing is looked for.
 */
void unwind_tables_watch(struct unwind_tables *t, const struct stack_state *state, uint64_t seen);

/*
 * Makes or renews the tables of a process, as its mappings are now. Files that have no rows, or cannot be read, are walked by
 * frame pointers. -ENOSPC: no room for one more process or
 * its mappings; -EAGAIN: some of it is gone meanwhile, read the mappings again; -ENOMEM and the kernel's errors. What was there
 * stays then.
 */
int unwind_tables_set(struct unwind_tables *t, const struct unwind_identity *id, const struct target *target);
/* Forgets a process that has ended. */
void unwind_tables_drop(struct unwind_tables *t, uint32_t pid);

/* Lets the worker make the rows of all files of a process, for which tables will be made soon; does not wait. */
void unwind_tables_prepare(struct worker *w, const struct target *target);

struct unwind_tables_size {
	size_t files_cnt;	/* with rows */
	size_t rows_cnt, rules_cnt;
	size_t files_failed_cnt;	/* whose rows could not be read, or found no room */
	uint64_t kernel_bytes;	/* of chunks */
};
void unwind_tables_size(const struct unwind_tables *t, struct unwind_tables_size *ret);

#endif
