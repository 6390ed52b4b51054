/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of containers, from what the runtimes write down:
 *
 *	Docker		var/lib/docker/containers/ID/config.v2.json		"Name":"/web"
 *	Podman		var/lib/containers/storage/overlay-containers/containers.json	[{"id":"ID","names":["web"],…},…]
 *	containerd	run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json
 *							"io.kubernetes.cri.container-name":"web"
 *	CRI-O		run/containers/storage/overlay-containers/ID/userdata/config.json
 *							"io.kubernetes.container.name":"web"
 *
 * No parser of JSON is needed for that: within a string every quote has a backslash before it, so that "KEY":"VALUE" with
 * bare quotes is a key and its value wherever it stands.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "target/group.h"

#define FILE_MAX_BYTES	(16u << 20)	/* of Podman, who has one for all containers */

static int file_read(const char *path, struct text *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char buf[8192];
	ssize_t len = 0;

	if (fd < 0)
		return -errno;
	while (ret->len < FILE_MAX_BYTES && (len = read(fd, buf, sizeof(buf))) > 0)
		text_add_len(ret, buf, len);
	close(fd);
	return len < 0 ? -EIO : ret->failed ? -ENOMEM : 0;
}

/* What stands behind the next "KEY" and its colon; NULL. */
static const char *member_find(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = text; (at = strstr(at, key)); at += len) {
		const char *behind = at + len + 1;

		if (at == text || at[-1] != '"' || at[len] != '"' || (at - text > 1 && at[-2] == '\\'))
			continue;
		behind += strspn(behind, " \t\n");
		if (*behind == ':')
			return behind + 1 + strspn(behind + 1, " \t\n");
	}
	return NULL;
}

static bool is_string(const char *value, const char *want)
{
	size_t len = strlen(want);

	return value[0] == '"' && !strncmp(value + 1, want, len) && value[1 + len] == '"';
}

/* Adds the id of a folder whose file says that name. */
static int folder_check(const char *folder, const char *id, const char *file, const char *key, const char *want, char ***ids)
{
	struct text text = { 0 };
	char *path = NULL;
	const char *value;
	int err = 0;

	if (asprintf(&path, "%s/%s/%s", folder, id, file) < 0)
		return -ENOMEM;
	if (!file_read(path, &text)) {
		value = member_find(text_str(&text), key);
		if (value && is_string(value, want))
			err = group_ids_add(ids, id, strlen(id));
	}
	text_free(&text);
	free(path);
	return err;
}

/* Of all folders in one; folder is freed. */
static int folders_check(char *folder, const char *file, const char *key, const char *want, char ***ids)
{
	DIR *dir = folder ? opendir(folder) : NULL;
	struct dirent *entry;
	int err = folder ? 0 : -ENOMEM;

	while (dir && !err && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			err = folder_check(folder, entry->d_name, file, key, want, ids);
	if (dir)
		closedir(dir);
	free(folder);
	return err;
}

static char *below(const char *root, const char *path, const char *more)
{
	char *full = NULL;

	return asprintf(&full, "%s/%s%s", root, path, more) < 0 ? NULL : full;
}

static int containerd_check(const char *root, const char *want, char ***ids)
{
	char *tasks = below(root, "run/containerd/io.containerd.runtime.v2.task", "");
	DIR *dir = tasks ? opendir(tasks) : NULL;
	struct dirent *entry;
	int err = tasks ? 0 : -ENOMEM;

	while (dir && !err && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			err = folders_check(below(tasks, entry->d_name, ""), "config.json", "io.kubernetes.cri.container-name", want, ids);
	if (dir)
		closedir(dir);
	free(tasks);
	return err;
}

/* Whether one of the strings of the list that begins here is that name. */
static bool list_has(const char *list, const char *want)
{
	const char *end = strchr(list, ']');

	for (const char *at = list; end && at < end; at++)
		if (*at == '"' && is_string(at, want))
			return true;
	return false;
}

static int podman_check(const char *root, const char *want, char ***ids)
{
	char *path = below(root, "var/lib/containers/storage/overlay-containers/containers.json", "");
	struct text text = { 0 };
	int err = path ? 0 : -ENOMEM;

	if (path && !file_read(path, &text)) {
		const char *id = member_find(text_str(&text), "id"), *next;

		for (; !err && id && *id == '"'; id = next) {
			const char *names = member_find(id, "names");

			next = member_find(id, "id");
			if (names && (!next || names < next) && *names == '[' && list_has(names, want))
				err = group_ids_add(ids, id + 1, strcspn(id + 1, "\""));
		}
	}
	text_free(&text);
	free(path);
	return err;
}

int group_names_find(const char *root, const char *name, char ***ids)
{
	char *slash = NULL;
	int err;

	/* no runtime allows a name that would need a backslash */
	if (!*name || strpbrk(name, "\"\\/"))
		return 0;
	if (asprintf(&slash, "/%s", name) < 0)
		return -ENOMEM;
	err = folders_check(below(root, "var/lib/docker/containers", ""), "config.v2.json", "Name", slash, ids);
	free(slash);
	if (!err)
		err = podman_check(root, name, ids);
	if (!err)
		err = containerd_check(root, name, ids);
	if (!err)
		err = folders_check(below(root, "run/containers/storage/overlay-containers", ""), "userdata/config.json",
				    "io.kubernetes.container.name", name, ids);
	return err;
}
