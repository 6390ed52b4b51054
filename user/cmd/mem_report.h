/* SPDX-License-Identifier: GPL-2.0-only */
/* What `ebb mem` shows, for people and for programs. */
#ifndef CMD_MEM_REPORT_H
#define CMD_MEM_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/mem_look.h"
#include "target/glibc_heap.h"

struct report;
struct target;

/* A walk of glibc's heap. */
struct mem_heap {
	int err;		/* it could not be walked: a negative errno */
	struct heap_walk walk;
};

struct mem_view {
	const struct target *target;
	const struct mem_history *history;	/* at least one look */
	const struct pressure_kills *kills;
	const struct mem_heap *heap;		/* NULL = not walked in this look */
	uint64_t top;
	bool verbose;
	bool repeated;		/* it is looked at again and again, or was */
	bool ended;		/* the process, meanwhile */
	bool execed;		/* it runs another program since this look began */
};

/* -ENOMEM. The caller frees *ret. */
int mem_report(const struct mem_view *v, struct report **ret);
/* The lines below the table. */
void mem_report_rest(const struct mem_view *v, struct report *r);
/* The document of -f json: its keys are documented in the man page. 0 or a negative errno. */
int mem_json_write(FILE *out, const struct mem_view *v);

/* "12 %" or "0.3 %" of a whole. */
#define MEM_TEXT_MAX 64
const char *mem_share(char buf[MEM_TEXT_MAX], uint64_t part, uint64_t whole);
/* "≈12 min". */
const char *mem_span(char buf[MEM_TEXT_MAX], double seconds);

#endif
