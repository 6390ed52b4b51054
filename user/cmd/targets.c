/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/targets.h"

static void close_last(struct targets *s)
{
	struct targets_entry *e = &s->open[--s->open_cnt];

	s->files_cnt -= e->files_cnt;
	target_free(e->target);
}

void targets_close(struct targets *s)
{
	while (s->open_cnt)
		close_last(s);
	free(s->missed);
	*s = (struct targets){ 0 };
}

/* Puts an entry first; those before its old place at move back by one. */
static void put_first(struct targets *s, const struct targets_entry *e, size_t at)
{
	struct targets_entry first = *e;

	memmove(s->open + 1, s->open, at * sizeof(first));
	s->open[0] = first;
}

/* Makes room for the mark of a process, so that setting it cannot fail. */
static int missed_reserve(struct targets *s, uint32_t process)
{
	size_t size = s->missed_size ? s->missed_size : 256;
	bool *missed;

	if (process < s->missed_size)
		return 0;
	while (size <= process)
		size *= 2;
	missed = realloc(s->missed, size * sizeof(*missed));
	if (!missed)
		return -ENOMEM;
	memset(missed + s->missed_size, 0, (size - s->missed_size) * sizeof(*missed));
	s->missed = missed;
	s->missed_size = size;
	return 0;
}

static int open_target(struct targets *s, uint32_t process, struct target **ret)
{
	int pid = profile_process_at(s->profile, process)->pid;
	enum target_problem problem;
	struct target *t;
	pid_t tgid;
	int err;

	err = target_open(pid, s->worker, &t, &problem, &tgid);
	if (err == -ENOMEM || err == -EBUSY)
		return err;
	if (err) {
		log_debug("names of process %d: %s", pid, strerror(-err));
		return -ESRCH;
	}
	if (s->is_same && !s->is_same(s->ctx, process, t)) {
		log_debug("names of process %d: it is another one by now", pid);
		target_free(t);
		return -ESRCH;
	}
	*ret = t;
	return 0;
}

int targets_get(struct targets *s, uint32_t process, struct target **ret)
{
	struct targets_entry e = { .process = process };
	size_t i;
	int err;

	for (i = 0; i < s->open_cnt && s->open[i].process != process; i++)
		;
	if (i < s->open_cnt) {
		put_first(s, &s->open[i], i);
		*ret = s->open[0].target;
		return 0;
	}
	err = missed_reserve(s, process);
	if (err)
		return err;
	if (s->missed[process])
		return -ESRCH;
	err = open_target(s, process, &e.target);
	if (err == -ESRCH) {
		s->missed[process] = true;
		s->missed_cnt++;
	}
	if (err)
		return err;
	s->opened_cnt++;
	e.files_cnt = e.target->modules_cnt;
	while (s->open_cnt && (s->open_cnt == TARGETS_OPEN_MAX || s->files_cnt + e.files_cnt > TARGETS_FILES_MAX))
		close_last(s);
	put_first(s, &e, s->open_cnt++);
	s->files_cnt += e.files_cnt;
	*ret = e.target;
	return 0;
}
