/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One request at a time over a stream socket:
 *
 *	request   head { op, len } with at most one descriptor │ len bytes      POST in op: there is no reply
 *	reply     head { err, len } │ len bytes
 *
 * The caller's side waits with a limit; whatever is not as it should be ends the worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "base/worker.h"

#define REPLY_MAX	(256u << 20)
#define PUMP_MS		100
#define POST		0x10000
#define POST_BYTES_MAX	256u	/* it must fit into the socket at once */

struct head {
	int32_t what;		/* op, or 0 and a negative errno */
	uint32_t len;
};

struct worker {
	const struct worker_service *service;
	pid_t pid;		/* 0 = none runs */
	int fd;
	uint64_t deaths_cnt;
	bool busy;		/* a call waits */
	int pump_fd;
	void (*pump)(void *ctx);
	void *pump_ctx;
};

/* Reads or writes all of it, in the worker, which has nothing else to do. */
static bool child_move(int fd, void *buf, size_t len, bool out)
{
	while (len) {
		ssize_t n = out ? write(fd, buf, len) : read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf = (char *)buf + n;
		len -= n;
	}
	return true;
}

/* The head of a request, and the descriptor that came with it or -1. */
static bool child_receive(int fd, struct head *ret, int *ret_fd)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	*ret_fd = -1;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n == sizeof(*ret) || child_move(fd, (char *)ret + n, sizeof(*ret) - n, false);
}

static int child_handle(const struct worker_service *service, void **states, int fd, const struct head *head, int with_fd)
{
	uint32_t op = head->what & ~POST;
	struct text reply = { 0 };
	struct head answer;
	char *request = malloc(head->len + 1);
	bool sent;

	if (!request || !child_move(fd, request, head->len, false))
		return -1;
	answer.what = -ENOSYS;
	if (op < service->ops_cnt && service->ops[op].handle)
		answer.what = service->ops[op].handle(states[op], request, head->len, with_fd, &reply);
	free(request);
	if (head->what & POST) {
		text_free(&reply);
		return 0;
	}
	if (!answer.what && (reply.failed || reply.len > REPLY_MAX))
		answer.what = reply.failed ? -ENOMEM : -E2BIG;
	answer.len = answer.what ? 0 : reply.len;
	sent = child_move(fd, &answer, sizeof(answer), true) && child_move(fd, reply.str, answer.len, true);
	text_free(&reply);
	return sent ? 0 : -1;
}

static void child_run(const struct worker_service *service, int fd)
{
	void *states[WORKER_OPS_MAX] = { NULL };
	struct head head;
	int with_fd;

	if (sandbox_enter(fd, service->data_bytes))
		_exit(1);
	for (unsigned int i = 0; i < service->ops_cnt; i++) {
		const struct worker_op *op = &service->ops[i];

		states[i] = op->is_sharing ? states[op->shares] : op->open ? op->open() : NULL;
		if (op->open && !states[i])
			_exit(1);
	}
	while (child_receive(0, &head, &with_fd)) {
		if (child_handle(service, states, 0, &head, with_fd))
			break;
		if (with_fd >= 0)
			close(with_fd);
	}
	_exit(0);
}

static int spawn(struct worker *w)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	w->pid = fork();
	if (w->pid == 0)
		child_run(w->service, fds[1]);
	close(fds[1]);
	if (w->pid < 0) {
		w->pid = 0;
		close(fds[0]);
		return -EAGAIN;
	}
	w->fd = fds[0];
	fcntl(w->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

static void reap(struct worker *w, bool kill_it)
{
	int status = 0;

	if (!w->pid)
		return;
	close(w->fd);	/* by itself it ends then */
	if (kill_it)
		kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && !kill_it)
		log_debug("the worker was ended by signal %d", WTERMSIG(status));
	w->pid = 0;
	w->fd = -1;
}

int worker_start(const struct worker_service *service, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	*w = (struct worker){ .service = service, .fd = -1, .pump_fd = -1 };
	err = spawn(w);
	if (err) {
		free(w);
		return err;
	}
	*ret = w;
	return 0;
}

