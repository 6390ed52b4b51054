/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a target and its allocators to probe sites, each with the reason for its place. Decides and
 * does nothing: --dry-run prints a plan and stops, trace/attach.h carries it out.
 */
#ifndef TRACE_PLAN_H
#define TRACE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "elf/insn.h"
#include "target/allocator.h"
#include "target/target.h"

enum plan_role {
	PLAN_ENTRY,		/* entry alone: what ends a block */
	PLAN_CALL,		/* entry and a return probe */
	PLAN_BEGIN,		/* entry of a function that must have no return probe */
	PLAN_RET,		/* a ret by which calls of such a function come back */
	PLAN_ROLES,
};

struct plan_site {
	const struct target_module *module;
	char *function;		/* names of the function, as in allocator_function */
	enum probe_kind kind;
	enum plan_role role;
	uint64_t shape;		/* as in allocator_function */
	uint64_t entry_va;	/* of PLAN_RET: of the instruction, which may be in another function that this one ends in */
	uint64_t size_bytes;	/* of the function; 0 = unknown */
	uint64_t off;		/* of the site, in the file: what is attached to */
	uint64_t addr;		/* of the site, in the process */
	struct insn_site insn;
	unsigned char original;	/* the byte there before the probe */
};

struct plan {
	struct plan_site *sites;	/* in the order of attaching: frees, reallocs, the rest */
	size_t sites_cnt;
	char **notes;		/* what the user should know, one line each */
	size_t notes_cnt;
	size_t warnings_cnt;	/* the first of them, which say what will be missing */
	char *refusal;		/* NULL, or why nothing may be attached */
	char **reasons;		/* what the sites' insn.reason point at, where the plan came from another process */
	size_t reasons_cnt;
};

/*
 * Pure: reads files and the target's memory, changes nothing. In a process without privileges, since it parses.
 * -ENOENT when there is no allocator to probe: the one failure that hands out a plan, without sites and with the
 * explanation in `refusal`.
 */
int plan_make(const struct target *t, const struct images *images, const struct allocators *a, struct plan **ret);
struct plan *plan_free(struct plan *p);

#endif
