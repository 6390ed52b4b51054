/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "cmd/chain.h"
#include "cmd/rows.h"

#define LATE_NS			40000000ull	/* what timers may be late */
#define RECENT_SPACING_NS	(1000000000ull - LATE_NS)
#define MINUTE_NS		60000000000ull	/* also the most that trend_old_ns() says */
#define LAST_NS			(MINUTE_NS - LATE_NS)

/* The snapshot that is about to be kept takes the oldest one's slot, and what is asked for must be still there. */
_Static_assert((ROWS_RECENT - 1) * RECENT_SPACING_NS >= MINUTE_NS, "the last minute is kept");

int rows_open(struct rows *r, const struct profile *p, bool raw, uint64_t start_ns)
{
	*r = (struct rows){ .profile = p, .raw = raw, .start_ns = start_ns };
	r->by_name = hashmap_new();
	if (!r->by_name)
		return -ENOMEM;
	/* the first kept snapshot: nothing was held */
	r->recent_ns[r->recent_cnt++] = start_ns;
	return 0;
}

void rows_close(struct rows *r)
{
	for (size_t i = 0; i < r->cnt; i++)
		free(r->list[i]);
	free(r->list);
	free(r->by_stack);
	hashmap_free(r->by_name);
	*r = (struct rows){ 0 };
}

static int row_name(const struct rows *r, uint32_t stack, const struct stack *st, int at, struct text *ret)
{
	const struct frame *f;

	if (r->raw) {
		text_printf(ret, "%u", stack);
	} else if (at < 0) {
		text_add(ret, st->label);
	} else {
		f = profile_frame_at(r->profile, st->frames[at]);
		text_printf(ret, "%s\n%s", f->name, f->module ? f->module : "");
		/* code without a file of its own: functions of one name are told apart by their sources */
		if (f->file && f->module && *f->module == '[')
			text_printf(ret, "\n%s", f->file);
	}
	return ret->failed ? -ENOMEM : 0;
}

static struct row *row_add(struct rows *r, const struct text *name, uint32_t frame)
{
	struct row *row;

	if (r->cnt == r->size) {
		size_t size = r->size ? r->size * 2 : 64;
		struct row **list = realloc(r->list, size * sizeof(struct row *));

		if (!list)
			return NULL;
		r->list = list;
		r->size = size;
	}
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->frame = frame;
	row->kept_percent = -1;
	if (hashmap_put(r->by_name, text_str(name), name->len, (uintptr_t)row)) {
		free(row);
		return NULL;
	}
	r->list[r->cnt++] = row;
	return row;
}

/* The row of a stack that was not seen before. */
static struct row *row_of(struct rows *r, uint32_t stack)
{
	struct stack st = profile_stack_at(r->profile, stack);
	int at = chain_start(r->profile, &st);
	struct text name = { 0 };
	uint64_t known = 0;
	struct row *row = NULL;

	if (!row_name(r, stack, &st, at, &name)) {
		if (hashmap_get(r->by_name, text_str(&name), name.len, &known))
			row = (struct row *)(uintptr_t)known;
		else
			row = row_add(r, &name, at < 0 ? UINT32_MAX : st.frames[at]);
		if (row && !known)
			row->best_stack = stack;
	}
	text_free(&name);
	return row;
}

static int stacks_assign(struct rows *r)
{
	size_t cnt = profile_stacks_cnt(r->profile);
	struct row **by_stack;

	if (cnt == r->by_stack_cnt)
		return 0;
	by_stack = realloc(r->by_stack, cnt * sizeof(struct row *));
	if (!by_stack)
		return -ENOMEM;
	r->by_stack = by_stack;
	while (r->by_stack_cnt < cnt) {
		struct row *row = row_of(r, r->by_stack_cnt);

		if (!row)
			return -ENOMEM;
		r->by_stack[r->by_stack_cnt++] = row;
	}
	return 0;
}

uint64_t rows_cutoff(const struct rows *r, uint64_t now_ns)
{
	uint64_t old_ns = trend_old_ns(now_ns - r->start_ns);

	for (uint32_t back = 1; back <= r->recent_cnt && back <= ROWS_RECENT; back++) {
		uint64_t at = r->recent_ns[(r->recent_cnt - back) % ROWS_RECENT];

		if (now_ns - at >= old_ns)
			return at;
	}
	return 0;
}

