/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The classes. The first rule that holds decides; a false LEAK is worse than a leak called GROWING.
 *
 *	FLAT     it holds nothing
 *	WARM-UP  it does not grow, has a level, and KEPT is at least KEPT_HIGH
 *	CACHE    it does not grow, has a level, and KEPT is known and lower: it turns over
 *	FLAT     it does not grow: over the last half of its life less than FLAT_GROWTH of what it holds, or it turns
 *	         over: KEPT below KEPT_LOW, and no higher in the second half of its life than in the first, give or
 *	         take BOUNDED
 *	         (a level: in the last half of its life it held at least LEVEL_MIN of the most that it ever held, and it
 *	         has been seen for TREND_SURE_CNT snapshots. What comes and goes with the load has none)
 *	EARLY    it grows, but fewer than TREND_SURE_CNT snapshots have passed since it appeared
 *	LEAK     all of
 *	           KEPT is at least KEPT_HIGH; an unknown KEPT is not enough
 *	           the books explain the growth of the process
 *	           it held more than before in at least RISES_MIN snapshots: a few blocks in half a minute are no proof
 *	           its whole life, or the last two thirds (a leak may start late), rises throughout: cut into PARTS
 *	           equal parts, each holds more on average than the one before, at RISE_MIN of the mean rate or faster
 *	           (averages of parts, so that rare steps and noise do not decide)
 *	           in that window the growth does not fade: the last third is at least FADE_MIN as fast as the whole
 *	           its life is not one slowing down: not every part rises at SLOWING of the part before or slower
 *	GROWING  what is left
 *
 * What that cannot tell apart, for as long as it lasts: a leak from a cache that is still filling, from blocks that
 * live longer than the look, from a warm-up whose time constant is longer than the look.
 */
#include <math.h>
#include <string.h>

#include "profile/trend.h"

/* A cache that is full does not lose half of it; what requests hold does, between them. */
#define LEVEL_MIN 0.5
/* One rise may be all there is to a block that was allocated once and is given back in pieces. */
#define CACHE_RISES_MIN 2
/* Growth that is no growth: below it lies the jitter of a path that keeps what it has. */
#define FLAT_GROWTH 0.02
/* As many rises as a steady leak shows when the first verdict is due. */
#define RISES_MIN (TREND_SURE_CNT - 1)
/* More of the old blocks are gone than are there: blocks come and go. */
#define KEPT_LOW 50
/* Frees now and then (an error path, a reload) do not acquit a leak; a cache at its bound frees all it once held. */
#define KEPT_HIGH 80
/* Peaks of random churn differ by as much between two halves of a life. */
#define BOUNDED 1.25
/*
 * Four rises in a row happen by chance to 1 of 120 unordered series, one of 12 snapshots still has two points a
 * part, and a block every 6th snapshot shows in all of them after 30.
 */
#define PARTS 5
/* A rise has to be one: noise that happens to be in order has tiny ones. */
#define RISE_MIN 0.1
/* "About half": a steady leak in rare steps varies so much; exponential saturation is below it after 1.7 tau. */
#define FADE_MIN 0.5
/*
 * Sees saturation earlier, from 0.4 tau on (exp(-0.4 / PARTS) = 0.92) where there is no noise. 0.95 would see it from
 * 0.25 tau on and call three times as many steady leaks with random arrivals GROWING.
 */
#define SLOWING 0.92

#define OLD_MIN_NS 5000000000ull	/* younger blocks may belong to a request that still runs */
#define OLD_MAX_NS 60000000000ull	/* most requests are over by then */

#define SPARK_CELLS 8

void trend_push(struct trend *t, uint64_t time_ns, int64_t held_bytes)
{
	if (!t->stride)
		t->stride = 1;
	if (t->points_cnt && held_bytes > t->held_bytes[t->points_cnt - 1])
		t->ups_cnt++;
	/* a last point that is off the stride only stood in until this one */
	if (t->points_cnt && (t->pushes_cnt - 1) % t->stride)
		t->points_cnt--;
	if (t->points_cnt == TREND_POINTS_MAX) {
		for (uint32_t i = 0; i < TREND_POINTS_MAX / 2; i++) {
			t->held_bytes[i] = t->held_bytes[2 * i];
			t->time_ns[i] = t->time_ns[2 * i];
		}
		t->points_cnt = TREND_POINTS_MAX / 2;
		t->stride *= 2;
	}
	t->held_bytes[t->points_cnt] = held_bytes;
	t->time_ns[t->points_cnt] = time_ns;
	t->points_cnt++;
	t->pushes_cnt++;
}

/* Seconds since the first point. */
static double point_time(const struct trend *t, uint32_t i)
{
	return (double)(t->time_ns[i] - t->time_ns[0]) / 1e9;
}

