/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cmd/chain.h"
#include "cmd/command.h"
#include "cmd/faults_report.h"
#include "cmd/notes.h"

#define PATHS_A_PROCESS	3	/* of its code paths, below a row */

uint64_t faults_unattributed(uint64_t counted, uint64_t seen)
{
	return counted > seen ? counted - seen : 0;
}

static uint64_t how_total(const struct faults_summary *sum, enum faults_how how)
{
	uint64_t n = 0;

	for (int m = 0; m < FAULTS_MEMORIES; m++)
		n += sum->counts[m][how];
	return n;
}

static uint64_t total(const struct faults_summary *sum)
{
	uint64_t n = 0;

	for (int how = 0; how < FAULTS_HOWS; how++)
		n += how_total(sum, how);
	return n;
}

/* "411", "1,203", "0.4" */
static const char *rate_text(char buf[TEXT_BYTES_MAX], uint64_t n, uint64_t ns)
{
	double rate = ns ? n * 1e9 / ns : 0;

	if (rate >= 9.95)
		text_count(buf, rate + 0.5);
	else
		snprintf(buf, TEXT_BYTES_MAX, rate && rate < 0.05 ? "<0.1" : rate ? "%.1f" : "0", rate);
	return buf;
}

static const char *ns_text(char buf[TEXT_BYTES_MAX], uint64_t ns)
{
	if (ns >= 10000000000ull)
		snprintf(buf, TEXT_BYTES_MAX, "%.0f s", ns / 1e9);
	else if (ns >= 10000000)
		snprintf(buf, TEXT_BYTES_MAX, "%.0f ms", ns / 1e6);
	else
		snprintf(buf, TEXT_BYTES_MAX, "%.2f ms", ns / 1e6);
	return buf;
}

static void head_line(const struct faults_view *v, struct report *r)
{
	uint64_t lost_cnt = profile_lost(v->profile);
	char duration[TEXT_BYTES_MAX], lost[TEXT_BYTES_MAX];

	text_duration(duration, v->now_ns - v->start_ns);
	report_head(r, lost_cnt ? REPORT_BAD : REPORT_BOLD, "faults  %s · %s · by %s · lost %s", v->who, duration,
		    faults_sensor_name(v->source), text_count(lost, lost_cnt));
	notes_report(v->profile, total(faults_summary(v->source)), v->verbose, r);
	for (size_t i = 0; i < profile_losses_cnt(v->profile); i++) {
		struct loss l = profile_loss_at(v->profile, i);

		if (l.cnt)
			report_head(r, REPORT_BAD, "lost: %" PRIu64 " %s", l.cnt, l.name);
	}
}

static void kinds_line(const struct faults_view *v, struct report *r)
{
	const struct faults_summary *sum = faults_summary(v->source);
	char n[TEXT_BYTES_MAX], rate[TEXT_BYTES_MAX], bytes[TEXT_BYTES_MAX];
	struct text t = { 0 };

	for (int how = 0; how < FAULTS_HOWS; how++) {
		uint64_t cnt = how_total(sum, how);

		if (cnt || how == FAULTS_MAJOR)
			text_printf(&t, "%s%s %s", t.len ? ", " : ": ", text_count(n, cnt), faults_how_label(how));
	}
	report_head(r, REPORT_PLAIN, "%s faults (%s a second)%s; they touched %s%s", text_count(n, total(sum)),
		    rate_text(rate, total(sum), v->now_ns - v->start_ns), text_str(&t), sum->huge ? "at least " : "",
		    text_bytes(bytes, sum->bytes, false));
	text_free(&t);
	if (!faults_tells_how(v->source))
		report_head(r, REPORT_DIM, "this sensor does not tell first touch from copy-on-write, and does not time major faults");
	if (sum->counts[FAULTS_MEMORY_UNKNOWN][FAULTS_FIRST] + sum->counts[FAULTS_MEMORY_UNKNOWN][FAULTS_MINOR])
		report_head(r, REPORT_DIM, "memory \"%s\": the process was just changing its mappings",
			    faults_memory_label(FAULTS_MEMORY_UNKNOWN));
}

