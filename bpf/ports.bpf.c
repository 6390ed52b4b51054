/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ephemeral ports: who takes them, towards whom, and who gets none.
 *
 * Hooks the state changes of TCP sockets (tp_btf/inet_sock_set_state) and their end (tp_btf/tcp_destroy_sock); on
 * request the bind() hooks of the root cgroup, UDP sends, and the timers of TIME_WAIT; iterators read what is older. No
 * system call is hooked.
 *
 * Counts by flow (owner and destination): connects and how they ended, open sockets, TIME_WAIT by the
 * moment of its end, lifetimes, and stacks of connects. Owner and stack are taken at SYN_SENT, the only event that always
 * runs in the owner's task.
 *
 * That a connect found no port has no event of its own. Its signature: SYN_SENT -> CLOSE in the task itself,
 * without an error (the state changes before it is set), not shut down, and inet_sport still what it was at
 * SYN_SENT. A socket that had been bound has met a taken 4-tuple; any other found no free port.
 *
 * Misses: the owner of sockets that a kernel thread opens (they have one without an executable), UDP and
 * bind(0) unless asked for, and which of several holders of an inherited socket uses it now. How a connection ended
 * whose last change came while another one was looked at is worked out later, and a refused one may pass for aborted.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "abi.h"
#include "unwind.bpf.h"
#include "ports.bpf.h"
#include "ports_sockets.bpf.h"
#include "ports_rules.bpf.h"
#include "ports_exact.bpf.h"
#include "ports_bind.bpf.h"
#include "ports_dump.bpf.h"

static __always_inline struct ports_stack *stack_counts(__u32 flow, __u32 stack, bool add)
{
	struct ports_stack_key key = { .flow = flow, .stack = stack };
	struct ports_stack *s = bpf_map_lookup_elem(&ports_stacks, &key), zero = {};

	if (s || !add)
		return s;
	bpf_map_update_elem(&ports_stacks, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&ports_stacks, &key);
}

static __always_inline void take_stack(struct ports_flow_book *flow, struct ports_socket *s)
{
	struct ports_stack *counts;
	__u16 weight = settings.no_stacks ? 0 : stack_weight(flow, s->connect_ns);

	s->stack = STACK_NONE;
	s->weight = 0;
	if (!weight)
		return;
	s->stack = stack_take_task();
	s->weight = weight;
	count(PORTS_STACKS_TAKEN);
	counts = stack_counts(flow->index, s->stack, true);
	if (counts)
		__sync_fetch_and_add(&counts->connects, weight);
	else
		count(PORTS_LOST_STACKS);
}

/*
 * Its connect() has failed unseen, and the owner has fetched the error since. It was by packet, or it would have been
 * seen (see ports_gone()): refused.
 */
static __always_inline void refused_unseen(struct ports_socket *s, struct ports_flow_book *flow)
{
	count(PORTS_NESTED);
	s->flags &= ~PORTS_SOCKET_LIVE;
	__sync_fetch_and_add(&flow->open, -1);
	__sync_fetch_and_add(&flow->refused, 1);
}

/* What is known of a socket that connects anew. */
static __always_inline void socket_forget(__u64 id)
{
	struct ports_socket *s = socket_find(id);
	struct ports_flow_book *flow;

	if (!s)
		return;
	flow = bpf_map_lookup_elem(&ports_flows, &s->flow);
	if (flow && s->flags & PORTS_SOCKET_LIVE)
		refused_unseen(s, flow);
	socket_remove(id);
}

static __always_inline void on_connect(struct sock *sk, __u64 netns)
{
	struct ports_flow_key key = { .netns = netns };
	struct ports_socket s = {};
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct ports_flow_book *flow;
	__u64 id = (__u64)sk;

	socket_forget(id);
	key.port = bpf_ntohs(sk->__sk_common.skc_dport);
	sock_addrs(&sk->__sk_common, key.local, key.remote);
	flow = flow_of_connect(&key);
	if (!flow || !tp)
		return;
	__sync_fetch_and_add(&flow->attempts, 1);
	s.flow = flow->index;
	s.flags = PORTS_SOCKET_LIVE | (sk->__sk_common.skc_num ? PORTS_SOCKET_BOUND : 0);
	s.sport = tp->inet_conn.icsk_inet.inet_sport;
	s.connect_ns = bpf_ktime_get_ns();
	flow->last_attempt_ns = s.connect_ns;
	flow->range = socket_range(tp);
	take_stack(flow, &s);
	if (socket_add(id, &s))
		__sync_fetch_and_add(&flow->open, 1);
	else
		count(PORTS_LOST_SOCKETS);
}

