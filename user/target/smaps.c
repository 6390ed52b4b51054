/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	7f5c60a00000-7f5c60a10000 rw-p 00000000 00:00 0		a line of maps
 *	Rss:                  64 kB				then lines of KEY: value
 *	…
 *	VmFlags: rd wr mr mw me ac
 *
 * Kernels differ in which lines there are; those that are not known are passed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/maps.h"
#include "target/region.h"
#include "target/smaps.h"

#define PIECE_BYTES (64u << 10)

static int add_mapping(struct smaps *s, const struct target_mapping *map, const char *path, size_t path_len)
{
	struct target_mapping *last = s->cnt ? &s->maps[s->cnt - 1] : NULL;

	s->skip = last && map->start < last->end;
	if (s->skip) {
		s->moved_cnt++;
		return 0;
	}
	if (s->cnt == s->size) {
		size_t size = s->size ? s->size * 2 : 256;
		struct target_mapping *maps = realloc(s->maps, size * sizeof(*maps));
		struct smaps_values *values = maps ? realloc(s->values, size * sizeof(*values)) : NULL;
		uint8_t *flags = values ? realloc(s->flags, size) : NULL;

		s->maps = maps ? maps : s->maps;
		s->values = values ? values : s->values;
		if (!flags)
			return -ENOMEM;
		s->flags = flags;
		s->size = size;
	}
	s->maps[s->cnt] = *map;
	s->maps[s->cnt].path = malloc(path_len + 1);
	if (!s->maps[s->cnt].path)
		return -ENOMEM;
	memcpy(s->maps[s->cnt].path, path, path_len);
	s->maps[s->cnt].path[path_len] = '\0';
	maps_unescape(s->maps[s->cnt].path);
	s->values[s->cnt] = (struct smaps_values){ 0 };
	s->flags[s->cnt++] = 0;
	return 0;
}

/* The number behind "KEY:", in bytes; false: that is another line. */
static bool take(const char *line, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);
	const char *p = line + len;
	uint64_t kib = 0;

	if (strncmp(line, key, len) || *p != ':')
		return false;
	for (p++; *p == ' '; p++)
		;
	for (; *p >= '0' && *p <= '9'; p++)
		kib = kib * 10 + (*p - '0');
	*ret = kib << 10;
	return true;
}

static void add_value(struct smaps *s, const char *line)
{
	struct smaps_values *v = &s->values[s->cnt - 1];
	uint64_t bytes;

	/* twenty lines a mapping: most are told by their first letter */
	switch (*line) {
	case 'R':
		take(line, "Rss", &v->rss_bytes);
		break;
	case 'P':
		if (take(line, "Pss", &v->pss_bytes))
			s->lines |= SMAPS_PSS;
		else if (take(line, "Private_Clean", &bytes) || take(line, "Private_Dirty", &bytes))
			v->own_bytes += bytes;
		else if (take(line, "Private_Hugetlb", &bytes))
			v->hugetlb_bytes += bytes;
		break;
	case 'S':
		if (take(line, "Swap", &v->swap_bytes))
			s->lines |= SMAPS_SWAP;
		else if (take(line, "Shared_Hugetlb", &bytes))
			v->hugetlb_bytes += bytes;
		else if (take(line, "ShmemPmdMapped", &bytes))
			v->huge_bytes += bytes;
		break;
	case 'A':
		if (take(line, "AnonHugePages", &bytes)) {
			v->huge_bytes += bytes;
			s->lines |= SMAPS_HUGE;
		}
		break;
	case 'F':
		if (take(line, "FilePmdMapped", &bytes))
			v->huge_bytes += bytes;
		break;
	case 'V':
		if (!strncmp(line, "VmFlags:", 8)) {
			s->flags[s->cnt - 1] = region_flags_parse(line + 8);
			s->lines |= SMAPS_FLAGS;
		}
		break;
	default:
		break;
	}
}

/* A line ends with its newline, or with the text. */
static int add_line(struct smaps *s, const char *line, size_t len)
{
	struct target_mapping map;
	const char *path;
	size_t path_len;

	/* keys begin with capitals, addresses do not */
	if (*line >= 'A' && *line <= 'Z') {
		if (!s->cnt)
			return -EBADMSG;
		if (!s->skip)
			add_value(s, line);
		return 0;
	}
	if (!maps_line_parse(line, len, &map, &path, &path_len))
		return -EBADMSG;
	return add_mapping(s, &map, path, path_len);
}

int smaps_feed(struct smaps *s, const char *piece, size_t len)
{
	const char *line, *stop;
	int err = 0;

	text_add_len(&s->rest, piece, len);
	if (s->rest.failed)
		return -ENOMEM;
	for (line = text_str(&s->rest); !err && (stop = strchr(line, '\n')); line = stop + 1)
		err = add_line(s, line, stop - line);
	if (!err && line != text_str(&s->rest)) {
		s->rest.len -= line - s->rest.str;
		memmove(s->rest.str, line, s->rest.len + 1);
	}
	return err;
}

int smaps_end(struct smaps *s)
{
	int err = s->rest.len ? add_line(s, s->rest.str, s->rest.len) : 0;

	text_free(&s->rest);
	return err;
}

void smaps_free(struct smaps *s)
{
	maps_free(s->maps, s->cnt);
	free(s->values);
	free(s->flags);
	text_free(&s->rest);
	*s = (struct smaps){ 0 };
}

int smaps_read(int proc_fd, struct smaps *ret)
{
	int fd = openat(proc_fd, "smaps", O_RDONLY | O_CLOEXEC), err = 0;
	struct smaps s = { 0 };
	char *piece;
	ssize_t len;

	if (fd < 0)
		return -errno;
	piece = malloc(PIECE_BYTES);
	if (!piece)
		err = -ENOMEM;
	while (!err) {
		len = read(fd, piece, PIECE_BYTES);
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0) {
			err = len < 0 ? -errno : smaps_end(&s);
			break;
		}
		err = smaps_feed(&s, piece, len);
	}
	if (!err && !s.cnt)
		err = -ESRCH;
	free(piece);
	close(fd);
	if (err)
		smaps_free(&s);
	else
		*ret = s;
	return err;
}
