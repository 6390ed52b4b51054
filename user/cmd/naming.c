/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/naming.h"

/* Where distributions put their libraries; what lies elsewhere is taken for the user's own. */
static const char *const library_folders[] = { "/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/" };

/*
 * Functions that a thread or process begins with: a stack that ends in one is whole. The names of glibc,
 * musl and the usual runtimes.
 */
static const char *const root_functions[] = {
	"main", "_start", "_start_c", "__libc_start_main", "__libc_start_call_main", "__libc_start_main_impl",
	"libc_start_main_stage2", "start_thread", "start", "clone", "clone3", "__clone", "__clone3",
};

enum frame_kind naming_kind(const char *path, const char *exe, const char *function)
{
	if (!strcmp(path, "[vdso]"))
		return FRAME_RUNTIME;
	/* the C++ runtime's allocation functions, also where they are linked into the program */
	if (!strncmp(function, "operator new", 12))
		return FRAME_ALLOCATOR;
	if (exe && *path && !strcmp(path, exe))
		return FRAME_APP;
	for (size_t i = 0; i < sizeof(library_folders) / sizeof(library_folders[0]); i++)
		if (!strncmp(path, library_folders[i], strlen(library_folders[i])))
			return FRAME_DEPENDENCY;
	return FRAME_APP;
}

int naming_open(struct naming *n, struct target *t, struct profile *p, targets_check_fn *is_same, void *ctx)
{
	const struct symbolizer_options opt = { 0 };

	*n = (struct naming){
		.target = t, .profile = p, .targets = { .profile = p, .is_same = is_same, .ctx = ctx },
	};
	return symbolizer_new(&opt, &n->symbols);
}

void naming_close(struct naming *n)
{
	n->symbols = symbolizer_free(n->symbols);
	targets_close(&n->targets);
	free(n->pending);
	n->pending = NULL;
	n->pending_cnt = n->pending_size = 0;
}

size_t naming_processes_missed(const struct naming *n)
{
	return n->targets.missed_cnt;
}

/* t: NULL = its process is not there to ask. */
static int frame_name(struct naming *n, const struct target *t, uint32_t i)
{
	const struct frame *f = profile_frame_at(n->profile, i);
	struct symbol sym;
	int err;

	err = symbolizer_resolve(n->symbols, t, f->addr, f->is_return, &sym);
	if (err)
		return err;
	return profile_frame_name(n->profile, i, sym.name, sym.module,
				  naming_kind(sym.module, t ? t->exe : NULL, sym.name), false);
}

/* Names frames of one process. */
static int frames_name(struct naming *n, struct target *t, const uint32_t *frames, size_t cnt)
{
	bool refreshed = false;
	int err = 0;

	for (size_t i = 0; !err && i < cnt; i++) {
		/* code that was mapped after the last look; after exec the old mappings are the right ones */
		if (t && !refreshed && !target_mapping_at(t, profile_frame_at(n->profile, frames[i])->addr)) {
			if (target_is_same_image(t))
				target_refresh(t);
			refreshed = true;
		}
		err = frame_name(n, t, frames[i]);
	}
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
	size_t frames_cnt = profile_frames_cnt(n->profile), cnt = n->pending_cnt + frames_cnt - n->frames_seen;

	if (n->frames_seen == frames_cnt)
		return 0;
	if (cnt > n->pending_size) {
		uint32_t *pending = realloc(n->pending, cnt * 2 * sizeof(*pending));

		if (!pending)
			return -ENOMEM;
		n->pending = pending;
		n->pending_size = cnt * 2;
	}
	while (n->frames_seen < frames_cnt)
		n->pending[n->pending_cnt++] = n->frames_seen++;
	qsort_r(n->pending, n->pending_cnt, sizeof(*n->pending), pending_compare, n->profile);
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
	uint64_t opened_before = n->targets.opened_cnt;
	size_t missed_before = n->targets.missed_cnt;
	int err = 0;

	while (!err && n->pending_cnt && (all || !is_enough(n, opened_before, missed_before))) {
		size_t first = n->pending_cnt - 1;
		uint32_t process = profile_frame_at(n->profile, n->pending[first])->process;
		struct target *t = n->target;

		while (first && profile_frame_at(n->profile, n->pending[first - 1])->process == process)
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

/* Where the C library calls main() and a thread's function; it has no name for that when it is stripped. */
static bool is_unnamed_libc(const struct frame *f)
{
	return strstr(f->name, "+0x") && (strstr(f->module, "/libc.so") || strstr(f->module, "/libc-") ||
					  strstr(f->module, "/libpthread") || strstr(f->module, "/ld-musl"));
}

/*
 * A walk by frame pointers cannot know where it should have ended. That it stopped short is certain when
 * what came next was no code, or when the outermost frame has a name, and in both cases that frame is none
 * that stacks begin with.
 */
static bool stack_is_cut(const struct naming *n, const struct stack *st)
{
	const struct frame *outermost;

	if (st->label || !st->frames_cnt)
		return false;
	outermost = profile_frame_at(n->profile, st->frames[st->frames_cnt - 1]);
	/* nobody was there to ask what it is */
	if (!n->target && !*outermost->module && !strncmp(outermost->name, "0x", 2))
		return st->cut;
	if (is_unnamed_libc(outermost) || (!st->cut && strstr(outermost->name, "+0x")))
		return false;
	for (size_t i = 0; i < sizeof(root_functions) / sizeof(root_functions[0]); i++)
		if (!strcmp(outermost->name, root_functions[i]))
			return false;
	return true;
}

static bool stack_is_named(const struct naming *n, const struct stack *st)
{
	return !st->frames_cnt || profile_frame_at(n->profile, st->frames[st->frames_cnt - 1])->kind != FRAME_UNNAMED;
}

int naming_update(struct naming *n, bool last)
{
	size_t stacks_cnt = profile_stacks_cnt(n->profile);
	int err = pending_fill(n);

	if (!err)
		err = pending_name(n, last);
	for (; !err && n->stacks_seen < stacks_cnt; n->stacks_seen++) {
		struct stack st = profile_stack_at(n->profile, n->stacks_seen);

		if (!stack_is_named(n, &st))
			break;
		profile_stack_set_cut(n->profile, n->stacks_seen, stack_is_cut(n, &st));
	}
	return err;
}
