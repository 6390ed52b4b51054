/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	request  head │ vas
 *	reply    wish                                       (when it wants the debug file first)
 *	         wish │ for each va: cnt │ cnt frames: numbers │ name \0 │ file \0
 *
 * Names and files have numbers in a reply, from 1 in the order of their first appearance, and are in it only there: many
 * addresses are in one function, and it is demangled once. 0 is none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "elf/debug_file.h"
#include "elf/image.h"
#include "elf/parser_ops.h"
#include "symbol/demangle.h"
#include "symbol/name_file.h"
#include "symbol/names.h"

#define FILES_MAX	128	/* that the worker keeps, the last used */
#define STRING_BYTES_MAX	(64u << 10)	/* the rest is cut off; node's longest name has 483 bytes */
#define ANSWERS_BYTES_MAX	(64u << 20)	/* for what is asked at once; a file may have any names: no more answers */

struct request_head {
	uint64_t file_key;
	uint32_t no_inline, no_demangle, no_debug, no_alt;
	uint32_t vas_cnt, padding;
};

/* Of PARSER_DEBUG. */
struct add_request {
	uint64_t file_key;
	uint64_t what;
};

struct frame_head {
	uint64_t off;
	uint32_t line;
	uint32_t name, file;	/* their numbers */
	uint32_t padding;
};

struct kept_file {
	uint64_t key;
	struct name_file file;
};

struct names_state {
	struct kept_file files[FILES_MAX];	/* the last used first */
	size_t cnt;
};

void *names_open(void)
{
	return calloc(1, sizeof(struct names_state));
}

/* The file of this key, opened when it is new; it becomes the first. */
static int file_get(struct names_state *s, uint64_t key, int fd, struct name_file **ret)
{
	struct kept_file k = { .key = key };
	size_t i;
	int err;

	for (i = 0; i < s->cnt && s->files[i].key != key; i++)
		;
	if (i < s->cnt) {
		k = s->files[i];
	} else {
		err = fd < 0 ? -ENOENT : name_file_open(fd, &k.file);
		if (err)
			return err;
		if (s->cnt == FILES_MAX)
			name_file_close(&s->files[--s->cnt].file);
		i = s->cnt++;
	}
	memmove(s->files + 1, s->files, i * sizeof(k));
	s->files[0] = k;
	*ret = &s->files[0].file;
	return 0;
}

static void wish_fill(enum names_file file, const char *link, const unsigned char *id, size_t id_len, struct names_wish *ret)
{
	ret->file = file;
	if (id_len && id_len <= sizeof(ret->build_id)) {
		ret->build_id_len = id_len;
		memcpy(ret->build_id, id, id_len);
	}
	if (link && strlen(link) < sizeof(ret->link))
		strcpy(ret->link, link);
}

static void wish_find(const struct name_file *f, const struct request_head *head, struct names_wish *ret)
{
	const unsigned char *id;
	const char *link;
	uint32_t crc;
	size_t len;

	if (!head->no_debug && name_file_wants_debug(f)) {
		len = image_build_id(f->img, &id);
		wish_fill(NAMES_DEBUG_FILE, debug_file_link(f->img, &crc), id, len, ret);
	} else if (!head->no_alt) {
		link = name_file_wants_alt(f, &id, &len);
		if (link)
			wish_fill(NAMES_ALT_FILE, link, id, len, ret);
	}
}

static void string_write(struct text *reply, const char *str)
{
	text_add_len(reply, str, strnlen(str, STRING_BYTES_MAX));
	text_add_len(reply, "", 1);
}

/* A reply that is written, and which strings are in it, by where the file has them. */
struct writer {
	struct text *reply;
	struct hashmap *numbers;
	bool no_demangle;
};

/* The number of a string, and whether it is new. */
static int number_of(struct writer *w, const char *str, uint32_t *ret, bool *ret_new)
{
	uint64_t number;

	*ret_new = false;
	*ret = 0;
	if (!str)
		return 0;
	*ret_new = !hashmap_get(w->numbers, &str, sizeof(str), &number);
	if (*ret_new)
		number = hashmap_count(w->numbers) + 1;
	*ret = number;
	return *ret_new ? hashmap_put(w->numbers, &str, sizeof(str), number) : 0;
}

