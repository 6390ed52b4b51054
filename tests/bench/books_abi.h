/* SPDX-License-Identifier: GPL-2.0-only */
/* What books.bpf.c and books.c agree on. */
#ifndef BENCH_BOOKS_ABI_H
#define BENCH_BOOKS_ABI_H

#define BENCH_LIVE		1000000u	/* blocks */
#define BENCH_HASH_ENTRIES	1500000u	/* the kernel's hash must not be full */
#define BENCH_KEYS_MAX		65536u		/* of one run of a program */

#endif
