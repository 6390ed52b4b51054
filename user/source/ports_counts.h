/* SPDX-License-Identifier: GPL-2.0-only */
/* What the programs of bpf/ports.bpf.c count: each enum ports_counter, in the map ports_counts. */
#ifndef SOURCE_PORTS_COUNTS_H
#define SOURCE_PORTS_COUNTS_H

#include <stdint.h>

#include "abi.h"
#include "profile/profile.h"

/* For people. */
const char *ports_count_name(enum ports_counter counter);
/* Sum over all CPUs; 0 when the map cannot be read. */
uint64_t ports_count_read(int counts_fd, enum ports_counter counter);
/* Those that are losses. */
void ports_count_losses(int counts_fd, struct profile *p);

#endif
