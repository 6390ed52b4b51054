/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mangled names of C++ (Itanium ABI), Rust (legacy and v0) and D in readable form, through libiberty. Names come
 * from files that are not trusted: time, memory and stack are bounded.
 */
#ifndef SYMBOL_DEMANGLE_H
#define SYMBOL_DEMANGLE_H

/*
 * *ret_name is the readable name, the caller's to free. -ENOENT: not mangled, or better left as it is
 * (it is broken, or its expansion is too large). -ENOMEM.
 */
int demangle_name(const char *name, char **ret_name);

#endif
