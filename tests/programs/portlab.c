/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Clients and servers for the lab of ports: what it is told to do with sockets it does, and says how that
 * went, so that a script knows the truth. Each way of connecting is a function of its own, to be found in stacks.
 *
 *	listen ADDR PORT	n=1 (ports from PORT on) backlog=4096 accept=after: closes after the peer
 *				  first: closes at once; reset: the same by RST; hold: never; never: does not accept
 *	connect ADDR PORT	n=1 rate=0 (a second; 0: at once) from=ADDR life=0 (ms, before it closes)
 *				  timeout=0 (ms, TCP_USER_TIMEOUT) until=fail (ends at the first EADDRNOTAVAIL)
 *				  ports=1: to so many ports from PORT on, in turn
 *				  close=client, server (waits for the peer's), never (keeps it), reset
 *				  way=plain; bind, reuseaddr, reuseport: bind(0) before; noport: IP_BIND_ADDRESS_NO_PORT;
 *				  explicit: lport=P; range: lrange=LOW-HIGH; again: after a refused one to port again=P;
 *				  nonblock; abort: closes before there is an answer
 *	bind tcp|udp ADDR PORT	n=1, holds them
 *	send ADDR PORT		n=1 way=sendto, connect (before the first send): UDP, holds them
 *	fork			a child that holds what is held; this process lets go of it
 *	drop			closes what is held, here or in the child
 *	name HEX		prctl(PR_SET_NAME)
 *
 * Says `ready PID`; for each line `began at=T` (connect only) and a last line `COMMAND ok=N fail=N ERRNO=N… at=T`,
 * with bind:ERRNO where bind() failed; and `failing ERRNO at=T` when the first of a kind fails. T: CLOCK_MONOTONIC
 * seconds. An end of the input ends it.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "line.h"
#include "portways.h"

#define WORDS_MAX 16
#define KINDS_MAX 8

struct tally {
	const char *command;
	long ok, fail;
	struct { int err; long cnt; } kinds[KINDS_MAX];
};

static char *words[WORDS_MAX];
static int words_cnt;

static int *kept;
static size_t kept_cnt;

static int child_pid, child_pipe = -1;
static int epoll_fd;

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static double now_s(void)
{
	return (double)now_ns() / 1e9;
}

static void sleep_until(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static const char *error_name(int err)
{
	switch (err) {
	case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
	case EADDRINUSE: return "EADDRINUSE";
	case ECONNREFUSED: return "ECONNREFUSED";
	case ECONNRESET: return "ECONNRESET";
	case ETIMEDOUT: return "ETIMEDOUT";
	case EHOSTUNREACH: return "EHOSTUNREACH";
	case ENETUNREACH: return "ENETUNREACH";
	case EAGAIN: return "EAGAIN";
	case EINPROGRESS: return "EINPROGRESS";
	case EINVAL: return "EINVAL";
	case EMFILE: return "EMFILE";
	case ENOPROTOOPT: return "ENOPROTOOPT";
	default: return "other";
	}
}

static void tally_add(struct tally *t, int err)
{
	int i;

	if (!err) {
		t->ok++;
		return;
	}
	t->fail++;
	for (i = 0; i < KINDS_MAX - 1 && t->kinds[i].cnt && t->kinds[i].err != err; i++)
		;
	t->kinds[i].err = err;
	if (!t->kinds[i].cnt++)
		line_say("failing %s%s at=%.3f", err & AT_BIND ? "bind:" : "", error_name(err & ~AT_BIND), now_s());
}

static void tally_say(const struct tally *t)
{
	char buf[256] = "";
	size_t len = 0;

	for (int i = 0; i < KINDS_MAX && t->kinds[i].cnt; i++)
		len += (size_t)snprintf(buf + len, sizeof(buf) - len, " %s%s=%ld", t->kinds[i].err & AT_BIND ? "bind:" : "",
					error_name(t->kinds[i].err & ~AT_BIND), t->kinds[i].cnt);
	line_say("%s ok=%ld fail=%ld%s at=%.3f", t->command, t->ok, t->fail, buf, now_s());
}

/* --- words --- */

static void take_apart(char *line)
{
	char *save = NULL;

	words_cnt = 0;
	for (char *w = strtok_r(line, " ", &save); w && words_cnt < WORDS_MAX; w = strtok_r(NULL, " ", &save))
		words[words_cnt++] = w;
}

static void fail_word(const char *what)
{
	dprintf(STDERR_FILENO, "portlab: what is '%s'?\n", what);
	exit(2);
}

static const char *word_of(const char *key, const char *otherwise)
{
	size_t len = strlen(key);

	for (int i = 1; i < words_cnt; i++) {
		if (!strncmp(words[i], key, len) && words[i][len] == '=')
			return words[i] + len + 1;
	}
	return otherwise;
}

static long number_of(const char *key, long otherwise)
{
	const char *w = word_of(key, NULL);

	return w ? atol(w) : otherwise;
}

static const char *word_at(int i)
{
	if (i >= words_cnt)
		fail_word(words[0]);
	return words[i];
}

static void addr_set(struct addr *a, const char *text, int port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->ss;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		a->len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		a->len = sizeof(*v6);
	} else {
		fail_word(text);
	}
}

/* --- what is held --- */

static void keep(int fd)
{
	kept = realloc(kept, (kept_cnt + 1) * sizeof(*kept));
	if (!kept)
		exit(1);
	kept[kept_cnt++] = fd;
}

static void drop_here(void)
{
	for (size_t i = 0; i < kept_cnt; i++)
		close(kept[i]);
	kept_cnt = 0;
}

static void close_hard(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

/* --- connecting --- */

static void read_how(struct how *how)
{
	static const char *const closings[] = { "client", "server", "never", "reset" };
	const char *way = word_of("way", "plain"), *closing = word_of("close", "client"), *lrange = word_of("lrange", NULL);
	unsigned int low, high;

	memset(how, 0, sizeof(*how));
	addr_set(&how->to, word_at(1), atoi(word_at(2)));
	addr_set(&how->from, word_of("from", how->to.ss.ss_family == AF_INET ? "0.0.0.0" : "::"), 0);
	how->lport = (int)number_of("lport", 0);
	how->again_port = (int)number_of("again", 9);
	how->timeout_ms = (int)number_of("timeout", 0);
	how->life_ms = number_of("life", 0);
	if (lrange) {
		if (sscanf(lrange, "%u-%u", &low, &high) != 2)
			fail_word(lrange);
		how->lrange = high << 16 | low;
	}
	how->way = way_of(way);
	if (!how->way)
		fail_word(way);
	for (how->closing = 0; strcmp(closings[how->closing], closing); how->closing++) {
		if (how->closing == CLOSE_RESET)
			fail_word(closing);
	}
}

/* A connection that was made, to its end or to where it is kept. */
static void end_connection(int fd, const struct how *how)
{
	char c;

	if (how->life_ms)
		sleep_until(now_ns() + how->life_ms * 1000000);
	switch (how->closing) {
	case CLOSE_NEVER:
		keep(fd);
		return;
	case CLOSE_RESET:
		close_hard(fd);
		return;
	case CLOSE_SERVER:
		while (read(fd, &c, 1) > 0)
			;
		break;
	case CLOSE_CLIENT:
		break;
	}
	close(fd);
}

static int connect_one(const struct how *how)
{
	int fd = socket(how->to.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return errno;
	if (how->timeout_ms)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, how->timeout_ms);
	err = how->way(fd, how);
	if (err)
		close(fd);
	else
		end_connection(fd, how);
	return err;
}

__attribute__((noinline)) void do_connect(void)
{
	struct tally t = { .command = "connect" };
	bool until_fail = !strcmp(word_of("until", ""), "fail");
	long n = number_of("n", 1), rate = number_of("rate", 0), ports = number_of("ports", 1);
	int port = atoi(word_at(2));
	int64_t start;
	struct how how;

	read_how(&how);
	start = now_ns();
	line_say("began at=%.3f", (double)start / 1e9);
	for (long i = 0; i < n; i++) {
		int err;

		if (rate)
			sleep_until(start + i * 1000000000 / rate);
		addr_set_port(&how.to, port + (int)(i % ports));
		err = connect_one(&how);
		tally_add(&t, err);
		if (err == EADDRNOTAVAIL && until_fail)
			break;
	}
	tally_say(&t);
}

/* --- what is only bound, UDP --- */

static void do_bind(void)
{
	int type = !strcmp(word_at(1), "udp") ? SOCK_DGRAM : SOCK_STREAM, port = atoi(word_at(3));
	struct tally t = { .command = "bind" };
	struct addr a;

	for (long i = 0; i < number_of("n", 1); i++) {
		int fd, err;

		addr_set(&a, word_at(2), port ? port + (int)i : 0);
		fd = socket(a.ss.ss_family, type | SOCK_CLOEXEC, 0);
		err = fd < 0 ? errno : start_bind(fd, &a);
		tally_add(&t, err);
		if (!err)
			keep(fd);
		else if (fd >= 0)
			close(fd);
	}
	tally_say(&t);
}

__attribute__((noinline)) int send_datagram(int fd, const struct addr *to)
{
	return sendto(fd, "x", 1, 0, addr_of(to), to->len) == 1 ? 0 : errno;
}

__attribute__((noinline)) int send_connected(int fd, const struct addr *to)
{
	return start_connect(fd, to) ?: send(fd, "x", 1, 0) == 1 ? 0 : errno;
}

static void do_send(void)
{
	bool connects = !strcmp(word_of("way", "sendto"), "connect");
	struct tally t = { .command = "send" };
	struct addr to;

	addr_set(&to, word_at(1), atoi(word_at(2)));
	for (long i = 0; i < number_of("n", 1); i++) {
		int fd = socket(to.ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		int err = fd < 0 ? errno : connects ? send_connected(fd, &to) : send_datagram(fd, &to);

		tally_add(&t, err);
		if (!err)
			keep(fd);
		else if (fd >= 0)
			close(fd);
	}
	tally_say(&t);
}

/* --- servers --- */

enum accepting { ACCEPT_AFTER, ACCEPT_FIRST, ACCEPT_RESET, ACCEPT_HOLD, ACCEPT_NEVER };

/* What epoll tells of: a listener and how it accepts, or a connection whose peer is to close. */
#define ITEM(fd, accepting, listens) ((uint64_t)(uint32_t)(fd) | (uint64_t)(accepting) << 32 | (uint64_t)(listens) << 40)

static void accept_all(int listen_fd, enum accepting accepting)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP };
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (accepting == ACCEPT_FIRST)
			close(fd);
		else if (accepting == ACCEPT_RESET)
			close_hard(fd);
		else if (accepting == ACCEPT_AFTER) {
			e.data.u64 = ITEM(fd, 0, 0);
			epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
		}
	}
}

