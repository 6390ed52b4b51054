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
static void victim_exec(const char *program, int in_fd, int out_fd)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 16);
	char *slash;

	if (len < 0)
		_exit(127);
	path[len] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, program);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* however the benchmark ends */
	if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(127);
	execl(path, path, (char *)NULL);
	_exit(127);
}

/* A line from the victim; meanwhile ebb's rings are read as they would be. */
int victim_answer(struct victim *v, const struct source_type *type, struct source *source, char answer[VICTIM_LINE])
{
	double end = now_ns() + ANSWER_S * 1e9;
	size_t len = 0;

	while (now_ns() < end) {
		struct pollfd fds[2] = {
			{ .fd = v->out_fd, .events = POLLIN },
			{ .fd = source ? type->fd(source) : -1, .events = POLLIN },
		};
		int ready = poll(fds, 2, 1000), err = ready < 0 && errno != EINTR ? -errno : 0;

		if (!err && source && (fds[1].revents || !ready))	/* or a second has passed */
			err = type->on_event(source);
		if (err)
			return err;
		if (!fds[0].revents)
			continue;
		if (read(v->out_fd, answer + len, 1) != 1)
			return -EPIPE;
		if (answer[len] == '\n') {
			answer[len] = '\0';
			return 0;
		}
		if (++len == VICTIM_LINE)
			return -EPROTO;
	}
	return -ETIMEDOUT;
}

int victim_start(const char *program, struct victim *v)
{
	int in[2], out[2], err;
	char line[VICTIM_LINE];

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
		victim_exec(program, in[0], out[1]);
	err = v->pid < 0 ? -errno : 0;
	close(in[0]);
	close(out[1]);
	v->in_fd = in[1];
	v->out_fd = out[0];
	return err ? err : victim_answer(v, NULL, NULL, line);
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

int victim_tell(struct victim *v, const char *request)
{
	int len = strlen(request);

	return write(v->in_fd, request, len) == len ? 0 : -errno;
}

int victim_run(struct victim *v, const struct job *job, struct source *source, double *ret_ns)
{
	char line[VICTIM_LINE], answer[VICTIM_LINE];
	int err;

	snprintf(line, sizeof(line), "%d %d %d %ld %ld\n", job->kind, job->frames, job->threads, job->pairs, job->live);
	err = victim_tell(v, line) ?: victim_answer(v, &leak_source, source, answer);
	if (!err && ret_ns)
		*ret_ns = atof(answer);
	return err;
}
