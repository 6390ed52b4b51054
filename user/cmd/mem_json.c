/* SPDX-License-Identifier: GPL-2.0-only */
#include "cmd/mem_report.h"
#include "output/json.h"
#include "target/target.h"

/* null where it is not known, or without end. */
static void json_u64_or_null(struct json *j, const char *key, uint64_t value, bool known)
{
	if (known)
		json_u64(j, key, value);
	else
		json_null(j, key);
}

static void write_values(struct json *j, const struct smaps_values *v, unsigned int lines)
{
	json_u64(j, "rss_bytes", v->rss_bytes);
	json_u64_or_null(j, "pss_bytes", v->pss_bytes, lines & SMAPS_PSS);
	json_u64(j, "own_bytes", v->own_bytes);
	json_u64_or_null(j, "swap_bytes", v->swap_bytes, lines & SMAPS_SWAP);
	json_u64_or_null(j, "huge_bytes", v->huge_bytes, lines & SMAPS_HUGE);
	json_u64(j, "hugetlb_bytes", v->hugetlb_bytes);
}

static void write_growth(struct json *j, const struct mem_history *h, unsigned int series)
{
	struct mem_growth g = mem_history_growth(h, series);

	if (h->looks_cnt < 2)
		return;
	json_i64(j, "growth", g.by);
	json_double(j, "growth_per_s", g.per_s, 3);
	json_u64(j, "ups", g.ups_cnt);
}

static void write_mappings(struct json *j, const struct footprint *f, enum region_kind kind, uint64_t top)
{
	uint64_t shown = 0;

	json_list(j, "largest");
	for (size_t i = 0; i < f->mappings_cnt && shown < top; i++) {
		const struct footprint_mapping *m = &f->mappings[i];

		if (m->kind != kind)
			continue;
		shown++;
		json_object(j, NULL);
		json_string(j, "name", m->name);
		json_u64(j, "start", m->start);
		json_u64(j, "end", m->end);
		json_u64(j, "mappings", m->maps_cnt);
		write_values(j, &m->values, f->lines);
		json_object_end(j);
	}
	json_list_end(j);
}

static void write_parts(struct json *j, const struct mem_view *v)
{
	const struct footprint *f = &v->history->last.footprint;

	json_list(j, "parts");
	for (unsigned int i = 0; i < REGION_KINDS; i++) {
		json_object(j, NULL);
		json_string(j, "name", region_kind_name(i));
		json_string(j, "label", footprint_label(f, i));
		write_values(j, &f->parts[i].values, f->lines);
		json_u64(j, "mapped_bytes", f->parts[i].reserved_bytes);
		json_u64(j, "mappings", f->parts[i].maps_cnt);
		write_growth(j, v->history, i);
		write_mappings(j, f, i, v->top);
		json_object_end(j);
	}
	json_list_end(j);
	json_object(j, "total");
	write_values(j, &f->total.values, f->lines);
	json_u64(j, "mappings", f->total.maps_cnt);
	write_growth(j, v->history, MEM_SERIES_TOTAL);
	json_object_end(j);
}

static void write_kernel(struct json *j, const struct footprint *f)
{
	json_object(j, "kernel");
	json_u64(j, "rss_before_bytes", f->before.rss_bytes);
	json_u64(j, "rss_after_bytes", f->after.rss_bytes);
	json_u64(j, "peak_rss_bytes", f->after.peak_bytes);
	json_u64(j, "page_table_bytes", f->after.page_table_bytes);
	json_u64(j, "moved_mappings", f->moved_cnt);
	json_u64(j, "read_ns", f->read_ns);
	json_u64(j, "minor_faults", f->minor_faults);
	json_u64(j, "major_faults", f->major_faults);
	json_object_end(j);
}

static void write_heap(struct json *j, const struct mem_heap *h)
{
	const struct heap_arena *s = h ? &h->walk.sum : NULL;

	if (!h || h->err || !h->walk.tiles) {
		json_null(j, "glibc_heap");
		return;
	}
	json_object(j, "glibc_heap");
	json_u64(j, "arenas", h->walk.arenas_cnt);
	json_bool(j, "approximate", h->walk.changed);
	json_u64(j, "system_bytes", s->system_bytes);
	json_u64(j, "used_bytes", s->used_bytes);
	json_u64(j, "used_blocks", s->used_cnt);
	json_u64(j, "free_bytes", s->free_bytes);
	json_u64(j, "cached_bytes", s->cached_bytes + s->fast_bytes);
	json_u64(j, "top_bytes", s->top_bytes);
	json_u64(j, "largest_free_bytes", s->largest_free_bytes);
	json_u64(j, "returnable_bytes", s->trim_bytes);
	json_object_end(j);
}

static void write_descriptors(struct json *j, const struct mem_view *v)
{
	const struct mem_look *l = &v->history->last;
	const struct descriptors *d = &l->descriptors;

	if (l->descriptors_err) {
		json_null(j, "descriptors");
		return;
	}
	json_object(j, "descriptors");
	json_u64(j, "count", d->cnt);
	json_u64_or_null(j, "limit", d->limit_cnt, d->limit_cnt != UINT64_MAX);
	json_u64(j, "inotify_watches", d->watches_cnt);
	write_growth(j, v->history, MEM_SERIES_DESCRIPTORS);
	json_list(j, "kinds");
	for (unsigned int i = 0; i < DESCRIPTOR_KINDS; i++) {
		if (!d->kinds[i] && !v->history->first.descriptors.kinds[i])
			continue;
		json_object(j, NULL);
		json_string(j, "name", descriptor_kind_name(i));
		json_u64(j, "count", d->kinds[i]);
		write_growth(j, v->history, MEM_SERIES_DESCRIPTOR_KIND + i);
		json_object_end(j);
	}
	json_list_end(j);
	json_object_end(j);
}

