/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks of ports watch: one thread in a network namespace of its own that connects to itself.
 *
 *	KIND CONNECTIONS DESTINATIONS	on standard input; answers with ns of CPU time and ns of the clock a connection
 *
 *	KIND 0	the client closes first: it has the TIME_WAIT
 *	KIND 1	the server closes first
 *	KIND 2	the client ends the connection by RST: no TIME_WAIT, five changes of state less
 *	KIND 3	all stay open until the program ends; by so many processes that their descriptors suffice, and accepted
 *		by nobody: the kernel has both ends nevertheless
 *
 * Each connection is socket, connect, accept and two close, at the bottom of FRAMES functions. Destinations are
 * addresses 127.0.x.y; with a namespace a run there are so few connections to each that no port is searched for. All
 * of TCP runs in the thread: loopback hands packets over at the end of the system call. So its CPU time has all of it;
 * what it waits for a processor on a busy machine is not in it.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "line.h"

#define PORT	1000	/* outside of the range */
#define FRAMES	16
#define HOLD_PROCESS	800	/* connections a process holds: the usual limit is 1,024 */

enum kind { CLIENT_FIRST, SERVER_FIRST, RESET, HOLD };

static struct job {
	int kind;
	long connections, destinations;
} job;
static int listener;
static volatile long sink;

static double clock_read(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static int setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), len = strlen(value);
	int bad = fd < 0 || write(fd, value, len) != len;

	close(fd);
	return bad;
}

static int namespace_open(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		return -1;
	close(fd);
	return setting("/proc/sys/net/core/somaxconn", "1000000") ||
	       setting("/proc/sys/net/ipv4/tcp_tw_reuse", "0") ||
	       setting("/proc/sys/net/ipv4/ip_local_port_range", "2048 65535");
}

static int listener_open(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1000000);
}

static void fail(const char *what)
{
	line_say("%s: %s", what, strerror(errno));
	exit(1);
}

static int client_open(long i)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % job.destinations);
	if (client < 0 || connect(client, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
	return client;
}

__attribute__((noinline)) static void churn(void)
{
	const struct linger hard = { .l_onoff = 1 };

	for (long i = 0; i < job.connections; i++) {
		int client = client_open(i), server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (server < 0)
			fail("accept");
		if (job.kind == RESET)
			setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(job.kind == SERVER_FIRST ? server : client);
		close(job.kind == SERVER_FIRST ? client : server);
	}
}

/* In a child: connects, says so, and stays. */
static void hold_some(long first, long end, int done_fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (long i = first; i < end; i++)
		client_open(i);
	if (write(done_fd, "", 1) == 1)
		for (;;)
			pause();
}

__attribute__((noinline)) static void hold(void)
{
	int done[2];

	if (pipe(done))
		fail("pipe");
	for (long i = 0; i < job.connections; i += HOLD_PROCESS) {
		long end = i + HOLD_PROCESS;
		pid_t pid = fork();
		char byte;

		if (pid < 0)
			fail("fork");
		if (!pid) {
			close(done[0]);
			hold_some(i, end < job.connections ? end : job.connections, done[1]);
			_exit(1);
		}
		if (read(done[0], &byte, 1) != 1 || waitpid(pid, NULL, WNOHANG))
			exit(1);
	}
}

__attribute__((noinline)) static void descend(int frames)
{
	if (frames > 1)
		descend(frames - 1);
	else if (job.kind == HOLD)
		hold();
	else
		churn();
	sink++;		/* so that no call is the last thing that a function does */
}

int main(void)
{
	char line[128];

	if (namespace_open() || listener_open()) {
		line_say("no network namespace: %s", strerror(errno));
		return 1;
	}
	line_say("ready");
	while (line_read(line, sizeof(line))) {
		double cpu, wall;

		if (sscanf(line, "%d %ld %ld", &job.kind, &job.connections, &job.destinations) != 3 || job.kind < 0 ||
		    job.kind > HOLD || job.connections < 1 || job.destinations < 1)
			return 2;
		cpu = clock_read(CLOCK_PROCESS_CPUTIME_ID);
		wall = clock_read(CLOCK_MONOTONIC);
		descend(FRAMES - 2);	/* main() and who loops */
		line_say("%.1f %.1f", (clock_read(CLOCK_PROCESS_CPUTIME_ID) - cpu) / job.connections,
			 (clock_read(CLOCK_MONOTONIC) - wall) / job.connections);
	}
	return 0;
}
