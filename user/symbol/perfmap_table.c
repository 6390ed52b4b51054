/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hashmap.h"
#include "symbol/perfmap_table.h"

#define READ_BYTES	65536u		/* also the longest line that is looked at to its end */
#define RECENT_MIN	1024u		/* entries that are sorted anew at each look: some 100 µs */

static void segments_free(struct perfmap_segments *s)
{
	free(s->at);
	*s = (struct perfmap_segments){ 0 };
}

void perfmap_table_clear(struct perfmap_table *t)
{
	segments_free(&t->old);
	segments_free(&t->recent);
	free(t->entries);
	*t = (struct perfmap_table){ 0 };
}

/* Reads a hexadecimal number and the white space behind it; NULL when there is none, or it is too long. */
static const char *hex_parse(const char *p, const char *end, uint64_t *ret)
{
	const char *first;
	uint64_t n = 0;

	if (end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		p += 2;
	for (first = p; p < end; p++) {
		int c = *p | 0x20, digit = *p >= '0' && *p <= '9' ? *p - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0)
			break;
		if (n >> 60)
			return NULL;
		n = n << 4 | digit;
	}
	if (p == first || p == end || (*p != ' ' && *p != '\t'))
		return NULL;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	*ret = n;
	return p;
}

static int entry_add(struct perfmap_table *t, const struct perfmap_entry *e)
{
	if (t->entries_cnt == PERFMAP_ENTRIES_MAX)
		return -E2BIG;
	if (t->entries_cnt == t->entries_size) {
		size_t size = t->entries_size ? t->entries_size * 2 : 1024;
		struct perfmap_entry *entries = realloc(t->entries, size * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		t->entries = entries;
		t->entries_size = size;
	}
	t->entries[t->entries_cnt++] = *e;
	t->stale = true;
	return 0;
}

/* A line without its end; off: where it stands in the file. */
static int line_parse(struct perfmap_table *t, const char *line, size_t len, uint64_t off, bool partial)
{
	const char *end = line + len, *p = line;
	struct perfmap_entry e = { .partial = partial };
	uint64_t size = 0;
	size_t name_len;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	p = hex_parse(p, end, &e.start);
	if (p)
		p = hex_parse(p, end, &size);
	name_len = p ? strnlen(p, end - p) : 0;
	while (name_len && (p[name_len - 1] == '\r' || p[name_len - 1] == ' '))
		name_len--;
	if (!name_len || !size || size > PERFMAP_CODE_MAX || e.start > UINT64_MAX - size) {
		t->refused_cnt += !partial;
		return 0;
	}
	e.size = size;
	e.name_len = name_len > PERFMAP_NAME_MAX ? PERFMAP_NAME_MAX : name_len;
	e.name_off = off + (p - line);
	e.hash = hash_bytes(p, e.name_len);
	t->has_partial = partial;
	return entry_add(t, &e);
}

/*
 * What stands in buf from t->parsed on; *ret_used: how much of it is done with. At the file's end a line without an end
 * is an entry for now, and read again next time.
 */
static int chunk_parse(struct perfmap_table *t, const char *buf, size_t len, bool at_end, size_t *ret_used)
{
	size_t at = 0;
	int err = 0;

	while (!err && at < len) {
		const char *newline = memchr(buf + at, '\n', len - at);
		size_t line_len = newline ? (size_t)(newline - buf) - at : len - at;

		if (newline) {
			if (!t->in_line && line_len)
				err = line_parse(t, buf + at, line_len, t->parsed + at, false);
			t->in_line = false;
			at += line_len + 1;
		} else if (t->in_line) {
			at = len;
		} else if (line_len == READ_BYTES) {	/* its name is cut anyway */
			err = line_parse(t, buf + at, line_len, t->parsed + at, false);
			t->in_line = true;
			at = len;
		} else {
			if (at_end)
				err = line_parse(t, buf + at, line_len, t->parsed + at, true);
			break;
		}
	}
	*ret_used = at;
	return err;
}

static void tail_keep(struct perfmap_table *t, const char *buf, size_t used)
{
	size_t keep;

	if (used >= sizeof(t->tail)) {
		memcpy(t->tail, buf + used - sizeof(t->tail), sizeof(t->tail));
		t->tail_len = sizeof(t->tail);
		return;
	}
	keep = sizeof(t->tail) - used;
	if (keep > t->tail_len)
		keep = t->tail_len;
	memmove(t->tail, t->tail + t->tail_len - keep, keep);
	memcpy(t->tail + keep, buf, used);
	t->tail_len = keep + used;
}

static int rest_parse(struct perfmap_table *t, int fd, uint64_t size, char *buf)
{
	bool at_end;
	int err = 0;

	while (!err && t->parsed < size) {
		size_t want = size - t->parsed < READ_BYTES ? size - t->parsed : READ_BYTES, used;
		ssize_t got = pread(fd, buf, want, t->parsed);

		if (got < 0)
			return -errno;
		if (!got)
			break;		/* shorter by now: the next look sees it */
		at_end = t->parsed + got == size;
		err = chunk_parse(t, buf, got, at_end, &used);
		tail_keep(t, buf, used);
		t->parsed += used;
		if (!used || at_end)
			break;
	}
	return err;
}

/* Whether the file still begins with what was parsed. */
static bool is_grown(const struct perfmap_table *t, int fd, const struct stat *st)
{
	char tail[PERFMAP_TAIL];

	if (t->dev != st->st_dev || t->inode != st->st_ino || (uint64_t)st->st_size < t->parsed)
		return false;
	return pread(fd, tail, t->tail_len, t->parsed - t->tail_len) == (ssize_t)t->tail_len &&
	       !memcmp(tail, t->tail, t->tail_len);
}

static int start_compare(const void *a, const void *b, void *ctx)
{
	const struct perfmap_entry *entries = ctx;
	uint64_t x = entries[*(const uint32_t *)a].start, y = entries[*(const uint32_t *)b].start;

	return (x > y) - (x < y);
}

static uint64_t entry_end(const struct perfmap_entry *e)
{
	return e->start + e->size;
}

static int end_compare(const void *a, const void *b, void *ctx)
{
	const struct perfmap_entry *entries = ctx;
	uint64_t x = entry_end(&entries[*(const uint32_t *)a]), y = entry_end(&entries[*(const uint32_t *)b]);

	return (x > y) - (x < y);
}

/* A heap of entries, the one that came last on top. */
struct heap {
	uint32_t *at;
	size_t cnt;
};

static void heap_push(struct heap *h, uint32_t entry)
{
	size_t i = h->cnt++;

	for (; i && h->at[(i - 1) / 2] < entry; i = (i - 1) / 2)
		h->at[i] = h->at[(i - 1) / 2];
	h->at[i] = entry;
}

static void heap_pop(struct heap *h)
{
	uint32_t entry = h->at[--h->cnt];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < h->cnt) {
		child += child + 1 < h->cnt && h->at[child + 1] > h->at[child];
		if (h->at[child] <= entry)
			break;
		h->at[i] = h->at[child];
		i = child;
	}
	h->at[i] = entry;
}

