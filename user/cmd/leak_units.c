/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/command.h"
#include "cmd/leak_units.h"

#define MIB	(1024.0 * 1024)
/* Of a process that has ended only what it allocated counts: it holds nothing any more. */
#define ALLOCATED	(1u << LEAK_ALLOC_BYTES | 1u << LEAK_ALLOC_BLOCKS)
#define ALL		(~0u)

static struct leak_unit *unit_free(struct leak_unit *u)
{
	if (u->rows_opened)
		rows_close(&u->rows);
	merge_close(u->merge);
	free(u->exe);
	free(u->comm);
	free(u);
	return NULL;
}

void leak_units_close(struct leak_units *u)
{
	while (u->list) {
		struct leak_unit *next = u->list->next;

		unit_free(u->list);
		u->list = next;
	}
}

static struct leak_unit *unit_of(const struct leak_units *u, const struct leak_member *m)
{
	struct leak_unit *unit = u->list;

	while (unit && strcmp(unit->exe, m->exe))
		unit = unit->next;
	return unit;
}

static int unit_add(struct leak_units *u, const struct leak_member *m)
{
	struct leak_unit *unit = calloc(1, sizeof(*unit));
	int process = -ENOMEM;

	if (!unit)
		return -ENOMEM;
	unit->exe = strdup(m->exe);
	unit->comm = strdup(m->comm);
	unit->merge = merge_open(m->shared->values);
	if (unit->merge && unit->exe && unit->comm)
		process = merge_process(unit->merge, m->pid, m->comm);
	if (process >= 0) {
		unit->process = process;
		unit->start_ns = m->session.start_ns;
		unit->start_wall_s = m->session.start_wall_s;
		unit->rows_opened = !rows_open(&unit->rows, merge_profile(unit->merge), u->args->raw, unit->start_ns);
	}
	if (!unit->rows_opened) {
		unit_free(unit);
		return -ENOMEM;
	}
	unit->next = u->list;
	u->list = unit;
	return 0;
}

int leak_units_join(struct leak_units *u, struct leak_member *m)
{
	struct leak_unit *unit;

	if (!u->args->merge || !leak_wants_table(u->args))
		return EXIT_DONE;
	if (!unit_of(u, m) && unit_add(u, m)) {
		log_error(-ENOMEM, "out of memory");
		return EXIT_FAILED;
	}
	unit = unit_of(u, m);
	m->cutoff_rows = &unit->rows;
	return EXIT_DONE;
}

/* Whether its memory is there: it has not ended, nor become another program. */
static bool is_living(const struct leak_member *m)
{
	return m->opened && m->session.end != SESSION_EXITED && m->session.end != SESSION_EXECED;
}

static void memory_add(struct target_memory *sum, const struct target_memory *m)
{
	sum->rss_bytes += m->rss_bytes;
	sum->anon_bytes += m->anon_bytes;
	sum->file_bytes += m->file_bytes;
	sum->shmem_bytes += m->shmem_bytes;
	sum->heap_bytes += m->heap_bytes;
}

/* Those that live count; where none does any more, what they held at their ends. */
static bool counts(const struct leak_unit *unit, const struct leak_member *m)
{
	return is_living(m) || !unit->living_cnt;
}

static int unit_update(struct leak_unit *unit, const struct leak_units *u, struct leak_member *const *members, size_t cnt,
		       uint64_t now_ns)
{
	int err = 0;

	unit->members_cnt = unit->living_cnt = 0;
	unit->memory_start = unit->memory_now = (struct target_memory){ 0 };
	unit->cutoff_ns = UINT64_MAX;
	for (size_t i = 0; i < cnt; i++) {
		bool ours = members[i]->profile && unit_of(u, members[i]) == unit;

		unit->members_cnt += ours;
		unit->living_cnt += ours && is_living(members[i]);
	}
	merge_begin(unit->merge);
	for (size_t i = 0; !err && i < cnt; i++) {
		struct leak_member *m = members[i];

		if (!m->profile || unit_of(u, m) != unit)
			continue;
		err = merge_add(unit->merge, &m->merged, m->profile, unit->process, counts(unit, m) ? ALL : ALLOCATED);
		if (!counts(unit, m))
			continue;
		memory_add(&unit->memory_start, &m->memory_start);
		memory_add(&unit->memory_now, &m->memory_now);
		/* they were told the same moment, but for one that is new */
		if (m->cutoff_ns < unit->cutoff_ns)
			unit->cutoff_ns = m->cutoff_ns;
	}
	if (unit->cutoff_ns == UINT64_MAX)
		unit->cutoff_ns = 0;
	return err ? err : rows_update(&unit->rows, now_ns);
}

