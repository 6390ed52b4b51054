/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A document that only grows. The first thing that goes wrong, short memory or a call out of order, marks
 * it as failed; the calls stay harmless afterwards, so that a command checks once, at the end.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "profile/report.h"

struct line {
	char *str;
	enum report_style style;
};

struct lines {
	struct line *at;
	size_t cnt;
	size_t size;
};

struct row {
	struct lines cells;
	struct lines details;
	enum report_style style;
};

struct report {
	struct lines parts[REPORT_FOOT + 1];
	struct report_column *columns;	/* titles are owned */
	size_t columns_cnt;
	struct row *rows;
	size_t rows_cnt;
	size_t rows_size;
	bool failed;
};

struct report *report_new(void)
{
	return calloc(1, sizeof(struct report));
}

static void lines_free(struct lines *lines)
{
	for (size_t i = 0; i < lines->cnt; i++)
		free(lines->at[i].str);
	free(lines->at);
}

static void columns_free(struct report *r)
{
	for (size_t i = 0; i < r->columns_cnt; i++)
		free((char *)r->columns[i].title);
	free(r->columns);
	r->columns = NULL;
	r->columns_cnt = 0;
}

struct report *report_free(struct report *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < sizeof(r->parts) / sizeof(r->parts[0]); i++)
		lines_free(&r->parts[i]);
	for (size_t i = 0; i < r->rows_cnt; i++) {
		lines_free(&r->rows[i].cells);
		lines_free(&r->rows[i].details);
	}
	columns_free(r);
	free(r->rows);
	free(r);
	return NULL;
}

static bool lines_add(struct lines *lines, enum report_style style, const char *fmt, va_list args)
{
	struct text t = { 0 };

	if (lines->cnt == lines->size) {
		size_t size = lines->size ? lines->size * 2 : 8;
		struct line *at = realloc(lines->at, size * sizeof(*at));

		if (!at)
			return false;
		lines->at = at;
		lines->size = size;
	}
	text_vprintf(&t, fmt, args);
	if (t.failed || !t.str) {
		text_free(&t);
		return false;
	}
	lines->at[lines->cnt++] = (struct line){ .str = t.str, .style = style };
	return true;
}

void report_head(struct report *r, enum report_style style, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	r->failed |= !lines_add(&r->parts[REPORT_HEAD], style, fmt, args);
	va_end(args);
}

void report_foot(struct report *r, enum report_style style, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	r->failed |= !lines_add(&r->parts[REPORT_FOOT], style, fmt, args);
	va_end(args);
}

void report_columns(struct report *r, const struct report_column *columns, size_t cnt)
{
	if (r->columns || r->rows_cnt)
		goto failed;
	r->columns = calloc(cnt, sizeof(*r->columns));
	if (!r->columns)
		goto failed;
	for (; r->columns_cnt < cnt; r->columns_cnt++) {
		struct report_column *c = &r->columns[r->columns_cnt];

		*c = columns[r->columns_cnt];
		c->title = strdup(c->title);
		if (!c->title)
			goto failed;
	}
	return;
failed:
	r->failed = true;
}

void report_row(struct report *r, enum report_style style)
{
	if (r->rows_cnt == r->rows_size) {
		size_t size = r->rows_size ? r->rows_size * 2 : 16;
		struct row *rows = realloc(r->rows, size * sizeof(*rows));

		if (!rows) {
			r->failed = true;
			return;
		}
		r->rows = rows;
		r->rows_size = size;
	}
	r->rows[r->rows_cnt++] = (struct row){ .style = style };
}

void report_cell(struct report *r, const char *fmt, ...)
{
	struct row *row = r->rows_cnt ? &r->rows[r->rows_cnt - 1] : NULL;
	va_list args;

	if (!row || row->cells.cnt >= r->columns_cnt) {
		r->failed = true;
		return;
	}
	va_start(args, fmt);
	r->failed |= !lines_add(&row->cells, REPORT_PLAIN, fmt, args);
	va_end(args);
}

void report_detail(struct report *r, const char *fmt, ...)
{
	va_list args;

	if (!r->rows_cnt) {
		r->failed = true;
		return;
	}
	va_start(args, fmt);
	r->failed |= !lines_add(&r->rows[r->rows_cnt - 1].details, REPORT_DIM, fmt, args);
	va_end(args);
}

bool report_failed(const struct report *r)
{
	return r->failed;
}

size_t report_lines_cnt(const struct report *r, enum report_part part)
{
	return r->parts[part].cnt;
}

const char *report_line(const struct report *r, enum report_part part, size_t i, enum report_style *ret_style)
{
	*ret_style = r->parts[part].at[i].style;
	return r->parts[part].at[i].str;
}

size_t report_columns_cnt(const struct report *r)
{
	return r->columns_cnt;
}

const struct report_column *report_column_at(const struct report *r, size_t i)
{
	return &r->columns[i];
}

size_t report_rows_cnt(const struct report *r)
{
	return r->rows_cnt;
}

enum report_style report_row_style(const struct report *r, size_t row)
{
	return r->rows[row].style;
}

const char *report_row_cell(const struct report *r, size_t row, size_t column)
{
	const struct lines *cells = &r->rows[row].cells;

	return column < cells->cnt ? cells->at[column].str : "";
}

size_t report_row_details_cnt(const struct report *r, size_t row)
{
	return r->rows[row].details.cnt;
}

const char *report_row_detail(const struct report *r, size_t row, size_t i)
{
	return r->rows[row].details.at[i].str;
}