/* From left to right over all starts and ends; what lies between two of them is a segment. */
struct sweep {
	const struct perfmap_entry *entries;
	uint32_t *starts, *ends;
	struct heap active;
	uint64_t hashes;	/* sum of those that are active: a multiple of one when all have its name */
	uint64_t active_cnt;
	struct perfmap_segments out;
};

static void segment_add(struct sweep *s, uint64_t start, uint64_t end)
{
	struct perfmap_segment *last = s->out.cnt ? &s->out.at[s->out.cnt - 1] : NULL, new;

	if (!s->active_cnt || start == end)
		return;
	new = (struct perfmap_segment){ .start = start, .end = end, .entry = s->active.at[0] };
	new.guessed = s->hashes != s->active_cnt * s->entries[new.entry].hash;
	if (last && last->end == start && last->entry == new.entry && last->guessed == new.guessed)
		last->end = end;
	else
		s->out.at[s->out.cnt++] = new;
}

static void sweep_run(struct sweep *s, size_t cnt)
{
	size_t i = 0, j = 0;
	uint64_t at = 0;

	while (j < cnt) {
		uint64_t next = entry_end(&s->entries[s->ends[j]]);

		if (i < cnt && s->entries[s->starts[i]].start < next)
			next = s->entries[s->starts[i]].start;
		segment_add(s, at, next);
		at = next;
		for (; j < cnt && entry_end(&s->entries[s->ends[j]]) == at; j++) {
			s->hashes -= s->entries[s->ends[j]].hash;
			s->active_cnt--;
		}
		for (; i < cnt && s->entries[s->starts[i]].start == at; i++) {
			s->hashes += s->entries[s->starts[i]].hash;
			s->active_cnt++;
			heap_push(&s->active, s->starts[i]);
		}
		while (s->active.cnt && entry_end(&s->entries[s->active.at[0]]) <= at)
			heap_pop(&s->active);
	}
}