int leak_units_update(struct leak_units *u, struct leak_member *const *members, size_t cnt, uint64_t now_ns)
{
	int err = 0;

	for (struct leak_unit *unit = u->list; !err && unit; unit = unit->next)
		err = unit_update(unit, u, members, cnt, now_ns);
	return err ? log_error(err, "merging what was found: %s", strerror(-err)) : 0;
}

int leak_units_keep(struct leak_units *u, struct leak_member *m)
{
	struct leak_unit *unit = u->args->merge ? unit_of(u, m) : NULL;

	return unit && m->profile ? merge_keep(unit->merge, &m->merged, m->profile, ALLOCATED) : 0;
}

/* A line of the table. */
struct line {
	struct leak_view view;
	struct text who;	/* for the head of its report */
	struct text name;	/* for the line */
};

struct lines {
	struct line *list;
	size_t cnt;
};

static void lines_free(struct lines *ls)
{
	for (size_t i = 0; i < ls->cnt; i++) {
		text_free(&ls->list[i].who);
		text_free(&ls->list[i].name);
	}
	free(ls->list);
}

/* The largest of the members' costs: each pays for itself. */
static double unit_cost(const struct leak_units *u, const struct leak_unit *unit, struct leak_member *const *members, size_t cnt)
{
	double most = -1;

	for (size_t i = 0; i < cnt; i++) {
		double cost = members[i]->opened && unit_of(u, members[i]) == unit ? meter_cost_percent(&members[i]->session.meter) : -1;

		most = cost > most ? cost : most;
	}
	return most;
}

static void line_of_unit(const struct leak_units *u, struct leak_unit *unit, struct leak_member *const *members, size_t cnt,
			 uint64_t now_ns, struct line *line)
{
	const struct leak_args *args = u->args;

	text_printf(&line->name, "%s ×%zu", unit->comm, unit->living_cnt);
	text_printf(&line->who, "%s ×%zu %s", unit->comm, unit->living_cnt, unit->exe);
	if (unit->members_cnt > unit->living_cnt)
		text_printf(&line->who, " (%zu ended%s)", unit->members_cnt - unit->living_cnt,
			    unit->living_cnt ? ": they count as allocated only" : "");
	line->view = (struct leak_view){
		.who = text_str(&line->who), .comm = unit->comm, .profile = merge_profile(unit->merge), .rows = &unit->rows,
		.memory_start = unit->memory_start, .memory_now = unit->memory_now, .cutoff_ns = unit->cutoff_ns,
		.start_ns = unit->start_ns, .now_ns = now_ns, .start_wall_s = unit->start_wall_s,
		.cost_percent = unit_cost(u, unit, members, cnt),
		.type = args->value, .top = args->top, .pairs = args->pairs.cnt != 0, .older = args->older_ns != 0,
		.verbose = args->verbose, .limit_percent = args->max_overhead,
	};
	for (size_t i = 0; i < cnt; i++)
		if (members[i]->session.source && unit_of(u, members[i]) == unit)
			line->view.kernel_bytes += leak_source.kernel_bytes(members[i]->session.source);
}

static void line_of_member(const struct leak_member *m, struct line *line)
{
	text_printf(&line->name, "%s[%d]", m->comm, (int)m->pid);
	leak_member_name(m, &line->who);
	leak_member_view(m, text_str(&line->who), &line->view);
}

static const struct row *first_row(const struct line *line)
{
	const struct rows *r = line->view.rows;

	return r->cnt && leak_row_has_any(r->list[0]) ? r->list[0] : NULL;
}

/* As their first rows: what leaks first, then by what grew, then by what is held. */
static int line_compare(const void *pa, const void *pb)
{
	const struct line *a = pa, *b = pb;
	const struct row *x = first_row(a), *y = first_row(b);
	int64_t held_a = leak_view_held(&a->view), held_b = leak_view_held(&b->view);

	if (!x || !y)
		return (x == NULL) - (y == NULL);
	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->class < TREND_CACHE && x->last_bytes != y->last_bytes)
		return x->last_bytes > y->last_bytes ? -1 : 1;
	if (held_a != held_b)
		return held_a > held_b ? -1 : 1;
	return a->view.pid - b->view.pid;
}

