/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include "portways.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

#define ANSWER_MS 60000

/* The port is at the same place in both families. */
void addr_set_port(struct addr *a, int port)
{
	((struct sockaddr_in *)&a->ss)->sin_port = htons((uint16_t)port);
}

struct sockaddr *addr_of(const struct addr *a)
{
	return (struct sockaddr *)&a->ss;
}

int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? errno : 0;
}

/* One frame between: the stack of a system call may lack the caller of libc's function. */
__attribute__((noinline)) int start_connect(int fd, const struct addr *to)
{
	return connect(fd, addr_of(to), to->len) ? errno : 0;
}

__attribute__((noinline)) int start_bind(int fd, const struct addr *from)
{
	return bind(fd, addr_of(from), from->len) ? errno | AT_BIND : 0;
}

__attribute__((noinline)) int connect_plain(int fd, const struct how *how)
{
	return start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_bound(int fd, const struct how *how)
{
	int err = start_bind(fd, &how->from);

	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_reuseaddr(int fd, const struct how *how)
{
	int err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ?: start_bind(fd, &how->from);

	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_reuseport(int fd, const struct how *how)
{
	int err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) ?: start_bind(fd, &how->from);

	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_noport(int fd, const struct how *how)
{
	int err = set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1) ?: start_bind(fd, &how->from);

	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_explicit(int fd, const struct how *how)
{
	struct addr from = how->from;
	int err;

	addr_set_port(&from, how->lport);
	err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ?: start_bind(fd, &from);
	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_ranged(int fd, const struct how *how)
{
	int err = set_option(fd, SOL_IP, IP_LOCAL_PORT_RANGE, (int)how->lrange);

	return err ?: start_connect(fd, &how->to);
}

__attribute__((noinline)) int connect_again(int fd, const struct how *how)
{
	struct addr refused = how->to;

	addr_set_port(&refused, how->again_port);
	if (!start_connect(fd, &refused))
		return EINVAL;
	return start_connect(fd, &how->to);
}

static int await_answer(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0;
	socklen_t len = sizeof(err);

	if (poll(&p, 1, ANSWER_MS) != 1)
		return EINPROGRESS;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? errno : err;
}

__attribute__((noinline)) int connect_nonblock(int fd, const struct how *how)
{
	int err;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	err = start_connect(fd, &how->to);
	if (err == EINPROGRESS)
		err = await_answer(fd);
	fcntl(fd, F_SETFL, 0);
	return err;
}

__attribute__((noinline)) int connect_abort(int fd, const struct how *how)
{
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return start_connect(fd, &how->to);
}

static const struct {
	const char *name;
	connect_fn *fn;
} ways[] = {
	{ "plain", connect_plain }, { "bind", connect_bound }, { "reuseaddr", connect_reuseaddr },
	{ "reuseport", connect_reuseport }, { "noport", connect_noport }, { "explicit", connect_explicit },
	{ "range", connect_ranged }, { "again", connect_again }, { "nonblock", connect_nonblock },
	{ "abort", connect_abort },
};

connect_fn *way_of(const char *name)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (!strcmp(ways[i].name, name))
			return ways[i].fn;
	}
	return NULL;
}