/* How long the kernel searched for a port: what connecting took but for the round trip. */
static __always_inline void on_established(struct sock *sk, struct ports_socket *s, struct ports_flow_book *flow, __u64 now)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 took = now - s->connect_ns, round_trip;

	s->flags |= PORTS_SOCKET_ESTABLISHED;
	s->state_ns = now;
	__sync_fetch_and_add(&flow->established, 1);
	/* with TCP Fast Open the connect waits for the first write */
	if (!tp || tp->total_retrans || s->flags & PORTS_SOCKET_BOUND || BPF_CORE_READ_BITFIELD(tp, syn_fastopen))
		return;
	round_trip = (tp->srtt_us >> 3) * 1000ull;
	add_search(flow, took > round_trip ? took - round_trip : 0);
}

static __always_inline void on_no_port(struct ports_socket *s, struct ports_flow_book *flow, __u64 now)
{
	struct ports_stack *counts;

	__sync_fetch_and_add(&flow->exhausted, 1);
	if (!flow->first_failure_ns)
		flow->first_failure_ns = now;
	flow->last_failure_ns = now;
	add_search(flow, now - s->connect_ns);
	if (s->weight) {
		counts = stack_counts(flow->index, s->stack, false);
		if (counts)
			__sync_fetch_and_add(&counts->failures, s->weight);
	}
	send_failure(&flow->key, PORTS_FAILURE_CONNECT, 0, now - s->connect_ns);
}

static __always_inline void on_connect_failed(struct sock *sk, struct ports_socket *s, struct ports_flow_book *flow,
					      __u64 now)
{
	__u16 sport = BPF_CORE_READ((struct inet_sock *)sk, inet_sport);

	/*
	 * connect(AF_UNSPEC) closes a socket that is connecting in the same way as a connect() without a port; but that one
	 * has not begun to wait.
	 */
	bool waits = BPF_CORE_READ(sk, sk_socket, state) == SS_CONNECTING;

	switch (waits && !sk->sk_err ? PORTS_END_ABORTED : connect_end(s, sk->sk_err, sk->sk_shutdown, sport)) {
	case PORTS_END_REFUSED:
		__sync_fetch_and_add(&flow->refused, 1);
		break;
	case PORTS_END_TIMED_OUT:
		__sync_fetch_and_add(&flow->timed_out, 1);
		break;
	case PORTS_END_NO_PORT:
		on_no_port(s, flow, now);
		break;
	case PORTS_END_COLLISION:
		__sync_fetch_and_add(&flow->collisions, 1);
		send_failure(&flow->key, PORTS_FAILURE_COLLISION, bpf_ntohs(s->sport), 0);
		break;
	case PORTS_END_ABORTED:
		__sync_fetch_and_add(&flow->aborted, 1);
		break;
	default:
		__sync_fetch_and_add(&flow->failed_other, 1);
	}
}

/* Its port goes into TIME_WAIT. */
static __always_inline void on_time_wait(struct sock *sk, struct ports_socket *s, struct ports_flow_book *flow)
{
	struct ports_shared *state = state_get();
	struct ports_stack *counts;

	__sync_fetch_and_add(&flow->closed_first, 1);
	if (s->weight) {
		counts = stack_counts(flow->index, s->stack, false);
		if (counts)
			__sync_fetch_and_add(&counts->time_waits, s->weight);
	}
	if (settings.tw_handler)
		exact_own(sk, flow);
	if (state && !add_time_wait(flow, state, bpf_jiffies64()))
		count(PORTS_LOST_TIME_WAIT);
}

static __always_inline void on_close(struct sock *sk, struct ports_socket *s, struct ports_flow_book *flow, int oldstate,
				     __u64 now)
{
	int err = sk->sk_err;

	leave_close_wait(s, flow, !err);
	s->flags &= ~PORTS_SOCKET_LIVE;
	__sync_fetch_and_add(&flow->open, -1);
	if (oldstate == TCP_SYN_SENT) {
		on_connect_failed(sk, s, flow, now);
		return;
	}
	if (s->connect_ns)
		add_life(flow, now - s->connect_ns);
	switch (close_end(oldstate, err)) {
	case PORTS_END_TIMED_OUT:
		__sync_fetch_and_add(&flow->timed_out, 1);
		break;
	case PORTS_END_RESET:
		__sync_fetch_and_add(&flow->reset, 1);
		break;
	case PORTS_END_CLOSED_FIRST:
		on_time_wait(sk, s, flow);
		break;
	case PORTS_END_CLOSED_BY_PEER:
		__sync_fetch_and_add(&flow->closed_by_peer, 1);
		break;
	default:
		__sync_fetch_and_add(&flow->closed_hard, 1);
	}
}

