/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/leak_choice.h"
#include "cmd/leak_plan.h"
#include "cmd/pick.h"

#define READY_TRIES	20	/* looks, ten a second: a dynamic linker needs milliseconds */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Words of the command line and -p, in that order. */
static int named_take(struct leak_choice *c, char **words, int words_cnt)
{
	c->named = calloc(words_cnt + c->args->pids.cnt + 1, sizeof(*c->named));
	if (!c->named)
		return -ENOMEM;
	for (int i = 0; i < words_cnt; i++)
		c->named[c->named_cnt++] = words[i];
	for (size_t i = 0; i < c->args->pids.cnt; i++)
		c->named[c->named_cnt++] = c->args->pids.items[i].value;
	return 0;
}

static int usage_check(const struct leak_choice *c)
{
	const struct leak_args *a = c->args;
	int groups = !!a->cgroup + !!a->container + !!a->unit;

	if (groups > 1)
		return log_error(-EINVAL, "--cgroup, --container and --unit: one of them");
	if (groups && (c->named_cnt || a->tree))
		return log_error(-EINVAL, "--cgroup, --container and --unit say all processes: no PID, name or --tree beside them");
	if (!groups && !c->named_cnt)
		return log_error(-EINVAL, "which process? try: sudo ebb leak PID, or: ebb leak --help");
	return 0;
}

/* Several containers are meant. */
static void list_ids(const char *asked, char **ids)
{
	char *safe = text_safe(asked);

	log_error(-ENOTUNIQ, "several containers are meant by '%s'; choose one by more of its id:", safe ? safe : "");
	free(safe);
	for (size_t i = 0; ids[i]; i++) {
		safe = text_safe(ids[i]);
		fprintf(stderr, "  %s\n", safe ? safe : "");
		free(safe);
	}
}

static int group_find(struct leak_choice *c)
{
	const struct leak_args *a = c->args;
	const char *kind = a->cgroup ? "cgroup" : a->container ? "container" : "unit";
	const char *name = a->cgroup ? a->cgroup : a->container ? a->container : a->unit;
	char **ids = NULL, *safe;
	int err;

	err = a->cgroup ? group_cgroup(name, &c->group) : a->container ? group_container(name, &c->group, &ids) :
	      group_unit(name, &c->group);
	if (err == -ENOTUNIQ) {
		list_ids(name, ids);
		group_ids_free(ids);
		return EXIT_USAGE;
	}
	safe = text_safe(err ? name : c->group.name);
	if (err == -ENOENT && a->container)
		log_error(err, "no process is in a container '%s': neither the beginning of an id nor a name that a runtime of this "
			  "machine has written down; the runtime's own list (docker ps, crictl ps) has the ids", safe ? safe : "");
	else if (err == -ENOENT)
		log_error(err, "there is no cgroup '%s'; `cat /proc/PID/cgroup` says where a process is", safe ? safe : "");
	else if (err || !safe || asprintf(&c->what, "%s %s", kind, safe) < 0)
		err = log_error(-ENOMEM, "out of memory");
	free(safe);
	c->has_group = !err;
	return err ? EXIT_FAILED : EXIT_DONE;
}

int leak_choice_open(struct leak_choice *c, const struct leak_args *args, char **words, int words_cnt)
{
	*c = (struct leak_choice){ .args = args };
	if (named_take(c, words, words_cnt)) {
		log_error(-ENOMEM, "out of memory");
		return EXIT_FAILED;
	}
	if (usage_check(c))
		return EXIT_USAGE;
	c->grows = args->tree || !c->named_cnt;
	c->several = c->grows || c->named_cnt > 1;
	return c->named_cnt ? EXIT_DONE : group_find(c);
}

void leak_choice_close(struct leak_choice *c)
{
	if (c->has_group)
		group_free(&c->group);
	free(c->named);
	free(c->known);
	free(c->what);
	*c = (struct leak_choice){ .args = NULL };
}

static struct leak_known *known_find(struct leak_choice *c, pid_t pid)
{
	for (size_t i = 0; i < c->known_cnt; i++)
		if (c->known[i].pid == pid)
			return &c->known[i];
	return NULL;
}

/* What is known of a process, nothing where it is another one by now. NULL: memory is short. */
static struct leak_known *known_get(struct leak_choice *c, pid_t pid, uint64_t start_ticks)
{
	struct leak_known *k = known_find(c, pid), *more;

	if (!k) {
		more = realloc(c->known, (c->known_cnt + 1) * sizeof(*more));
		if (!more)
			return NULL;
		c->known = more;
		k = &more[c->known_cnt++];
		*k = (struct leak_known){ .pid = pid, .start_ticks = start_ticks };
		c->born_cnt += c->started;
	}
	if (k->start_ticks != start_ticks)
		*k = (struct leak_known){ .pid = pid, .start_ticks = start_ticks };
	return k;
}

void leak_choice_forget(struct leak_choice *c, pid_t pid)
{
	struct leak_known *k = known_find(c, pid);

	if (k)
		*k = c->known[--c->known_cnt];
}

void leak_choice_again(struct leak_choice *c, pid_t pid)
{
	struct leak_known *k = known_find(c, pid);

	if (!k)
		return;
	k->taken = false;
	k->again = true;
	k->tries = 0;
	c->pending_cnt++;
}

bool leak_choice_is_there(const struct leak_choice *c)
{
	return !c->has_group || group_is_there(&c->group);
}

/* Whether its dynamic linker has come as far as an allocator. */
static bool is_ready(const struct leak_choice *c, const struct target *t)
{
	struct survey s;
	bool ready = !leak_survey(t, leak_args_pairs(c->args), &s) && s.allocators->cnt;

	survey_free(&s);
	return ready;
}

