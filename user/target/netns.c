/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/hashmap.h"
#include "base/log.h"
#include "base/text.h"
#include "target/netns.h"
#include "target/peer.h"

#define MOUNT_FOLDER	"/run/netns"	/* of iproute2 */

#define PROCESSES	3	/* remembered of each namespace: the first may be gone when it is visited */

struct netns_place {
	uint32_t inode;
	char *path;		/* of a file that leads to it; NULL = only processes do */
	char *name;		/* NULL: after its process, when it is visited */
	pid_t pids[PROCESSES];	/* ends at 0 */
};

struct netns_list {
	struct netns_place *places;
	size_t cnt;
	struct hashmap *by_inode;
};

/* We are short of something; the namespace may well be there. */
static bool is_lack(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

struct netns_list *netns_list_free(struct netns_list *l)
{
	if (!l)
		return NULL;
	for (size_t i = 0; i < l->cnt; i++) {
		free(l->places[i].path);
		free(l->places[i].name);
	}
	free(l->places);
	hashmap_free(l->by_inode);
	free(l);
	return NULL;
}

static struct netns_list *list_new(void)
{
	struct netns_list *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->by_inode = hashmap_new();
	return l->by_inode ? l : netns_list_free(l);
}

size_t netns_list_cnt(const struct netns_list *l)
{
	return l->cnt;
}

uint32_t netns_list_inode(const struct netns_list *l, size_t i)
{
	return l->places[i].inode;
}

static void place_add_pid(struct netns_place *place, pid_t pid)
{
	for (size_t i = 0; i < PROCESSES && pid > 0 && place->pids[i] != pid; i++) {
		if (!place->pids[i]) {
			place->pids[i] = pid;
			return;
		}
	}
}

static int set_once(char **str, const char *value)
{
	if (!*str && value)
		*str = strdup(value);
	return *str || !value ? 0 : -ENOMEM;
}

/* Adds a namespace; one that is known gets a path, a name or a process that it had not. */
static int list_add(struct netns_list *l, uint32_t inode, const char *path, const char *name, pid_t pid)
{
	struct netns_place *places;
	uint64_t at;

	if (!hashmap_get(l->by_inode, &inode, sizeof(inode), &at)) {
		places = realloc(l->places, (l->cnt + 1) * sizeof(*places));
		if (!places)
			return -ENOMEM;
		l->places = places;
		at = l->cnt;
		if (hashmap_put(l->by_inode, &inode, sizeof(inode), at))
			return -ENOMEM;
		places[l->cnt++] = (struct netns_place){ .inode = inode };
	}
	place_add_pid(&l->places[at], pid);
	return set_once(&l->places[at].path, path) ?: set_once(&l->places[at].name, name);
}

#define PROC_PATH_MAX	32

static const char *proc_path(char path[PROC_PATH_MAX], pid_t pid)
{
	snprintf(path, PROC_PATH_MAX, "/proc/%d/ns/net", (int)pid);
	return path;
}

int netns_list_add_pid(struct netns_list *l, pid_t pid)
{
	char path[PROC_PATH_MAX];
	struct stat st;

	if (stat(proc_path(path, pid), &st))
		return errno == ENOMEM ? -ENOMEM : errno == EACCES || errno == EPERM ? -EACCES : 0;
	return list_add(l, st.st_ino, NULL, NULL, pid);
}

/* The first process's is the host's; where it may not be seen (a container), ours. */
static int add_host(struct netns_list *l)
{
	struct stat st;

	if (!stat("/proc/1/ns/net", &st))
		return list_add(l, st.st_ino, NULL, "host", 1);
	if (stat("/proc/self/ns/net", &st))
		return -errno;
	return list_add(l, st.st_ino, "/proc/self/ns/net", "host", 0);
}

static int add_processes(struct netns_list *l)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		uint64_t pid;

		if (text_parse_u64(entry->d_name, &pid) || pid > INT32_MAX)
			continue;
		err = netns_list_add_pid(l, pid);
		if (err == -EACCES)
			err = 0;	/* another user's: the others are shown */
	}
	closedir(dir);
	return err;
}

/*
 * Descriptor of a network namespace. -EINVAL: something else; that is not opened, since devices act on it and a pipe
 * would wait.
 */
