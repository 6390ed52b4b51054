/* SPDX-License-Identifier: GPL-2.0-only */
/* The head and the table: what the memory is made of. What it means is below, in mem_verdict.c. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/mem_report.h"
#include "profile/report.h"
#include "target/target.h"

const char *mem_share(char buf[MEM_TEXT_MAX], uint64_t part, uint64_t whole)
{
	double percent = whole ? 100.0 * part / whole : 0;

	snprintf(buf, MEM_TEXT_MAX, percent > 0 && percent < 0.95 ? "%.1f %%" : "%.0f %%", percent);
	return buf;
}

/* Two figures are enough: nobody plans by the second what happens in an hour. */
const char *mem_span(char buf[MEM_TEXT_MAX], double seconds)
{
	static const struct { double up_to, unit; const char *name; } units[] = {
		{ 119.5, 1, "s" }, { 7170, 60, "min" }, { 172000, 3600, "h" }, { INFINITY, 86400, "days" },
	};
	size_t i = 0;

	while (seconds >= units[i].up_to)
		i++;
	snprintf(buf, MEM_TEXT_MAX, "≈%.0f %s", fmin(seconds / units[i].unit, 1e9), units[i].name);
	return buf;
}

static void head_title(const struct mem_view *v, struct report *r)
{
	const struct mem_history *h = v->history;
	const struct mem_look *l = &h->last;
	char age[TEXT_BYTES_MAX], took[TEXT_BYTES_MAX], looked[TEXT_BYTES_MAX] = "one look", cnt[TEXT_BYTES_MAX];

	if (v->repeated)
		snprintf(looked, sizeof(looked), "%s", text_duration(took, mem_history_ns(h)));
	report_head(r, REPORT_BOLD, "mem  %s[%d] · %s old · %s%s · %s mappings read in %.1f ms", v->target->comm, (int)v->target->pid,
		    text_duration(age, l->pressure.age_ns), looked, v->ended ? " (it has ended)" : "",
		    text_count(cnt, l->footprint.total.maps_cnt), l->footprint.read_ns / 1e6);
	if (v->execed)
		report_head(r, REPORT_WARN, "it has called exec meanwhile: what is below is of the new program");
}

static void head_rss(const struct mem_view *v, struct report *r)
{
	const struct footprint *f = &v->history->last.footprint;
	const struct smaps_values *all = &f->total.values;
	int64_t before = f->before.rss_bytes, after = f->after.rss_bytes, sum = all->rss_bytes;
	int64_t off = sum < (before < after ? before : after) ? sum - (before < after ? before : after) :
		      sum > (before > after ? before : after) ? sum - (before > after ? before : after) : 0;
	struct text line = { 0 };
	char buf[TEXT_BYTES_MAX];

	text_printf(&line, "RSS %s", text_bytes(buf, all->rss_bytes, false));
	if (f->lines & SMAPS_PSS)
		text_printf(&line, " · PSS %s", text_bytes(buf, all->pss_bytes, false));
	text_printf(&line, " · its own %s", text_bytes(buf, all->own_bytes, false));
	if (f->lines & SMAPS_SWAP)
		text_printf(&line, " · swapped out %s", text_bytes(buf, all->swap_bytes, false));
	if (f->lines & SMAPS_HUGE)
		text_printf(&line, " · in huge pages %s", text_bytes(buf, all->huge_bytes, false));
	text_printf(&line, " · page tables %s", text_bytes(buf, f->after.page_table_bytes, false));
	text_printf(&line, " · peak RSS %s", text_bytes(buf, f->after.peak_bytes, false));
	report_head(r, REPORT_PLAIN, "%s", text_str(&line));
	text_free(&line);
	if (all->hugetlb_bytes)
		report_head(r, REPORT_PLAIN, "%s of reserved huge pages (hugetlb) are not in the RSS",
			    text_bytes(buf, all->hugetlb_bytes, false));
	if (off)
		report_head(r, REPORT_DIM, "the parts add up to this RSS; the kernel's counter VmRSS says %s %s: pages moved meanwhile, and it is "
			    "counted in batches", text_bytes(buf, off < 0 ? -off : off, false), off < 0 ? "more" : "less");
	else if (v->verbose)
		report_head(r, REPORT_DIM, "the parts add up to this RSS, and VmRSS said the same just before or after");
	if (f->moved_cnt)
		report_head(r, REPORT_WARN, "%zu mappings changed while they were read: counted once, as they were at first", f->moved_cnt);
	if (!(f->lines & SMAPS_FLAGS))
		report_head(r, REPORT_WARN, "this kernel shows no flags of mappings: kinds are told by shape and place alone");
}

