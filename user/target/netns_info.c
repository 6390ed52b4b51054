/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel says of the network namespace that we are in: files below /proc/sys/net and /proc/thread-self/net,
 * both of which follow setns().
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "target/netns.h"
#include "target/proc.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE	71	/* Linux 5.14, asm-generic/socket.h */
#endif

/* A whole file; false when it is not there. */
static bool read_file(const char *path, struct text *ret)
{
	return !proc_read(AT_FDCWD, path, ret) && !ret->failed && ret->str;
}

static bool read_u64(const char *path, uint64_t *ret)
{
	struct text text = { 0 };
	bool ok = read_file(path, &text);
	char *end;

	if (ok) {
		*ret = strtoull(text.str, &end, 10);
		ok = end != text.str;
	}
	text_free(&text);
	return ok;
}

/* Digits at *at, which moves behind them. */
static bool parse_u32(const char **at, uint32_t *ret)
{
	uint64_t n = 0;
	const char *p = *at;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (*p - '0');
		if (n > UINT32_MAX)
			return false;
	}
	if (p == *at)
		return false;
	*at = p;
	*ret = n;
	return true;
}

int netns_parse_range(const char *text, uint16_t *ret_low, uint16_t *ret_high)
{
	uint32_t low, high;

	text += strspn(text, " \t");
	if (!parse_u32(&text, &low) || !strchr(" \t", *text))
		return -EINVAL;
	text += strspn(text, " \t");
	if (!parse_u32(&text, &high) || text[strspn(text, " \t\n")] || !low || low > high || high > UINT16_MAX)
		return -EINVAL;
	*ret_low = low;
	*ret_high = high;
	return 0;
}

int netns_parse_ports(const char *text, uint8_t bits[NETNS_PORT_BITS_BYTES])
{
	memset(bits, 0, NETNS_PORT_BITS_BYTES);
	while (*text && *text != '\n') {
		uint32_t low, high;

		if (!parse_u32(&text, &low))
			return -EINVAL;
		high = low;
		if (*text == '-') {
			text++;
			if (!parse_u32(&text, &high))
				return -EINVAL;
		}
		if (high > UINT16_MAX || low > high || (*text && *text != ',' && *text != '\n'))
			return -EINVAL;
		for (uint32_t port = low; port <= high; port++)
			bits[port >> 3] |= 1 << (port & 7);
		text += *text == ',';
	}
	return 0;
}

int netns_parse_time_wait(const char *sockstat, uint32_t *ret)
{
	static const char tcp[] = "TCP: ", tw[] = " tw ";
	const char *line = sockstat, *found;

	while (line && strncmp(line, tcp, sizeof(tcp) - 1)) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	found = line ? strstr(line, tw) : NULL;
	if (!found || found > line + strcspn(line, "\n"))
		return -EINVAL;
	found += sizeof(tw) - 1;
	return parse_u32(&found, ret) ? 0 : -EINVAL;
}

/* Which column a name is in the head line, -1 = none. */
static int column_of(const char *head, const char *name)
{
	size_t len = strlen(name);
	int column = 0;

	for (const char *p = head; *p && *p != '\n'; column++) {
		p += strspn(p, " ");
		if (!strncmp(p, name, len) && strchr(" \n", p[len]))
			return column;
		p += strcspn(p, " \n");
	}
	return -1;
}

uint64_t netns_parse_conntrack(const char *text, const char *name)
{
	int column = column_of(text, name);
	uint64_t sum = 0;

	/* a line a CPU, all of them hexadecimal */
	for (const char *line = strchr(text, '\n'); column >= 0 && line && line[1]; line = strchr(line + 1, '\n')) {
		const char *p = line + 1;

		p += strspn(p, " ");
		for (int i = 0; i < column && *p && *p != '\n'; i++) {
			p += strcspn(p, " \n");
			p += strspn(p, " ");
		}
		if (*p && *p != '\n')
			sum += strtoull(p, NULL, 16);
	}
	return sum;
}

static void read_conntrack(struct netns_info *info)
{
	struct text text = { 0 };
	uint64_t cnt, max;

	info->has_conntrack = read_u64("/proc/sys/net/netfilter/nf_conntrack_count", &cnt) &&
			      read_u64("/proc/sys/net/netfilter/nf_conntrack_max", &max);
	if (!info->has_conntrack)
		return;
	info->conntrack_cnt = cnt;
	info->conntrack_max = max < UINT32_MAX ? max : UINT32_MAX;
	if (read_file("/proc/thread-self/net/stat/nf_conntrack", &text)) {
		info->conntrack_insert_failed = netns_parse_conntrack(text.str, "insert_failed");
		info->conntrack_drop = netns_parse_conntrack(text.str, "drop");
	}
	text_free(&text);
}

/*
 * The kernel gives the list out with the first read or never (proc_do_large_bitmap() in kernel/sysctl.c): what does not fit is
 * missing, in the middle of a number even. 256 KiB hold each second port, "1,3,5,…", which is the longest there is.
 */
static int read_reserved(uint8_t bits[NETNS_PORT_BITS_BYTES])
{
	const size_t sizes[] = { 4096, 256u << 10 };
	int err = 0;

	memset(bits, 0, NETNS_PORT_BITS_BYTES);
	for (size_t i = 0; !err && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *text = malloc(sizes[i]);
		int fd = text ? open("/proc/sys/net/ipv4/ip_local_reserved_ports", O_RDONLY | O_CLOEXEC) : -1;
		ssize_t len = fd < 0 ? 0 : read(fd, text, sizes[i] - 1);
		bool whole = len <= 0 || text[len - 1] == '\n';

		err = text ? 0 : -ENOMEM;
		if (len > 0 && whole) {
			text[len] = '\0';
			netns_parse_ports(text, bits);
		}
		if (fd >= 0)
			close(fd);
		free(text);
		if (whole)
			break;
	}
	return err;
}

/* Its identity; where the kernel has no cookies, the number of its file. */
static int read_cookie(struct netns_info *info)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(info->cookie);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &info->cookie, &len))
		info->cookie = info->inode;
	close(fd);
	return 0;
}

int netns_info_read(struct netns_info *info)
{
	struct text text = { 0 };
	uint64_t value;
	int err = read_cookie(info);

	if (!err)
		err = read_reserved(info->reserved);
	if (err)
		return err;
	info->range_low = info->range_high = 0;
	if (read_file("/proc/sys/net/ipv4/ip_local_port_range", &text))
		netns_parse_range(text.str, &info->range_low, &info->range_high);
	text_clear(&text);
	info->tw_cnt = 0;
	if (read_file("/proc/thread-self/net/sockstat", &text))
		netns_parse_time_wait(text.str, &info->tw_cnt);
	text_free(&text);
	info->tw_reuse = read_u64("/proc/sys/net/ipv4/tcp_tw_reuse", &value) ? (int)value : -1;
	info->timestamps = read_u64("/proc/sys/net/ipv4/tcp_timestamps", &value) && value;
	info->tw_max = read_u64("/proc/sys/net/ipv4/tcp_max_tw_buckets", &value) && value < UINT32_MAX ? value : UINT32_MAX;
	read_conntrack(info);
	return 0;
}
