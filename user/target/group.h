/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes that belong together, told by the text of their /proc/PID/cgroup: those of a cgroup and of what is below it,
 * of a systemd unit, of a container. Works with any hierarchy and version, mounted or not, as long as /proc is there.
 */
#ifndef TARGET_GROUP_H
#define TARGET_GROUP_H

#include <stdbool.h>
#include <stddef.h>

enum group_kind {
	GROUP_CGROUP,
	GROUP_UNIT,		/* "nginx.service": a cgroup of that name */
	GROUP_CONTAINER,	/* a cgroup whose name ends in an id, or is a name as lxc and machined give it */
};

struct group {
	enum group_kind kind;
	char *name;		/* CGROUP: its path from the root of its hierarchy on; CONTAINER: the whole id or the name */
	char *hierarchy;	/* CGROUP: a controller ("memory", "name=systemd"), "" = version 2, NULL = any */
	char *dir;		/* CGROUP: where it is mounted; NULL = it is not */
};

/*
 * path: as /proc/PID/cgroup says it ("/a/b"), or that of the folder where it is mounted ("/sys/fs/cgroup/a/b"). -ENOENT: there
 * is no such cgroup. -ENOMEM.
 */
int group_cgroup(const char *path, struct group *ret);
/* name: with or without .service. -ENOMEM. */
int group_unit(const char *name, struct group *ret);
/*
 * id: the beginning of an id as the runtimes make them (64 hexadecimal digits), or the name of a container: that of
 * Docker, Podman, containerd's and CRI-O's Kubernetes containers are looked up in what the runtimes write down, those of
 * LXC and systemd-nspawn are in the cgroup's name. -ENOENT: no process is in one; -ENOTUNIQ: several are meant, and
 * *ret_ids (the caller frees it, also its strings) ends with NULL. -ENOMEM.
 */
int group_container(const char *id, struct group *ret, char ***ret_ids);
void group_free(struct group *g);
void group_ids_free(char **ids);
/* Adds an id that is not there yet to a list that ends with NULL; *ids is NULL at first. -ENOMEM. */
int group_ids_add(char ***ids, const char *id, size_t len);

/* Whether a process with this text of /proc/PID/cgroup is one of them. */
bool group_has(const struct group *g, const char *cgroup_text);
/* False once the folder of a cgroup is gone. */
bool group_is_there(const struct group *g);

/* For tests: the id of a container in a name of a cgroup, its length in *ret_len; NULL = it has none. */
const char *group_container_id(const char *component, size_t len, size_t *ret_len);
/* For tests: ids whose container has that name, in the files of the runtimes below root (""). Adds to a list that ends with NULL. */
int group_names_find(const char *root, const char *name, char ***ids);

#endif
