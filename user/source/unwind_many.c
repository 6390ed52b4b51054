/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "source/unwind_many.h"
#include "target/peer.h"

#define WORK_MAX	8	/* processes a call: some milliseconds each */
#define READY_NS	300000000ull	/* in which the worker has made the rows of most programs; node's take 250 ms */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void unwind_many_close(struct unwind_many *u)
{
	free(u->waiting);
	u->waiting = NULL;
	u->waiting_cnt = u->waiting_size = 0;
}

int unwind_many_add(struct unwind_many *u, uint32_t owner)
{
	if (u->waiting_cnt == u->waiting_size) {
		size_t size = u->waiting_size ? u->waiting_size * 2 : 64;
		struct unwind_many_waiting *list = realloc(u->waiting, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		u->waiting = list;
		u->waiting_size = size;
	}
	u->waiting[u->waiting_cnt++] = (struct unwind_many_waiting){ .owner = owner };
	return 0;
}

/* Who it is; false when it has none of our numbers or has ended. */
static bool owner_who(const struct unwind_many *u, uint32_t owner, struct unwind_many_who *ret)
{
	u->who(u->owners, owner, ret);
	return ret->pid && peer_is_alive(ret->pid, ret->start_ticks);
}

/* A process by its owner. -ESRCH: it has ended, or may not be read. -ENOMEM. */
static int owner_open(const struct unwind_many *u, uint32_t owner, struct unwind_many_who *who, struct target **ret)
{
	enum target_problem problem;
	struct target *t;
	pid_t tgid;
	int err;

	if (!owner_who(u, owner, who))
		return -ESRCH;
	err = target_open(who->pid, u->names_worker, &t, &problem, &tgid);
	if (err)
		return err == -ENOMEM ? err : -ESRCH;
	if (t->start_ticks != who->start_ticks) {
		target_free(t);
		return -ESRCH;
	}
	*ret = t;
	return 0;
}

/* Lets the worker begin with its files. */
static int owner_prepare(const struct unwind_many *u, uint32_t owner)
{
	struct unwind_many_who who;
	struct target *t;
	int err = owner_open(u, owner, &who, &t);

	if (err)
		return err;
	unwind_tables_prepare(u->worker, t);
	target_free(t);
	return 0;
}

/* Tables of a process as its mappings are now. */
static int owner_set(struct unwind_many *u, uint32_t owner)
{
	struct unwind_many_who who;
	struct target *t;
	int err = owner_open(u, owner, &who, &t);

	if (err)
		return err;
	err = unwind_tables_set(u->unwinder->tables, &who.id, t);
	if (err)
		log_debug("unwind rows of process %d: %s", (int)t->pid, strerror(-err));
	target_free(t);
	return err;
}

static void drop_ended(struct unwind_many *u)
{
	struct unwind_many_who who;

	for (uint32_t i = 0; i < u->placed_cnt; i++) {
		if (owner_who(u, u->placed[i], &who))
			continue;
		unwind_tables_drop(u->unwinder->tables, who.id.pid);
		u->placed[i--] = u->placed[--u->placed_cnt];
	}
}

/* Who has mapped something new is not known, so all are asked, some at a time. */
static int renew(struct unwind_many *u)
{
	int err = 0;

	if (!u->renewed && !unwinder_misses_code(u->unwinder))
		return 0;
	for (int i = 0; i < WORK_MAX && i < (int)u->placed_cnt && err != -ENOMEM; i++)
		err = owner_set(u, u->placed[u->renewed++ % u->placed_cnt]);
	if (u->renewed >= u->placed_cnt) {
		u->renewed = 0;
		u->unwinder->outside_seen = u->unwinder->outside_now;
	}
	return err == -ENOMEM ? err : 0;
}

/* One that waits: the next step. True when it waits no more. */
static bool step(struct unwind_many *u, struct unwind_many_waiting *w, uint64_t now, int *ret_err)
{
	*ret_err = 0;
	if (!w->prepared_ns) {
		*ret_err = owner_prepare(u, w->owner);
		w->prepared_ns = now;
		return *ret_err != 0;
	}
	if (now - w->prepared_ns < READY_NS)
		return false;
	*ret_err = owner_set(u, w->owner);
	if (!*ret_err)
		u->placed[u->placed_cnt++] = w->owner;
	return true;
}

int unwind_many_work(struct unwind_many *u)
{
	uint64_t now = now_ns();
	int err = 0, done = 0;

	/* called while somebody waits for one of them */
	if ((u->worker && worker_is_busy(u->worker)) || (u->names_worker && worker_is_busy(u->names_worker)))
		return 0;
	if (u->waiting_cnt && u->placed_cnt == UNWIND_MANY_MAX)
		drop_ended(u);
	if (u->placed_cnt == UNWIND_MANY_MAX)
		u->waiting_cnt = 0;	/* there is no room, and those after them will be told the same */
	for (size_t i = u->waiting_cnt; i-- > 0 && done < WORK_MAX && err != -ENOMEM && u->placed_cnt < UNWIND_MANY_MAX;) {
		bool was_prepared = u->waiting[i].prepared_ns;

		if (step(u, &u->waiting[i], now, &err))
			u->waiting[i] = u->waiting[--u->waiting_cnt];
		else if (was_prepared)
			continue;	/* it cost nothing */
		done++;
	}
	return err == -ENOMEM ? err : renew(u);
}

int unwind_many_finish(struct unwind_many *u)
{
	int err = 0;

	while (u->waiting_cnt && u->placed_cnt < UNWIND_MANY_MAX && err != -ENOMEM) {
		uint32_t owner = u->waiting[--u->waiting_cnt].owner;

		err = owner_set(u, owner);
		if (!err)
			u->placed[u->placed_cnt++] = owner;
	}
	u->unwinder->outside_seen = u->unwinder->outside_now;
	return err == -ENOMEM ? err : 0;
}
