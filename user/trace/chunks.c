/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trace/chunks.h"

int outer_map_publish(int outer_fd, const int *inner_fds, uint32_t first, uint32_t cnt)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
	uint32_t *keys = calloc(cnt + 1, sizeof(*keys));
	uint32_t done = cnt;
	int err;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++)
		keys[i] = first + i;
	err = cnt ? bpf_map_update_batch(outer_fd, keys, inner_fds, &done, &opts) : 0;
	if (err) {
		err = 0;
		for (uint32_t i = 0; !err && i < cnt; i++)
			err = bpf_map_update_elem(outer_fd, &keys[i], &inner_fds[i], BPF_ANY);
	}
	free(keys);
	return err;
}

void chunks_open(struct chunks *c, int outer_fd, uint64_t max_bytes)
{
	uint64_t max = max_bytes / sizeof(struct unwind_chunk);

	memset(c, 0, sizeof(*c));
	c->outer_fd = outer_fd;
	c->max = max > UNWIND_CHUNKS_MAX ? UNWIND_CHUNKS_MAX : max;
}

void chunks_close(struct chunks *c)
{
	for (uint32_t i = 0; i < c->cnt; i++)
		close(c->fds[i]);
	c->cnt = c->published = 0;
}

static int row_chunk_new(struct chunks *c)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd;

	if (c->cnt >= c->max)
		return -ENOSPC;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_chunk", sizeof(uint32_t), sizeof(struct unwind_chunk), 1, &opts);
	if (fd < 0)
		return fd;
	c->fds[c->cnt] = fd;
	c->used[c->cnt] = c->pieces[c->cnt] = 0;
	return c->cnt++;
}

/* The first chunk that has room; c->cnt when none has. */
static uint32_t find_room(const struct chunks *c, uint32_t words_cnt)
{
	uint32_t at = 0;

	while (at < c->cnt && c->used[at] + words_cnt > UNWIND_CHUNK_WORDS)
		at++;
	return at;
}

uint32_t chunks_room(const struct chunks *c, uint32_t words_cnt)
{
	uint32_t at = find_room(c, words_cnt);

	return at == c->cnt ? 0 : c->used[at];
}

int chunks_add(struct chunks *c, const uint32_t *words, uint32_t words_cnt, uint32_t *ret_chunk, uint32_t *ret_word)
{
	struct unwind_chunk *mem;
	int at;

	if (words_cnt > UNWIND_CHUNK_WORDS)
		return -EINVAL;
	at = find_room(c, words_cnt);
	if (at == (int)c->cnt)
		at = row_chunk_new(c);
	if (at < 0)
		return at;
	/* mapped for the moment only: what stays mapped counts as our own memory */
	mem = mmap(NULL, sizeof(*mem), PROT_READ | PROT_WRITE, MAP_SHARED, c->fds[at], 0);
	if (mem == MAP_FAILED)
		return -errno;
	memcpy(mem->words + c->used[at], words, words_cnt * sizeof(*words));
	munmap(mem, sizeof(*mem));
	*ret_chunk = at;
	*ret_word = c->used[at];
	c->used[at] += words_cnt;
	c->pieces[at]++;
	return 0;
}

void chunks_remove(struct chunks *c, uint32_t chunk)
{
	if (!--c->pieces[chunk])
		c->used[chunk] = 0;
}

int chunks_publish(struct chunks *c)
{
	int err = outer_map_publish(c->outer_fd, c->fds + c->published, c->published, c->cnt - c->published);

	if (!err)
		c->published = c->cnt;
	return err;
}

uint64_t chunks_bytes(const struct chunks *c)
{
	return c->cnt * (uint64_t)sizeof(struct unwind_chunk);
}
