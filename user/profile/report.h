/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A report for people, before it is laid out: lines, a table, lines, what to do next. A command fills
 * it, output/table.c draws it. All text is copied in and may be raw: the writer makes it safe.
 */
#ifndef PROFILE_REPORT_H
#define PROFILE_REPORT_H

#include <stdbool.h>
#include <stddef.h>

struct report;

enum report_style { REPORT_PLAIN, REPORT_BAD, REPORT_WARN, REPORT_GOOD, REPORT_DIM, REPORT_BOLD };

struct report_column {
	const char *title;
	bool right;	/* align to the right */
	bool elastic;	/* takes what is left of the width, is cut with … when that is too little (one a table, the last) */
};

struct report *report_new(void);
struct report *report_free(struct report *r);

/* A line above the table. */
void report_head(struct report *r, enum report_style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The columns: before the first row. The table is copied. */
void report_columns(struct report *r, const struct report_column *columns, size_t cnt);
/* A new row; then its cells, from left to right; then any number of detail lines below it, in the elastic column. */
void report_row(struct report *r, enum report_style style);
void report_cell(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void report_detail(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line below the table. */
void report_foot(struct report *r, enum report_style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* True when memory was short somewhere: the report is incomplete and must not be shown as if it were not. */
bool report_failed(const struct report *r);

/* For the writer. */
enum report_part { REPORT_HEAD, REPORT_FOOT };
size_t report_lines_cnt(const struct report *r, enum report_part part);
const char *report_line(const struct report *r, enum report_part part, size_t i, enum report_style *ret_style);
size_t report_columns_cnt(const struct report *r);
const struct report_column *report_column_at(const struct report *r, size_t i);
size_t report_rows_cnt(const struct report *r);
enum report_style report_row_style(const struct report *r, size_t row);
const char *report_row_cell(const struct report *r, size_t row, size_t column);	/* "" when not set */
size_t report_row_details_cnt(const struct report *r, size_t row);
const char *report_row_detail(const struct report *r, size_t row, size_t i);

#endif
