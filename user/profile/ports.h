/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ephemeral ports: who uses how many of them towards whom, and how many there are. Knows nothing of where
 * the numbers came from; whoever fills it calls ports_judge() and then anybody may read.
 *
 *	netns        a network namespace: its range of ports, what is taken away from it, its settings
 *	 └ dest      (local address, remote address, remote port): the kernel gives each its own full range
 *	    └ flow   one owner's connections to it: counters, states, lifetimes
 *	owner        a process, also one that has ended; groups of them have the same executable and cgroup
 *
 * Indexes are given in the order of adding and never change; pointers into the lists do not survive an
 * add. Times are CLOCK_MONOTONIC nanoseconds, 0 = never.
 *
 * Addresses are IPv6; those that mean something on one interface only (fe80::/10) have its index in bytes 2 and 3,
 * which are 0 on the wire. IPv4 is ::ffff:a.b.c.d, and a v4-mapped connection is the same as one by IPv4, as the
 * kernel has it.
 */
#ifndef PROFILE_PORTS_H
#define PROFILE_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap;

struct ports_addr {
	uint8_t bytes[16];
};

/* "10.0.4.17", "fe80::1%2" (interface 2); with a port "10.0.4.17:443", "[fe80::1]:443". Returns buf. */
#define PORTS_ADDR_MAX 64
const char *ports_addr_text(char buf[PORTS_ADDR_MAX], const struct ports_addr *addr);
const char *ports_endpoint_text(char buf[PORTS_ADDR_MAX], const struct ports_addr *addr, uint16_t port);
/* Index of the interface of a link-local address; 0 = none. */
unsigned int ports_addr_interface(const struct ports_addr *addr);
bool ports_addr_is_loopback(const struct ports_addr *addr);

#define PORTS_INF	UINT32_MAX	/* in uint32_t: not known, or not limited */

/* Ports of one local address that bind() with port 0 (TCP), or UDP, can choose from; both are per local address. */
struct ports_pool {
	struct ports_addr local;
	bool udp;
	uint32_t used;			/* distinct ports of the range in use on it or on the wildcard address */
	uint32_t usable;		/* range - reserved */
	uint64_t failed, failed_other;	/* bind(0) or autobind without a port; for another reason. PORTS needs --bind, --udp */
	uint64_t failed_now;		/* all of them; the source sorts them into the two above */
	uint32_t worst_owner;		/* who failed most; UINT32_MAX = nobody */
	uint64_t worst_owner_failed;
};

struct ports_netns {
	uint64_t cookie;		/* its identity: inode numbers are used again */
	uint32_t inode;			/* as /proc/PID/ns/net shows it */
	char *name;			/* "host", "blue" (ip netns), "api-7f" (a container), "of pid 123"; raw */
	bool visited;			/* its settings below were read; false: it could not be entered */
	bool gone;			/* it does not exist any more */
	uint16_t range_low, range_high;	/* ip_local_port_range, both inclusive */
	uint32_t reserved;		/* ip_local_reserved_ports inside the range */
	uint32_t held;			/* distinct ports of the range, not reserved, that bind or listen hold */
	uint32_t listening;		/* of those: with a listener */
	int tw_reuse;			/* tcp_tw_reuse: 0, 1, 2; -1 = unknown */
	bool timestamps;		/* tcp_timestamps is on */
	uint32_t tw_max;		/* tcp_max_tw_buckets; PORTS_INF = unknown */
	uint32_t tw_cnt;		/* TIME_WAIT sockets, as the kernel counts them, servers' side included */
	bool has_conntrack;
	uint32_t conntrack_cnt, conntrack_max;
	uint64_t conntrack_failed;	/* insert_failed since the look began */
	struct ports_pool *pools;
	size_t pools_cnt;
	bool pools_cut;			/* it has so many local addresses that not all have their pool here */
};

