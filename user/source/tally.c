/* SPDX-License-Identifier: GPL-2.0-only */
#include <stddef.h>

#include "source/tally.h"

/* What the counters mean. A loss makes totals wrong and the exit code 3. */
struct counter_words {
	enum leak_counter counter;
	bool loss;
	const char *name;
};

static const struct counter_words counter_words[] = {
	{ LEAK_LOST_FULL, true, "blocks not booked: the books are full (--max-memory)" },
	{ LEAK_LOST_CONTENDED, true, "bookings given up: slot contended" },
	{ LEAK_LOST_CALLS, true, "calls not remembered: no task storage" },
	{ LEAK_LOST_READS, true, "results not read: posix_memalign" },
	{ LEAK_LOST_MAPPINGS, true, "calls of mmap, munmap, mremap not booked: the ring was full" },
	{ LEAK_STACKS_FULL, true, "blocks booked without their stack: [stacks full]" },
	{ LEAK_LOST_FULL_BYTES, false, "bytes not booked: the books are full" },
	{ LEAK_UNKNOWN_FREES, false, "frees of blocks not in the books (older than ebb, or below --min-size)" },
	{ LEAK_REPLACED, false, "blocks born where another one was booked (its free was not seen)" },
	{ LEAK_NESTED, false, "allocator calls from within the allocator" },
	{ LEAK_FAILED, false, "allocations that failed" },
	{ LEAK_SMALL, false, "allocations below --min-size" },
	{ LEAK_FOREIGN, false, "hits in forked children, not counted" },
	{ LEAK_ORPHANS, false, "returns whose entry was before attaching" },
	{ LEAK_TRAPS, false, "entries at emulated instructions" },
	{ LEAK_TRAPS_STEPPED, false, "entries at single-stepped instructions" },
	{ LEAK_TRAPS_RETURN, false, "returns" },
};

#define WORDS_CNT	(sizeof(counter_words) / sizeof(counter_words[0]))

uint64_t tally_sum(const struct tally *t, enum leak_counter counter)
{
	uint64_t sum = 0;

	for (int i = 0; i < LEAK_STRIPES; i++)
		sum += __atomic_load_n(&t->stripes[i].counters[counter], __ATOMIC_RELAXED);
	return sum;
}

void tally_losses(const struct tally *t, struct profile *p)
{
	for (size_t i = 0; i < WORDS_CNT; i++)
		if (counter_words[i].loss)
			profile_loss_set(p, counter_words[i].name, tally_sum(t, counter_words[i].counter));
}

unsigned int tally_cnt(void)
{
	return WORDS_CNT;
}

bool tally_at(const struct tally *t, unsigned int i, const char **ret_name, uint64_t *ret_cnt)
{
	if (i >= WORDS_CNT)
		return false;
	*ret_name = counter_words[i].name;
	*ret_cnt = tally_sum(t, counter_words[i].counter);
	return true;
}
