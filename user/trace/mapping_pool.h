/* SPDX-License-Identifier: GPL-2.0-only */
/* Room for the mappings of processes in one array of the kernel. Inside the layer. */
#ifndef TRACE_MAPPING_POOL_H
#define TRACE_MAPPING_POOL_H

#include <stdint.h>

#include "abi.h"

struct pool_range {
	uint32_t first;
	uint32_t cnt;	/* a power of two, or all that was left; 0 = none */
};

struct mapping_pool {
	struct unwind_mapping *mappings;	/* the map */
	uint32_t max;
	uint32_t used;		/* never given out behind it */
	struct pool_range *free;	/* given back */
	uint32_t free_cnt, free_size;
};

int mapping_pool_open(struct mapping_pool *p, int fd, uint32_t max);
void mapping_pool_close(struct mapping_pool *p);
/* Makes r a range of at least cnt; what it was is given back if it is too small. -ENOSPC, -ENOMEM. */
int mapping_pool_fit(struct mapping_pool *p, struct pool_range *r, uint32_t cnt);
void mapping_pool_give_back(struct mapping_pool *p, struct pool_range *r);

#endif
