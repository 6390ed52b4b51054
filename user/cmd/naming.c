/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "cmd/naming.h"

int naming_check(const struct naming_options *opt)
{
	struct kinds *k = NULL;
	int err = kinds_open(opt->app, opt->not_app, &k);

	kinds_free(k);
	return err;
}

int naming_open(struct naming *n, const struct naming_config *config)
{
	static const struct naming_options defaults = { 0 };
	const struct naming_options *opt = config->options ? config->options : &defaults;
	const struct symbolizer_options symbols = {
		.no_demangle = opt->no_demangle, .no_inline = opt->no_inline, .debuginfod = opt->debuginfod,
	};
	int err;

	*n = (struct naming){
		.config = *config,
		.targets = { .profile = config->profile, .is_same = config->is_same, .ctx = config->ctx,
			     .worker = config->worker },
	};
	err = kinds_open(opt->app, opt->not_app, &n->kinds);
	n->kind_index = hashmap_new();
	if (!err && !n->kind_index)
		err = -ENOMEM;
	if (!err)
		err = symbolizer_new(&symbols, config->worker, &n->symbols);
	if (err)
		naming_close(n);
	return err;
}

void naming_close(struct naming *n)
{
	n->symbols = symbolizer_free(n->symbols);
	n->kinds = kinds_free(n->kinds);
	n->kind_index = hashmap_free(n->kind_index);
	targets_close(&n->targets);
	free(n->pending);
	n->pending = NULL;
	n->pending_cnt = n->pending_size = 0;
}

size_t naming_processes_missed(const struct naming *n)
{
	return n->targets.missed_cnt;
}

/* A batch: frames of one process. t NULL: it is not there to ask. */
struct batch {
	struct naming *n;
	const struct target *t;
	const uint32_t *frames;		/* of the queries */
	struct kind_key {
		const char *name, *file;
		uint64_t module;
	} last;				/* addresses are sorted: mostly the same function again */
	enum frame_kind last_kind;
};

/*
 * Strings of the symbolizer stay where they are, so a function that was met before is known by where its names stand; the
 * rules take microseconds, and a process has many frames in few functions.
 */
static int kind_of(struct batch *b, const struct symbol *sym, enum frame_kind *ret)
{
	const char *exe = b->t ? b->t->exe : NULL;
	const struct kind_key key = {
		sym->name, sym->file, (uint64_t)(uintptr_t)sym->module << 1 | (exe && !strcmp(sym->module, exe)),
	};
	const struct kinds_query q = { .function = sym->name, .module = sym->module, .file = sym->file, .exe = exe };
	uint64_t known = b->last_kind;

	if (memcmp(&key, &b->last, sizeof(key)) && !hashmap_get(b->n->kind_index, &key, sizeof(key), &known)) {
		known = kinds_of(b->n->kinds, &q);
		if (hashmap_put(b->n->kind_index, &key, sizeof(key), known))
			return -ENOMEM;
	}
	b->last = key;
	*ret = b->last_kind = known;
	return 0;
}

static int on_names(void *ctx, size_t query, const struct symbol_list *list)
{
	struct frame_name names[SYMBOL_INLINED_MAX + 1];
	struct batch *b = ctx;

	for (uint32_t i = 0; i < list->cnt; i++) {
		const struct symbol *sym = &list->at[i];

		names[i] = (struct frame_name){
			.name = sym->name, .module = sym->module, .file = sym->file, .line = sym->line, .guessed = sym->guessed,
		};
		if (kind_of(b, sym, &names[i].kind))
			return -ENOMEM;
		if (b->n->config.exact_is_allocator && !profile_frame_at(b->n->config.profile, b->frames[query])->is_return)
			names[i].kind = FRAME_ALLOCATOR;
	}
	return profile_frame_names(b->n->config.profile, b->frames[query], names, list->cnt);
}

/* The file that takes the longest: it is named while it is read. */
static void progress_say(struct naming *n, const struct target *t, const struct symbol_query *queries, size_t cnt)
{
	const struct target_module *largest = NULL, *last = NULL;
	struct text what = { 0 };
	char size[TEXT_BYTES_MAX];

	if (!n->config.progress)
		return;
	for (size_t i = 0; t && i < cnt; i++) {
		const struct target_mapping *map = target_mapping_at(t, queries[i].addr);

		if (!map || !map->module || map->module == last)
			continue;
		last = map->module;
		if (!largest || last->size_bytes > largest->size_bytes)
			largest = last;
	}
	text_add(&what, "reading symbols");
	if (largest) {
		const char *slash = strrchr(largest->path, '/');

		text_printf(&what, " of %s (%s)", slash ? slash + 1 : largest->path,
			    text_bytes(size, largest->size_bytes, false));
	}
	progress_begin(n->config.progress, text_str(&what));
	text_free(&what);
}