/* One that was found by itself. *ret stays NULL where there is nothing to watch, now or at all. */
static int found_open(struct leak_choice *c, struct leak_known *k, struct target **ret)
{
	enum target_problem problem = TARGET_OK;
	struct target *t = NULL;
	pid_t tgid = 0;
	int err = target_open(k->pid, c->worker, &t, &problem, &tgid);

	k->taken = true;
	if (err) {
		k->watched = false;
		if (problem != TARGET_NO_PROCESS && problem != TARGET_ZOMBIE)
			pick_problem("leak", k->pid, problem, tgid, err);
		return 0;
	}
	/* it was just born, or calls exec */
	if (c->started && k->tries < READY_TRIES && !is_ready(c, t)) {
		k->tries++;
		k->taken = false;
		c->pending_cnt++;
		target_free(t);
		return 0;
	}
	*ret = t;
	return 0;
}

static void say_again(const struct target *t)
{
	char *name = text_safe(t->exe ? t->exe : "?");

	log_info("process %d called exec and is now %s: the books start anew", (int)t->pid, name ? name : "");
	free(name);
}

static int hand_out(struct leak_choice *c, struct leak_known *k, int (*add)(struct target *t, void *ctx), void *ctx)
{
	struct target *t = NULL;
	int err = found_open(c, k, &t);

	if (err || !t)
		return err;
	k->watched = true;
	if (k->again)
		say_again(t);
	return add(t, ctx);
}

/* Those that are another program by now. */
static int scan_again(struct leak_choice *c, int (*add)(struct target *t, void *ctx), void *ctx)
{
	int code = EXIT_DONE;

	for (size_t i = 0; !code && i < c->known_cnt; i++)
		if (c->known[i].again && !c->known[i].taken)
			code = hand_out(c, &c->known[i], add, ctx);
	return code;
}

/* Forgets those that nobody watches and that are gone. */
static void known_prune(struct leak_choice *c, const struct family_member *found, size_t cnt)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->known_cnt; i++) {
		bool there = c->known[i].watched;

		for (size_t j = 0; !there && j < cnt; j++)
			there = found[j].pid == c->known[i].pid;
		if (there)
			c->known[kept++] = c->known[i];
	}
	c->known_cnt = kept;
}

/* All that a family has by now. */
static int scan_family(struct leak_choice *c, int (*add)(struct target *t, void *ctx), void *ctx)
{
	pid_t *roots = calloc(c->known_cnt + 1, sizeof(*roots));
	struct family family = { .group = c->has_group ? &c->group : NULL, .roots = roots };
	struct family_member *found = NULL;
	uint64_t begin_ns = clock_ns();
	size_t cnt = 0;
	int code = EXIT_DONE, err = roots ? 0 : -ENOMEM;

	for (size_t i = 0; !err && c->args->tree && i < c->known_cnt; i++)
		if (c->known[i].watched)
			roots[family.roots_cnt++] = c->known[i].pid;
	if (!err)
		err = family_find(&family, &found, &cnt);
	c->scan_ns = clock_ns() - begin_ns;
	for (size_t i = 0; !err && !code && i < cnt; i++) {
		struct leak_known *k = known_get(c, found[i].pid, found[i].start_ticks);

		if (!k)
			err = -ENOMEM;
		else if (!k->taken)
			code = hand_out(c, k, add, ctx);
	}
	if (!err)
		known_prune(c, found, cnt);
	free(roots);
	free(found);
	if (err) {
		log_error(err, "looking for processes: %s", strerror(-err));
		code = EXIT_FAILED;
	}
	return code;
}

/* Those of the command line. All are opened before the first is handed out. */
static int scan_named(struct leak_choice *c, int (*add)(struct target *t, void *ctx), void *ctx)
{
	struct target **targets = calloc(c->named_cnt + 1, sizeof(struct target *));
	int code = targets ? EXIT_DONE : EXIT_FAILED;
	size_t i;

	for (i = 0; !code && i < c->named_cnt; i++) {
		struct leak_known *k;

		code = pick_target("leak", c->named[i], c->worker, &targets[i]);
		if (code)
			break;
		k = known_get(c, targets[i]->pid, targets[i]->start_ticks);
		if (!k)
			code = EXIT_FAILED;
		else if (k->taken)	/* named twice */
			targets[i] = target_free(targets[i]);
		else
			k->taken = k->watched = true;
	}
	for (i = 0; i < c->named_cnt && targets; i++) {
		if (targets[i] && !code)
			code = add(targets[i], ctx);
		else
			target_free(targets[i]);
	}
	free(targets);
	return code;
}

int leak_choice_scan(struct leak_choice *c, int (*add)(struct target *t, void *ctx), void *ctx)
{
	int code = EXIT_DONE;

	c->pending_cnt = 0;
	if (!c->started)
		code = scan_named(c, add, ctx);
	else
		code = scan_again(c, add, ctx);
	if (!code && c->grows)
		code = scan_family(c, add, ctx);
	c->started = true;
	return code;
}

int leak_choice_reopen(const struct leak_choice *c, pid_t pid, struct target **ret)
{
	struct target *t = NULL;
	char arg[32];
	int code;

	snprintf(arg, sizeof(arg), "%d", (int)pid);
	for (int i = 0; i < 100; i++) {	/* the dynamic linker needs milliseconds; a second is plenty */
		code = pick_target("leak", arg, c->worker, &t);
		if (code)
			return code;
		if (is_ready(c, t))
			break;
		t = target_free(t);
		usleep(10000);
	}
	if (!t) {
		code = pick_target("leak", arg, c->worker, &t);
		if (code)
			return code;
	}
	say_again(t);
	*ret = t;
	return EXIT_DONE;
}
