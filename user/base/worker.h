/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The worker: a child without privileges that parses whatever the target, or a file, may have made up. It gets
 * descriptors and requests and answers with bytes; if it crashes, hangs or takes too much memory, it is killed and
 * started again, and only the request that did it has failed.
 *
 *	caller  worker_call(op, request, fd) ──▸ handler of op, in the worker ──▸ reply
 *
 * Requests and replies are bytes of the two sides of one op, which stand in one file; the caller believes nothing in
 * a reply that it has not checked.
 */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct worker;

#define WORKER_OPS_MAX	16

/*
 * Runs in the worker. state: what the op's open() returned, or the service's ctx. fd: what came with the request, -1
 * without one; closed afterwards. Adds its answer to reply, or returns a negative errno, which becomes the caller's;
 * -ENOMEM ends the worker, which has as much as it may have, and the caller gets -EPIPE.
 */
typedef int worker_handler(void *state, const void *request, size_t len, int fd, struct text *reply);

struct worker_op {
	const char *name;	/* for messages: "symbols" */
	worker_handler *handle;
	/* In each new worker: what it keeps between requests; NULL: nothing. */
	void *(*open)(void);
	unsigned int shares;	/* instead: it has the state of the op before it with this number */
	bool is_sharing;
};

struct worker_service {
	const struct worker_op *ops;
	size_t ops_cnt;
	uint32_t time_ms;	/* what one request may take */
	uint64_t data_bytes;	/* what the worker may allocate; 0 = no limit (sanitizers map terabytes) */
	void (*enter)(void);	/* in each new worker, when it is in its sandbox; may be NULL */
	/* For a service that is made for one process: the worker has it as it was at the start. */
	void *ctx;
	const int *fds;		/* descriptors that the worker keeps */
	size_t fds_cnt;
};

/* A worker that died, or was killed because of a request. All of it lives until the function returns that gets it. */
struct worker_death {
	const char *op;		/* its name; NULL: it died of a request that nobody waited for */
	const char *file;	/* the path of what came with the request, raw; NULL = not known */
	const char *how;	/* "crashed (SIGSEGV)" … */
};

/* service is borrowed until worker_stop(). Errors: also those of making the sandbox. */
int worker_start(const struct worker_service *service, struct worker **ret);
struct worker *worker_stop(struct worker *w);

/*
 * Sends a request and waits for its answer. fd (or -1) stays the caller's. ret_reply: zero-initialised, the caller
 * frees it. A handler's error is returned as it is; -EPIPE: the worker died of this request, -ETIME: it took too long
 * and was killed: say so, and do not ask the same again.
 */
int worker_call(struct worker *w, unsigned int op, const void *request, size_t len, int fd, struct text *ret_reply);

/*
 * As worker_call(), with a request that has nothing but its file: the answer to a key is asked for once and remembered,
 * also that the worker died of it. key: what tells that file, as it is now, from others.
 */
int worker_ask(struct worker *w, unsigned int op, uint64_t key, int fd, struct text *ret_reply);

/*
 * Sends a request whose answer nobody wants now, and does not wait: the handler keeps what it has worked out for a
 * later call. As calls, posts are handled in the order of sending. Errors as worker_call(); -EAGAIN: too much is under
 * way already.
 */
int worker_post(struct worker *w, unsigned int op, const void *request, size_t len, int fd);

/*
 * While a call waits, pump is called whenever pump_fd is readable and at least every 100 ms: rings must not fill up
 * while a large file is read. It must not call the worker.
 */
void worker_set_pump(struct worker *w, int pump_fd, void (*pump)(void *ctx), void *ctx);

/* Whether a call waits: then the pump is running, and further calls are -EBUSY. */
bool worker_is_busy(const struct worker *w);

/* fn is told of each death. */
void worker_on_death(struct worker *w, void (*fn)(void *ctx, const struct worker_death *d), void *ctx);

/* How often a worker died or was killed, ever. */
uint64_t worker_deaths(const struct worker *w);

#endif
