/* SPDX-License-Identifier: GPL-2.0-only */
/* The kinds of value of the source leak, in a profile. */
#ifndef SOURCE_LEAK_VALUES_H
#define SOURCE_LEAK_VALUES_H

#include <stddef.h>

#include "source/leak.h"

extern const struct value_type leak_values[];

static inline void leak_value_add(struct profile *p, int stack, enum leak_value value, int64_t n)
{
	profile_value_set(p, stack, value, profile_value(p, stack, value) + n);
}

/* The most that each stack of a profile has held in any snapshot. */
struct leak_peaks {
	int64_t *list;		/* bytes, by the profile's stacks */
	size_t cnt;
};

/* At each snapshot, when all that is held is in the profile: sets LEAK_PEAK_BYTES. -ENOMEM. */
int leak_peaks_update(struct leak_peaks *peaks, struct profile *p);
void leak_peaks_free(struct leak_peaks *peaks);

#endif
