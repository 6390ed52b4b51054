/* SPDX-License-Identifier: GPL-2.0-only */
/* Sources: cgroups(7), proc_pid_mountinfo(5), systemd.unit(5) and the "Container Interface" of systemd for the names of cgroups. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/cgroup.h"
#include "target/group.h"
#include "target/proc.h"

#define ID_MIN	32	/* digits that make a name an id */
#define ASKED_MIN	4	/* and a word the beginning of one */

void group_free(struct group *g)
{
	free(g->name);
	free(g->hierarchy);
	free(g->dir);
	*g = (struct group){ .name = NULL };
}

void group_ids_free(char **ids)
{
	for (size_t i = 0; ids && ids[i]; i++)
		free(ids[i]);
	free(ids);
}

int group_ids_add(char ***ids, const char *id, size_t len)
{
	size_t cnt = 0;
	char **more;

	for (; *ids && (*ids)[cnt]; cnt++)
		if (strlen((*ids)[cnt]) == len && !strncmp((*ids)[cnt], id, len))
			return 0;
	more = realloc(*ids, (cnt + 2) * sizeof(char *));
	if (!more)
		return -ENOMEM;
	*ids = more;
	more[cnt] = strndup(id, len);
	more[cnt + 1] = NULL;
	return more[cnt] ? 0 : -ENOMEM;
}

static bool ends_with(const char *str, size_t len, const char *end)
{
	return len >= strlen(end) && !strncmp(str + len - strlen(end), end, strlen(end));
}

const char *group_container_id(const char *component, size_t len, size_t *ret_len)
{
	const char *id = component;
	size_t digits = 0;

	/* the monitors that stand beside a container, in a cgroup of its id */
	if (memmem(component, len, "-conmon-", 8))
		return NULL;
	if (ends_with(component, len, ".scope"))
		len -= 6;
	for (size_t i = 0; i < len; i++)
		if (component[i] == '-' || component[i] == ':')
			id = component + i + 1;
	len -= id - component;
	while (digits < len && isxdigit((unsigned char)id[digits]))
		digits++;
	*ret_len = len;
	return digits == len && len >= ID_MIN ? id : NULL;
}

/* Names that stand in the cgroup's own: /lxc.payload.web, /lxc/web, machine-web.scope, systemd-nspawn@web.service. */
static bool container_is_named(const char *component, size_t len, const char *name)
{
	static const struct {
		const char *before, *after;
	} shapes[] = {
		{ "", "" }, { "lxc.payload.", "" }, { "machine-", ".scope" }, { "systemd-nspawn@", ".service" }, { "libpod-", ".scope" },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		size_t before = strlen(shapes[i].before), after = strlen(shapes[i].after);

		if (len == before + strlen(name) + after && !strncmp(component, shapes[i].before, before) &&
		    !strncmp(component + before, name, strlen(name)) && ends_with(component, len, shapes[i].after))
			return true;
	}
	return false;
}

static bool component_matches(const struct group *g, const char *component, size_t len)
{
	const char *id;
	size_t id_len;

	if (g->kind == GROUP_UNIT)
		return len == strlen(g->name) && !strncmp(component, g->name, len);
	id = group_container_id(component, len, &id_len);
	if (id && id_len == strlen(g->name) && !strncmp(id, g->name, id_len))
		return true;
	return container_is_named(component, len, g->name);
}

/* The next component of a path, behind *at; NULL at its end, which is a newline or NUL. */
static const char *component_next(const char **at, size_t *ret_len)
{
	const char *start = *at + strspn(*at, "/");

	*ret_len = strcspn(start, "/\n");
	*at = start + *ret_len;
	return *ret_len ? start : NULL;
}

static bool path_matches(const struct group *g, const char *path)
{
	size_t len = strlen(g->name);
	const char *component;

	if (g->kind == GROUP_CGROUP) {
		if (len == 1)	/* the root */
			return true;
		return !strncmp(path, g->name, len) && (!path[len] || path[len] == '/' || path[len] == '\n');
	}
	while ((component = component_next(&path, &len)))
		if (component_matches(g, component, len))
			return true;
	return false;
}

/* Whether a line of /proc/PID/cgroup, "4:cpu,memory:/path", is of that hierarchy. controllers: "cpu,memory". */
static bool is_hierarchy(const char *controllers, size_t len, const char *hierarchy)
{
	size_t want = strlen(hierarchy);

	if (!want || !len)
		return !want && !len;
	for (size_t i = 0; i + want <= len; i++)
		if (!strncmp(controllers + i, hierarchy, want) && (!i || controllers[i - 1] == ',') &&
		    (i + want == len || controllers[i + want] == ','))
			return true;
	return false;
}

