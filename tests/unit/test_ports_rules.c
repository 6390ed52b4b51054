/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel side of ports decides by numbers (bpf/ports_rules.bpf.h), and what user space makes of it: the wheel
 * of TIME_WAIT is filled by one and read by the other, and both follow the kernel's timer wheel.
 */
#include <bpf/bpf.h>
#include <stdlib.h>

#include "source/ports_books.c"
#include "source/ports_settings.h"

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "ports_rules.bpf.h"

#include "test.h"

static unsigned int (*random_next)(void);

unsigned int shim_get_prandom_u32(void)
{
	return random_next();
}

static int end_of_connect(__u32 flags, __u16 sport_before, int err, __u8 shutdown, __u16 sport)
{
	struct ports_socket s = { .flags = flags | PORTS_SOCKET_LIVE, .sport = sport_before };

	return connect_end(&s, err, shutdown, sport);
}

TEST(connects)
{
	const __u32 bound = PORTS_SOCKET_BOUND;

	/* an error says it all */
	CHECK_EQ(end_of_connect(0, 0, ECONNREFUSED, 0, 5), PORTS_END_REFUSED);
	CHECK_EQ(end_of_connect(0, 0, ECONNREFUSED, 3, 0), PORTS_END_REFUSED);
	CHECK_EQ(end_of_connect(bound, 5, ECONNREFUSED, 0, 5), PORTS_END_REFUSED);
	CHECK_EQ(end_of_connect(0, 0, ETIMEDOUT, 0, 5), PORTS_END_TIMED_OUT);
	CHECK_EQ(end_of_connect(0, 0, 113, 0, 5), PORTS_END_FAILED);
	CHECK_EQ(end_of_connect(0, 0, 104, 0, 0), PORTS_END_FAILED);
	/* no port: none was there, and none has come */
	CHECK_EQ(end_of_connect(0, 0, 0, 0, 0), PORTS_END_NO_PORT);
	/* a socket that connected before has kept the old one */
	CHECK_EQ(end_of_connect(0, 40001, 0, 0, 40001), PORTS_END_NO_PORT);
	CHECK_EQ(end_of_connect(bound, 40001, 0, 0, 40001), PORTS_END_COLLISION);
	/* closed, or killed, while it connected: it had got a port */
	CHECK_EQ(end_of_connect(0, 0, 0, 3, 40001), PORTS_END_ABORTED);
	CHECK_EQ(end_of_connect(0, 0, 0, 0, 40001), PORTS_END_ABORTED);
	CHECK_EQ(end_of_connect(0, 40000, 0, 0, 40001), PORTS_END_ABORTED);
	CHECK_EQ(end_of_connect(bound, 40001, 0, 3, 40001), PORTS_END_ABORTED);
	CHECK_EQ(end_of_connect(bound, 40001, 0, 1, 40001), PORTS_END_ABORTED);
}

TEST(closes)
{
	static const struct { int state; enum ports_end end; } ends[] = {
		{ TCP_ESTABLISHED, PORTS_END_CLOSED_HARD }, { TCP_FIN_WAIT1, PORTS_END_CLOSED_HARD },
		{ TCP_FIN_WAIT2, PORTS_END_CLOSED_FIRST }, { TCP_CLOSING, PORTS_END_CLOSED_FIRST },
		{ TCP_CLOSE_WAIT, PORTS_END_CLOSED_HARD }, { TCP_LAST_ACK, PORTS_END_CLOSED_BY_PEER },
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		CHECK_EQ(close_end(ends[i].state, 0), ends[i].end);
		CHECK_EQ(close_end(ends[i].state, ETIMEDOUT), PORTS_END_TIMED_OUT);
		CHECK_EQ(close_end(ends[i].state, 104), PORTS_END_RESET);
		CHECK_EQ(close_end(ends[i].state, 32), PORTS_END_RESET);
	}
}

