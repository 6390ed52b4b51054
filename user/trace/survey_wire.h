/* SPDX-License-Identifier: GPL-2.0-only */
/* A survey as bytes. Inside the layer. */
#ifndef TRACE_SURVEY_WIRE_H
#define TRACE_SURVEY_WIRE_H

#include "trace/survey.h"

void survey_write(const struct survey *s, struct text *ret);
/*
 * Into an empty survey, for that target. -EBADMSG: something in it cannot be: a site that is not where the module's
 * file and mappings have code, words that a terminal should not see … -ENOMEM. Then the survey has nothing.
 */
int survey_read(const struct text *text, const struct target *t, struct survey *ret);

#endif
