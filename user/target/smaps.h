/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/PID/smaps: each mapping with what the kernel counted in its page tables (proc_pid_smaps(5)). It has a kilobyte for
 * each mapping, so it is parsed as it is read and not kept.
 */
#ifndef TARGET_SMAPS_H
#define TARGET_SMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct target_mapping;

struct smaps_values {
	uint64_t rss_bytes, pss_bytes;
	uint64_t own_bytes;	/* resident and nobody else's: Private_Clean and Private_Dirty */
	uint64_t swap_bytes;
	uint64_t huge_bytes;	/* of rss: in huge pages of the processor */
	uint64_t hugetlb_bytes;	/* reserved huge pages: neither in rss nor in VmRSS */
};

/* Which lines this kernel writes: bits. */
enum smaps_line {
	SMAPS_PSS = 1 << 0,
	SMAPS_SWAP = 1 << 1,
	SMAPS_HUGE = 1 << 2,
	SMAPS_FLAGS = 1 << 3,
};

struct smaps {
	struct target_mapping *maps;	/* sorted, without overlap */
	struct smaps_values *values;	/* one a mapping */
	uint8_t *flags;			/* enum region_flag */
	size_t cnt, size;
	unsigned int lines;		/* enum smaps_line */
	size_t moved_cnt;		/* mappings that changed while the file was read: left out, they were counted before */
	bool skip;			/* the lines that follow are of such a one */
	struct text rest;		/* the beginning of a line */
};

/* Text as it comes, in pieces of any length. -EBADMSG: this is not smaps; -ENOMEM. */
int smaps_feed(struct smaps *s, const char *piece, size_t len);
/* The end of the text. The same errors. */
int smaps_end(struct smaps *s);
void smaps_free(struct smaps *s);

/*
 * Of a process, by a descriptor of /proc/PID. The kernel fills a page of text at a time and holds the lock of the
 * process's mappings for no longer than the few mappings in it. -ESRCH: it has no memory (any more); -EACCES and others of open().
 */
int smaps_read(int proc_fd, struct smaps *ret);

#endif