/* Of a PLT entry the function's name is mangled, not that it is one: "operator delete(void*)@plt". */
static int plt_demangle(const char *name, char **ret)
{
	static const char suffix[] = "@plt";
	size_t len = strlen(name);
	char *stem, *readable = NULL;
	int err;

	if (len < sizeof(suffix) || strcmp(name + len - strlen(suffix), suffix))
		return -ENOENT;
	stem = strndup(name, len - strlen(suffix));
	if (!stem)
		return -ENOMEM;
	err = demangle_name(stem, &readable);
	free(stem);
	if (!err && asprintf(ret, "%s%s", readable, suffix) < 0)
		err = -ENOMEM;
	free(readable);
	return err;
}

static int name_write(struct writer *w, const char *name)
{
	char *readable = NULL;
	int err = w->no_demangle ? -ENOENT : demangle_name(name, &readable);

	if (err == -ENOENT && !w->no_demangle)
		err = plt_demangle(name, &readable);
	if (err == -ENOMEM)
		return err;
	string_write(w->reply, err ? name : readable);
	if (!err)
		free(readable);
	return 0;
}

static int frame_write(struct writer *w, const struct inlines_frame *f, uint64_t off)
{
	struct frame_head head = { .off = off, .line = f->line };
	const char *name = f->name ? f->name : "?";
	bool new_name, new_file;
	int err = number_of(w, name, &head.name, &new_name);

	if (!err)
		err = number_of(w, f->file, &head.file, &new_file);
	if (err)
		return err;
	text_add_len(w->reply, (const char *)&head, sizeof(head));
	if (new_name)
		err = name_write(w, name);
	if (new_file)
		string_write(w->reply, f->file);
	return err;
}

static int answer_write(struct writer *w, struct name_file *f, uint64_t va, bool no_inline)
{
	struct name_file_answer answer;
	uint32_t cnt;
	int err = w->reply->len > ANSWERS_BYTES_MAX ? -ENOENT : name_file_find(f, va, no_inline, &answer);

	if (err && err != -ENOENT)
		return err;
	cnt = err ? 0 : answer.frames.cnt;
	err = 0;
	text_add_len(w->reply, (const char *)&cnt, sizeof(cnt));
	for (uint32_t i = 0; !err && i < cnt; i++)
		err = frame_write(w, &answer.frames.at[i], answer.off);
	return err;
}

int names_handle(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct names_wish wish = { 0 };
	struct request_head head;
	struct writer w = { .reply = reply };
	struct name_file *f;
	uint64_t va;
	int err;

	if (len < sizeof(head))
		return -EINVAL;
	memcpy(&head, request, sizeof(head));
	if ((len - sizeof(head)) / sizeof(va) != head.vas_cnt)
		return -EINVAL;
	err = file_get(state, head.file_key, fd, &f);
	if (err)
		return err;
	wish_find(f, &head, &wish);
	text_add_len(reply, (const char *)&wish, sizeof(wish));
	w.no_demangle = head.no_demangle;
	w.numbers = hashmap_new();
	if (!w.numbers)
		return -ENOMEM;
	for (uint32_t i = 0; !err && !wish.file && i < head.vas_cnt; i++) {
		memcpy(&va, (const char *)request + sizeof(head) + i * sizeof(va), sizeof(va));
		err = answer_write(&w, f, va, head.no_inline);
	}
	hashmap_free(w.numbers);
	return err;
}

int names_handle_debug(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct add_request req;
	struct name_file *f;
	int err;

	(void)reply;
	if (len != sizeof(req) || fd < 0)
		return -EINVAL;
	memcpy(&req, request, sizeof(req));
	err = file_get(state, req.file_key, -1, &f);
	if (err)
		return err;
	return req.what == NAMES_ALT_FILE ? name_file_add_alt(f, fd) : name_file_add_debug(f, fd);
}

/* Takes a string out of a reply; NULL when none ends in it. */
static const char *take_string(const struct text *reply, size_t *at)
{
	const char *str = reply->str + *at, *end;

	end = *at < reply->len ? memchr(str, '\0', reply->len - *at) : NULL;
	if (!end)
		return NULL;
	*at += end - str + 1;
	return str;
}

