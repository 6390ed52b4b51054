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
 * Runs in the worker. state: what the op's open() returned, or NULL. fd: what came with the request, -1 without one; closed afterwards.
 * Adds its answer to reply, or returns a negative errno, which becomes the caller's.
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
};

/* service is borrowed until worker_stop(). */
int worker_start(const struct worker_service *service, struct worker **ret);
struct worker *worker_stop(struct worker *w);

/*
 * Sends a request and waits for its answer. fd (or -1) stays the caller's. ret_reply: zero-initialised, the caller
 * frees it. A handler's error is returned as it is; -EPIPE: the worker died of this request, -ETIME: it took too long
 * and was killed: say so, and do not ask the same again.
 */
int worker_call(struct worker *w, unsigned int op, const void *request, size_t len, int fd, struct text *ret_reply);

/*
 * Sends a request whose answer nobody wants now, and does not wait: the handler keeps what it has worked out for a later
 * call. As calls, posts are handled in the order of sending. Errors as worker_call(); -EAGAIN: too much is under way already.
 */
int worker_post(struct worker *w, unsigned int op, const void *request, size_t len, int fd);

/*
 * While a call waits, pump is called whenever pump_fd is readable and at least every 100 ms: rings must not fill up
 * while a large file is read. It must not call the worker.
 */
void worker_set_pump(struct worker *w, int pump_fd, void (*pump)(void *ctx), void *ctx);

/* Whether a call waits: then the pump is running, and further calls are -EBUSY. */
bool worker_is_busy(const struct worker *w);

/* How often a worker died or was killed, ever. */
uint64_t worker_deaths(const struct worker *w);

#endif
