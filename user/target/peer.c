/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "target/peer.h"
#include "target/proc.h"

/* Whether a line "NUMBER:CONTROLLER,…:PATH" names the controller. A path may hold anything but a newline. */
static bool line_has(const char *line, size_t line_len, const char *controller, const char **ret_path)
{
	const char *list = memchr(line, ':', line_len), *end, *at;
	size_t len = strlen(controller);

	end = list ? memchr(list + 1, ':', line + line_len - list - 1) : NULL;
	if (!end)
		return false;
	*ret_path = end + 1;
	for (at = list + 1;; at += strcspn(at, ",:") + 1) {
		if (strcspn(at, ",:") == len && !strncmp(at, controller, len))
			return true;
		if (at + strcspn(at, ",:") >= end)
			return false;
	}
}

char *peer_parse_cgroup(const char *text)
{
	/* version 2 has no controllers in its line; on hybrid systems it may be the root while version 1 tells */
	static const char *const wanted[] = { "", "memory", "name=systemd", "pids" };
	const char *root = NULL;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		for (const char *line = text; *line; line += *line == '\n') {
			const char *path, *start = line;
			size_t len;

			line += strcspn(line, "\n");
			if (!line_has(start, line - start, wanted[i], &path))
				continue;
			len = line - path;
			if (len > 1)
				return strndup(path, len);
			root = "/";
		}
	}
	return strdup(root ? root : "");
}

/*
 * The host name of a UTS namespace that is not ours: going there and back is the only way to ask for it that does
 * not believe a file of the container. With our name it is no container but a service that may not change it
 * (systemd's ProtectHostname=).
 */
static char *host_name(int proc_fd)
{
	struct stat ours, theirs;
	struct utsname our_uts, uts;
	char *name = NULL;
	int own, fd;

	if (fstatat(proc_fd, "ns/uts", &theirs, 0) || stat("/proc/thread-self/ns/uts", &ours) ||
	    ours.st_ino == theirs.st_ino || uname(&our_uts))
		return NULL;
	own = open("/proc/thread-self/ns/uts", O_RDONLY | O_CLOEXEC);
	fd = own < 0 ? -1 : openat(proc_fd, "ns/uts", O_RDONLY | O_CLOEXEC);
	/* root of a user namespace may be let in there and not back: so the way back is tried first */
	if (fd >= 0 && !setns(own, CLONE_NEWUTS) && !setns(fd, CLONE_NEWUTS)) {
		if (!uname(&uts) && *uts.nodename && strcmp(uts.nodename, our_uts.nodename))
			name = strdup(uts.nodename);
		if (setns(own, CLONE_NEWUTS))
			log_debug("the way back to our own UTS namespace: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	if (own >= 0)
		close(own);
	return name;
}

static int read_exe(int proc_fd, char **ret)
{
	static const char deleted[] = " (deleted)";
	int err = proc_readlink(proc_fd, "exe", ret);
	size_t len;

	if (err)
		return err;
	len = strlen(*ret);
	if (len > sizeof(deleted) - 1 && !strcmp(*ret + len - (sizeof(deleted) - 1), deleted))
		(*ret)[len - (sizeof(deleted) - 1)] = '\0';
	return 0;
}

static int read_stat(int proc_fd, struct peer *ret)
{
	struct proc_stat stat;
	struct text text = { 0 };
	int err = proc_read(proc_fd, "stat", &text);

	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	if (!err) {
		ret->start_ticks = stat.start_ticks;
		ret->comm = strndup(stat.comm, stat.comm_len);
		err = ret->comm ? 0 : -ENOMEM;
	}
	text_free(&text);
	return err;
}

int peer_read(pid_t pid, struct peer *ret)
{
	struct peer p = { 0 };
	struct text text = { 0 };
	int err, fd = proc_open(pid);

	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	err = read_stat(fd, &p);
	if (!err && read_exe(fd, &p.exe) == -ENOMEM)
		err = -ENOMEM;
	if (!err && !proc_read(fd, "cgroup", &text)) {
		p.cgroup = peer_parse_cgroup(text_str(&text));
		err = p.cgroup ? 0 : -ENOMEM;
	}
	if (!err)
		p.container = host_name(fd);
	text_free(&text);
	close(fd);
	if (err) {
		peer_close(&p);
		return err == -ENOENT ? -ESRCH : err;
	}
	*ret = p;
	return 0;
}

void peer_close(struct peer *p)
{
	free(p->comm);
	free(p->exe);
	free(p->cgroup);
	free(p->container);
	*p = (struct peer){ 0 };
}

uint64_t peer_start_ticks(pid_t pid)
{
	struct peer p = { 0 };
	int fd = pid > 0 ? proc_open(pid) : -1;

	if (fd >= 0 && !read_stat(fd, &p))
		free(p.comm);
	if (fd >= 0)
		close(fd);
	return p.start_ticks;
}

bool peer_is_alive(pid_t pid, uint64_t start_ticks)
{
	struct proc_stat stat;
	struct text text = { 0 };
	bool alive;
	int fd = proc_open(pid);

	if (fd < 0)
		return false;
	/* the first thread may have ended and others run: a zombie of several threads */
	alive = !proc_read(fd, "stat", &text) && !proc_stat_parse(text_str(&text), &stat) &&
		stat.start_ticks == start_ticks && ((stat.state != 'Z' && stat.state != 'X') || stat.threads_cnt > 1);
	text_free(&text);
	close(fd);
	return alive;
}

const char *peer_runtime(pid_t pid)
{
	static const struct {
		const char *file, *runtime;
	} known[] = { { "/libcoreclr.so\n", "dotnet" }, { "/libjvm.so\n", "java" } };
	const char *found = NULL;
	struct text text = { 0 };
	int fd = proc_open(pid);

	if (fd >= 0 && !proc_read(fd, "maps", &text))
		for (size_t i = 0; !found && i < sizeof(known) / sizeof(known[0]); i++)
			if (strstr(text_str(&text), known[i].file))
				found = known[i].runtime;
	if (fd >= 0)
		close(fd);
	text_free(&text);
	return found;
}

/* "Max open files   1024   4096   files"; the first number is the soft limit. */
static uint32_t parse_limit(const char *text)
{
	static const char name[] = "Max open files";
	const char *line = strstr(text, name);
	uint64_t n;

	if (!line)
		return UINT32_MAX;
	line += sizeof(name) - 1;
	line += strspn(line, " ");
	if (*line < '0' || *line > '9')
		return UINT32_MAX;	/* "unlimited" */
	n = strtoull(line, NULL, 10);
	return n < UINT32_MAX ? n : UINT32_MAX;
}

static int count_fds(int proc_fd, uint32_t *ret)
{
	int err, fd = openat(proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t cnt = 0;
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && st.st_size > 0) {	/* since Linux 6.2 */
		*ret = st.st_size;
		close(fd);
		return 0;
	}
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	errno = 0;
	while ((entry = readdir(dir)))
		cnt += entry->d_name[0] != '.';
	err = -errno;
	closedir(dir);
	if (!err)
		*ret = cnt;
	return err;
}

int peer_fds(pid_t pid, uint32_t *ret_cnt, uint32_t *ret_limit)
{
	struct text text = { 0 };
	int err, fd = proc_open(pid);
	uint32_t cnt = 0;

	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	err = proc_read(fd, "limits", &text);
	if (!err)
		err = count_fds(fd, &cnt);
	close(fd);
	if (!err) {
		*ret_cnt = cnt;
		*ret_limit = parse_limit(text_str(&text));
	}
	text_free(&text);
	return err == -ENOENT ? -ESRCH : err;
}
