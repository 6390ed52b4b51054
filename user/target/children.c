/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/proc.h"
#include "target/target.h"

/* Whether one of the processes in this text of "children" runs that file. */
static bool runs_it(const char *children, const struct stat *exe)
{
	char path[64], *end;
	struct stat st;

	for (const char *p = children;; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p || pid <= 0)
			return false;
		snprintf(path, sizeof(path), "/proc/%ld/exe", pid);
		if (!stat(path, &st) && st.st_dev == exe->st_dev && st.st_ino == exe->st_ino)
			return true;
	}
}

bool target_has_forked(const struct target *t)
{
	int fd = openat(t->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found = false;
	struct stat exe;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (fstatat(t->proc_fd, "exe", &exe, 0))
		goto out;
	while (!found && (entry = readdir(dir))) {
		struct text children = { 0 };
		char name[300];

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(name, sizeof(name), "task/%s/children", entry->d_name);
		if (!proc_read(t->proc_fd, name, &children))
			found = runs_it(text_str(&children), &exe);
		text_free(&children);
	}
out:
	closedir(dir);
	return found;
}
