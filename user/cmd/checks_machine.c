/* SPDX-License-Identifier: GPL-2.0-only */
/* Checks of the machine, of this process, and of what surrounds a target. Nothing here needs to be root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/privileges.h"
#include "base/text.h"
#include "cmd/budget.h"
#include "cmd/checks.h"
#include "target/cgroup.h"

static const struct {
	int cap;
	const char *name, *what;
} capabilities[] = {
	{ CAP_BPF, "CAP_BPF", "leak and ports load programs" },
	{ CAP_PERFMON, "CAP_PERFMON", "leak and ports attach them" },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "processes of other users" },
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "ports enters namespaces; leak uses perf events on uprobes, and deleted files" },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "files that only others may read" },
};

static void check_kernel(struct checks *c)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
		checks_add(c, "kernel", CHECK_UNKNOWN, NULL, "its release cannot be read");
		return;
	}
	if (major < 5 || (major == 5 && minor < 15))
		checks_add(c, "kernel", CHECK_PROBLEM, "use Linux 6.1 or later", "Linux %s on %s: too old", u.release, u.machine);
	else if (major < 6 || (major == 6 && minor < 1))
		checks_add(c, "kernel", CHECK_NOTE, "use Linux 6.1 or later", "Linux %s on %s: not tested, may work", u.release, u.machine);
	else
		checks_add(c, "kernel", CHECK_OK, NULL, "Linux %s on %s", u.release, u.machine);
}

static void check_capabilities(struct checks *c)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	struct text missing = { 0 };
	uint64_t have;

	if (syscall(SYS_capget, &head, data)) {
		checks_add(c, "privileges", CHECK_UNKNOWN, NULL, "%s", strerror(errno));
		return;
	}
	have = data[0].effective | (uint64_t)data[1].effective << 32;
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		if (!(have & PRIVILEGE(capabilities[i].cap)))
			text_printf(&missing, "%s%s (%s)", missing.len ? ", " : "", capabilities[i].name, capabilities[i].what);
	if (missing.len)
		checks_add(c, "privileges", CHECK_NOTE, "run ebb as root: sudo ebb …", "without %s", text_str(&missing));
	else
		checks_add(c, "privileges", CHECK_OK, NULL, "all that ebb uses");
	c->failed |= missing.failed;
	text_free(&missing);
}

/* The first line of a small file. */
static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool is = f && fgets(buf, size, f);

	if (f)
		fclose(f);
	if (is)
		buf[strcspn(buf, "\n")] = '\0';
	return is;
}

static void check_lockdown(struct checks *c)
{
	char line[128];

	if (!read_line("/sys/kernel/security/lockdown", line, sizeof(line)))
		checks_add(c, "lockdown", CHECK_UNKNOWN, NULL, "/sys/kernel/security/lockdown cannot be read (not mounted, or there is none)");
	else if (strstr(line, "[confidentiality]"))
		checks_add(c, "lockdown", CHECK_PROBLEM, "boot without lockdown=confidentiality", "the kernel is locked down "
			   "(confidentiality): BPF programs may not read memory");
	else
		checks_add(c, "lockdown", CHECK_OK, NULL, "%s", strstr(line, "[integrity]") ? "integrity: nothing that ebb needs" : "none");
}

/* Whose processes /proc shows: the machine's, or those of a container. */
static void check_proc(struct checks *c)
{
	char comm[64];
	struct stat st;

	if (stat("/proc/self/ns/pid", &st)) {
		checks_add(c, "/proc", CHECK_PROBLEM, "mount it: mount -t proc proc /proc", "/proc is not mounted");
		return;
	}
	/* PROC_PID_INIT_INO of include/linux/proc_ns.h: the first pid namespace */
	if (st.st_ino != 0xeffffffcu)
		checks_add(c, "/proc", CHECK_NOTE, "for processes outside: docker run --pid=host --privileged, hostPID: true",
			   "ebb runs in a pid namespace of its own: it sees the processes of this container only");
	else if (!read_line("/proc/1/comm", comm, sizeof(comm)))
		checks_add(c, "/proc", CHECK_NOTE, "run ebb as root", "/proc hides the processes of other users (hidepid)");
	else
		checks_add(c, "/proc", CHECK_OK, NULL, "shows the processes of the machine");
}

