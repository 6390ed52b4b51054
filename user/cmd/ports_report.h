/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `ebb ports` shows of a look: the table for people. ports_report.c has the head, the table and what
 * concerns all of it, ports_why.c the paragraph of a destination.
 */
#ifndef CMD_PORTS_REPORT_H
#define CMD_PORTS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/ports.h"
#include "profile/profile.h"
#include "profile/report.h"

struct ports_view {
	const struct ports *ports;	/* judged */
	const struct profile *stacks;	/* of the connects; its losses are those of the look */
	const char *title;		/* "netns host", "whole machine, 12 namespaces", "node[1] in netns blue"; raw */
	uint64_t top;			/* rows at most */
	bool verbose;			/* a paragraph for every destination, every pool */
	bool raw;			/* stacks as they are */
	bool last;			/* the final report: says what to do next */
};

/* The caller frees the report. -ENOMEM. */
int ports_report(const struct ports_view *v, struct report **ret);

/* What the shown destinations have in common, so that it need not be said of each. */
struct ports_shown {
	const uint32_t *dests;		/* indexes, in order */
	size_t cnt;
	bool with_netns, with_local, with_usable;	/* they differ in it */
	uint32_t usable;		/* PORTS_INF: they differ, or it is not known */
};

/* Inside: a destination's name in this report; "12", "0.3"; "9 min"; the clock at a time of the model. Return buf. */
#define PORTS_DEST_MAX (2 * PORTS_ADDR_MAX + 8)
const char *ports_dest_text(char buf[PORTS_DEST_MAX], const struct ports_dest *d, bool with_local);
#define PORTS_TEXT_MAX 32
const char *ports_rate_text(char buf[PORTS_TEXT_MAX], double per_s);
const char *ports_span_text(char buf[PORTS_TEXT_MAX], double seconds);
const char *ports_clock_text(char buf[PORTS_TEXT_MAX], const struct ports_view *v, uint64_t at_ns);
/* Who holds what there and why, as lines below the table. -ENOMEM. */
int ports_why(const struct ports_view *v, const struct ports_shown *shown, const struct ports_dest *d,
	      struct report *r);

#endif
