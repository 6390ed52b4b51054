/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/leak_pairs.h"

#define RESULT_FD	(COOKIE_KEY_INT | COOKIE_OK_INT)
#define KEY(arg)	COOKIE_SHAPE(0, 0, arg)

/*
 * What the C library gives that must be given back. fcntl(F_DUPFD), SCM_RIGHTS and what libc opens and closes for itself
 * (fopen, opendir) are not seen, neither is what bypasses it. Where a library has several of one address (open64) they are
 * one.
 */
static const struct builtin {
	const char *name, *unit;
	bool are_threads;
	struct {
		const char *name;
		bool acquires;
		uint64_t shape;
	} functions[40];
} builtins[] = {
	/* a thread ends when it has run, whether anybody joins it or not */
	{ "threads", "threads", true, { { "pthread_create", true, KEY(1) | COOKIE_KEY_AT | COOKIE_OK_ZERO } } },
	{ "inotify", "watches", false, {
		{ "inotify_add_watch", true, COOKIE_KEY_BOTH | COOKIE_OK_INT },
		{ "inotify_rm_watch", false, KEY(2) | COOKIE_KEY_BOTH } } },
	{ "mutex", "mutexes", false, {
		{ "pthread_mutex_init", true, KEY(1) | COOKIE_OK_ZERO },
		{ "pthread_mutex_destroy", false, KEY(1) } } },
	{ "fds", "descriptors", false, {
		{ "open", true, RESULT_FD }, { "open64", true, RESULT_FD }, { "openat", true, RESULT_FD },
		{ "openat64", true, RESULT_FD }, { "creat", true, RESULT_FD }, { "creat64", true, RESULT_FD },
		{ "socket", true, RESULT_FD }, { "accept", true, RESULT_FD }, { "accept4", true, RESULT_FD },
		{ "dup", true, RESULT_FD }, { "dup2", true, RESULT_FD }, { "dup3", true, RESULT_FD },
		{ "epoll_create", true, RESULT_FD }, { "epoll_create1", true, RESULT_FD }, { "eventfd", true, RESULT_FD },
		{ "timerfd_create", true, RESULT_FD }, { "signalfd", true, RESULT_FD }, { "inotify_init", true, RESULT_FD },
		{ "inotify_init1", true, RESULT_FD }, { "fanotify_init", true, RESULT_FD }, { "memfd_create", true, RESULT_FD },
		{ "pidfd_open", true, RESULT_FD }, { "mkstemp", true, RESULT_FD }, { "mkstemp64", true, RESULT_FD },
		{ "mkostemp", true, RESULT_FD }, { "mkostemp64", true, RESULT_FD },
		{ "pipe", true, KEY(1) | COOKIE_KEY_AT | COOKIE_KEY_TWO | COOKIE_KEY_INT | COOKIE_OK_ZERO },
		{ "pipe2", true, KEY(1) | COOKIE_KEY_AT | COOKIE_KEY_TWO | COOKIE_KEY_INT | COOKIE_OK_ZERO },
		{ "socketpair", true, KEY(4) | COOKIE_KEY_AT | COOKIE_KEY_TWO | COOKIE_KEY_INT | COOKIE_OK_ZERO },
		{ "close", false, KEY(1) | COOKIE_KEY_INT } } },
	{ NULL, NULL, false, { { NULL, false, 0 } } },
};

static struct pair *pair_add(struct pairs *pairs, const char *unit)
{
	struct pair *more = realloc(pairs->list, (pairs->cnt + 1) * sizeof(*more));

	if (!more)
		return NULL;
	pairs->list = more;
	more[pairs->cnt] = (struct pair){ .unit = unit };
	return &more[pairs->cnt++];
}

