/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source behind `ebb ports`: fills a model of who uses which ephemeral ports, and a profile with the stacks of
 * connects. Needs no target.
 */
#ifndef SOURCE_PORTS_H
#define SOURCE_PORTS_H

#include "profile/ports.h"
#include "source/source.h"

struct ports_options {
	struct ports *model;		/* borrowed until close; filled about every second and judged */
	const char *netns_path;		/* watch one namespace: this file, or the one of netns_pid; NULL and 0 = all */
	pid_t netns_pid;
	/* Which destinations are selected: those of a process, those with an address, with a port; 0 = all */
	pid_t pid;
	bool has_remote;
	struct ports_addr remote;
	uint16_t port;
	uint64_t max_memory_bytes;	/* for the books of flows; sockets are not in it */
	bool exact_tw, bind, udp;
	bool no_stacks;			/* for benchmarks */
};

enum ports_value { PORTS_CONNECTIONS, PORTS_TIME_WAIT_SECONDS, PORTS_FAILURES, PORTS_VALUES };

extern const struct source_type ports_source;

/* Beside the losses, i from 0: what explains the numbers; false at the end. */
bool ports_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt);
/* For naming: whether t is the process that has this index in the profile. */
bool ports_is_same_process(const struct source *s, uint32_t process, const struct target *t);

#endif