static void major_line(const struct faults_view *v, struct report *r)
{
	const struct faults_summary *sum = faults_summary(v->source);
	char majors[TEXT_BYTES_MAX], timed[TEXT_BYTES_MAX], ns[TEXT_BYTES_MAX], each[TEXT_BYTES_MAX], kernel[TEXT_BYTES_MAX];

	if (!sum->majors)
		return;
	if (sum->timed)
		report_head(r, REPORT_PLAIN, "major faults cost %s, %s each; %s of %s were timed", ns_text(ns, sum->major_ns),
			    ns_text(each, sum->major_ns / sum->timed), text_count(timed, sum->timed), text_count(majors, sum->majors));
	if (sum->kernel_majors)
		report_head(r, REPORT_PLAIN, "%s of the major faults were in the kernel, in a system call: not timed",
			    text_count(kernel, sum->kernel_majors));
}

/* What the kernel says, and what of it was not seen here. */
static void kernel_lines(const struct faults_view *v, struct report *r)
{
	const struct faults_summary *sum = faults_summary(v->source);
	uint64_t min = faults_unattributed(v->now->minflt, v->start->minflt), maj = faults_unattributed(v->now->majflt, v->start->majflt);
	uint64_t missed = faults_unattributed(min + maj, sum->own);
	char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX], c[TEXT_BYTES_MAX];

	if (!v->start->known || !v->now->known) {
		report_head(r, REPORT_WARN, "what the kernel has counted for the process is not known: it ended too soon");
		return;
	}
	report_head(r, REPORT_PLAIN, "the kernel's own counts: minflt +%s, majflt +%s; not attributed: %s%s", text_count(a, min),
		    text_count(b, maj), text_count(c, missed),
		    missed && faults_tells_how(v->source) ? " (had by the kernel in the process's memory, as in read() into a new buffer)" : "");
	if (sum->own > min + maj)
		report_head(r, REPORT_DIM, "%s faults more than the kernel counted: they ended in a signal, or were handled again",
			    text_count(c, sum->own - min - maj));
}

static void growth_lines(const struct faults_view *v, struct report *r)
{
	const struct target_memory *a = &v->start->memory, *b = &v->now->memory;
	char from[TEXT_BYTES_MAX], to[TEXT_BYTES_MAX], net[TEXT_BYTES_MAX], anon[TEXT_BYTES_MAX], file[TEXT_BYTES_MAX],
	     shmem[TEXT_BYTES_MAX], huge[TEXT_BYTES_MAX];

	if (!a->rss_bytes || !b->rss_bytes)
		return;
	report_head(r, REPORT_PLAIN, "net: RSS %s → %s = %s: anonymous %s, files %s, shared %s", text_bytes(from, a->rss_bytes, false),
		    text_bytes(to, b->rss_bytes, false), text_bytes(net, (int64_t)(b->rss_bytes - a->rss_bytes), true),
		    text_bytes(anon, (int64_t)(b->anon_bytes - a->anon_bytes), true),
		    text_bytes(file, (int64_t)(b->file_bytes - a->file_bytes), true),
		    text_bytes(shmem, (int64_t)(b->shmem_bytes - a->shmem_bytes), true));
	if (faults_summary(v->source)->huge && v->start->huge_known && v->now->huge_known)
		report_head(r, REPORT_PLAIN, "huge pages: AnonHugePages %s; each was made by one fault, which counts as one page here",
			    text_bytes(huge, (int64_t)(v->now->anon_huge_bytes - v->start->anon_huge_bytes), true));
}

static int memory_compare(const void *pa, const void *pb, void *ctx)
{
	const uint64_t *n = ctx;
	int a = *(const int *)pa, b = *(const int *)pb;

	return n[a] != n[b] ? (n[a] < n[b]) - (n[a] > n[b]) : a - b;
}

/* "malloc heap 71 %, thread stacks 12 %": at most max of them. */
static void memories_add(struct text *t, const uint64_t n[FAULTS_MEMORIES], int max)
{
	int order[FAULTS_MEMORIES];
	uint64_t sum = 0;

	for (int m = 0; m < FAULTS_MEMORIES; m++) {
		order[m] = m;
		sum += n[m];
	}
	qsort_r(order, FAULTS_MEMORIES, sizeof(order[0]), memory_compare, (void *)n);
	for (int i = 0; i < max && i < FAULTS_MEMORIES && n[order[i]]; i++)
		if (n[order[i]] == sum)
			text_add(t, faults_memory_label(order[i]));
		else
			text_printf(t, "%s%s %.0f %%", i ? ", " : "", faults_memory_label(order[i]), 100.0 * n[order[i]] / sum);
}

