/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a process's memory is made of, in one look: its mappings by kind, with the kernel's own totals beside them.
 */
#ifndef TARGET_FOOTPRINT_H
#define TARGET_FOOTPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/region.h"
#include "target/smaps.h"

struct target;

struct footprint_part {
	struct smaps_values values;
	uint64_t reserved_bytes;	/* address space, without what can not be accessed */
	size_t maps_cnt;
};

/* Mappings of one kind and name; those without a name are one each. */
struct footprint_mapping {
	enum region_kind kind;
	char *name;			/* a path, the kernel's word in brackets, or NULL */
	uint64_t start, end;		/* of the first */
	size_t maps_cnt;
	struct smaps_values values;
};

/* What /proc/PID/status says. */
struct footprint_status {
	uint64_t rss_bytes, anon_bytes, file_bytes, shmem_bytes, swap_bytes, page_table_bytes, peak_bytes, hugetlb_bytes;
	uint64_t threads_cnt;
};

struct footprint {
	struct footprint_part parts[REGION_KINDS];
	struct footprint_part total;
	struct footprint_mapping *mappings;	/* the largest of each kind first; kinds in order */
	size_t mappings_cnt;
	enum region_runtime runtime;
	size_t threads_cnt;		/* that were looked at; 0 = not allowed */
	size_t stacks_cnt;		/* mappings that are stacks, those of threads that have ended included */
	unsigned int lines;		/* enum smaps_line */
	size_t moved_cnt;		/* as in struct smaps */
	uint64_t read_ns;		/* how long reading smaps took */
	struct footprint_status before, after;	/* the reading of smaps */
	uint64_t minor_faults, major_faults;	/* since its start */
};

/* status and stat as text -> ret; false: it has no memory. */
bool footprint_status_parse(const char *status, struct footprint_status *ret);
/* Sums up mappings of these kinds. -ENOMEM. */
int footprint_sum(const struct smaps *s, const enum region_kind *kinds, struct footprint *ret);
/* -ESRCH: it has no memory (any more); -EACCES; -ENOMEM; -EBADMSG. */
int footprint_read(const struct target *t, struct footprint *ret);
void footprint_free(struct footprint *f);

/* "V8 heap", "GC heap (.NET)", … of REGION_MANAGED; of the others as region_kind_label(). */
const char *footprint_label(const struct footprint *f, enum region_kind kind);

#endif
