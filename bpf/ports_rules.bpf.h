/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ports decides by plain numbers: how a connection ended, which stacks are taken, and where a search, a
 * lifetime and a TIME_WAIT are counted. It knows no type of the kernel.
 */
#ifndef EBB_PORTS_RULES_BPF_H
#define EBB_PORTS_RULES_BPF_H

#define ETIMEDOUT	110
#define ECONNREFUSED	111

enum ports_end {
	PORTS_END_REFUSED,
	PORTS_END_TIMED_OUT,
	PORTS_END_FAILED,	/* connect(), in another way */
	PORTS_END_ABORTED,	/* closed while connecting */
	PORTS_END_NO_PORT,
	PORTS_END_COLLISION,	/* the port that it was bound to is taken towards this destination */
	PORTS_END_RESET,
	PORTS_END_CLOSED_FIRST,
	PORTS_END_CLOSED_BY_PEER,
	PORTS_END_CLOSED_HARD,	/* without a goodbye: SO_LINGER 0, or data that nobody read */
};

/* SYN_SENT -> CLOSE. */
static __always_inline enum ports_end connect_end(const struct ports_socket *s, int err, __u8 shutdown, __u16 sport)
{
	if (err == ECONNREFUSED)
		return PORTS_END_REFUSED;
	if (err == ETIMEDOUT)
		return PORTS_END_TIMED_OUT;
	if (err)
		return PORTS_END_FAILED;
	if (shutdown || sport != s->sport)
		return PORTS_END_ABORTED;
	return s->flags & PORTS_SOCKET_BOUND ? PORTS_END_COLLISION : PORTS_END_NO_PORT;
}

/* Any later state -> CLOSE. */
static __always_inline enum ports_end close_end(int oldstate, int err)
{
	if (err == ETIMEDOUT)
		return PORTS_END_TIMED_OUT;
	if (err)
		return PORTS_END_RESET;
	if (oldstate == TCP_FIN_WAIT2 || oldstate == TCP_CLOSING)
		return PORTS_END_CLOSED_FIRST;
	return oldstate == TCP_LAST_ACK ? PORTS_END_CLOSED_BY_PEER : PORTS_END_CLOSED_HARD;
}

/* For how many connects a stack stands that is taken now; 0 = none is taken. */
static __always_inline __u16 stack_weight(struct ports_flow_book *flow, __u64 now)
{
	__u64 window = now >> PORTS_WINDOW_SHIFT;

	if (flow->sampled_window != window) {
		flow->sampled_window = window;
		flow->sampled_cnt = 0;
	}
	if (flow->sampled_cnt < PORTS_WINDOW_STACKS) {
		flow->sampled_cnt++;
		return 1;
	}
	return bpf_get_prandom_u32() % PORTS_SAMPLE ? 0 : PORTS_SAMPLE;
}

static __always_inline void add_search(struct ports_flow_book *flow, __u64 ns)
{
	if (ns > flow->search_max_ns)
		flow->search_max_ns = ns;
	if (!flow->search_cnt || ns < flow->search_next_ns)
		flow->search_next_ns = ns;
	if (++flow->search_cnt < PORTS_SEARCHES)
		return;
	flow->search_low_ns = flow->search_next_ns;
	flow->search_cnt = 0;
}

static __always_inline void add_life(struct ports_flow_book *flow, __u64 ns)
{
	__u64 us = ns / 1000;
	__u32 bucket = 0;

	for (int bits = 16; bits; bits /= 2) {
		if (us >> bits) {
			bucket += bits;
			us >>= bits;
		}
	}
	__sync_fetch_and_add(&flow->lives[bucket & (PORTS_LIVES - 1)], 1);
	__sync_fetch_and_add(&flow->life_sum_ns, ns);
}

static __always_inline void enter_close_wait(struct ports_socket *s, struct ports_flow_book *flow, __u64 now)
{
	if (s->flags & PORTS_SOCKET_PEER_FIRST)
		return;
	s->flags |= PORTS_SOCKET_PEER_FIRST | PORTS_SOCKET_CLOSE_WAIT;
	s->state_ns = now;
	__sync_fetch_and_add(&flow->close_wait, 1);
}

static __always_inline void leave_close_wait(struct ports_socket *s, struct ports_flow_book *flow, bool by_owner)
{
	if (!(s->flags & PORTS_SOCKET_CLOSE_WAIT))
		return;
	s->flags &= ~PORTS_SOCKET_CLOSE_WAIT;
	__sync_fetch_and_add(&flow->close_wait, -1);
	if (by_owner)
		__sync_fetch_and_add(&flow->close_wait_closed, 1);
}

/* A change of a socket may be missed: what the state that it has by now, or is about to leave, tells of that. */
static __always_inline void catch_up(struct ports_socket *s, struct ports_flow_book *flow, int state, __u64 now)
{
	if (state != TCP_SYN_SENT && !(s->flags & PORTS_SOCKET_ESTABLISHED)) {
		s->flags |= PORTS_SOCKET_ESTABLISHED;
		s->state_ns = now;
		__sync_fetch_and_add(&flow->established, 1);
	}
	if (state == TCP_CLOSE_WAIT)
		enter_close_wait(s, flow, now);
}

/* A TIME_WAIT begins. False: other CPUs were always faster. */
static __always_inline bool add_time_wait(struct ports_flow_book *flow, const struct ports_shared *state, __u64 jiffies)
{
	__u64 slot = ((jiffies + state->tw_jiffies) >> (state->wheel_shift & 31)) + 1, cell;
	__u64 *place = &flow->wheel[slot & (PORTS_WHEEL - 1)];

	for (int i = 0; i < 4; i++) {
		cell = *(volatile __u64 *)place;
		if (cell >> 32 == (__u32)slot) {
			__sync_fetch_and_add(place, 1);
			return true;
		}
		if (__sync_val_compare_and_swap(place, cell, slot << 32 | 1) == cell)
			return true;
	}
	return false;
}

#endif