struct ports_owner {
	int pid;			/* 0 = not visible from here */
	uint64_t start_ns;		/* CLOCK_BOOTTIME: pid and start are its identity */
	char *comm;			/* raw, like all names */
	char *exe;			/* path, or base name when only that could be learned; "" = unknown */
	char *cgroup;			/* path, or its last part; "" = unknown or the root */
	char *container;		/* pod or container, by its host name; "" = none */
	const char *runtime;		/* a constant: "dotnet", "java", whatever the executable is called; NULL = not known */
	bool exited;
	uint32_t fds, fds_limit;	/* descriptors and RLIMIT_NOFILE; PORTS_INF = unknown or unlimited */
};

enum ports_state {
	PORTS_SYN_SENT, PORTS_ESTABLISHED, PORTS_FIN_WAIT1, PORTS_FIN_WAIT2, PORTS_CLOSING, PORTS_CLOSE_WAIT,
	PORTS_LAST_ACK, PORTS_STATES,
};

#define PORTS_LIFE_BUCKETS 32	/* i: lifetimes of [2^i, 2^(i+1)) microseconds; the first holds shorter ones, too */

/*
 * What one owner did towards one destination. Counters only ever rise, from 0 at the beginning of the look.
 *
 *	attempts    = established + refused + timed_out + reset + exhausted + collisions + failed_other + aborted +
 *		      under way
 *	established = closed_first + closed_by_peer + closed_hard + open, but that sockets older than the look also end
 */
struct ports_counters {
	uint64_t attempts, established;
	uint64_t refused, timed_out, reset;
	uint64_t exhausted;		/* connect() failed with EADDRNOTAVAIL: no port left */
	uint64_t collisions;		/* EADDRNOTAVAIL: the port that it was bound to is taken towards it */
	uint64_t failed_other;		/* unreachable and the like */
	uint64_t aborted;		/* closed before it was established */
	uint64_t closed_first;		/* by us: TIME_WAIT is on our side */
	uint64_t closed_by_peer;	/* the peer closed first */
	uint64_t closed_hard;		/* by RST, from either side */
};

struct ports_flow {
	uint32_t dest, owner;
	struct ports_counters total;
	uint64_t first_failure_ns, last_failure_ns;	/* of exhausted */
	uint32_t range_low, range_high;	/* IP_LOCAL_PORT_RANGE of its last socket; 0 = the namespace's */
	uint64_t search_max_ns;		/* longest time that the kernel looked for a free port, being preempted included */
	uint64_t search_low_ns;		/* the shortest of the last few: that is how long it takes */
	uint32_t states[PORTS_STATES];	/* sockets now */
	uint32_t tw;			/* TIME_WAIT now, by the books of the one who opened them */
	uint32_t idle;			/* ESTABLISHED of those, without traffic for PORTS_IDLE_NS */
	uint64_t oldest_close_wait_ns, oldest_idle_ns;	/* ages, durations */
	uint32_t close_wait_closed;	/* CLOSE_WAIT sockets that it has closed itself since the look began */
	uint64_t life_sum_ns;		/* of all that were established and ended */
	uint32_t life[PORTS_LIFE_BUCKETS];
	int stack;			/* of the profile, where most connects come from; -1 = none taken */
	int leak_stack;			/* where most of its CLOSE_WAIT or idle sockets were opened; -1 */
	/* Written by ports_judge(). */
	uint32_t held;			/* open + TIME_WAIT */
	uint32_t held_full;		/* the same when the destination was fullest (in its last outage) */
	double tries_per_s, failed_per_s;
};

#define PORTS_SEARCH_SLOW_NS	100000	/* a search for a port that takes so long is slow */
#define PORTS_IDLE_NS	60000000000ull	/* established and silent for so long: shown as idle */

/* How a group of owners stands to a destination that runs out. */
enum ports_role { PORTS_USER, PORTS_CULPRIT, PORTS_VICTIM, PORTS_LEAKER };

/* Owners with the same executable, cgroup and container at one destination. Lists are owned by the dest. */
struct ports_group {
	uint32_t *flows;		/* indexes; the one that holds the most first */
	size_t flows_cnt;
	enum ports_role role;
	struct ports_flow sum;		/* of its flows; owner and stack of the first */
};

