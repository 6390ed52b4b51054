/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets of ports, for tests of network namespaces.
 */
#ifndef PORT_BITS_H
#define PORT_BITS_H

#include <stdio.h>
#include <stdlib.h>

#include "target/netns.h"

#define BIT(bits, port) ((bits)[(port) >> 3] >> ((port) & 7) & 1)

static inline unsigned int bits_cnt(const uint8_t bits[NETNS_PORT_BITS_BYTES])
{
	unsigned int cnt = 0;

	for (size_t i = 0; i < NETNS_PORT_BITS_BYTES; i++)
		cnt += __builtin_popcount(bits[i]);
	return cnt;
}

/* "1,3,5,…": the longest list there is. */
static inline char *every_second_port(void)
{
	char *text = malloc(7 * 32768 + 1), *at = text;

	for (int port = 1; port < 65536; port += 2)
		at += sprintf(at, "%s%d", port > 1 ? "," : "", port);
	return text;
}

#endif
