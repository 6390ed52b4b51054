/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/perfmap.h"

static const char *base_name(const char *path)
{
	const char *p = path;

	for (const char *c = path; *c; c++)
		if ((*c == '/' || *c == ':') && c[1])
			p = c + 1;
	return p;
}

/* Takes ":41" or ":41:17" off the end of a place: len becomes that of the path. 0 = there is none. */
static uint32_t line_take(const char *place, size_t *len)
{
	unsigned long numbers[2] = { 0 };
	size_t cnt = 0, end = *len;

	while (cnt < 2) {
		size_t at = end;

		while (at && isdigit((unsigned char)place[at - 1]))
			at--;
		if (at == end || end - at > 9 || at < 2 || place[at - 1] != ':')
			break;
		numbers[cnt++] = strtoul(place + at, NULL, 10);
		end = at - 1;
	}
	*len = end;
	return cnt ? numbers[cnt - 1] : 0;
}

/* Where the source begins in "get size /srv/my app/x.js:3:1". Names may have spaces, and paths too. */
static const char *place_find(const char *str)
{
	static const char *const begins[] = { " /", " node:", " file:", " internal/", " native ", " evalmachine.", " [" };
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		const char *found = strstr(str, begins[i]);

		if (found && (!first || found < first))
			first = found;
	}
	return first ? first : strchr(str, ' ');
}

/* A function without a name of its own is told by its place. */
static void add_anonymous(struct text *name, const char *what, const char *file, uint32_t line)
{
	text_printf(name, "(%s", what);
	if (*file)
		text_printf(name, " %s", base_name(file));
	if (*file && line)
		text_printf(name, ":%u", line);
	text_add(name, ")");
}

static bool v8_split(const char *raw, struct text *name, struct text *file, uint32_t *ret_line)
{
	static const struct {
		const char *prefix, *what;
	} kinds[] = {
		{ "LazyCompile:", "anonymous" }, { "Function:", "anonymous" }, { "JS:", "anonymous" },
		{ "Callback:", "anonymous" }, { "Eval:", "eval" }, { "Script:", "script" },
	};
	const char *str = NULL, *place;
	size_t i, len;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !str; i++)
		if (!strncmp(raw, kinds[i].prefix, strlen(kinds[i].prefix)))
			str = raw + strlen(kinds[i].prefix);
	if (!str)
		return false;
	if (*str && strchr("~^*+-", *str))	/* interpreted, by which compiler */
		str++;
	place = place_find(str);
	if (place) {
		len = strlen(place + 1);
		*ret_line = line_take(place + 1, &len);
		text_add_len(file, place + 1, len);
	}
	if (place == str || !*str)
		add_anonymous(name, kinds[i - 1].what, text_str(file), *ret_line);
	else
		text_add_len(name, str, place ? (size_t)(place - str) : strlen(str));
	return true;
}

static bool python_split(const char *raw, struct text *name, struct text *file)
{
	const char *colon;

	if (strncmp(raw, "py::", 4))
		return false;
	colon = strchr(raw + 4, ':');
	if (!colon || colon == raw + 4)
		return false;
	text_add(file, colon + 1);
	if (!strncmp(raw, "py::<module>:", 13))
		add_anonymous(name, "module", colon + 1, 0);
	else
		text_add_len(name, raw + 4, colon - raw - 4);
	return true;
}

/* "void [Assembly] Namespace.Type::Method(args)[Tier0]" */
static bool dotnet_split(const char *raw, struct text *name)
{
	static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789- ";
	size_t len = strlen(raw), tier = len;
	const char *begin, *colons = strstr(raw, "::");

	if (!colons || !len || raw[len - 1] != ']')
		return false;
	while (tier && raw[tier - 1] != '[')
		tier--;
	/* "[]" is an array, and a tier is a word */
	if (tier < 2 || tier + 1 >= len || strspn(raw + tier, word) != len - 1 - tier || raw + tier - 1 < colons)
		return false;
	begin = strstr(raw, "] ");
	if (!begin || begin > colons || !memchr(raw, '[', begin - raw))
		begin = raw;
	else
		begin += 2;
	text_add_len(name, begin, raw + tier - 1 - begin);
	return true;
}

void perfmap_split(const char *raw, struct text *ret_name, struct text *ret_file, uint32_t *ret_line)
{
	*ret_line = 0;
	if (!v8_split(raw, ret_name, ret_file, ret_line) && !python_split(raw, ret_name, ret_file) &&
	    !dotnet_split(raw, ret_name))
		text_add(ret_name, raw);
}
