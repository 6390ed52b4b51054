/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/log.h"
#include "base/text.h"
#include "elf/image.h"
#include "symbol/tables.h"

/*
 * What tells one file from another, in any process at any time. Device and inode alone do not: an inode is used
 * again, a file is written anew, and all snapshots of a btrfs show the same device in maps.
 */
struct key {
	uint64_t dev, inode;
	uint64_t size_bytes, mtime_ns;
	uint64_t build_id_len, build_id_hash;
};

struct entry {
	struct key key;
	struct symtab *symtab;	/* owned; NULL = could not be read */
};

struct tables {
	struct entry entries[TABLES_MAX];	/* the last used first */
	size_t cnt;
	size_t symbols_cnt;
};

struct tables *tables_new(void)
{
	return calloc(1, sizeof(struct tables));
}

static size_t symbols_of(const struct entry *e)
{
	return e->symtab ? symtab_count(e->symtab) : 0;
}

static void drop_last(struct tables *t)
{
	struct entry *e = &t->entries[--t->cnt];

	t->symbols_cnt -= symbols_of(e);
	symtab_free(e->symtab);
}

struct tables *tables_free(struct tables *t)
{
	while (t && t->cnt)
		drop_last(t);
	free(t);
	return NULL;
}

static struct key key_of(const struct target_module *m)
{
	const unsigned char *id;
	size_t len = image_build_id(m->image, &id);

	return (struct key){
		.dev = m->dev, .inode = m->inode, .size_bytes = m->size_bytes, .mtime_ns = m->mtime_ns,
		.build_id_len = len, .build_id_hash = len ? hash_bytes(id, len) : 0,
	};
}

/* Puts an entry first; those before its old place at move back by one. */
static void put_first(struct tables *t, const struct entry *e, size_t at)
{
	struct entry first = *e;

	memmove(t->entries + 1, t->entries, at * sizeof(first));
	t->entries[0] = first;
}

int tables_get(struct tables *t, const struct target_module *m, struct symtab **ret)
{
	struct entry e = { .key = key_of(m) };
	size_t i;
	int err;

	for (i = 0; i < t->cnt && memcmp(&t->entries[i].key, &e.key, sizeof(e.key)); i++)
		;
	if (i < t->cnt) {
		put_first(t, &t->entries[i], i);
		*ret = t->entries[0].symtab;
		return 0;
	}
	err = symtab_new(m->image, &e.symtab);
	if (err == -ENOMEM)
		return err;
	if (err) {
		char *path = text_safe(m->path);

		log_debug("symbols of %s: %s", path ? path : "?", strerror(-err));
		free(path);
	}
	while (t->cnt && (t->cnt == TABLES_MAX || t->symbols_cnt + symbols_of(&e) > TABLES_SYMBOLS_MAX))
		drop_last(t);
	put_first(t, &e, t->cnt++);
	t->symbols_cnt += symbols_of(&e);
	*ret = e.symtab;
	return 0;
}

size_t tables_cnt(const struct tables *t)
{
	return t->cnt;
}
