/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes everything from the calling process that a parser of foreign bytes does not need.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdint.h>

/*
 * For a child that was just forked, with one descriptor to keep. Afterwards the process is nobody, without
 * capabilities, cannot open files, execute, signal, connect or map executable memory (a seccomp filter; most kill it if it tries),
 * dumps no core, may allocate data_bytes (0 = no limit), and ends when its parent does. Signals of a terminal and SIGTERM
 * are ignored: the parent decides. 0, or a negative errno: then do not go on. The kept descriptor becomes number 0.
 */
int sandbox_enter(int keep_fd, uint64_t data_bytes);

#endif