enum ports_alarm {
	PORTS_FINE,
	PORTS_WAS_EXHAUSTED,	/* connects failed for lack of ports during this look, not in the last seconds */
	PORTS_HIGH,		/* 50 % used or more, or 25 % and a port search took over 100 us; not getting fuller */
	PORTS_LEAKING,		/* CLOSE_WAIT or idle sockets that its owner does not close, and their number grows */
	PORTS_FILLING,		/* full within the horizon at the present rate */
	PORTS_EXHAUSTED,	/* full, or connects fail for lack of ports now */
};

/* What is behind it: bits. ports_advice() has the words for what would help. */
enum ports_verdict {
	PORTS_CLIENT_CLOSES = 1 << 0,	/* the client closes first, so TIME_WAIT is here */
	PORTS_SHORT_LIVED = 1 << 1,	/* a connection a request: median life under a second, and many */
	PORTS_NEVER_CLOSED = 1 << 2,	/* CLOSE_WAIT: the peer closed, the owner does not */
	PORTS_IDLE_HELD = 1 << 3,	/* established and silent: a pool without a limit */
	PORTS_MANY_OPEN = 1 << 4,	/* really in use at the same time */
	PORTS_BOUND = 1 << 5,		/* bind() before connect(): a port for all destinations */
	PORTS_RANGE_HELD = 1 << 6,	/* bind, listen or reserved take a quarter of the range or more */
	PORTS_COLLIDES = 1 << 7,	/* a fixed local port is used again too early */
	PORTS_SLOW_SEARCH = 1 << 8,	/* over 100 us for a port */
};

struct ports_dest {
	uint32_t netns;			/* index */
	struct ports_addr local, remote;
	uint16_t port;			/* remote; host byte order */
	bool selected;			/* wanted by --dest, PID */
	uint32_t sock_range_low, sock_range_high;	/* IP_LOCAL_PORT_RANGE of all its flows; 0 = the namespace's */
	/* Filled at each look, owners known or not. */
	uint32_t states[PORTS_STATES];
	uint32_t tw;			/* as the kernel has them */
	uint32_t outside;		/* of both: with a local port outside of the range; they take none of it */
	uint32_t held_here;		/* distinct bound ports (netns.held) that are used towards this destination */
	uint32_t unowned, unowned_tw;	/* of these: sockets whose owner is not known */
	/* TIME_WAIT in the range by the time when they are given back: [i] in (i-1, i] seconds from now; the last: later */
#define PORTS_BACK_SECONDS 64
	uint32_t back[PORTS_BACK_SECONDS];
	/* Written by ports_judge(). */
	enum ports_alarm alarm;
	uint64_t since_ns;		/* of the alarm; EXHAUSTED: of the first failure */
	uint64_t until_ns;		/* WAS_EXHAUSTED: of the last failure */
	unsigned int verdict;		/* enum ports_verdict bits */
	uint32_t usable;		/* ports towards it, used ones included; PORTS_INF = namespace not visited */
	uint32_t used;			/* open + TIME_WAIT - outside */
	uint32_t used_max;
	bool tw_reused;			/* connect() takes its TIME_WAIT ports again after 1 s: tcp_tw_reuse */
	double new_per_s, failed_per_s;
	double max_per_s;		/* sustainable; < 0 = nothing is given back, or usable is unknown */
	double full_in_s;		/* < 0 = not at this rate, or no rate is known yet; 0 = it is full */
	double next_back_s;		/* until the next TIME_WAIT ends; < 0 = none */
	double median_life_ms;		/* < 0 = unknown */
	struct ports_flow sum;		/* of all flows: total, search_max_ns … */
	struct ports_group *groups;	/* culprits, leakers, victims, users; then by held_full */
	size_t groups_cnt;
};

