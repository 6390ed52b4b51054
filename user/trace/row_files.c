/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "trace/row_files.h"
#include "trace/rows.h"

#define RULES_BYTES	(UNWIND_RULES_MAX * sizeof(uint64_t))

int row_files_open(struct row_files *f, struct worker *w, int rules_fd, int chunks_fd, uint64_t max_bytes)
{
	*f = (struct row_files){ .worker = w, .rules_cnt = UNWIND_RULE_FIRST };
	chunks_open(&f->chunks, chunks_fd, max_bytes);
	f->rule_ids = hashmap_new();
	if (!f->rule_ids)
		return -ENOMEM;
	f->rules = mmap(NULL, RULES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rules_fd, 0);
	if (f->rules == MAP_FAILED) {
		f->rules = NULL;
		return -errno;
	}
	return 0;
}

static struct row_file *file_free(struct row_file *file)
{
	if (file)
		free(file->pieces);
	free(file);
	return NULL;
}

void row_files_close(struct row_files *f)
{
	for (size_t i = 0; i < f->cnt; i++)
		file_free(f->list[i]);
	free(f->list);
	hashmap_free(f->rule_ids);
	if (f->rules)
		munmap(f->rules, RULES_BYTES);
	chunks_close(&f->chunks);
	*f = (struct row_files){ 0 };
}

/* The dictionary's number of a rule, added when it is new. -ENOSPC when it is full. */
static int rule_id(struct row_files *f, uint64_t rule, uint16_t *ret)
{
	uint64_t id;

	if (!rule) {
		*ret = UNWIND_RULE_NONE;
		return 0;
	}
	if (!hashmap_get(f->rule_ids, &rule, sizeof(rule), &id)) {
		if (f->rules_cnt == UNWIND_RULES_MAX)
			return -ENOSPC;
		id = f->rules_cnt;
		if (hashmap_put(f->rule_ids, &rule, sizeof(rule), id))
			return -ENOMEM;
		f->rules[id] = rule;	/* nothing in the kernel refers to it yet */
		f->rules_cnt++;
	}
	*ret = id;
	return 0;
}

/* The file's own numbers of rules -> those of the dictionary. The caller frees *ret. */
static int rules_translate(struct row_files *f, const struct ehframe *e, uint16_t **ret)
{
	uint16_t *ids = calloc(e->rules_cnt, sizeof(*ids));
	int err = ids ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < e->rules_cnt; i++)
		err = rule_id(f, e->rules[i], &ids[i]);
	if (err)
		free(ids);
	else
		*ret = ids;
	return err;
}

static int piece_add(struct row_files *f, struct row_file *file, uint32_t *words, uint32_t words_cnt,
		     struct row_piece *piece)
{
	struct row_piece *pieces = realloc(file->pieces, (file->pieces_cnt + 1) * sizeof(*pieces));
	int err;

	if (!pieces)
		return -ENOMEM;
	file->pieces = pieces;
	row_pack_move(words, piece, chunks_room(&f->chunks, words_cnt));
	err = chunks_add(&f->chunks, words, words_cnt, &piece->chunk, &piece->word);
	if (!err)
		pieces[file->pieces_cnt++] = *piece;
	return err;
}

static void file_forget_pieces(struct row_files *f, struct row_file *file)
{
	for (size_t i = 0; i < file->pieces_cnt; i++)
		chunks_remove(&f->chunks, file->pieces[i].chunk);
	free(file->pieces);
	file->pieces = NULL;
	file->pieces_cnt = file->rows_cnt = 0;
}

static int file_place(struct row_files *f, struct row_file *file, const struct ehframe *e)
{
	uint32_t *words = malloc(sizeof(struct unwind_chunk)), words_cnt;
	uint16_t *ids = NULL;
	struct row_pack pack = { 0 };
	struct row_piece piece;
	int err = words ? rules_translate(f, e, &ids) : -ENOMEM;

	if (!err)
		err = row_pack_begin(&pack, e, ids);
	while (!err && (words_cnt = row_pack_next(&pack, words, &piece)))
		err = piece_add(f, file, words, words_cnt, &piece);
	row_pack_end(&pack);
	if (err)
		file_forget_pieces(f, file);
	else
		file->rows_cnt = e->rows_cnt;
	free(ids);
	free(words);
	return err;
}

/* Forgets the file without users that was used the longest time ago; false when there is none. */
static bool forget_oldest(struct row_files *f)
{
	size_t oldest = f->cnt;

	for (size_t i = 0; i < f->cnt; i++)
		if (!f->list[i]->users_cnt && f->list[i]->pieces_cnt &&
		    (oldest == f->cnt || f->list[i]->used < f->list[oldest]->used))
			oldest = i;
	if (oldest == f->cnt)
		return false;
	file_forget_pieces(f, f->list[oldest]);
	file_free(f->list[oldest]);
	f->list[oldest] = f->list[--f->cnt];
	return true;
}

static int file_new(struct row_files *f, const struct target_module *m, struct row_file **ret)
{
	struct row_file **list, *file = calloc(1, sizeof(*file));
	struct ehframe e = { 0 };

	list = realloc(f->list, (f->cnt + 1) * sizeof(*list));
	if (list)
		f->list = list;
	if (!file || !list)
		return file_free(file), -ENOMEM;
	file->key = m->file_key;
	file->err = m->fd < 0 || !f->worker ? -EBADF : rows_fetch(f->worker, m->file_key, m->fd, &e);
	if (!file->err)
		file->err = file_place(f, file, &e);
	while (file->err == -ENOSPC && forget_oldest(f))
		file->err = file_place(f, file, &e);
	ehframe_free(&e);
	if (file->err == -ENOMEM)
		return file_free(file), -ENOMEM;
	if (file->err)
		log_debug("rows of a file (key %llx): %s", (unsigned long long)file->key, strerror(-file->err));
	f->list[f->cnt++] = *ret = file;
	return 0;
}

int row_files_get(struct row_files *f, const struct target_module *m, struct row_file **ret)
{
	int err = 0;
	size_t i;

	for (i = 0; i < f->cnt && f->list[i]->key != m->file_key; i++)
		;
	if (i < f->cnt)
		*ret = f->list[i];
	else
		err = file_new(f, m, ret);
	if (err)
		return err;
	(*ret)->users_cnt++;
	(*ret)->used = ++f->clock;
	return 0;
}

void row_files_put(struct row_file *file)
{
	file->users_cnt--;
}