static int lines_fill(struct leak_units *u, struct leak_member *const *members, size_t cnt, uint64_t now_ns, struct lines *ls)
{
	size_t max = cnt;

	for (struct leak_unit *unit = u->list; unit; unit = unit->next)
		max++;
	ls->list = calloc(max + 1, sizeof(*ls->list));
	if (!ls->list)
		return -ENOMEM;
	for (struct leak_unit *unit = u->list; unit; unit = unit->next)
		line_of_unit(u, unit, members, cnt, now_ns, &ls->list[ls->cnt++]);
	for (size_t i = 0; !u->args->merge && i < cnt; i++)
		if (members[i]->rows_opened)
			line_of_member(members[i], &ls->list[ls->cnt++]);
	for (size_t i = 0; i < ls->cnt; i++) {
		ls->list[i].view.is_part = true;
		leak_view_classify(&ls->list[i].view);
	}
	qsort(ls->list, ls->cnt, sizeof(*ls->list), line_compare);
	return 0;
}

static void heads(const struct leak_units *u, const struct leak_units_facts *f, const struct lines *ls, struct report *r)
{
	char duration[TEXT_BYTES_MAX], kernel[TEXT_BYTES_MAX], limit[TEXT_BYTES_MAX], lost[TEXT_BYTES_MAX];
	uint64_t kernel_bytes = 0, lost_cnt = 0;
	double most = -1, start = 0, now = 0;

	for (size_t i = 0; i < ls->cnt; i++) {
		const struct leak_view *v = &ls->list[i].view;

		kernel_bytes += v->kernel_bytes;
		lost_cnt += profile_lost(v->profile);
		if (v->end != SESSION_BRAKE)
			most = v->cost_percent > most ? v->cost_percent : most;
		start += v->memory_start.rss_bytes / MIB;
		now += v->memory_now.rss_bytes / MIB;
	}
	report_head(r, lost_cnt || f->unfit_cnt ? REPORT_BAD : most > METER_WARN_PERCENT ? REPORT_WARN : REPORT_BOLD,
		    "leak  %zu process%s%s%s%s · %s · exact · the dearest costs %.1f %% · lost %s", f->members_cnt,
		    f->members_cnt == 1 ? "" : "es", f->what ? " of " : "", f->what ? f->what : "", u->args->merge ? ", merged by executable" : "",
		    text_duration(duration, f->now_ns - f->start_ns), most < 0 ? 0 : most, text_count(lost, lost_cnt));
	report_head(r, REPORT_PLAIN, "RSS %.0f → %.0f MiB = %+.1f in all, what they share counted in each · %zu ended · books %s of "
		    "kernel memory, %s at most", start, now, now - start, f->ended_cnt,
		    text_bytes(kernel, kernel_bytes, false), text_bytes(limit, f->max_memory_bytes, false));
	if (f->unfit_cnt)
		report_head(r, REPORT_BAD, "%zu more are not watched: their books do not fit into --max-memory; the largest processes came "
			    "first", f->unfit_cnt);
	if (f->unwatched_cnt > f->unfit_cnt)
		report_head(r, REPORT_WARN, "%zu more are not watched: they could not be attached to, see above",
			    f->unwatched_cnt - f->unfit_cnt);
	if (f->unseen_cnt)
		report_head(r, REPORT_WARN, "at least %llu more were born and had ended before they were watched",
			    (unsigned long long)f->unseen_cnt);
}

static void line_write(const struct line *line, struct report *r)
{
	const struct leak_view *v = &line->view;
	const struct row *first = first_row(line);
	char buf[TEXT_BYTES_MAX];
	struct text code = { 0 };

	report_row(r, first ? leak_class_styles[first->class] : REPORT_DIM);
	report_cell(r, "%s", first ? trend_class_name(first->class) : "–");
	report_cell(r, "%s%s", text_str(&line->name), v->end == SESSION_EXITED ? " ended" : v->end == SESSION_BRAKE ? " braked" :
		    v->end == SESSION_EXECED ? " exec" : "");
	report_cell(r, "%s", text_bytes(buf, v->memory_now.rss_bytes, false));
	report_cell(r, "%s", text_bytes(buf, (int64_t)v->memory_now.rss_bytes - (int64_t)v->memory_start.rss_bytes, true));
	leak_value_cell(v, r, v->type == LEAK_HELD_BYTES ? leak_view_held(v) : profile_total(v->profile, v->type));
	leak_growth_cell(v, r, first ? first->last_bytes : 0);
	if (first)
		leak_row_name(v, first, &code);
	report_cell(r, "%s", text_str(&code));
	text_free(&code);
}

