/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for libbpf's header of the same name: fields of the test's own structs. As in the kernel a pointer that
 * leads nowhere reads as 0.
 */
#ifndef SHIM_BPF_CORE_READ_H
#define SHIM_BPF_CORE_READ_H

#define SHIM_READ_1(ptr, a)	({ typeof(ptr) p_ = (ptr); p_ ? p_->a : (typeof(p_->a))0; })
#define SHIM_READ_2(ptr, a, b)	({ typeof((ptr)->a) q_ = SHIM_READ_1(ptr, a); q_ ? q_->b : (typeof(q_->b))0; })
#define SHIM_READ(ptr, a, b, name, ...)	name
#define BPF_CORE_READ(...)	SHIM_READ(__VA_ARGS__, SHIM_READ_2, SHIM_READ_1, 0)(__VA_ARGS__)

#endif
