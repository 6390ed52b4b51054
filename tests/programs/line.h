/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Talking to a script line by line, without allocating: what a test program says must not be among
 * what it is measured by.
 */
#ifndef LINE_H
#define LINE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* One line of standard output, written in one piece. */
__attribute__((format(printf, 1, 2))) static inline void line_say(const char *fmt, ...)
{
	char buf[512];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(buf, sizeof(buf) - 1, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	if (len > (int)sizeof(buf) - 2)
		len = sizeof(buf) - 2;
	buf[len++] = '\n';
	if (write(STDOUT_FILENO, buf, len) != len)
		_exit(125);
}

/* The next line of standard input without its newline; false at its end. */
static inline bool line_read(char *buf, size_t size)
{
	size_t len = 0;
	char c;

	for (;;) {
		ssize_t got = read(STDIN_FILENO, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != 1)
			return false;
		if (c == '\n')
			break;
		if (len + 1 < size)
			buf[len++] = c;
	}
	buf[len] = '\0';
	return true;
}

/* Waits for any line, or for the end of the input. */
static inline void line_wait(void)
{
	char buf[64];

	line_read(buf, sizeof(buf));
}

#endif
