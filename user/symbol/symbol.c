/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An address becomes a name in three steps:
 *
 *	address ── target: mapping, va in the file ── remembered by file and va, or asked of the worker, a batch a file ──
 *	name ── what it is shown as
 *
 * Mappings are asked each time: they change, and the same address may be another file tomorrow. Answers are remembered by
 * file and va, so that a forked server's processes and frames that come again cost nothing.
 *
 * What has no symbol is named by its place, with the number that can be looked up elsewhere:
 *
 *	libc.so.6+0x1234	va in the file, as addr2line takes it
 *	data.bin+0x1234		offset in a file that is mapped and is no ELF file that could be read
 *	[anon+0x7f0012345678]	address; so for the kernel's names of anonymous memory: [heap+0x…]
 *	[uprobes]		the page where the kernel steps over probed instructions: a name
 *	0x7f0012345678		in no mapping
 *
 * `off` of the unknown is that same number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/text.h"
#include "symbol/debug_path.h"
#include "symbol/names.h"
#include "symbol/perfmap.h"
#include "symbol/symbol.h"

/* Names of one va, as they were answered: a list of struct symbol, module not filled in. */
struct answer {
	uint32_t first, cnt;	/* in symbolizer.known; cnt 0 = it has none */
	bool open;		/* nobody has answered yet */
};

struct known_file {
	uint64_t key;
	bool failed;		/* the worker died of it, or could not read it: never asked again */
	bool no_debug;		/* no debug file is anywhere */
	bool no_alt;		/* nor what it has in common with others */
};

struct symbolizer {
	struct symbolizer_options opt;
	struct worker *worker;		/* borrowed; NULL: only places are given */
	struct perfmap *perfmap;
	struct hashmap *answers;	/* {file key, va} -> index in answer_list */
	struct answer *answer_list;
	size_t answers_cnt, answers_size;
	struct symbol *known;
	size_t known_cnt, known_size;
	struct known_file *files;
	size_t files_cnt;
	struct hashmap *interned;	/* text -> its only copy, in strings */
	char **strings;			/* owned */
	size_t strings_cnt, strings_size;
	struct symbolizer_failure failure;
	size_t failures_cnt;
};

