/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "cmd/chain.h"
#include "cmd/faults_rows.h"

void faults_rows_close(struct faults_rows *r)
{
	free(r->list);
	free(r->before);
	r->list = NULL;
	r->before = NULL;
	r->cnt = r->size = r->before_cnt = 0;
}

struct stack faults_rows_stack(const struct profile *p, uint32_t stack)
{
	struct stack st = profile_stack_at(p, stack);

	if (!st.label && st.frames_cnt) {
		st.frames++;
		st.frames_cnt--;
	}
	return st;
}

enum faults_memory faults_row_memory(const struct faults_row *row)
{
	int best = FAULTS_MEMORY_UNKNOWN;

	for (int m = 0; m < FAULTS_MEMORIES; m++)
		if (row->memories[m] > row->memories[best])
			best = m;
	return best;
}

/* What makes stacks one row. */
static void row_key(const struct faults_rows *r, uint32_t stack, const struct stack *st, int at, struct text *ret)
{
	const struct frame *f = at < 0 ? NULL : profile_frame_at(r->profile, st->frames[at]);

	text_printf(ret, "%u\n", r->raw ? stack : st->process);
	if (r->raw || r->by_process)
		return;
	if (!f)
		text_add(ret, st->label ? st->label : "");
	else if (!f->name)
		text_printf(ret, "%llx", (unsigned long long)f->addr);
	else
		text_printf(ret, "%s\n%s\n%s", f->name, f->module ? f->module : "", f->module && *f->module == '[' && f->file ?
			    f->file : "");
}

static struct faults_row *row_add(struct faults_rows *r, const struct stack *st, int at)
{
	struct faults_row *row;

	if (r->cnt == r->size) {
		size_t size = r->size ? r->size * 2 : 64;
		struct faults_row *list = realloc(r->list, size * sizeof(*list));

		if (!list)
			return NULL;
		r->list = list;
		r->size = size;
	}
	row = &r->list[r->cnt++];
	*row = (struct faults_row){
		.process = st->process, .frame = at < 0 || r->by_process ? UINT32_MAX : st->frames[at],
	};
	return row;
}

static struct faults_row *row_of(struct faults_rows *r, struct hashmap *index, uint32_t stack)
{
	struct stack st = faults_rows_stack(r->profile, stack);
	int at = chain_start(r->profile, &st);
	struct faults_row *row = NULL;
	struct text key = { 0 };
	uint64_t known;

	row_key(r, stack, &st, at, &key);
	if (key.failed)
		;
	else if (hashmap_get(index, text_str(&key), key.len, &known))
		row = &r->list[known];
	else if (!hashmap_put(index, text_str(&key), key.len, r->cnt))
		row = row_add(r, &st, at);
	text_free(&key);
	return row;
}

static void row_count(const struct faults_rows *r, struct faults_row *row, uint32_t stack)
{
	uint64_t n = profile_value(r->profile, stack, FAULTS_FAULTS);
	struct faults_tag tag = r->tag(r->source, stack);

	if (n > row->best_faults || !row->stacks_cnt) {
		row->best_faults = n;
		row->best_stack = stack;
	}
	row->stacks_cnt++;
	row->faults += n;
	row->recent += n - (stack < r->before_cnt ? r->before[stack] : 0);
	row->bytes += profile_value(r->profile, stack, FAULTS_BYTES);
	row->major_ns += profile_value(r->profile, stack, FAULTS_MAJOR_NS);
	row->memories[tag.memory] += n;
	if (tag.how < FAULTS_HOWS)
		row->hows[tag.how] += n;
	row->huge |= tag.huge && tag.how == FAULTS_FIRST;
}

static uint64_t row_value(const struct faults_row *row, int type)
{
	return type == FAULTS_BYTES ? row->bytes : type == FAULTS_MAJOR_NS ? row->major_ns : row->faults;
}

static int row_compare(const void *pa, const void *pb, void *ctx)
{
	const struct faults_row *a = pa, *b = pb;
	int type = *(const int *)ctx;
	uint64_t x = row_value(a, type), y = row_value(b, type);

	if (x != y)
		return x > y ? -1 : 1;
	if (a->faults != b->faults)
		return a->faults > b->faults ? -1 : 1;
	return a->best_stack < b->best_stack ? -1 : a->best_stack > b->best_stack;
}

int faults_rows_make(struct faults_rows *r, int type)
{
	struct hashmap *index = hashmap_new();
	int err = index ? 0 : -ENOMEM;

	r->cnt = 0;
	for (size_t i = 0; !err && i < profile_stacks_cnt(r->profile); i++) {
		struct faults_row *row;

		if (!profile_value(r->profile, i, FAULTS_FAULTS))
			continue;
		row = row_of(r, index, i);
		if (!row)
			err = -ENOMEM;
		else
			row_count(r, row, i);
	}
	hashmap_free(index);
	if (!err && r->cnt)
		qsort_r(r->list, r->cnt, sizeof(*r->list), row_compare, &type);
	return err;
}

int faults_rows_mark(struct faults_rows *r)
{
	size_t cnt = profile_stacks_cnt(r->profile);
	uint64_t *before = cnt ? realloc(r->before, cnt * sizeof(*before)) : NULL;

	if (cnt && !before)
		return -ENOMEM;
	if (before)
		r->before = before;
	r->before_cnt = cnt;
	for (size_t i = 0; i < cnt; i++)
		before[i] = profile_value(r->profile, i, FAULTS_FAULTS);
	return 0;
}