/* Segments of the entries from `first` on. -ENOMEM. */
static int segments_make(const struct perfmap_table *t, size_t first, size_t cnt, struct perfmap_segments *ret)
{
	struct sweep s = { .entries = t->entries };
	int err = -ENOMEM;

	segments_free(ret);
	if (!cnt)
		return 0;
	s.starts = malloc(cnt * sizeof(*s.starts));
	s.ends = malloc(cnt * sizeof(*s.ends));
	s.active.at = malloc(cnt * sizeof(*s.active.at));
	s.out.at = malloc(2 * cnt * sizeof(*s.out.at));
	if (s.starts && s.ends && s.active.at && s.out.at) {
		for (size_t i = 0; i < cnt; i++)
			s.starts[i] = s.ends[i] = first + i;
		qsort_r(s.starts, cnt, sizeof(*s.starts), start_compare, t->entries);
		qsort_r(s.ends, cnt, sizeof(*s.ends), end_compare, t->entries);
		sweep_run(&s, cnt);
		*ret = s.out;
		s.out.at = NULL;
		err = 0;
	}
	free(s.starts);
	free(s.ends);
	free(s.active.at);
	free(s.out.at);
	return err;
}

static int segments_renew(struct perfmap_table *t)
{
	size_t whole_cnt = t->entries_cnt - t->has_partial;
	int err = 0;

	if (!t->stale)
		return 0;
	if (whole_cnt - t->old_entries_cnt > t->old_entries_cnt / 4 + RECENT_MIN) {
		err = segments_make(t, 0, whole_cnt, &t->old);
		if (!err)
			t->old_entries_cnt = whole_cnt;
	}
	if (!err)
		err = segments_make(t, t->old_entries_cnt, t->entries_cnt - t->old_entries_cnt, &t->recent);
	t->stale = err;
	return err;
}

int perfmap_table_read(struct perfmap_table *t, int fd, uint64_t max_bytes)
{
	struct stat st;
	char *buf;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max_bytes)
		return -EFBIG;
	if (!is_grown(t, fd, &st)) {
		perfmap_table_clear(t);
		t->dev = st.st_dev;
		t->inode = st.st_ino;
	}
	if (t->has_partial) {
		t->has_partial = false;
		t->entries_cnt--;
		t->stale = true;
	}
	buf = malloc(READ_BYTES);
	if (!buf)
		return -ENOMEM;
	err = rest_parse(t, fd, st.st_size, buf);
	free(buf);
	if (!err)
		err = segments_renew(t);
	if (err)
		perfmap_table_clear(t);	/* half of it would give wrong names */
	return err;
}

static const struct perfmap_segment *segment_find(const struct perfmap_segments *s, uint64_t addr)
{
	size_t low = 0, high = s->cnt;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->at[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->cnt && s->at[low].start <= addr ? &s->at[low] : NULL;
}

const struct perfmap_entry *perfmap_table_find(const struct perfmap_table *t, uint64_t addr, bool *ret_guessed)
{
	const struct perfmap_segment *old = segment_find(&t->old, addr), *recent = segment_find(&t->recent, addr);
	const struct perfmap_segment *top = recent ? recent : old;
	const struct perfmap_entry *e;

	if (!top)
		return NULL;
	e = &t->entries[top->entry];
	*ret_guessed = top->guessed || e->partial ||
		       (recent && old && (old->guessed || t->entries[old->entry].hash != e->hash));
	return e;
}
