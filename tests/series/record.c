/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records what the classes are read from. Linked with all of ebb and with --wrap for two functions, so that this is the ebb
 * that people run, looked at from beside: each row, in each snapshot, becomes a line of the file that EBB_SERIES names.
 *
 *	time_ns held_bytes held_blocks allocs old_born old_held explained NAME [FILE]
 *
 * time_ns counts from when the allocations began to count. record.sh makes one series of each row that is asked for.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/rows.h"

void __real_rows_classify(struct rows *r, uint64_t cutoff_ns, bool explained, int type);
void __wrap_rows_classify(struct rows *r, uint64_t cutoff_ns, bool explained, int type);
enum trend_class __real_trend_classify(const struct trend_facts *f, const char **ret_why);
enum trend_class __wrap_trend_classify(const struct trend_facts *f, const char **ret_why);

static struct { FILE *out; const struct rows *rows; } recorder;

void __wrap_rows_classify(struct rows *r, uint64_t cutoff_ns, bool explained, int type)
{
	const char *path = getenv("EBB_SERIES");

	if (!recorder.out && path)
		recorder.out = fopen(path, "we");
	recorder.rows = r;
	__real_rows_classify(r, cutoff_ns, explained, type);
	if (recorder.out)
		fflush(recorder.out);
}

enum trend_class __wrap_trend_classify(const struct trend_facts *f, const char **ret_why)
{
	const struct row *row = (const void *)((const char *)f->trend - offsetof(struct row, trend));
	const struct frame *frame = row->frame == UINT32_MAX ? NULL : profile_frame_at(recorder.rows->profile, row->frame);
	const struct trend *t = f->trend;

	if (recorder.out)
		fprintf(recorder.out, "%" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %d %s [%s]\n",
			t->time_ns[t->points_cnt - 1] - recorder.rows->start_ns, t->held_bytes[t->points_cnt - 1],
			row->values[LEAK_HELD_BLOCKS], row->values[LEAK_ALLOC_BLOCKS], f->old_born_cnt, f->old_held_cnt,
			f->explained, frame && frame->name ? frame->name : "?", frame && frame->module ? frame->module : "");
	return __real_trend_classify(f, ret_why);
}
