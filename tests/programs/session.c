/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libsession.so of the server: sessions, which somebody forgets to close. See server.c.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

struct session {
	unsigned int user;
	unsigned char state[SESSION_BYTES - sizeof(unsigned int)];
};

__attribute__((noinline)) struct session *session_new(unsigned int user)
{
	struct session *s = malloc(sizeof(*s));

	if (s) {
		s->user = user;
		memset(s->state, (int)user, sizeof(s->state));
	}
	return s;
}

__attribute__((noinline)) struct session *session_open(unsigned int user)
{
	struct session *s = session_new(user);

	if (s)
		s->user |= 1;
	return s;
}

__attribute__((noinline)) void session_close(struct session *s)
{
	free(s);
}
