/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finds the file with the debug information of another one, or with what several of those have in common: by its build id or
 * the name that is said, in the target's root and in ours. Opens regular files only, and leaves it to the worker whether one is the right one. Inside the layer.
 */
#ifndef SYMBOL_DEBUG_PATH_H
#define SYMBOL_DEBUG_PATH_H

#include <stdbool.h>

#include "symbol/names.h"
#include "target/target.h"

/*
 * The n-th place where it may be, n from 0: a descriptor, -ENOENT where nothing is, -ERANGE when there are no more places.
 * module_path: of the file, as the target sees it. debuginfod: the last place are the servers of DEBUGINFOD_URLS.
 */
int debug_path_open(const struct target *t, const char *module_path, const struct names_wish *wish, bool debuginfod, int n);

#endif
