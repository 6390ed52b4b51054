/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "source/ports_unwind.h"
#include "target/peer.h"

#define WORK_MAX	8	/* processes a call: some milliseconds each */

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
		uint32_t *list = realloc(u->waiting, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		u->waiting = list;
		u->waiting_size = size;
	}
	u->waiting[u->waiting_cnt++] = owner;
	return 0;
}

/* Its number among the processes that we see, 0 when it has none or has ended. */
static int owner_pid(const struct ports_unwind *u, uint32_t owner)
{
	const struct ports_owners_entry *e = &u->owners->list[owner];
	int pid = e->owner < 0 ? 0 : u->owners->model->owners[e->owner].pid;

	return pid && peer_is_alive(pid, e->start_ticks) ? pid : 0;
}

/* Tables of a process as its mappings are now. -ESRCH: it has ended, or may not be read. */
static int owner_set(struct ports_unwind *u, uint32_t owner)
{
	const struct ports_owners_entry *e = &u->owners->list[owner];
	const struct unwind_identity id = {
		.pid = e->key.tgid, .exec_id = e->key.exec_id, .start_ns = e->key.start_ns,
	};
	int pid = owner_pid(u, owner), err;
	enum target_problem problem;
	struct target *t;
	pid_t tgid;

	if (!pid)
		return -ESRCH;
	err = target_open(pid, &t, &problem, &tgid);
	if (err)
		return err == -ENOMEM ? err : -ESRCH;
	err = t->start_ticks == e->start_ticks ? unwind_tables_set(u->unwinder->tables, &id, t) : -ESRCH;
	if (err)
		log_debug("unwind rows of process %d: %s", pid, strerror(-err));
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

	if (!unwinder_misses_code(u->unwinder))
		return 0;
	for (int i = 0; i < WORK_MAX && i < (int)u->placed_cnt && err != -ENOMEM; i++)
		err = owner_set(u, u->placed[u->renewed++ % u->placed_cnt]);
	if (u->renewed >= u->placed_cnt) {
		u->renewed = 0;
		u->unwinder->outside_seen = u->unwinder->state->outside_cnt;
	}
	return err == -ENOMEM ? err : 0;
}

int ports_unwind_work(struct ports_unwind *u)
{
	int err = 0;

	if (u->worker && worker_is_busy(u->worker))	/* called while somebody else's names are read */
		return 0;
	if (u->waiting_cnt && u->placed_cnt == PORTS_UNWIND_MAX)
		drop_ended(u);
	for (int i = 0; i < WORK_MAX && u->waiting_cnt && u->placed_cnt < PORTS_UNWIND_MAX && err != -ENOMEM; i++) {
		uint32_t owner = u->waiting[--u->waiting_cnt];

		err = owner_set(u, owner);
		if (!err)
			u->placed[u->placed_cnt++] = owner;
	}
	if (u->placed_cnt == PORTS_UNWIND_MAX)
		u->waiting_cnt = 0;	/* there is no room, and those after them will be told the same */
	return err == -ENOMEM ? err : renew(u);
}
