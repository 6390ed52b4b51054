/* SPDX-License-Identifier: GPL-2.0-only */
/* The lines below the table: what grows, descriptors, threads, who was killed before, and what to do next. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/command.h"
#include "cmd/mem_report.h"
#include "profile/report.h"
#include "target/target.h"

#define THREAD_NAMES_SHOWN	4
#define KILLS_SHOWN		3

static void heap_figures(const struct heap_walk *w, struct report *r)
{
	char used[TEXT_BYTES_MAX], cnt[TEXT_BYTES_MAX], bins[TEXT_BYTES_MAX], cached[TEXT_BYTES_MAX], top[TEXT_BYTES_MAX];
	char largest[TEXT_BYTES_MAX], trim[TEXT_BYTES_MAX], mapped[96] = "", big[TEXT_BYTES_MAX];
	const struct heap_arena *s = &w->sum;

	if (w->has_mmapped && w->mmapped_cnt)
		snprintf(mapped, sizeof(mapped), "; %s in large blocks with mappings of their own", text_bytes(big, w->mmapped_bytes, false));
	report_foot(r, REPORT_PLAIN, "inside glibc's heap (%zu arena%s%s): %s in use in %s blocks; free: %s in bins (the largest piece %s), "
		    "%s in caches, %s at the top%s", w->arenas_cnt, w->arenas_cnt == 1 ? "" : "s",
		    w->changed ? ", approximate: walked while it was busy" : "", text_bytes(used, s->used_bytes, false),
		    text_count(cnt, s->used_cnt), text_bytes(bins, s->free_bytes, false), text_bytes(largest, s->largest_free_bytes, false),
		    text_bytes(cached, s->cached_bytes + s->fast_bytes, false), text_bytes(top, s->top_bytes, false), mapped);
	report_foot(r, s->trim_bytes > s->resident_bytes / 4 ? REPORT_WARN : REPORT_PLAIN,
		    "whole free pages that are still resident: malloc_trim() could return %s", text_bytes(trim, s->trim_bytes, false));
}

static void foot_heap(const struct mem_view *v, struct report *r)
{
	const struct heap_walk *w;

	if (!v->heap)
		return;
	w = &v->heap->walk;
	if (v->heap->err)
		report_foot(r, REPORT_DIM, "inside glibc's heap: it could not be walked: %s", strerror(-v->heap->err));
	else if (!w->tiles)
		report_foot(r, REPORT_DIM, "inside glibc's heap: not known, %s", w->why ? w->why : "it could not be walked");
	else
		heap_figures(w, r);
}

static void foot_growth(const struct mem_view *v, struct report *r)
{
	const struct mem_history *h = v->history;
	struct mem_growth total = mem_history_growth(h, MEM_SERIES_TOTAL);
	enum region_kind growing[REGION_KINDS];
	size_t cnt = mem_history_growing(h, growing);
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX], c[TEXT_BYTES_MAX];

	if (!v->repeated)
		return;
	if (h->looks_cnt < 2) {
		report_foot(r, REPORT_DIM, "one look so far: what grows is not known yet");
		return;
	}
	for (size_t i = 0; i < cnt; i++) {
		struct mem_growth g = mem_history_growth(h, growing[i]);

		report_foot(r, i ? REPORT_PLAIN : REPORT_BAD, "%s: %s %s in %s (%s/s), up in %u of %u steps", i ? "grows too" : "GROWS",
			    footprint_label(&h->last.footprint, growing[i]), text_bytes(a, g.by, true), text_duration(b, mem_history_ns(h)),
			    text_bytes(c, llround(g.per_s), true), g.ups_cnt, g.steps_cnt);
	}
	if (!cnt)
		report_foot(r, REPORT_GOOD, "no part grows by more than %s: RSS %s in %s", text_bytes(a, mem_history_noise_bytes(h), false),
			    text_bytes(b, total.by, true), text_duration(c, mem_history_ns(h)));
}

/* What was read back from disk or swap tells of memory that is too small. */
static void foot_faults(const struct mem_view *v, struct report *r)
{
	const struct footprint *first = &v->history->first.footprint, *last = &v->history->last.footprint;
	uint64_t major = last->major_faults - first->major_faults;
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX];

	if (v->history->looks_cnt > 1 && last->minor_faults >= first->minor_faults && last->major_faults >= first->major_faults)
		report_foot(r, REPORT_PLAIN, "page faults in this time: %s without a read, %s that read from disk or swap",
			    text_count(a, last->minor_faults - first->minor_faults), text_count(b, major));
}

