/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "source/ports_owners.h"
#include "target/peer.h"

/* An owner and its process. */
static int add(struct ports_owners *o, int pid, uint64_t start_ns, const char *comm, const char *exe, const char *cgroup,
	       const char *container)
{
	int owner = ports_owner_add(o->model, pid, start_ns, comm, exe, cgroup, container), process;

	if (owner < 0)
		return owner;
	process = profile_process_add(o->profile, pid, comm);
	return process < 0 || process == owner ? process : -EINVAL;
}

int ports_owners_open(struct ports_owners *o, struct ports *model, struct profile *profile)
{
	*o = (struct ports_owners){ .model = model, .profile = profile };
	o->unknown = add(o, 0, 0, "[unknown]", NULL, NULL, NULL);
	return o->unknown < 0 ? o->unknown : 0;
}

void ports_owners_close(struct ports_owners *o)
{
	free(o->list);
	*o = (struct ports_owners){ 0 };
}

static int reserve(struct ports_owners *o, uint32_t index)
{
	uint32_t cnt = o->cnt ? o->cnt : 64;
	struct ports_owners_entry *list;

	if (index < o->cnt)
		return 0;
	while (cnt <= index)
		cnt *= 2;
	list = realloc(o->list, cnt * sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (uint32_t i = o->cnt; i < cnt; i++)
		list[i] = (struct ports_owners_entry){ .owner = -1 };
	o->list = list;
	o->cnt = cnt;
	return 0;
}

/*
 * What /proc says now is more than the kernel's event could carry, if it is still the same process: the pid may
 * be another's by now, and it may have called exec.
 */
static bool is_described(const struct peer *p, const struct ports_owner_event *e)
{
	const char *base = p->exe ? strrchr(p->exe, '/') : NULL;
	char exe[sizeof(e->exe) + 1];

	snprintf(exe, sizeof(exe), "%.*s", (int)sizeof(e->exe), e->exe);
	/* the event's name is cut at its size */
	return base && !strncmp(base + 1, exe, strlen(exe)) &&
	       (strlen(exe) == strlen(base + 1) || strlen(exe) == sizeof(e->exe) - 1);
}

/* A UTS namespace of its own with our name is no container: systemd's ProtectHostname= makes such. The event's is cut. */
static bool is_our_name(const char *host)
{
	struct utsname ours;

	return !uname(&ours) && !strncmp(host, ours.nodename, sizeof(((struct ports_owner_event *)NULL)->host) - 1);
}

int ports_owners_add(struct ports_owners *o, const struct ports_owner_event *e)
{
	char comm[sizeof(e->comm) + 1], exe[sizeof(e->exe) + 1], cgroup[sizeof(e->cgroup) + 1], host[sizeof(e->host) + 1];
	struct ports_owners_entry *entry;
	struct peer p;
	bool alive;
	int err = reserve(o, e->index);

	if (err)
		return err;
	entry = &o->list[e->index];
	entry->key = e->key;
	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(e->comm), e->comm);
	snprintf(exe, sizeof(exe), "%.*s", (int)sizeof(e->exe), e->exe);
	snprintf(cgroup, sizeof(cgroup), "%.*s", (int)sizeof(e->cgroup), e->cgroup);
	snprintf(host, sizeof(host), "%.*s", (int)sizeof(e->host), is_our_name(e->host) ? "" : e->host);
	alive = e->pid && !peer_read(e->pid, &p);
	if (alive && !is_described(&p, e)) {
		peer_close(&p);
		alive = false;
	}
	entry->owner = add(o, e->pid, e->key.start_ns, comm, alive && p.exe ? p.exe : exe,
			   alive && p.cgroup ? p.cgroup : cgroup, host);
	if (alive) {
		entry->start_ticks = p.start_ticks;
		peer_close(&p);
	}
	return entry->owner < 0 ? entry->owner : 0;
}

int ports_owners_owner(const struct ports_owners *o, uint32_t index)
{
	if (index == PORTS_NONE)
		return o->unknown;
	return index < o->cnt ? o->list[index].owner : -1;
}

static void owner_look(struct ports_owners_entry *e, struct ports_owner *owner, bool matters)
{
	/* one that is not visible from here has no number to ask for */
	owner->exited = owner->pid && !peer_is_alive(owner->pid, e->start_ticks);
	if (owner->exited || !owner->pid || !matters)
		return;
	if (!e->runtime_known)
		owner->runtime = peer_runtime(owner->pid);
	e->runtime_known = true;
	if (peer_fds(owner->pid, &owner->fds, &owner->fds_limit)) {
		owner->fds = PORTS_INF;
		owner->fds_limit = PORTS_INF;
	}
}

void ports_owners_look(struct ports_owners *o, const struct ports_owner_use *uses, int map_fd)
{
	for (uint32_t i = 0; i < o->cnt; i++) {
		struct ports_owners_entry *e = &o->list[i];

		if (e->owner < 0 || e->forgotten)
			continue;
		if (!o->model->owners[e->owner].exited)
			owner_look(e, &o->model->owners[e->owner], uses[e->owner].matters);
		else if (!uses[e->owner].in_books)
			e->forgotten = !bpf_map_delete_elem(map_fd, &e->key);
	}
}

bool ports_owners_is(const struct ports_owners *o, uint32_t owner, pid_t pid, uint64_t start_ticks)
{
	if (o->model->owners[owner].pid != pid)
		return false;
	for (uint32_t i = 0; i < o->cnt; i++)
		if (o->list[i].owner == (int)owner)	/* 0: it had ended before it could be read */
			return o->list[i].start_ticks == start_ticks || !o->list[i].start_ticks;
	return false;
}

/* Not after it called exec: its addresses are another program's then. */
bool ports_owners_is_same(const struct ports_owners *o, uint32_t process, const struct target *t)
{
	for (uint32_t i = 0; i < o->cnt; i++)
		if (o->list[i].owner == (int)process)
			return o->list[i].start_ticks == t->start_ticks && t->exe &&
			       !strcmp(t->exe, o->model->owners[process].exe);
	return false;
}

void ports_owners_who(const void *owners, uint32_t owner, struct unwind_many_who *ret)
{
	const struct ports_owners *o = owners;
	const struct ports_owners_entry *e = &o->list[owner];

	*ret = (struct unwind_many_who){
		.pid = e->owner < 0 ? 0 : o->model->owners[e->owner].pid, .start_ticks = e->start_ticks,
		.id = { .pid = e->key.tgid, .exec_id = e->key.exec_id, .start_ns = e->key.start_ns },
	};
}
