/* SPDX-License-Identifier: GPL-2.0-only */
/* A stack in a line, for people: "session_new < session_open < handle_upload < …". */
#ifndef CMD_CHAIN_H
#define CMD_CHAIN_H

#include <stdint.h>

#include "base/text.h"
#include "profile/profile.h"

/*
 * Index in st->frames of the innermost one that is the user's own code; where none is, of the innermost that is no
 * allocator; else 0. -1 for a label.
 */
int chain_start(const struct profile *p, const struct stack *st);

/*
 * Adds a function's name without its parameters, "v8::internal::Factory::AllocateRaw", cut when it is very long;
 * a frame without a name is its address. A name that is guessed ends in "?".
 */
void chain_add_name(struct text *t, const struct frame *f);

/* Adds " server.js:41", where in its source it is, or " libpq.so.5", the file whose code it is; nothing when neither is known. */
void chain_add_place(struct text *t, const struct frame *f);

/* Adds at most max names from frames[at] on, outwards, with " < " between them; "< …" for those that are left out. */
void chain_add(struct text *t, const struct profile *p, const struct stack *st, uint32_t at, uint32_t max);

#endif
