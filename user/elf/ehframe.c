/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A span is what one FDE is about: a function, and the number of its program (cfi_rows.h). Spans are sorted, not rows:
 * there are a fifth as many. The rows of a program then come out in their order. A span ends where the next one begins,
 * whatever it says itself, as it does for a binary search in .eh_frame_hdr.
 *
 *	span a  |───────────|
 *	span b        |─────────|     |────| c
 *	rows    a a a  b b  b    gap   c c  gap
 *
 * Two things that no CFI says are added where none covers them: that nobody calls what the kernel jumps to (e_entry),
 * and musl's signal restorer.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "elf/cfi.h"
#include "elf/cfi_rows.h"
#include "elf/cfi_section.h"
#include "elf/ehframe.h"
#include "elf/image.h"
#include "elf/image_private.h"

#define ROWS_MAX	(16u << 20)	/* libLLVM has 1.2 million */
#define SPANS_MAX	(4u << 20)	/* it has 110,000 */
#define TEXTS_MAX	16		/* executable segments; files have one or two */
#define ENTRY_BYTES	64		/* _start is shorter everywhere */
#define RESTORER_SPANS	512		/* a file with more functions that have CFI was not built without it */
#define RESTORER_BYTES	(16u << 20)	/* of text to look through */
#define RESTORERS_MAX	16		/* places that look like it */
#define REG_RA		16	/* psABI x86-64, table 3.36 */
#define NONE		UINT32_MAX

struct span {
	uint64_t start;
	uint32_t len;
	uint32_t program;
};

struct text_range {
	uint64_t start, end;
};

struct builder {
	const struct image *img;
	struct text_range texts[TEXTS_MAX];
	size_t texts_cnt;
	struct cfi_section section;
	struct cfi_reader *reader;
	struct cfi_rows *rows;
	struct span *spans;
	size_t spans_cnt, spans_size;
	uint64_t left_out_cnt;
	/* programs of one rule, NONE while there is none */
	uint32_t signal, bad;
	/* the result */
	struct ehframe out;
	size_t out_size;
};

static void texts_find(struct builder *b)
{
	for (size_t i = 0; i < b->img->segment_cnt && b->texts_cnt < TEXTS_MAX; i++) {
		const struct image_segment *s = &b->img->segments[i];

		if (s->exec)
			b->texts[b->texts_cnt++] = (struct text_range){ .start = s->va, .end = s->va + s->file_bytes };
	}
}

/* What lies in no executable segment is no function. One that reaches out of it is cut. */
static int span_add(struct builder *b, uint64_t start, uint64_t end, uint32_t program)
{
	const struct text_range *text = b->texts, *last = b->texts + b->texts_cnt;

	while (text < last && (start < text->start || start >= text->end))
		text++;
	if (text == last || !start) {
		b->left_out_cnt++;
		return 0;
	}
	end = end < text->end ? end : text->end;
	if (end - start > UINT32_MAX || b->spans_cnt == SPANS_MAX) {
		b->left_out_cnt++;
		return 0;
	}
	if (b->spans_cnt == b->spans_size) {
		size_t size = b->spans_size ? b->spans_size * 2 : 256;
		struct span *spans = realloc(b->spans, size * sizeof(*spans));

		if (!spans)
			return -ENOMEM;
		b->spans = spans;
		b->spans_size = size;
	}
	b->spans[b->spans_cnt++] = (struct span){ .start = start, .len = end - start, .program = program };
	return 0;
}

/* The number of a program of one rule. */
static int rule_program(struct builder *b, uint64_t rule, uint32_t *program)
{
	return *program != NONE ? 0 : cfi_rows_add_rule(b->rows, rule, program);
}

static int fde_add(struct builder *b, const struct cfi_fde *fde)
{
	const struct cfi_cie *cie = cfi_cie(b->reader, fde->cie);
	uint32_t program = NONE;
	int err;

	if (cie->ra_reg != REG_RA) {
		err = rule_program(b, UNWIND_RULE(UNWIND_BAD, 0, 0, 0), &b->bad);
		program = b->bad;
	} else {
		err = cfi_rows_add(b->rows, fde, &program);
	}
	if (err == -E2BIG) {
		b->left_out_cnt++;
		return 0;
	}
	return err ? err : span_add(b, fde->start, fde->end, program);
}

