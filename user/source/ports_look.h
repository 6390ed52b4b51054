/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A look at all namespaces: their settings, the kernel's tables of sockets, who holds ports. Fills the part of the model that is
 * of now. Inside the layer.
 */
#ifndef SOURCE_PORTS_LOOK_H
#define SOURCE_PORTS_LOOK_H

#include "abi.h"
#include "profile/ports.h"
#include "source/ports_books.h"
#include "source/ports_owners.h"
#include "target/netns.h"

struct ports_look {
	struct ports *model;		/* borrowed, as the next ones */
	const struct ports_books *books;
	const struct ports_owners *owners;
	struct stacks *stacks;
	struct ports_shared *state;
	int dump_fd, files_fd;		/* links of iterators */
	uint64_t hz;
	bool udp;
	struct ports_holder *holders;	/* of the last pass over descriptors */
	size_t holders_cnt, holders_size;
	uint64_t *conntrack_base;	/* insert_failed at the first visit, by the model's namespace */
	uint32_t *votes;		/* of leak stacks, by the model's flow */
	size_t conntrack_cnt, votes_cnt;
	char *buffer;			/* what an iterator wrote */
	bool seen;			/* a namespace that is looked at was there */
	uint64_t only;			/* cookie of the one namespace that is looked at; 0 = all */
	int err;			/* of the pass over descriptors */
};

/* -ENOMEM. */
int ports_look_open(struct ports_look *l);
void ports_look_close(struct ports_look *l);
/* Owners of older sockets, and ports that are held without a connection: a pass over all descriptors. */
int ports_look_files(struct ports_look *l);
/* Visits the namespaces. What the model has of now was cleared before. */
int ports_look_namespaces(struct ports_look *l, const struct netns_list *list);

#endif
