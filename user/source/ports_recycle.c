/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Short-lived processes would fill the kernel's books: each has flows of its own. When one has ended, and nothing of
 * it is left in the kernel (no socket, no TIME_WAIT), its flows are closed: what they counted stays in
 * the model, their samples of stacks move here, and the kernel's entries are deleted.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/ports_books.h"

#define QUIET_NS	5000000000ull	/* since the last connect: nothing of it is under way */

void ports_recycle_close(struct ports_recycle *r)
{
	free(r->closed);
	free(r->samples);
	free(r->dying);
	*r = (struct ports_recycle){ 0 };
}

bool ports_recycle_is_closed(const struct ports_recycle *r, size_t flow)
{
	return flow < r->closed_cnt && r->closed[flow];
}

int ports_recycle_offer(struct ports_recycle *r, const struct ports *model, const struct ports_flow_book *f, uint32_t flow,
			uint32_t tw)
{
	struct ports_dying *list;

	if (!model->owners[model->flows[flow].owner].exited || f->open > 0 || tw || f->tw_exact > 0 ||
	    model->now_ns < f->last_attempt_ns + QUIET_NS)
		return 0;
	if (!(r->dying_cnt & (r->dying_cnt - 1))) {
		list = realloc(r->dying, (r->dying_cnt ? r->dying_cnt * 2 : 1) * sizeof(*list));
		if (!list)
			return -ENOMEM;
		r->dying = list;
	}
	r->dying[r->dying_cnt++] = (struct ports_dying){ f->key, f->index, flow };
	return 0;
}

static int by_index(const void *a, const void *b)
{
	const struct ports_dying *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static int sample_keep(const void *key, const void *value, void *ctx)
{
	const struct ports_stack_key *k = key;
	struct ports_recycle *r = ctx;
	const struct ports_dying wanted = { .index = k->flow }, *found;
	struct ports_kept_sample *list;

	found = bsearch(&wanted, r->dying, r->dying_cnt, sizeof(wanted), by_index);
	if (!found)
		return 0;
	if (!(r->samples_cnt & (r->samples_cnt - 1))) {
		list = realloc(r->samples, (r->samples_cnt ? r->samples_cnt * 2 : 1) * sizeof(*list));
		if (!list)
			return -ENOMEM;
		r->samples = list;
	}
	r->samples[r->samples_cnt] = (struct ports_kept_sample){ *k, found->flow, { 0 } };
	memcpy(&r->samples[r->samples_cnt++].counts, value, sizeof(struct ports_stack));
	return 0;
}

static int closed_mark(struct ports_recycle *r, uint32_t flow)
{
	if (flow >= r->closed_cnt) {
		size_t cnt = (flow | 255) + 1;
		bool *closed = realloc(r->closed, cnt * sizeof(*closed));

		if (!closed)
			return -ENOMEM;
		memset(closed + r->closed_cnt, 0, (cnt - r->closed_cnt) * sizeof(*closed));
		r->closed = closed;
		r->closed_cnt = cnt;
	}
	r->closed[flow] = true;
	return 0;
}

int ports_recycle_run(struct ports_recycle *r, struct ports_books *b)
{
	size_t kept = r->samples_cnt;
	int err = 0;

	if (!r->dying_cnt)
		return 0;
	qsort(r->dying, r->dying_cnt, sizeof(*r->dying), by_index);
	err = ports_books_each_stack(b, sample_keep, r);
	for (; !err && kept < r->samples_cnt; kept++)
		bpf_map_delete_elem(b->stacks_fd, &r->samples[kept].key);
	for (size_t i = 0; !err && i < r->dying_cnt; i++) {
		err = closed_mark(r, r->dying[i].flow);
		bpf_map_delete_elem(b->flow_ids_fd, &r->dying[i].key);
		bpf_map_delete_elem(b->flows_fd, &r->dying[i].index);
	}
	r->dying_cnt = 0;
	return err;
}
