/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "source/leak_values.h"

const struct value_type leak_values[] = {
	[LEAK_HELD_BYTES] = { "held-bytes", "bytes" },
	[LEAK_HELD_BLOCKS] = { "held-blocks", "blocks" },
	[LEAK_ALLOC_BYTES] = { "alloc-bytes", "bytes" },
	[LEAK_ALLOC_BLOCKS] = { "alloc-blocks", "blocks" },
	[LEAK_PEAK_BYTES] = { "peak-bytes", "bytes" },
	[LEAK_OLD_BLOCKS] = { "old-blocks", "blocks" },
	{ NULL, NULL },
};

int leak_peaks_update(struct leak_peaks *peaks, struct profile *p)
{
	size_t cnt = profile_stacks_cnt(p);
	int64_t *more = realloc(peaks->list, (cnt + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	peaks->list = more;
	while (peaks->cnt < cnt)
		more[peaks->cnt++] = 0;
	for (size_t i = 0; i < cnt; i++) {
		int64_t held = profile_value(p, i, LEAK_HELD_BYTES);

		if (held > more[i])
			more[i] = held;
		profile_value_set(p, i, LEAK_PEAK_BYTES, more[i]);
	}
	return 0;
}

void leak_peaks_free(struct leak_peaks *peaks)
{
	free(peaks->list);
	*peaks = (struct leak_peaks){ .list = NULL };
}
