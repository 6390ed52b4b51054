/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel says of a network namespace, and what it would never say.
 */
#include <errno.h>

#include "test.h"
#include "unit/port_bits.h"

TEST(range)
{
	static const struct { const char *text; uint16_t low, high; } good[] = {
		{ "32768\t60999\n", 32768, 60999 }, { "1 65535", 1, 65535 }, { "40000\t40000\n", 40000, 40000 },
		{ "  7 \t 8 \n", 7, 8 },
	};
	static const char *const bad[] = {
		"", "\n", "1", "1\n", "0\t5", "0 0", "5 4", "1 65536", "-1 5", "1 -1", "1 2 3", "1 2x", "x1 2", "1\n2",
		"4294967297 5", "1 4294967298", "1 99999999999999999999999", "0x10 0x20", "1-2", "+1 2",
	};
	uint16_t low = 3, high = 4;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK_EQ(netns_parse_range(bad[i], &low, &high), -EINVAL))
			fprintf(stderr, "\ttext: %s\n", bad[i]);
	CHECK_EQ(low, 3);
	CHECK_EQ(high, 4);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_EQ(netns_parse_range(good[i].text, &low, &high), 0);
		CHECK_EQ(low, good[i].low);
		CHECK_EQ(high, good[i].high);
	}
}

TEST(reserved)
{
	static const struct { const char *text; unsigned int cnt; } good[] = {
		{ "", 0 }, { "\n", 0 }, { "0\n", 1 }, { "65535\n", 1 }, { "0-65535\n", 65536 }, { "5-5", 1 }, { "5,5,5-6", 2 },
		{ "8080,40000-40015\n", 17 }, { "1,", 1 },
	};
	/* and how many ports came before */
	static const struct { const char *text; unsigned int cnt; } bad[] = {
		{ "x", 0 }, { ",", 0 }, { "1,,2", 1 }, { "1 2", 0 }, { "-1", 0 }, { "7,1-", 1 }, { "1-2-3", 0 }, { "65536", 0 },
		{ "7,0-65536", 1 }, { "9-8", 0 }, { "4294967296", 0 }, { "1,18446744073709551617", 1 }, { "0-4294967295", 0 },
		{ "1,+2", 1 }, { "0x10", 0 }, { "1\t", 0 },
	};
	uint8_t bits[NETNS_PORT_BITS_BYTES];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(bits, 0xff, sizeof(bits));
		CHECK_EQ(netns_parse_ports(good[i].text, bits), 0);
		CHECK_EQ(bits_cnt(bits), good[i].cnt);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(bits, 0xff, sizeof(bits));
		if (!CHECK_EQ(netns_parse_ports(bad[i].text, bits), -EINVAL) || !CHECK_EQ(bits_cnt(bits), bad[i].cnt))
			fprintf(stderr, "\ttext: %s\n", bad[i].text);
	}
	CHECK_EQ(netns_parse_ports("8080,40000-40001\n", bits), 0);
	CHECK(BIT(bits, 8080) && BIT(bits, 40000) && BIT(bits, 40001) && !BIT(bits, 40002) && !BIT(bits, 8081));
}

TEST(reserved_long)
{
	char *text = every_second_port();
	uint8_t bits[NETNS_PORT_BITS_BYTES];

	CHECK_EQ(netns_parse_ports(text, bits), 0);
	CHECK_EQ(bits_cnt(bits), 32768);
	CHECK(BIT(bits, 65535) && !BIT(bits, 65534));
	free(text);
}

TEST(time_wait)
{
	static const char good[] =
		"sockets: used 287\nTCP: inuse 3 orphan 0 tw 28217 alloc 5 mem 1\nUDP: inuse 2 mem 0\n";
	static const char *const bad[] = {
		"", "TCP: ", "TCP:", "TCP: inuse 3", "TCP: inuse 3\nUDP: tw 5\n", "TCP: tw", "TCP: inuse 3 tw -1",
		"TCP: inuse 3 tw 4294967296", "TCP: inuse 3 tw x", "xTCP: inuse 3 tw 5\n", "TCP6: inuse 3 tw 5\n",
		"UDP: inuse 3 tw 5\n", "TCP: inuse 3 tw \n5",
	};
	uint32_t cnt = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK_EQ(netns_parse_time_wait(bad[i], &cnt), -EINVAL))
			fprintf(stderr, "\ttext: %s\n", bad[i]);
	CHECK_EQ(cnt, 7);
	CHECK_EQ(netns_parse_time_wait(good, &cnt), 0);
	CHECK_EQ(cnt, 28217);
	CHECK_EQ(netns_parse_time_wait("TCP: tw 4294967295", &cnt), 0);
	CHECK_EQ(cnt, UINT32_MAX);
}

TEST(conntrack)
{
	static const char text[] =
		"entries  clashres found new invalid insert insert_failed drop early_drop icmp_error\n"
		"00000005  00000000 00000001 00000002 00000003 00000004 0000000a 00000010 00000006 00000007\n"
		"00000005  00000000 00000001 00000002 00000003 00000004 ffffffff 00000001 00000006 00000007\n";

	CHECK_EQ(netns_parse_conntrack(text, "insert_failed"), 0x100000009ll);
	CHECK_EQ(netns_parse_conntrack(text, "insert"), 8);
	CHECK_EQ(netns_parse_conntrack(text, "drop"), 0x11);
	CHECK_EQ(netns_parse_conntrack(text, "entries"), 10);
	CHECK_EQ(netns_parse_conntrack(text, "icmp_error"), 14);
	CHECK_EQ(netns_parse_conntrack(text, "early"), 0);
	CHECK_EQ(netns_parse_conntrack(text, "00000005"), 0);
	CHECK_EQ(netns_parse_conntrack("", "drop"), 0);
	CHECK_EQ(netns_parse_conntrack("drop", "drop"), 0);
	CHECK_EQ(netns_parse_conntrack("drop\n", "drop"), 0);
	CHECK_EQ(netns_parse_conntrack("a drop\n1\n", "drop"), 0);		/* a line that ends early */
	CHECK_EQ(netns_parse_conntrack("a drop\n1 2\n\n3 4", "drop"), 6);
	CHECK_EQ(netns_parse_conntrack("a drop\n 1 2\n", "drop"), 2);
	CHECK_EQ(netns_parse_conntrack("  a   drop \n1 2\n", "drop"), 2);
	CHECK_EQ(netns_parse_conntrack("a drop\nx y\n1 z2\n", "drop"), 0);
	CHECK_EQ(netns_parse_conntrack("\n\n\n", "drop"), 0);
}

TEST_MAIN(TEST_CASE(range), TEST_CASE(reserved), TEST_CASE(reserved_long), TEST_CASE(time_wait), TEST_CASE(conntrack))
