/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/text.h"
#include "cmd/chain.h"
#include "cmd/command.h"
#include "cmd/leak_report.h"
#include "cmd/notes.h"

#define MIB (1024.0 * 1024)

double leak_cut_percent(const struct profile *p)
{
	int64_t all = 0, cut = 0;

	for (size_t i = 0; i < profile_stacks_cnt(p); i++) {
		int64_t blocks = profile_value(p, i, LEAK_ALLOC_BLOCKS);

		all += blocks;
		if (profile_stack_at(p, i).cut)
			cut += blocks;
	}
	return all ? 100.0 * cut / all : 0;
}

int64_t leak_view_held(const struct leak_view *v)
{
	int64_t sum = 0;

	for (size_t i = 0; i < v->rows->cnt; i++)
		sum += v->rows->list[i]->values[LEAK_HELD_BYTES];
	return sum;
}

static void head_line(const struct leak_view *v, struct report *r)
{
	double cost = v->cost_percent;
	char duration[TEXT_BYTES_MAX], lost[TEXT_BYTES_MAX], limit[32] = "", cost_text[32] = "unknown yet";
	uint64_t lost_cnt = profile_lost(v->profile);

	text_duration(duration, v->now_ns - v->start_ns);
	text_count(lost, lost_cnt);
	if (v->limit_percent >= 0)
		snprintf(limit, sizeof(limit), " (limit %.0f)", v->limit_percent);
	if (cost >= 0)
		snprintf(cost_text, sizeof(cost_text), cost < 10 ? "%.1f %%" : "%.0f %%", cost);
	report_head(r, lost_cnt ? REPORT_BAD : cost > METER_WARN_PERCENT ? REPORT_WARN : REPORT_BOLD,
		    "leak  %s · %s · exact · costs %s%s · lost %s · cut %.1f %%", v->who, duration, cost_text, limit, lost,
		    leak_cut_percent(v->profile));
	if (cost > METER_WARN_PERCENT)
		report_head(r, REPORT_WARN, "the probes take more than %.0f %% of the target's CPU time",
			    METER_WARN_PERCENT);
	notes_report(v->profile, profile_total(v->profile, LEAK_ALLOC_BLOCKS), v->verbose, r);
}

/* The part of what is held that the target has mapped itself. */
static void mappings_line(const struct leak_view *v, struct report *r)
{
	char bytes[TEXT_BYTES_MAX], cnt[TEXT_BYTES_MAX], unseen[TEXT_BYTES_MAX], cut[96] = "";
	struct mappings_held m;

	leak_mappings_held(v->source, &m);
	if (!m.cnt)
		return;
	if (m.unseen_cnt)
		snprintf(cut, sizeof(cut), "; no time to look at all: %s of them as they were last seen",
			 text_count(unseen, m.unseen_cnt));
	report_head(r, REPORT_PLAIN, "mappings: %s of what is held, resident in %s that the allocator has not made%s",
		    text_bytes(bytes, m.bytes, false), text_count(cnt, m.cnt), cut);
}

static void kinds_line(const struct leak_view *v, struct report *r)
{
	const struct target_memory *a = &v->memory_start, *b = &v->memory_now;
	double heap = ((double)b->heap_bytes - a->heap_bytes) / MIB;
	double anon = ((double)b->anon_bytes - a->anon_bytes) / MIB;
	double files = ((double)b->file_bytes - a->file_bytes) / MIB, shared = ((double)b->shmem_bytes - a->shmem_bytes) / MIB;

	if (v->heap_is_old)
		report_head(r, REPORT_PLAIN, "by kind: anonymous, [heap] included %+.1f, files %+.1f, shared %+.1f", anon, files, shared);
	else
		report_head(r, REPORT_PLAIN, "by kind: [heap] %+.1f, other anonymous %+.1f, files %+.1f, shared %+.1f", heap, anon - heap,
			    files, shared);
}

/* Of one that has ended what was read last is of a moment before. */
static const char *read_before(const struct leak_view *v, char buf[TEXT_BYTES_MAX + 32])
{
	char ago[TEXT_BYTES_MAX];

	buf[0] = '\0';
	if ((v->end == SESSION_EXITED || v->end == SESSION_EXECED) && v->memory_ns && v->now_ns > v->memory_ns + 20000000)
		snprintf(buf, TEXT_BYTES_MAX + 32, " (as it was %s before that)", text_duration(ago, v->now_ns - v->memory_ns));
	return buf;
}

