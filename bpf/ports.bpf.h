/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The books of ports: maps, and how a connect finds its owner and its flow. Only included by ports.bpf.c.
 */
#ifndef EBB_PORTS_BPF_H
#define EBB_PORTS_BPF_H

#define EAGAIN		11
#define AF_INET		2
#define AF_INET6	10
#define EVENTS_A_WINDOW	16	/* failures sent in 134 ms */

const volatile struct ports_settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ports_shared);
} ports_shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORTS_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} ports_counts SEC(".maps");

/* None of the hashes is preallocated: a quiet machine pays for the bucket heads only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ports_owner_key);
	__type(value, __u32);
} ports_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ports_flow_key);
	__type(value, __u32);
} ports_flow_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct ports_flow_book);
} ports_flows SEC(".maps");

/* A flow is too large for the stack of a program: new ones are copied from here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ports_flow_book);
} ports_flow_zero SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ports_stack_key);
	__type(value, struct ports_stack);
} ports_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ports_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ports_pool_key);
	__type(value, struct ports_pool_counts);
} ports_pools SEC(".maps");

static __always_inline void count(enum ports_counter counter)
{
	__u32 key = counter;
	__u64 *cnt = bpf_map_lookup_elem(&ports_counts, &key);

	if (cnt)
		__sync_fetch_and_add(cnt, 1);	/* a program may be interrupted by another one */
}

static __always_inline struct ports_shared *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ports_shared, &zero);
}

static __always_inline __u64 netns_cookie(const struct sock *sk)
{
	return sk->__sk_common.skc_net.net->net_cookie;
}

static __always_inline void addr_v4(__u8 to[16], __u32 addr)
{
	((__u64 *)to)[0] = 0;
	((__u32 *)to)[2] = bpf_htonl(0xffff);
	((__u32 *)to)[3] = addr;
}

/* Whether the kernel treats the socket as IPv4: also an IPv6 one that is connected to ::ffff:a.b.c.d. */
static __always_inline bool is_v4(const struct sock_common *skc)
{
	if (skc->skc_family == AF_INET)
		return true;
	return skc->skc_v6_daddr.in6_u.u6_addr32[0] == 0 && skc->skc_v6_daddr.in6_u.u6_addr32[1] == 0 &&
	       skc->skc_v6_daddr.in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

static __always_inline void sock_addrs(const struct sock_common *skc, __u8 local[16], __u8 remote[16])
{
	if (is_v4(skc)) {
		addr_v4(local, skc->skc_rcv_saddr);
		addr_v4(remote, skc->skc_daddr);
		return;
	}
	for (int i = 0; i < 4; i++) {
		((__u32 *)local)[i] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		((__u32 *)remote)[i] = skc->skc_v6_daddr.in6_u.u6_addr32[i];
	}
	if (skc->skc_v6_daddr.in6_u.u6_addr16[0] == bpf_htons(0xfe80)) {	/* see struct ports_flow_key */
		((__u16 *)local)[1] = bpf_htons(skc->skc_bound_dev_if);
		((__u16 *)remote)[1] = bpf_htons(skc->skc_bound_dev_if);
	}
}

/* The process's number in ebb's pid namespace; 0 when it has none there. */
static __always_inline __u32 pid_visible(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	struct ports_shared *state = state_get();
	__u32 level = state ? state->pid_level : 0;
	struct upid upid;

	if (!pid || BPF_CORE_READ(pid, level) < level)
		return 0;
	if (bpf_core_read(&upid, sizeof(upid), &pid->numbers[0]))
		return 0;
	if (level && bpf_probe_read_kernel(&upid, sizeof(upid), (void *)pid + bpf_core_field_offset(pid->numbers) +
					   level * bpf_core_type_size(struct upid)))
		return 0;
	return BPF_CORE_READ(upid.ns, ns.inum) == settings.pid_inode ? upid.nr : 0;
}

/* The name of the group that tells most: version 2's, or memory's where that is the root of version 2. */
static __always_inline void read_cgroup(struct task_struct *task, char *to, __u32 size)
{
	struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	const char *name;

	if (!BPF_CORE_READ(group, level) && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct cgroup_subsys_state *css;

		css = BPF_CORE_READ(task, cgroups, subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)]);
		group = BPF_CORE_READ(css, cgroup);
	}
	if (!BPF_CORE_READ(group, level))
		return;		/* the root: no name */
	name = BPF_CORE_READ(group, kn, name);
	bpf_probe_read_kernel_str(to, size, name);
}