static void head_cgroup(const struct mem_view *v, struct report *r)
{
	const struct pressure *p = &v->history->last.pressure;
	struct mem_growth growth = mem_history_growth(v->history, MEM_SERIES_TOTAL);
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX], c[TEXT_BYTES_MAX], span[MEM_TEXT_MAX];
	double left = mem_seconds_left(p->cgroup.room_bytes, &growth);

	if (!p->cgroup.path) {
		report_head(r, REPORT_PLAIN, "no memory cgroup is seen from here: no limit but the machine's, of which %s are available",
			    text_bytes(a, p->available_bytes, false));
	} else if (!p->cgroup.limited) {
		report_head(r, REPORT_PLAIN, "cgroup %s: no limit that is seen from here; the machine has %s available", p->cgroup.path,
			    text_bytes(a, p->available_bytes, false));
	} else {
		bool near = p->cgroup.room_bytes < p->cgroup.limit_bytes / 10;
		bool grows = left >= 0 && growth.by > mem_history_noise_bytes(v->history);

		report_head(r, near || grows ? REPORT_WARN : REPORT_PLAIN, "cgroup %s: limit %s, %s used by all in it (with their page cache), "
			    "%s left%s%s", p->cgroup.limited, text_bytes(a, p->cgroup.limit_bytes, false),
			    text_bytes(b, p->limited_used_bytes, false), text_bytes(c, p->cgroup.room_bytes, false),
			    grows ? ": reached at this process's rate in " : "", grows ? mem_span(span, left) : "");
	}
}

static void head_pressure(const struct mem_view *v, struct report *r)
{
	const struct pressure *p = &v->history->last.pressure;
	const struct pressure_stall *s = p->own.known ? &p->own : &p->machine;
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX];
	struct text line = { 0 };

	if (s->known)
		text_printf(&line, "waiting for memory (PSI, %s): %.1f %% of the last 10 s, %.1f %% of the last minute",
			    p->own.known ? "its cgroup" : "the machine", s->some_avg10, s->some_avg60);
	else
		text_add(&line, "waiting for memory: not known, this kernel keeps no PSI");
	if (!p->swap_total_bytes)
		text_add(&line, " · the machine has no swap");
	else
		text_printf(&line, " · swap of the machine %s of %s used",
			    text_bytes(a, p->swap_total_bytes - p->swap_free_bytes, false), text_bytes(b, p->swap_total_bytes, false));
	if (p->oom_score >= 0)
		text_printf(&line, " · oom_score %d (adj %d)", p->oom_score, p->oom_score_adj);
	report_head(r, s->known && s->some_avg10 >= 10 ? REPORT_WARN : REPORT_PLAIN, "%s", text_str(&line));
	text_free(&line);
}

/* What is worth saying about a part beside its figures. */
static void part_note(const struct mem_view *v, enum region_kind kind, struct text *ret)
{
	const struct mem_look *l = &v->history->last;
	const struct footprint_part *p = &l->footprint.parts[kind];
	char a[TEXT_BYTES_MAX];

	switch (kind) {
	case REGION_MANAGED:
		text_printf(ret, "%s committed; %zu mappings", text_bytes(a, p->reserved_bytes, false), p->maps_cnt);
		break;
	case REGION_STACK:
		text_printf(ret, "%zu thread%s; %zu mappings", l->threads.threads_cnt, l->threads.threads_cnt == 1 ? "" : "s", p->maps_cnt);
		break;
	case REGION_ANON:
		text_printf(ret, "not told apart: large blocks, other allocators; %zu mappings", p->maps_cnt);
		break;
	case REGION_ARENA:
	case REGION_HEAP:
		text_printf(ret, "%s mapped", text_bytes(a, p->reserved_bytes, false));
		break;
	default:
		text_printf(ret, "%zu mapping%s", p->maps_cnt, p->maps_cnt == 1 ? "" : "s");
		break;
	}
	if (p->values.hugetlb_bytes)
		text_printf(ret, "; %s hugetlb", text_bytes(a, p->values.hugetlb_bytes, false));
}

/* With min and max as the ends: what counts is how it moved. */
static const char *spark(char buf[TREND_SPARK_MAX], const struct trend *trend)
{
	struct trend t = *trend;
	int64_t min = t.points_cnt ? t.held_bytes[0] : 0;

	for (uint32_t i = 0; i < t.points_cnt; i++)
		min = t.held_bytes[i] < min ? t.held_bytes[i] : min;
	for (uint32_t i = 0; i < t.points_cnt; i++)
		t.held_bytes[i] -= min;
	return trend_spark(buf, &t);
}

