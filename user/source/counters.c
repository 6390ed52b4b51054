/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "source/counters.h"

#define CHUNK_BYTES	(COUNTERS_CHUNK * sizeof(struct stack_counters))

void counters_open(struct counters *c, int outer_fd)
{
	c->outer_fd = outer_fd;
	c->chunks_cnt = 0;
}

void counters_close(struct counters *c)
{
	for (uint32_t i = 0; i < c->chunks_cnt; i++)
		munmap(c->chunks[i], CHUNK_BYTES);
	c->chunks_cnt = 0;
}

static int chunk_add(struct counters *c)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint32_t i = c->chunks_cnt;
	void *mem;
	int fd, err;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "leak_counters", 4, sizeof(struct stack_counters), COUNTERS_CHUNK,
			    &opts);
	if (fd < 0)
		return fd;
	mem = mmap(NULL, CHUNK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	err = mem == MAP_FAILED ? -errno : bpf_map_update_elem(c->outer_fd, &i, &fd, BPF_ANY);
	close(fd);	/* the outer map and the mapping keep it */
	if (err) {
		if (mem != MAP_FAILED)
			munmap(mem, CHUNK_BYTES);
		return err;
	}
	c->chunks[c->chunks_cnt++] = mem;
	return 0;
}

int counters_restock(struct counters *c, uint32_t stacks_cnt)
{
	while (c->chunks_cnt < COUNTERS_CHUNKS_MAX && c->chunks_cnt * COUNTERS_CHUNK <= stacks_cnt + COUNTERS_CHUNK / 2) {
		int err = chunk_add(c);

		if (err)
			return err;
	}
	return 0;
}

struct stack_counters counters_read(const struct counters *c, uint32_t stack)
{
	const struct stack_counters *from;
	struct stack_counters to = { 0 };

	if (stack / COUNTERS_CHUNK >= c->chunks_cnt)
		return to;
	from = &c->chunks[stack / COUNTERS_CHUNK][stack % COUNTERS_CHUNK];
	/* deaths first: a block that is born and dies in between is seen as held, never as -1 */
	to.died_cnt = __atomic_load_n(&from->died_cnt, __ATOMIC_ACQUIRE);
	to.died_bytes = __atomic_load_n(&from->died_bytes, __ATOMIC_ACQUIRE);
	to.born_cnt = __atomic_load_n(&from->born_cnt, __ATOMIC_ACQUIRE);
	to.born_bytes = __atomic_load_n(&from->born_bytes, __ATOMIC_ACQUIRE);
	return to;
}

uint64_t counters_bytes(const struct counters *c)
{
	return c->chunks_cnt * CHUNK_BYTES;
}