static __always_inline void owner_describe(struct ports_owner_event *e, struct task_struct *task)
{
	const char *name = (const char *)BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct uts_namespace *uts = BPF_CORE_READ(task, nsproxy, uts_ns);

	e->pid = pid_visible(task);
	e->netns = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie);
	e->netns_inode = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	__builtin_memset(e->exe, 0, sizeof(e->exe) + sizeof(e->cgroup) + sizeof(e->host));
	bpf_core_read_str(e->comm, sizeof(e->comm), &leader->comm);
	if (name)
		bpf_probe_read_kernel_str(e->exe, sizeof(e->exe), name);
	read_cgroup(task, e->cgroup, sizeof(e->cgroup));
	if (BPF_CORE_READ(uts, ns.inum) != settings.uts_inode)
		bpf_core_read_str(e->host, sizeof(e->host), &uts->name.nodename);
}

static __noinline __u32 owner_add(struct task_struct *task, const struct ports_owner_key *key)
{
	struct ports_owner_event *e;
	struct ports_shared *state = state_get();
	__u32 index, *known;

	if (!state)
		return PORTS_NONE;
	e = bpf_ringbuf_reserve(&ports_events, sizeof(*e), 0);
	if (!e)
		return PORTS_NONE;
	index = __sync_fetch_and_add(&state->next_owner, 1);
	if (bpf_map_update_elem(&ports_owners, key, &index, BPF_NOEXIST)) {
		/* another CPU was first, or it is full */
		bpf_ringbuf_discard(e, 0);
		known = bpf_map_lookup_elem(&ports_owners, key);
		return known ? *known : PORTS_NONE;
	}
	e->type = PORTS_EVENT_OWNER;
	e->index = index;
	e->key = *key;
	owner_describe(e, task);
	bpf_ringbuf_submit(e, 0);
	return index;
}

static __always_inline void owner_key(struct task_struct *task, struct ports_owner_key *ret)
{
	ret->start_ns = task->group_leader->start_boottime;
	ret->tgid = task->tgid;
	ret->exec_id = task->self_exec_id;
}

/* Index of the process that the task belongs to. */
static __always_inline __u32 owner_get(struct task_struct *task)
{
	struct ports_owner_key key;
	__u32 *known, index;

	owner_key(task, &key);
	known = bpf_map_lookup_elem(&ports_owners, &key);
	if (known)
		return *known;
	index = owner_add(task, &key);
	if (index == PORTS_NONE)
		count(PORTS_LOST_OWNERS);
	return index;
}

static __noinline struct ports_flow_book *flow_add(const struct ports_flow_key *key)
{
	struct ports_shared *state = state_get();
	struct ports_flow_book *flow, *zeroes;
	__u32 zero = 0, index, *known;

	zeroes = bpf_map_lookup_elem(&ports_flow_zero, &zero);
	if (!state || !zeroes)
		return NULL;
	index = __sync_fetch_and_add(&state->next_flow, 1);
	if (bpf_map_update_elem(&ports_flows, &index, zeroes, BPF_NOEXIST))
		return NULL;
	flow = bpf_map_lookup_elem(&ports_flows, &index);
	if (!flow)
		return NULL;
	flow->key = *key;
	flow->index = index;
	if (!bpf_map_update_elem(&ports_flow_ids, key, &index, BPF_NOEXIST))
		return flow;
	bpf_map_delete_elem(&ports_flows, &index);	/* another CPU was first, or it is full */
	known = bpf_map_lookup_elem(&ports_flow_ids, key);
	return known ? bpf_map_lookup_elem(&ports_flows, known) : NULL;
}

static __always_inline struct ports_flow_book *flow_get(const struct ports_flow_key *key)
{
	__u32 *index = bpf_map_lookup_elem(&ports_flow_ids, key);
	struct ports_flow_book *flow = index ? bpf_map_lookup_elem(&ports_flows, index) : NULL;

	if (!flow)
		flow = flow_add(key);
	if (!flow)
		count(PORTS_LOST_FLOWS);
	return flow;
}

/*
 * The flows of the last connects on this CPU, found by all that makes a flow: owner and flow of a connect are then one
 * comparison instead of two searches with long keys. Only connects use it, and they do not interrupt each other.
 */