static int function_add(struct pair *p, const char *name, size_t len, bool acquires, uint64_t shape)
{
	struct pair_function *more = realloc(p->functions, (p->functions_cnt + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	p->functions = more;
	more[p->functions_cnt] = (struct pair_function){ .name = strndup(name, len), .acquires = acquires, .shape = shape };
	return more[p->functions_cnt].name ? (p->functions_cnt++, 0) : -ENOMEM;
}

static bool releases(const struct pair *p)
{
	return p->functions_cnt && !p->functions[p->functions_cnt - 1].acquires;
}

static int builtin_add(struct pairs *pairs, const struct builtin *b)
{
	struct pair *p = pair_add(pairs, b->unit);
	int err = p ? 0 : -ENOMEM;

	if (err)
		return err;
	p->in_libc = true;
	p->are_threads = b->are_threads;
	for (size_t i = 0; !err && i < sizeof(b->functions) / sizeof(b->functions[0]) && b->functions[i].name; i++)
		err = function_add(p, b->functions[i].name, strlen(b->functions[i].name), b->functions[i].acquires,
				   b->functions[i].shape);
	return err;
}

/* --pairs NAME,NAME… */
static int builtins_add(struct pairs *pairs, const char *names)
{
	do {
		size_t len = strcspn(names, ",");
		const struct builtin *b = builtins;
		int err;

		while (b->name && (strlen(b->name) != len || strncmp(b->name, names, len)))
			b++;
		if (!b->name)
			return log_error(-EINVAL, "--pairs: there are threads, inotify, mutex and fds, separated by commas");
		err = builtin_add(pairs, b);
		if (err)
			return err;
		names += len + (names[len] == ',');
	} while (*names);
	return 0;
}

/* The number of an argument behind the last colon: "get:2", "pool::get"; 0 = there is none. */
static int argument_parse(const char *option, const char *value, size_t *ret_len, uint64_t *ret_arg)
{
	const char *colon = strrchr(value, ':');

	*ret_len = strlen(value);
	*ret_arg = 0;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
		*ret_len = colon - value;
		if (text_parse_u64(colon + 1, ret_arg) || *ret_arg < 1 || *ret_arg > PAIR_ARGS_MAX)
			return log_error(-EINVAL, "--%s: arguments are counted from 1 to %d, as in --%s FUNC:2", option, PAIR_ARGS_MAX,
					 option);
	} else if (colon && colon != value && colon[-1] != ':' && colon[1] != ':') {
		return log_error(-EINVAL, "--%s %s: behind the colon stands the number of an argument", option, value);
	}
	return *ret_len ? 0 : log_error(-EINVAL, "--%s: the name of a function is missing", option);
}

/* An acquire behind a release begins another pair. */
static int own_add(struct pairs *pairs, const char *option, const char *value, bool *is_own)
{
	struct pair *last = *is_own && pairs->cnt ? &pairs->list[pairs->cnt - 1] : NULL;
	bool acquires = !strcmp(option, "acquire");
	uint64_t arg;
	size_t len;
	int err = argument_parse(option, value, &len, &arg);

	if (err)
		return err;
	if (!acquires && !last)
		return log_error(-EINVAL, "--release stands behind the --acquire that it belongs to: "
				 "--acquire pool_get:2 --release pool_put");
	if (!last || (acquires && releases(last))) {
		last = pair_add(pairs, "objects");
		if (!last)
			return -ENOMEM;
	}
	*is_own = true;
	if (acquires && arg)
		last->has_sizes = true;
	return function_add(last, value, len, acquires, acquires ? COOKIE_SHAPE(0, arg, 0) : KEY(arg ? arg : 1));
}

static int check(const struct pairs *pairs, bool has_object)
{
	bool sizes = false, none = false, own = false;

	for (size_t i = 0; i < pairs->cnt; i++) {
		const struct pair *p = &pairs->list[i];

		if (!releases(p) && !p->are_threads)
			return log_error(-EINVAL, "--acquire %s has no --release behind it: everything would be held for ever",
					 p->functions[0].name);
		for (size_t j = 0; j < p->functions_cnt; j++)
			if (p->functions[j].acquires != p->functions[0].acquires && !strcmp(p->functions[j].name, p->functions[0].name))
				return log_error(-EINVAL, "%s cannot be both --acquire and --release", p->functions[0].name);
		if (p->has_sizes)
			sizes = true;
		else
			none = true;
		own |= !p->in_libc;
	}
	if (sizes && none)
		return log_error(-EINVAL, "pairs with a size and pairs without cannot be summed up: look at them one after the other");
	if (has_object && !own)
		return log_error(-EINVAL, "--object says in which file --acquire and --release are: it needs them");
	if (pairs->cnt > PAIR_DOMAINS_MAX)
		return log_error(-EINVAL, "more than %d pairs", PAIR_DOMAINS_MAX);
#ifndef __x86_64__
	if (leak_pairs_threads(pairs))
		return log_error(-EINVAL, "--pairs threads: on x86-64 only");
#endif
	return 0;
}

int leak_pairs_parse(const struct option_list *list, const char *object, struct pairs *ret)
{
	bool is_own = false;	/* the last pair is of --acquire */
	int err = 0;

	*ret = (struct pairs){ .object = object };
	for (size_t i = 0; i < list->cnt && !err; i++) {
		if (strcmp(list->items[i].name, "pairs")) {
			err = own_add(ret, list->items[i].name, list->items[i].value, &is_own);
		} else {
			err = builtins_add(ret, list->items[i].value);
			is_own = false;
		}
	}
	return err ? err : check(ret, object != NULL);
}

const char *leak_pairs_unit(const struct pairs *pairs)
{
	if (!pairs->cnt || pairs->list[0].has_sizes)
		return "bytes";
	for (size_t i = 1; i < pairs->cnt; i++)
		if (strcmp(pairs->list[i].unit, pairs->list[0].unit))
			return "objects";
	return pairs->list[0].unit;
}

uint32_t leak_pairs_threads(const struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->cnt; i++)
		if (pairs->list[i].are_threads)
			return i + 1;
	return 0;
}
