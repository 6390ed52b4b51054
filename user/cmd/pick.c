/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/pick.h"

/* Whether it has threads beside the main one. */
static bool has_threads(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int cnt = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		cnt += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return cnt > 1;
}

int pick_problem(const char *command, pid_t pid, enum target_problem problem, pid_t tgid, int err)
{
	switch (problem) {
	case TARGET_NO_PROCESS:
		log_error(err, "no process %d; `ps -e` lists them", (int)pid);
		return EXIT_FAILED;
	case TARGET_ZOMBIE:
		if (has_threads(pid)) {
			log_error(err, "the main thread of process %d has ended and others go on: the kernel does not show the "
				  "memory of such a process under its PID; not supported", (int)pid);
			return EXIT_STOPPED;
		}
		log_error(err, "process %d has ended (a zombie): it has no memory any more; its parent has not "
			  "waited for it", (int)pid);
		return EXIT_STOPPED;
	case TARGET_KERNEL_THREAD:
		log_error(err, "%d is a kernel thread: it has no memory of its own", (int)pid);
		return EXIT_STOPPED;
	case TARGET_32BIT:
		log_error(err, "process %d is a 32-bit program: only 64-bit ones can be traced", (int)pid);
		return EXIT_STOPPED;
	case TARGET_SELF:
		log_error(err, "%d is ebb itself: what it does for a look would be part of what it sees", (int)pid);
		return EXIT_USAGE;
	case TARGET_THREAD:
		log_error(err, "%d is a thread of process %d; try: sudo ebb %s %d", (int)pid, (int)tgid, command,
			  (int)tgid);
		return EXIT_USAGE;
	case TARGET_NO_ACCESS:
		log_error(err, "process %d may not be read: another user's process needs CAP_SYS_PTRACE; "
			  "try: sudo ebb %s %d", (int)pid, command, (int)pid);
		return EXIT_STOPPED;
	default:
		log_error(err, "process %d: %s", (int)pid, strerror(-err));
		return EXIT_FAILED;
	}
}

static int open_pid(const char *command, pid_t pid, struct worker *w, struct target **ret)
{
	enum target_problem problem = TARGET_OK;
	pid_t tgid = 0;
	int err = target_open(pid, w, ret, &problem, &tgid);

	return err ? pick_problem(command, pid, problem, tgid, err) : EXIT_DONE;
}

/* The processes that a name matches, one line each, on stderr. */
static void list_matches(const pid_t *pids, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		char path[64], args[200];
		size_t len = 0;
		char *safe;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pids[i]);
		f = fopen(path, "re");
		if (f) {
			len = fread(args, 1, sizeof(args) - 1, f);
			fclose(f);
		}
		for (size_t j = 0; j < len; j++)
			if (!args[j])
				args[j] = ' ';
		args[len] = '\0';
		safe = text_safe(args);
		fprintf(stderr, "  %7d  %s\n", (int)pids[i], safe ? safe : "");
		free(safe);
	}
}

static int find_name(const char *command, const char *name, pid_t *ret)
{
	char *safe = text_safe(name);
	pid_t *pids = NULL;
	size_t cnt = 0;
	int code = EXIT_DONE, err = target_find_by_name(name, &pids, &cnt);

	if (err) {
		log_error(err, "looking for processes: %s", strerror(-err));
		code = EXIT_FAILED;
	} else if (!cnt) {
		log_error(-ENOENT, "no process has the name '%s'; `ps -e` lists them", safe ? safe : "");
		code = EXIT_USAGE;
	} else if (cnt > 1) {
		log_error(-EINVAL, "%zu processes have the name '%s'; choose one by its PID: sudo ebb %s %d", cnt,
			  safe ? safe : "", command, (int)pids[0]);
		list_matches(pids, cnt);
		code = EXIT_USAGE;
	} else {
		*ret = pids[0];
	}
	free(pids);
	free(safe);
	return code;
}

/* The number that arg is or names; whether there is such a process is not asked. */
static int find_pid(const char *command, const char *arg, pid_t *ret)
{
	uint64_t pid;
	int err = text_parse_u64(arg, &pid);

	if (err == -EINVAL)
		return find_name(command, arg, ret);
	if (err || pid > INT32_MAX || !pid) {
		log_error(-ERANGE, "%s is no process id", arg);
		return EXIT_USAGE;
	}
	*ret = pid;
	return EXIT_DONE;
}

int pick_target(const char *command, const char *arg, struct worker *w, struct target **ret)
{
	pid_t pid;
	int code = find_pid(command, arg, &pid);

	if (code)
		return code;
	if (pid == getpid())
		return pick_problem(command, pid, TARGET_SELF, 0, -EINVAL);
	return open_pid(command, pid, w, ret);
}

int pick_target_plain(const char *command, const char *arg, struct target **ret)
{
	enum target_problem problem = TARGET_OK;
	pid_t pid, tgid = 0;
	int code = find_pid(command, arg, &pid), err;

	if (code)
		return code;
	err = target_open_plain(pid, ret, &problem, &tgid);
	return err ? pick_problem(command, pid, problem, tgid, err) : EXIT_DONE;
}

int pick_pid(const char *command, const char *arg, pid_t *ret)
{
	char path[64];
	int code = find_pid(command, arg, ret);

	if (code)
		return code;
	snprintf(path, sizeof(path), "/proc/%d", (int)*ret);
	return access(path, F_OK) ? pick_problem(command, *ret, TARGET_NO_PROCESS, 0, -ESRCH) : EXIT_DONE;
}