#define RECENT	64

struct recent {
	struct ports_owner_key process;
	struct ports_flow_key key;	/* its owner is the process's index; PORTS_NONE: nothing is kept here */
	__u32 flow;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RECENT);
	__type(key, __u32);
	__type(value, struct recent);
} ports_recent SEC(".maps");

/* But for the owner, which is the same when the process is. */
static __always_inline bool is_recent(const struct recent *r, const struct ports_owner_key *process,
				      const struct ports_flow_key *key)
{
	const __u64 *a = (const __u64 *)&r->key, *b = (const __u64 *)key;

	return r->key.owner != PORTS_NONE && r->key.port == key->port && r->process.start_ns == process->start_ns &&
	       r->process.tgid == process->tgid && r->process.exec_id == process->exec_id &&
	       a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4];
}

/* The flow of a connect; key has everything but the owner. */
static __always_inline struct ports_flow_book *flow_of_connect(struct ports_flow_key *key)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct ports_flow_book *flow;
	struct ports_owner_key process;
	struct recent *recent;
	__u32 slot;

	owner_key(task, &process);
	slot = ((((__u32 *)key->remote)[3] ^ process.tgid) * 0x9e3779b1u ^ key->port * 0x85ebca6bu) >> 26;
	recent = bpf_map_lookup_elem(&ports_recent, &slot);
	if (recent && is_recent(recent, &process, key)) {
		flow = bpf_map_lookup_elem(&ports_flows, &recent->flow);
		if (flow)
			return flow;	/* else user space has closed it */
	}
	key->owner = owner_get(task);
	flow = flow_get(key);
	if (!flow || !recent)
		return flow;
	recent->process = process;
	recent->key = *key;
	recent->flow = flow->index;
	return flow;
}

/* Tells user space of a failure, but for those beyond a limit. */
static __noinline void send_failure(const struct ports_flow_key *key, enum ports_failure what, __u16 local_port,
				    __u64 search_ns)
{
	struct ports_shared *state = state_get();
	__u64 window = bpf_ktime_get_ns() >> PORTS_WINDOW_SHIFT;
	struct ports_failure_event *e = NULL;

	if (!state)
		return;
	if (state->event_window != window) {
		state->event_window = window;
		state->event_cnt = 0;
	}
	if (state->event_cnt < EVENTS_A_WINDOW) {
		state->event_cnt++;
		e = bpf_ringbuf_reserve(&ports_events, sizeof(*e), 0);
	}
	if (!e) {
		count(PORTS_QUIET_FAILURES);
		return;
	}
	e->type = PORTS_EVENT_FAILURE;
	e->what = what;
	e->pid = pid_visible(bpf_get_current_task_btf());
	e->local_port = local_port;
	e->remote_port = key->port;
	e->time_ns = bpf_ktime_get_ns();
	e->search_ns = search_ns;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	__builtin_memcpy(e->local, key->local, sizeof(e->local));
	__builtin_memcpy(e->remote, key->remote, sizeof(e->remote));
	bpf_ringbuf_submit(e, 0);
}

/*
 * IP_LOCAL_PORT_RANGE, high << 16 | low; 0 = none. Linux 6.3 to 6.7 have two halves, so does Debian's 6.1.176, later
 * kernels one word, earlier ones nothing.
 */
struct tcp_sock___halves {
	struct {
		struct {
			struct {
				__u16 lo, hi;
			} local_port_range;
		} icsk_inet;
	} inet_conn;
} __attribute__((preserve_access_index));
struct tcp_sock___word {
	struct {
		struct {
			__u32 local_port_range;
		} icsk_inet;
	} inet_conn;
} __attribute__((preserve_access_index));

static __always_inline __u32 socket_range(struct tcp_sock *tp)
{
	struct tcp_sock___halves *halves = (void *)tp;
	struct tcp_sock___word *word = (void *)tp;

	if (bpf_core_field_exists(halves->inet_conn.icsk_inet.local_port_range.lo))
		return (__u32)halves->inet_conn.icsk_inet.local_port_range.hi << 16 |
		       halves->inet_conn.icsk_inet.local_port_range.lo;
	if (bpf_core_field_exists(word->inet_conn.icsk_inet.local_port_range))
		return word->inet_conn.icsk_inet.local_port_range;
	return 0;
}

#endif
