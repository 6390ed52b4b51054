/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Iterators over what exists: the TCP sockets of the namespace that the reader is in, and the sockets behind the
 * descriptors of all processes. Only included by ports.bpf.c.
 */
#ifndef EBB_PORTS_DUMP_BPF_H
#define EBB_PORTS_DUMP_BPF_H

#define SOCK_DGRAM_	2

/*
 * Whether a bind bucket takes the port away from plain connects: those made by connect() have -1 here, those of
 * bind() and listen() more (__inet_hash_connect() in net/ipv4/inet_hashtables.c).
 */
static __always_inline bool bucket_held(const struct inet_bind_bucket *bucket)
{
	return bucket && (bucket->fastreuse >= 0 || bucket->fastreuseport >= 0);
}

static __always_inline void dump_write(struct seq_file *seq, struct ports_record *r, const struct sock_common *skc)
{
	r->local_port = skc->skc_num;
	r->remote_port = bpf_ntohs(skc->skc_dport);
	if (is_v4(skc)) {
		r->v4 = 1;
		((__u32 *)r->addrs)[0] = skc->skc_rcv_saddr;
		((__u32 *)r->addrs)[1] = skc->skc_daddr;
		bpf_seq_write(seq, r, PORTS_RECORD_V4_BYTES);
		return;
	}
	for (int i = 0; i < 4; i++) {
		((__u32 *)r->addrs)[i] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		((__u32 *)r->addrs)[4 + i] = skc->skc_v6_daddr.in6_u.u6_addr32[i];
	}
	if (skc->skc_v6_daddr.in6_u.u6_addr16[0] == bpf_htons(0xfe80)) {
		((__u16 *)r->addrs)[1] = bpf_htons(skc->skc_bound_dev_if);
		((__u16 *)r->addrs)[9] = bpf_htons(skc->skc_bound_dev_if);
	}
	bpf_seq_write(seq, r, sizeof(*r));
}

/* For how long the socket has been in its state, or silent. */
static __always_inline __u32 silent_jiffies(const struct tcp_sock *tp, __u32 now)
{
	__u32 sent = now - tp->lsndtime, got = now - tp->inet_conn.icsk_ack.lrcvtime;

	return sent < got ? sent : got;
}

/* How long ago the peer closed: we know it, or the last that came from it was its FIN. */
static __always_inline __u32 peer_closed_jiffies(const struct tcp_sock *tp, const struct ports_socket *s,
						 const struct ports_shared *state, __u32 now)
{
	if (s && s->flags & PORTS_SOCKET_CLOSE_WAIT && s->state_ns)
		return (bpf_ktime_get_ns() - s->state_ns) / (60000000000ull / (state->tw_jiffies | 1));
	return now - tp->rcv_tstamp;
}

/*
 * Sockets that hold ports of the range, and those that are tracked. A server's, outside of the range, are
 * neither; they may be many.
 */
SEC("iter/tcp")
int ports_dump(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct ports_shared *state = state_get();
	struct ports_record r = {};
	struct tcp_timewait_sock *tw;
	struct ports_flow_book *flow;
	struct ports_socket *s;
	struct tcp_sock *tp;
	__u32 now = bpf_jiffies64();
	__u64 id = (__u64)skc;
	bool in_range;

	if (!skc || !state)
		return 0;
	r.state = skc->skc_state;
	in_range = skc->skc_num >= state->dump_low && skc->skc_num <= state->dump_high;
	if (r.state == TCP_TIME_WAIT) {
		tw = bpf_skc_to_tcp_timewait_sock(skc);
		if (!tw)
			return 0;
		r.held = bucket_held(tw->tw_sk.tw_tb);
		r.jiffies = (__u32)tw->tw_sk.tw_timer.expires - now;
		if (in_range || !r.held)
			dump_write(ctx->meta->seq, &r, skc);
		return 0;
	}
	if (r.state == TCP_NEW_SYN_RECV)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	s = socket_find(id);
	if (s && s->flags & PORTS_SOCKET_LIVE) {
		flow = bpf_map_lookup_elem(&ports_flows, &s->flow);
		if (flow)
			catch_up(s, flow, r.state, bpf_ktime_get_ns());
		r.flow = s->flow;
		r.stack = s->stack;
		r.flags = s->flags;
	}
	r.held = r.state == TCP_LISTEN || bucket_held(tp->inet_conn.icsk_bind_hash);
	if (!in_range && r.flow == PORTS_NONE && r.held)
		return 0;
	r.jiffies = r.state == TCP_CLOSE_WAIT ? peer_closed_jiffies(tp, s, state, now) : silent_jiffies(tp, now);
	dump_write(ctx->meta->seq, &r, skc);
	return 0;
}

/* A connected socket that is older than ebb becomes its holder's. */
static __always_inline void seed(struct sock *sk, struct task_struct *task)
{
	struct ports_flow_key key = { .netns = netns_cookie(sk) };
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	struct ports_socket s = {};
	struct ports_flow_book *flow;
	__u64 id = (__u64)sk;

	if (state == TCP_LISTEN || state == TCP_CLOSE || !tp || bucket_held(tp->inet_conn.icsk_bind_hash))
		return;
	if (socket_find(id))
		return;
	key.owner = owner_get(task);
	key.port = bpf_ntohs(sk->__sk_common.skc_dport);
	sock_addrs(&sk->__sk_common, key.local, key.remote);
	flow = flow_get(&key);
	if (!flow)
		return;
	s.flow = flow->index;
	s.flags = PORTS_SOCKET_LIVE | PORTS_SOCKET_ESTABLISHED | PORTS_SOCKET_SEEDED |
		  (state == TCP_CLOSE_WAIT ? PORTS_SOCKET_PEER_FIRST | PORTS_SOCKET_CLOSE_WAIT : 0);
	if (state == TCP_CLOSE_WAIT)
		__sync_fetch_and_add(&flow->close_wait, 1);
	__sync_fetch_and_add(&flow->open, 1);
	__sync_fetch_and_add(&flow->seeded, 1);
	if (!socket_add(id, &s))
		count(PORTS_LOST_SOCKETS);
	else if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE || !socket_remove(id))
		return;		/* kept; or it has closed meanwhile, and was seen */
	__sync_fetch_and_add(&flow->open, -1);
	if (state == TCP_CLOSE_WAIT)
		__sync_fetch_and_add(&flow->close_wait, -1);
}

/* Finds owners of older connections, and ports that are held without a connection. */
SEC("iter/task_file")
int ports_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct ports_holder h = {};
	struct socket *socket;
	struct sock *sk;
	__u8 ignored[16];
	__u16 protocol;
	__u8 state;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return 0;
	h.netns = netns_cookie(sk);
	if (settings.netns && settings.netns != h.netns)
		return 0;
	protocol = sk->sk_protocol;
	state = sk->__sk_common.skc_state;
	if (protocol == IPPROTO_TCP && state != TCP_CLOSE) {
		seed(sk, task);
		return 0;
	}
	h.udp = protocol == IPPROTO_UDP_;
	h.port = sk->__sk_common.skc_num;
	if (!h.port || (protocol != IPPROTO_TCP && !(h.udp && settings.udp)))
		return 0;
	h.owner = owner_get(task);
	sock_addrs(&sk->__sk_common, h.local, ignored);
	if (is_v4(&sk->__sk_common))
		addr_v4(h.local, BPF_CORE_READ((struct inet_sock *)sk, inet_saddr));
	bpf_seq_write(ctx->meta->seq, &h, sizeof(h));
	return 0;
}

#endif
