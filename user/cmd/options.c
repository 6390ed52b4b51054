/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * getopt_long() takes prefixes and its messages do not say what would be right; this parser does neither.
 * Every option is one line of a table; reading, defaults in the help and error messages all come from it.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/options.h"

#define HELP_COLUMN 28u		/* where the help texts begin at most */
#define HELP_WIDTH 80u		/* of a help page, that of the plainest terminal */
#define NAME_MAX_LEN 31u	/* longer than any option; what is longer gets no proposal */

/* What is known while one option is read. */
struct reading {
	const struct option_spec *specs;
	void *opts;
	int argc;
	char **argv;
	int at;			/* the argument that is read next */
	bool help;
};

static const struct option_spec help_spec = {
	.type = OPTION_TYPE_FLAG, .letter = 'h', .name = "help", .help = "this text",
};

static const struct option_spec *spec_find(const struct option_spec *specs, const char *name, size_t len)
{
	for (; specs->type != OPTION_TYPE_END; specs++)
		if (strlen(specs->name) == len && !memcmp(specs->name, name, len))
			return specs;
	return strlen(help_spec.name) == len && !memcmp(help_spec.name, name, len) ? &help_spec : NULL;
}

static const struct option_spec *spec_find_letter(const struct option_spec *specs, char letter)
{
	for (; specs->type != OPTION_TYPE_END; specs++)
		if (specs->letter && specs->letter == letter)
			return specs;
	return letter == help_spec.letter ? &help_spec : NULL;
}

