/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "elf/image.h"
#include "elf/parser_ops.h"
#include "trace/rows.h"

/* head │ rows │ rules */
struct reply_head {
	uint64_t base_va;
	uint64_t rows_cnt, rules_cnt;
};

#define KEPT_MAX	64	/* files whose rows wait to be fetched */

struct request {
	uint64_t file_key;
	uint64_t keep;		/* 1: make them and keep them */
};

/* Rows that were made before anybody wanted them. */
struct rows_state {
	struct {
		uint64_t key;
		int err;
		struct ehframe rows;
	} kept[KEPT_MAX];
	size_t cnt;
};

void *rows_state_new(void)
{
	return calloc(1, sizeof(struct rows_state));
}

static int rows_make(int fd, struct ehframe *ret)
{
	struct image *img;
	int err = image_open(fd, &img);

	if (err)
		return err;
	err = ehframe_read(img, ret);
	image_free(img);
	return err;
}

/* Takes what was kept of a file; false when nothing was. */
static bool kept_take(struct rows_state *s, uint64_t key, struct ehframe *ret, int *ret_err)
{
	for (size_t i = 0; i < s->cnt; i++)
		if (s->kept[i].key == key) {
			*ret = s->kept[i].rows;
			*ret_err = s->kept[i].err;
			s->kept[i] = s->kept[--s->cnt];
			return true;
		}
	return false;
}

static int rows_write(const struct ehframe *e, struct text *reply)
{
	const struct reply_head head = { .base_va = e->base_va, .rows_cnt = e->rows_cnt, .rules_cnt = e->rules_cnt };

	text_add_len(reply, (const char *)&head, sizeof(head));
	text_add_len(reply, (const char *)e->rows, e->rows_cnt * sizeof(*e->rows));
	text_add_len(reply, (const char *)e->rules, e->rules_cnt * sizeof(*e->rules));
	return reply->failed ? -ENOMEM : 0;
}

int rows_handle(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct rows_state *s = state;
	struct ehframe e = { 0 };
	struct request r;
	int err;

	if (len != sizeof(r))
		return -EINVAL;
	memcpy(&r, request, sizeof(r));
	if (r.keep) {
		if (s->cnt == KEPT_MAX)
			return -ENOSPC;
		err = rows_make(fd, &e);
		s->kept[s->cnt].key = r.file_key;
		s->kept[s->cnt].err = err;
		s->kept[s->cnt++].rows = e;
		return err;
	}
	if (!kept_take(s, r.file_key, &e, &err))
		err = rows_make(fd, &e);
	if (!err)
		err = rows_write(&e, reply);
	ehframe_free(&e);
	return err;
}

/* What ehframe.h promises: whoever made the rows may have been made to lie. */
static bool rows_are_sound(const struct ehframe *e)
{
	if (!e->rows_cnt || !e->rules_cnt || e->rules[0] || e->base_va % UNWIND_BLOCK_BYTES)
		return false;
	for (size_t i = 0; i < e->rows_cnt; i++)
		if (e->rows[i].rule >= e->rules_cnt || (i && e->rows[i].va_off <= e->rows[i - 1].va_off))
			return false;
	for (size_t i = 0; i < e->rules_cnt; i++)
		if (UNWIND_RULE_KIND(e->rules[i]) >= UNWIND_KINDS || UNWIND_RULE_BP_KIND(e->rules[i]) >= UNWIND_BP_KINDS)
			return false;
	return !e->rows[e->rows_cnt - 1].rule;
}

static int reply_parse(const struct text *reply, struct ehframe *ret)
{
	struct reply_head head;
	size_t rows_bytes, rules_bytes;
	struct ehframe e;

	if (reply->len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, reply->str, sizeof(head));
	if (head.rows_cnt > reply->len / sizeof(*e.rows) || head.rules_cnt > reply->len / sizeof(*e.rules))
		return -EBADMSG;
	rows_bytes = head.rows_cnt * sizeof(*e.rows);
	rules_bytes = head.rules_cnt * sizeof(*e.rules);
	if (reply->len != sizeof(head) + rows_bytes + rules_bytes)
		return -EBADMSG;
	e = (struct ehframe){
		.base_va = head.base_va, .rows_cnt = head.rows_cnt, .rules_cnt = head.rules_cnt,
		.rows = malloc(rows_bytes + 1), .rules = malloc(rules_bytes + 1),
	};
	if (!e.rows || !e.rules) {
		ehframe_free(&e);
		return -ENOMEM;
	}
	memcpy(e.rows, reply->str + sizeof(head), rows_bytes);
	memcpy(e.rules, reply->str + sizeof(head) + rows_bytes, rules_bytes);
	if (!rows_are_sound(&e)) {
		ehframe_free(&e);
		return -EBADMSG;
	}
	*ret = e;
	return 0;
}

void rows_prepare(struct worker *w, uint64_t file_key, int fd)
{
	const struct request r = { .file_key = file_key, .keep = 1 };

	worker_post(w, PARSER_ROWS, &r, sizeof(r), fd);	/* if it fails they are made when they are fetched */
}

int rows_fetch(struct worker *w, uint64_t file_key, int fd, struct ehframe *ret)
{
	const struct request r = { .file_key = file_key };
	struct text reply = { 0 };
	int err;

	err = worker_call(w, PARSER_ROWS, &r, sizeof(r), fd, &reply);
	if (!err)
		err = reply_parse(&reply, ret);
	text_free(&reply);
	return err;
}
