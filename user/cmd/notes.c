/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/notes.h"

#define NOTE_MAX 48

static bool is_said(const struct note *n, uint64_t events_cnt, bool verbose)
{
	return n->cnt && (verbose || n->cnt * 100.0 > events_cnt * NOTES_PERCENT);
}

/* "1,203 (0.7 %)" */
static const char *note_count(char buf[NOTE_MAX], const struct note *n, uint64_t events_cnt)
{
	char cnt[TEXT_BYTES_MAX];

	text_count(cnt, n->cnt > INT64_MAX ? INT64_MAX : (int64_t)n->cnt);
	if (!events_cnt || n->cnt > events_cnt)
		snprintf(buf, NOTE_MAX, "%s", cnt);
	else if (n->cnt < events_cnt * 0.0005)
		snprintf(buf, NOTE_MAX, "%s (<0.1 %%)", cnt);
	else
		snprintf(buf, NOTE_MAX, "%s (%.1f %%)", cnt, 100.0 * n->cnt / events_cnt);
	return buf;
}

void notes_report(const struct profile *p, uint64_t events_cnt, bool verbose, struct report *r)
{
	char buf[NOTE_MAX];

	for (size_t i = 0; i < profile_notes_cnt(p); i++) {
		struct note n = profile_note_at(p, i);

		if (is_said(&n, events_cnt, verbose))
			report_head(r, REPORT_DIM, "%s: %s", n.name, note_count(buf, &n, events_cnt));
	}
}

void notes_say(const struct profile *p, uint64_t events_cnt)
{
	char buf[NOTE_MAX];

	for (size_t i = 0; i < profile_notes_cnt(p); i++) {
		struct note n = profile_note_at(p, i);

		if (is_said(&n, events_cnt, false))
			log_info("%s: %s", n.name, note_count(buf, &n, events_cnt));
		else if (n.cnt)
			log_debug("%s: %s", n.name, note_count(buf, &n, events_cnt));
	}
}
