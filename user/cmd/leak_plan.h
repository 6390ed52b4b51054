/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `ebb leak` would do to a target: sites, dangers, prices. --dry-run stops after it.
 */
#ifndef CMD_LEAK_PLAN_H
#define CMD_LEAK_PLAN_H

#include "cmd/budget.h"
#include "cmd/session.h"
#include "target/allocator.h"
#include "trace/plan.h"
#include "trace/selftest.h"
#include "trace/survey.h"

/* Beside the exit codes: the target called exec meanwhile, nothing was printed. */
#define LEAK_PLAN_EXECED	(-1)

/* survey_make() with the limits of the parser. pairs: NULL, or what is looked for instead of allocators. */
int leak_survey(const struct target *t, const struct pairs *pairs, struct survey *ret);
/* Says why a process could not be looked at. The exit code. */
int leak_survey_failed(const struct target *t, const struct survey *s, int err);

/*
 * Self-test (unless *tested: it is known), allocators, dangers and sites; what is in the loop l goes on meanwhile. EXIT_DONE, or
 * an exit code with the reason printed. What was made is handed out in any case; the caller frees it.
 */
int leak_plan(const struct target *t, const struct pairs *pairs, struct loop *l, struct selftest *selftest, bool *tested,
	      struct allocators **ret_allocators, struct plan **ret_plan);

/*
 * A plan of the same target, which has mapped or unmapped something, while the session goes on. Negative errno, without a
 * word; -EOPNOTSUPP (said): what it has loaded makes probes dangerous.
 */
int leak_plan_again(struct session *s, const struct pairs *pairs, struct plan **ret);

/* Prints a plan to stdout. The exit code. */
int leak_plan_print(const struct plan *p, const struct allocators *a, const struct selftest *st, const struct budget *b);

#endif