static void write_threads(struct json *j, const struct mem_view *v)
{
	const struct mem_history *h = v->history;
	const struct thread_names *t = &h->last.threads;

	json_object(j, "threads");
	json_u64(j, "count", t->threads_cnt);
	json_u64(j, "stacks", h->last.footprint.stacks_cnt);
	write_growth(j, h, MEM_SERIES_THREADS);
	json_list(j, "names");
	for (size_t i = 0; i < t->cnt; i++) {
		json_object(j, NULL);
		json_string(j, "name", t->list[i].name);
		json_u64(j, "count", t->list[i].cnt);
		if (h->looks_cnt > 1)
			json_i64(j, "growth", (int64_t)t->list[i].cnt - (int64_t)thread_names_cnt(&h->first.threads, t->list[i].name));
		json_object_end(j);
	}
	json_list_end(j);
	json_object_end(j);
}

static void write_stall(struct json *j, const char *key, const struct pressure_stall *s)
{
	if (!s->known) {
		json_null(j, key);
		return;
	}
	json_object(j, key);
	json_double(j, "some_avg10", s->some_avg10, 2);
	json_double(j, "some_avg60", s->some_avg60, 2);
	json_double(j, "full_avg10", s->full_avg10, 2);
	json_double(j, "full_avg60", s->full_avg60, 2);
	json_u64(j, "some_total_us", s->some_total_us);
	json_u64(j, "full_total_us", s->full_total_us);
	json_object_end(j);
}

static void write_pressure(struct json *j, const struct mem_view *v)
{
	const struct pressure *p = &v->history->last.pressure;
	struct mem_growth growth = mem_history_growth(v->history, MEM_SERIES_TOTAL);
	bool limited = p->cgroup.limited != NULL;
	double left = limited && growth.by > mem_history_noise_bytes(v->history) ? mem_seconds_left(p->cgroup.room_bytes, &growth) : -1;

	json_object(j, "cgroup");
	json_string(j, "path", p->cgroup.path);
	json_u64_or_null(j, "version", p->is_v2 ? 2 : 1, p->cgroup.path != NULL);
	json_string(j, "limited_by", p->cgroup.limited);
	json_u64_or_null(j, "limit_bytes", p->cgroup.limit_bytes, limited);
	json_u64_or_null(j, "used_bytes", p->limited_used_bytes, limited);
	json_u64_or_null(j, "room_bytes", p->cgroup.room_bytes, limited);
	if (left >= 0)
		json_double(j, "full_in_s", left, 1);
	else
		json_null(j, "full_in_s");
	json_u64_or_null(j, "swap_used_bytes", p->swap_used_bytes, p->swap_used_bytes != UINT64_MAX);
	json_u64_or_null(j, "swap_limit_bytes", p->swap_limit_bytes, p->swap_limit_bytes != UINT64_MAX);
	json_u64_or_null(j, "oom_kills", p->oom_kills_cnt, p->has_events);
	json_object_end(j);
	write_stall(j, "cgroup_pressure", &p->own);
	write_stall(j, "machine_pressure", &p->machine);
	if (p->oom_score >= 0)
		json_i64(j, "oom_score", p->oom_score);
	else
		json_null(j, "oom_score");
	json_i64(j, "oom_score_adj", p->oom_score_adj);
	json_u64(j, "available_bytes", p->available_bytes);
	json_u64(j, "swap_total_bytes", p->swap_total_bytes);
	json_u64(j, "swap_free_bytes", p->swap_free_bytes);
}

static void write_kills(struct json *j, const struct pressure_kills *k)
{
	if (k->err) {
		json_null(j, "kills");
		return;
	}
	json_list(j, "kills");
	for (size_t i = 0; i < k->cnt; i++) {
		json_object(j, NULL);
		json_string(j, "comm", k->list[i].comm);
		json_u64(j, "pid", k->list[i].pid);
		json_double(j, "ago_s", k->list[i].ago_ns / 1e9, 1);
		json_string(j, "cgroup", k->list[i].cgroup);
		json_string(j, "limited_by", k->list[i].limited);
		json_u64_or_null(j, "anon_bytes", k->list[i].rss_bytes, k->list[i].rss_bytes != 0);
		json_object_end(j);
	}
	json_list_end(j);
}

int mem_json_write(FILE *out, const struct mem_view *v)
{
	const struct mem_history *h = v->history;
	static const char *const runtimes[] = { NULL, "v8", "dotnet" };
	enum region_kind growing[REGION_KINDS];
	size_t growing_cnt = mem_history_growing(h, growing);
	struct json j;

	json_begin(&j, out);
	json_object(&j, NULL);
	json_string(&j, "ebb", EBB_VERSION);
	json_string(&j, "command", "mem");
	json_u64(&j, "pid", v->target->pid);
	json_string(&j, "comm", v->target->comm);
	json_double(&j, "age_s", h->last.pressure.age_ns / 1e9, 1);
	json_string(&j, "runtime", runtimes[h->last.footprint.runtime]);
	json_u64(&j, "looks", h->looks_cnt);
	json_double(&j, "elapsed_s", mem_history_ns(h) / 1e9, 3);
	json_bool(&j, "ended", v->ended);
	json_bool(&j, "execed", v->execed);
	write_parts(&j, v);
	json_list(&j, "growing");
	for (size_t i = 0; i < growing_cnt; i++)
		json_string(&j, NULL, region_kind_name(growing[i]));
	json_list_end(&j);
	write_kernel(&j, &h->last.footprint);
	write_heap(&j, v->heap);
	write_descriptors(&j, v);
	write_threads(&j, v);
	write_pressure(&j, v);
	write_kills(&j, v->kills);
	json_object_end(&j);
	return json_end(&j);
}