int symbolizer_new(const struct symbolizer_options *opt, struct worker *w, struct symbolizer **ret)
{
	struct symbolizer *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	s->worker = w;
	s->answers = hashmap_new();
	s->interned = hashmap_new();
	if (!s->answers || !s->interned || perfmap_new(w, opt->no_demangle, &s->perfmap)) {
		symbolizer_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

struct symbolizer *symbolizer_free(struct symbolizer *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->strings_cnt; i++)
		free(s->strings[i]);
	free(s->strings);
	free(s->answer_list);
	free(s->known);
	free(s->files);
	perfmap_free(s->perfmap);
	hashmap_free(s->answers);
	hashmap_free(s->interned);
	free(s);
	return NULL;
}

/* Room for one more in a list; -ENOMEM. */
static int reserve(void *list, size_t cnt, size_t *size, size_t bytes)
{
	size_t more = *size ? *size * 2 : 256;
	void *bigger;

	if (cnt < *size)
		return 0;
	bigger = realloc(*(void **)list, more * bytes);
	if (!bigger)
		return -ENOMEM;
	*(void **)list = bigger;
	*size = more;
	return 0;
}

/* The one copy of a text. */
static int intern(struct symbolizer *s, const char *str, const char **ret)
{
	size_t len = strlen(str);
	uint64_t value;
	char *copy;

	if (hashmap_get(s->interned, str, len, &value)) {
		*ret = (const char *)(uintptr_t)value;
		return 0;
	}
	if (reserve(&s->strings, s->strings_cnt, &s->strings_size, sizeof(*s->strings)))
		return -ENOMEM;
	copy = strdup(str);
	if (!copy)
		return -ENOMEM;
	if (hashmap_put(s->interned, str, len, (uintptr_t)copy)) {
		free(copy);
		return -ENOMEM;
	}
	s->strings[s->strings_cnt++] = copy;
	*ret = copy;
	return 0;
}

/* "prefix+0x12suffix" */
static int name_by_place(struct symbolizer *s, const char *prefix, size_t prefix_len, uint64_t off,
			 const char *suffix, struct symbol *ret)
{
	struct text text = { 0 };
	int err = -ENOMEM;

	text_add_len(&text, prefix, prefix_len);
	text_printf(&text, "+0x%" PRIx64 "%s", off, suffix);
	if (!text.failed)
		err = intern(s, text.str, &ret->name);
	text_free(&text);
	ret->off = off;
	ret->known = false;
	return err;
}

/* An address in a mapping that no module speaks for. */
static int name_mapping(struct symbolizer *s, const struct target_mapping *map, uint64_t addr, struct symbol *ret)
{
	const char *base = strrchr(map->path, '/');
	size_t len = strlen(map->path);

	if (!strcmp(map->path, "[uprobes]")) {
		ret->off = addr - map->start;
		ret->known = true;
		return intern(s, map->path, &ret->name);
	}
	if (base)
		return name_by_place(s, base + 1, strlen(base + 1), addr - map->start + map->off, "", ret);
	if (len > 2 && map->path[0] == '[' && map->path[len - 1] == ']')
		return name_by_place(s, map->path, len - 1, addr, "]", ret);
	return name_by_place(s, "[anon", strlen("[anon"), addr, "]", ret);
}

static int name_nowhere(struct symbolizer *s, uint64_t addr, struct symbol *ret)
{
	char name[sizeof("0x") + 16];

	snprintf(name, sizeof(name), "0x%" PRIx64, addr);
	ret->off = addr;
	ret->known = false;
	return intern(s, name, &ret->name);
}

/* One address of a batch, and what is known of it so far. */
struct asked {
	uint64_t addr, lookup_addr;
	const struct target_mapping *map;
	uint64_t va;		/* of lookup_addr; in a module that has code there */
	bool has_va;
	uint32_t answer;	/* index + 1 in answer_list; 0 = nobody was asked */
	bool has_perf;		/* a perf map has named it */
	bool guessed;		/* nobody saw whether the mapping was there when the address was met */
};

/* What an answer is remembered under. */
struct answer_key {
	uint64_t file_key, va;
};

/* The answer for an address, for a->answer; a new one is open. -ENOMEM. */
static int answer_get(struct symbolizer *s, struct asked *a)
{
	const struct answer_key key = { .file_key = a->map->module->file_key, .va = a->va };
	uint64_t index = s->answers_cnt;
	int err = reserve(&s->answer_list, s->answers_cnt, &s->answers_size, sizeof(*s->answer_list));

	if (!err)
		err = hashmap_add(s->answers, &key, sizeof(key), index, &index);
	if (err < 0)
		return err;
	if (!err)
		s->answer_list[s->answers_cnt++] = (struct answer){ .open = true };
	a->answer = index + 1;
	return 0;
}

/* What is remembered of a file; NULL when memory is short. */
static struct known_file *file_get(struct symbolizer *s, uint64_t key)
{
	struct known_file *files;

	for (size_t i = 0; i < s->files_cnt; i++)
		if (s->files[i].key == key)
			return &s->files[i];
	files = realloc(s->files, (s->files_cnt + 1) * sizeof(*files));
	if (!files)
		return NULL;
	s->files = files;
	files[s->files_cnt] = (struct known_file){ .key = key };
	return &files[s->files_cnt++];
}

/* Some addresses of one file that are asked for together. */
struct question {
	struct symbolizer *s;
	const struct target *t;
	const struct target_module *module;
	struct known_file *file;
	struct asked **asked;	/* whose answers these are */
	uint64_t *vas;
	uint32_t cnt;
	const char **strings;	/* by their numbers in the answer - 1: the only copies; NULL = not met yet */
	size_t strings_cnt, strings_size;
};

/* As intern(), with what tells equal strings without looking at them. */
static int intern_numbered(struct question *q, const char *str, uint32_t number, const char **ret)
{
	int err;

	if (number <= q->strings_cnt) {
		*ret = q->strings[number - 1];
		return 0;
	}
	err = reserve(&q->strings, q->strings_cnt, &q->strings_size, sizeof(*q->strings));
	if (!err)
		err = intern(q->s, str, ret);
	if (!err)
		q->strings[q->strings_cnt++] = *ret;
	return err;
}

static int on_answer(void *ctx, uint32_t index, const struct names_frame *frames, uint32_t cnt)
{
	struct question *q = ctx;
	struct symbolizer *s = q->s;
	struct answer a = { .first = s->known_cnt, .cnt = cnt };
	int err = 0;

	for (uint32_t i = 0; !err && i < cnt; i++) {
		struct symbol sym = { .module = "", .line = frames[i].line, .off = frames[i].off, .known = true };

		err = reserve(&s->known, s->known_cnt, &s->known_size, sizeof(*s->known));
		if (!err)
			err = intern_numbered(q, frames[i].name, frames[i].name_number, &sym.name);
		if (!err && frames[i].file)
			err = intern_numbered(q, frames[i].file, frames[i].file_number, &sym.file);
		if (!err)
			s->known[s->known_cnt++] = sym;
	}
	if (!err)
		s->answer_list[q->asked[index]->answer - 1] = a;
	return err;
}

/* Gives the worker the file that it wishes for. False when there is none. */
static bool wish_grant(const struct question *q, const struct names_wish *wish)
{
	for (int n = 0; ; n++) {
		int fd = debug_path_open(q->t, q->module->path, wish, q->s->opt.debuginfod, n), err;

		if (fd == -ERANGE)
			return false;
		if (fd < 0)
			continue;
		err = names_add_file(q->s->worker, q->module->file_key, wish->file, fd);
		close(fd);
		if (!err)
			return true;
	}
}

static void question_failed(const struct question *q, int err)
{
	struct symbolizer *s = q->s;

	q->file->failed = true;
	/* what is no ELF file is no failure */
	if (err == -ENOEXEC || err == -ENOENT)
		return;
	s->failures_cnt++;
	s->failure.err = err;
	intern(s, q->module->path, &s->failure.path);
}

/* Asks the worker; what has no answer afterwards has no name. -ENOMEM. */
static int question_ask(struct question *q)
{
	struct names_question ask = {
		.file_key = q->module->file_key, .fd = q->module->fd, .no_inline = q->s->opt.no_inline,
		.no_demangle = q->s->opt.no_demangle, .no_debug = q->file->no_debug, .no_alt = q->file->no_alt,
		.vas = q->vas, .vas_cnt = q->cnt,
	};
	struct names_wish wish = { .file = NAMES_NO_FILE };
	int err = names_ask(q->s->worker, &ask, &wish, on_answer, q);

	/* first its debug file, then what that has in common with others */
	for (int n = 0; !err && wish.file != NAMES_NO_FILE && n < 2; n++) {
		bool granted = wish_grant(q, &wish);

		if (wish.file == NAMES_DEBUG_FILE)
			q->file->no_debug = !granted;
		else
			q->file->no_alt = !granted;
		ask.no_debug = true;
		ask.no_alt = wish.file == NAMES_ALT_FILE || q->file->no_alt;
		err = names_ask(q->s->worker, &ask, &wish, on_answer, q);
	}
	if (err == -ENOMEM || err == -EBUSY)
		return err;
	if (err)
		question_failed(q, err);
	return 0;
}

/* Asks for all addresses of a module that nobody has asked for yet. */
static int module_ask(struct symbolizer *s, const struct target *t, const struct target_module *m, struct asked *list,
		      size_t cnt)
{
	struct question q = { .s = s, .t = t, .module = m, .file = file_get(s, m->file_key) };
	int err = 0;

	if (!q.file)
		return -ENOMEM;
	q.vas = malloc((cnt + 1) * sizeof(*q.vas));
	q.asked = malloc((cnt + 1) * sizeof(*q.asked));
	if (!q.vas || !q.asked)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < cnt; i++) {
		if (!list[i].has_va || list[i].map->module != m)
			continue;
		err = answer_get(s, &list[i]);
		if (!err && s->answer_list[list[i].answer - 1].open) {
			q.asked[q.cnt] = &list[i];
			q.vas[q.cnt++] = list[i].va;
		}
	}
	if (q.file->failed || m->fd < 0 || !s->worker)
		q.cnt = 0;
	if (!err && q.cnt && target_module_changed(m))
		question_failed(&q, -ESTALE);
	else if (!err && q.cnt)
		err = question_ask(&q);
	/* those without a name are known to have none */
	for (uint32_t i = 0; !err && i < q.cnt; i++)
		s->answer_list[q.asked[i]->answer - 1].open = false;
	free(q.strings);
	free(q.asked);
	free(q.vas);
	return err;
}