static void *server_main(void *arg)
{
	struct epoll_event events[64];
	char buf[256];

	for (;;) {
		int cnt = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < cnt; i++) {
			int fd = (int)(uint32_t)events[i].data.u64;

			if (events[i].data.u64 >> 40)
				accept_all(fd, events[i].data.u64 >> 32 & 0xff);
			else if (read(fd, buf, sizeof(buf)) <= 0)
				close(fd);
		}
	}
	return arg;
}

static int listen_one(const struct addr *a, int backlog, enum accepting accepting)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = ITEM(fd, accepting, 1) };

	if (fd < 0)
		return errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	err = start_bind(fd, a);
	if (!err && listen(fd, backlog))
		err = errno;
	if (err)
		close(fd);
	else if (accepting != ACCEPT_NEVER)
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	return err;
}

static void do_listen(void)
{
	static const char *const names[] = { "after", "first", "reset", "hold", "never" };
	const char *name = word_of("accept", "after");
	struct tally t = { .command = "listen" };
	enum accepting accepting = 0;
	struct addr a;

	while (strcmp(names[accepting], name)) {
		if (accepting++ == ACCEPT_NEVER)
			fail_word(name);
	}
	for (long i = 0; i < number_of("n", 1); i++) {
		addr_set(&a, word_at(1), atoi(word_at(2)) + (int)i);
		tally_add(&t, listen_one(&a, (int)number_of("backlog", 4096), accepting));
	}
	tally_say(&t);
}

