/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of leak say of mappings: one event a call of mmap, munmap or mremap, through the ring of leak. It wakes
 * nobody until a quarter of the ring is full, so whatever else is said there has to wake by force.
 */
#ifndef EBB_MAPPING_ABI_H
#define EBB_MAPPING_ABI_H

#include "abi.h"

#define LEAK_RING_BYTES		(64u << 10)
#define MAPPING_WAKE_BYTES	(LEAK_RING_BYTES / 4)

/* Below any page: where old_bytes has the flags. */
#define MAPPING_FLAGS_MASK	0xfffull
#define MAPPING_DONTUNMAP	4u	/* MREMAP_DONTUNMAP of include/uapi/linux/mman.h */

/*
 * munmap is told at its entry, with what it will take away if its arguments are right: at its return somebody else may
 * have been given the addresses, and have told that before. The others are told at their return, when they have worked.
 */
struct mapping_event {
	__u32 type;		/* LEAK_EVENT_MMAP, LEAK_EVENT_MUNMAP, LEAK_EVENT_MREMAP */
	__u32 stack;		/* STACK_NONE: an allocator has called it */
	__u64 addr, bytes;	/* of what there is now; munmap: of what goes. Sizes are as given, not whole pages */
	__u64 ns;		/* now, CLOCK_MONOTONIC */
	/* From here on only with mremap; a ring of short events holds twice as many. */
	__u64 old_addr;		/* of what there was */
	__u64 old_bytes;	/* in whole steps of 4 KiB, and the call's flags */
	__u64 begin_ns;		/* when it was called */
};
_Static_assert(sizeof(struct mapping_event) == 56, "same layout on both sides");
#define MAPPING_SHORT_BYTES	32	/* without these */

#endif