TEST(close_wait)
{
	struct ports_flow_book flow = { .close_wait = 2 };
	struct ports_socket s = { .flags = PORTS_SOCKET_LIVE | PORTS_SOCKET_CLOSE_WAIT };

	leave_close_wait(&s, &flow, true);
	CHECK_EQ(s.flags, PORTS_SOCKET_LIVE);
	CHECK_EQ(flow.close_wait, 1);
	CHECK_EQ(flow.close_wait_closed, 1);
	leave_close_wait(&s, &flow, true);	/* LAST_ACK, then CLOSE: once */
	CHECK_EQ(flow.close_wait, 1);
	CHECK_EQ(flow.close_wait_closed, 1);
	s.flags |= PORTS_SOCKET_CLOSE_WAIT;
	leave_close_wait(&s, &flow, false);
	CHECK_EQ(flow.close_wait, 0);
	CHECK_EQ(flow.close_wait_closed, 1);
}

static void check_life(__u64 ns, unsigned int bucket)
{
	struct ports_flow_book flow = { 0 };

	add_life(&flow, ns);
	if (!CHECK_EQ(flow.lives[bucket], 1))
		fprintf(stderr, "\tlife: %llu ns, bucket %u\n", ns, bucket);
	CHECK(flow.life_sum_ns == ns);
}

/* What came while the program was busy is learned from the next state, once. */
TEST(missed)
{
	struct ports_socket s = { .flags = PORTS_SOCKET_LIVE };
	struct ports_flow_book flow = { 0 };

	catch_up(&s, &flow, TCP_SYN_SENT, 5);
	CHECK_EQ(s.flags, PORTS_SOCKET_LIVE);
	CHECK_EQ(flow.established, 0);
	catch_up(&s, &flow, TCP_FIN_WAIT2, 6);
	catch_up(&s, &flow, TCP_CLOSE_WAIT, 7);
	catch_up(&s, &flow, TCP_CLOSE_WAIT, 8);
	CHECK_EQ(flow.established, 1);
	CHECK_EQ(flow.close_wait, 1);
	CHECK_EQ(s.state_ns, 7);
	leave_close_wait(&s, &flow, true);
	catch_up(&s, &flow, TCP_LAST_ACK, 9);
	CHECK_EQ(flow.close_wait, 0);
	CHECK_EQ(flow.close_wait_closed, 1);
	CHECK_EQ(flow.established, 1);
}

TEST(lives)
{
	check_life(0, 0);
	check_life(999, 0);
	check_life(1999, 0);
	check_life(2000, 1);
	check_life(6000000, 12);	/* 6 ms: 4,096 .. 8,191 us */
	for (unsigned int i = 1; i < PORTS_LIVES; i++) {
		check_life((1000ull << i) - 1, i - 1);
		check_life(1000ull << i, i);
	}
	/* longer than the last one's 71 minutes */
	check_life((1000ull << PORTS_LIVES) - 1, PORTS_LIVES - 1);
	check_life(1000ull << PORTS_LIVES, PORTS_LIVES - 1);
	check_life(86400ull * 1000000000 * 365, PORTS_LIVES - 1);
	check_life(~0ull, PORTS_LIVES - 1);
}

TEST(searches)
{
	struct ports_flow_book flow = { 0 };

	for (int i = 0; i < PORTS_SEARCHES - 1; i++)
		add_search(&flow, 50 + i);
	CHECK_EQ(flow.search_low_ns, 0);	/* not known before there are so many */
	add_search(&flow, 900);
	CHECK_EQ(flow.search_low_ns, 50);
	CHECK_EQ(flow.search_max_ns, 900);
	/* one by one, not ever since: a range that fills up shows */
	for (int i = 0; i < PORTS_SEARCHES; i++)
		add_search(&flow, 700 - i);
	CHECK_EQ(flow.search_low_ns, 700 - PORTS_SEARCHES + 1);
	CHECK_EQ(flow.search_max_ns, 900);
}

static unsigned int random_number;

static unsigned int random_each(void)
{
	return random_number++;
}

/* xorshift, always the same */
static unsigned int random_mixed(void)
{
	random_number ^= random_number << 13;
	random_number ^= random_number >> 17;
	random_number ^= random_number << 5;
	return random_number;
}

