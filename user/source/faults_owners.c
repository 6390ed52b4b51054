/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/faults_owners.h"
#include "target/peer.h"

void faults_owners_open(struct faults_owners *o, struct profile *profile, bool joins_children)
{
	*o = (struct faults_owners){ .profile = profile, .joins_children = joins_children };
}

void faults_owners_close(struct faults_owners *o)
{
	free(o->list);
	free(o->by_process);
	*o = (struct faults_owners){ .profile = NULL };
}

static int reserve(struct faults_owners *o, uint32_t index)
{
	uint32_t size = o->size ? o->size : 64;
	struct faults_owner *list;

	if (index < o->size)
		return 0;
	while (size <= index)
		size *= 2;
	list = realloc(o->list, size * sizeof(*list));
	if (!list)
		return -ENOMEM;
	memset(list + o->size, 0, (size - o->size) * sizeof(*list));
	o->list = list;
	o->size = size;
	return 0;
}

const struct faults_owner *faults_owners_at(const struct faults_owners *o, uint32_t index)
{
	return index < o->size && o->list[index].known ? &o->list[index] : NULL;
}

static int owner_add(struct faults_owners *o, const struct faults_owner_event *e)
{
	struct faults_owner *owner = &o->list[e->index];
	const struct faults_owner *parent = o->joins_children ? faults_owners_at(o, e->parent) : NULL;
	char comm[sizeof(e->comm) + 1];
	uint32_t *more;
	int process;

	*owner = (struct faults_owner){
		.known = true, .key = e->key, .pid = e->pid, .process = parent ? parent->process : 0,
		.start_ticks = e->pid ? peer_start_ticks(e->pid) : 0,
	};
	if (parent)
		return 0;
	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(e->comm), e->comm);
	process = profile_process_add(o->profile, e->pid, comm);
	if (process < 0) {
		owner->known = false;
		return process;
	}
	more = realloc(o->by_process, (process + 1) * sizeof(*more));
	if (!more) {
		owner->known = false;
		return -ENOMEM;
	}
	o->by_process = more;
	more[process] = e->index;
	o->processes_cnt = process + 1;
	owner->process = process;
	return 0;
}

int faults_owners_on_event(struct faults_owners *o, const struct faults_owner_event *e)
{
	int err = reserve(o, e->index);

	if (err)
		return err;
	if (e->type == FAULTS_EVENT_OWNER)
		return owner_add(o, e);
	o->list[e->index].ended = true;
	o->list[e->index].minflt = e->minflt;
	o->list[e->index].majflt = e->majflt;
	return 0;
}

/* A later program of the same process has an index of its own. */
static bool is_newest(const struct faults_owners *o, const struct faults_owner *owner)
{
	for (uint32_t i = 0; i < o->size; i++)
		if (o->list[i].known && o->list[i].key.tgid == owner->key.tgid &&
		    o->list[i].key.start_ns == owner->key.start_ns && o->list[i].key.exec_id > owner->key.exec_id)
			return false;
	return true;
}

int faults_owner_regions(const struct faults_owners *o, uint32_t index, struct regions *ret)
{
	const struct faults_owner *owner = faults_owners_at(o, index);
	char path[32];
	int fd, err;

	if (!owner || !owner->pid || owner->ended || !is_newest(o, owner))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d", owner->pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* the folder is of one process, whoever has its number later */
	err = peer_start_ticks(owner->pid) == owner->start_ticks ? regions_read(fd, ret) : -ESRCH;
	close(fd);
	return err;
}

bool faults_owners_is_same(const struct faults_owners *o, uint32_t process, const struct target *t)
{
	const struct faults_owner *owner;

	if (process >= o->processes_cnt)
		return false;
	owner = &o->list[o->by_process[process]];
	return owner->start_ticks && owner->start_ticks == t->start_ticks && is_newest(o, owner);
}

void faults_owners_who(const void *owners, uint32_t index, struct unwind_many_who *ret)
{
	const struct faults_owners *o = owners;
	const struct faults_owner *owner = &o->list[index];

	*ret = (struct unwind_many_who){
		.pid = owner->ended ? 0 : owner->pid, .start_ticks = owner->start_ticks,
		.id = { .pid = owner->key.tgid, .exec_id = owner->key.exec_id, .start_ns = owner->key.start_ns },
	};
}
