/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that a process can do to its own existence, on command. One command a line of standard
 * input, each answered with `ok COMMAND`:
 *
 *	keep N		N blocks of 100 bytes from parent_keep, held
 *	churn MS	allocates and frees for so long
 *	fork N		a child makes N blocks in child_keep and N malloc+free pairs, and exits
 *	stay N		as fork, but the child stays until `reap`
 *	reap		ends the child of `stay`
 *	zombie		a child that ends at once and is never waited for; `zombie PID`
 *	vfork		vfork, exec of true
 *	spawn		posix_spawn of true
 *	exec		executes itself again; the new image prints `ready PID` as the first one did
 *	exit N, abort, kill, segv, return
 *
 *	forks [--after MS COMMAND]	does one command after so many milliseconds, for races
 *
 * Says `ready PID` and, in a line a function, where the allocator's functions are: `addr NAME 0xADDR`.
 */
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "line.h"

#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")

extern char **environ;
static pid_t child;

__attribute__((noinline)) void *parent_keep(void)
{
	void *p = malloc(100);

	STAY(p);
	return p;
}

__attribute__((noinline)) void *child_keep(void)
{
	void *p = malloc(1000);

	STAY(p);
	return p;
}

__attribute__((noinline)) void child_churn(void)
{
	void *p = malloc(2000);

	STAY(p);
	free(p);
}

__attribute__((noinline)) void parent_churn(void)
{
	void *p = malloc(3000);

	STAY(p);
	free(p);
}

static void churn_ms(long ms)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (int i = 0; i < 100; i++)
			parent_churn();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void reap(void)
{
	int status;

	if (child > 0 && (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))) {
		line_say("wrong: the child did not exit with 0");
		_exit(1);
	}
	child = 0;
}

static void do_fork(long n)
{
	child = fork();
	if (child == 0) {
		for (long i = 0; i < n; i++) {
			child_keep();
			child_churn();
		}
		_exit(0);
	}
	reap();
}

static int stay_fd[2] = { -1, -1 };

static void do_stay(long n)
{
	char c;

	if (pipe(stay_fd))
		_exit(1);
	child = fork();
	if (child == 0) {
		close(stay_fd[1]);
		for (long i = 0; i < n; i++) {
			child_keep();
			child_churn();
		}
		line_say("child %d", getpid());
		_exit(read(stay_fd[0], &c, 1) != 0);
	}
	close(stay_fd[0]);
}

static void do_zombie(void)
{
	siginfo_t info;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	/* Waits until it is one, and leaves it. */
	if (pid < 0 || waitid(P_PID, pid, &info, WEXITED | WNOWAIT))
		_exit(1);
	line_say("zombie %d", pid);
}

static void do_vfork(void)
{
	child = vfork();
	if (child == 0) {
		execlp("true", "true", (char *)NULL);
		_exit(127);
	}
	reap();
}

static void do_spawn(void)
{
	static char name[] = "true";
	char *args[] = { name, NULL };

	if (posix_spawnp(&child, name, NULL, NULL, args, environ))
		_exit(1);
	reap();
}

static void do_exec(char **argv)
{
	char *args[] = { argv[0], NULL };

	execv("/proc/self/exe", args);
	_exit(127);
}

/* False: the end is asked for by returning from main. */
static bool obey(const char *cmd, char **argv)
{
	const char *space = strchr(cmd, ' ');
	long n = space ? atol(space + 1) : 0;

	if (!strncmp(cmd, "keep ", 5)) {
		for (long i = 0; i < n; i++)
			parent_keep();
	} else if (!strncmp(cmd, "churn ", 6)) {
		churn_ms(n);
	} else if (!strncmp(cmd, "fork ", 5)) {
		do_fork(n);
	} else if (!strncmp(cmd, "stay ", 5)) {
		do_stay(n);
	} else if (!strcmp(cmd, "reap")) {
		close(stay_fd[1]);
		reap();
	} else if (!strcmp(cmd, "zombie")) {
		do_zombie();
	} else if (!strcmp(cmd, "vfork")) {
		do_vfork();
	} else if (!strcmp(cmd, "spawn")) {
		do_spawn();
	} else if (!strcmp(cmd, "exec")) {
		do_exec(argv);
	} else if (!strncmp(cmd, "exit", 4)) {
		exit((int)n);
	} else if (!strcmp(cmd, "abort")) {
		abort();
	} else if (!strcmp(cmd, "kill")) {
		raise(SIGKILL);
	} else if (!strcmp(cmd, "segv")) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	} else if (!strcmp(cmd, "return")) {
		return false;
	} else {
		line_say("wrong: unknown command %s", cmd);
		return true;
	}
	line_say("ok %s", cmd);
	return true;
}

int main(int argc, char **argv)
{
	char cmd[64];

	line_say("addr malloc 0x%lx", (unsigned long)(uintptr_t)malloc);
	line_say("addr calloc 0x%lx", (unsigned long)(uintptr_t)calloc);
	line_say("addr realloc 0x%lx", (unsigned long)(uintptr_t)realloc);
	line_say("addr free 0x%lx", (unsigned long)(uintptr_t)free);
	line_say("addr posix_memalign 0x%lx", (unsigned long)(uintptr_t)posix_memalign);
	line_say("addr aligned_alloc 0x%lx", (unsigned long)(uintptr_t)aligned_alloc);
	line_say("ready %d", getpid());
	if (argc > 3 && !strcmp(argv[1], "--after")) {
		churn_ms(atol(argv[2]));
		if (!obey(argv[3], argv))
			return 0;
	}
	while (line_read(cmd, sizeof(cmd)) && obey(cmd, argv))
		;
	return 0;
}
