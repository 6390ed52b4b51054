/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tells the unwinder where the target has executable code.
 */
#ifndef TRACE_CODE_H
#define TRACE_CODE_H

#include "abi.h"
#include "target/target.h"

/*
 * The executable mappings of t, joined until they fit: at most CODE_RANGES_MAX, sorted. Where there are more,
 * the narrowest gaps are closed, so that code is never taken for something else.
 */
void code_ranges_make(const struct target *t, struct code_ranges *ret);

/* Writes them into the buffer of map_fd (stack_code) that is not in use and switches to it. */
int code_publish(int map_fd, struct stack_state *state, const struct target *t);

#endif