static void mappings_detail(const struct mem_view *v, enum region_kind kind, struct report *r)
{
	const struct footprint *f = &v->history->last.footprint;
	char a[TEXT_BYTES_MAX], many[64];
	uint64_t shown = 0;

	for (size_t i = 0; i < f->mappings_cnt && shown < v->top; i++) {
		const struct footprint_mapping *m = &f->mappings[i];

		if (m->kind != kind)
			continue;
		shown++;
		many[0] = '\0';
		if (m->maps_cnt > 1)
			snprintf(many, sizeof(many), " (%zu mappings)", m->maps_cnt);
		if (m->name)
			report_detail(r, "%s  %s%s", text_bytes(a, m->values.rss_bytes, false), m->name, many);
		else
			report_detail(r, "%s  %" PRIx64 "-%" PRIx64, text_bytes(a, m->values.rss_bytes, false), m->start, m->end);
	}
}

static void add_row(const struct mem_view *v, const char *label, unsigned int series, const struct smaps_values *values, const char *note,
		    enum report_style style, struct report *r)
{
	const struct footprint *f = &v->history->last.footprint;
	struct mem_growth g = mem_history_growth(v->history, series);
	char a[TEXT_BYTES_MAX], share[MEM_TEXT_MAX], cells[TREND_SPARK_MAX];

	report_row(r, style);
	report_cell(r, "%s", label);
	report_cell(r, "%s", text_bytes(a, values->rss_bytes, false));
	report_cell(r, "%s", mem_share(share, values->rss_bytes, f->total.values.rss_bytes));
	report_cell(r, "%s", f->lines & SMAPS_PSS ? text_bytes(a, values->pss_bytes, false) : "–");
	if (!v->repeated) {
		report_cell(r, "%s", text_bytes(a, values->own_bytes, false));
		report_cell(r, "%s", f->lines & SMAPS_SWAP ? text_bytes(a, values->swap_bytes, false) : "–");
		report_cell(r, "%s", f->lines & SMAPS_HUGE ? text_bytes(a, values->huge_bytes, false) : "–");
	} else {
		report_cell(r, "%s", f->lines & SMAPS_SWAP ? text_bytes(a, values->swap_bytes, false) : "–");
		report_cell(r, "%s", text_bytes(a, g.by, true));
		report_cell(r, "%s", v->history->looks_cnt > 2 ? text_bytes(a, llround(g.per_s), true) : "–");
		report_cell(r, "%s", spark(cells, &v->history->series[series]));
	}
	report_cell(r, "%s", note);
}

static void table(const struct mem_view *v, struct report *r)
{
	static const struct report_column once[] = {
		{ .title = "PART" }, { .title = "RSS", .right = true }, { .title = "SHARE", .right = true }, { .title = "PSS", .right = true },
		{ .title = "OWN", .right = true }, { .title = "SWAP", .right = true }, { .title = "HUGE", .right = true },
		{ .title = "", .elastic = true },
	}, repeated[] = {
		{ .title = "PART" }, { .title = "RSS", .right = true }, { .title = "SHARE", .right = true }, { .title = "PSS", .right = true },
		{ .title = "SWAP", .right = true }, { .title = "GROWTH", .right = true }, { .title = "A SECOND", .right = true },
		{ .title = "TREND" }, { .title = "", .elastic = true },
	};
	const struct footprint *f = &v->history->last.footprint;
	enum region_kind order[REGION_KINDS], growing[REGION_KINDS];
	size_t growing_cnt = mem_history_growing(v->history, growing);

	if (v->repeated)
		report_columns(r, repeated, sizeof(repeated) / sizeof(*repeated));
	else
		report_columns(r, once, sizeof(once) / sizeof(*once));
	for (unsigned int i = 0; i < REGION_KINDS; i++) {
		unsigned int at = i;

		for (; at && f->parts[order[at - 1]].values.rss_bytes < f->parts[i].values.rss_bytes; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (unsigned int i = 0; i < REGION_KINDS; i++) {
		const struct footprint_part *p = &f->parts[order[i]];
		struct text note = { 0 };

		if (!p->values.rss_bytes && !p->values.swap_bytes && !p->values.hugetlb_bytes &&
		    !mem_history_growth(v->history, order[i]).by)
			continue;
		part_note(v, order[i], &note);
		add_row(v, footprint_label(f, order[i]), order[i], &p->values, text_str(&note),
			growing_cnt && growing[0] == order[i] ? REPORT_BAD : REPORT_PLAIN, r);
		if (v->verbose)
			mappings_detail(v, order[i], r);
		text_free(&note);
	}
	add_row(v, "RSS, the sum", MEM_SERIES_TOTAL, &f->total.values, "", REPORT_BOLD, r);
}

int mem_report(const struct mem_view *v, struct report **ret)
{
	struct report *r = report_new();

	if (!r)
		return -ENOMEM;
	head_title(v, r);
	head_rss(v, r);
	head_cgroup(v, r);
	head_pressure(v, r);
	table(v, r);
	mem_report_rest(v, r);
	if (report_failed(r)) {
		report_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}