/* Over all numbers alike, what the stacks stand for is what there was. */
TEST(sampling_is_unbiased)
{
	const __u64 cnt = PORTS_SAMPLE * 1000, now = 77ull << PORTS_WINDOW_SHIFT;
	struct ports_flow_book flow = { 0 };
	__u64 sum = 0, taken = 0;

	random_next = random_each;
	random_number = 12345;
	for (__u64 i = 0; i < cnt + PORTS_WINDOW_STACKS; i++) {
		__u16 weight = stack_weight(&flow, now + i);

		CHECK(weight == (i < PORTS_WINDOW_STACKS ? 1 : 0) || weight == PORTS_SAMPLE);
		sum += weight;
		taken += weight != 0;
	}
	CHECK_EQ(sum, cnt + PORTS_WINDOW_STACKS);
	CHECK_EQ(taken, cnt / PORTS_SAMPLE + PORTS_WINDOW_STACKS);
}

/* A quiet flow has each stack taken, in each window anew. */
TEST(sampling_quiet)
{
	struct ports_flow_book flow = { 0 };
	__u64 sum = 0;

	random_next = random_each;
	for (__u64 window = 1; window <= 100; window++) {
		for (int i = 0; i < PORTS_WINDOW_STACKS; i++)
			sum += stack_weight(&flow, (window << PORTS_WINDOW_SHIFT) + i) == 1;
		random_number = 1;	/* not by chance */
		CHECK_EQ(stack_weight(&flow, ((window + 1) << PORTS_WINDOW_SHIFT) - 1), 0);
	}
	CHECK_EQ(sum, 100 * PORTS_WINDOW_STACKS);
}

/* Two places of one program that connect in turns, 3 to 1: no beat with the sampling. */
TEST(sampling_shares)
{
	struct ports_flow_book flow = { 0 };
	__u64 cnt[2] = { 0 }, sum[2] = { 0 };

	random_next = random_mixed;
	random_number = 2463534242;
	for (int i = 0; i < 400000; i++) {
		bool second = i % 4 == 3;

		cnt[second]++;
		sum[second] += stack_weight(&flow, 1 + i * 20000ull);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(sum[i] > cnt[i] * 9 / 10);
		CHECK(sum[i] < cnt[i] * 11 / 10);
	}
}

/* kernel/time/timer.c */
#define LVL_CLK_SHIFT	3
#define LVL_BITS	6
#define LVL_SIZE	(1ul << LVL_BITS)
#define LVL_SHIFT(n)	((n) * LVL_CLK_SHIFT)
#define LVL_GRAN(n)	(1ul << LVL_SHIFT(n))
#define LVL_START(n)	((LVL_SIZE - 1) << (((n) - 1) * LVL_CLK_SHIFT))
#define LVL_DEPTH	8

static unsigned int kernel_level(unsigned long delta)
{
	for (unsigned int level = 0; level < LVL_DEPTH - 1; level++)
		if (delta < LVL_START(level + 1))
			return level;
	return LVL_DEPTH - 1;
}

/* When a timer goes off: calc_index(), bucket_expiry. */
static __u64 kernel_expiry(__u64 expires, unsigned int level)
{
	return ((expires + LVL_GRAN(level)) >> LVL_SHIFT(level)) << LVL_SHIFT(level);
}

TEST(wheel_shift)
{
	static const struct { unsigned int hz, shift; } clocks[] = { { 100, 9 }, { 250, 9 }, { 300, 9 }, { 1000, 12 } };

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		CHECK_EQ(ports_wheel_shift(60 * clocks[i].hz), clocks[i].shift);
	for (unsigned long delta = 0; delta < LVL_START(LVL_DEPTH - 1); delta += delta < 1 << 14 ? 1 : 61)
		if (!CHECK_EQ(ports_wheel_shift(delta), LVL_SHIFT(kernel_level(delta))))
			return;
	for (unsigned int level = 1; level < LVL_DEPTH; level++) {
		CHECK_EQ(ports_wheel_shift(LVL_START(level) - 1), LVL_SHIFT(level - 1));
		CHECK_EQ(ports_wheel_shift(LVL_START(level)), LVL_SHIFT(level));
	}
}

