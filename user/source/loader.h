/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every source needs around libbpf: limits, messages, maps that two objects share, and what the
 * kernel tells of programs and maps.
 */
#ifndef SOURCE_LOADER_H
#define SOURCE_LOADER_H

#include <stdint.h>

struct bpf_object;
struct bpf_program;

/* Once before anything is loaded: messages of libbpf to our log, limits raised. */
int loader_prepare(void);

/* Says why loading failed in words a user can act on; returns err, or -EOPNOTSUPP: this kernel cannot do it. */
int loader_error(int err, const char *what);

/* Makes `from`'s maps stand in for the maps of the same names in `to`, which is not loaded yet. */
int loader_share_maps(struct bpf_object *to, const struct bpf_object *from);

/* Memory of an object's maps, inner maps not included, as the kernel accounts it. */
uint64_t loader_map_bytes(const struct bpf_object *obj);

/* Adds the runs of an object's programs, counted while BPF statistics are on, to *cnt and *ns. */
void loader_add_runs(const struct bpf_object *obj, uint64_t *cnt, uint64_t *ns);

/* Runs of an object's programs that the kernel skipped because they would have nested. */
uint64_t loader_missed(const struct bpf_object *obj);

#endif
