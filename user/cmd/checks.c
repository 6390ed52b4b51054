/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/privileges.h"
#include "base/text.h"
#include "cmd/checks.h"
#include "source/loader.h"

#include <linux/capability.h>

void checks_free(struct checks *c)
{
	for (size_t i = 0; i < c->cnt; i++) {
		free(c->list[i].found);
		free(c->list[i].todo);
	}
	free(c->list);
	*c = (struct checks){ .list = NULL };
}

void checks_add(struct checks *c, const char *name, enum check_state state, const char *todo, const char *fmt, ...)
{
	struct check *more = realloc(c->list, (c->cnt + 1) * sizeof(*more)), *new;
	va_list args;

	if (!more) {
		c->failed = true;
		return;
	}
	c->list = more;
	new = &more[c->cnt];
	*new = (struct check){ .name = name, .state = state, .todo = todo ? strdup(todo) : NULL };
	va_start(args, fmt);
	if (vasprintf(&new->found, fmt, args) < 0)
		new->found = NULL;
	va_end(args);
	c->failed |= !new->found || (todo && !new->todo);
	c->cnt++;
}

const struct check *checks_problem(const struct checks *c)
{
	for (size_t i = 0; i < c->cnt; i++)
		if (c->list[i].state == CHECK_PROBLEM)
			return &c->list[i];
	return NULL;
}

const char *check_state_name(enum check_state state)
{
	static const char *const names[] = { "ok", "note", "unknown", "problem" };

	return names[state];
}

const struct check *checks_find(const struct checks *c, const char *name)
{
	for (size_t i = 0; i < c->cnt; i++)
		if (!strcmp(c->list[i].name, name))
			return &c->list[i];
	return NULL;
}

#define TODO_PRIVILEGES "run ebb as root"

static bool is_forbidden(int err)
{
	return err == -EPERM || err == -EACCES;
}

static void check_uprobes(struct checks *c, const char *forced, struct selftest *ret)
{
	enum attach_mode first = ATTACH_SESSION;
	int err;

	if (forced)
		attach_mode_parse(forced, &first);
	privileges_raise(PRIVILEGE(CAP_SYS_ADMIN));	/* after an exec of the target: perf events want it */
	err = selftest_run(first, forced != NULL, ret);
	privileges_lower(PRIVILEGE(CAP_SYS_ADMIN));
	if (!err)
		checks_add(c, "attaching", CHECK_OK, NULL, "by %s: a trap costs %.0f ns, a single-stepped one %.0f ns, a return %.0f ns",
			   attach_mode_name(ret->mode), ret->price.trap_ns, ret->price.stepped_ns, ret->price.return_ns);
	else if (is_forbidden(err))
		checks_add(c, "attaching", CHECK_PROBLEM, TODO_PRIVILEGES, "not permitted to load or attach BPF programs: needs CAP_BPF "
			   "and CAP_PERFMON (or CAP_SYS_ADMIN); run ebb as root");
	else if (err == -ENOENT || err == -ENODEV)
		checks_add(c, "attaching", CHECK_PROBLEM, "use a kernel that has them", "this kernel has no uprobes (CONFIG_UPROBES, "
			   "CONFIG_UPROBE_EVENTS): %s", strerror(-err));
	else
		checks_add(c, "attaching", CHECK_PROBLEM, NULL, "no way to attach a probe works here%s: %s", forced ? " by EBB_ATTACH" : "",
			   strerror(-err));
}

static void check_ring(struct checks *c, int err)
{
	static const char name[] = "ring buffer";

	if (!err)
		checks_add(c, name, CHECK_OK, NULL, "made and mapped");
	else if (is_forbidden(err))
		checks_add(c, name, CHECK_PROBLEM, TODO_PRIVILEGES ", outside of a container that forbids bpf(2)",
			   "not permitted to make a BPF ring buffer: needs CAP_BPF");
	else if (err == -ENOMEM)
		checks_add(c, name, CHECK_PROBLEM, "give the memory cgroup that ebb runs in more room, or start ebb outside of it",
			   "no memory for a BPF ring buffer of one page");
	else
		checks_add(c, name, CHECK_PROBLEM, "use Linux 6.1 or later", "this kernel makes no BPF ring buffer: %s", strerror(-err));
}

static void check_tracepoints(struct checks *c, int err)
{
	static const char name[] = "tracepoints";

	if (!err)
		checks_add(c, name, CHECK_OK, NULL, "raw ones with BTF: a fork of ebb's own was seen");
	else if (is_forbidden(err))
		checks_add(c, name, CHECK_PROBLEM, TODO_PRIVILEGES ", outside of a container that forbids bpf(2)",
			   "not permitted to attach to a raw tracepoint with BTF: needs CAP_BPF and CAP_PERFMON");
	else if (err == -ENODATA)
		checks_add(c, name, CHECK_PROBLEM, "use another kernel, such as that of a distribution", "a program was attached to the raw tracepoint "
			   "sched_process_fork, and did not see a fork");
	else
		checks_add(c, name, CHECK_PROBLEM, "use a kernel that is built with CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF",
			   "no program can be attached to the raw tracepoint sched_process_fork: %s", strerror(-err));
}

