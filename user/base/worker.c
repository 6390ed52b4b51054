/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One request at a time over a stream socket:
 *
 *	request   head { op, len } with at most one descriptor │ len bytes      POST in op: there is no reply
 *	reply     head { err, len } │ len bytes
 *
 * A new worker sends the head of a reply when it is in its sandbox. The caller's side waits with a limit; whatever is
 * not as it should be ends the worker.
 *
 * The worker ends with its parent, whatever becomes of that: by the signal that it asked for, by the end of the socket,
 * and, where it may not be signalled and is busy, by its own timer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memo.h"
#include "base/sandbox.h"
#include "base/worker.h"

#define REPLY_MAX	(256u << 20)
#define PUMP_MS		100
#define POST		0x10000
#define POST_BYTES_MAX	256u	/* it must fit into the socket at once */
#define EXIT_NO_MEMORY	12
#define MEMO_BYTES	(4u << 20)	/* some 10,000 answers of some hundred bytes */

struct head {
	int32_t what;		/* op, or 0 and a negative errno */
	uint32_t len;
};

struct worker {
	const struct worker_service *service;
	pid_t pid;		/* 0 = none runs */
	int fd;
	struct memo *memo;
	uint64_t deaths_cnt;
	void (*on_death)(void *ctx, const struct worker_death *d);
	void *death_ctx;
	bool busy;		/* a call waits */
	bool posted;		/* since the last reply: if it dies, that may be why */
	bool served;		/* what it keeps of other requests may be why its memory is used up */
	int pump_fd;
	void (*pump)(void *ctx);
	void *pump_ctx;
	uint64_t pumped_ms;
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

/* A request that takes much longer than anybody waits for it, whose caller has gone and could not end us. */
static void child_timer(uint32_t time_ms)
{
	const struct itimerval timer = { .it_value = { .tv_sec = time_ms / 1000, .tv_usec = time_ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

static int child_handle(const struct worker_service *service, void **states, int fd, const struct head *head,
			int with_fd)
{
	uint32_t op = head->what & ~POST;
	struct text reply = { 0 };
	struct head answer;
	char *request = malloc(head->len + 1ul);
	bool sent;

	if (!request || !child_move(fd, request, head->len, false))
		return -1;
	child_timer(2 * service->time_ms);
	answer.what = -ENOSYS;
	if (op < service->ops_cnt && service->ops[op].handle)
		answer.what = service->ops[op].handle(states[op], request, head->len, with_fd, &reply);
	child_timer(0);
	free(request);
	/* what is there to be kept is not, and the next one would fare no better */
	if (answer.what == -ENOMEM || reply.failed)
		_exit(EXIT_NO_MEMORY);
	if (head->what & POST) {
		text_free(&reply);
		return 0;
	}
	if (!answer.what && reply.len > REPLY_MAX)
		answer.what = -E2BIG;
	answer.len = answer.what ? 0 : reply.len;
	sent = child_move(fd, &answer, sizeof(answer), true) && child_move(fd, reply.str, answer.len, true);
	text_free(&reply);
	return sent ? 0 : -1;
}

static int child_open(const struct worker_service *service, void **states)
{
	for (unsigned int i = 0; i < service->ops_cnt; i++) {
		const struct worker_op *op = &service->ops[i];

		states[i] = op->is_sharing ? states[op->shares] : op->open ? op->open() : service->ctx;
		if (op->open && !states[i])
			return -ENOMEM;
	}
	return 0;
}

/* The socket becomes descriptor 0. */
static int child_enter(const struct worker_service *service, pid_t parent, int fd)
{
	int *fds = malloc((service->fds_cnt + 1) * sizeof(*fds)), err;
	const struct sandbox sandbox = {
		.parent = parent, .fds = fds, .fds_cnt = service->fds_cnt + 1, .data_bytes = service->data_bytes,
	};

	if (!fds)
		return -ENOMEM;
	if (dup2(fd, 0))
		return -errno;
	fds[0] = 0;
	for (size_t i = 0; i < service->fds_cnt; i++)
		fds[i + 1] = service->fds[i];
	err = sandbox_enter(&sandbox);
	free(fds);
	if (!err && service->enter)
		service->enter();
	return err;
}

static void child_run(const struct worker_service *service, pid_t parent, int fd)
{
	void *states[WORKER_OPS_MAX] = { NULL };
	struct head head = { 0 };
	int with_fd, err;

	err = child_enter(service, parent, fd);
	if (!err)
		err = child_open(service, states);
	head.what = err;
	if (!child_move(0, &head, sizeof(head), true) || err)
		_exit(1);
	while (child_receive(0, &head, &with_fd)) {
		if (child_handle(service, states, 0, &head, with_fd))
			break;
		if (with_fd >= 0)
			close(with_fd);
	}
	_exit(0);
}

/* Ends it if it has not ended by itself. How it ended, as wait(2) has it. */
static int reap(struct worker *w)
{
	int status = 0;

	if (!w->pid)
		return 0;
	close(w->fd);	/* by itself it ends then, where it may not be signalled */
	kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	w->pid = 0;
	w->fd = -1;
	w->posted = w->served = false;
	return status;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void pump_serve(struct worker *w, uint64_t now, bool at_once)
{
	if (!w->pump || !w->busy || (!at_once && now - w->pumped_ms < PUMP_MS))
		return;
	w->pump(w->pump_ctx);
	w->pumped_ms = now_ms();
}

/* Waits until the worker can be written to or read from, and serves the pump meanwhile. */
static int wait_for(struct worker *w, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[2] = { { .fd = w->fd, .events = events }, { .fd = w->pump_fd, .events = POLLIN } };
		uint64_t now = now_ms(), left = now < deadline_ms ? deadline_ms - now : 0;

		/* looked at before the clock: whoever was stopped meanwhile, it was not the worker */
		if (poll(fds, 2, left < PUMP_MS ? left : PUMP_MS) < 0 && errno != EINTR)
			return -errno;
		pump_serve(w, now_ms(), fds[1].revents);
		if (fds[0].revents)
			return 0;
		if (!left)
			return -ETIME;
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
			pump_serve(w, now_ms(), false);
		}
	}
	return 0;
}

static int spawn(struct worker *w)
{
	uint64_t deadline = now_ms() + w->service->time_ms;
	pid_t parent = getpid();
	struct head head;
	int fds[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	w->pid = fork();
	if (w->pid == 0)
		child_run(w->service, parent, fds[1]);
	close(fds[1]);
	if (w->pid < 0) {
		w->pid = 0;
		close(fds[0]);
		return -EAGAIN;
	}
	w->fd = fds[0];
	fcntl(w->fd, F_SETFL, O_NONBLOCK);
	err = move(w, &head, sizeof(head), false, -1, deadline);
	if (!err && head.what)
		err = head.what < 0 && head.what > -4096 ? head.what : -EPIPE;
	if (err)
		reap(w);
	return err;
}

int worker_start(const struct worker_service *service, struct worker **ret)
{
	struct worker *w;
	int err;

	if (service->ops_cnt > WORKER_OPS_MAX)
		return -E2BIG;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct worker){ .service = service, .fd = -1, .pump_fd = -1, .memo = memo_new(MEMO_BYTES) };
	err = w->memo ? spawn(w) : -ENOMEM;
	if (err) {
		worker_stop(w);
		return err;
	}
	*ret = w;
	return 0;
}

struct worker *worker_stop(struct worker *w)
{
	if (!w)
		return NULL;
	reap(w);
	memo_free(w->memo);
	free(w);
	return NULL;
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
	if (head.what > 0 || head.what < -4095 || head.len > REPLY_MAX || (head.what && head.len))
		return -EBADMSG;
	*ret_err = head.what;
	buf = malloc(head.len + 1ul);
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

static const char *how_it_died(int err, int status, char buf[64])
{
	if (err == -ETIME)
		return "took too long and was ended";
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_MEMORY)
		return "took more memory than it may have";
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return "called the system as it may not and was ended";
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
		snprintf(buf, 64, "crashed (SIG%s)", sigabbrev_np(WTERMSIG(status)) ?: "?");
		return buf;
	}
	return "was ended";
}

/* name: of the op, NULL where the request need not have been to blame; fd: of the request, or -1. */
static void tell_death(struct worker *w, int err, int status, const char *name, int fd)
{
	char how[64], link[32], path[PATH_MAX];
	struct worker_death d = { .op = name };
	ssize_t len = -1;

	w->deaths_cnt++;
	if (!w->on_death)
		return;
	d.how = how_it_died(err, status, how);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (name && fd >= 0)
		len = readlink(link, path, sizeof(path) - 1);
	if (len > 0) {
		path[len] = '\0';
		d.file = path;
	}
	w->on_death(w->death_ctx, &d);
}

/*
 * Ends the worker after a request has failed. True when something else than that request may be to blame, what was posted,
 * what it keeps of others, or somebody who killed it (for the first time): a new worker will tell.
 */
static bool bury(struct worker *w, int err, const char *name, int fd, bool is_first)
{
	bool posted = w->posted, served = w->served, innocent;
	int status = reap(w);

	innocent = posted || (served && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_MEMORY) ||
		   /* not by reap(): its socket was closed, so it was ending already */
		   (is_first && err == -EPIPE && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	tell_death(w, err, status, innocent ? NULL : name, fd);
	return innocent;
}

/* Whether there is one to ask: killed while it had nothing to do, it would seem to have died of the next request. */
static int ready(struct worker *w)
{
	char byte;

	if (w->pid && (recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN))
		bury(w, -EPIPE, NULL, -1, true);
	return w->pid ? 0 : spawn(w);
}

int worker_call(struct worker *w, unsigned int op, const void *request, size_t len, int fd, struct text *ret_reply)
{
	bool again = true, is_first = true;
	int err, answer = 0;

	if (w->busy)
		return -EBUSY;
	if (len > UINT32_MAX || op >= w->service->ops_cnt)
		return -E2BIG;
	w->busy = true;
	w->pumped_ms = now_ms();
	while (again) {
		again = false;
		err = ready(w);
		if (err)
			break;
		err = exchange(w, op, request, len, fd, ret_reply, &answer);
		if (err)	/* what it may still answer belongs to no request */
			again = bury(w, err, w->service->ops[op].name, fd, is_first);
		is_first = false;
	}
	w->busy = false;
	if (err)
		return err == -EBADMSG ? -EPIPE : err;
	w->posted = false;
	w->served = true;
	return answer;
}

int worker_ask(struct worker *w, unsigned int op, uint64_t key, int fd, struct text *ret_reply)
{
	const uint64_t full_key[2] = { op, key };
	uint64_t deaths_cnt = w->deaths_cnt;
	int err;

	if (memo_get(w->memo, full_key, sizeof(full_key), &err, ret_reply))
		return err;
	err = worker_call(w, op, NULL, 0, fd, ret_reply);
	/* what is the file's fault, and not that of memory, or of a worker that cannot be started */
	if (!err || err == -ENOEXEC || w->deaths_cnt != deaths_cnt)
		memo_put(w->memo, full_key, sizeof(full_key), err, ret_reply);
	return err;
}

int worker_post(struct worker *w, unsigned int op, const void *request, size_t len, int fd)
{
	struct head head = { .what = op | POST, .len = len };
	char message[sizeof(head) + POST_BYTES_MAX];
	int err;

	if (w->busy)
		return -EBUSY;
	if (len > POST_BYTES_MAX || op >= w->service->ops_cnt)
		return -E2BIG;
	err = ready(w);
	if (err)
		return err;
	memcpy(message, &head, sizeof(head));
	if (len)
		memcpy(message + sizeof(head), request, len);
	/* all of it or nothing: the deadline has passed, so there is no waiting; a part would end the worker */
	err = move(w, message, sizeof(head) + len, true, fd, 0);
	if (err == -EPIPE)
		bury(w, err, NULL, -1, true);
	else if (!err)
		w->posted = true;
	return err == -ETIME ? -EAGAIN : err;
}

void worker_on_death(struct worker *w, void (*fn)(void *ctx, const struct worker_death *d), void *ctx)
{
	w->on_death = fn;
	w->death_ctx = ctx;
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