/* Code that was mapped after the last look; after exec the old mappings are the right ones. */
static void mappings_renew(struct target *t, const struct symbol_query *queries, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		if (target_mapping_at(t, queries[i].addr))
			continue;
		if (target_is_same_image(t))
			target_refresh(t);
		return;
	}
}

struct frame_addr {
	uint64_t addr;
	uint32_t frame;
	uint8_t epoch;
	bool is_return;
};

static int addr_compare(const void *pa, const void *pb)
{
	const struct frame_addr *a = pa, *b = pb;

	return a->addr != b->addr ? (a->addr > b->addr) - (a->addr < b->addr) : (a->frame > b->frame) - (a->frame < b->frame);
}

/* Puts frames into the order of their addresses: who names them meets the same files and functions again and again. */
static int frames_sort(const struct profile *p, uint32_t *frames, size_t cnt, struct symbol_query *queries)
{
	struct frame_addr *list = malloc(cnt * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		const struct frame *f = profile_frame_at(p, frames[i]);

		list[i] = (struct frame_addr){
			.addr = f->addr, .frame = frames[i], .epoch = f->epoch, .is_return = f->is_return,
		};
	}
	qsort(list, cnt, sizeof(*list), addr_compare);
	for (size_t i = 0; i < cnt; i++) {
		frames[i] = list[i].frame;
		queries[i] = (struct symbol_query){ .addr = list[i].addr, .epoch = list[i].epoch, .is_return = list[i].is_return };
	}
	free(list);
	return 0;
}

/* Names frames of one process. */
static int frames_name(struct naming *n, struct target *t, uint32_t *frames, size_t cnt)
{
	struct batch b = { .n = n, .t = t, .frames = frames };
	struct symbol_query *queries = calloc(cnt, sizeof(*queries));
	int err = queries ? frames_sort(n->config.profile, frames, cnt, queries) : -ENOMEM;

	if (!err && t)
		mappings_renew(t, queries, cnt);
	if (!err) {
		progress_say(n, t, queries, cnt);
		err = symbolizer_batch(n->symbols, t, queries, cnt, on_names, &b);
	}
	free(queries);
	return err;
}

/* Frames of one process stand together; the oldest process comes first, to be taken from the end. */
static int pending_compare(const void *left, const void *right, void *ctx)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	uint32_t x = profile_frame_at(ctx, a)->process, y = profile_frame_at(ctx, b)->process;

	return x != y ? (x > y) - (x < y) : (a > b) - (a < b);
}

static int pending_fill(struct naming *n)
{
	const struct profile *p = n->config.profile;
	size_t frames_cnt = profile_frames_cnt(p), cnt = n->pending_cnt + frames_cnt - n->frames_seen;

	if (n->frames_seen == frames_cnt)
		return 0;
	if (cnt > n->pending_size) {
		uint32_t *pending = realloc(n->pending, cnt * 2 * sizeof(*pending));

		if (!pending)
			return -ENOMEM;
		n->pending = pending;
		n->pending_size = cnt * 2;
	}
	for (; n->frames_seen < frames_cnt; n->frames_seen++)
		if (profile_frame_at(p, n->frames_seen)->kind == FRAME_UNNAMED)	/* not an inlined one */
			n->pending[n->pending_cnt++] = n->frames_seen;
	for (size_t i = 1; i < n->pending_cnt; i++)
		if (pending_compare(&n->pending[i - 1], &n->pending[i], (void *)p) > 0) {
			qsort_r(n->pending, n->pending_cnt, sizeof(*n->pending), pending_compare, (void *)p);
			break;
		}
	return 0;
}

/* What a call may open: so many processes, or fail to open sixteen times as many, which is cheap. */
static bool is_enough(const struct naming *n, uint64_t opened_before, size_t missed_before)
{
	return n->targets.opened_cnt - opened_before + (n->targets.missed_cnt - missed_before) / 16 >= NAMING_OPENED_MAX;
}

/* Names all frames that are pending, but leaves processes for the next call when it is enough for this one. */
static int pending_name(struct naming *n, bool all)
{
	const struct profile *p = n->config.profile;
	uint64_t opened_before = n->targets.opened_cnt;
	size_t missed_before = n->targets.missed_cnt;
	int err = 0;

	while (!err && n->pending_cnt && (all || !is_enough(n, opened_before, missed_before))) {
		size_t first = n->pending_cnt - 1;
		uint32_t process = profile_frame_at(p, n->pending[first])->process;
		struct target *t = n->config.target;

		while (first && profile_frame_at(p, n->pending[first - 1])->process == process)
			first--;
		if (!t)
			err = targets_get(&n->targets, process, &t);
		if (!err || err == -ESRCH)
			err = frames_name(n, t, n->pending + first, n->pending_cnt - first);
		if (!err)
			n->pending_cnt = first;
	}
	return err;
}

int naming_update(struct naming *n, bool last)
{
	int err = pending_fill(n);

	if (!err && n->pending_cnt) {
		err = pending_name(n, last);
		if (n->config.progress)
			progress_end(n->config.progress);
	}
	return err;
}
