/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ret instructions by which a call of a function comes back: for functions that must have no return probe, because
 * they may throw or switch stacks. Inside the layer.
 */
#ifndef TRACE_RETURNS_H
#define TRACE_RETURNS_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "elf/fde.h"
#include "elf/image.h"
#include "target/target.h"

/* A file in which functions are looked at. */
struct returns_file {
	const struct target *t;
	const struct target_module *module;
	const struct image *img;
	struct fde_range *fdes;
	size_t fdes_cnt;
};

int returns_open(const struct target *t, const struct target_module *m, const struct image *img, struct returns_file *ret);
void returns_close(struct returns_file *f);

/*
 * All rets of the function at va, of bytes (0 = unknown), and of what it jumps to at its end: vas, sorted. 0; -ENOEXEC
 * with the reason in *ret_why when they cannot all be known; -ENOMEM. The caller frees *ret_vas.
 */
int returns_find(const struct returns_file *f, uint64_t va, uint64_t bytes, uint64_t **ret_vas, size_t *ret_cnt,
		 struct text *ret_why);

#endif