static void memory_line(const struct faults_view *v, struct report *r)
{
	const struct faults_summary *sum = faults_summary(v->source);
	uint64_t n[FAULTS_MEMORIES] = { 0 };
	struct text t = { 0 };

	for (int m = 0; m < FAULTS_MEMORIES; m++)
		for (int how = 0; how < FAULTS_HOWS; how++)
			n[m] += sum->counts[m][how];
	memories_add(&t, n, FAULTS_MEMORIES);
	if (t.len)
		report_head(r, REPORT_PLAIN, "memory: %s", t.str);
	text_free(&t);
}

static void since_line(const struct faults_view *v, struct report *r)
{
	char clock[32], kernel[TEXT_BYTES_MAX], rates[TEXT_BYTES_MAX];
	time_t wall = v->start_wall_s;
	struct tm tm;

	localtime_r(&wall, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	report_head(r, REPORT_DIM, "only faults since %s · rates of the last %s · books %s of kernel memory", clock,
		    text_duration(rates, v->recent_ns), text_bytes(kernel, v->kernel_bytes, false));
}

static void columns(const struct faults_view *v, struct report *r)
{
	const struct report_column list[] = {
		{ .title = "FAULTS", .right = true },
		{ .title = "PER S", .right = true },
		{ .title = "BYTES", .right = true },
		{ .title = faults_tells_how(v->source) ? "FIRST" : "MINOR", .right = true },
		{ .title = "COPIED", .right = true },
		{ .title = "MAJOR", .right = true },
		{ .title = "MAJOR TIME", .right = true },
		{ .title = "MEMORY" },
		{ .title = v->rows->by_process ? "PROCESS" : "YOUR CODE", .elastic = true },
	};

	report_columns(r, list, sizeof(list) / sizeof(list[0]));
}

static void count_cell(struct report *r, uint64_t n)
{
	char buf[TEXT_BYTES_MAX];

	report_cell(r, "%s", n ? text_count(buf, n) : "–");
}

static void numbers(const struct faults_view *v, struct report *r, const struct faults_row *row)
{
	const uint64_t *h = row->hows;
	char buf[TEXT_BYTES_MAX];

	report_cell(r, "%s", text_count(buf, row->faults));
	report_cell(r, "%s", rate_text(buf, row->recent, v->recent_ns));
	report_cell(r, "%s%s", row->huge ? "≥" : "", text_bytes(buf, row->bytes, false));
	count_cell(r, h[FAULTS_FIRST] + h[FAULTS_ZERO] + h[FAULTS_DIRTIED] + h[FAULTS_MINOR]);
	if (faults_tells_how(v->source))
		count_cell(r, h[FAULTS_COPIED]);
	else
		report_cell(r, "?");
	count_cell(r, h[FAULTS_MAJOR]);
	report_cell(r, "%s", row->major_ns ? ns_text(buf, row->major_ns) : "–");
}

/* "fill cache.c:41 via malloc", and in *ret_at where the callers begin; -1 for a label. */
static int path_name(const struct profile *p, uint32_t stack, struct text *t)
{
	struct stack st = faults_rows_stack(p, stack);
	int at = chain_start(p, &st);
	const struct frame *f;

	if (at < 0) {
		text_add(t, st.label ? st.label : "[no frames]");
		return -1;
	}
	f = profile_frame_at(p, st.frames[at]);
	chain_add_name(t, f);
	chain_add_place(t, f);
	if (at) {
		text_add(t, " via ");
		chain_add_name(t, profile_frame_at(p, st.frames[at - 1]));
	}
	return at;
}

static void code_cell(const struct faults_view *v, struct report *r, const struct faults_row *row)
{
	struct stack st = faults_rows_stack(v->profile, row->best_stack);
	struct text name = { 0 }, callers = { 0 };
	int at = path_name(v->profile, row->best_stack, &name);

	report_cell(r, "%s", text_str(&name));
	if (at >= 0)
		chain_add(&callers, v->profile, &st, at + 1, 4);
	if (callers.len)
		report_detail(r, "< %s", callers.str);
	text_free(&name);
	text_free(&callers);
}

static void process_cell(const struct faults_view *v, struct report *r, const struct faults_row *row, const struct faults_rows *paths)
{
	const struct process *p = profile_process_at(v->profile, row->process);
	struct faults_process state = faults_process_at(v->source, row->process);
	int shown = 0;

	if (p->pid)
		report_cell(r, "%s[%d]%s", p->comm, p->pid, state.ended ? " (ended)" : "");
	else
		report_cell(r, "%s (another pid namespace)", p->comm);
	for (size_t i = 0; i < paths->cnt && shown < PATHS_A_PROCESS; i++) {
		const struct faults_row *path = &paths->list[i];
		struct text name = { 0 };
		char n[TEXT_BYTES_MAX];

		if (path->process != row->process)
			continue;
		path_name(v->profile, path->best_stack, &name);
		report_detail(r, "%s %s", text_count(n, path->faults), text_str(&name));
		text_free(&name);
		shown++;
	}
}

static void row_write(const struct faults_view *v, struct report *r, const struct faults_row *row, const struct faults_rows *paths)
{
	struct text memory = { 0 };

	report_row(r, row->hows[FAULTS_MAJOR] ? REPORT_WARN : REPORT_PLAIN);
	numbers(v, r, row);
	memories_add(&memory, row->memories, 1);
	report_cell(r, "%s", text_str(&memory));
	if (v->rows->by_process)
		process_cell(v, r, row, paths);
	else
		code_cell(v, r, row);
	if (v->verbose && row->memories[faults_row_memory(row)] != row->faults) {
		text_clear(&memory);
		memories_add(&memory, row->memories, FAULTS_MEMORIES);
		report_detail(r, "in %s", text_str(&memory));
	}
	text_free(&memory);
}

static void other_row(const struct faults_view *v, struct report *r, size_t from)
{
	struct faults_row sum = { .process = 0 };

	if (from >= v->rows->cnt)
		return;
	for (size_t i = from; i < v->rows->cnt; i++) {
		const struct faults_row *row = &v->rows->list[i];

		sum.faults += row->faults;
		sum.recent += row->recent;
		sum.bytes += row->bytes;
		sum.major_ns += row->major_ns;
		sum.huge |= row->huge;
		for (int how = 0; how < FAULTS_HOWS; how++)
			sum.hows[how] += row->hows[how];
	}
	report_row(r, REPORT_DIM);
	numbers(v, r, &sum);
	report_cell(r, "%s", "");
	report_cell(r, "%zu more %s (--top)", v->rows->cnt - from, v->rows->by_process ? "processes" : "paths");
}

static void foot_lines(const struct faults_view *v, struct report *r)
{
	const struct faults_summary *sum = faults_summary(v->source);
	char n[TEXT_BYTES_MAX];

	if (sum->without_stack)
		report_foot(r, REPORT_WARN, "%s faults have no row: their stack or their process has not arrived", text_count(n, sum->without_stack));
	if (v->exited)
		report_foot(r, REPORT_PLAIN, "the process has ended");
	if (!total(sum))
		report_foot(r, REPORT_PLAIN, "no page faults were seen: nothing new was touched");
	if (v->rows->by_process && v->rows->cnt && command_find("faults") && profile_process_at(v->profile, v->rows->list[0].process)->pid)
		report_foot(r, REPORT_DIM, "next: sudo ebb faults %d   by code path",
			    profile_process_at(v->profile, v->rows->list[0].process)->pid);
	else if (v->one && command_find("mem"))
		report_foot(r, REPORT_DIM, "next: sudo ebb mem %d   what is resident, and which part of it grows", v->pid);
	else if (v->one)
		report_foot(r, REPORT_DIM, "next: sudo ebb leak %d   what of it is never given back", v->pid);
}

int faults_report(const struct faults_view *v, struct report **ret)
{
	struct faults_rows paths = { .profile = v->profile, .source = v->source, .tag = faults_tag_at };
	struct report *r = report_new();
	size_t shown = v->rows->cnt < v->top ? v->rows->cnt : v->top;
	int err = r ? 0 : -ENOMEM;

	if (!err && v->rows->by_process)
		err = faults_rows_make(&paths, v->type);
	if (err)
		goto out;
	head_line(v, r);
	kinds_line(v, r);
	major_line(v, r);
	memory_line(v, r);
	if (v->one) {
		kernel_lines(v, r);
		growth_lines(v, r);
	}
	since_line(v, r);
	columns(v, r);
	for (size_t i = 0; i < shown; i++)
		row_write(v, r, &v->rows->list[i], &paths);
	other_row(v, r, shown);
	foot_lines(v, r);
	err = report_failed(r) ? -ENOMEM : 0;
out:
	faults_rows_close(&paths);
	if (err)
		r = report_free(r);
	else
		*ret = r;
	return err;
}
