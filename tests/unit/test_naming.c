/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames of many processes: children of this test that wait, that have ended, that run something else by now. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi.h"
#include "base/worker.h"
#include "cmd/naming.h"
#include "cmd/parser.h"
#include "test.h"

static const struct value_type types[] = { { "connections", "connections" }, { NULL, NULL } };

__attribute__((noinline)) static int function_one(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

__attribute__((noinline)) static int function_two(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 2;
}

int main(void);

/* Waits to be killed; SIGUSR1 makes it another program. */
static void child_exec(int sig)
{
	(void)sig;
	execlp("sleep", "sleep", "1000", NULL);
	_exit(127);
}

static pid_t child_fork(void)
{
	pid_t pid;

	signal(SIGUSR1, child_exec);	/* inherited, so that no signal comes too early */
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void child_end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* One for all; it ends with this process. */
static struct worker *worker(void)
{
	static struct worker_service service;
	static struct worker *w;

	service = parser_service;
	service.data_bytes = 0;		/* sanitizers map terabytes */
	if (!w)
		CHECK_EQ(worker_start(&service, &w), 0);
	return w;
}

static int open_names(struct naming *n, struct target *t, struct profile *p, targets_check_fn *is_same, void *ctx)
{
	const struct naming_config config = {
		.worker = worker(), .target = t, .profile = p, .is_same = is_same, .ctx = ctx,
	};

	return naming_open(n, &config);
}

/* A stack of exact addresses but for the outermost, whose call is one byte behind the start of its function. */
static int stack_add(struct profile *p, uint32_t process, int (*inner)(int), uintptr_t outer)
{
	uint64_t addrs[] = { (uintptr_t)inner | STACK_FRAME_EXACT, outer + 2 };

	return profile_stack(p, process, addrs, outer ? 2 : 1, false);
}

static const char *name_of(const struct profile *p, int stack, uint32_t i)
{
	struct stack st = profile_stack_at(p, stack);
	const char *name = profile_frame_at(p, st.frames[i])->name;

	return name ? name : "(none)";
}

static void check_address(const struct profile *p, int stack, int (*function)(int))
{
	char want[32];

	snprintf(want, sizeof(want), "0x%" PRIx64, (uint64_t)(uintptr_t)function);
	CHECK_STR(name_of(p, stack, 0), want);
}

TEST(live_and_ended)
{
	pid_t a = child_fork(), b = child_fork(), ended = child_fork();
	struct profile *p = profile_new(types);
	struct naming n;
	int stack;

	child_end(ended);
	CHECK_EQ(open_names(&n, NULL, p, NULL, NULL), 0);
	CHECK_EQ(naming_update(&n, false), 0);
	profile_process_add(p, a, "a");
	profile_process_add(p, ended, "ended");
	profile_process_add(p, b, "b");
	profile_process_add(p, getpid(), "ebb itself");
	profile_process_add(p, 0, "not visible from here");
	for (uint32_t i = 0; i < 5; i++)
		CHECK_EQ(stack_add(p, i, function_one, (uintptr_t)main), i);
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_STR(name_of(p, 0, 0), "function_one");
	CHECK_STR(name_of(p, 0, 1), "main");
	CHECK_STR(name_of(p, 2, 0), "function_one");
	CHECK_EQ(profile_frame_at(p, 0)->kind, FRAME_APP);
	CHECK(strstr(profile_frame_at(p, 0)->module, "/test_naming") != NULL);
	check_address(p, 1, function_one);
	check_address(p, 3, function_one);
	check_address(p, 4, function_one);
	CHECK_EQ(naming_processes_missed(&n), 3);
	/* more of one that is missed does not make it two */
	stack = stack_add(p, 1, function_two, 0);
	CHECK_EQ(naming_update(&n, true), 0);
	check_address(p, stack, function_two);
	CHECK_EQ(naming_processes_missed(&n), 3);
	naming_close(&n);
	child_end(a);
	child_end(b);
	profile_free(p);
}

/* What was open when it ended has its names; and what calls exec is no other program in its old stacks. */
TEST(ends_while_open)
{
	pid_t ends = child_fork(), execs = child_fork();
	struct profile *p = profile_new(types);
	int of_ended, of_execed, of_new;
	struct naming n;
	struct target *t = NULL;

	CHECK_EQ(open_names(&n, NULL, p, NULL, NULL), 0);
	profile_process_add(p, ends, "ends");
	profile_process_add(p, execs, "execs");
	stack_add(p, 0, function_one, 0);
	stack_add(p, 1, function_one, 0);
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_EQ(targets_get(&n.targets, 1, &t), 0);
	child_end(ends);
	kill(execs, SIGUSR1);
	while (t && target_is_alive(t) && target_is_same_image(t))
		usleep(1000);
	if (!CHECK(t && target_is_alive(t)))
		goto out;
	profile_process_add(p, execs, "sleep");
	of_ended = stack_add(p, 0, function_two, 0);
	/* an address without a mapping, so that it would like to look again */
	of_execed = stack_add(p, 1, (int (*)(int))0x1000, (uintptr_t)function_two);
	of_new = stack_add(p, 2, function_two, 0);
	CHECK_EQ(naming_update(&n, true), 0);
	CHECK_STR(name_of(p, of_ended, 0), "function_two");
	CHECK_STR(name_of(p, of_execed, 1), "function_two");
	CHECK(strcmp(name_of(p, of_new, 0), "function_two") != 0);
	CHECK_EQ(naming_processes_missed(&n), 0);
out:
	naming_close(&n);
	child_end(execs);
	profile_free(p);
}

struct identity {
	pid_t pid;
	unsigned int calls_cnt;
};

static bool is_not_first(void *ctx, uint32_t process, const struct target *t)
{
	struct identity *id = ctx;

	id->calls_cnt++;
	CHECK_EQ(t->pid, id->pid);
	CHECK(t->start_ticks > 0);
	return process > 0;
}

TEST(pid_used_again)
{
	struct identity id = { .pid = child_fork() };
	struct profile *p = profile_new(types);
	struct naming n;

	CHECK_EQ(open_names(&n, NULL, p, is_not_first, &id), 0);
	profile_process_add(p, id.pid, "before");
	profile_process_add(p, id.pid, "now");
	stack_add(p, 0, function_one, 0);
	stack_add(p, 1, function_one, 0);
	CHECK_EQ(naming_update(&n, true), 0);
	check_address(p, 0, function_one);
	CHECK_STR(name_of(p, 1, 0), "function_one");
	CHECK_EQ(naming_processes_missed(&n), 1);
	CHECK_EQ(id.calls_cnt, 2);
	naming_close(&n);
	child_end(id.pid);
	profile_free(p);
}

/* More processes than a call opens, and far more than stay open. */
TEST(many)
{
	enum { CHILDREN = NAMING_OPENED_MAX + 16 };
	struct profile *p = profile_new(types);
	pid_t pids[CHILDREN];
	struct naming n;
	int named = 0;

	CHECK_EQ(open_names(&n, NULL, p, NULL, NULL), 0);
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = child_fork();
		CHECK_EQ(profile_process_add(p, pids[i], "child"), i);
	}
	/* their stacks mixed: each process is opened once all the same */
	for (int i = 0; i < CHILDREN; i++)
		stack_add(p, i, function_one, 0);
	for (int i = 0; i < CHILDREN; i++)
		stack_add(p, i, function_two, (uintptr_t)function_one);
	CHECK_EQ(naming_update(&n, false), 0);
	for (int i = 0; i < CHILDREN; i++)
		named += !strcmp(name_of(p, i, 0), "function_one") && !strcmp(name_of(p, CHILDREN + i, 0), "function_two");
	CHECK_EQ(named, NAMING_OPENED_MAX);
	CHECK_EQ(n.targets.opened_cnt, NAMING_OPENED_MAX);
	/* the newest first: they may be the shortest-lived */
	CHECK_STR(name_of(p, CHILDREN - 1, 0), "function_one");
	CHECK_EQ(profile_frame_at(p, profile_stack_at(p, 0).frames[0])->kind, FRAME_UNNAMED);
	CHECK_EQ(naming_update(&n, true), 0);
	for (uint32_t i = 0; i < profile_frames_cnt(p); i++)
		CHECK(profile_frame_at(p, i)->kind != FRAME_UNNAMED);
	CHECK_EQ(n.targets.opened_cnt, CHILDREN);
	CHECK_EQ(n.targets.open_cnt, TARGETS_OPEN_MAX);
	CHECK_EQ(naming_processes_missed(&n), 0);
	naming_close(&n);
	for (int i = 0; i < CHILDREN; i++)
		child_end(pids[i]);
	profile_free(p);
}

/* Thousands that have ended do not hold up a call either. */
TEST(many_ended)
{
	enum { PROCESSES = 16 * NAMING_OPENED_MAX + 100 };
	struct profile *p = profile_new(types);
	pid_t ended = child_fork();
	struct naming n;

	child_end(ended);
	CHECK_EQ(open_names(&n, NULL, p, NULL, NULL), 0);
	for (int i = 0; i < PROCESSES; i++) {
		profile_process_add(p, ended, "ended");
		stack_add(p, i, function_one, 0);
	}
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_EQ(naming_processes_missed(&n), 16 * NAMING_OPENED_MAX);
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_EQ(naming_processes_missed(&n), PROCESSES);
	check_address(p, 0, function_one);
	naming_close(&n);
	profile_free(p);
}

/* The kernel says which stacks are cut; names change nothing about it. */
TEST(cut)
{
	pid_t live = child_fork();
	struct profile *p = profile_new(types);
	uint64_t addrs[] = { (uintptr_t)function_one | STACK_FRAME_EXACT, (uintptr_t)main + 2 };
	int whole, cut;
	struct naming n;

	CHECK_EQ(open_names(&n, NULL, p, NULL, NULL), 0);
	profile_process_add(p, live, "live");
	whole = profile_stack(p, 0, addrs, 1, false);
	cut = profile_stack(p, 0, addrs, 2, true);
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_STR(name_of(p, cut, 1), "main");
	CHECK(!profile_stack_at(p, whole).cut);
	CHECK(profile_stack_at(p, cut).cut);
	naming_close(&n);
	child_end(live);
	profile_free(p);
}

/* What the user says about his own code. */
TEST(options)
{
	const struct naming_options own = { .app = "^function_(one|two)$", .not_app = "_two" }, bad = { .not_app = "(" };
	struct profile *p = profile_new(types);
	struct naming_config config = { .options = &own, .profile = p, .worker = worker() };
	pid_t live = child_fork();
	struct naming n;

	CHECK_EQ(naming_check(&own), 0);
	CHECK_EQ(naming_check(&bad), -EINVAL);
	CHECK_EQ(naming_open(&n, &config), 0);
	profile_process_add(p, live, "live");
	stack_add(p, 0, function_one, 0);
	stack_add(p, 0, function_two, 0);
	CHECK_EQ(naming_update(&n, true), 0);
	CHECK_EQ(profile_frame_at(p, 0)->kind, FRAME_APP);
	CHECK_EQ(profile_frame_at(p, 1)->kind, FRAME_DEPENDENCY);
	naming_close(&n);
	config.options = &bad;
	CHECK_EQ(naming_open(&n, &config), -EINVAL);
	child_end(live);
	profile_free(p);
}

/* As in a look at one process. */
TEST(one_target)
{
	pid_t pid = child_fork(), tgid;
	struct profile *p = profile_new(types);
	enum target_problem problem;
	struct target *t = NULL;
	struct naming n;
	int stack;

	if (!CHECK_EQ(target_open(pid, NULL, &t, &problem, &tgid), 0))
		goto out;
	CHECK_EQ(open_names(&n, t, p, NULL, NULL), 0);
	profile_process(p, pid, "child");
	stack = stack_add(p, 0, function_one, (uintptr_t)main);
	CHECK_EQ(naming_update(&n, false), 0);
	CHECK_STR(name_of(p, stack, 0), "function_one");
	CHECK_STR(name_of(p, stack, 1), "main");
	CHECK_EQ(n.targets.opened_cnt, 0);
	child_end(pid);
	pid = 0;
	stack = stack_add(p, 0, function_two, 0);
	CHECK_EQ(naming_update(&n, true), 0);
	CHECK_STR(name_of(p, stack, 0), "function_two");
	CHECK_EQ(naming_processes_missed(&n), 0);
	naming_close(&n);
out:
	child_end(pid);
	target_free(t);
	profile_free(p);
}

TEST_MAIN(TEST_CASE(live_and_ended), TEST_CASE(ends_while_open), TEST_CASE(pid_used_again), TEST_CASE(many),
	  TEST_CASE(many_ended), TEST_CASE(cut), TEST_CASE(options), TEST_CASE(one_target))
