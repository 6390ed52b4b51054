/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The unwinder that is linked into a source's programs: its maps sized before loading, its tables filled afterwards, and
 * what it counted.
 *
 *	open the skeleton ─ UNWINDER_CONSTANTS, unwinder_size ─ load ─ unwinder_open ─ unwinder_set … ─ unwinder_close
 */
#ifndef SOURCE_UNWINDER_H
#define SOURCE_UNWINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "base/worker.h"
#include "profile/profile.h"
#include "target/target.h"
#include "trace/tables.h"

struct bpf_object;

struct unwinder_settings {
	uint32_t stacks_max;	/* indexes */
	uint32_t processes_max;	/* 1: of one target only */
	uint32_t mappings_max;	/* of all processes, twice */
	uint64_t rows_max_bytes;
	bool check;		/* for tests: what is remembered is walked again and compared */
};

/* The constants of a skeleton that is not loaded yet. */
#define UNWINDER_CONSTANTS(skel, set)	do { \
	*(volatile __u32 *)&(skel)->rodata->stacks_max = (set)->stacks_max; \
	*(volatile __u32 *)&(skel)->rodata->unwind_one_process = (set)->processes_max == 1; \
	*(volatile __u32 *)&(skel)->rodata->stack_memos = unwinder_memos(); \
	*(volatile __u32 *)&(skel)->rodata->stack_spare_first = unwinder_cpus(); \
	*(volatile __u32 *)&(skel)->rodata->stack_check = (set)->check; \
} while (0)

/* One more than the highest number that a CPU may have. */
uint32_t unwinder_cpus(void);
/* Stacks that a CPU remembers: fewer where there are many CPUs. */
uint32_t unwinder_memos(void);
/* mappings_max for one target, with room for what it maps later. */
uint32_t unwinder_mappings(const struct target *t);
/* The sizes of its maps in an object that is not loaded yet. */
int unwinder_size(struct bpf_object *obj, const struct unwinder_settings *set);

struct unwinder {
	struct unwinder_settings settings;
	struct stack_state *state;	/* shared with the kernel */
	struct unwind_tables *tables;
	uint64_t outside_seen, outside_now;	/* state->outside_cnt when the tables were last made; when it was last looked at */
	uint64_t gone_now;		/* state->gone_cnt then */
	bool overtaken;			/* the last tables were old before they could be used */
};

/* On a loaded object. w: makes the rows, borrowed. */
int unwinder_open(struct unwinder *u, const struct bpf_object *obj, const struct unwinder_settings *set,
		  struct worker *w);
void unwinder_close(struct unwinder *u);

/* Makes or renews the tables of one target that has them for itself. -EAGAIN: its mappings are others by now. */
int unwinder_set_target(struct unwinder *u, const struct target *t);
/*
 * Whether programs met code that is in no table, or saw that some is gone: the target may have mapped some. To be asked
 * before its mappings are read for new tables: what is met later counts for the next time.
 */
bool unwinder_misses_code(struct unwinder *u);

uint64_t unwinder_bytes(const struct unwinder *u);	/* of kernel memory beside the maps of the object */
/* Stacks that are not whole, by reason, as notes of a profile. */
void unwinder_notes(const struct unwinder *u, struct profile *p);
/* What else it counted, i from 0; false at the end. */
bool unwinder_counter_at(const struct unwinder *u, unsigned int i, const char **ret_name, uint64_t *ret_cnt);

#endif
