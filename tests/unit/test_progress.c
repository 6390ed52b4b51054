/* SPDX-License-Identifier: GPL-2.0-only */
/* What a terminal is told: while something takes long, and of what is noted. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/notes.h"
#include "cmd/progress.h"
#include "test.h"

/* Standard error is a terminal, or a pipe, until caught(). */
struct catching {
	int saved_fd, read_fd;
};

static bool catch_begin(struct catching *c, bool terminal)
{
	int fds[2];

	if (terminal ? openpty(&fds[0], &fds[1], NULL, NULL, &(struct winsize){ .ws_col = 30, .ws_row = 10 }) : pipe(fds))
		return false;
	fflush(stderr);
	c->saved_fd = dup(STDERR_FILENO);
	c->read_fd = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	return true;
}

/* What was written since the last time. */
static const char *caught(struct catching *c)
{
	static char buf[4096];
	struct pollfd pfd = { .fd = c->read_fd, .events = POLLIN };
	size_t len = 0;

	fflush(stderr);
	while (len < sizeof(buf) - 1 && poll(&pfd, 1, 0) > 0 && pfd.revents & POLLIN) {
		ssize_t got = read(c->read_fd, buf + len, sizeof(buf) - 1 - len);

		if (got <= 0)
			break;
		len += got;
	}
	buf[len] = '\0';
	return buf;
}

static void catch_end(struct catching *c)
{
	fflush(stderr);
	dup2(c->saved_fd, STDERR_FILENO);
	close(c->saved_fd);
	close(c->read_fd);
}

/* The begin was a second ago. */
static void a_second_later(struct progress *p)
{
	p->start_ns -= 1000000000ull;
}

/* All that is written to the terminal is compared after it is one again. */
TEST(terminal)
{
	struct progress p = { 0 };
	char *got[7] = { NULL };
	struct catching c;

	if (!catch_begin(&c, true))
		TEST_SKIP("no terminal can be made here");
	progress_begin(&p, "reading symbols of x");
	progress_tick(&p);
	progress_end(&p);
	got[0] = strdup(caught(&c));
	progress_begin(&p, "reading symbols of x");
	a_second_later(&p);
	progress_tick(&p);
	progress_tick(&p);
	got[1] = strdup(caught(&c));
	progress_begin(&p, "reading \x1b[2J of a name that is too long for the terminal");
	got[2] = strdup(caught(&c));
	progress_end(&p);
	progress_end(&p);
	got[3] = strdup(caught(&c));
	/* the next one has its own time */
	progress_begin(&p, "short");
	progress_tick(&p);
	progress_end(&p);
	got[4] = strdup(caught(&c));
	/* in many steps that are short: their time is counted together */
	progress_begin(&p, "one");
	a_second_later(&p);
	progress_begin(&p, "two");
	got[5] = strdup(caught(&c));
	progress_end(&p);
	caught(&c);
	log_set_level(LOG_ERROR);
	progress_begin(&p, "quiet");
	CHECK_EQ(p.start_ns, 0);
	progress_tick(&p);
	progress_end(&p);
	log_set_level(LOG_INFO);
	got[6] = strdup(caught(&c));
	catch_end(&c);
	CHECK_STR(got[0], "");
	CHECK_STR(got[1], "\r\x1b[Kreading symbols of x …");
	CHECK_STR(got[2], "\r\x1b[Kreading \\x1b[2J of a name tha");
	CHECK_STR(got[3], "\r\x1b[K");
	CHECK_STR(got[4], "");
	CHECK_STR(got[5], "\r\x1b[Ktwo …");
	CHECK_STR(got[6], "");
	for (size_t i = 0; i < sizeof(got) / sizeof(got[0]); i++)
		free(got[i]);
}

TEST(no_terminal)
{
	struct progress p = { 0 };
	struct catching c;
	char *got;

	if (!CHECK(catch_begin(&c, false)))
		return;
	progress_begin(&p, "reading");
	p.start_ns = 1;		/* as if it had begun */
	progress_end(&p);
	got = strdup(caught(&c));
	catch_end(&c);
	CHECK_STR(got, "");
	free(got);
}

TEST(notes)
{
	static const struct value_type types[] = { { "blocks", "blocks" }, { NULL, NULL } };
	struct profile *p = profile_new(types);
	struct report *few = report_new(), *all = report_new(), *unknown = report_new();
	enum report_style style;
	struct catching c;
	char *got;

	profile_note_set(p, "stacks cut: too deep", 123456);
	profile_note_set(p, "stacks cut: no rows", 5000);
	profile_note_set(p, "stacks cut: never", 0);
	profile_note_set(p, "stacks cut: once", 1);
	if (!CHECK(catch_begin(&c, false)))
		return;
	notes_say(p, 1000000);
	got = strdup(caught(&c));
	catch_end(&c);
	CHECK_STR(got, "stacks cut: too deep: 123,456 (12.3 %)\n");
	free(got);
	notes_report(p, 1000000, false, few);
	notes_report(p, 1000000, true, all);
	notes_report(p, 0, false, unknown);
	CHECK_EQ(report_lines_cnt(few, REPORT_HEAD), 1);
	CHECK_EQ(report_lines_cnt(all, REPORT_HEAD), 3);
	CHECK_STR(report_line(all, REPORT_HEAD, 1, &style), "stacks cut: no rows: 5,000 (0.5 %)");
	CHECK_STR(report_line(all, REPORT_HEAD, 2, &style), "stacks cut: once: 1 (<0.1 %)");
	CHECK_EQ(report_lines_cnt(unknown, REPORT_HEAD), 3);
	CHECK_STR(report_line(unknown, REPORT_HEAD, 0, &style), "stacks cut: too deep: 123,456");
	report_free(few);
	report_free(all);
	report_free(unknown);
	profile_free(p);
}

TEST_MAIN(TEST_CASE(terminal), TEST_CASE(no_terminal), TEST_CASE(notes))
