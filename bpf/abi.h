/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that the BPF programs and the user side agree on.
 *
 * Included after <vmlinux.h> on the kernel side, after nothing on the user side.
 */
#ifndef EBB_ABI_H
#define EBB_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * What a probed function does with its arguments (SysV x86-64 and AAPCS64: arg0 is rdi or x0).
 * It travels to the program in the attach cookie, so one program serves them all.
 */
enum probe_kind {
	PROBE_MALLOC = 1,	/* p = f(size): malloc, valloc, pvalloc, mallocx */
	PROBE_CALLOC,		/* p = f(n, size) */
	PROBE_REALLOC,		/* p = f(old, size): realloc; NULL with size 0 has freed */
	PROBE_RALLOCX,		/* p = f(old, size): rallocx; NULL always leaves old alive */
	PROBE_REALLOCARRAY,	/* p = f(old, n, size) */
	PROBE_MEMALIGN,		/* p = f(alignment, size): memalign, aligned_alloc */
	PROBE_POSIX_MEMALIGN,	/* err = f(&p, alignment, size) */
	PROBE_XALLOCX,		/* real size = f(p, size, extra, flags): in place */
	PROBE_FREE,		/* f(p): free, cfree, sdallocx, dallocx, free_sized … */
	PROBE_KINDS,
};

#endif
