/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
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

int naming_open(struct naming *n, struct target *t, struct profile *p)
{
	const struct symbolizer_options opt = { 0 };

	*n = (struct naming){ .target = t, .profile = p };
	return symbolizer_new(&opt, &n->symbols);
}

void naming_close(struct naming *n)
{
	n->symbols = symbolizer_free(n->symbols);
}

static int frame_name(struct naming *n, uint32_t i)
{
	const struct frame *f = profile_frame_at(n->profile, i);
	struct symbol sym;
	int err;

	err = symbolizer_resolve(n->symbols, n->target, f->addr, f->is_return, &sym);
	if (err)
		return err;
	return profile_frame_name(n->profile, i, sym.name, sym.module, naming_kind(sym.module, n->target->exe, sym.name),
				  false);
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
	if (is_unnamed_libc(outermost) || (!st->cut && strstr(outermost->name, "+0x")))
		return false;
	for (size_t i = 0; i < sizeof(root_functions) / sizeof(root_functions[0]); i++)
		if (!strcmp(outermost->name, root_functions[i]))
			return false;
	return true;
}

int naming_update(struct naming *n)
{
	size_t frames_cnt = profile_frames_cnt(n->profile);
	bool refreshed = false;
	int err = 0;

	for (; !err && n->frames_named < frames_cnt; n->frames_named++) {
		const struct frame *f = profile_frame_at(n->profile, n->frames_named);

		/* code that was mapped after the last look */
		if (!refreshed && !target_mapping_at(n->target, f->addr)) {
			target_refresh(n->target);
			refreshed = true;
		}
		err = frame_name(n, n->frames_named);
	}
	for (; !err && n->stacks_seen < profile_stacks_cnt(n->profile); n->stacks_seen++) {
		struct stack st = profile_stack_at(n->profile, n->stacks_seen);

		profile_stack_set_cut(n->profile, n->stacks_seen, stack_is_cut(n, &st));
	}
	return err;
}