/* Time and value of the middle of the points [first, end). */
static void points_mean(const struct trend *t, uint32_t first, uint32_t end, double *ret_time, double *ret_value)
{
	double time = 0, value = 0;

	for (uint32_t i = first; i < end; i++) {
		time += point_time(t, i);
		value += (double)t->held_bytes[i];
	}
	*ret_time = time / (end - first);
	*ret_value = value / (end - first);
}

/* Least squares over the points [first, end); 0 when there is no line through them. */
static double points_slope(const struct trend *t, uint32_t first, uint32_t end)
{
	double mean_time, mean_value, xy = 0, xx = 0;

	if (first + 2 > end)
		return 0;
	points_mean(t, first, end, &mean_time, &mean_value);
	for (uint32_t i = first; i < end; i++) {
		double x = point_time(t, i) - mean_time;

		xy += x * ((double)t->held_bytes[i] - mean_value);
		xx += x * x;
	}
	return xx > 0 ? xy / xx : 0;
}

double trend_slope(const struct trend *t)
{
	return points_slope(t, 0, t->points_cnt);
}

int64_t trend_at(const struct trend *t, uint64_t time_ns)
{
	int64_t held_bytes = 0;

	for (uint32_t i = 0; i < t->points_cnt && t->time_ns[i] <= time_ns; i++)
		held_bytes = t->held_bytes[i];
	return held_bytes;
}

int trend_kept_percent(const struct trend_facts *f)
{
	if (!f->old_born_cnt)
		return -1;
	if (f->old_held_cnt >= f->old_born_cnt)
		return 100;
	/* rounded down, in every digit: 100 % is said only when it is all of them */
	return (int)fmin(99, floor(100 * ((double)f->old_held_cnt / (double)f->old_born_cnt)));
}

static int64_t points_max(const struct trend *t, uint32_t first, uint32_t end)
{
	int64_t max = t->held_bytes[first];

	for (uint32_t i = first + 1; i < end; i++)
		if (t->held_bytes[i] > max)
			max = t->held_bytes[i];
	return max;
}

/*
 * The points that are judged: those on the stride. To a saw-tooth whose period divides the stride they are all
 * in one phase, and a last point in another would look like a jump.
 */
static uint32_t points_judged(const struct trend *t)
{
	return t->points_cnt - (t->points_cnt && (t->pushes_cnt - 1) % t->stride ? 1 : 0);
}

static bool turns_over(const struct trend_facts *f)
{
	const struct trend *t = f->trend;
	uint32_t end = points_judged(t), half = end / 2;
	int kept = trend_kept_percent(f);

	return half && kept >= 0 && kept < KEPT_LOW &&
	       (double)points_max(t, half, end) <= BOUNDED * (double)points_max(t, 0, half);
}

static bool is_flat(const struct trend_facts *f)
{
	const struct trend *t = f->trend;
	uint32_t end = points_judged(t), half = end > 3 ? end / 2 : 0;
	int64_t held_bytes;
	double growth;

	if (!t->points_cnt)
		return true;
	held_bytes = t->held_bytes[t->points_cnt - 1];
	/* a single point: it has just appeared, from nothing to this */
	if (held_bytes <= 0 || end < 2)
		return held_bytes <= 0;
	growth = points_slope(t, half, end) * (point_time(t, end - 1) - point_time(t, half));
	return growth < FLAT_GROWTH * (double)held_bytes || turns_over(f);
}

/* Bytes a second from the middle of each part to that of the next, in the points from first on. */
static void part_rates(const struct trend *t, uint32_t first, double rates[PARTS - 1], double *ret_mean)
{
	uint32_t len = points_judged(t) - first;
	double time[PARTS], value[PARTS];

	for (uint32_t k = 0; k < PARTS; k++)
		points_mean(t, first + len * k / PARTS, first + len * (k + 1) / PARTS, &time[k], &value[k]);
	for (uint32_t k = 0; k + 1 < PARTS; k++)
		rates[k] = (value[k + 1] - value[k]) / (time[k + 1] - time[k]);
	*ret_mean = (value[PARTS - 1] - value[0]) / (time[PARTS - 1] - time[0]);
}

static bool rises_throughout(const struct trend *t, uint32_t first)
{
	uint32_t end = points_judged(t), third = (end - first) / 3;
	double rates[PARTS - 1], mean;

	part_rates(t, first, rates, &mean);
	for (uint32_t k = 0; k + 1 < PARTS; k++)
		if (!(rates[k] > 0 && rates[k] >= RISE_MIN * mean))
			return false;
	return points_slope(t, end - third, end) >= FADE_MIN * points_slope(t, first, end);
}

