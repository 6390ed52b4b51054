/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this kernel, these privileges and a target allow. One text for each, wherever it is said: `ebb doctor` shows them all,
 * a command refuses with the first one that stops it.
 */
#ifndef CMD_CHECKS_H
#define CMD_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "target/allocator.h"
#include "target/hazard.h"
#include "trace/plan.h"
#include "trace/selftest.h"

enum check_state {
	CHECK_OK,
	CHECK_NOTE,		/* worth to know; nothing is impossible for it */
	CHECK_UNKNOWN,		/* it could not be found out */
	CHECK_PROBLEM,		/* `leak` is impossible here, or on this target */
};

struct check {
	const char *name;	/* constant: "kernel", "seccomp" */
	enum check_state state;
	char *found;
	char *todo;		/* what to do about it; NULL */
};

struct checks {
	struct check *list;
	size_t cnt;
	bool failed;		/* memory was short: something is missing */
};

void checks_free(struct checks *c);
/* Adds one. todo may be NULL. Texts are copied; names in them must have been made safe. */
void checks_add(struct checks *c, const char *name, enum check_state state, const char *todo, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* The first problem; NULL. */
const struct check *checks_problem(const struct checks *c);
/* The first of that name; NULL. */
const struct check *checks_find(const struct checks *c, const char *name);
const char *check_state_name(enum check_state state);

/* BTF; then by trying: a way to attach, a ring buffer, raw tracepoints. forced is the value of EBB_ATTACH or NULL, one that attach_mode_parse() knows. */
void checks_attach(struct checks *c, const char *forced, struct selftest *ret);
/* Kernel, privileges, /proc, lockdown, memory: of this machine and this process. */
void checks_machine(struct checks *c);
/* What could harm the target. */
void checks_hazards(struct checks *c, const struct hazards *h, enum attach_mode mode);
/* What there is to attach to. */
void checks_plan(struct checks *c, const struct allocators *a, const struct plan *p);
/* Its limits, children, namespaces, file. */
void checks_target(struct checks *c, const struct target *t);

#endif
