/* SPDX-License-Identifier: GPL-2.0-only */
/* Processes by name. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/proc.h"
#include "target/target.h"

static bool comm_matches(int proc_fd, const char *name, bool *ret_zombie)
{
	struct text text = { 0 };
	struct proc_stat stat;
	bool matches = false;

	*ret_zombie = true;
	if (!proc_read(proc_fd, "stat", &text) && !proc_stat_parse(text_str(&text), &stat)) {
		*ret_zombie = stat.state == 'Z' || stat.state == 'X';
		matches = stat.comm_len == strlen(name) && !memcmp(stat.comm, name, stat.comm_len);
	}
	text_free(&text);
	return matches;
}

static bool exe_matches(int proc_fd, const char *name)
{
	const char *base;
	char *path;
	size_t len = strlen(name);
	bool matches;

	/* kernel threads have none, and other users' processes hide it */
	if (proc_readlink(proc_fd, "exe", &path))
		return false;
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	/* a program that was updated while it runs is still that program */
	matches = !strncmp(base, name, len) && (!base[len] || !strcmp(base + len, " (deleted)"));
	free(path);
	return matches;
}

static bool process_matches(pid_t pid, const char *name)
{
	bool matches, zombie;
	int proc_fd;

	proc_fd = proc_open(pid);
	if (proc_fd < 0)
		return false;
	/* zombies keep their name: a shell with dead children of that name is still one match */
	matches = comm_matches(proc_fd, name, &zombie);
	if (!zombie && !matches)
		matches = exe_matches(proc_fd, name);
	close(proc_fd);
	return matches && !zombie;
}

static int pids_add(pid_t **pids, size_t *cnt, pid_t pid)
{
	pid_t *more;

	/* doubled at each power of two */
	if (!(*cnt & (*cnt - 1))) {
		more = realloc(*pids, (*cnt ? *cnt * 2 : 1) * sizeof(**pids));
		if (!more)
			return -ENOMEM;
		*pids = more;
	}
	(*pids)[(*cnt)++] = pid;
	return 0;
}

int target_find_by_name(const char *name, pid_t **ret_pids, size_t *ret_cnt)
{
	struct dirent *entry;
	pid_t *pids = NULL;
	size_t cnt = 0;
	uint64_t pid;
	DIR *dir;
	int err = 0;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	/* the directory lists processes only: threads are reachable by number, but not listed */
	while (!err && (entry = readdir(dir)))
		if (!text_parse_u64(entry->d_name, &pid) && pid != (uint64_t)getpid() &&
		    process_matches(pid, name))
			err = pids_add(&pids, &cnt, pid);
	closedir(dir);
	if (err) {
		free(pids);
		return err;
	}
	*ret_pids = pids;
	*ret_cnt = cnt;
	return 0;
}
