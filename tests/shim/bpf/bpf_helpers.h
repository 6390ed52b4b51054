/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for libbpf's header of the same name when BPF C is compiled for this machine. A helper is
 * renamed to shim_NAME, which the test defines: libbpf, which every test links, has functions for user
 * space of the same names. For the same reason include it after whatever needs <bpf/bpf.h>.
 */
#ifndef SHIM_BPF_HELPERS_H
#define SHIM_BPF_HELPERS_H

#define SEC(name)
#define __hidden
#define __uint(name, val)	int (*name)[val]
#define __type(name, val)	typeof(val) *name
#define __array(name, val)	typeof(val) *name[]

#undef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#undef __noinline
#define __noinline		__attribute__((noinline))

/* clang's word for BPF; gcc unrolls or not as it likes. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"

/* In BPF it orders all that is before and after it; gcc's own only what is after. */
#define __sync_lock_test_and_set(ptr, val)	__atomic_exchange_n(ptr, val, __ATOMIC_SEQ_CST)

#define bpf_map_lookup_elem	shim_map_lookup_elem
void *shim_map_lookup_elem(void *map, const void *key);
#define bpf_get_prandom_u32	shim_get_prandom_u32
unsigned int shim_get_prandom_u32(void);
#define bpf_map_update_elem	shim_map_update_elem
long shim_map_update_elem(void *map, const void *key, const void *value, unsigned long long flags);
#define bpf_map_delete_elem	shim_map_delete_elem
long shim_map_delete_elem(void *map, const void *key);
#define bpf_probe_read_user	shim_probe_read_user
long shim_probe_read_user(void *dst, unsigned int size, const void *addr);
#define bpf_ringbuf_output	shim_ringbuf_output
long shim_ringbuf_output(void *ring, void *data, unsigned long long size, unsigned long long flags);
#define bpf_get_smp_processor_id	shim_get_smp_processor_id
unsigned int shim_get_smp_processor_id(void);
#define bpf_get_current_pid_tgid	shim_get_current_pid_tgid
unsigned long long shim_get_current_pid_tgid(void);

struct task_struct;
#define bpf_get_current_task()	((unsigned long)shim_get_current_task())
#define bpf_get_current_task_btf	shim_get_current_task
struct task_struct *shim_get_current_task(void);
#define bpf_task_pt_regs	shim_task_pt_regs
long shim_task_pt_regs(struct task_struct *task);

#endif
