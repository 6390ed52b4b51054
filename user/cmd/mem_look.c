/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <math.h>
#include <time.h>

#include "cmd/mem_look.h"
#include "target/target.h"

#define NOISE_BYTES	(256u << 10)
#define NOISE_SHARE	0.005	/* of the whole */
#define GROWING_SHARE	0.1
#define COUNT_NOISE	2	/* descriptors or threads: fewer more are no growth */
#define COUNT_SHARE	0.02

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

int mem_look_read(const struct target *t, struct mem_look *ret)
{
	struct mem_look l = { .time_ns = now_ns() };
	int err = footprint_read(t, &l.footprint);

	if (!err) {
		l.descriptors_err = descriptors_read(t, &l.descriptors);
		err = l.descriptors_err == -ENOMEM ? -ENOMEM : 0;
	}
	if (!err && thread_names_read(t, &l.threads) == -ENOMEM)
		err = -ENOMEM;
	if (!err)
		err = pressure_read(t, &l.pressure);
	/* the end of a process comes in steps, and a part of what was read may be of one without memory */
	if (!err && !target_is_alive(t))
		err = -ESRCH;
	if (err) {
		mem_look_free(&l);
		return err;
	}
	l.took_ns = now_ns() - l.time_ns;
	*ret = l;
	return 0;
}

void mem_look_free(struct mem_look *l)
{
	footprint_free(&l->footprint);
	thread_names_free(&l->threads);
	pressure_free(&l->pressure);
	*l = (struct mem_look){ 0 };
}

static int64_t value_of(const struct mem_look *l, unsigned int series)
{
	const struct footprint *f = &l->footprint;
	const struct smaps_values *v;

	switch (series) {
	case MEM_SERIES_PAGE_TABLES:
		return f->after.page_table_bytes;
	case MEM_SERIES_DESCRIPTORS:
		return l->descriptors.cnt;
	case MEM_SERIES_WATCHES:
		return l->descriptors.watches_cnt;
	case MEM_SERIES_THREADS:
		return l->threads.threads_cnt;
	default:
		break;
	}
	if (series >= MEM_SERIES_DESCRIPTOR_KIND)
		return l->descriptors.kinds[series - MEM_SERIES_DESCRIPTOR_KIND];
	v = series < REGION_KINDS ? &f->parts[series].values : &f->total.values;
	/* what is swapped out is not given back */
	return v->rss_bytes + v->swap_bytes + v->hugetlb_bytes;
}

void mem_history_push(struct mem_history *h, struct mem_look *look)
{
	for (unsigned int i = 0; i < MEM_SERIES; i++)
		trend_push(&h->series[i], look->time_ns, value_of(look, i));
	if (h->looks_cnt > 1)
		mem_look_free(&h->last);
	h->last = *look;
	if (!h->looks_cnt++)
		h->first = *look;
	*look = (struct mem_look){ 0 };
}

void mem_history_clear(struct mem_history *h)
{
	mem_look_free(&h->first);
	if (h->looks_cnt > 1)
		mem_look_free(&h->last);
	*h = (struct mem_history){ .looks_cnt = 0 };
}

uint64_t mem_history_ns(const struct mem_history *h)
{
	return h->last.time_ns - h->first.time_ns;
}

struct mem_growth mem_history_growth(const struct mem_history *h, unsigned int series)
{
	const struct trend *t = &h->series[series];

	if (h->looks_cnt < 2)
		return (struct mem_growth){ 0 };
	return (struct mem_growth){
		.by = value_of(&h->last, series) - value_of(&h->first, series), .per_s = trend_slope(t),
		.ups_cnt = t->ups_cnt, .steps_cnt = t->pushes_cnt - 1,
	};
}

int64_t mem_history_noise_bytes(const struct mem_history *h)
{
	int64_t share = value_of(&h->last, MEM_SERIES_TOTAL) * NOISE_SHARE;

	return share > NOISE_BYTES ? share : NOISE_BYTES;
}

/* A sawtooth that happened to end high does not grow, nor does what rose once. */
static bool is_steady(const struct mem_growth *g)
{
	return g->by > 0 && g->per_s > 0 && g->ups_cnt * 4 >= g->steps_cnt;
}

bool mem_history_counts_up(const struct mem_history *h, unsigned int series)
{
	struct mem_growth g = mem_history_growth(h, series);

	return is_steady(&g) && g.by > COUNT_NOISE && g.by > value_of(&h->first, series) * COUNT_SHARE;
}

size_t mem_history_growing(const struct mem_history *h, enum region_kind ret[REGION_KINDS])
{
	int64_t by[REGION_KINDS], all = 0, noise = mem_history_noise_bytes(h);
	size_t cnt = 0;

	for (unsigned int i = 0; i < REGION_KINDS; i++) {
		struct mem_growth g = mem_history_growth(h, i);

		by[i] = is_steady(&g) ? g.by : 0;
		all += by[i];
	}
	for (unsigned int i = 0; i < REGION_KINDS; i++) {
		size_t at = cnt;

		if (by[i] <= noise || by[i] < all * GROWING_SHARE)
			continue;
		for (; at && by[ret[at - 1]] < by[i]; at--)
			ret[at] = ret[at - 1];
		ret[at] = i;
		cnt++;
	}
	return cnt;
}

double mem_seconds_left(uint64_t room, const struct mem_growth *growth)
{
	return growth->by > 0 && growth->per_s > 0 ? room / growth->per_s : -1;
}

const struct thread_name *mem_history_thread(const struct mem_history *h, size_t *ret_growth)
{
	const struct thread_name *most = NULL;

	*ret_growth = 0;
	for (size_t i = 0; h->looks_cnt > 1 && i < h->last.threads.cnt; i++) {
		const struct thread_name *now = &h->last.threads.list[i];
		size_t before = thread_names_cnt(&h->first.threads, now->name);

		if (now->cnt <= before || now->cnt - before <= *ret_growth)
			continue;
		*ret_growth = now->cnt - before;
		most = now;
	}
	return most;
}