struct worker *worker_stop(struct worker *w)
{
	if (w)
		reap(w, true);
	free(w);
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* Waits until the worker can be written to or read from, and serves the pump meanwhile. */
static int wait_for(struct worker *w, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[2] = { { .fd = w->fd, .events = events }, { .fd = w->pump_fd, .events = POLLIN } };
		uint64_t now = now_ms();

		if (now >= deadline_ms)
			return -ETIME;
		if (poll(fds, 2, deadline_ms - now < PUMP_MS ? deadline_ms - now : PUMP_MS) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents)
			return 0;
		if (w->pump)
			w->pump(w->pump_ctx);
	}
}

/* Moves all of it; fd goes with the first bytes that are sent. */
static int move(struct worker *w, void *buf, size_t len, bool out, int fd, uint64_t deadline_ms)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(int));
	}
	while (iov.iov_len) {
		ssize_t n = out ? sendmsg(w->fd, &msg, MSG_NOSIGNAL) : recv(w->fd, iov.iov_base, iov.iov_len, 0);
		int err = n < 0 ? -errno : 0;

		if (err == -EAGAIN)
			err = wait_for(w, out ? POLLOUT : POLLIN, deadline_ms);
		else if (err != -EINTR && n <= 0)
			err = -EPIPE;
		if (err && err != -EINTR)
			return err;
		if (n > 0) {
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= n;
			msg.msg_controllen = 0;
		}
	}
	return 0;
}

static int exchange(struct worker *w, unsigned int op, const void *request, size_t len, int fd, struct text *ret,
		    int *ret_err)
{
	uint64_t deadline = now_ms() + w->service->time_ms;
	struct head head = { .what = op, .len = len };
	char *buf;
	int err;

	err = move(w, &head, sizeof(head), true, fd, deadline);
	if (!err)
		err = move(w, (void *)(uintptr_t)request, len, true, -1, deadline);
	if (!err)
		err = move(w, &head, sizeof(head), false, -1, deadline);
	if (err)
		return err;
	if (head.what > 0 || head.len > REPLY_MAX || (head.what && head.len))
		return -EPIPE;
	*ret_err = head.what;
	buf = malloc(head.len + 1);
	if (!buf)
		return -ENOMEM;
	err = move(w, buf, head.len, false, -1, deadline);
	if (err) {
		free(buf);
		return err;
	}
	buf[head.len] = '\0';
	*ret = (struct text){ .str = buf, .len = head.len, .size = head.len + 1 };
	return 0;
}

int worker_call(struct worker *w, unsigned int op, const void *request, size_t len, int fd, struct text *ret_reply)
{
	int err, answer = 0;

	if (w->busy)
		return -EBUSY;
	if (len > UINT32_MAX)
		return -E2BIG;
	err = w->pid ? 0 : spawn(w);
	w->busy = true;
	if (!err)
		err = exchange(w, op, request, len, fd, ret_reply, &answer);
	w->busy = false;
	if (err) {
		/* what it may still answer belongs to no request */
		if (w->pid)
			w->deaths_cnt++;
		reap(w, true);
		return err;
	}
	return answer;
}

int worker_post(struct worker *w, unsigned int op, const void *request, size_t len, int fd)
{
	struct head head = { .what = op | POST, .len = len };
	char message[sizeof(head) + POST_BYTES_MAX];
	int err;

	if (w->busy)
		return -EBUSY;
	if (len > POST_BYTES_MAX)
		return -E2BIG;
	err = w->pid ? 0 : spawn(w);
	if (err)
		return err;
	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), request, len);
	/* all of it or nothing: the deadline has passed, so there is no waiting; a part would end the worker */
	err = move(w, message, sizeof(head) + len, true, fd, 0);
	if (err == -EPIPE) {
		w->deaths_cnt++;
		reap(w, true);
	}
	return err == -ETIME ? -EAGAIN : err;
}

void worker_set_pump(struct worker *w, int pump_fd, void (*pump)(void *ctx), void *ctx)
{
	w->pump_fd = pump_fd;
	w->pump = pump;
	w->pump_ctx = ctx;
}

bool worker_is_busy(const struct worker *w)
{
	return w->busy;
}

uint64_t worker_deaths(const struct worker *w)
{
	return w->deaths_cnt;
}
