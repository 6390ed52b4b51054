/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/progress.h"

#define PATIENCE_NS 500000000ull
#define WIDTH_UNKNOWN 80u

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void line_clear(struct progress *p)
{
	if (p->shown)
		fputs("\r\x1b[K", stderr);
	p->shown = false;
}

/* A line that is wider than the terminal would wrap, and only its rest could be taken away. */
static void line_write(struct progress *p)
{
	struct winsize size = { 0 };
	const char *line = text_str(&p->line);
	unsigned int width = WIDTH_UNKNOWN;

	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col > 1)
		width = size.ws_col;
	fprintf(stderr, "\r\x1b[K%.*s", (int)text_fit(line, width - 1), line);
	fflush(stderr);
	p->shown = true;
}

void progress_begin(struct progress *p, const char *what)
{
	if (log_get_level() < LOG_INFO || !isatty(STDERR_FILENO))
		return;
	text_clear(&p->line);
	text_add_safe(&p->line, what);
	text_add(&p->line, " …");
	if (p->line.failed)
		text_free(&p->line);	/* no progress is better than half of it */
	if (!p->start_ns)
		p->start_ns = clock_ns();
	if (p->shown)
		line_write(p);
	else
		progress_tick(p);
}

void progress_tick(struct progress *p)
{
	if (p->start_ns && !p->shown && clock_ns() - p->start_ns >= PATIENCE_NS)
		line_write(p);
}

void progress_end(struct progress *p)
{
	line_clear(p);
	text_free(&p->line);
	*p = (struct progress){ 0 };
}
