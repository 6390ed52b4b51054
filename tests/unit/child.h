/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small programs for tests to look at: compiled when the test runs, into a directory that goes away with
 * it, and started as children that say when they are ready. For target, allocators and plans.
 */
#ifndef CHILD_H
#define CHILD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char child_dir_path[] = "/tmp/ebb-test-XXXXXX";
static bool child_dir_made;

static inline void child_dir_remove(void)
{
	struct dirent *entry;
	DIR *dir = opendir(child_dir_path);

	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(child_dir_path);
}

/* Path of a file in the directory of this test; the caller frees it. */
static inline char *child_path(const char *name)
{
	char *path = NULL;

	if (!child_dir_made) {
		if (!mkdtemp(child_dir_path) || chmod(child_dir_path, 0755))
			abort();
		child_dir_made = true;
		atexit(child_dir_remove);
	}
	if (asprintf(&path, "%s/%s", child_dir_path, name) < 0)
		abort();
	return path;
}

/* Runs argv to its end, silent unless it fails and that is not expected; true when it exits with 0. */
static inline bool child_run(char *const argv[])
{
	pid_t pid = fork();
	int status, null;

	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Compiles a program; flags are split at spaces and come last. NULL when that cannot be done here. */
static inline char *child_build(const char *name, const char *compiler, const char *source, const char *flags)
{
	char *path = child_path(name), *c = child_path("source.c"), *rest = strdup(flags);
	/* no builtins: free(malloc(1)) is to stay what it says */
	char *argv[32] = { (char *)compiler, "-O1", "-fno-builtin", "-o", path, c };
	FILE *file = fopen(c, "w");
	int argc = 6;
	bool ok;

	if (!file || fputs(source, file) < 0 || fclose(file))
		abort();
	for (char *flag = strtok(rest, " "); flag && argc < 31; flag = strtok(NULL, " "))
		argv[argc++] = flag;
	ok = child_run(argv);
	unlink(c);
	free(c);
	free(rest);
	if (!ok) {
		free(path);
		return NULL;
	}
	return path;
}

/*
 * Starts a program that writes a byte to its stdout once it is where the test wants it, and waits for
 * that. env: NULL or one variable. It dies with the test. -1 when it did not come up.
 */
static inline pid_t child_start(const char *path, char *variable)
{
	char *argv[] = { (char *)path, NULL }, *env[] = { variable, NULL };
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		abort();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], 1);
		execve(path, argv, env);
		_exit(127);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}

static inline void child_stop(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
