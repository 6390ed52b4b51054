/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

static enum log_level log_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level log_get_level(void)
{
	return log_level;
}

static void log_line(const char *prefix, const char *fmt, va_list args)
{
	fputs(prefix, stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

int log_error(int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line("ebb: ", fmt, args);
	va_end(args);
	return err;
}

void log_warn(const char *fmt, ...)
{
	va_list args;

	if (log_level < LOG_INFO)
		return;
	va_start(args, fmt);
	log_line("ebb: warning: ", fmt, args);
	va_end(args);
}

void log_info(const char *fmt, ...)
{
	va_list args;

	if (log_level < LOG_INFO)
		return;
	va_start(args, fmt);
	log_line("", fmt, args);
	va_end(args);
}

void log_debug(const char *fmt, ...)
{
	va_list args;

	if (log_level < LOG_DEBUG)
		return;
	va_start(args, fmt);
	log_line("ebb: debug: ", fmt, args);
	va_end(args);
}
