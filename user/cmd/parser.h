/* SPDX-License-Identifier: GPL-2.0-only */
/* What the worker can do: all its handlers in one table. */
#ifndef CMD_PARSER_H
#define CMD_PARSER_H

#include "base/worker.h"

/* What reading one file may take: the debug information of the largest programs takes some seconds. */
#define PARSER_TIME_MS		30000
#define PARSER_DATA_BYTES	(512ull << 20)	/* files are mapped and do not count */

extern const struct worker_service parser_service;

/* Starts it, and says on stderr what it dies of. 0 or a negative errno, printed. */
int parser_start(struct worker **ret);

#endif
