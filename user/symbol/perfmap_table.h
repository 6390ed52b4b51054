/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a perf map says, in the worker. Inside the layer.
 *
 *	file      START SIZE name: hexadecimal; each line is an entry, what comes later holds
 *	entries   in the order of the file; a name stays in the file, an entry knows where
 *	segments  sorted, none over another: the entry that holds there, and whether another name held before
 *
 * The file grows while it is read, mostly by little. So there are two sets of segments: one of old entries, and a small one
 * of those that came since, which is made anew each time and goes into the first when it is a quarter of it.
 */
#ifndef SYMBOL_PERFMAP_TABLE_H
#define SYMBOL_PERFMAP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PERFMAP_NAME_MAX	1024u		/* bytes of a name; the rest is cut off */
#define PERFMAP_ENTRIES_MAX	(1u << 20)	/* 60 MB of a usual perf map */
#define PERFMAP_CODE_MAX	(64u << 20)	/* bytes of code; an entry that claims more is none */

struct perfmap_entry {
	uint64_t start;
	uint64_t name_off;	/* in the file */
	uint64_t hash;		/* of the name */
	uint32_t size;
	uint16_t name_len;
	bool partial;		/* its line has no end yet */
};

struct perfmap_segment {
	uint64_t start, end;
	uint32_t entry;
	bool guessed;		/* entries with different names are here */
};

struct perfmap_segments {
	struct perfmap_segment *at;
	size_t cnt;
};

#define PERFMAP_TAIL	64

struct perfmap_table {
	dev_t dev;
	ino_t inode;
	uint64_t parsed;	/* bytes of the file */
	bool in_line;		/* parsed ends inside a line that is too long, of which the beginning was taken */
	char tail[PERFMAP_TAIL];	/* what stood before `parsed`: tells a file that was written anew */
	size_t tail_len;
	struct perfmap_entry *entries;
	size_t entries_cnt, entries_size;
	bool has_partial;	/* the last one */
	uint64_t refused_cnt;	/* lines that are no entries */
	struct perfmap_segments old, recent;
	size_t old_entries_cnt;	/* in old */
	bool stale;		/* entries have changed since the segments were made */
};

void perfmap_table_clear(struct perfmap_table *t);
/*
 * Reads what is new in a file; all of it when it is another one, or was written anew. -EINVAL: no regular file, -EFBIG:
 * larger than max_bytes, -E2BIG: more entries than PERFMAP_ENTRIES_MAX, -ENOMEM, errors of reading.
 */
int perfmap_table_read(struct perfmap_table *t, int fd, uint64_t max_bytes);
/* The entry that holds at an address; NULL. *ret_guessed: another one with another name was there as well. */
const struct perfmap_entry *perfmap_table_find(const struct perfmap_table *t, uint64_t addr, bool *ret_guessed);

#endif
