/* SPDX-License-Identifier: GPL-2.0-only */
/* --acquire, --release, --pairs and --object of `ebb leak`. The pairs that are built in are one table, in leak_pairs.c. */
#ifndef CMD_LEAK_PAIRS_H
#define CMD_LEAK_PAIRS_H

#include <stdint.h>

#include "cmd/options.h"
#include "trace/pairs.h"

/*
 * The pairs of a command line: list has the options acquire, release and pairs in their order. -EINVAL (printed: a wrong
 * command line), -ENOMEM. pairs_free() in any case.
 */
int leak_pairs_parse(const struct option_list *list, const char *object, struct pairs *ret);
/* What is counted: "bytes", or what it is that the pairs give. */
const char *leak_pairs_unit(const struct pairs *pairs);
/* The domain whose objects are threads; 0 = none. */
uint32_t leak_pairs_threads(const struct pairs *pairs);

#endif
