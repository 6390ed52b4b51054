/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "trace/mapping_pool.h"

#define RANGE_MIN	64u	/* mappings that a small program has room for */

int mapping_pool_open(struct mapping_pool *p, int fd, uint32_t max)
{
	void *mem = mmap(NULL, max * sizeof(*p->mappings), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		return -errno;
	*p = (struct mapping_pool){ .mappings = mem, .max = max };
	return 0;
}

void mapping_pool_close(struct mapping_pool *p)
{
	if (p->mappings)
		munmap(p->mappings, p->max * sizeof(*p->mappings));
	free(p->free);
	*p = (struct mapping_pool){ 0 };
}

void mapping_pool_give_back(struct mapping_pool *p, struct pool_range *r)
{
	if (!r->cnt)
		return;
	if (p->free_cnt == p->free_size) {
		uint32_t size = p->free_size ? p->free_size * 2 : 16;
		struct pool_range *list = realloc(p->free, size * sizeof(*list));

		if (!list)	/* its room is lost, nothing else */
			goto out;
		p->free = list;
		p->free_size = size;
	}
	p->free[p->free_cnt++] = *r;
out:
	*r = (struct pool_range){ 0 };
}

int mapping_pool_fit(struct mapping_pool *p, struct pool_range *r, uint32_t cnt)
{
	struct pool_range range = { .cnt = RANGE_MIN };

	if (cnt <= r->cnt)
		return 0;
	while (range.cnt < cnt)
		range.cnt *= 2;
	for (uint32_t i = 0; i < p->free_cnt; i++) {
		if (p->free[i].cnt != range.cnt)
			continue;
		range = p->free[i];
		p->free[i] = p->free[--p->free_cnt];
		goto found;
	}
	if (range.cnt > p->max - p->used && p->max - p->used >= cnt)
		range.cnt = p->max - p->used;
	if (range.cnt > p->max - p->used)
		return -ENOSPC;
	range.first = p->used;
	p->used += range.cnt;
found:
	mapping_pool_give_back(p, r);
	*r = range;
	return 0;
}