bool group_has(const struct group *g, const char *cgroup_text)
{
	for (const char *line = cgroup_text; *line;) {
		const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (path && (!g->hierarchy || is_hierarchy(controllers + 1, path - controllers - 1, g->hierarchy)) &&
		    path_matches(g, path + 1))
			return true;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return false;
}

int group_unit(const char *name, struct group *ret)
{
	static const char *const kinds[] = { ".service", ".scope", ".slice", ".socket", ".mount", ".swap" };
	bool whole = false;
	char *full = NULL;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		whole |= ends_with(name, strlen(name), kinds[i]);
	if (asprintf(&full, "%s%s", name, whole ? "" : ".service") < 0)
		return -ENOMEM;
	*ret = (struct group){ .kind = GROUP_UNIT, .name = full };
	return 0;
}

/* The text of /proc/PID/cgroup for every process. fn's error ends it. */
static int each_cgroup_text(int (*fn)(const char *text, void *ctx), void *ctx)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		struct text text = { 0 };
		uint64_t pid;
		int fd = text_parse_u64(entry->d_name, &pid) ? -1 : proc_open(pid);

		if (fd < 0)
			continue;
		if (!proc_read(fd, "cgroup", &text))
			err = fn(text_str(&text), ctx);
		text_free(&text);
		close(fd);
	}
	closedir(dir);
	return err;
}

struct id_search {
	const char *asked;
	char **ids;
};

static int ids_collect(const char *text, void *ctx)
{
	struct id_search *search = ctx;
	size_t len, id_len, asked_len = strlen(search->asked);
	const char *component;
	int err = 0;

	for (const char *at = text; !err && *at; at += *at != '\0') {
		at += strcspn(at, "/");
		while (!err && (component = component_next(&at, &len))) {
			const char *id = group_container_id(component, len, &id_len);

			if (id && id_len >= asked_len && !strncmp(id, search->asked, asked_len))
				err = group_ids_add(&search->ids, id, id_len);
		}
	}
	return err;
}

/* Ids of running containers that begin so. */
static int ids_find(const char *asked, char ***ids)
{
	struct id_search search = { .asked = asked, .ids = *ids };
	int err;

	if (strlen(asked) < ASKED_MIN || strspn(asked, "0123456789abcdefABCDEF") != strlen(asked))
		return 0;
	err = each_cgroup_text(ids_collect, &search);
	*ids = search.ids;
	return err;
}

static int has_process(const char *text, void *ctx)
{
	return group_has(ctx, text) ? 1 : 0;
}

int group_container(const char *id, struct group *ret, char ***ret_ids)
{
	struct group g = { .kind = GROUP_CONTAINER };
	char **ids = NULL;
	int err = ids_find(id, &ids);

	if (!err && !ids)
		err = group_names_find("", id, &ids);
	if (!err && ids && ids[1]) {
		*ret_ids = ids;
		return -ENOTUNIQ;
	}
	if (!err) {
		g.name = strdup(ids ? ids[0] : id);
		err = g.name ? each_cgroup_text(has_process, &g) : -ENOMEM;
		err = err < 0 ? err : err ? 0 : -ENOENT;
	}
	group_ids_free(ids);
	if (err)
		group_free(&g);
	else
		*ret = g;
	return err;
}

bool group_is_there(const struct group *g)
{
	return !g->dir || !access(g->dir, F_OK);
}

/* rest: behind where it is mounted. */
static int cgroup_take(struct group *g, const char *rest, const struct cgroup_hierarchy *h)
{
	const char *root = strcmp(h->root, "/") ? h->root : "";
	size_t len = strlen(rest);

	while (len && rest[len - 1] == '/')
		len--;
	if (asprintf(&g->dir, "%s%.*s", h->path, (int)len, rest) < 0)
		g->dir = NULL;
	if (asprintf(&g->name, "%s%.*s%s", root, (int)len, rest, *root || len ? "" : "/") < 0)
		g->name = NULL;
	g->hierarchy = strdup(h->controller);
	return g->dir && g->name && g->hierarchy ? 0 : -ENOMEM;
}

/* Whether path is that of a folder below this mount; what is behind it then. */
static const char *below_mount(const char *path, const struct cgroup_hierarchy *h)
{
	size_t len = strlen(h->path);

	return !strncmp(path, h->path, len) && (!path[len] || path[len] == '/') ? path + len : NULL;
}

/* The same as /proc/PID/cgroup says it. */
static const char *below_root(const char *path, const struct cgroup_hierarchy *h)
{
	size_t len = strcmp(h->root, "/") ? strlen(h->root) : 0;

	return *path == '/' && !strncmp(path, h->root, len) && (!path[len] || path[len] == '/') ? path + len : NULL;
}

int group_cgroup(const char *path, struct group *ret)
{
	const char *(*const ways[])(const char *path, const struct cgroup_hierarchy *h) = { below_mount, below_root };
	struct cgroup_hierarchy *all = NULL;
	struct group g = { .kind = GROUP_CGROUP };
	size_t cnt = 0;
	int err = cgroup_hierarchies(&all, &cnt);
	bool found = false;

	for (size_t i = 0; !err && !found && i < 2 * cnt; i++) {
		const struct cgroup_hierarchy *h = &all[i % cnt];
		const char *rest = ways[i / cnt](path, h);

		if (!rest)
			continue;
		err = cgroup_take(&g, rest, h);
		found = !err && group_is_there(&g);
		if (!found)
			group_free(&g);
		g.kind = GROUP_CGROUP;
	}
	cgroup_hierarchies_free(all, cnt);
	if (!err && !found)
		err = -ENOENT;
	if (!err)
		*ret = g;
	return err;
}
