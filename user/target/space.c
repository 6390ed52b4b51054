/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "target/maps.h"
#include "target/space.h"

struct target_space {
	int maps_fd, pagemap_fd;
	uint64_t page_bytes;
	bool no_scan;
};

/* PAGEMAP_SCAN of include/uapi/linux/fs.h, from Linux 6.7; Debian 12's headers do not have it. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN		_IOWR('f', 16, struct scan_arg)
#define SCAN_PRESENT	(1ull << 3)
#define SCAN_ZERO	(1ull << 5)
#define SCAN_REGIONS	256
#define SCAN_STEP	(4ull << 30)	/* between two looks at the clock; a full one takes 10 ms */

#define PAGEMAP_PRESENT	(1ull << 63)
#define PAGEMAP_WORDS	8192

int target_space_open(const struct target *t, struct target_space **ret)
{
	struct target_space *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->page_bytes = sysconf(_SC_PAGESIZE);
	s->pagemap_fd = -1;
	s->maps_fd = openat(t->proc_fd, "maps", O_RDONLY | O_CLOEXEC);
	if (s->maps_fd < 0)
		err = -errno;
	if (!err)
		s->pagemap_fd = openat(t->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (!err && s->pagemap_fd < 0)
		err = -errno;
	if (err)
		target_space_free(s);
	else
		*ret = s;
	return err;
}

struct target_space *target_space_free(struct target_space *s)
{
	if (!s)
		return NULL;
	if (s->maps_fd >= 0)
		close(s->maps_fd);
	if (s->pagemap_fd >= 0)
		close(s->pagemap_fd);
	free(s);
	return NULL;
}

void target_space_without_scan(struct target_space *s)
{
	s->no_scan = true;
}

static int maps_read(const struct target_space *s, struct text *ret)
{
	char buf[16384];
	ssize_t len;

	if (lseek(s->maps_fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((len = read(s->maps_fd, buf, sizeof(buf))) > 0)
		text_add_len(ret, buf, len);
	if (len < 0)
		return -errno;
	return ret->failed ? -ENOMEM : ret->len ? 0 : -ESRCH;
}

static enum target_piece_kind kind_of(const struct target_mapping *map)
{
	if (!*map->path || !strncmp(map->path, "[anon", 5) || !strncmp(map->path, "/dev/zero", 9) ||
	    !strncmp(map->path, "/SYSV", 5))
		return TARGET_PIECE_ANON;
	if (!strcmp(map->path, "[heap]"))
		return TARGET_PIECE_HEAP;
	return *map->path == '[' ? TARGET_PIECE_KERNEL : TARGET_PIECE_FILE;
}

int target_space_pieces(const struct target_space *s, struct target_piece **ret, size_t *ret_cnt)
{
	struct target_mapping *maps = NULL;
	struct text text = { 0 };
	size_t cnt = 0;
	int err;

	err = maps_read(s, &text);
	if (!err)
		err = maps_parse(text.str, text.len, &maps, &cnt);
	text_free(&text);
	if (err)
		return err;
	*ret = malloc((cnt + 1) * sizeof(**ret));
	if (*ret) {
		for (size_t i = 0; i < cnt; i++)
			(*ret)[i] = (struct target_piece){ maps[i].start, maps[i].end, kind_of(&maps[i]) };
		*ret_cnt = cnt;
	}
	maps_free(maps, cnt);
	return *ret ? 0 : -ENOMEM;
}

static bool is_over(uint64_t until_ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec > until_ns;
}

/* -EOPNOTSUPP: this kernel does not have it. */
static int resident_scan(struct target_space *s, uint64_t start, uint64_t end, uint64_t until_ns, uint64_t *ret_bytes)
{
	struct scan_region regions[SCAN_REGIONS];
	uint64_t bytes = 0;

	while (start < end) {
		struct scan_arg arg = {
			.size = sizeof(arg), .start = start, .end = end - start > SCAN_STEP ? start + SCAN_STEP : end,
			.vec = (uintptr_t)regions, .vec_len = SCAN_REGIONS, .category_mask = SCAN_PRESENT | SCAN_ZERO,
			.category_inverted = SCAN_ZERO, .return_mask = SCAN_PRESENT,
		};
		int cnt = ioctl(s->pagemap_fd, SCAN, &arg);

		if (cnt < 0)
			return errno == ENOTTY || errno == EINVAL ? -EOPNOTSUPP : -errno;
		for (int i = 0; i < cnt; i++)
			bytes += regions[i].end - regions[i].start;
		if (arg.walk_end <= start)
			return -ESRCH;
		start = arg.walk_end;
		if (start < end && is_over(until_ns))
			return -ETIME;
	}
	*ret_bytes = bytes;
	return 0;
}

/* A word a page, also where nothing was ever touched. */
static int resident_words(struct target_space *s, uint64_t start, uint64_t end, uint64_t until_ns, uint64_t *ret_bytes)
{
	uint64_t first = start / s->page_bytes, left = (end - start) / s->page_bytes, cnt = 0;
	uint64_t *words = malloc(PAGEMAP_WORDS * sizeof(*words));
	int err = words ? 0 : -ENOMEM;

	while (!err && left) {
		size_t want = left < PAGEMAP_WORDS ? left : PAGEMAP_WORDS;
		ssize_t len = pread(s->pagemap_fd, words, want * sizeof(*words), first * sizeof(*words));

		if (len < (ssize_t)sizeof(*words)) {
			err = len < 0 ? -errno : -ESRCH;
			break;
		}
		want = len / sizeof(*words);
		for (size_t i = 0; i < want; i++)
			cnt += (words[i] & PAGEMAP_PRESENT) != 0;
		first += want;
		left -= want;
		if (left && is_over(until_ns))
			err = -ETIME;
	}
	free(words);
	if (!err)
		*ret_bytes = cnt * s->page_bytes;
	return err;
}

int target_space_resident(struct target_space *s, uint64_t start, uint64_t end, uint64_t until_ns, uint64_t *ret_bytes)
{
	int err = -EOPNOTSUPP;

	if (!s->no_scan)
		err = resident_scan(s, start, end, until_ns, ret_bytes);
	if (err != -EOPNOTSUPP)
		return err;
	s->no_scan = true;
	return resident_words(s, start, end, until_ns, ret_bytes);
}
