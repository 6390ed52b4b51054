/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	55d0c8a00000-55d0c8a25000 r-xp 00002000 fe:01 1234          /usr/bin/name with spaces (deleted)
 *	start        end          prot off      maj:min inode       path, "" or [name]
 *
 * The kernel writes a newline in a path as \012 and leaves everything else as it is, a backslash
 * included: a path with a backslash is ambiguous here, and module.c asks the link in map_files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "abi.h"
#include "target/maps.h"

/* A target that loads and unloads the same plugin at ever new places must not make us grow for ever. */
#define MAPS_GONE_MAX 4096

struct cursor {
	const char *p, *end;
};

/* A number in base 10 or 16, followed by the given character, which is skipped. */
static bool take_number(struct cursor *c, unsigned int base, char stop, uint64_t *ret)
{
	const char *start = c->p;
	uint64_t n = 0;

	for (; c->p < c->end; c->p++) {
		char ch = *c->p;
		unsigned int digit;

		if (ch >= '0' && ch <= '9')
			digit = ch - '0';
		else if (base == 16 && ch >= 'a' && ch <= 'f')
			digit = ch - 'a' + 10;
		else
			break;
		if (n > (UINT64_MAX - digit) / base)
			return false;
		n = n * base + digit;
	}
	if (c->p == start)
		return false;
	if (stop) {
		if (c->p == c->end || *c->p != stop)
			return false;
		c->p++;
	}
	*ret = n;
	return true;
}

bool maps_line_parse(const char *line, size_t len, struct target_mapping *map, const char **ret_path,
		     size_t *ret_path_len)
{
	struct cursor c = { line, line + len };
	uint64_t start, end, off, major, minor, inode;
	char prot[4];

	if (!take_number(&c, 16, '-', &start) || !take_number(&c, 16, ' ', &end) || end <= start)
		return false;
	if (c.end - c.p < 5 || c.p[4] != ' ')
		return false;
	memcpy(prot, c.p, 4);
	c.p += 5;
	if (!take_number(&c, 16, ' ', &off) || !take_number(&c, 16, ':', &major) ||
	    !take_number(&c, 16, ' ', &minor) || !take_number(&c, 10, 0, &inode))
		return false;
	if (c.p < c.end && *c.p != ' ')
		return false;
	/* padded to a column; no path begins with a space, they begin with '/', '[' or a word */
	while (c.p < c.end && *c.p == ' ')
		c.p++;
	*map = (struct target_mapping){ .start = start, .end = end, .off = off,
					.dev = makedev(major, minor), .inode = inode };
	memcpy(map->prot, prot, 4);
	*ret_path = c.p;
	*ret_path_len = c.end - c.p;
	return true;
}

void maps_unescape(char *path)
{
	char *out = path;

	for (; *path; path++) {
		if (!strncmp(path, "\\012", 4)) {
			*out++ = '\n';
			path += 3;
		} else {
			*out++ = *path;
		}
	}
	*out = '\0';
}

void maps_free(struct target_mapping *maps, size_t cnt)
{
	for (size_t i = 0; maps && i < cnt; i++)
		free(maps[i].path);
	free(maps);
}

