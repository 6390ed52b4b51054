/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages to stderr. stdout carries only results and is never written here.
 *
 * log_error() returns the error that it is given, so that saying and returning are one step:
 *
 *	err = log_error(-EINVAL, "no such file: %s", path); goto out;
 *
 * Text that comes from outside (names, paths) goes through text_safe() first: see base/text.h.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
	LOG_ERROR,	/* -q: errors only */
	LOG_INFO,	/* the default: errors, warnings, progress */
	LOG_DEBUG,	/* -v */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

int log_error(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