static struct ports_shared clock_of(unsigned int hz)
{
	return (struct ports_shared){ .tw_jiffies = 60 * hz, .wheel_shift = ports_wheel_shift(60 * hz) };
}

/* TIME_WAIT at a steady rate for a while: at each moment the wheel holds what the kernel's timers hold. */
static void check_wheel(unsigned int hz, __u64 start)
{
	const struct ports_shared state = clock_of(hz);
	const unsigned int level = state.wheel_shift / LVL_CLK_SHIFT;
	const __u64 step = hz / 5, cnt = 200 * 5;	/* 200 s, 5 a second */
	struct ports_flow_book flow = { 0 };
	__u64 *expiries = calloc(cnt, sizeof(*expiries));

	for (__u64 i = 0; i < cnt + 70 * 5; i++) {
		__u64 now = start + i * step, held = 0;

		if (i < cnt) {
			expiries[i] = kernel_expiry(now + state.tw_jiffies, level);
			CHECK(add_time_wait(&flow, &state, now));
		}
		for (__u64 j = 0; j <= i && j < cnt; j++)
			held += expiries[j] > now;
		if (!CHECK_EQ(wheel_sum(&flow, &state, now), held)) {
			fprintf(stderr, "\tHZ %u, %llu jiffies after %#llx\n", hz, i * step, start);
			break;
		}
	}
	CHECK_EQ(wheel_sum(&flow, &state, start + cnt * step + 70ull * hz), 0);
	free(expiries);
}

TEST(wheel)
{
	static const unsigned int clocks[] = { 100, 250, 300, 1000 };

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		__u64 tw = 60 * clocks[i], shift = ports_wheel_shift(tw);

		check_wheel(clocks[i], 0);
		check_wheel(clocks[i], 4294937296ull);			/* as the kernel boots: 5 min before 32 bits are full */
		check_wheel(clocks[i], 0x1234567890ull);
		check_wheel(clocks[i], (1ull << (32 + shift)) - tw - 90 * clocks[i]);	/* the slots' 32 bits are full */
	}
}

/* Exactly when the port comes back, and what a cell holds that was used long ago. */
TEST(wheel_cells)
{
	const struct ports_shared state = clock_of(250);
	struct ports_flow_book flow = { 0 };
	const __u64 now = 1000003, round = (__u64)PORTS_WHEEL << state.wheel_shift;
	__u64 expiry = kernel_expiry(now + state.tw_jiffies, 3), cells = 0;

	CHECK(add_time_wait(&flow, &state, now));
	CHECK(add_time_wait(&flow, &state, now));
	CHECK_EQ(wheel_sum(&flow, &state, now), 2);
	CHECK_EQ(wheel_sum(&flow, &state, expiry - 1), 2);
	CHECK_EQ(wheel_sum(&flow, &state, expiry), 0);
	/* one round later the cell is older than it looks */
	CHECK_EQ(wheel_sum(&flow, &state, now + round), 0);
	CHECK(add_time_wait(&flow, &state, now + round));
	CHECK_EQ(wheel_sum(&flow, &state, now + round), 1);
	CHECK_EQ(wheel_sum(&flow, &state, expiry + round), 0);
	for (unsigned int i = 0; i < PORTS_WHEEL; i++)
		cells += !!flow.wheel[i];
	CHECK_EQ(cells, 1);
	/* user space's clock may be a little behind */
	CHECK_EQ(wheel_sum(&flow, &state, now + round - 300), 1);
}

TEST_MAIN(TEST_CASE(connects), TEST_CASE(closes), TEST_CASE(close_wait), TEST_CASE(missed), TEST_CASE(lives),
	  TEST_CASE(searches), TEST_CASE(sampling_is_unbiased), TEST_CASE(sampling_quiet), TEST_CASE(sampling_shares),
	  TEST_CASE(wheel_shift), TEST_CASE(wheel), TEST_CASE(wheel_cells))
