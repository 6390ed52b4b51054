/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/PID/maps as text -> mappings, and one reading of it merged with the one before. Inside the
 * layer; knows nothing of files.
 */
#ifndef TARGET_MAPS_H
#define TARGET_MAPS_H

#include <stdbool.h>
#include <stddef.h>

#include "target/target.h"

/*
 * Parses one line, which may be the head of an smaps entry too. `map` gets all but its path; the path
 * is path_len bytes in the line as the kernel wrote it (newlines as \012). False when it is no such line.
 */
bool maps_line_parse(const char *line, size_t len, struct target_mapping *map, const char **ret_path,
		     size_t *ret_path_len);

/* The text of the whole file. Mappings are sorted and do not overlap. -EBADMSG, -ENOMEM. */
int maps_parse(const char *text, size_t len, struct target_mapping **ret, size_t *ret_cnt);
void maps_free(struct target_mapping *maps, size_t cnt);

/* "\012" -> newline, in place: the one character that the kernel escapes in maps. */
void maps_unescape(char *path);

/*
 * Makes `now` (as maps_parse() gives it, modules filled in) the mappings of the target. Executable
 * mappings of files that are not in it any more stay, marked gone, behind the others. Takes over `now`.
 * 1 when an executable mapping came, went or changed; 0; -ENOMEM, and then nothing has changed.
 */
int maps_replace(struct target *t, struct target_mapping *now, size_t now_cnt);

#endif
