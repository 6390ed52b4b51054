/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of leak counted beside the books: losses, and what explains the numbers; each with its
 * words.
 */
#ifndef SOURCE_TALLY_H
#define SOURCE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "profile/profile.h"

/* Memory shared with the kernel, borrowed. */
struct tally {
	const struct leak_stripe *stripes;
};

uint64_t tally_sum(const struct tally *t, enum leak_counter counter);
/* The losses of now into the profile. */
void tally_losses(const struct tally *t, struct profile *p);
/* Everything, i from 0; false at the end. */
unsigned int tally_cnt(void);
bool tally_at(const struct tally *t, unsigned int i, const char **ret_name, uint64_t *ret_cnt);

#endif