static void descriptors_list(const struct descriptors *d, struct text *ret)
{
	bool first = true;
	char a[TEXT_BYTES_MAX];

	for (unsigned int i = 0; i < DESCRIPTOR_KINDS; i++) {
		if (!d->kinds[i])
			continue;
		text_printf(ret, "%s%s %s", first ? "" : ", ", descriptor_kind_label(i), text_count(a, d->kinds[i]));
		if (i == DESCRIPTOR_INOTIFY)
			text_printf(ret, " (watches %s)", text_count(a, d->watches_cnt));
		first = false;
	}
}

static void foot_descriptors(const struct mem_view *v, struct report *r)
{
	const struct mem_history *h = v->history;
	const struct descriptors *d = &h->last.descriptors;
	struct mem_growth all = mem_history_growth(h, MEM_SERIES_DESCRIPTORS);
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX], span[MEM_TEXT_MAX];
	struct text list = { 0 }, grown = { 0 };
	double left = d->limit_cnt == UINT64_MAX ? -1 : mem_seconds_left(d->limit_cnt > d->cnt ? d->limit_cnt - d->cnt : 0, &all);
	bool near = d->limit_cnt != UINT64_MAX && d->cnt > d->limit_cnt / 10 * 9;

	if (h->last.descriptors_err) {
		report_foot(r, REPORT_DIM, "descriptors: not known: %s", strerror(-h->last.descriptors_err));
		return;
	}
	descriptors_list(d, &list);
	report_foot(r, near ? REPORT_BAD : REPORT_PLAIN, "descriptors %s of %s: %s", text_count(a, d->cnt),
		    d->limit_cnt == UINT64_MAX ? "any number" : text_count(b, d->limit_cnt), text_str(&list));
	for (unsigned int i = 0; i < DESCRIPTOR_KINDS; i++) {
		struct mem_growth g = mem_history_growth(h, MEM_SERIES_DESCRIPTOR_KIND + i);

		if (mem_history_counts_up(h, MEM_SERIES_DESCRIPTOR_KIND + i))
			text_printf(&grown, "%s%s +%s", grown.len ? ", " : "", descriptor_kind_label(i), text_count(a, g.by));
	}
	if (grown.len)
		report_foot(r, REPORT_BAD, "GROWS: descriptors: %s%s%s", text_str(&grown),
			    left >= 0 ? "; at this rate the limit is reached in " : "", left >= 0 ? mem_span(span, left) : "");
	if (d->kinds[DESCRIPTOR_INOTIFY] && d->system_instances_cnt && (v->verbose || grown.len))
		report_foot(r, REPORT_PLAIN, "of inotify, all processes of a user may have %s instances and %s watches together",
			    text_count(a, d->system_instances_cnt), text_count(b, d->system_watches_cnt));
	text_free(&list);
	text_free(&grown);
}

static void foot_threads(const struct mem_view *v, struct report *r)
{
	const struct thread_names *t = &v->history->last.threads;
	struct mem_growth g = mem_history_growth(v->history, MEM_SERIES_THREADS);
	const struct thread_name *grown;
	size_t shown = v->verbose ? t->cnt : THREAD_NAMES_SHOWN, by;
	struct text list = { 0 };
	char a[TEXT_BYTES_MAX];

	for (size_t i = 0; i < t->cnt && i < shown; i++)
		text_printf(&list, "%s%s %zu", i ? ", " : "", *t->list[i].name ? t->list[i].name : "(no name)", t->list[i].cnt);
	if (t->cnt > shown)
		text_printf(&list, ", and %zu other names", t->cnt - shown);
	report_foot(r, REPORT_PLAIN, "threads %s: %s", text_count(a, t->threads_cnt), text_str(&list));
	grown = mem_history_thread(v->history, &by);
	if (grown && mem_history_counts_up(v->history, MEM_SERIES_THREADS))
		report_foot(r, REPORT_BAD, "GROWS: threads: %s +%zu of +%s", grown->name, by, text_count(a, g.by));
	text_free(&list);
}

