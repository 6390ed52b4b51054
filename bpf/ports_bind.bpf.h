/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What connect() does not show, on request: bind() with port 0 that finds none, and UDP sends that find none.
 * Only included by ports.bpf.c.
 *
 * A failing bind() has no event: the cgroup hook before it is not followed by the one after it. So the thread's next
 * bind(), or time, tells that the last one has failed; why it failed, only how full the pool is can tell.
 */
#ifndef EBB_PORTS_BIND_BPF_H
#define EBB_PORTS_BIND_BPF_H

#define IPPROTO_UDP_	17

/* Calls that are under way, by thread. */
struct bind_pending {
	struct ports_pool_key key;
	__u64 time_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct bind_pending);
} ports_binds SEC(".maps");

static __always_inline struct ports_pool_counts *pool_counts(const struct ports_pool_key *key)
{
	struct ports_pool_counts *counts = bpf_map_lookup_elem(&ports_pools, key), zero = {};

	if (counts)
		return counts;
	bpf_map_update_elem(&ports_pools, key, &zero, BPF_NOEXIST);
	counts = bpf_map_lookup_elem(&ports_pools, key);
	if (!counts)
		count(PORTS_LOST_BINDS);
	return counts;
}

/* The thread begins a bind(): one that it began before has failed. */
static __always_inline int bind_begin(struct bpf_sock_addr *ctx, bool v6)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct bind_pending *old = bpf_map_lookup_elem(&ports_binds, &thread), next = {};
	struct ports_pool_counts *counts;

	if (old) {
		counts = pool_counts(&old->key);
		if (counts)
			__sync_fetch_and_add(&counts->failed, 1);
		bpf_map_delete_elem(&ports_binds, &thread);
	}
	if (ctx->user_port || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP_))
		return 1;
	next.key.netns = bpf_get_netns_cookie(ctx);
	if (settings.netns && settings.netns != next.key.netns)
		return 1;
	next.key.udp = ctx->protocol == IPPROTO_UDP_;
	next.key.owner = owner_get(bpf_get_current_task_btf());
	next.time_ns = bpf_ktime_get_ns();
	if (v6) {
		((__u32 *)next.key.local)[0] = ctx->user_ip6[0];
		((__u32 *)next.key.local)[1] = ctx->user_ip6[1];
		((__u32 *)next.key.local)[2] = ctx->user_ip6[2];
		((__u32 *)next.key.local)[3] = ctx->user_ip6[3];
	} else {
		addr_v4(next.key.local, ctx->user_ip4);
	}
	counts = pool_counts(&next.key);
	if (counts)
		__sync_fetch_and_add(&counts->tried, 1);
	if (bpf_map_update_elem(&ports_binds, &thread, &next, BPF_ANY))
		count(PORTS_LOST_BINDS);
	return 1;
}

static __always_inline int bind_end(void)
{
	__u64 thread = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&ports_binds, &thread);
	return 1;
}

SEC("cgroup/bind4")
int ports_bind4(struct bpf_sock_addr *ctx) { return bind_begin(ctx, false); }
SEC("cgroup/bind6")
int ports_bind6(struct bpf_sock_addr *ctx) { return bind_begin(ctx, true); }
SEC("cgroup/post_bind4")
int ports_bound4(struct bpf_sock *ctx) { return bind_end(); }
SEC("cgroup/post_bind6")
int ports_bound6(struct bpf_sock *ctx) { return bind_end(); }

#define BIND_PENDING_NS	100000000ull	/* bind() does not sleep: one that has not come back for so long has failed */

static long bind_reap(struct bpf_map *map, const __u64 *thread, struct bind_pending *pending, void *ctx)
{
	struct ports_pool_counts *counts;

	if (pending->time_ns + BIND_PENDING_NS > bpf_ktime_get_ns())
		return 0;
	counts = pool_counts(&pending->key);
	if (counts)
		__sync_fetch_and_add(&counts->failed, 1);
	bpf_map_delete_elem(map, thread);
	return 0;
}

/* Books the calls of threads that have called bind() no more; user space runs it. */
SEC("raw_tp")
int ports_reap(void *ctx)
{
	bpf_for_each_map_elem(&ports_binds, bind_reap, NULL, 0);
	return 0;
}

/* A UDP socket that has no port yet gets one at its first send: -EAGAIN and still none. */
SEC("tp_btf/sock_send_length")
int BPF_PROG(ports_udp, struct sock *sk, int ret, int flags)
{
	struct ports_pool_counts *counts;
	struct ports_flow_key failed = {};
	struct ports_pool_key key = { .udp = 1 };

	if (ret != -EAGAIN || sk->sk_protocol != IPPROTO_UDP_ || sk->__sk_common.skc_num)
		return 0;
	key.netns = failed.netns = netns_cookie(sk);
	if (settings.netns && settings.netns != key.netns)
		return 0;
	sock_addrs(&sk->__sk_common, key.local, failed.remote);
	key.owner = failed.owner = owner_get(bpf_get_current_task_btf());
	__builtin_memcpy(failed.local, key.local, sizeof(key.local));
	counts = pool_counts(&key);
	if (counts) {
		__sync_fetch_and_add(&counts->tried, 1);
		__sync_fetch_and_add(&counts->failed, 1);
	}
	send_failure(&failed, PORTS_FAILURE_UDP, 0, 0);
	return 0;
}

#endif
