/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of addresses in a file, found by the worker. Both sides of the ops PARSER_NAMES and PARSER_DEBUG; inside the layer but
 * for the handlers.
 */
#ifndef SYMBOL_NAMES_H
#define SYMBOL_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/worker.h"

struct names_question {
	uint64_t file_key;
	int fd;			/* the file */
	bool no_inline, no_demangle;
	bool no_debug;		/* there is no debug file that one could add */
	bool no_alt;		/* nor one with what it has in common with others */
	const uint64_t *vas;
	uint32_t vas_cnt;
};

/* One function at an address; the strings live until names_ask() returns. */
struct names_frame {
	const char *name;
	const char *file;	/* NULL = not known */
	uint32_t name_number, file_number;	/* in this answer: equal numbers are equal strings. From 1; 0 = none */
	uint32_t line;
	uint64_t off;
};

/* What the worker would like to have before it answers. */
enum names_file { NAMES_NO_FILE, NAMES_DEBUG_FILE, NAMES_ALT_FILE };

struct names_wish {
	enum names_file file;
	unsigned char build_id[64];	/* of it */
	size_t build_id_len;
	char link[256];		/* name in .gnu_debuglink or .gnu_debugaltlink, "" = none; not to be trusted */
};

/*
 * Asks, and calls fn for each va i that has a name: frames innermost first. Where *ret_wish is for a file, nothing is answered
 * yet. A return of fn other than 0 ends it and becomes the result. -EBADMSG: the answer is not to be believed; else the
 * errors of worker_call() and image_open().
 */
int names_ask(struct worker *w, const struct names_question *q, struct names_wish *ret_wish,
	      int (*fn)(void *ctx, uint32_t i, const struct names_frame *frames, uint32_t cnt), void *ctx);

/* Gives the worker what it wished for a file that was asked for. -ENOEXEC: it is that of another one. */
int names_add_file(struct worker *w, uint64_t file_key, enum names_file what, int fd);

/* In the worker. */
void *names_open(void);
int names_handle(void *state, const void *request, size_t len, int fd, struct text *reply);
int names_handle_debug(void *state, const void *request, size_t len, int fd, struct text *reply);

#endif
