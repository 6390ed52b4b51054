/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs of `leak`: loaded for one way of attaching, and put on the sites of plans. The only place that sees
 * their skeletons. Nothing is printed.
 */
#ifndef SOURCE_LEAK_PROGRAMS_H
#define SOURCE_LEAK_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "source/unwinder.h"
#include "trace/attach.h"

struct bpf_object;
struct leak_programs;

/*
 * Loads them, with maps of their own; those for pairs as well if they are sure to be needed: later they would take a tenth
 * of a second. Errors are the kernel's.
 */
int leak_programs_load(enum attach_mode mode, const struct leak_settings *set, const struct unwinder_settings *stacks,
		       bool pairs, struct leak_programs **ret);
/* Detaches as well. */
struct leak_programs *leak_programs_free(struct leak_programs *p);

/* Whose maps they all use. */
struct bpf_object *leak_programs_object(const struct leak_programs *p);
/* Descriptors of a map, and of a program that the reader runs; owned by them. */
int leak_programs_map(const struct leak_programs *p, const char *name);
int leak_programs_run_fd(const struct leak_programs *p, const char *name);

/* What the target's life tells (exec, fork, exit, what it maps): before anything else is attached. */
int leak_programs_watch(struct leak_programs *p);
/*
 * Puts probes on the sites of a plan that have none, and forgets those of files that are not mapped any more. *ret_added:
 * how many are new. On failure none of these is left. The plan must live as long as they do. state: the programs' own,
 * whose ranges follow.
 */
int leak_programs_attach(struct leak_programs *p, const struct plan *plan, const struct target *t, struct leak_state *state,
			 size_t *ret_added);
/*
 * From ATTACH_SESSION or ATTACH_MULTI to ATTACH_PERF, where it is now attached. Nothing is missed, since the new probes
 * are there before the old ones go. On failure the old ones stay.
 */
int leak_programs_spare_children(struct leak_programs *p, const struct target *t, struct leak_state *state);
/*
 * Whether an address is in a function of an allocator that is probed. is_caller: also in a file that is there for nothing
 * else; what maps memory there is the allocator, whoever has called it.
 */
bool leak_programs_allocates(const struct leak_programs *p, const struct target *t, uint64_t addr, bool is_caller);
/* The way that the probes are attached now. */
enum attach_mode leak_programs_mode(const struct leak_programs *p);
/* Takes the probes off, in the other order. */
void leak_programs_detach(struct leak_programs *p);

/* As loader_add_runs(), loader_missed() and loader_map_bytes(), of all of them. */
void leak_programs_add_runs(const struct leak_programs *p, uint64_t *cnt, uint64_t *ns);
uint64_t leak_programs_missed(const struct leak_programs *p);
uint64_t leak_programs_map_bytes(const struct leak_programs *p);

#endif
