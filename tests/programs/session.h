/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SESSION_H
#define SESSION_H

struct session;

#define SESSION_BYTES 1024

/* A new session; NULL when memory is short. */
struct session *session_open(unsigned int user);
void session_close(struct session *s);

#endif