static void section_close(struct builder *b)
{
	b->rows = cfi_rows_free(b->rows);
	b->reader = cfi_reader_free(b->reader);
	cfi_section_free(&b->section);
}

/* Reads the functions of b->section. */
static int section_read(struct builder *b)
{
	struct cfi_fde fde;
	int got = 0, err = 0;

	b->signal = b->bad = NONE;
	b->reader = cfi_reader_new(&b->section);
	b->rows = b->reader ? cfi_rows_new(b->reader) : NULL;
	if (!b->rows)
		return -ENOMEM;
	while (!err && (got = cfi_next(b->reader, &fde)) > 0)
		err = fde_add(b, &fde);
	b->left_out_cnt += cfi_left_out(b->reader);
	return err ? err : got;
}

static int sections_read(struct builder *b)
{
	int err = cfi_section_eh_frame(b->img, &b->section);

	if (err)
		b->section = (struct cfi_section){ 0 };
	if (!err)
		err = section_read(b);
	if (err == -ENOMEM || b->spans_cnt)
		return err;
	b->left_out_cnt += err == -ENOEXEC;
	section_close(b);
	err = cfi_section_debug_frame(b->img, &b->section);
	if (err && err != -ENOMEM) {
		b->left_out_cnt += err == -ENOEXEC;
		b->section = (struct cfi_section){ 0 };
		err = 0;
	}
	return err ? err : section_read(b);
}

/* Whether no span covers va; *ret_next: where the next one begins. */
static bool is_gap(const struct builder *b, uint64_t va, uint64_t *ret_next)
{
	*ret_next = UINT64_MAX;
	for (size_t i = 0; i < b->spans_cnt; i++) {
		const struct span *s = &b->spans[i];

		if (va >= s->start && va - s->start < s->len)
			return false;
		if (s->start > va && s->start < *ret_next)
			*ret_next = s->start;
	}
	return true;
}

/* Nobody calls the entry point; musl's, and others of assembly, have no CFI that would say so. */
static int entry_add(struct builder *b)
{
	uint64_t va = b->img->ehdr.e_entry, next;
	uint32_t program = NONE;
	const unsigned char *text;
	size_t len;
	int err;

	if (!va || image_text(b->img, va, ENTRY_BYTES, &text, &len) || !is_gap(b, va, &next))
		return 0;
	err = rule_program(b, UNWIND_RULE(UNWIND_END, 0, 0, 0), &program);
	return err ? err : span_add(b, va, va + len < next ? va + len : next, program);
}

/* A restorer is at va, perhaps: its span, where nothing else is. */
static int restorer_add(struct builder *b, uint64_t va, size_t bytes)
{
	uint64_t next;
	int err;

	if (!is_gap(b, va, &next) || next - va < bytes)
		return 0;
	err = rule_program(b, UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0), &b->signal);
	return err ? err : span_add(b, va, va + bytes, b->signal);
}

/*
 * mov $15, %rax; syscall: rt_sigreturn, what a signal handler returns to (musl: src/signal/x86_64/restore.s). By its
 * bytes, since the symbol __restore_rt is local and mostly stripped.
 */
static int restorers_add(struct builder *b)
{
	static const unsigned char code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	int err = 0, found = 0;

	for (size_t i = 0; b->spans_cnt <= RESTORER_SPANS && i < b->texts_cnt; i++) {
		const unsigned char *text, *at;
		size_t len;

		if (image_text(b->img, b->texts[i].start, RESTORER_BYTES, &text, &len))
			continue;
		for (at = text; !err && found < RESTORERS_MAX; at += sizeof(code), found++) {
			at = memmem(at, text + len - at, code, sizeof(code));
			if (!at)
				break;
			err = restorer_add(b, b->texts[i].start + (at - text), sizeof(code));
		}
	}
	return err;
}

/* Of those that begin together the longest first: it is the one that counts. */
static int span_compare(const void *pa, const void *pb)
{
	const struct span *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->len != b->len)
		return a->len > b->len ? -1 : 1;
	return (a->program > b->program) - (a->program < b->program);
}

