/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The classes on series of real programs that ebb itself recorded (tests/series/record.sh): each is replayed at its own pace,
 * cut off early, and at slower paces. What does not leak is never called LEAK, at no moment and at no pace.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "profile/trend.h"
#include "test.h"

#define FOLDER		"tests/series/"
#define SNAPSHOTS_MIN	50
#define SNAPSHOTS_MAX	80

#define WARM	"it has stopped growing and keeps its old blocks"
#define TURNS	"it does not grow, and its old blocks go as new ones come"
#define FLAT	"it does not grow"
#define LEAKS	"it grows steadily and keeps its old blocks"
#define GROWS	"it grows, but not steadily, or not all of its old blocks stay"

/* What a recorded program must be called at its end. Whether it may be called LEAK at all is in its nature. */
static const struct kind {
	const char *name;
	enum trend_class class;
	const char *why;
	bool leaks;
} kinds[] = {
	{ "redis-fill", TREND_LEAK, LEAKS, true },	/* for all that can be seen: nobody deletes a key */
	{ "python-leak", TREND_LEAK, LEAKS, true },
	{ "python-rare", TREND_LEAK, LEAKS, true },
	{ "python-partly", TREND_LEAK, LEAKS, true },
	{ "python-words", TREND_LEAK, LEAKS, true },	/* slower and slower, and without an end */
	{ "node-leak", TREND_LEAK, LEAKS, true },
	{ "node-lru", TREND_GROWING, GROWS, false },	/* what is let go is freed by the collector, much later */
	{ "redis-lru", TREND_CACHE, TURNS, false },
	{ "redis-ttl", TREND_CACHE, TURNS, false },
	{ "python-lru", TREND_CACHE, TURNS, false },
	{ "python-window", TREND_CACHE, TURNS, false },
	{ "redis-load", TREND_WARM_UP, WARM, false },
	{ "python-index", TREND_WARM_UP, WARM, false },
	{ "python-memo", TREND_WARM_UP, WARM, false },
	{ "node-warm", TREND_WARM_UP, WARM, false },	/* in other runs V8 still adds pages after a minute: GROWING */
	{ "redis-flush", TREND_FLAT, FLAT, false },
	{ "redis-refill", TREND_FLAT, FLAT, false },
	{ "python-batches", TREND_FLAT, FLAT, false },
	{ "python-requests", TREND_FLAT, FLAT, false },
	{ "node-requests", TREND_FLAT, FLAT, false },
	{ "nginx-load", TREND_FLAT, FLAT, false },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct series {
	struct snapshot {
		uint64_t time_ns;
		int64_t held_bytes, held_blocks, allocs;
		uint64_t old_born_cnt, old_held_cnt;
		int explained;
	} at[SNAPSHOTS_MAX];
	unsigned int cnt;
};

static bool series_read(const char *name, struct series *ret)
{
	char path[128], line[512];
	FILE *in;

	*ret = (struct series){ .cnt = 0 };
	snprintf(path, sizeof(path), FOLDER "%s.series", name);
	in = fopen(path, "re");
	if (!CHECK(in)) {
		fprintf(stderr, "%s\n", path);
		return false;
	}
	while (fgets(line, sizeof(line), in)) {
		struct snapshot *s = &ret->at[ret->cnt];

		if (line[0] == '#')
			continue;
		if (!CHECK(ret->cnt < SNAPSHOTS_MAX) ||
		    !CHECK(sscanf(line, "%" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNu64 " %d", &s->time_ns,
				  &s->held_bytes, &s->held_blocks, &s->allocs, &s->old_born_cnt, &s->old_held_cnt,
				  &s->explained) == 7))
			break;
		ret->cnt++;
	}
	fclose(in);
	return CHECK(ret->cnt >= SNAPSHOTS_MIN);
}

/* One snapshot more; the class that it gets. */
static enum trend_class series_push(struct trend *t, const struct snapshot *s, const char **ret_why)
{
	const struct trend_facts facts = {
		.trend = t, .old_born_cnt = s->old_born_cnt, .old_held_cnt = s->old_held_cnt, .explained = s->explained,
	};

	trend_push(t, s->time_ns, s->held_bytes);
	return trend_classify(&facts, ret_why);
}

/* The recordings are what ebb can see, in the order of time. */
TEST(recordings)
{
	struct series s;

	for (size_t k = 0; k < KINDS; k++) {
		int ok = 1;

		if (!series_read(kinds[k].name, &s))
			continue;
		for (unsigned int i = 0; i < s.cnt; i++) {
			const struct snapshot *at = &s.at[i];

			ok &= !i || at->time_ns > s.at[i - 1].time_ns;
			ok &= !i || at->allocs >= s.at[i - 1].allocs;
			ok &= at->held_bytes >= 0 && at->held_blocks >= 0 && at->held_blocks <= at->allocs;
			/* the counter and the table are read one after the other, while it goes on allocating */
			ok &= at->old_held_cnt <= at->old_born_cnt + at->old_born_cnt / 50 + 1;
			ok &= at->old_born_cnt <= (uint64_t)at->allocs;
			ok &= at->old_held_cnt <= (uint64_t)at->held_blocks;
		}
		if (!CHECK(ok))
			fprintf(stderr, "%s\n", kinds[k].name);
	}
}

TEST(all_are_judged)
{
	DIR *folder = opendir(FOLDER);
	struct dirent *entry;

	if (!CHECK(folder))
		return;
	while ((entry = readdir(folder))) {
		const char *end = strstr(entry->d_name, ".series");
		size_t k = 0;

		if (!end || end[7])
			continue;
		while (k < KINDS && (strlen(kinds[k].name) != (size_t)(end - entry->d_name) ||
				     memcmp(kinds[k].name, entry->d_name, end - entry->d_name)))
			k++;
		if (!CHECK(k < KINDS))
			fprintf(stderr, "%s\n", entry->d_name);
	}
	closedir(folder);
}

/* At its own pace: each snapshot as ebb would have shown it, and the verdict of the last. */
TEST(own_pace)
{
	for (size_t k = 0; k < KINDS; k++) {
		enum trend_class class = TREND_FLAT;
		struct trend t = { 0 };
		const char *why = NULL;
		struct series s;
		bool ok = true;

		if (!series_read(kinds[k].name, &s))
			continue;
		for (unsigned int i = 0; i < s.cnt; i++) {
			class = series_push(&t, &s.at[i], &why);
			if (class == TREND_LEAK)
				ok &= CHECK(kinds[k].leaks);
			/* too few to tell what grows */
			if (i + 1 < TREND_SURE_CNT)
				ok &= CHECK(class != TREND_LEAK && class != TREND_GROWING);
		}
		ok &= CHECK_EQ(class, kinds[k].class);
		ok &= CHECK_STR(why, kinds[k].why);
		if (!ok)
			fprintf(stderr, "%s: %s: %s\n", kinds[k].name, trend_class_name(class), why);
	}
}

/* Who looks for a shorter time sees less, and nothing else. */
TEST(cut_off)
{
	static const unsigned int lengths[] = { 1, 3, 5, 8, 12, 20, 30 };

	for (size_t k = 0; k < KINDS; k++) {
		struct series s;

		if (!series_read(kinds[k].name, &s))
			continue;
		for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
			enum trend_class class = TREND_FLAT;
			struct trend t = { 0 };

			for (unsigned int i = 0; i < lengths[l]; i++)
				class = series_push(&t, &s.at[i], NULL);
			if (!CHECK(class != TREND_LEAK || (kinds[k].leaks && lengths[l] >= TREND_SURE_CNT)))
				fprintf(stderr, "%s after %u snapshots\n", kinds[k].name, lengths[l]);
		}
	}
}

