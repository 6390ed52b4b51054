/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Command lines: a table of options is filled into a struct, and the help is made from the same table.
 *
 *	struct leak_options { uint64_t min_size; … };
 *	static const struct option_spec leak_specs[] = {
 *		OPTION_SIZE('\0', "min-size", struct leak_options, min_size, "BYTES", "only blocks of at least BYTES"),
 *		…
 *		OPTION_END,
 *	};
 *
 * Long options match exactly, never by prefix; --name=value and --name value; -n5, -n 5; -- ends options.
 */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
	OPTION_TYPE_END,
	OPTION_TYPE_FLAG,	/* bool = true */
	OPTION_TYPE_STRING,	/* const char *, borrowed from argv */
	OPTION_TYPE_LIST,	/* struct option_list: may be given again; several options may share one, which keeps their order */
	OPTION_TYPE_U64,	/* uint64_t */
	OPTION_TYPE_SIZE,	/* uint64_t, bytes, text_parse_size() */
	OPTION_TYPE_DURATION,	/* uint64_t, nanoseconds, text_parse_duration() */
	OPTION_TYPE_CHOICE,	/* int: index into choices */
	OPTION_TYPE_PERCENT,	/* double: a number with or without %, or "none" = -1 */
};

struct option_spec {
	enum option_type type;
	char letter;		/* 0 = none */
	const char *name;	/* without -- */
	size_t offset;		/* in the struct of options */
	const char *arg;	/* what the help calls its argument; NULL for flags */
	const char *help;
	const char *const *choices;	/* NULL-terminated */
};

#define OPTION_LIST_MAX 64

struct option_list {
	struct {
		const char *name, *value;	/* of the option, without --; borrowed from argv */
	} items[OPTION_LIST_MAX];
	size_t cnt;
};

#define OPTION_(t, l, n, s, field, a, h, c) { OPTION_TYPE_##t, l, n, offsetof(s, field), a, h, c }
#define OPTION_FLAG(l, n, s, field, h)		OPTION_(FLAG, l, n, s, field, NULL, h, NULL)
#define OPTION_STRING(l, n, s, field, a, h)	OPTION_(STRING, l, n, s, field, a, h, NULL)
#define OPTION_LIST(l, n, s, field, a, h)	OPTION_(LIST, l, n, s, field, a, h, NULL)
#define OPTION_U64(l, n, s, field, a, h)	OPTION_(U64, l, n, s, field, a, h, NULL)
#define OPTION_SIZE(l, n, s, field, a, h)	OPTION_(SIZE, l, n, s, field, a, h, NULL)
#define OPTION_DURATION(l, n, s, field, a, h)	OPTION_(DURATION, l, n, s, field, a, h, NULL)
#define OPTION_PERCENT(l, n, s, field, a, h)	OPTION_(PERCENT, l, n, s, field, a, h, NULL)
#define OPTION_CHOICE(l, n, s, field, h, c)	OPTION_(CHOICE, l, n, s, field, NULL, h, c)
#define OPTION_END				{ OPTION_TYPE_END, 0, NULL, 0, NULL, NULL, NULL }

/*
 * Reads argv[0..argc) (without the program and command names) into opts, which holds the defaults.
 * Arguments that are no options are handed out in *ret_args (pointers into argv, the caller frees the
 * array). An error is printed with what would be right, and is -EINVAL. "-h" and "--help" are options
 * of every command: *ret_help.
 */
int options_parse(const struct option_spec *specs, void *opts, int argc, char **argv,
		  char ***ret_args, int *ret_args_cnt, bool *ret_help);

/* The list of options for a help page, defaults (read from `defaults`) included. */
void options_print(FILE *out, const struct option_spec *specs, const void *defaults);

#endif
