/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lays a report out as text:
 *
 *	head lines, wrapped
 *
 *	TITLE   TITLE  TITLE        columns as wide as their widest cell, two spaces between them
 *	cell     cell  elastic…     the last column has what is left of the width, and is cut there
 *	                 detail     below the row, two columns into the last one
 *	foot lines, wrapped
 *
 * A line is composed as plain text and cut or wrapped as a whole; the colour goes around it at the end, so it
 * never counts as width. Head and foot are wrapped and not cut, since that is where losses are said.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "output/output.h"

#define GAP 2			/* spaces between columns, and before a detail or a wrapped line's rest */
#define WIDTH_MIN 16u		/* narrower than this a wrapped line could not even hold a word */

struct drawing {
	FILE *out;		/* NULL: only count */
	const struct report *report;
	size_t *widths;		/* of the columns */
	unsigned int width;	/* 0 = endless */
	bool color;
	bool failed;		/* out of memory */
	unsigned int lines_cnt;
};

static const char *style_sgr(enum report_style style)
{
	switch (style) {
	case REPORT_BAD:
		return "\x1b[1;31m";
	case REPORT_WARN:
		return "\x1b[33m";
	case REPORT_GOOD:
		return "\x1b[32m";
	case REPORT_DIM:
		return "\x1b[2m";
	case REPORT_BOLD:
		return "\x1b[1m";
	case REPORT_PLAIN:
		break;
	}
	return "";
}

static void line_write(struct drawing *d, enum report_style style, const char *str, size_t len, const char *end)
{
	const char *sgr = d->color && len ? style_sgr(style) : "";

	d->lines_cnt++;
	if (d->out)
		fprintf(d->out, "%s%.*s%s%s\n", sgr, (int)len, str, end, *sgr ? "\x1b[0m" : "");
}

static size_t without_spaces(const char *str, size_t len)
{
	while (len && str[len - 1] == ' ')
		len--;
	return len;
}

/* A line of the table: no spaces at its end, and cut at the width. */
static void line_cut(struct drawing *d, enum report_style style, const struct text *line)
{
	const char *str = text_str(line);
	size_t len = without_spaces(str, line->len);

	d->failed |= line->failed;
	if (!d->width || text_fit(str, d->width) >= len)
		line_write(d, style, str, len, "");
	else
		line_write(d, style, str, without_spaces(str, text_fit(str, d->width - 1)), "…");
}

static void pad(struct text *t, size_t columns)
{
	while (columns--)
		text_add(t, " ");
}

/* How much of str goes into this line, of which fit bytes have room: up to a space, if there is one. */
static size_t wrap_at(const char *str, size_t fit)
{
	size_t start = strspn(str, " "), len = fit;

	if (!str[fit])
		return fit;
	while (len > start && str[len] != ' ')
		len--;
	return len > start ? without_spaces(str, len) : fit;
}

/* A line of head or foot: its rest goes into further lines, indented by as much as it is itself and a little more. */
static void line_wrap(struct drawing *d, enum report_style style, const char *raw)
{
	struct text safe = { 0 }, line = { 0 };
	size_t indent = 0, below, len;
	const char *rest;

	text_add_safe(&safe, raw);
	rest = text_str(&safe);
	below = strspn(rest, " ") + GAP;
	/* in a narrow terminal there is no room to waste */
	if (d->width && below > d->width / 4)
		below = GAP;
	do {
		len = wrap_at(rest, d->width ? text_fit(rest, d->width - indent) : strlen(rest));
		text_clear(&line);
		pad(&line, indent);
		text_add_len(&line, rest, len);
		d->failed |= line.failed;
		line_write(d, style, text_str(&line), line.len, "");
		rest += len;
		rest += strspn(rest, " ");
		indent = below;
	} while (*rest);
	d->failed |= safe.failed;
	text_free(&safe);
	text_free(&line);
}

/* A cell and the gap behind it. The last one of a line needs no filling. */
static void cell_add(struct drawing *d, struct text *line, size_t column, const char *raw)
{
	const struct report_column *c = report_column_at(d->report, column);
	struct text safe = { 0 };
	size_t width, room = d->widths[column];

	text_add_safe(&safe, raw);
	width = text_width(text_str(&safe));
	if (c->right && width < room)
		pad(line, room - width);
	text_add(line, text_str(&safe));
	if (column + 1 < report_columns_cnt(d->report))
		pad(line, (c->right || width > room ? 0 : room - width) + GAP);
	d->failed |= safe.failed;
	text_free(&safe);
}

static void widths_measure(struct drawing *d)
{
	const struct report *r = d->report;

	for (size_t c = 0; c < report_columns_cnt(r); c++) {
		d->widths[c] = text_width(report_column_at(r, c)->title);
		for (size_t row = 0; row < report_rows_cnt(r); row++) {
			char *safe = text_safe(report_row_cell(r, row, c));
			size_t width = safe ? text_width(safe) : 0;

			d->failed |= !safe;
			if (width > d->widths[c])
				d->widths[c] = width;
			free(safe);
		}
	}
}

static void rows_draw(struct drawing *d)
{
	const struct report *r = d->report;
	size_t columns_cnt = report_columns_cnt(r), indent = GAP;
	struct text line = { 0 };

	for (size_t c = 0; c < columns_cnt; c++)
		cell_add(d, &line, c, report_column_at(r, c)->title);
	line_cut(d, REPORT_BOLD, &line);
	/* details stand in the last column */
	for (size_t c = 0; c + 1 < columns_cnt; c++)
		indent += d->widths[c] + GAP;
	for (size_t row = 0; row < report_rows_cnt(r); row++) {
		text_clear(&line);
		for (size_t c = 0; c < columns_cnt; c++)
			cell_add(d, &line, c, report_row_cell(r, row, c));
		line_cut(d, report_row_style(r, row), &line);
		for (size_t i = 0; i < report_row_details_cnt(r, row); i++) {
			text_clear(&line);
			pad(&line, indent);
			text_add_safe(&line, report_row_detail(r, row, i));
			line_cut(d, REPORT_DIM, &line);
		}
	}
	text_free(&line);
}

static void lines_draw(struct drawing *d, enum report_part part)
{
	for (size_t i = 0; i < report_lines_cnt(d->report, part); i++) {
		enum report_style style;
		const char *str = report_line(d->report, part, i, &style);

		line_wrap(d, style, str);
	}
}

static int report_draw(struct drawing *d)
{
	size_t columns_cnt = report_columns_cnt(d->report);

	if (d->width && d->width < WIDTH_MIN)
		d->width = WIDTH_MIN;
	d->widths = calloc(columns_cnt + 1, sizeof(*d->widths));
	if (!d->widths)
		return -ENOMEM;
	lines_draw(d, REPORT_HEAD);
	if (columns_cnt) {
		if (report_lines_cnt(d->report, REPORT_HEAD))
			line_write(d, REPORT_PLAIN, "", 0, "");
		widths_measure(d);
		rows_draw(d);
	}
	lines_draw(d, REPORT_FOOT);
	free(d->widths);
	return d->failed ? -ENOMEM : 0;
}

int table_write(FILE *out, const struct report *r, const struct table_options *opt)
{
	struct drawing d = { .out = out, .report = r, .width = opt->width, .color = opt->color };
	int err;

	if (report_failed(r))
		return -ENOMEM;
	errno = 0;
	err = report_draw(&d);
	if (ferror(out))
		return errno ? -errno : -EIO;
	return err;
}

unsigned int table_lines(const struct report *r, const struct table_options *opt)
{
	struct drawing d = { .report = r, .width = opt->width };

	report_draw(&d);
	return d.lines_cnt;
}
