/* SPDX-License-Identifier: GPL-2.0-only */
/* What the worker can do: all its handlers in one table. */
#ifndef CMD_PARSER_H
#define CMD_PARSER_H

#include "base/worker.h"

extern const struct worker_service parser_service;

#endif
