/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names through the worker: what several processes share, what is remembered, and what becomes of files that lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "resolve.h"
#include "symbol/symbol.h"
#include "test.h"

__attribute__((noinline)) static int function_of_the_test(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

struct child {
	pid_t pid;
	struct target *target;
};

static bool child_start(struct child *c)
{
	enum target_problem problem;
	pid_t tgid;

	*c = (struct child){ .pid = fork() };
	if (!c->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return CHECK(c->pid > 0) && CHECK_EQ(target_open(c->pid, NULL, &c->target, &problem, &tgid), 0);
}

static void child_end(struct child *c)
{
	c->target = target_free(c->target);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	c->pid = 0;
}

/* The same file in two processes: asked of the worker once, also when the first process is gone, and the worker too. */
TEST(shared)
{
	const struct symbolizer_options opt = { 0 };
	struct symbolizer *names = NULL;
	struct symbol sym = { 0 }, again = { 0 };
	uint64_t addr = (uintptr_t)function_of_the_test;
	struct child first, second = { 0 };
	struct worker *w = NULL;

	CHECK_EQ(worker_start(&resolve_service, &w), 0);
	CHECK_EQ(symbolizer_new(&opt, w, &names), 0);
	if (!child_start(&first) || !child_start(&second))
		goto out;
	CHECK_EQ(symbolizer_resolve(names, first.target, addr, false, &sym), 0);
	CHECK_STR(sym.name, "function_of_the_test");
	child_end(&first);
	CHECK_EQ(symbolizer_resolve(names, second.target, addr + 1, true, &again), 0);
	CHECK(again.name == sym.name && again.module == sym.module);
	CHECK_EQ(again.off, 1);
	CHECK_EQ(symbolizer_resolve(names, NULL, 0x1234, true, &again), 0);
	CHECK_STR(again.name, "0x1234");
	CHECK_STR(again.module, "");
	CHECK(!again.known);
out:
	child_end(&first);
	child_end(&second);
	symbolizer_free(names);
	worker_stop(w);
}

/* Without a worker there are places, never a wrong name. */
TEST(no_worker)
{
	const struct symbolizer_options opt = { 0 };
	struct symbolizer *names = NULL;
	struct symbol sym = { 0 };
	struct child c;

	CHECK_EQ(symbolizer_new(&opt, NULL, &names), 0);
	if (child_start(&c)) {
		CHECK_EQ(symbolizer_resolve(names, c.target, (uintptr_t)function_of_the_test, false, &sym), 0);
		CHECK(!sym.known);
		CHECK(strstr(sym.name, "test_names+0x") != NULL);
	}
	child_end(&c);
	symbolizer_free(names);
}

/* A service whose handler of names dies, hangs, eats memory or lies, as the first byte of the file says. */
static char mood;

static int bad_names(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	volatile char *nowhere = NULL;

	(void)state, (void)request, (void)len, (void)fd;
	switch (mood) {
	case 'c':
		*nowhere = 1;
		return 0;
	case 'h':
		for (;;)
			;
	case 'l':
		text_add(reply, "this is no answer to anything, but it is quite long: longer than any head could be, even one "
			 "with a build id and the name of a link in it, which has some three hundred bytes or a little more "
			 "than that, so that whoever believes it walks into strings that have no end at all, or numbers that "
			 "count more frames than there are bytes in the reply, which must not be followed by anybody.");
		return 0;
	default:
		return -EIO;
	}
}

static void check_bad(char what, int want)
{
	static const struct worker_op ops[PARSER_OPS] = { [PARSER_NAMES] = { .name = "symbols", .handle = bad_names } };
	static const struct worker_service service = { .ops = ops, .ops_cnt = PARSER_OPS, .time_ms = 300 };
	const struct symbolizer_options opt = { 0 };
	struct symbolizer_failure failure = { 0 };
	struct symbolizer *names = NULL;
	struct worker *w = NULL;
	struct symbol sym = { 0 };
	struct child c;
	size_t cnt = 0;

	mood = what;
	CHECK_EQ(worker_start(&service, &w), 0);
	CHECK_EQ(symbolizer_new(&opt, w, &names), 0);
	if (child_start(&c)) {
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(symbolizer_resolve(names, c.target, (uintptr_t)function_of_the_test + i, false, &sym), 0);
			CHECK(!sym.known);
		}
		/* it is said, and the file is not asked about again */
		CHECK(symbolizer_failures(names, &cnt, &failure));
		CHECK_EQ(cnt, 1);
		CHECK_EQ(failure.err, want);
		CHECK(failure.path && strstr(failure.path, "test_names"));
		CHECK_EQ(worker_deaths(w), what == 'c' || what == 'h' ? 1 : 0);
	}
	child_end(&c);
	symbolizer_free(names);
	worker_stop(w);
}

TEST(crash) { check_bad('c', -EPIPE); }
TEST(hang) { check_bad('h', -ETIME); }
TEST(lie) { check_bad('l', -EBADMSG); }
TEST(error) { check_bad('e', -EIO); }

TEST_MAIN(TEST_CASE(shared), TEST_CASE(no_worker), TEST_CASE(crash), TEST_CASE(hang), TEST_CASE(lie), TEST_CASE(error))
