/* SPDX-License-Identifier: GPL-2.0-only */
/* What `ebb mem` reads of a process at one time, and how that moves from look to look. */
#ifndef CMD_MEM_LOOK_H
#define CMD_MEM_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile/trend.h"
#include "target/descriptors.h"
#include "target/footprint.h"
#include "target/pressure.h"

struct target;

struct mem_look {
	uint64_t time_ns;		/* CLOCK_MONOTONIC */
	uint64_t took_ns;
	struct footprint footprint;
	struct descriptors descriptors;
	int descriptors_err;		/* 0, or why they are not known */
	struct thread_names threads;
	struct pressure pressure;
};

/* -ESRCH: it has ended; -EACCES; -ENOMEM. */
int mem_look_read(const struct target *t, struct mem_look *ret);
void mem_look_free(struct mem_look *l);

/* What is followed: the kinds' resident and swapped bytes, then these. */
enum mem_series {
	MEM_SERIES_TOTAL = REGION_KINDS,	/* of all kinds */
	MEM_SERIES_PAGE_TABLES,
	MEM_SERIES_DESCRIPTORS,
	MEM_SERIES_WATCHES,
	MEM_SERIES_THREADS,
	MEM_SERIES_DESCRIPTOR_KIND,		/* the first of DESCRIPTOR_KINDS */
	MEM_SERIES = MEM_SERIES_DESCRIPTOR_KIND + DESCRIPTOR_KINDS
};

struct mem_history {
	struct mem_look first, last;	/* the same when there was one */
	size_t looks_cnt;
	struct trend series[MEM_SERIES];
};

/* Takes over the look. */
void mem_history_push(struct mem_history *h, struct mem_look *look);
/* Forgets all: the process runs another program now. */
void mem_history_clear(struct mem_history *h);
uint64_t mem_history_ns(const struct mem_history *h);

struct mem_growth {
	int64_t by;			/* bytes or a count, from the first look to the last */
	double per_s;			/* slope of the line through all looks */
	uint32_t ups_cnt, steps_cnt;	/* in how many of so many steps it rose */
};
struct mem_growth mem_history_growth(const struct mem_history *h, unsigned int series);

/* Less than this is no growth: pages come and go. */
int64_t mem_history_noise_bytes(const struct mem_history *h);
/*
 * The kinds that grow, most first: each has at least a tenth of what all of them grew by, and more than the noise. How many
 * there are, 0 with one look.
 */
size_t mem_history_growing(const struct mem_history *h, enum region_kind ret[REGION_KINDS]);
/* Whether a count of descriptors or threads rises: by more than a few, and not just once. */
bool mem_history_counts_up(const struct mem_history *h, unsigned int series);
/* Seconds until `room` more is used up at that rate; -1 = never at this rate. */
double mem_seconds_left(uint64_t room, const struct mem_growth *growth);

/* The thread name of which there are more than at first: the largest growth; NULL. */
const struct thread_name *mem_history_thread(const struct mem_history *h, size_t *ret_growth);

#endif
