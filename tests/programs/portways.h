/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways of portlab to connect, each a function of its own, to be found in stacks.
 */
#ifndef PORTWAYS_H
#define PORTWAYS_H

#include <stdint.h>
#include <sys/socket.h>

/* An errno of bind() is told from one of connect(). */
#define AT_BIND 0x10000

struct addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

enum closing { CLOSE_CLIENT, CLOSE_SERVER, CLOSE_NEVER, CLOSE_RESET };

struct how;
/* 0 or an errno, with AT_BIND when it came from bind(). */
typedef int connect_fn(int fd, const struct how *how);

struct how {
	struct addr to, from;
	int lport, again_port;
	uint32_t lrange;
	int timeout_ms;
	long life_ms;
	enum closing closing;
	connect_fn *way;
};

/* plain, bind, reuseaddr, reuseport, noport, explicit, range, again, nonblock, abort; NULL: none has this name. */
connect_fn *way_of(const char *name);

int start_connect(int fd, const struct addr *to);
int start_bind(int fd, const struct addr *from);

struct sockaddr *addr_of(const struct addr *a);
void addr_set_port(struct addr *a, int port);
/* 0 or an errno. */
int set_option(int fd, int level, int option, int value);

#endif