static void foot_kills(const struct mem_view *v, struct report *r)
{
	const struct pressure *p = &v->history->last.pressure;
	const struct pressure_kills *k = v->kills;
	size_t from = k->cnt > KILLS_SHOWN && !v->verbose ? k->cnt - KILLS_SHOWN : 0;
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX];

	if (p->has_events && p->oom_kills_cnt)
		report_foot(r, REPORT_BAD, "in its cgroup the kernel has killed %s process%s for lack of memory since that exists",
			    text_count(a, p->oom_kills_cnt), p->oom_kills_cnt == 1 ? "" : "es");
	else if (v->verbose)
		report_foot(r, REPORT_DIM, p->has_events ? "in its cgroup no process was killed for lack of memory" :
			    "whether processes of its cgroup were killed for lack of memory is not known");
	for (size_t i = from; i < k->cnt; i++) {
		const struct pressure_kill *kill = &k->list[i];

		report_foot(r, REPORT_BAD, "%s[%d] was killed for lack of memory %s ago%s%s%s%s", kill->comm ? kill->comm : "?",
			    (int)kill->pid, text_duration(a, kill->ago_ns), kill->rss_bytes ? ", with " : "",
			    kill->rss_bytes ? text_bytes(b, kill->rss_bytes, false) : "",
			    kill->limited ? ": the limit of cgroup " : "", kill->limited ? kill->limited : "");
	}
	if (k->err && v->verbose)
		report_foot(r, REPORT_DIM, "the kernel's log is not readable (%s): kills before are not known by name", strerror(-k->err));
}

static void next_growth(const struct mem_view *v, enum region_kind kind, struct report *r)
{
	int pid = v->target->pid;

	switch (kind) {
	case REGION_HEAP:
	case REGION_ARENA:
	case REGION_ANON:
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d   (which code path holds it)", pid);
		return;
	case REGION_STACK:
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d --pairs threads   (who starts threads that do not end)", pid);
		return;
	case REGION_MANAGED:
		if (command_find("heap")) {
			report_foot(r, REPORT_BOLD, "next: sudo ebb heap %d   (which types it is full of)", pid);
			return;
		}
		break;
	default:
		break;
	}
	if (command_find("faults"))
		report_foot(r, REPORT_BOLD, "next: sudo ebb faults %d   (which code touches new pages)", pid);
	else if (!v->verbose)
		report_foot(r, REPORT_BOLD, "next: sudo ebb mem %d -v -d 5m   (which mappings grow)", pid);
	else
		report_foot(r, REPORT_BOLD, "next: sudo ebb mem %d -d 1h -i 1m   (whether it goes on)", pid);
}

static void foot_next(const struct mem_view *v, struct report *r)
{
	const struct mem_history *h = v->history;
	enum region_kind growing[REGION_KINDS];
	size_t cnt = mem_history_growing(h, growing);
	int pid = v->target->pid;

	if (v->ended)
		report_foot(r, REPORT_BOLD, "next: sudo ebb mem %s -d 1m   (when it runs again)", v->target->comm);
	else if (h->looks_cnt < 2)
		report_foot(r, REPORT_BOLD, "next: sudo ebb mem %d -d 1m   (which part grows)", pid);
	else if (mem_history_counts_up(h, MEM_SERIES_DESCRIPTOR_KIND + DESCRIPTOR_INOTIFY) ||
		 mem_history_counts_up(h, MEM_SERIES_WATCHES))
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d --pairs inotify   (who adds watches that stay)", pid);
	else if (mem_history_counts_up(h, MEM_SERIES_THREADS))
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d --pairs threads   (who starts threads that do not end)", pid);
	else if (mem_history_counts_up(h, MEM_SERIES_DESCRIPTOR_KIND + DESCRIPTOR_SOCKET))
		report_foot(r, REPORT_BOLD, "next: sudo ebb ports %d   (where to, and who never closes)", pid);
	else if (mem_history_counts_up(h, MEM_SERIES_DESCRIPTORS))
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d --pairs fds   (who opens what is not closed)", pid);
	else if (cnt)
		next_growth(v, growing[0], r);
	else
		report_foot(r, REPORT_BOLD, "next: sudo ebb mem %d -d 10m -i 30s   (longer: nothing grew in this look)", pid);
}

void mem_report_rest(const struct mem_view *v, struct report *r)
{
	foot_heap(v, r);
	foot_growth(v, r);
	foot_faults(v, r);
	foot_descriptors(v, r);
	foot_threads(v, r);
	foot_kills(v, r);
	foot_next(v, r);
}