/* Every second to sixth snapshot, in each phase, as with a longer -i. */
TEST(slower_pace)
{
	for (size_t k = 0; k < KINDS; k++) {
		struct series s;

		if (kinds[k].leaks || !series_read(kinds[k].name, &s))
			continue;
		for (unsigned int pace = 2; pace <= 6; pace++) {
			for (unsigned int phase = 0; phase < pace; phase++) {
				struct trend t = { 0 };

				for (unsigned int i = phase; i < s.cnt; i += pace)
					if (!CHECK(series_push(&t, &s.at[i], NULL) != TREND_LEAK))
						fprintf(stderr, "%s: every %u. from %u on, at %u\n", kinds[k].name, pace, phase, i);
			}
		}
	}
}

/* Of a leak every second one is enough: the rest of a minute is more than 12. */
TEST(leak_at_half_pace)
{
	for (size_t k = 0; k < KINDS; k++) {
		enum trend_class class = TREND_FLAT;
		struct trend t = { 0 };
		struct series s;

		if (!kinds[k].leaks || !series_read(kinds[k].name, &s))
			continue;
		for (unsigned int i = 1; i < s.cnt; i += 2)
			class = series_push(&t, &s.at[i], NULL);
		if (!CHECK_EQ(class, TREND_LEAK))
			fprintf(stderr, "%s\n", kinds[k].name);
	}
}

TEST_MAIN(TEST_CASE(recordings), TEST_CASE(all_are_judged), TEST_CASE(own_pace), TEST_CASE(cut_off), TEST_CASE(slower_pace),
	  TEST_CASE(leak_at_half_pace))