/* What grew, and what the books know of it. */
static void rss_lines(const struct leak_view *v, struct report *r)
{
	const struct target_memory *a = &v->memory_start, *b = &v->memory_now;
	double grown = ((double)b->rss_bytes - a->rss_bytes) / MIB;
	double held = leak_view_held(v) / MIB;
	double explained = held < 0 ? 0 : held < grown ? held : grown > 0 ? grown : 0;
	char start[TEXT_BYTES_MAX], now[TEXT_BYTES_MAX], before[TEXT_BYTES_MAX + 32];

	text_count(start, a->rss_bytes / MIB + 0.5);
	text_count(now, b->rss_bytes / MIB + 0.5);
	read_before(v, before);
	if (v->older)
		report_head(r, REPORT_PLAIN, "RSS %s → %s MiB = %+.1f%s; %.1f MiB in blocks that are old enough (--older)", start,
			    now, grown, before, held);
	else if (grown > 0.05)
		report_head(r, REPORT_PLAIN, "RSS %s → %s MiB = %+.1f%s: up to %.1f explained by the %.1f MiB held below (%.0f %%), "
			    "%.1f unexplained", start, now, grown, before, explained, held, 100 * explained / grown,
			    grown - explained);
	else
		report_head(r, REPORT_PLAIN, "RSS %s → %s MiB = %+.1f%s: it did not grow; %.1f MiB held below", start, now,
			    grown, before, held);
	kinds_line(v, r);
}