static int table_make(struct leak_units *u, const struct leak_units_facts *f, const struct lines *ls, struct report **ret)
{
	static const char *const titles[LEAK_VALUES] = {
		[LEAK_HELD_BYTES] = "HELD", [LEAK_HELD_BLOCKS] = "BLOCKS", [LEAK_ALLOC_BYTES] = "ALLOCATED",
		[LEAK_ALLOC_BLOCKS] = "ALLOCS", [LEAK_PEAK_BYTES] = "PEAK",
	};
	const struct report_column columns[] = {
		{ .title = "CLASS" }, { .title = "PROCESS" }, { .title = "RSS", .right = true }, { .title = "GREW", .right = true },
		{ .title = titles[u->args->value], .right = true }, { .title = "ITS FIRST GREW", .right = true },
		{ .title = "ITS FIRST PATH", .elastic = true },
	};
	struct report *r = report_new();
	size_t shown = ls->cnt < u->args->top ? ls->cnt : u->args->top;

	if (!r)
		return -ENOMEM;
	heads(u, f, ls, r);
	report_columns(r, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < shown; i++)
		line_write(&ls->list[i], r);
	if (shown < ls->cnt)
		report_foot(r, REPORT_DIM, "%zu more lines (--top)", ls->cnt - shown);
	if (report_failed(r)) {
		report_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

/* The table, and the reports of those that it shows and that hold something. */
static int reports_make(struct leak_units *u, const struct leak_units_facts *f, const struct lines *ls, bool last,
			struct report ***ret, size_t *ret_cnt)
{
	size_t max = last ? (ls->cnt < u->args->top ? ls->cnt : u->args->top) : 0, cnt = 0;
	struct report **list = calloc(max + 1, sizeof(struct report *));
	int err = list ? table_make(u, f, ls, &list[0]) : -ENOMEM;

	cnt = !err;
	for (size_t i = 0; !err && i < max; i++) {
		ls->list[i].view.last = last;
		if (!first_row(&ls->list[i]))
			continue;
		err = leak_report(&ls->list[i].view, &list[cnt]);
		cnt += !err;
	}
	*ret = list;
	*ret_cnt = cnt;
	return err;
}

int leak_units_show(struct leak_units *u, struct leak_member *const *members, size_t cnt, const struct leak_units_facts *facts,
		    struct sink *sink, bool last)
{
	struct lines ls = { .list = NULL };
	struct report **reports = NULL;
	size_t reports_cnt = 0;
	int err = lines_fill(u, members, cnt, facts->now_ns, &ls);

	if (!err)
		err = reports_make(u, facts, &ls, last, &reports, &reports_cnt);
	if (err)
		log_error(err, "composing the report: out of memory");
	else
		err = sink_tables(sink, reports, reports_cnt, last);
	for (size_t i = 0; i < reports_cnt; i++)
		report_free(reports[i]);
	free(reports);
	lines_free(&ls);
	return err;
}

/* The process of the merged profile that a member's stacks begin with: the first that runs the same, or itself. */
static int root_of(const struct leak_units *u, struct merge *m, struct leak_member *const *members, size_t i, uint32_t *roots)
{
	struct text name = { 0 };
	int process;

	for (size_t j = 0; u->args->merge && j < i; j++)
		if (members[j]->profile && !strcmp(members[j]->exe, members[i]->exe))
			return roots[j];
	if (u->args->merge)
		text_add(&name, members[i]->comm);
	else
		text_printf(&name, "%s[%d]", members[i]->comm, (int)members[i]->pid);
	process = name.failed ? -ENOMEM : merge_process(m, members[i]->pid, text_str(&name));
	text_free(&name);
	return process;
}

struct merge *leak_units_merged(const struct leak_units *u, struct leak_member *const *members, size_t cnt)
{
	uint32_t *roots = calloc(cnt + 1, sizeof(*roots));
	struct merge *m = cnt && roots ? merge_open(members[0]->shared->values) : NULL;
	bool any = false;

	for (size_t i = 0; i < cnt; i++)
		any |= is_living(members[i]);
	for (size_t i = 0; m && i < cnt; i++) {
		struct merge_source source = { .stacks = NULL };
		int process, err = 0;

		if (!members[i]->profile)
			continue;
		process = root_of(u, m, members, i, roots);
		if (process >= 0) {
			roots[i] = process;
			err = merge_add(m, &source, members[i]->profile, process, is_living(members[i]) || !any ? ALL : ALLOCATED);
		}
		merge_source_free(&source);
		if (process < 0 || err)
			m = merge_close(m);
	}
	free(roots);
	return m;
}
