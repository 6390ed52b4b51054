/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network namespaces: which there are, and what is set in each. A namespace is entered by setns() for
 * the time of a visit and never held open longer, so that ebb keeps none alive.
 */
#ifndef TARGET_NETNS_H
#define TARGET_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NETNS_PORT_BITS_BYTES (65536 / 8)

/* What is set in a namespace and counted by the kernel. What could not be read is as the comment says. */
struct netns_info {
	uint64_t cookie;		/* SO_NETNS_COOKIE: its identity, never used again; inode if the kernel has none (< 5.14) */
	uint32_t inode;			/* of nsfs; used again by later namespaces */
	const char *name;		/* "host" (that of pid 1), a mounted one's file name, "of NAME[PID]"; raw */
	pid_t pid;			/* a process in it; 0 = none, it is only mounted */
	uint16_t range_low, range_high;	/* net.ipv4.ip_local_port_range, inclusive; 0, 0 = unknown */
	uint8_t reserved[NETNS_PORT_BITS_BYTES];	/* ip_local_reserved_ports, bit port & 7 of byte port >> 3 */
	int tw_reuse;			/* tcp_tw_reuse; -1 = unknown */
	bool timestamps;
	uint32_t tw_max;		/* tcp_max_tw_buckets; UINT32_MAX = unknown */
	uint32_t tw_cnt;		/* /proc/net/sockstat: TCP tw */
	bool has_conntrack;
	uint32_t conntrack_cnt, conntrack_max;
	uint64_t conntrack_insert_failed, conntrack_drop;	/* sum over CPUs since boot */
};

/*
 * The namespaces to visit: all that a process of /proc or a mount (ip netns, container runtimes) leads to, or
 * only some. Built anew for each round, since they come and go.
 */
struct netns_list;

/* All of them, but those that only processes are in which we may not look at. -ENOMEM, -EMFILE … */
int netns_list_all(struct netns_list **ret);
/* One: by a process. -ESRCH, -EACCES. */
int netns_list_pid(pid_t pid, struct netns_list **ret);
/*
 * One: by a file (/run/netns/blue, /proc/1/ns/net), or the bare name of one in /run/netns. -ENOENT, -EACCES; -EINVAL:
 * no network namespace.
 */
int netns_list_path(const char *path, struct netns_list **ret);
struct netns_list *netns_list_free(struct netns_list *l);
size_t netns_list_cnt(const struct netns_list *l);
/* Inode of the i-th. */
uint32_t netns_list_inode(const struct netns_list *l, size_t i);
/* Adds the namespace of a process if it is not there yet, e.g. one that events came from. 0 also when it is gone. */
int netns_list_add_pid(struct netns_list *l, pid_t pid);

/*
 * Enters each namespace, reads its settings, calls fn inside it (sockets and iterators that fn makes are in that
 * namespace), and comes back. A namespace that has vanished or cannot be entered is skipped: fn is not called for it,
 * and *ret_skipped (may be NULL) counts it. A negative value of fn ends the round and is returned. -EPERM: none could
 * be entered and setns() was not permitted (CAP_SYS_ADMIN); -ENOMEM, -EMFILE …: we are short of something; -EIO and a
 * message at debug level when ebb's own namespace could not be entered again. Single-threaded callers only.
 */
int netns_list_visit(const struct netns_list *l, int (*fn)(const struct netns_info *info, void *ctx), void *ctx,
		     unsigned int *ret_skipped);

/* Fills everything but inode, name and pid from the namespace that the caller is in. -ENOMEM, -EMFILE … */
int netns_info_read(struct netns_info *info);

/* Texts of the kernel: "32768\t60999", "8080,40000-40015", sockstat. -EINVAL, and then of ports what was found so far. */
int netns_parse_range(const char *text, uint16_t *ret_low, uint16_t *ret_high);
int netns_parse_ports(const char *text, uint8_t bits[NETNS_PORT_BITS_BYTES]);
int netns_parse_time_wait(const char *sockstat, uint32_t *ret);
/* Sum over all CPUs of a column of /proc/net/stat/nf_conntrack; 0 when there is none of that name. */
uint64_t netns_parse_conntrack(const char *text, const char *name);

#endif