static bool take(const struct text *reply, size_t *at, void *ret, size_t len)
{
	if (reply->len - *at < len)
		return false;
	memcpy(ret, reply->str + *at, len);
	*at += len;
	return true;
}

/* A reply that is read. */
struct reader {
	const struct text *reply;
	size_t at;
	const char **strings;	/* by number - 1 */
	size_t strings_cnt, strings_size;
};

/* The string with a number: one that was met before, or the next one, which stands here. NULL: neither, or no memory. */
static const char *string_read(struct reader *r, uint32_t number)
{
	const char *str;

	if (!number || number > r->strings_cnt + 1)
		return NULL;
	if (number <= r->strings_cnt)
		return r->strings[number - 1];
	if (r->strings_cnt == r->strings_size) {
		size_t size = r->strings_size ? r->strings_size * 2 : 256;
		const char **strings = realloc(r->strings, size * sizeof(*strings));

		if (!strings)
			return NULL;
		r->strings = strings;
		r->strings_size = size;
	}
	str = take_string(r->reply, &r->at);
	if (str)
		r->strings[r->strings_cnt++] = str;
	return str;
}

static int answer_read(struct reader *r, struct names_frame *frames, uint32_t *ret_cnt)
{
	if (!take(r->reply, &r->at, ret_cnt, sizeof(*ret_cnt)) || *ret_cnt > INLINES_MAX + 1)
		return -EBADMSG;
	for (uint32_t i = 0; i < *ret_cnt; i++) {
		struct frame_head head;

		if (!take(r->reply, &r->at, &head, sizeof(head)))
			return -EBADMSG;
		frames[i] = (struct names_frame){
			.name_number = head.name, .file_number = head.file, .line = head.line, .off = head.off,
			.name = string_read(r, head.name),
		};
		if (head.file)
			frames[i].file = string_read(r, head.file);
		if (!frames[i].name || (head.file && !frames[i].file))
			return -EBADMSG;
	}
	return 0;
}

int names_ask(struct worker *w, const struct names_question *q, struct names_wish *ret_wish,
	      int (*fn)(void *ctx, uint32_t i, const struct names_frame *frames, uint32_t cnt), void *ctx)
{
	const struct request_head head = {
		.file_key = q->file_key, .no_inline = q->no_inline, .no_demangle = q->no_demangle, .no_debug = q->no_debug,
		.no_alt = q->no_alt, .vas_cnt = q->vas_cnt,
	};
	struct names_frame frames[INLINES_MAX + 1];
	struct text request = { 0 }, reply = { 0 };
	struct reader r = { .reply = &reply };
	uint32_t cnt;
	int err;

	text_add_len(&request, (const char *)&head, sizeof(head));
	text_add_len(&request, (const char *)q->vas, q->vas_cnt * sizeof(*q->vas));
	err = request.failed ? -ENOMEM : worker_call(w, PARSER_NAMES, request.str, request.len, q->fd, &reply);
	text_free(&request);
	if (!err && !take(&reply, &r.at, ret_wish, sizeof(*ret_wish)))
		err = -EBADMSG;
	if (!err && (ret_wish->build_id_len > sizeof(ret_wish->build_id) || ret_wish->file > NAMES_ALT_FILE ||
		     !memchr(ret_wish->link, '\0', sizeof(ret_wish->link))))
		err = -EBADMSG;
	for (uint32_t i = 0; !err && !ret_wish->file && i < q->vas_cnt; i++) {
		err = answer_read(&r, frames, &cnt);
		if (!err && cnt)
			err = fn(ctx, i, frames, cnt);
	}
	free(r.strings);
	text_free(&reply);
	return err;
}

int names_add_file(struct worker *w, uint64_t file_key, enum names_file what, int fd)
{
	const struct add_request req = { .file_key = file_key, .what = what };
	struct text reply = { 0 };
	int err = worker_call(w, PARSER_DEBUG, &req, sizeof(req), fd, &reply);

	text_free(&reply);
	return err;
}
