/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One life of one process that `ebb leak` watches: from the plan to its last snapshot. A process that calls exec is
 * another one.
 *
 *	leak_member_open ─ (the loop) ─ leak_member_stop ─ leak_member_finish ─ leak_member_release ─ leak_member_close
 */
#ifndef CMD_LEAK_MEMBER_H
#define CMD_LEAK_MEMBER_H

#include "cmd/leak_args.h"
#include "cmd/leak_report.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "profile/merge.h"
#include "source/leak.h"
#include "target/allocator.h"

struct leak_member;

/* What all processes of a run share. */
struct leak_shared {
	const struct leak_args *args;
	struct worker *worker;
	struct loop *loop;
	struct selftest selftest;
	bool tested;			/* selftest is known */
	bool several;			/* there may be more than one process */
	struct books_room room;		/* of several */
	double program_ns;		/* measured in one life, known in the next: by then we may not ask for it any more */
	const struct value_type *values;	/* those of leak, in the unit of what is counted */
	/* Called after each snapshot of one; an error ends it: SESSION_OUTPUT. */
	int (*after)(struct leak_member *m, bool last, void *ctx);
	void *ctx;
};

struct leak_member {
	struct leak_shared *shared;
	struct target *target;		/* NULL when it was released */
	pid_t pid;
	uint64_t start_ticks;
	char *comm, *exe;		/* as target says */
	struct allocators *allocators;
	struct plan *plan;
	struct plan **later;		/* plans that brought sites which the first one did not have */
	size_t later_cnt;
	struct profile *profile;
	struct rows rows;
	bool rows_opened;
	const struct rows *cutoff_rows;	/* whose history says what is old: its own, or those of what it is merged into */
	uint64_t cutoff_ns;
	struct merge_source merged;	/* with --merge */
	struct target_memory memory_start, memory_now;
	uint64_t memory_ns;		/* when memory_now was read */
	bool heap_is_old;		/* but for its heap_bytes, which are those of the last snapshot */
	uint64_t unseen_cnt;		/* sites without a breakpoint */
	struct leak_options options;
	struct session_config config;
	struct session session;
	bool opened;			/* there is a session */
	bool finished;			/* its last snapshot was taken */
	int err;			/* of the result: out of memory, or it cannot be written */
	uint64_t kernel_bytes;		/* when it was released */
};

/*
 * Plans, opens and attaches. t is taken over. EXIT_DONE, and then it is in the loop, unless its session has ended already; an exit
 * code, printed; LEAK_PLAN_EXECED. With --dry-run the plan is printed and nothing else is done.
 */
int leak_member_open(struct leak_member *m, struct leak_shared *shared, struct target *t);
/* Takes the probes off. */
void leak_member_stop(struct leak_member *m, enum session_end end);
/* The last snapshot of one that was stopped. Its exit code; what must be said is printed. */
int leak_member_finish(struct leak_member *m);
/* Gives back what the kernel keeps for it; profile and rows stay. */
void leak_member_release(struct leak_member *m);
void leak_member_close(struct leak_member *m);

/* What a report needs of it, whatever state it is in. who: lives as long as the view. */
void leak_member_view(const struct leak_member *m, const char *who, struct leak_view *ret);
/* "redis-server[12] /usr/bin/redis-server", raw. */
void leak_member_name(const struct leak_member *m, struct text *ret);

#endif
