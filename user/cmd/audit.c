/* SPDX-License-Identifier: GPL-2.0-only */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "cmd/audit.h"

#define WAIT_NS	200000000

static void *send_line(void *arg)
{
	syslog(LOG_NOTICE, "%s", (char *)arg);
	free(arg);
	return NULL;
}

/* syslog(3) waits while the logger's socket is full, perhaps for ever: it does that in a thread of its own. */
void audit_note(const char *fmt, ...)
{
	struct timespec until;
	pthread_t thread;
	char *line = NULL;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&line, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	openlog("ebb", LOG_PID, LOG_DAEMON);
	if (pthread_create(&thread, NULL, send_line, line)) {
		free(line);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WAIT_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_timedjoin_np(thread, NULL, &until))
		pthread_detach(thread);
}

const char *audit_who(char buf[AUDIT_WHO_MAX])
{
	unsigned int login = -1u;
	FILE *f = fopen("/proc/self/loginuid", "re");

	if (f) {
		if (fscanf(f, "%u", &login) != 1)
			login = -1u;
		fclose(f);
	}
	if (login != -1u)
		snprintf(buf, AUDIT_WHO_MAX, "uid %u (login uid %u)", (unsigned int)getuid(), login);
	else
		snprintf(buf, AUDIT_WHO_MAX, "uid %u", (unsigned int)getuid());
	return buf;
}
