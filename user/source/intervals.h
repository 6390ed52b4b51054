/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parts of an address space and what is known of each: disjoint intervals, sorted. Knows nothing of processes.
 *
 *	├── A ──┤   ├──── B ────┤├── C ──┤
 *	          ▲ cut ▲                     parts of A and B go, what stays of B keeps all but its start
 *
 * An interval never grows and never melts into its neighbour: each is what one call has mapped. A treap: operations take
 * the logarithm of the count, and what they take out.
 */
#ifndef SOURCE_INTERVALS_H
#define SOURCE_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intervals;

struct interval {
	uint64_t start, end;		/* end is not in it */
	uint64_t born_ns;		/* when it was mapped */
	uint64_t placed_ns;		/* when it was put where it is; later than born_ns if it was moved */
	uint64_t resident_bytes;	/* as the owner of the map says; at most its size, also after a cut */
	uint32_t owner;
};

/* NULL when memory is short. */
struct intervals *intervals_new(void);
struct intervals *intervals_free(struct intervals *s);
size_t intervals_cnt(const struct intervals *s);

/*
 * Takes out what lies in [start, end) and was placed at or before until_ns. ret_taken: what was taken, sorted, for the caller to
 * free, and how many; or both NULL. -ENOMEM, and then nothing has changed. start < end.
 */
int intervals_take(struct intervals *s, uint64_t start, uint64_t end, uint64_t until_ns, struct interval **ret_taken,
		   size_t *ret_cnt);
/* In the place of whatever is there. -ENOMEM, as above. start < end. */
int intervals_put(struct intervals *s, const struct interval *new);

/* The first one that ends after addr; NULL. Valid until the map changes; resident_bytes may be written. */
struct interval *intervals_after(const struct intervals *s, uint64_t addr);

#endif