static int ns_open(const char *path, uint32_t *ret_inode)
{
	struct statfs fs;
	struct stat st;
	int fd;

	if (statfs(path, &fs))
		return -errno;
	if (fs.f_type != NSFS_MAGIC)
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) || fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(fd, &st)) {
		close(fd);
		return -EINVAL;
	}
	*ret_inode = st.st_ino;
	return fd;
}

/* Files that hold a namespace without a process, and links to those of processes. */
static int add_mounted(struct netns_list *l)
{
	DIR *dir = opendir(MOUNT_FOLDER);
	struct dirent *entry;
	int err = 0;

	while (dir && !err && (entry = readdir(dir))) {
		struct text path = { 0 };
		uint32_t inode;
		int fd;

		text_printf(&path, "%s/%s", MOUNT_FOLDER, entry->d_name);
		fd = path.failed ? -ENOMEM : ns_open(path.str, &inode);
		if (fd >= 0) {
			close(fd);
			err = list_add(l, inode, path.str, entry->d_name, 0);
		} else if (is_lack(fd)) {
			err = fd;
		}
		text_free(&path);
	}
	if (dir)
		closedir(dir);
	return err;
}

/* "\040" as mountinfo writes a space. In place. */
static void unescape(char *str)
{
	char *to = str;

	for (; *str; str++) {
		if (str[0] == '\\' && str[1] >= '0' && str[1] <= '3' && str[2] >= '0' && str[2] <= '7' && str[3] >= '0' &&
		    str[3] <= '7') {
			*to++ = (str[1] - '0') << 6 | (str[2] - '0') << 3 | (str[3] - '0');
			str += 3;
		} else {
			*to++ = *str;
		}
	}
	*to = '\0';
}

/* "ID PARENT DEVICE ROOT MOUNT_POINT …" in pieces: where a network namespace is mounted; NULL: something else is. */
static char *mount_point(char *line, uint32_t *ret_inode)
{
	char *fields[5], *save;
	int end = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		fields[i] = strtok_r(i ? NULL : line, " \n", &save);
		if (!fields[i])
			return NULL;
	}
	if (sscanf(fields[3], "net:[%" SCNu32 "]%n", ret_inode, &end) != 1 || !end || fields[3][end])
		return NULL;
	unescape(fields[4]);
	return fields[4];
}

/* Bind mounts elsewhere (container runtimes). */
static int add_bind_mounts(struct netns_list *l)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int err = 0;

	while (f && !err && getline(&line, &size, f) >= 0) {
		uint32_t inode;
		const char *path = mount_point(line, &inode), *base = path ? strrchr(path, '/') : NULL;

		if (path)
			err = list_add(l, inode, path, base && base[1] ? base + 1 : path, 0);
	}
	free(line);
	if (f)
		fclose(f);
	return err;
}

int netns_list_all(struct netns_list **ret)
{
	struct netns_list *l = list_new();
	int err = l ? add_host(l) : -ENOMEM;

	if (!err)
		err = add_mounted(l);	/* before the processes: they have the better names */
	if (!err)
		err = add_bind_mounts(l);
	if (!err)
		err = add_processes(l);
	if (err) {
		netns_list_free(l);
		return err;
	}
	*ret = l;
	return 0;
}

/* A list of one: with the name and the processes that it has among all. */
static int list_one(const char *path, pid_t pid, struct netns_list **ret)
{
	const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : path;
	struct netns_list *l, *all = NULL;
	uint32_t inode;
	uint64_t at;
	int err, fd = ns_open(path, &inode);

	if (fd < 0)
		return fd == -EPERM ? -EACCES : fd;
	close(fd);
	l = list_new();
	err = l ? list_add(l, inode, pid ? NULL : path, NULL, pid) : -ENOMEM;
	if (!err)
		err = netns_list_all(&all);
	if (!err && hashmap_get(all->by_inode, &inode, sizeof(inode), &at)) {
		const struct netns_place *known = &all->places[at];

		err = list_add(l, inode, known->path, known->name, 0);
		for (size_t i = 0; i < PROCESSES; i++)
			place_add_pid(&l->places[0], known->pids[i]);
	}
	/* a file of /proc says nothing by its name */
	if (!err && !pid && !(slash && slash - path >= 3 && !strcmp(slash - 3, "/ns/net")))
		err = list_add(l, inode, NULL, name, 0);
	netns_list_free(all);
	if (err) {
		netns_list_free(l);
		return err;
	}
	*ret = l;
	return 0;
}