int maps_parse(const char *text, size_t len, struct target_mapping **ret, size_t *ret_cnt)
{
	const char *end = text + len, *line, *next, *path;
	struct target_mapping *maps;
	size_t lines = 1, cnt = 0, path_len;
	uint64_t last_end = 0;

	for (const char *p = text; p < end && (p = memchr(p, '\n', end - p)); p++)
		lines++;
	maps = calloc(lines, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	for (line = text; line < end; line = next) {
		struct target_mapping map;
		const char *stop = memchr(line, '\n', end - line);

		next = stop ? stop + 1 : end;
		if (!stop)
			stop = end;
		if (!maps_line_parse(line, stop - line, &map, &path, &path_len)) {
			maps_free(maps, cnt);
			return -EBADMSG;
		}
		/*
		 * The file is read in pieces and mappings change in between: a later line that
		 * overlaps an earlier one is a newer view of the same place.
		 */
		if (map.start < last_end)
			continue;
		map.path = malloc(path_len + 1);	/* strndup() takes a sanitizer the time of all the text */
		if (!map.path) {
			maps_free(maps, cnt);
			return -ENOMEM;
		}
		memcpy(map.path, path, path_len);
		map.path[path_len] = '\0';
		maps_unescape(map.path);
		last_end = map.end;
		maps[cnt++] = map;
	}
	*ret = maps;
	*ret_cnt = cnt;
	return 0;
}

static bool same_mapping(const struct target_mapping *a, const struct target_mapping *b)
{
	return a->start == b->start && a->end == b->end && a->off == b->off && a->module == b->module &&
	       !memcmp(a->prot, b->prot, 4);
}

/* Worth remembering when it is gone: what addresses of code may point into. */
static bool is_code(const struct target_mapping *map)
{
	return map->module != NULL;
}

static size_t live_cnt(const struct target *t)
{
	size_t cnt = t->mappings_cnt;

	while (cnt && t->mappings[cnt - 1].gone)
		cnt--;
	return cnt;
}

static bool is_listed(const struct target_mapping *maps, size_t cnt, const struct target_mapping *map)
{
	for (size_t i = 0; i < cnt; i++)
		if (same_mapping(&maps[i], map))
			return true;
	return false;
}

/* Marks in keep[] the live mappings that are not in `now`; both are sorted. Returns how many. */
static size_t find_gone(const struct target *t, size_t live, const struct target_mapping *now,
			size_t now_cnt, bool *keep)
{
	size_t n = 0, cnt = 0;

	for (size_t i = 0; i < live; i++) {
		const struct target_mapping *old = &t->mappings[i];

		if (!is_code(old))
			continue;
		while (n < now_cnt && now[n].start < old->start)
			n++;
		keep[i] = n == now_cnt || !same_mapping(&now[n], old);
		cnt += keep[i];
	}
	return cnt;
}

static bool overlaps(const struct target_mapping *a, const struct target_mapping *b)
{
	return a->start < b->end && b->start < a->end;
}

/* Whether an address means the same code in both, where they overlap. */
static bool same_code(const struct target_mapping *a, const struct target_mapping *b)
{
	return a->module == b->module && (!a->module || a->start - a->off == b->start - b->off);
}

/* The epoch of new code: that of the same code at the same place before, else one that nobody had there. */
static uint8_t epoch_of(const struct target *t, const struct target_mapping *map)
{
	uint8_t next = t->epochs_lost;

	for (size_t i = 0; i < t->mappings_cnt; i++) {
		const struct target_mapping *old = &t->mappings[i];

		if (old->prot[2] != 'x' || !overlaps(old, map))
			continue;
		if (same_code(old, map))
			return old->epoch;
		if (old->epoch >= next)
			next = old->epoch + 1;
	}
	return next < STACK_EPOCHS ? next : STACK_EPOCHS;
}

int maps_replace(struct target *t, struct target_mapping *now, size_t now_cnt)
{
	size_t live = live_cnt(t), gone_before = t->mappings_cnt - live, gone_now;
	size_t code_before = 0, code_now = 0, out;
	bool *keep = calloc(t->mappings_cnt ? t->mappings_cnt : 1, sizeof(*keep));
	struct target_mapping *all;

	if (!keep) {
		maps_free(now, now_cnt);
		return -ENOMEM;
	}
	for (size_t i = 0; i < live; i++)
		code_before += is_code(&t->mappings[i]);
	for (size_t i = 0; i < now_cnt; i++)
		code_now += is_code(&now[i]);
	for (size_t i = 0; i < now_cnt; i++)
		now[i].epoch = now[i].prot[2] == 'x' ? epoch_of(t, &now[i]) : 0;
	gone_now = find_gone(t, live, now, now_cnt, keep);
	all = realloc(now, (now_cnt + gone_now + gone_before + 1) * sizeof(*all));
	if (!all) {
		free(keep);
		maps_free(now, now_cnt);
		return -ENOMEM;
	}
	out = now_cnt;
	/* the newest first: target_mapping_at() takes the first that fits */
	for (size_t i = 0; i < t->mappings_cnt; i++) {
		struct target_mapping *old = &t->mappings[i];

		if ((i >= live || keep[i]) && out - now_cnt < MAPS_GONE_MAX &&
		    !is_listed(all + now_cnt, out - now_cnt, old)) {
			all[out] = *old;
			all[out++].gone = true;
		} else {
			if (out - now_cnt == MAPS_GONE_MAX && old->epoch >= t->epochs_lost && old->epoch < STACK_EPOCHS)
				t->epochs_lost = old->epoch + 1;
			free(old->path);
		}
	}
	free(t->mappings);
	free(keep);
	t->mappings = all;
	t->mappings_cnt = out;
	return gone_now || code_now != code_before;
}
