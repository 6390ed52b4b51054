/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions that only jump to another one. Inside the layer. */
#ifndef TRACE_STUB_H
#define TRACE_STUB_H

#include <stdbool.h>
#include <stdint.h>

#include "elf/image.h"
#include "target/allocator.h"
#include "target/target.h"

/*
 * When all that a function does is to jump to another function of the same allocator, directly or
 * through the PLT, that one; else NULL. img: of the allocator's file.
 */
const struct allocator_function *stub_target(const struct target *t, const struct image *img, const struct allocator *a,
					     const struct allocator_function *fn);

#endif