static void asked_fill(const struct target *t, const struct symbol_query *q, struct asked *ret)
{
	*ret = (struct asked){ .addr = q->addr, .lookup_addr = q->is_return && q->addr ? q->addr - 1 : q->addr };
	ret->map = t ? target_mapping_of(t, ret->lookup_addr, q->epoch) : NULL;
	ret->guessed = ret->map && q->epoch == STACK_EPOCHS;
	ret->has_va = ret->map && ret->map->module && !target_mapping_va(ret->map, ret->lookup_addr, &ret->va);
}

/* What stands at an address that no perf map has named. */
static int list_fill(struct symbolizer *s, const struct asked *a, struct symbol_list *ret)
{
	const struct answer *answer = a->answer ? &s->answer_list[a->answer - 1] : NULL;
	const struct target_module *m = a->map ? a->map->module : NULL;
	const char *module = "", *base;
	int err;

	ret->cnt = 1;
	ret->at[0] = (struct symbol){ .module = "" };
	if (!a->map)
		return name_nowhere(s, a->addr, &ret->at[0]);
	err = intern(s, m ? m->path : a->map->path, &module);
	if (err)
		return err;
	ret->at[0].module = module;
	if (answer && answer->cnt) {
		ret->cnt = answer->cnt;
		for (uint32_t i = 0; i < answer->cnt; i++) {
			ret->at[i] = s->known[answer->first + i];
			ret->at[i].module = module;
			ret->at[i].off += a->addr - a->lookup_addr;
			ret->at[i].guessed |= a->guessed;
		}
		return 0;
	}
	/* a file that is no ELF file has offsets only */
	if (!m || !m->facts.is_elf)
		return name_mapping(s, a->map, a->addr, &ret->at[0]);
	base = strrchr(m->path, '/');
	base = base ? base + 1 : m->path;
	/* what has no va is the rest of a page that the file has for something else */
	return name_by_place(s, base, strlen(base), (a->has_va ? a->va : a->lookup_addr - m->bias) + a->addr - a->lookup_addr,
			     "", &ret->at[0]);
}