static void check_memory(struct checks *c)
{
	struct cgroup_memory own;
	char bytes[TEXT_BYTES_MAX], room[TEXT_BYTES_MAX];
	struct budget b;

	if (cgroup_memory_read(0, &own)) {
		c->failed = true;
		return;
	}
	b = budget_least(cgroup_available_bytes(), own.room_bytes);
	text_bytes(bytes, b.bytes, false);
	if (b.bytes < BUDGET_MIN_BYTES)
		checks_add(c, "memory", CHECK_PROBLEM, "give ebb more, or use --max-memory", "the books may take %s only (%s)", bytes, b.why);
	else if (own.limited)
		checks_add(c, "memory", CHECK_OK, NULL, "the books may take %s (%s; %s are left of the limit of ebb's memory cgroup)", bytes,
			   b.why, text_bytes(room, own.room_bytes, false));
	else
		checks_add(c, "memory", CHECK_OK, NULL, "the books may take %s (%s)", bytes, b.why);
	cgroup_memory_free(&own);
}

void checks_machine(struct checks *c)
{
	check_kernel(c);
	check_capabilities(c);
	check_lockdown(c);
	check_proc(c);
	check_memory(c);
}

static bool other_namespace(const struct target *t, const char *name)
{
	char own[32], its[32];
	struct stat a, b;

	snprintf(own, sizeof(own), "/proc/self/ns/%s", name);
	snprintf(its, sizeof(its), "ns/%s", name);
	return !stat(own, &a) && !fstatat(t->proc_fd, its, &b, 0) && a.st_ino != b.st_ino;
}

static void check_namespaces(struct checks *c, const struct target *t)
{
	static const char *const names[] = { "mnt", "pid", "net", "user" };
	struct text list = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (other_namespace(t, names[i]))
			text_printf(&list, "%s%s", list.len ? ", " : "", names[i]);
	checks_add(c, "namespaces", CHECK_OK, NULL, list.len ? "its own: %s; paths and numbers are resolved on its side" :
		   "those of ebb%s", text_str(&list));
	c->failed |= list.failed;
	text_free(&list);
}

static void check_limits(struct checks *c, const struct target *t)
{
	char limit[TEXT_BYTES_MAX], room[TEXT_BYTES_MAX];
	struct cgroup_memory own = { .path = NULL }, its = { .path = NULL };

	if (cgroup_memory_read(0, &own) || cgroup_memory_read(t->pid, &its)) {
		c->failed = true;
	} else if (!its.limited) {
		checks_add(c, "its memory", CHECK_OK, NULL, "no limit of a memory cgroup");
	} else {
		bool shared = own.path && its.path && cgroup_is_below(own.path, its.path);

		checks_add(c, "its memory", shared ? CHECK_PROBLEM : CHECK_OK,
			   shared ? "start ebb outside of it, or with --same-cgroup" : NULL,
			   "%s are left of the limit of its memory cgroup (%s)%s", text_bytes(room, its.room_bytes, false),
			   text_bytes(limit, its.limit_bytes, false), shared ? ", in which ebb runs as well" : "");
	}
	cgroup_memory_free(&own);
	cgroup_memory_free(&its);
}

/* Limits, and what a line of "limits" says of descriptors. */
static void check_files(struct checks *c, const struct target *t)
{
	int fd = openat(t->proc_fd, "limits", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[256], soft[32];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Max open files %31s", soft) == 1)
			checks_add(c, "its descriptors", CHECK_OK, NULL, "at most %s (RLIMIT_NOFILE)", soft);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
}

void checks_target(struct checks *c, const struct target *t)
{
	check_namespaces(c, t);
	check_limits(c, t);
	check_files(c, t);
	if (target_has_forked(t))
		checks_add(c, "children", CHECK_OK, NULL, "it has children that run the same file: probes will be perf events, for which "
			   "they do not pay");
	for (size_t i = 0; i < t->modules_cnt; i++)
		if (t->modules[i]->is_exe && t->modules[i]->deleted)
			checks_add(c, "its file", CHECK_NOTE, "restart it, to run what is installed now", "the executable was deleted or replaced "
				   "on disk; ebb reads the one that runs");
}
