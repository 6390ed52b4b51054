/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mapped files of a target, parsed. Only in a process without privileges: see trace/survey.h.
 */
#ifndef TARGET_IMAGES_H
#define TARGET_IMAGES_H

#include "elf/image.h"
#include "target/target.h"

struct images;

/* Opens those that the worker has called ELF files. -ENOMEM, -EPERM (image_forbid()). */
int images_open(const struct target *t, struct images **ret);
struct images *images_free(struct images *images);
/* NULL: the module is no ELF file that we read, not mapped any more, or the vdso, where nobody looks for an allocator. */
const struct image *images_of(const struct images *images, const struct target_module *m);

#endif