/* How many letters must be put in, taken out or replaced to make b of a (Levenshtein), b a name of ours. */
static unsigned int distance(const char *a, size_t a_len, const char *b)
{
	unsigned int row[NAME_MAX_LEN + 1];
	size_t b_len = strlen(b);

	if (b_len > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

/* The option that was probably meant: it begins like this, or few letters differ. NULL when none is near. */
static const char *spec_nearest(const struct option_spec *specs, const char *name, size_t len)
{
	unsigned int best = 1 + len / 4;	/* one slip, and one more for every four letters */
	const char *nearest = NULL;

	if (!len || len > NAME_MAX_LEN)
		return NULL;
	for (const struct option_spec *s = specs;; s++) {
		const char *known = s->type == OPTION_TYPE_END ? help_spec.name : s->name;
		unsigned int d = len >= 3 && !strncmp(known, name, len) ? 0 : distance(name, len, known);

		if (d < best || (d == best && !nearest)) {
			best = d;
			nearest = known;
		}
		if (s->type == OPTION_TYPE_END)
			return nearest;
	}
}

/* Says that arg is no option; name is what was looked for in it. */
static int unknown_error(const struct option_spec *specs, const char *arg, const char *name, size_t len)
{
	const char *nearest = spec_nearest(specs, name, len);
	char *shown = strndup(arg, name - arg + len);
	char *safe = shown ? text_safe(shown) : NULL;
	int err;

	if (!safe)
		err = -ENOMEM;
	else if (nearest)
		err = log_error(-EINVAL, "%s: no such option; did you mean --%s?", safe, nearest);
	else
		err = log_error(-EINVAL, "%s: no such option; --help lists them", safe);
	free(shown);
	free(safe);
	return err;
}

static void choices_add(struct text *t, const struct option_spec *spec, const char *between)
{
	for (const char *const *c = spec->choices; *c; c++)
		text_printf(t, "%s%s", c == spec->choices ? "" : between, *c);
}

/* "--min-size BYTES", "--format table|folded" */
static void usage_add(struct text *t, const struct option_spec *spec)
{
	text_printf(t, "--%s", spec->name);
	if (spec->type == OPTION_TYPE_FLAG)
		return;
	text_add(t, " ");
	if (spec->type == OPTION_TYPE_CHOICE)
		choices_add(t, spec, "|");
	else
		text_add(t, spec->arg);
}

static const char *wanted(enum option_type type)
{
	switch (type) {
	case OPTION_TYPE_U64:
		return "a whole number such as 10";
	case OPTION_TYPE_SIZE:
		return "a size such as 512, 64K or 1MiB";
	case OPTION_TYPE_DURATION:
		return "a duration such as 500ms, 30s or 2h";
	case OPTION_TYPE_PERCENT:
		return "a percentage such as 30 or 30%, or none";
	default:
		return "a value";
	}
}

static int value_error(const struct option_spec *spec, const char *value, int err)
{
	char *safe = text_safe(value);
	struct text choices = { 0 };

	if (spec->type == OPTION_TYPE_CHOICE)
		choices_add(&choices, spec, ", ");
	if (!safe || choices.failed)
		err = -ENOMEM;
	else if (spec->type == OPTION_TYPE_CHOICE)
		err = log_error(-EINVAL, "--%s: '%s' is none of %s", spec->name, safe, text_str(&choices));
	else if (err == -ERANGE)
		err = log_error(-EINVAL, "--%s: '%s' is too much", spec->name, safe);
	else
		err = log_error(-EINVAL, "--%s: '%s' is not %s", spec->name, safe, wanted(spec->type));
	free(safe);
	text_free(&choices);
	return err;
}

static int percent_parse(const char *str, double *ret)
{
	double value;
	char *end;

	if (!strcmp(str, "none")) {
		*ret = -1;
		return 0;
	}
	/* digits, a point, a sign: strtod() also takes hexadecimal numbers, infinities and exponents */
	if (!*str || strspn(str, "0123456789.") + (str[strlen(str) - 1] == '%') != strlen(str))
		return -EINVAL;
	value = strtod(str, &end);
	if (end == str || (*end == '%' ? end[1] : *end))
		return -EINVAL;
	if (!isfinite(value))
		return -ERANGE;
	*ret = value;
	return 0;
}

static int choice_parse(const struct option_spec *spec, const char *str, int *ret)
{
	for (int i = 0; spec->choices[i]; i++) {
		if (!strcmp(spec->choices[i], str)) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int list_add(const struct option_spec *spec, const char *value, struct option_list *list)
{
	if (list->cnt == OPTION_LIST_MAX)
		return -ERANGE;
	list->items[list->cnt].name = spec->name;
	list->items[list->cnt++].value = value;
	return 0;
}

static int value_set(const struct reading *r, const struct option_spec *spec, const char *value)
{
	void *field = (char *)r->opts + spec->offset;
	int err = 0;

	switch (spec->type) {
	case OPTION_TYPE_STRING:
		*(const char **)field = value;
		break;
	case OPTION_TYPE_LIST:
		err = list_add(spec, value, field);
		break;
	case OPTION_TYPE_U64:
		err = text_parse_u64(value, field);
		break;
	case OPTION_TYPE_SIZE:
		err = text_parse_size(value, field);
		break;
	case OPTION_TYPE_DURATION:
		err = text_parse_duration(value, field);
		break;
	case OPTION_TYPE_CHOICE:
		err = choice_parse(spec, value, field);
		break;
	case OPTION_TYPE_PERCENT:
		err = percent_parse(value, field);
		break;
	case OPTION_TYPE_FLAG:
	case OPTION_TYPE_END:
		break;
	}
	return err ? value_error(spec, value, err) : 0;
}

static void flag_set(struct reading *r, const struct option_spec *spec)
{
	if (spec == &help_spec)
		r->help = true;
	else
		*(bool *)((char *)r->opts + spec->offset) = true;
}

/* Whether arg is written like an option that exists: then it is not the value of the one before it. */
static bool is_option(const struct option_spec *specs, const char *arg)
{
	if (arg[0] != '-' || !arg[1])
		return false;
	if (arg[1] != '-')
		return spec_find_letter(specs, arg[1]);
	return !arg[2] || spec_find(specs, arg + 2, strcspn(arg + 2, "="));
}

/* Takes the argument that follows as the option's value. */
static int value_take(struct reading *r, const struct option_spec *spec)
{
	const char *value = r->at < r->argc ? r->argv[r->at] : NULL;
	struct text usage = { 0 };
	char *safe = NULL;
	int err;

	if (value && !is_option(r->specs, value)) {
		r->at++;
		return value_set(r, spec, value);
	}
	usage_add(&usage, spec);
	if (value)
		safe = text_safe(value);
	if (usage.failed || (value && !safe))
		err = -ENOMEM;
	else if (value)
		err = log_error(-EINVAL, "--%s: its argument is missing: %s (or --%s=%s, if that is meant)",
				spec->name, text_str(&usage), spec->name, safe);
	else
		err = log_error(-EINVAL, "--%s: its argument is missing: %s", spec->name, text_str(&usage));
	free(safe);
	text_free(&usage);
	return err;
}

static int long_read(struct reading *r, const char *arg)
{
	const char *name = arg + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_spec *spec = spec_find(r->specs, name, len);

	if (!spec)
		return unknown_error(r->specs, arg, name, len);
	if (spec->type == OPTION_TYPE_FLAG) {
		if (equals)
			return log_error(-EINVAL, "--%s: takes no value, write just --%s", spec->name, spec->name);
		flag_set(r, spec);
		return 0;
	}
	return equals ? value_set(r, spec, equals + 1) : value_take(r, spec);
}

/* -v, -vq, -n5, -n 5 */
static int letters_read(struct reading *r, const char *arg)
{
	for (const char *p = arg + 1; *p; p++) {
		const struct option_spec *spec = spec_find_letter(r->specs, *p);

		if (!spec && p == arg + 1)
			return unknown_error(r->specs, arg, arg + 1, strcspn(arg + 1, "="));
		if (!spec)
			return log_error(-EINVAL, "-%c: takes no value, write just -%c", p[-1], p[-1]);
		if (spec->type != OPTION_TYPE_FLAG)
			return p[1] ? value_set(r, spec, p + 1) : value_take(r, spec);
		flag_set(r, spec);
	}
	return 0;
}

int options_parse(const struct option_spec *specs, void *opts, int argc, char **argv,
		  char ***ret_args, int *ret_args_cnt, bool *ret_help)
{
	struct reading r = { .specs = specs, .opts = opts, .argc = argc, .argv = argv };
	char **args = calloc(argc + 1, sizeof(*args));
	int err = 0, args_cnt = 0;
	bool only_args = false;

	if (!args)
		return -ENOMEM;
	while (!err && r.at < argc) {
		char *arg = argv[r.at++];

		if (only_args || arg[0] != '-' || !arg[1])
			args[args_cnt++] = arg;
		else if (!strcmp(arg, "--"))
			only_args = true;
		else if (arg[1] == '-')
			err = long_read(&r, arg);
		else
			err = letters_read(&r, arg);
	}
	if (err) {
		free(args);
		return err;
	}
	*ret_args = args;
	*ret_args_cnt = args_cnt;
	*ret_help = r.help;
	return 0;
}

/* A number in the largest unit that divides it, as it would be typed. The last unit's factor is 1. */
struct unit {
	const char *name;
	uint64_t factor;
};

static void number_add(struct text *t, uint64_t n, const struct unit *units)
{
	while (n % units->factor)
		units++;
	text_printf(t, "%" PRIu64 "%s", n / units->factor, units->name);
}

/* The default, where it says something: 0, all ones, NULL and "" mean "no limit" or "not given". */
static void default_add(struct text *t, const struct option_spec *spec, const void *defaults)
{
	static const struct unit sizes[] = {
		{ "T", 1ull << 40 }, { "G", 1ull << 30 }, { "M", 1ull << 20 }, { "K", 1ull << 10 }, { "", 1 },
	};
	static const struct unit durations[] = {
		{ "d", 86400000000000ull }, { "h", 3600000000000ull }, { "m", 60000000000ull },
		{ "s", 1000000000ull }, { "ms", 1000000 }, { "us", 1000 }, { "ns", 1 },
	};
	static const struct unit plain[] = { { "", 1 } };
	const void *field = (const char *)defaults + spec->offset;
	bool says = false;
	uint64_t n = 0;

	if (spec->type == OPTION_TYPE_U64 || spec->type == OPTION_TYPE_SIZE || spec->type == OPTION_TYPE_DURATION) {
		n = *(const uint64_t *)field;
		says = n && n != UINT64_MAX;
	} else if (spec->type == OPTION_TYPE_STRING) {
		says = *(const char *const *)field && **(const char *const *)field;
	} else if (spec->type != OPTION_TYPE_FLAG && spec->type != OPTION_TYPE_LIST) {
		says = true;
	}
	if (!says)
		return;
	text_add(t, " (default ");
	if (spec->type == OPTION_TYPE_STRING)
		text_add_safe(t, *(const char *const *)field);
	else if (spec->type == OPTION_TYPE_CHOICE)
		text_add(t, spec->choices[*(const int *)field]);
	else if (spec->type != OPTION_TYPE_PERCENT)
		number_add(t, n, spec->type == OPTION_TYPE_SIZE ? sizes :
			   spec->type == OPTION_TYPE_DURATION ? durations : plain);
	else if (*(const double *)field < 0)
		text_add(t, "none");
	else
		text_printf(t, "%g", *(const double *)field);
	text_add(t, ")");
}

static void left_fill(struct text *t, const struct option_spec *spec)
{
	text_clear(t);
	if (spec->letter)
		text_printf(t, "  -%c, ", spec->letter);
	else
		text_add(t, "      ");
	usage_add(t, spec);
}

/* Writes help from the column on, broken at spaces. The cursor stands at the end of what is on the left. */
static void right_print(FILE *out, size_t cursor, size_t column, const char *help)
{
	size_t room = HELP_WIDTH - column;

	if (cursor + 2 > column) {
		fputc('\n', out);
		cursor = 0;
	}
	while (*help) {
		size_t fit = text_fit(help, room), len = fit;

		while (help[fit] && len && help[len] != ' ')
			len--;
		if (!len)
			len = fit;
		fprintf(out, "%*s%.*s\n", (int)(column - cursor), "", (int)len, help);
		help += len;
		help += strspn(help, " ");
		cursor = 0;
	}
}

void options_print(FILE *out, const struct option_spec *specs, const void *defaults)
{
	struct text left = { 0 }, help = { 0 };
	const struct option_spec *spec;
	size_t column = 0;

	for (spec = specs; spec->type != OPTION_TYPE_END; spec++) {
		left_fill(&left, spec);
		if (left.len + 2 > column && left.len + 2 <= HELP_COLUMN)
			column = left.len + 2;
	}
	if (column < HELP_COLUMN / 2)
		column = HELP_COLUMN / 2;
	for (spec = specs;; spec++) {
		const struct option_spec *line = spec->type == OPTION_TYPE_END ? &help_spec : spec;

		left_fill(&left, line);
		text_clear(&help);
		text_add(&help, line->help);
		if (line != &help_spec)
			default_add(&help, line, defaults);
		fputs(text_str(&left), out);
		right_print(out, left.len, column, text_str(&help));
		if (line == &help_spec)
			break;
	}
	text_free(&left);
	text_free(&help);
}
