/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The unwind rows of a file, made by the worker and checked here.
 */
#ifndef TRACE_ROWS_H
#define TRACE_ROWS_H

#include "base/worker.h"
#include "elf/ehframe.h"

/* Lets the worker make the rows of a file that will be fetched soon, and does not wait for them. */
void rows_prepare(struct worker *w, uint64_t file_key, int fd);

/*
 * Rows of the file behind fd. *ret: the caller's to free with ehframe_free(). Errors are those of ehframe_read() and
 * worker_call(); -EBADMSG: the worker's answer is not to be believed.
 */
int rows_fetch(struct worker *w, uint64_t file_key, int fd, struct ehframe *ret);

/* The op PARSER_ROWS, in the worker. */
void *rows_state_new(void);
int rows_handle(void *state, const void *request, size_t len, int fd, struct text *reply);

#endif
