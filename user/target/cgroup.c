/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sources: Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current), cgroup-v1/memory.rst
 * (memory.limit_in_bytes, memory.usage_in_bytes), proc_pid_mountinfo(5), cgroups(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "target/cgroup.h"

/* A whole file, however long. -errno. */
static int read_file(const char *path, struct text *ret)
{
	char buf[4096];
	ssize_t len;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		text_add_len(ret, buf, len);
	if (len < 0)
		err = -errno;
	close(fd);
	return err ? err : ret->failed ? -ENOMEM : 0;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static char *unescape(const char *str, size_t len)
{
	char *out = malloc(len + 1), *at = out;

	for (size_t i = 0; out && i < len; i++) {
		if (str[i] == '\\' && i + 3 < len) {
			*at++ = (str[i + 1] - '0') << 6 | (str[i + 2] - '0') << 3 | (str[i + 3] - '0');
			i += 3;
		} else {
			*at++ = str[i];
		}
	}
	if (out)
		*at = '\0';
	return out;
}

/* Field number n of a line, from 0 on; the line ends at a newline or NUL. */
static const char *field(const char *line, int n, size_t *ret_len)
{
	while (n--) {
		line += strcspn(line, " \n");
		if (*line != ' ')
			return NULL;
		line++;
	}
	*ret_len = strcspn(line, " \n");
	return line;
}

/* Whether a list a,b,c has the word. */
static bool list_has(const char *list, size_t len, const char *word)
{
	size_t want = strlen(word);

	for (size_t at = 0; at < len;) {
		size_t n = strcspn(list + at, ",");

		n = n < len - at ? n : len - at;

		if (n == want && !strncmp(list + at, word, n))
			return true;
		at += n + 1;
	}
	return false;
}

/* "36 35 0:32 ROOT POINT options … - type source super,options". 1, 2 = the version, 0 = it is none of memory's. */
static int mount_version(const char *line)
{
	const char *separator = strstr(line, " - "), *end = strchr(line, '\n'), *type, *options;
	size_t type_len, options_len;

	if (!separator || (end && separator > end))
		return 0;
	type = separator + 3;
	type_len = strcspn(type, " \n");
	if (type_len == 7 && !strncmp(type, "cgroup2", 7))
		return 2;
	options = field(type, 2, &options_len);
	return type_len == 6 && !strncmp(type, "cgroup", 6) && options && list_has(options, options_len, "memory") ? 1 : 0;
}

int cgroup_mount_parse(const char *mountinfo, struct cgroup_mount *ret)
{
	const char *found = NULL;
	size_t root_len, path_len;
	const char *root, *path;
	int version = 0;

	for (const char *line = mountinfo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		int v = mount_version(line);

		if (v && v != version && version != 1) {
			found = line;
			version = v;
		}
	}
	root = found ? field(found, 3, &root_len) : NULL;
	path = found ? field(found, 4, &path_len) : NULL;
	if (!root || !path || path > strstr(found, " - "))
		return -ENOENT;
	*ret = (struct cgroup_mount){ .path = unescape(path, path_len), .root = unescape(root, root_len), .is_v2 = version == 2 };
	if (ret->path && ret->root)
		return 0;
	cgroup_mount_free(ret);
	return -ENOMEM;
}

void cgroup_mount_free(struct cgroup_mount *m)
{
	free(m->path);
	free(m->root);
	*m = (struct cgroup_mount){ .path = NULL };
}

void cgroup_hierarchies_free(struct cgroup_hierarchy *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		free(list[i].path);
		free(list[i].root);
		free(list[i].controller);
	}
	free(list);
}

/* Of the options of a mount of version 1 the first that is a controller or a name. */
static char *controller_of(const char *options, size_t len)
{
	static const char *const others[] = { "rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode" };

	for (size_t at = 0; at < len;) {
		size_t n = strcspn(options + at, ",");
		bool other = false;

		n = n < len - at ? n : len - at;
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			other |= strlen(others[i]) == n && !strncmp(options + at, others[i], n);
		if (!other && strncmp(options + at, "release_agent=", 14))
			return strndup(options + at, n);
		at += n + 1;
	}
	return strdup("");
}

/* 1: it is one; 0: it is none; -ENOMEM. */
static int hierarchy_parse(const char *line, struct cgroup_hierarchy *ret)
{
	const char *separator = strstr(line, " - "), *end = strchr(line, '\n'), *type, *root, *path, *options;
	size_t type_len, root_len = 0, path_len = 0, options_len = 0;
	bool is_v2;

	if (!separator || (end && separator > end))
		return 0;
	type = separator + 3;
	type_len = strcspn(type, " \n");
	is_v2 = type_len == 7 && !strncmp(type, "cgroup2", 7);
	root = field(line, 3, &root_len);
	path = field(line, 4, &path_len);
	options = field(type, 2, &options_len);
	if ((!is_v2 && (type_len != 6 || strncmp(type, "cgroup", 6))) || !root || !path || path > separator || !options)
		return 0;
	*ret = (struct cgroup_hierarchy){
		.path = unescape(path, path_len), .root = unescape(root, root_len),
		.controller = is_v2 ? strdup("") : controller_of(options, options_len),
	};
	return ret->path && ret->root && ret->controller ? 1 : -ENOMEM;
}

static int hierarchy_compare(const void *a, const void *b)
{
	return strcmp(((const struct cgroup_hierarchy *)b)->path, ((const struct cgroup_hierarchy *)a)->path);
}

int cgroup_hierarchies_parse(const char *mountinfo, struct cgroup_hierarchy **ret, size_t *ret_cnt)
{
	struct cgroup_hierarchy *list = NULL;
	size_t cnt = 0;
	int err = 0;

	for (const char *line = mountinfo; err >= 0 && *line; line += strcspn(line, "\n"), line += *line == '\n') {
		struct cgroup_hierarchy *more = realloc(list, (cnt + 1) * sizeof(*list));

		if (!more) {
			err = -ENOMEM;
			break;
		}
		list = more;
		list[cnt] = (struct cgroup_hierarchy){ .path = NULL };
		err = hierarchy_parse(line, &list[cnt]);
		cnt += err != 0;
	}
	if (err < 0) {
		cgroup_hierarchies_free(list, cnt);
		return err;
	}
	if (cnt)
		qsort(list, cnt, sizeof(*list), hierarchy_compare);
	*ret = list;
	*ret_cnt = cnt;
	return 0;
}

int cgroup_hierarchies(struct cgroup_hierarchy **ret, size_t *ret_cnt)
{
	struct text mountinfo = { 0 };
	int err = read_file("/proc/self/mountinfo", &mountinfo);

	if (!err)
		err = cgroup_hierarchies_parse(text_str(&mountinfo), ret, ret_cnt);
	text_free(&mountinfo);
	return err;
}

int cgroup_path_parse(const char *text, bool is_v2, char **ret)
{
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

		/* "NUMBER:CONTROLLER,…:PATH"; version 2 has no controllers */
		if (!path || (is_v2 ? path != list + 1 : !list_has(list + 1, path - list - 1, "memory")))
			continue;
		*ret = strndup(path + 1, strcspn(path + 1, "\n"));
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

/* A number in a file below a directory; false: there is none, or it is "max". */
static bool read_number(const char *dir, const char *name, uint64_t *ret)
{
	struct text path = { 0 }, value = { 0 };
	bool is;

	text_printf(&path, "%s/%s", dir, name);
	is = !path.failed && !read_file(text_str(&path), &value) && sscanf(text_str(&value), "%" SCNu64, ret) == 1;
	text_free(&path);
	text_free(&value);
	return is;
}

/* Version 1 writes "no limit" as the largest multiple of a page. */
#define NO_LIMIT	(1ull << 62)

static int limit_look(const struct cgroup_mount *m, const char *dir, const char *path, struct cgroup_memory *ret)
{
	uint64_t limit, used, room;

	if (!read_number(dir, m->is_v2 ? "memory.max" : "memory.limit_in_bytes", &limit) || limit >= NO_LIMIT ||
	    !read_number(dir, m->is_v2 ? "memory.current" : "memory.usage_in_bytes", &used))
		return 0;
	room = used < limit ? limit - used : 0;
	if (room >= ret->room_bytes)
		return 0;
	free(ret->limited);
	ret->room_bytes = room;
	ret->limit_bytes = limit;
	ret->limited = strdup(*path ? path : "/");
	return ret->limited ? 0 : -ENOMEM;
}

int cgroup_memory_walk(const struct cgroup_mount *m, const char *path, struct cgroup_memory *ret)
{
	size_t root_len = strcmp(m->root, "/") ? strlen(m->root) : 0;
	char *at = strdup(path);
	int err = at ? 0 : -ENOMEM;

	*ret = (struct cgroup_memory){ .path = strdup(path), .room_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX };
	/* a cgroup outside of what is mounted here ("/../x" with a namespace of cgroups) is not seen */
	if (err || !ret->path || strncmp(path, m->root, root_len) || !strncmp(path, "/..", 3))
		goto out;
	for (;;) {
		struct text dir = { 0 };
		char *slash;

		text_printf(&dir, "%s%s", m->path, at + root_len);
		err = dir.failed ? -ENOMEM : limit_look(m, text_str(&dir), at, ret);
		text_free(&dir);
		slash = strrchr(at, '/');
		if (err || !slash || strlen(at) <= root_len || !strcmp(at, "/"))
			break;
		*slash = '\0';
		if (strlen(at) < root_len)
			break;
	}
out:
	free(at);
	if (!ret->path)
		err = -ENOMEM;
	if (err)
		cgroup_memory_free(ret);
	return err;
}

int cgroup_memory_read(int pid, struct cgroup_memory *ret)
{
	struct text mounts = { 0 }, text = { 0 };
	struct cgroup_mount m = { .path = NULL };
	char name[64], *path = NULL;
	int err;

	*ret = (struct cgroup_memory){ .room_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX };
	if (pid)
		snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	else
		strcpy(name, "/proc/self/cgroup");
	err = read_file("/proc/self/mountinfo", &mounts);
	if (!err)
		err = read_file(name, &text);
	if (!err)
		err = cgroup_mount_parse(text_str(&mounts), &m);
	if (!err)
		err = cgroup_path_parse(text_str(&text), m.is_v2, &path);
	if (!err)
		err = cgroup_memory_walk(&m, path, ret);
	cgroup_mount_free(&m);
	text_free(&mounts);
	text_free(&text);
	free(path);
	return err == -ENOMEM ? err : 0;
}

void cgroup_memory_free(struct cgroup_memory *c)
{
	free(c->path);
	free(c->limited);
	*c = (struct cgroup_memory){ .path = NULL };
}

bool cgroup_is_below(const char *path, const char *of)
{
	size_t len = strcmp(of, "/") ? strlen(of) : 0;

	return !strncmp(path, of, len) && (!path[len] || path[len] == '/');
}

uint64_t cgroup_available_bytes(void)
{
	struct text text = { 0 };
	const char *line;
	uint64_t kib = 0;

	if (!read_file("/proc/meminfo", &text) && (line = strstr(text_str(&text), "MemAvailable:")))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) != 1)
			kib = 0;
	text_free(&text);
	return kib << 10;
}
