/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How one code path's held memory moved, and what that is called. Pure functions over a series.
 */
#ifndef PROFILE_TREND_H
#define PROFILE_TREND_H

#include <stdbool.h>
#include <stdint.h>

enum trend_class {
	TREND_LEAK,	/* grows steadily and keeps its old blocks */
	TREND_GROWING,	/* grows, but the rules of LEAK do not (yet) hold */
	TREND_EARLY,	/* grows, but fewer than TREND_SURE_CNT snapshots have passed since it appeared */
	TREND_CACHE,	/* bounded: its old blocks go as new ones come */
	TREND_WARM_UP,	/* has stopped growing, and keeps what it has */
	TREND_FLAT,	/* does not grow, and has no level either */
	TREND_CLASSES,
};

#define TREND_SURE_CNT 12
#define TREND_POINTS_MAX 64

/*
 * A series of at most TREND_POINTS_MAX points over the path's whole life. When it is full every second
 * point goes and from then on only every second, fourth … snapshot is kept, so it always covers all.
 * The last push is always the last point.
 */
struct trend {
	int64_t held_bytes[TREND_POINTS_MAX];
	uint64_t time_ns[TREND_POINTS_MAX];
	uint32_t points_cnt;
	uint32_t stride;	/* snapshots a kept point, a power of two; 0 = no push yet */
	uint32_t pushes_cnt;	/* snapshots since the path appeared, the first included */
	uint32_t ups_cnt;	/* snapshots in which it held more than in the one before */
};

void trend_push(struct trend *t, uint64_t time_ns, int64_t held_bytes);
/* Bytes a second: slope of the least-squares line through the points. 0 with fewer than 2. */
double trend_slope(const struct trend *t);
/* Held at the time_ns given, between points by the earlier one; 0 before the first. */
int64_t trend_at(const struct trend *t, uint64_t time_ns);

struct trend_facts {
	const struct trend *trend;
	uint64_t old_born_cnt;	/* blocks that were born before now - "old" */
	uint64_t old_held_cnt;	/* of these, still held */
	bool explained;		/* at least half of the RSS growth is explained by the books */
};

/* KEPT in percent, 0-100; -1 when no block is old enough to tell. */
int trend_kept_percent(const struct trend_facts *f);
/* ret_why: the rule that decided, in words, constant; may be NULL. */
enum trend_class trend_classify(const struct trend_facts *f, const char **ret_why);
const char *trend_class_name(enum trend_class c);	/* "LEAK" … */

/*
 * How old is "old" for KEPT: elapsed / 3, at least 5 s, at most 60 s.
 */
uint64_t trend_old_ns(uint64_t elapsed_ns);

/* Eight steps ▁▂▃▄▅▆▇█ of the series between 0 and its maximum; "" with no points. buf >= 8*3+1 bytes. */
#define TREND_SPARK_MAX 32
const char *trend_spark(char buf[TREND_SPARK_MAX], const struct trend *t);

#endif
