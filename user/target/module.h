/* SPDX-License-Identifier: GPL-2.0-only */
/* The files behind executable mappings: found, opened, placed. Inside the layer. */
#ifndef TARGET_MODULE_H
#define TARGET_MODULE_H

#include "target/target.h"

/*
 * Gives every executable mapping of a file, and the vdso, its module: a known one, or a new one that is
 * opened. A file that cannot be opened is a module with open_err, not a failure. -ENOMEM, -EBUSY.
 */
int modules_assign(struct target *t, struct target_mapping *maps, size_t cnt);
/* Which module is /proc/PID/exe now, and t->exe. -ENOMEM; a process that is gone is no failure. */
int modules_find_exe(struct target *t);
/* Address - va of a mapping of a file. */
uint64_t mapping_bias(const struct target_mapping *map, const struct file_facts *facts);
struct target_module *module_free(struct target_module *m);

#endif