static void spans_sort(struct builder *b)
{
	for (size_t i = 1; i < b->spans_cnt; i++) {
		if (span_compare(&b->spans[i - 1], &b->spans[i]) > 0) {
			qsort(b->spans, b->spans_cnt, sizeof(*b->spans), span_compare);
			return;
		}
	}
}

/* By rising va. -ENOEXEC: too far away from the first. */
static int row_add(struct builder *b, uint64_t va, uint32_t rule)
{
	struct ehframe *e = &b->out;

	if (e->rows_cnt ? e->rows[e->rows_cnt - 1].rule == rule : !rule)
		return 0;
	if (!e->rows_cnt)
		e->base_va = va & ~(uint64_t)(UNWIND_BLOCK_BYTES - 1);
	if (va - e->base_va > UINT32_MAX || e->rows_cnt == ROWS_MAX)
		return -ENOEXEC;
	if (e->rows_cnt == b->out_size) {
		size_t size = b->out_size ? b->out_size * 2 : 1024;
		struct ehframe_row *rows = realloc(e->rows, size * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		e->rows = rows;
		b->out_size = size;
	}
	e->rows[e->rows_cnt++] = (struct ehframe_row){ .va_off = va - e->base_va, .rule = rule };
	return 0;
}

/* The rows of all spans, which are sorted. */
static int rows_make(struct builder *b)
{
	int err = 0;

	for (size_t i = 0, next; !err && i < b->spans_cnt; i = next) {
		const struct span *s = &b->spans[i];
		uint64_t end = s->start + s->len, cnt;
		const struct cfi_row *rows = cfi_rows_at(b->rows, s->program, &cnt);

		for (next = i + 1; next < b->spans_cnt && b->spans[next].start == s->start; next++)
			;
		if (next < b->spans_cnt && b->spans[next].start < end)
			end = b->spans[next].start;
		for (size_t k = 0; !err && k < cnt && rows[k].off < end - s->start; k++)
			err = row_add(b, s->start + rows[k].off, rows[k].rule);
		if (!err && (next == b->spans_cnt || b->spans[next].start > end))
			err = row_add(b, end, 0);
	}
	return err;
}

/* What ehframe.h promises. */
static bool out_is_right(const struct ehframe *e)
{
	if (!e->rows_cnt || e->base_va % UNWIND_BLOCK_BYTES || e->rows[0].va_off >= UNWIND_BLOCK_BYTES ||
	    !e->rules_cnt || e->rules[0] || e->rows[e->rows_cnt - 1].rule)
		return false;
	for (size_t i = 0; i < e->rows_cnt; i++) {
		if (e->rows[i].rule >= e->rules_cnt)
			return false;
		if (i && (e->rows[i].va_off <= e->rows[i - 1].va_off || e->rows[i].rule == e->rows[i - 1].rule))
			return false;
	}
	return true;
}

static int out_finish(struct builder *b)
{
	struct ehframe_row *fit;

	if (!b->out.rows_cnt)
		return b->left_out_cnt ? -ENOEXEC : -ENOENT;
	b->out.rules = cfi_rows_rules(b->rows, &b->out.rules_cnt);
	if (!out_is_right(&b->out))
		return -ENOEXEC;
	fit = realloc(b->out.rows, b->out.rows_cnt * sizeof(*fit));
	if (fit)
		b->out.rows = fit;
	return 0;
}

int ehframe_read(const struct image *img, struct ehframe *ret)
{
	struct builder b = { .img = img };
	int err;

	if (image_machine(img) != EM_X86_64 || !image_is_64bit(img))
		return -EOPNOTSUPP;
	texts_find(&b);
	err = sections_read(&b);
	if (!err)
		err = entry_add(&b);
	if (!err)
		err = restorers_add(&b);
	if (!err)
		err = cfi_rows_run(b.rows);
	if (!err) {
		spans_sort(&b);
		err = rows_make(&b);
	}
	if (!err)
		err = out_finish(&b);
	if (err)
		ehframe_free(&b.out);
	else
		*ret = b.out;
	section_close(&b);
	free(b.spans);
	return err;
}

void ehframe_free(struct ehframe *e)
{
	free(e->rows);
	free(e->rules);
	*e = (struct ehframe){ 0 };
}