struct ports {
	struct ports_netns *netns;
	size_t netns_cnt;
	struct ports_owner *owners;
	size_t owners_cnt;
	struct ports_dest *dests;
	size_t dests_cnt;
	struct ports_flow *flows;
	size_t flows_cnt;
	uint64_t start_ns, now_ns;	/* the look began; the numbers are of */
	int64_t start_wall_ns;		/* start_ns by the wall clock, since 1970 */
	bool watches_bind, watches_udp, exact_tw;
	/* Written by ports_judge(). */
	uint32_t *order;		/* dests by urgency: worst alarm first, then by used ÷ usable */
	uint32_t alarms_cnt, fine_cnt;	/* of the selected ones */
	struct ports_history *history;	/* of ports_judge(); opaque */
	struct hashmap *index;		/* of the find functions below */
};

/* A time of the model by the wall clock, seconds since 1970. */
static inline int64_t ports_wall_s(const struct ports *p, uint64_t at_ns)
{
	return (p->start_wall_ns + (int64_t)(at_ns - p->start_ns)) / 1000000000;
}

struct ports *ports_new(void);
struct ports *ports_free(struct ports *p);

/* Index of a thing, added when it is new (zeroed but for its key; unknown = PORTS_INF, -1). Negative errno. */
int ports_netns_get(struct ports *p, uint64_t cookie);
int ports_dest_get(struct ports *p, uint32_t netns, const struct ports_addr *local, const struct ports_addr *remote,
		   uint16_t port);
int ports_flow_get(struct ports *p, uint32_t dest, uint32_t owner);
/* Without adding; -ENOENT. */
int ports_netns_find(const struct ports *p, uint64_t cookie);
int ports_dest_find(const struct ports *p, uint32_t netns, const struct ports_addr *local,
		    const struct ports_addr *remote, uint16_t port);
/* Always adds. Strings are copied; NULL = "". */
int ports_owner_add(struct ports *p, int pid, uint64_t start_ns, const char *comm, const char *exe, const char *cgroup,
		    const char *container);
/* Pool of a local address, added when new. NULL when memory is short. The pointer is good until the next call. */
struct ports_pool *ports_pool_get(struct ports_netns *ns, const struct ports_addr *local, bool udp);
/* Replaces an owned string of the model. -ENOMEM. */
int ports_set_text(char **text, const char *value);

/*
 * Before each look: what is counted afresh to 0. Of destinations states, tw, back, held_here, unowned and unowned_tw;
 * of flows states, tw, idle and the ages; of pools used. What a visit of the namespace sets stays.
 */
void ports_clear_now(struct ports *p);
/*
 * After each look, when p->now_ns and all counters are filled: rates, capacity, forecasts, alarms, roles.
 * May be called every second; it keeps its own history. -ENOMEM.
 */
int ports_judge(struct ports *p);

/*
 * An owner's group as people call it: "api (2 procs)", "api (pod api-7f, 2 procs)", "billing[902]",
 * "billing[902] (exited)". Raw. The caller frees it; NULL when memory is short.
 */
char *ports_group_name(const struct ports *p, const struct ports_group *g);
/* "exhausted", "filling" …: for machines. */
const char *ports_alarm_name(enum ports_alarm alarm);
const char *ports_role_name(enum ports_role role);
/* Name of one bit: "client-closes-first" …; NULL for no bit. */
const char *ports_verdict_name(enum ports_verdict bit);

/* Sentences for people, without a full stop; raw, since names are part of them. ports_words_free() when done. */
#define PORTS_WORDS_MAX 8
struct ports_words {
	char *text[PORTS_WORDS_MAX];
	size_t cnt;
};

/*
 * What would help a destination, from its verdict and from what its culprit runs; what would not although it is
 * often tried; and what is wrong with a namespace as a whole. Nothing to say is success, too. -ENOMEM.
 */
int ports_advice(const struct ports *p, const struct ports_dest *d, struct ports_words *ret);
int ports_no_help(const struct ports *p, const struct ports_dest *d, struct ports_words *ret);
int ports_warnings(const struct ports_netns *ns, struct ports_words *ret);
void ports_words_free(struct ports_words *words);

#endif