static bool is_slowing(const struct trend *t)
{
	double rates[PARTS - 1], mean;

	part_rates(t, 0, rates, &mean);
	for (uint32_t k = 0; k + 2 < PARTS; k++)
		if (rates[k + 1] > SLOWING * rates[k])
			return false;
	return true;
}

static bool has_level(const struct trend *t)
{
	uint32_t end = points_judged(t), half = end / 2;
	int64_t min;

	if (t->pushes_cnt < TREND_SURE_CNT || !half)
		return false;
	min = t->held_bytes[half];
	for (uint32_t i = half + 1; i < end; i++)
		min = t->held_bytes[i] < min ? t->held_bytes[i] : min;
	return (double)min >= LEVEL_MIN * (double)points_max(t, 0, end);
}

/* The rules, in the order above. */

static bool holds_nothing(const struct trend_facts *f)
{
	return !f->trend->points_cnt || f->trend->held_bytes[f->trend->points_cnt - 1] <= 0;
}

static bool is_warmed_up(const struct trend_facts *f)
{
	return is_flat(f) && has_level(f->trend) && trend_kept_percent(f) >= KEPT_HIGH;
}

static bool is_cache(const struct trend_facts *f)
{
	int kept = trend_kept_percent(f);

	return is_flat(f) && has_level(f->trend) && kept >= 0 && kept < KEPT_HIGH && f->trend->ups_cnt >= CACHE_RISES_MIN;
}

static bool is_early(const struct trend_facts *f)
{
	return f->trend->pushes_cnt < TREND_SURE_CNT;
}

static bool is_leak(const struct trend_facts *f)
{
	const struct trend *t = f->trend;

	return f->explained && t->ups_cnt >= RISES_MIN && trend_kept_percent(f) >= KEPT_HIGH && !is_slowing(t) &&
	       (rises_throughout(t, 0) || rises_throughout(t, points_judged(t) / 3));
}

static bool is_the_rest(const struct trend_facts *f)
{
	(void)f;
	return true;
}

static const struct {
	enum trend_class class;
	bool (*holds)(const struct trend_facts *f);
	const char *why;
} rules[] = {
	{ TREND_FLAT, holds_nothing, "it holds nothing" },
	{ TREND_WARM_UP, is_warmed_up, "it has stopped growing and keeps its old blocks" },
	{ TREND_CACHE, is_cache, "it does not grow, and its old blocks go as new ones come" },
	{ TREND_FLAT, is_flat, "it does not grow" },
	{ TREND_EARLY, is_early, "it grows, and was seen in fewer than 12 snapshots" },
	{ TREND_LEAK, is_leak, "it grows steadily and keeps its old blocks" },
	{ TREND_GROWING, is_the_rest, "it grows, but not steadily, or not all of its old blocks stay" },
};

enum trend_class trend_classify(const struct trend_facts *f, const char **ret_why)
{
	size_t i = 0;

	while (!rules[i].holds(f))
		i++;
	if (ret_why)
		*ret_why = rules[i].why;
	return rules[i].class;
}

const char *trend_class_name(enum trend_class c)
{
	static const char *const names[TREND_CLASSES] = {
		[TREND_LEAK] = "LEAK", [TREND_GROWING] = "GROWING", [TREND_EARLY] = "EARLY", [TREND_CACHE] = "CACHE",
		[TREND_WARM_UP] = "WARM-UP", [TREND_FLAT] = "FLAT",
	};

	return names[c];
}

uint64_t trend_old_ns(uint64_t elapsed_ns)
{
	uint64_t third_ns = elapsed_ns / 3;

	return third_ns < OLD_MIN_NS ? OLD_MIN_NS : third_ns > OLD_MAX_NS ? OLD_MAX_NS : third_ns;
}

/* Points at equal distances, the first and the last among them; fewer cells while there are fewer points. */
const char *trend_spark(char buf[TREND_SPARK_MAX], const struct trend *t)
{
	static const char steps[][4] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	uint32_t cells_cnt = t->points_cnt < SPARK_CELLS ? t->points_cnt : SPARK_CELLS;
	int64_t max = t->points_cnt ? points_max(t, 0, t->points_cnt) : 0;
	char *p = buf;

	for (uint32_t i = 0; i < cells_cnt; i++) {
		uint32_t point = cells_cnt > 1 ? i * (t->points_cnt - 1) / (cells_cnt - 1) : 0;
		int64_t held_bytes = t->held_bytes[point];
		int step = held_bytes > 0 ? (int)ceil(8.0 * ((double)held_bytes / (double)max)) - 1 : 0;

		memcpy(p, steps[step < 0 ? 0 : step], 3);
		p += 3;
	}
	*p = '\0';
	return buf;
}