int netns_list_pid(pid_t pid, struct netns_list **ret)
{
	char path[PROC_PATH_MAX];
	int err = pid > 0 ? list_one(proc_path(path, pid), pid, ret) : -ESRCH;

	return err == -ENOENT ? -ESRCH : err;
}

int netns_list_path(const char *path, struct netns_list **ret)
{
	struct text mounted = { 0 };
	int err;

	if (strchr(path, '/'))
		return list_one(path, 0, ret);
	text_printf(&mounted, "%s/%s", MOUNT_FOLDER, path);
	err = mounted.failed ? -ENOMEM : list_one(mounted.str, 0, ret);
	text_free(&mounted);
	return err;
}

/* "host" and mounts have their names from the list; others are called after their process. */
static int place_name(const struct netns_place *place, pid_t pid, char **ret)
{
	struct text name = { 0 };
	struct peer peer;

	if (place->name) {
		text_add(&name, place->name);
	} else if (pid && !peer_read(pid, &peer)) {
		if (peer.container)
			text_add(&name, peer.container);
		else
			text_printf(&name, "of %s[%d]", peer.comm, (int)pid);
		peer_close(&peer);
	} else {
		text_printf(&name, "net:[%u]", place->inode);
	}
	if (name.failed) {
		text_free(&name);
		return -ENOMEM;
	}
	*ret = name.str;
	return 0;
}

/* By one of the ways that lead there still, if it has not become another's; and a process that is in it, 0 = none. */
static int place_open(const struct netns_place *place, pid_t *ret_pid)
{
	uint32_t inode;
	int fd = place->path ? ns_open(place->path, &inode) : -ENOENT;

	if (fd >= 0 && inode != place->inode) {
		close(fd);
		fd = -ENOENT;
	}
	*ret_pid = 0;
	for (size_t i = 0; i < PROCESSES && place->pids[i] && !*ret_pid; i++) {
		char path[PROC_PATH_MAX];
		int way = ns_open(proc_path(path, place->pids[i]), &inode);

		if (way >= 0 && inode == place->inode)
			*ret_pid = place->pids[i];
		if (fd < 0 && (way < 0 || *ret_pid))
			fd = way;
		else if (way >= 0)
			close(way);
	}
	return fd;
}

/* Enters, calls, and leaves nothing open. *ret_entered: we are in it, or were. */
static int visit(const struct netns_place *place, int (*fn)(const struct netns_info *info, void *ctx), void *ctx,
		 bool *ret_entered)
{
	struct netns_info *info = calloc(1, sizeof(*info));
	char *name = NULL;
	int err, fd;

	if (!info)
		return -ENOMEM;
	fd = place_open(place, &info->pid);
	err = fd < 0 ? fd : place_name(place, info->pid, &name);	/* before we are somewhere else */
	if (!err && setns(fd, CLONE_NEWNET))
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (!err) {
		*ret_entered = true;
		info->inode = place->inode;
		info->name = name;
		err = netns_info_read(info);
		if (!err)
			err = fn(info, ctx);
	}
	free(name);
	free(info);
	return err;
}

int netns_list_visit(const struct netns_list *l, int (*fn)(const struct netns_info *info, void *ctx), void *ctx,
		     unsigned int *ret_skipped)
{
	int err = 0, own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	unsigned int skipped = 0, forbidden = 0;

	if (own < 0)
		return -errno;
	/* root of a user namespace may be let into others and not back: so the way back is tried first */
	if (setns(own, CLONE_NEWNET)) {
		err = -errno;
		close(own);
		return err;
	}
	for (size_t i = 0; err >= 0 && i < l->cnt; i++) {
		bool entered = false;

		err = visit(&l->places[i], fn, ctx, &entered);
		if (entered && setns(own, CLONE_NEWNET)) {
			log_debug("the way back to our own network namespace: %s", strerror(errno));
			err = -EIO;
		} else if (!entered && !is_lack(err)) {
			skipped++;
			forbidden += err == -EPERM;
			err = 0;
		}
	}
	close(own);
	if (ret_skipped)
		*ret_skipped = skipped;
	if (err < 0)
		return err;
	/* that of another user's container may be, ours never: setns() itself is */
	return forbidden && skipped == l->cnt ? -EPERM : 0;
}
