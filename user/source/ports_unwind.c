/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "source/ports_unwind.h"
#include "target/peer.h"

#define WORK_MAX	8	/* processes a call: some milliseconds each */
#define READY_NS	300000000ull	/* in which the worker has made the rows of most programs; node's take 250 ms */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void ports_unwind_close(struct ports_unwind *u)
{
	free(u->waiting);
	u->waiting = NULL;
	u->waiting_cnt = u->waiting_size = 0;
}

int ports_unwind_add(struct ports_unwind *u, uint32_t owner)
{
	if (u->waiting_cnt == u->waiting_size) {
		size_t size = u->waiting_size ? u->waiting_size * 2 : 64;
		struct ports_unwind_waiting *list = realloc(u->waiting, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		u->waiting = list;
		u->waiting_size = size;
	}
	u->waiting[u->waiting_cnt++] = (struct ports_unwind_waiting){ .owner = owner };
	return 0;
}

/* Its number among the processes that we see, 0 when it has none or has ended. */
static int owner_pid(const struct ports_unwind *u, uint32_t owner)
{
	const struct ports_owners_entry *e = &u->owners->list[owner];
	int pid = e->owner < 0 ? 0 : u->owners->model->owners[e->owner].pid;

	return pid && peer_is_alive(pid, e->start_ticks) ? pid : 0;
}

/* A process by its owner. -ESRCH: it has ended, or may not be read. -ENOMEM. */
static int owner_open(const struct ports_unwind *u, uint32_t owner, struct target **ret)
{
	int pid = owner_pid(u, owner), err;
	enum target_problem problem;
	struct target *t;
	pid_t tgid;

	if (!pid)
		return -ESRCH;
	err = target_open(pid, u->names_worker, &t, &problem, &tgid);
	if (err)
		return err == -ENOMEM ? err : -ESRCH;
	if (t->start_ticks != u->owners->list[owner].start_ticks) {
		target_free(t);
		return -ESRCH;
	}
	*ret = t;
	return 0;
}

/* Lets the worker begin with its files. */
static int owner_prepare(const struct ports_unwind *u, uint32_t owner)
{
	struct target *t;
	int err = owner_open(u, owner, &t);

	if (err)
		return err;
	unwind_tables_prepare(u->worker, t);
	target_free(t);
	return 0;
}

/* Tables of a process as its mappings are now. */
static int owner_set(struct ports_unwind *u, uint32_t owner)
{
	const struct ports_owners_entry *e = &u->owners->list[owner];
	const struct unwind_identity id = {
		.pid = e->key.tgid, .exec_id = e->key.exec_id, .start_ns = e->key.start_ns,
	};
	struct target *t;
	int err = owner_open(u, owner, &t);

	if (err)
		return err;
	err = unwind_tables_set(u->unwinder->tables, &id, t);
	if (err)
		log_debug("unwind rows of process %d: %s", (int)t->pid, strerror(-err));
	target_free(t);
	return err;
}

static void drop_ended(struct ports_unwind *u)
{
	for (uint32_t i = 0; i < u->placed_cnt; i++) {
		if (owner_pid(u, u->placed[i]))
			continue;
		unwind_tables_drop(u->unwinder->tables, u->owners->list[u->placed[i]].key.tgid);
		u->placed[i--] = u->placed[--u->placed_cnt];
	}
}

/* Who has mapped something new is not known, so all are asked, some at a time. */
static int renew(struct ports_unwind *u)
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
static bool step(struct ports_unwind *u, struct ports_unwind_waiting *w, uint64_t now, int *ret_err)
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

int ports_unwind_work(struct ports_unwind *u)
{
	uint64_t now = now_ns();
	int err = 0, done = 0;

	/* called while somebody waits for one of them */
	if ((u->worker && worker_is_busy(u->worker)) || (u->names_worker && worker_is_busy(u->names_worker)))
		return 0;
	if (u->waiting_cnt && u->placed_cnt == PORTS_UNWIND_MAX)
		drop_ended(u);
	if (u->placed_cnt == PORTS_UNWIND_MAX)
		u->waiting_cnt = 0;	/* there is no room, and those after them will be told the same */
	for (size_t i = u->waiting_cnt; i-- > 0 && done < WORK_MAX && err != -ENOMEM && u->placed_cnt < PORTS_UNWIND_MAX;) {
		bool was_prepared = u->waiting[i].prepared_ns;

		if (step(u, &u->waiting[i], now, &err))
			u->waiting[i] = u->waiting[--u->waiting_cnt];
		else if (was_prepared)
			continue;	/* it cost nothing */
		done++;
	}
	return err == -ENOMEM ? err : renew(u);
}
