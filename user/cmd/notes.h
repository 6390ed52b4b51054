/* SPDX-License-Identifier: GPL-2.0-only */
/* How the notes of a profile are said: see profile_note_set(). */
#ifndef CMD_NOTES_H
#define CMD_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/profile.h"
#include "profile/report.h"

#define NOTES_PERCENT 0.5	/* of all events: less than this is said only with -v */

/* Lines above the table. events_cnt: what the notes are a part of; 0 = not known, and then all of them are said. */
void notes_report(const struct profile *p, uint64_t events_cnt, bool verbose, struct report *r);
/* The same on stderr, for results that cannot say it themselves. */
void notes_say(const struct profile *p, uint64_t events_cnt);

#endif
