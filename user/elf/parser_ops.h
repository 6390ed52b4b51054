/* SPDX-License-Identifier: GPL-2.0-only */
/* What the worker can be asked for; user/cmd/parser.c has the handlers. */
#ifndef ELF_PARSER_OPS_H
#define ELF_PARSER_OPS_H

enum parser_op { PARSER_ROWS, PARSER_NAMES, PARSER_PERFMAP, PARSER_PLAN, PARSER_FILE, PARSER_DEBUG, PARSER_OPS };

#endif