static void since_line(const struct leak_view *v, struct report *r)
{
	char older[TEXT_BYTES_MAX], kernel[TEXT_BYTES_MAX], clock[32];
	time_t wall = v->start_wall_s;
	struct tm tm;

	localtime_r(&wall, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	text_bytes(kernel, v->kernel_bytes, false);
	if (v->pairs)
		report_head(r, REPORT_DIM, "in %s; only what was acquired since %s · books %s of kernel memory",
			    profile_types(v->profile)[LEAK_HELD_BYTES].unit, clock, kernel);
	else
		report_head(r, REPORT_DIM, "only allocations since %s: %s are older, not visible · books %s of kernel memory",
			    clock, text_bytes(older, v->memory_start.rss_bytes, false), kernel);
}

/* Of the value that needs a word. */
static void value_line(const struct leak_view *v, struct report *r)
{
	if (v->type == LEAK_PEAK_BYTES)
		report_head(r, REPORT_PLAIN, "PEAK: the most that was held in any of %u snapshots; a row's is that of its sum",
			    v->rows->snapshots_cnt);
}

static void columns(const struct leak_view *v, struct report *r)
{
	char last[48], kept[48], duration[TEXT_BYTES_MAX];
	static const char *const titles[LEAK_VALUES] = {
		[LEAK_HELD_BYTES] = "HELD", [LEAK_HELD_BLOCKS] = "BLOCKS", [LEAK_ALLOC_BYTES] = "ALLOCATED",
		[LEAK_ALLOC_BLOCKS] = "ALLOCS", [LEAK_PEAK_BYTES] = "PEAK",
	};

	snprintf(last, sizeof(last), "LAST %s", text_duration(duration, rows_last_ns(v->rows)));
	if (v->cutoff_ns)
		snprintf(kept, sizeof(kept), "KEPT>%s",
			 text_duration(duration, v->now_ns - v->cutoff_ns));
	else
		snprintf(kept, sizeof(kept), "KEPT");

	const struct report_column list[] = {
		{ .title = "CLASS" },
		{ .title = titles[v->type], .right = true },
		{ .title = last, .right = true },
		{ .title = "TREND" },
		{ .title = kept, .right = true },
		{ .title = "YOUR CODE", .elastic = true },
	};

	report_columns(r, list, sizeof(list) / sizeof(list[0]));
}

void leak_growth_cell(const struct leak_view *v, struct report *r, int64_t grown)
{
	char buf[TEXT_BYTES_MAX], count[TEXT_BYTES_MAX];

	if (!strcmp(profile_types(v->profile)[LEAK_HELD_BYTES].unit, "bytes"))
		report_cell(r, "%s", text_bytes(buf, grown, true));
	else
		report_cell(r, "%s%s", grown < 0 ? "−" : grown ? "+" : "", text_count(count, grown < 0 ? -grown : grown));
}

void leak_value_cell(const struct leak_view *v, struct report *r, int64_t value)
{
	char buf[TEXT_BYTES_MAX];

	if (!strcmp(profile_types(v->profile)[v->type].unit, "bytes"))
		report_cell(r, "%s", text_bytes(buf, value, false));
	else
		report_cell(r, "%s", text_count(buf, value));
}

int leak_row_name(const struct leak_view *v, const struct row *row, struct text *name)
{
	const struct profile *p = v->profile;
	struct stack st = profile_stack_at(p, row->best_stack);
	uint32_t at = 0;

	if (row->frame == UINT32_MAX) {
		text_add(name, st.label ? st.label : "?");
		return -1;
	}
	while (at < st.frames_cnt && st.frames[at] != row->frame &&
	       strcmp(profile_frame_at(p, st.frames[at])->name, profile_frame_at(p, row->frame)->name))
		at++;
	if (at == st.frames_cnt)
		at = 0;
	const struct frame *f = profile_frame_at(p, st.frames[at]);

	chain_add_name(name, f);
	chain_add_place(name, f);
	if (at) {
		text_add(name, " via ");
		chain_add_name(name, profile_frame_at(p, st.frames[at - 1]));
	}
	return at;
}

/* Its name, and below it who called. */
static void code_cell(const struct leak_view *v, struct report *r, const struct row *row)
{
	struct stack st = profile_stack_at(v->profile, row->best_stack);
	struct text name = { 0 }, callers = { 0 };
	int at = leak_row_name(v, row, &name);

	if (at >= 0 && row->stacks_cnt > 1)
		report_cell(r, "%s (%u stacks)", text_str(&name), row->stacks_cnt);
	else
		report_cell(r, "%s", text_str(&name));
	if (at >= 0)
		chain_add(&callers, v->profile, &st, at + 1, 4);
	if (callers.len)
		report_detail(r, "< %s", callers.str);
	text_free(&name);
	text_free(&callers);
}

const enum report_style leak_class_styles[TREND_CLASSES] = {
	[TREND_LEAK] = REPORT_BAD, [TREND_GROWING] = REPORT_WARN, [TREND_EARLY] = REPORT_PLAIN,
	[TREND_CACHE] = REPORT_PLAIN, [TREND_WARM_UP] = REPORT_PLAIN, [TREND_FLAT] = REPORT_DIM,
};

static void row_write(const struct leak_view *v, struct report *r, const struct row *row)
{
	char spark[TREND_SPARK_MAX];

	report_row(r, leak_class_styles[row->class]);
	report_cell(r, "%s", trend_class_name(row->class));
	leak_value_cell(v, r, row->values[v->type]);
	leak_growth_cell(v, r, row->last_bytes);
	report_cell(r, "%s", trend_spark(spark, &row->trend));
	if (row->kept_percent >= 0)
		report_cell(r, "%d%%", row->kept_percent);
	else
		report_cell(r, "–");
	code_cell(v, r, row);
}

bool leak_row_has_any(const struct row *row)
{
	for (int t = 0; t < LEAK_VALUES; t++)
		if (row->values[t])
			return true;
	return false;
}

/* All rows that are not shown, in one. */
static void other_row(const struct leak_view *v, struct report *r, size_t from)
{
	int64_t values[LEAK_VALUES] = { 0 }, last = 0;
	size_t cnt = 0;

	for (size_t i = from; i < v->rows->cnt; i++) {
		for (int t = 0; t < LEAK_VALUES; t++)
			values[t] += v->rows->list[i]->values[t];
		last += v->rows->list[i]->last_bytes;
		cnt += leak_row_has_any(v->rows->list[i]);
	}
	if (!cnt)
		return;
	report_row(r, REPORT_DIM);
	report_cell(r, "other");
	leak_value_cell(v, r, values[v->type]);
	leak_growth_cell(v, r, last);
	report_cell(r, "%s", "");
	report_cell(r, "%s", "");
	report_cell(r, "%zu more path%s (--top)", cnt, cnt == 1 ? "" : "s");
}

/* The evidence for the first leak, or what is missing for a verdict. */
static void verdict_line(const struct leak_view *v, struct report *r, bool explained)
{
	const struct row *first = v->rows->cnt ? v->rows->list[0] : NULL;
	char old[TEXT_BYTES_MAX];

	if (first && first->class == TREND_LEAK) {
		const char *sure = v->now_ns - v->start_ns < 60000000000ull ?
				   " · looked for less than 60 s: confidence low" : "";

		report_foot(r, REPORT_PLAIN, "LEAK: %u of %u snapshots up; %d %% of its blocks older than %s are still held%s",
			    first->trend.ups_cnt, first->trend.pushes_cnt, first->kept_percent,
			    text_duration(old, v->now_ns - v->cutoff_ns), sure);
	} else if (!explained) {
		report_foot(r, REPORT_PLAIN, "less than half of the growth is explained by these paths: none is called a leak");
	} else if (v->rows->snapshots_cnt < TREND_SURE_CNT) {
		report_foot(r, REPORT_PLAIN, "EARLY: %u of the %d snapshots that a verdict takes", v->rows->snapshots_cnt,
			    TREND_SURE_CNT);
	} else if (first) {
		report_foot(r, REPORT_PLAIN, "%s, the first row: %s", trend_class_name(first->class), first->why);
	}
}

static void loss_lines(const struct leak_view *v, struct report *r)
{
	const struct profile *p = v->profile;
	char buf[TEXT_BYTES_MAX];
	const char *name;
	uint64_t cnt;

	for (size_t i = 0; i < profile_losses_cnt(p); i++) {
		struct loss l = profile_loss_at(p, i);

		if (l.cnt)
			report_foot(r, REPORT_BAD, "lost: %s %s: totals may be wrong", text_count(buf, l.cnt), l.name);
	}
	for (unsigned int i = 0; v->verbose && v->source && leak_counter_at(v->source, i, &name, &cnt); i++)
		if (cnt)
			report_foot(r, REPORT_DIM, "%s: %s", name, text_count(buf, cnt));
}

const char *leak_how_ended(char buf[LEAK_HOW_MAX], int status)
{
	if (status < 0)
		snprintf(buf, LEAK_HOW_MAX, "ended");
	else if (WIFSIGNALED(status))
		snprintf(buf, LEAK_HOW_MAX, "was killed by signal %d (%s)%s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
	else
		snprintf(buf, LEAK_HOW_MAX, "exited with code %d", WEXITSTATUS(status));
	return buf;
}

/* How the target ended, or why we stopped. */
static void end_line(const struct leak_view *v, struct report *r)
{
	int pid = v->pid;
	char how[LEAK_HOW_MAX];

	switch (v->end) {
	case SESSION_EXITED:
		report_foot(r, v->exit_status >= 0 && WIFSIGNALED(v->exit_status) ? REPORT_BAD : REPORT_WARN,
			    "process %d %s", pid, leak_how_ended(how, v->exit_status));
		break;
	case SESSION_EXECED:
		report_foot(r, REPORT_WARN, "process %d called exec: this was its memory before", pid);
		break;
	case SESSION_BRAKE:
		report_foot(r, REPORT_BAD, "stopped by the brake: the cost stayed above %.0f %% of the target's CPU time "
			    "(--max-overhead)", v->limit_percent);
		break;
	default:
		break;
	}
}

/* A name that may stand in a command line that somebody will paste; others choose their own names. */
static const char *command_word(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-");

	return len && !name[len] && *name != '-' ? name : "PID";
}

static void next_line(const struct leak_view *v, struct report *r)
{
	int pid = v->pid;

	if (!v->last || v->is_part || v->end == SESSION_EXECED)	/* the report of the new program has one */
		return;
	if (v->pairs)
		report_foot(r, REPORT_BOLD, "next: the same with -f folded -o pairs.folded   (for a flame graph)");
	else if (v->end == SESSION_EXITED)
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %s   (when it runs again; earlier than this time)",
			    command_word(v->comm));
	else if (v->end == SESSION_BRAKE)
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d -d 10s --max-overhead none   (short, at the full price)", pid);
	else if (v->rows->cnt && v->rows->list[0]->class == TREND_EARLY)
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d -i 5s -d 2m   (a longer look: enough for a verdict)", pid);
	else
		report_foot(r, REPORT_BOLD, "next: sudo ebb leak %d -d 30s -f folded -o leak.folded   (for a flame graph)", pid);
}

/* Whether the books know of at least half of what the RSS grew. */
static bool is_explained(const struct leak_view *v)
{
	double grown = (double)v->memory_now.rss_bytes - v->memory_start.rss_bytes;

	return v->older || v->pairs || grown < MIB || leak_view_held(v) >= grown / 2;
}

void leak_view_classify(const struct leak_view *v)
{
	rows_classify(v->rows, v->cutoff_ns, is_explained(v), v->type);
}

int leak_report(const struct leak_view *v, struct report **ret)
{
	struct report *r = report_new();
	size_t shown;

	if (!r)
		return -ENOMEM;
	leak_view_classify(v);
	head_line(v, r);
	if (!v->pairs) {
		rss_lines(v, r);
		mappings_line(v, r);
	}
	since_line(v, r);
	value_line(v, r);
	columns(v, r);
	for (shown = 0; shown < v->rows->cnt && shown < v->top; shown++) {
		const struct row *row = v->rows->list[shown];

		/* sorted by class: what follows a FLAT path that holds nothing holds next to nothing */
		if (row->class == TREND_FLAT && !row->values[v->type] && !row->last_bytes)
			break;
		row_write(v, r, row);
	}
	other_row(v, r, shown);
	verdict_line(v, r, is_explained(v));
	loss_lines(v, r);
	end_line(v, r);
	next_line(v, r);
	if (report_failed(r)) {
		report_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}