void checks_attach(struct checks *c, const char *forced, struct selftest *ret)
{
	struct selftest_events events;

	loader_prepare();
	if (access("/sys/kernel/btf/vmlinux", R_OK)) {
		checks_add(c, "BTF", CHECK_PROBLEM, "use a kernel that is built with CONFIG_DEBUG_INFO_BTF",
			   "this kernel has no BTF (/sys/kernel/btf/vmlinux): ebb needs CONFIG_DEBUG_INFO_BTF");
		return;
	}
	checks_add(c, "BTF", CHECK_OK, NULL, "/sys/kernel/btf/vmlinux");
	check_uprobes(c, forced, ret);
	selftest_events(&events);
	check_ring(c, events.ring_err);
	check_tracepoints(c, events.tracepoint_err);
}

/* User shadow stacks and return probes go together from Linux 6.11 on ("x86/shstk: Make return uretprobe work"). */
static bool kernel_copes_with_shadow_stacks(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 11);
}

static void danger(struct checks *c, const char *name, const struct hazards *h, enum hazard_kind kind, const char *why)
{
	checks_add(c, name, CHECK_PROBLEM, NULL, "a return probe could kill this process: %s (%s)", why, h->detail[kind]);
}

static void check_seccomp(struct checks *c, const struct hazards *h, enum attach_mode mode)
{
	int r;

	if (!h->found[HAZARD_SECCOMP]) {
		checks_add(c, "seccomp", CHECK_OK, NULL, "no thread is under a filter");
		return;
	}
	r = selftest_seccomp(mode);
	if (r == 0)
		checks_add(c, "seccomp", CHECK_OK, NULL, "a thread is under a filter (%s); a child of ours under the strictest one "
			   "came through a return probe unharmed", h->detail[HAZARD_SECCOMP]);
	else if (r > 0)
		danger(c, "seccomp", h, HAZARD_SECCOMP, "on this kernel a return probe is a system call that its seccomp filter may "
		       "punish; a child of ours died of it");
	else
		checks_add(c, "seccomp", CHECK_PROBLEM, NULL, "a thread is under a seccomp filter (%s), and whether a return probe "
			   "survives one could not be tried: %s", h->detail[HAZARD_SECCOMP], strerror(-r));
}

void checks_hazards(struct checks *c, const struct hazards *h, enum attach_mode mode)
{
	size_t before = c->cnt;

	if (h->found[HAZARD_GO])
		danger(c, "Go", h, HAZARD_GO, "Go moves its stacks");
	if (h->found[HAZARD_SANITIZER])
		danger(c, "sanitizer", h, HAZARD_SANITIZER, "a sanitizer checks return addresses");
	if (h->found[HAZARD_PROFILER])
		danger(c, "profiler", h, HAZARD_PROFILER, "the allocator's own profiler walks the stack");
	if (h->found[HAZARD_SHADOW_STACK] && !kernel_copes_with_shadow_stacks())
		danger(c, "shadow stacks", h, HAZARD_SHADOW_STACK, "a thread has a shadow stack, and this kernel is older than 6.11");
	if (c->cnt == before)
		checks_add(c, "dangers", CHECK_OK, NULL, "no Go, no sanitizer, no active profiler of an allocator%s",
			   h->found[HAZARD_SHADOW_STACK] ? "; shadow stacks, with which this kernel copes" : ", no shadow stacks");
	check_seccomp(c, h, mode);
}

void checks_plan(struct checks *c, const struct allocators *a, const struct plan *p)
{
	for (size_t i = 0; i < a->cnt; i++) {
		char *path = text_safe(a->list[i].module->path);

		checks_add(c, "allocator", CHECK_OK, NULL, "%s in %s: %s: %s", a->list[i].family, path ? path : "",
			   a->list[i].used ? "probed" : "not probed", a->list[i].evidence ? a->list[i].evidence : "");
		if (a->list[i].used && a->list[i].warning)
			checks_add(c, "allocator", CHECK_NOTE, NULL, "%s", a->list[i].warning);
		free(path);
	}
	for (size_t i = 0; i < p->warnings_cnt; i++)
		checks_add(c, "sites", CHECK_NOTE, NULL, "%s", p->notes[i]);
	if (p->refusal)
		checks_add(c, "sites", CHECK_PROBLEM, NULL, "nothing to attach to: %s", p->refusal);
	else
		checks_add(c, "sites", CHECK_OK, NULL, "%zu; ebb leak --dry-run shows each", p->sites_cnt);
}