/* Those that may be JIT code, for the perf map. */
struct perf_batch {
	struct symbolizer *s;
	struct asked *list;
	const size_t *indexes;
	int (*fn)(void *ctx, size_t i, const struct symbol_list *list);
	void *ctx;
};

static int on_perf_name(void *ctx, size_t i, const struct perfmap_name *name)
{
	const struct perf_batch *b = ctx;
	struct asked *a = &b->list[b->indexes[i]];
	struct symbol_list list = { .cnt = 1 };
	struct symbol *sym = &list.at[0];
	int err;

	*sym = (struct symbol){
		.module = PERFMAP_MODULE, .line = name->line, .off = name->off + a->addr - a->lookup_addr, .known = true,
		.guessed = name->guessed,
	};
	err = intern(b->s, name->name, &sym->name);
	if (!err && name->file)
		err = intern(b->s, name->file, &sym->file);
	if (err)
		return err;
	a->has_perf = true;
	return b->fn(b->ctx, b->indexes[i], &list);
}

static int perf_ask(struct perf_batch *b, const struct target *t, size_t cnt)
{
	uint64_t *addrs = malloc(cnt * sizeof(*addrs));
	size_t *indexes = malloc(cnt * sizeof(*indexes));
	size_t jit_cnt = 0;
	int err = addrs && indexes ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < cnt; i++)
		if (perfmap_covers(b->list[i].map)) {
			addrs[jit_cnt] = b->list[i].lookup_addr;
			indexes[jit_cnt++] = i;
		}
	b->indexes = indexes;
	if (!err && jit_cnt)
		err = perfmap_names(b->s->perfmap, t, addrs, jit_cnt, on_perf_name, b);
	free(addrs);
	free(indexes);
	return err;
}

int symbolizer_batch(struct symbolizer *s, const struct target *t, const struct symbol_query *queries, size_t cnt,
		     int (*fn)(void *ctx, size_t i, const struct symbol_list *list), void *ctx)
{
	struct asked *list = calloc(cnt + 1, sizeof(*list));
	struct perf_batch perf = { .s = s, .list = list, .fn = fn, .ctx = ctx };
	struct symbol_list names;
	int err = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++)
		asked_fill(t, &queries[i], &list[i]);
	for (size_t m = 0; !err && t && m < t->modules_cnt; m++)
		err = module_ask(s, t, t->modules[m], list, cnt);
	if (!err && t)
		err = perf_ask(&perf, t, cnt);
	for (size_t i = 0; !err && i < cnt; i++) {
		if (list[i].has_perf)
			continue;
		err = list_fill(s, &list[i], &names);
		if (!err)
			err = fn(ctx, i, &names);
	}
	free(list);
	return err;
}

bool symbolizer_failures(const struct symbolizer *s, size_t *ret_cnt, struct symbolizer_failure *ret_last)
{
	*ret_cnt = s->failures_cnt;
	*ret_last = s->failure;
	return s->failures_cnt > 0;
}
