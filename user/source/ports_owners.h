/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes that the kernel has given an owner index, as owners of the model and processes of the profile:
 * one of each, with the same index. Inside the layer.
 */
#ifndef SOURCE_PORTS_OWNERS_H
#define SOURCE_PORTS_OWNERS_H

#include "abi.h"
#include "profile/ports.h"
#include "profile/profile.h"
#include "source/unwind_many.h"
#include "target/target.h"

struct ports_owners_entry {
	struct ports_owner_key key;
	bool forgotten;		/* the kernel has it no more */
	int owner;		/* in the model and the profile; -1 = not known (yet) */
	uint64_t start_ticks;	/* of /proc; 0 = it was gone before it could be read */
	bool runtime_known;	/* asked for once */
};

struct ports_owners {
	struct ports *model;		/* borrowed */
	struct profile *profile;	/* borrowed */
	struct ports_owners_entry *list;	/* by the kernel's index */
	uint32_t cnt;
	int unknown;			/* the owner of what has none */
};

/* -ENOMEM. */
int ports_owners_open(struct ports_owners *o, struct ports *model, struct profile *profile);
void ports_owners_close(struct ports_owners *o);
/* A process that connected for the first time. -ENOMEM. */
int ports_owners_add(struct ports_owners *o, const struct ports_owner_event *e);
/* In the model; -1 = its event has not been read yet. */
int ports_owners_owner(const struct ports_owners *o, uint32_t index);
/* What an owner of the model is to us now. */
struct ports_owner_use {
	bool matters;		/* ask for its runtime and its descriptors */
	bool in_books;		/* the kernel has flows of it */
};

/* Who has ended; of those that matter more; who has ended and has no flows leaves the kernel's map. uses: by the model's index. */
void ports_owners_look(struct ports_owners *o, const struct ports_owner_use *uses, int map_fd);
/* Whether an owner of the model is this process: a number may be another's later. */
bool ports_owners_is(const struct ports_owners *o, uint32_t owner, pid_t pid, uint64_t start_ticks);
/* Whether a process of the profile is still the one that it was. */
bool ports_owners_is_same(const struct ports_owners *o, uint32_t process, const struct target *t);
/* For unwind_many. owners: a struct ports_owners; owner: the kernel's index. */
void ports_owners_who(const void *owners, uint32_t owner, struct unwind_many_who *ret);

#endif
