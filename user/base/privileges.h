/* SPDX-License-Identifier: GPL-2.0-only */
/* What this process is allowed, given away when it is not needed any more. */
#ifndef BASE_PRIVILEGES_H
#define BASE_PRIVILEGES_H

#include <stdint.h>

#define PRIVILEGE(cap)	(1ull << (cap))	/* CAP_… of linux/capability.h */

/*
 * Keeps of its capabilities only those in `keep`, and out of reach those in `spare`, see privileges_raise(); nothing that it
 * executes gains any; it dumps no core, in which there would be parts of the target. Children have no more. 0 or a negative
 * errno, and then some may be gone.
 */
int privileges_keep(uint64_t keep, uint64_t spare);
/* Spare ones, for the moment in which they are needed. Those that it has all the time stay as they are. */
void privileges_raise(uint64_t spare);
void privileges_lower(uint64_t spare);

#endif