/* --- the rest --- */

static void do_fork(void)
{
	int ends[2];
	char c;

	if (child_pid || pipe2(ends, O_CLOEXEC))
		fail_word("fork");
	child_pid = fork();
	if (!child_pid) {
		close(ends[1]);
		while (read(ends[0], &c, 1) > 0)
			;
		drop_here();
		_exit(0);
	}
	close(ends[0]);
	child_pipe = ends[1];
	drop_here();
	line_say("forked %d", child_pid);
}

static void do_drop(void)
{
	struct tally t = { .command = "drop", .ok = (long)kept_cnt };

	drop_here();
	if (child_pid) {
		close(child_pipe);
		waitpid(child_pid, NULL, 0);
		child_pid = 0;
	}
	tally_say(&t);
}

static void do_name(void)
{
	const char *hex = word_at(1);
	char name[16] = "";
	unsigned int byte;

	for (size_t i = 0; i < sizeof(name) - 1 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++) {
		name[i] = (char)byte;
		if (!hex[2 * i + 1] || !hex[2 * i + 2])
			break;
	}
	prctl(PR_SET_NAME, name);
	line_say("named");
}

int main(void)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} commands[] = {
		{ "listen", do_listen }, { "connect", do_connect }, { "bind", do_bind }, { "send", do_send },
		{ "fork", do_fork }, { "drop", do_drop }, { "name", do_name },
	};
	struct rlimit limit;
	pthread_t server;
	char line[512];
	size_t i;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || pthread_create(&server, NULL, server_main, NULL)) {
		dprintf(STDERR_FILENO, "portlab: cannot start\n");
		return 1;
	}
	line_say("ready %d", getpid());
	while (line_read(line, sizeof(line))) {
		take_apart(line);
		if (!words_cnt)
			continue;
		for (i = 0; i < sizeof(commands) / sizeof(*commands) && strcmp(commands[i].name, words[0]); i++)
			;
		if (i == sizeof(commands) / sizeof(*commands))
			fail_word(words[0]);
		commands[i].fn();
	}
	return 0;
}
