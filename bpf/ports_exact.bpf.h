/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TIME_WAIT to the socket, on request: from the start of its timer to its end, early ends (tcp_tw_reuse) included.
 * Only included by ports.bpf.c.
 *
 * The kernel starts the timer of a new TIME_WAIT socket and then closes the old one, on one CPU as a rule; the
 * first knows no owner, the second no TIME_WAIT socket. They find each other by what both have: ports and addresses.
 *
 * In FIN_WAIT2 the peer's FIN starts the timer again: an end and a start in one moment, and the owner stays.
 */
#ifndef EBB_PORTS_EXACT_BPF_H
#define EBB_PORTS_EXACT_BPF_H

struct exact_tw {
	__u64 tuple;
	__u32 flow;
	__u32 pad;
};

/* Each TIME_WAIT socket by its address, an identity that is not followed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct exact_tw);
} exact_tws SEC(".maps");

/* Those whose old socket is not closed yet: tuple -> address. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} exact_new SEC(".maps");

/* The one that ended last on this CPU. */
struct exact_last {
	__u64 addr;
	__u64 jiffies;
	struct exact_tw tw;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exact_last);
} exact_last SEC(".maps");

/* Two connections that are alive at the same time in one namespace never have the same but by chance (2^-64). */
static __always_inline __u64 exact_tuple(const struct sock_common *skc, __u16 local_port)
{
	__u64 ports = (__u64)local_port << 16 | BPF_CORE_READ(skc, skc_dport);
	__u64 addrs = (__u64)BPF_CORE_READ(skc, skc_rcv_saddr) << 32 | BPF_CORE_READ(skc, skc_daddr);

	addrs ^= BPF_CORE_READ(skc, skc_net.net, net_cookie) << 24;
	if (BPF_CORE_READ(skc, skc_family) == AF_INET6) {
		addrs += (__u64)BPF_CORE_READ(skc, skc_v6_rcv_saddr.in6_u.u6_addr32[3]) << 32 |
			 BPF_CORE_READ(skc, skc_v6_daddr.in6_u.u6_addr32[3]);
		addrs ^= (__u64)BPF_CORE_READ(skc, skc_v6_daddr.in6_u.u6_addr32[1]) << 16;
	}
	return (ports * 0x9e3779b97f4a7c15ull) ^ (addrs * 0xd6e8feb86659fd93ull);
}

static __always_inline void exact_add(__u32 index, __s64 cnt)
{
	struct ports_flow_book *flow = bpf_map_lookup_elem(&ports_flows, &index);

	if (flow)
		__sync_fetch_and_add(&flow->tw_exact, cnt);
}

/* The old socket closes: its TIME_WAIT socket is the flow's. */
static __always_inline void exact_own(struct sock *sk, struct ports_flow_book *flow)
{
	__u64 tuple = exact_tuple(&sk->__sk_common, bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport)));
	__u64 *addr = bpf_map_lookup_elem(&exact_new, &tuple), key;
	struct exact_tw *tw;

	if (!addr)
		return;		/* tcp_max_tw_buckets: there is none, the port is free */
	key = *addr;
	bpf_map_delete_elem(&exact_new, &tuple);
	tw = bpf_map_lookup_elem(&exact_tws, &key);
	if (!tw || tw->tuple != tuple)
		return;		/* over already */
	if (tw->flow != PORTS_NONE)
		exact_add(tw->flow, -1);
	tw->flow = flow->index;
	__sync_fetch_and_add(&flow->tw_exact, 1);
}

static __always_inline struct inet_timewait_sock *exact_socket(struct timer_list *timer)
{
	if ((__u64)BPF_CORE_READ(timer, function) != settings.tw_handler)
		return NULL;
	return (void *)timer - bpf_core_field_offset(struct inet_timewait_sock, tw_timer);
}

SEC("tp_btf/timer_start")
int BPF_PROG(ports_tw_start, struct timer_list *timer)
{
	struct inet_timewait_sock *socket = exact_socket(timer);
	__u64 addr = (__u64)socket;
	struct exact_last *last;
	struct exact_tw tw = {};
	__u32 zero = 0;

	if (!socket)
		return 0;
	tw.tuple = exact_tuple(&socket->__tw_common, BPF_CORE_READ(socket, __tw_common.skc_num));
	last = bpf_map_lookup_elem(&exact_last, &zero);
	if (last && last->addr == addr && last->tw.tuple == tw.tuple && last->jiffies == bpf_jiffies64()) {
		tw.flow = last->tw.flow;
		if (tw.flow != PORTS_NONE)
			exact_add(tw.flow, 1);
		last->addr = 0;
	}
	if (bpf_map_update_elem(&exact_tws, &addr, &tw, BPF_ANY) ||
	    bpf_map_update_elem(&exact_new, &tw.tuple, &addr, BPF_ANY))
		count(PORTS_LOST_TIME_WAIT);
	return 0;
}

SEC("tp_btf/timer_cancel")
int BPF_PROG(ports_tw_end, struct timer_list *timer)
{
	struct inet_timewait_sock *socket = exact_socket(timer);
	__u64 addr = (__u64)socket;
	struct exact_last *last;
	struct exact_tw *tw;
	__u32 zero = 0;

	if (!socket)
		return 0;
	tw = bpf_map_lookup_elem(&exact_tws, &addr);
	if (!tw)
		return 0;	/* older than ebb */
	if (tw->flow != PORTS_NONE)
		exact_add(tw->flow, -1);
	last = bpf_map_lookup_elem(&exact_last, &zero);
	if (last) {
		last->addr = addr;
		last->jiffies = bpf_jiffies64();
		last->tw = *tw;
	}
	bpf_map_delete_elem(&exact_tws, &addr);
	return 0;
}

#endif