int rows_update(struct rows *r, uint64_t now_ns)
{
	uint64_t last = r->recent_ns[(r->recent_cnt - 1) % ROWS_RECENT];
	bool keep = now_ns - last >= RECENT_SPACING_NS;
	uint32_t slot = r->recent_cnt % ROWS_RECENT;
	int err = stacks_assign(r);

	if (err)
		return err;
	for (size_t i = 0; i < r->cnt; i++) {
		memset(r->list[i]->values, 0, sizeof(r->list[i]->values));
		r->list[i]->stacks_cnt = 0;
	}
	for (uint32_t i = 0; i < r->by_stack_cnt; i++) {
		struct row *row = r->by_stack[i];
		bool has_any = false;

		for (int v = 0; v < LEAK_VALUES; v++) {
			row->values[v] += profile_value(r->profile, i, v);
			has_any |= profile_value(r->profile, i, v) != 0;
		}
		row->stacks_cnt += has_any;
		if (profile_value(r->profile, i, LEAK_HELD_BYTES) >
		    profile_value(r->profile, row->best_stack, LEAK_HELD_BYTES))
			row->best_stack = i;
	}
	/* not the sum of the stacks' peaks, which were at other times */
	for (size_t i = 0; i < r->cnt; i++) {
		struct row *row = r->list[i];

		if (row->values[LEAK_HELD_BYTES] > row->peak_bytes)
			row->peak_bytes = row->values[LEAK_HELD_BYTES];
		row->values[LEAK_PEAK_BYTES] = row->peak_bytes;
	}
	for (size_t i = 0; i < r->cnt; i++) {
		struct row *row = r->list[i];

		trend_push(&row->trend, now_ns, row->values[LEAK_HELD_BYTES]);
		if (!keep)
			continue;
		row->recent_held[slot] = row->values[LEAK_HELD_BYTES];
		row->recent_born[slot] = row->values[LEAK_ALLOC_BLOCKS];
	}
	r->snapshots_cnt++;
	if (keep) {
		r->recent_ns[slot] = now_ns;
		r->recent_cnt++;
	}
	return 0;
}

/* Slot of the kept snapshot at exactly that time, or of the oldest. */
static uint32_t slot_at(const struct rows *r, uint64_t at_ns)
{
	uint32_t slot = 0;

	for (uint32_t back = 1; back <= r->recent_cnt && back <= ROWS_RECENT; back++) {
		slot = (r->recent_cnt - back) % ROWS_RECENT;
		if (r->recent_ns[slot] <= at_ns)
			break;
	}
	return slot;
}

/* The newest snapshot that is kept, and the one that LAST is measured from. */
static void last_slots(const struct rows *r, uint32_t *ret_now, uint32_t *ret_then)
{
	uint64_t now;

	*ret_now = (r->recent_cnt - 1) % ROWS_RECENT;
	now = r->recent_ns[*ret_now];
	*ret_then = slot_at(r, now > LAST_NS ? now - LAST_NS : 0);
}

uint64_t rows_last_ns(const struct rows *r)
{
	uint32_t now, then;

	last_slots(r, &now, &then);
	return r->recent_ns[now] - r->recent_ns[then];
}

static int row_compare(const void *pa, const void *pb, void *ctx)
{
	const struct row *a = *(struct row *const *)pa, *b = *(struct row *const *)pb;
	int type = *(const int *)ctx;

	/* what was allocated in all says nothing about leaks: the largest first */
	if (a->class != b->class && type <= LEAK_HELD_BLOCKS)
		return a->class < b->class ? -1 : 1;
	/* what grows: by growth, as long as it is held memory that is asked for; all else by what is shown */
	if (type == LEAK_HELD_BYTES && a->class < TREND_CACHE && a->last_bytes != b->last_bytes)
		return a->last_bytes > b->last_bytes ? -1 : 1;
	if (a->values[type] != b->values[type])
		return a->values[type] > b->values[type] ? -1 : 1;
	return a->frame < b->frame ? -1 : a->frame > b->frame;
}

void rows_classify(struct rows *r, uint64_t cutoff_ns, bool explained, int type)
{
	uint32_t now, then, old = slot_at(r, cutoff_ns);

	last_slots(r, &now, &then);
	for (size_t i = 0; i < r->cnt; i++) {
		struct row *row = r->list[i];
		struct trend_facts facts = {
			.trend = &row->trend,
			.old_born_cnt = cutoff_ns ? row->recent_born[old] : 0,
			.old_held_cnt = cutoff_ns ? row->values[LEAK_OLD_BLOCKS] : 0,
			.explained = explained,
		};

		row->kept_percent = trend_kept_percent(&facts);
		row->class = trend_classify(&facts, &row->why);
		row->last_bytes = row->recent_held[now] - row->recent_held[then];
	}
	if (r->cnt)
		qsort_r(r->list, r->cnt, sizeof(struct row *), row_compare, &type);
}
