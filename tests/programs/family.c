/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process with children that it tells what to do, for looks at several processes. One command a line of standard input;
 * each is answered when it is done, `ok COMMAND`, after the lines that say what was done:
 *
 *	born		a child; `born PID`
 *	keep N		this process and each child hold N more blocks: 100 bytes from root_keep here, 200 from child_keep in the
 *			first child, 300 in the second …; `kept PID BYTES` of each, in all since it was born
 *	again PID	that child executes itself again, with nothing held, and is a child as before; `again PID`
 *	die PID		that child exits with code 7
 *	grandchild PID	that child has a child of its own, which keeps as the others do; `born PID`
 *
 * family [N]: with N children from the start. Says `ready PID`.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "line.h"

#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")
#define CHILDREN_MAX 256

static struct child {
	pid_t pid;
	int to, from;		/* pipes: a command, an answer */
} children[CHILDREN_MAX];
static int children_cnt;

struct order {
	char what;		/* k, a, d, g */
	int fds[2];		/* of a grandchild's pipes: inherited */
	long n;
};

__attribute__((noinline)) void *root_keep(void)
{
	void *p = malloc(100);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *child_keep(size_t bytes)
{
	void *p = malloc(bytes);

	STAY(p);
	return p;
}

static void fail(const char *what)
{
	line_say("wrong: %s", what);
	_exit(1);
}

static void child_run(int in, int out, long bytes);

static pid_t child_born(const int fds[2], long bytes)
{
	pid_t pid = fork();

	if (!pid)
		child_run(fds[0], fds[1], bytes);
	return pid;
}

/* What a child does all its life. */
static void child_run(int in, int out, long bytes)
{
	struct order order;
	long kept = 0, answer;
	char text[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(in, &order, sizeof(order)) == sizeof(order)) {
		answer = 0;
		if (order.what == 'd')
			_exit(7);
		if (order.what == 'a') {
			snprintf(text, sizeof(text), "%d,%d,%ld", in, out, bytes);
			execl("/proc/self/exe", "family", "--child", text, NULL);
			_exit(1);
		}
		if (order.what == 'g')
			answer = child_born(order.fds, bytes + 50);
		for (long i = 0; order.what == 'k' && i < order.n; i++)
			child_keep(bytes);
		if (order.what == 'k')
			answer = kept += order.n * bytes;
		if (write(out, &answer, sizeof(answer)) != sizeof(answer))
			_exit(1);
	}
	_exit(0);
}

static long tell(const struct child *c, char what, long n, const int fds[2])
{
	struct order order = { .what = what, .n = n };
	long answer = 0;

	if (fds)
		memcpy(order.fds, fds, sizeof(order.fds));
	if (write(c->to, &order, sizeof(order)) != sizeof(order))
		fail("a child does not listen");
	if (what != 'd' && read(c->from, &answer, sizeof(answer)) != sizeof(answer))
		fail("a child does not answer");
	return answer;
}

static struct child *child_of(long pid)
{
	for (int i = 0; i < children_cnt; i++)
		if (children[i].pid == pid)
			return &children[i];
	fail("no such child");
	return NULL;
}

/* The pipes of one more. */
static struct child *child_new(int theirs[2])
{
	struct child *c = &children[children_cnt++];
	int in[2], out[2];

	if (children_cnt >= CHILDREN_MAX || pipe(in) || pipe(out))
		fail("no pipe");
	theirs[0] = in[0];
	theirs[1] = out[1];
	c->to = in[1];
	c->from = out[0];
	return c;
}

static void born(void)
{
	int theirs[2];
	struct child *c = child_new(theirs);

	c->pid = child_born(theirs, 100 + 100l * children_cnt);
	line_say("born %d", c->pid);
}

/* A child of a child: it inherits the pipes, as all of them do, so they are made before their parent is. */
static void grandchild(long pid)
{
	struct child *parent, *c;
	static int spare[2] = { -1, -1 };
	static struct child *spared;

	if (!pid) {	/* before its parent is born */
		spared = child_new(spare);
		return;
	}
	parent = child_of(pid);
	c = spared;
	if (!c)
		fail("no pipes were made: grandchild 0 comes first");
	c->pid = tell(parent, 'g', 0, spare);
	line_say("born %d", c->pid);
}

static void keep(long n)
{
	static long kept;

	for (long i = 0; i < n; i++)
		root_keep();
	kept += n * 100;
	line_say("kept %d %ld", getpid(), kept);
	for (int i = 0; i < children_cnt; i++)
		if (children[i].pid)
			line_say("kept %d %ld", children[i].pid, tell(&children[i], 'k', n, NULL));
}

static void command(const char *what, long n)
{
	int status;

	if (!strcmp(what, "born")) {
		born();
	} else if (!strcmp(what, "keep")) {
		keep(n);
	} else if (!strcmp(what, "again")) {
		tell(child_of(n), 'a', 0, NULL);
		line_say("again %ld", n);
	} else if (!strcmp(what, "grandchild")) {
		grandchild(n);
	} else if (!strcmp(what, "die")) {
		tell(child_of(n), 'd', 0, NULL);
		if (waitpid(n, &status, 0) != n || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
			fail("the child did not exit with 7");
		child_of(n)->pid = 0;
	} else {
		fail("an unknown command");
	}
	line_say("ok %s", what);
}

int main(int argc, char **argv)
{
	char line[100], what[32];

	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "--child")) {
		int in, out;
		long bytes, hello = 0;

		if (sscanf(argv[2], "%d,%d,%ld", &in, &out, &bytes) != 3 || write(out, &hello, sizeof(hello)) != sizeof(hello))
			return 1;
		child_run(in, out, bytes);
	}
	for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--)
		born();
	line_say("ready %d", getpid());
	while (fgets(line, sizeof(line), stdin)) {
		long n = 0;

		if (sscanf(line, "%31s %ld", what, &n) < 1)
			continue;
		command(what, n);
	}
	return 0;
}