static __always_inline bool is_ignored(int oldstate, int newstate)
{
	return newstate == TCP_FIN_WAIT1 || newstate == TCP_FIN_WAIT2 || newstate == TCP_CLOSING ||
	       newstate == TCP_LISTEN || newstate == TCP_SYN_RECV ||
	       (newstate == TCP_ESTABLISHED && oldstate == TCP_SYN_RECV);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(ports_change, struct sock *sk, int oldstate, int newstate)
{
	struct ports_socket *s;
	struct ports_flow_book *flow;
	__u64 now, netns, id = (__u64)sk;

	if (is_ignored(oldstate, newstate) || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (newstate == TCP_SYN_SENT) {
		count(PORTS_EVENTS);
		netns = netns_cookie(sk);
		if (!settings.netns || settings.netns == netns)
			on_connect(sk, netns);
		return 0;
	}
	s = socket_find(id);
	if (!s)
		return 0;	/* a server's, or older than ebb */
	flow = bpf_map_lookup_elem(&ports_flows, &s->flow);
	if (!flow || !(s->flags & PORTS_SOCKET_LIVE))
		return 0;
	count(PORTS_EVENTS);
	now = bpf_ktime_get_ns();
	catch_up(s, flow, oldstate, now);
	switch (newstate) {
	case TCP_ESTABLISHED:
		if (!(s->flags & PORTS_SOCKET_ESTABLISHED))
			on_established(sk, s, flow, now);
		break;
	case TCP_CLOSE_WAIT:
		enter_close_wait(s, flow, now);
		break;
	case TCP_LAST_ACK:
		leave_close_wait(s, flow, true);
		break;
	case TCP_CLOSE:
		on_close(sk, s, flow, oldstate, now);
		socket_remove(id);
		break;
	}
	return 0;
}

/*
 * While a task is in the program above, a packet may change another socket's state on the same CPU. The kernel does not
 * run a program within itself: that change is missed. It was ESTABLISHED, CLOSE_WAIT or CLOSE, since connect() and
 * close() do not come by packet. The next event tells of the first two, and so does a dump; a socket that is still in
 * the books when the kernel frees it was closed.
 *
 * This instead of a second program behind the first, which takes as long for each of a connection's ten events as this
 * for each of its two ends.
 */
static __always_inline void on_gone(struct sock *sk, struct ports_socket *s, struct ports_flow_book *flow)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 now = bpf_ktime_get_ns();
	/* by packet: after both FINs, or by RST, which has left an error */
	int oldstate = s->flags & PORTS_SOCKET_PEER_FIRST ? TCP_LAST_ACK : TCP_FIN_WAIT2;

	/* it has measured a round trip */
	if (!(s->flags & PORTS_SOCKET_ESTABLISHED) && !(tp && tp->srtt_us))
		oldstate = TCP_SYN_SENT;
	if (oldstate == TCP_SYN_SENT && !sk->sk_err) {
		refused_unseen(s, flow);
		return;
	}
	count(PORTS_NESTED);
	catch_up(s, flow, oldstate, now);
	on_close(sk, s, flow, oldstate, now);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(ports_gone, struct sock *sk)
{
	struct ports_flow_book *flow;
	struct ports_socket *s;
	__u64 id = (__u64)sk;

	s = socket_find(id);
	if (!s)
		return 0;
	flow = bpf_map_lookup_elem(&ports_flows, &s->flow);
	if (flow && s->flags & PORTS_SOCKET_LIVE)
		on_gone(sk, s, flow);
	socket_remove(id);
	return 0;
}

/* Jiffies and nanoseconds of one moment, and how deep in pid namespaces the caller is; user space runs it. */
SEC("raw_tp")
int ports_clock(void *ctx)
{
	struct ports_shared *state = state_get();

	if (state) {
		state->clock.jiffies = bpf_jiffies64();
		state->clock.ns = bpf_ktime_get_ns();
		state->pid_level = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid, level);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
