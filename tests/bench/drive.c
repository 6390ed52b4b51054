/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "drive.h"

#define ANSWER_S 60	/* the longest job takes some seconds */

/* The program stands beside this one. */
static void victim_exec(int in_fd, int out_fd)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 8);
	char *slash;

	if (len < 0)
		_exit(127);
	path[len] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, "victim");
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* however the benchmark ends */
	if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(127);
	execl(path, path, (char *)NULL);
	_exit(127);
}

/* A line from the victim; meanwhile ebb's rings are read as they would be. */
static int victim_answer(struct victim *v, struct source *source, char *buf, size_t size)
{
	double end = now_ns() + ANSWER_S * 1e9;
	size_t len = 0;

	while (now_ns() < end) {
		struct pollfd fds[2] = {
			{ .fd = v->out_fd, .events = POLLIN },
			{ .fd = source ? leak_source.fd(source) : -1, .events = POLLIN },
		};
		int err = poll(fds, 2, 1000) < 0 && errno != EINTR ? -errno : 0;

		if (!err && source && fds[1].revents)
			err = leak_source.on_event(source);
		if (err)
			return err;
		if (!fds[0].revents)
			continue;
		if (read(v->out_fd, buf + len, 1) != 1)
			return -EPIPE;
		if (buf[len] == '\n') {
			buf[len] = '\0';
			return 0;
		}
		if (++len == size)
			return -EPROTO;
	}
	return -ETIMEDOUT;
}

int victim_start(struct victim *v)
{
	int in[2], out[2], err;
	char line[64];

	*v = (struct victim){ .in_fd = -1, .out_fd = -1 };
	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		err = -errno;
		close(in[0]);
		close(in[1]);
		return err;
	}
	v->pid = fork();
	if (v->pid == 0)
		victim_exec(in[0], out[1]);
	err = v->pid < 0 ? -errno : 0;
	close(in[0]);
	close(out[1]);
	v->in_fd = in[1];
	v->out_fd = out[0];
	return err ? err : victim_answer(v, NULL, line, sizeof(line));
}

void victim_stop(struct victim *v)
{
	if (v->in_fd >= 0)
		close(v->in_fd);
	if (v->out_fd >= 0)
		close(v->out_fd);
	if (v->pid > 0) {
		kill(v->pid, SIGKILL);
		waitpid(v->pid, NULL, 0);
	}
	v->pid = 0;
	v->in_fd = v->out_fd = -1;
}

int victim_run(struct victim *v, const struct job *job, struct source *source, double *ret_ns)
{
	char line[128];
	int len, err;

	len = snprintf(line, sizeof(line), "%d %d %d %ld %ld\n", job->churn, job->frames, job->threads, job->pairs,
		       job->live);
	if (write(v->in_fd, line, len) != len)
		return -errno;
	err = victim_answer(v, source, line, sizeof(line));
	if (!err && ret_ns)
		*ret_ns = atof(line);
	return err;
}
