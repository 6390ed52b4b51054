/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory cgroups, version 1 and 2, as this process sees them: where a process is, the limits above it, and what room they
 * leave. A limit holds for all that is below it.
 */
#ifndef TARGET_CGROUP_H
#define TARGET_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where memory's hierarchy is mounted. */
struct cgroup_mount {
	char *path;
	char *root;		/* the cgroup that is seen there: "/", in a container perhaps another one */
	bool is_v2;
};

/*
 * From the text of /proc/self/mountinfo: version 1's hierarchy with the controller memory, else version 2's. -ENOENT: neither is
 * mounted. -ENOMEM.
 */
int cgroup_mount_parse(const char *mountinfo, struct cgroup_mount *ret);
void cgroup_mount_free(struct cgroup_mount *m);
/* Any mounted hierarchy. */
struct cgroup_hierarchy {
	char *path;		/* where it is mounted */
	char *root;		/* as above */
	char *controller;	/* one that tells it from others: "memory", "name=systemd"; "" = version 2 */
};

/* Those in the text of a mountinfo, the longest path of several that begin alike first. The caller frees them. -ENOMEM. */
int cgroup_hierarchies_parse(const char *mountinfo, struct cgroup_hierarchy **ret, size_t *ret_cnt);
/* Of this process's mount namespace. */
int cgroup_hierarchies(struct cgroup_hierarchy **ret, size_t *ret_cnt);
void cgroup_hierarchies_free(struct cgroup_hierarchy *list, size_t cnt);
/* The cgroup in the text of /proc/PID/cgroup, from the root on: "/a/b". -ENOENT. The caller frees it. */
int cgroup_path_parse(const char *text, bool is_v2, char **ret);

struct cgroup_memory {
	char *path;		/* of the cgroup, "/a/b" */
	uint64_t room_bytes;	/* the least of limit - usage up the tree; UINT64_MAX: no limit */
	uint64_t limit_bytes;	/* of the cgroup that leaves the least; UINT64_MAX */
	char *limited;		/* its path; NULL */
};

/* What the files below m say of that cgroup. One that cannot be seen has no limit. -ENOMEM. */
int cgroup_memory_walk(const struct cgroup_mount *m, const char *path, struct cgroup_memory *ret);
/* Of a process; 0 = this one. Where there are no memory cgroups there is no limit, and path is NULL. -ENOMEM. */
int cgroup_memory_read(int pid, struct cgroup_memory *ret);
void cgroup_memory_free(struct cgroup_memory *c);

/* Whether what is charged to the first counts against limits of the second: it is the same one or below it. */
bool cgroup_is_below(const char *path, const char *of);

/* MemAvailable of /proc/meminfo, or 0 when it is not known. */
uint64_t cgroup_available_bytes(void);

#endif
