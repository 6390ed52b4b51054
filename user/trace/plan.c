/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For each function of each used allocator, in this order: is it what the file says (bytes in memory),
 * where does the probe go (elf/insn.h), is it only a jump to another one. What is left out gets a note.
 *
 * A block whose death is not seen is reported as a leak that is none, so an allocator is probed with
 * all its functions that free or move, or not at all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "elf/fde.h"
#include "elf/image.h"
#include "trace/mappings.h"
#include "trace/plan.h"
#include "trace/returns.h"
#include "trace/stub.h"

/* Bytes compared with memory: more than any allocator function has; a symbol may say anything. */
#define FUNCTION_BYTES_MAX ((size_t)64 << 10)
/* Bytes looked at where the size is not known: the instruction at the entry. */
#define ENTRY_BYTES 16
#define BREAKPOINT 0xcc

struct planning {
	const struct target *t;
	const struct allocator *a;
	const struct image *img;	/* of the allocator's file */
	struct plan *p;
	size_t *functions;	/* of each site: index in a->functions */
	size_t first_site;	/* of this allocator */
	struct returns_file file;	/* opened when it is needed */
	bool file_opened;
};

static const char *module_base(const struct target_module *m)
{
	const char *slash = strrchr(m->path, '/');

	return slash ? slash + 1 : m->path;
}

/* Takes over the text. */
static int plan_note(struct plan *p, struct text *note)
{
	char **more = NULL;

	if (!note->failed)
		more = realloc(p->notes, (p->notes_cnt + 1) * sizeof(*more));
	if (!more) {
		text_free(note);
		return -ENOMEM;
	}
	p->notes = more;
	p->notes[p->notes_cnt++] = note->str;
	*note = (struct text){ 0 };
	return 0;
}

/* The same, to be said aloud. */
static int plan_warn(struct plan *p, struct text *note)
{
	int err = plan_note(p, note);
	char *last;

	if (err)
		return err;
	last = p->notes[p->notes_cnt - 1];
	memmove(&p->notes[p->warnings_cnt + 1], &p->notes[p->warnings_cnt],
		(p->notes_cnt - 1 - p->warnings_cnt) * sizeof(*p->notes));
	p->notes[p->warnings_cnt++] = last;
	return 0;
}

/* "NAMES of LIBRARY: WHY" */
static int note_function(struct planning *pl, const struct allocator_function *fn, const char *why)
{
	struct text note = { 0 };

	text_add_safe(&note, fn->names);
	text_add(&note, " of ");
	text_add_safe(&note, module_base(pl->a->module));
	text_printf(&note, ": %s", why);
	return plan_note(pl->p, &note);
}

static int note_allocator(struct plan *p, const struct allocator *a, const char *what, const char *why)
{
	struct text note = { 0 };

	text_printf(&note, "%s in ", a->family);
	text_add_safe(&note, module_base(a->module));
	text_printf(&note, "%s%s", what, why);
	return plan_note(p, &note);
}

/*
 * NULL when the process runs what the file holds. Breakpoints are let pass: the kernel knows the
 * instruction under those of other tracers (another ebb) and chains them.
 */
static const char *memory_why_not(const struct planning *pl, const struct allocator_function *fn,
				  const unsigned char *code, size_t len)
{
	uint64_t addr = target_addr(pl->a->module, fn->va);
	const struct target_mapping *map = target_mapping_at(pl->t, addr);
	unsigned char *memory;
	const char *why = NULL;
	ssize_t got;

	if (!map || map->gone || map->module != pl->a->module)
		return "not probed: its code was moved away from the mapped file (huge pages?), so no probe is met there";
	memory = malloc(len);
	if (!memory)
		return "not probed: out of memory";
	got = target_read(pl->t, addr, memory, len);
	if (got != (ssize_t)len)
		why = "not probed: the code in memory cannot be read and compared with the file";
	for (size_t i = 0; i < len && !why; i++)
		if (memory[i] != code[i] && memory[i] != BREAKPOINT)
			why = "not probed: its code in memory was changed by somebody";
	free(memory);
	return why;
}

static int site_add(struct planning *pl, const struct allocator_function *fn, enum plan_role role, uint64_t entry_va,
		    const struct insn_site *insn, unsigned char original)
{
	struct plan *p = pl->p;
	struct plan_site *more, *site;
	size_t *functions;
	uint64_t off;

	if (image_va_to_off(pl->img, entry_va + insn->delta_bytes, &off))
		return note_function(pl, fn, "not probed: not in a segment of the file");
	more = realloc(p->sites, (p->sites_cnt + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->sites = more;
	functions = realloc(pl->functions, (p->sites_cnt + 1) * sizeof(*functions));
	if (!functions)
		return -ENOMEM;
	pl->functions = functions;
	functions[p->sites_cnt] = fn - pl->a->functions;
	site = &p->sites[p->sites_cnt];
	*site = (struct plan_site){
		.module = pl->a->module,
		.function = strdup(fn->names),
		.kind = fn->kind,
		.role = role,
		.shape = fn->shape,
		.entry_va = entry_va,
		.size_bytes = role == PLAN_RET ? 0 : fn->size_bytes,
		.off = off,
		.addr = target_addr(pl->a->module, entry_va + insn->delta_bytes),
		.insn = *insn,
		.original = original,
	};
	if (!site->function)
		return -ENOMEM;
	p->sites_cnt++;
	return 0;
}

static bool has_ret(const struct planning *pl, const struct allocator_function *fn, uint64_t va)
{
	for (size_t i = 0; i < pl->p->sites_cnt; i++) {
		const struct plan_site *s = &pl->p->sites[i];

		if (s->role == PLAN_RET && s->module == pl->a->module && s->entry_va == va && s->kind == fn->kind && s->shape == fn->shape)
			return true;
	}
	return false;
}

/* One site of PLAN_RET for each ret that calls of the function come back by, but for those that another one has as well. */
static int add_rets(struct planning *pl, const struct allocator_function *fn, const uint64_t *vas, size_t cnt)
{
	struct insn_site insn = { .text = "ret", .reason = "calls come back by it: a return probe could break exceptions and fibers" };
	const unsigned char *code;
	size_t len;
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		if (has_ret(pl, fn, vas[i]))
			continue;
		err = image_text(pl->img, vas[i], 1, &code, &len);
		if (!err)
			err = site_add(pl, fn, PLAN_RET, vas[i], &insn, *code);
	}
	return err;
}

/* Entry and rets of a function that must have no return probe; without its rets it is not probed at all. */
static int plan_by_rets(struct planning *pl, const struct allocator_function *fn, const struct insn_site *entry,
			unsigned char original)
{
	struct text why = { 0 }, note = { 0 };
	uint64_t *vas = NULL;
	size_t cnt = 0;
	int err = 0;

	if (!pl->file_opened)
		err = returns_open(pl->t, pl->a->module, pl->img, &pl->file);
	pl->file_opened = !err;
	if (!err)
		err = returns_find(&pl->file, fn->va, fn->size_bytes, &vas, &cnt, &why);
	if (err == -ENOEXEC) {
		text_add_safe(&note, fn->names);
		text_add(&note, " of ");
		text_add_safe(&note, module_base(pl->a->module));
		text_printf(&note, ": not probed, what it allocates is not seen: a return probe could break exceptions, and %s",
			    text_str(&why));
		if (fn->kind == PROBE_ACQUIRE && !pl->p->refusal && !note.failed) {	/* it was asked for: not without it */
			pl->p->refusal = note.str;
			note = (struct text){ 0 };
			err = 0;
		} else {
			err = plan_warn(pl->p, &note);
		}
	} else if (!err) {
		err = add_rets(pl, fn, vas, cnt);
		if (!err)
			err = site_add(pl, fn, PLAN_BEGIN, fn->va, entry, original);
	}
	text_free(&why);
	free(vas);
	return err;
}

/* How many arguments the programs read of each kind, from the first on (requested_size() of leak.bpf.h). */
static unsigned int kind_args(enum probe_kind kind)
{
	switch (kind) {
	case PROBE_LOADED:
		return 0;
	case PROBE_FREE:
	case PROBE_MALLOC:
	case PROBE_NEW:
		return 1;
	case PROBE_ACQUIRE:
	case PROBE_RELEASE:
		return PAIR_ARGS_MAX;
	case PROBE_REALLOCARRAY:
	case PROBE_POSIX_MEMALIGN:
	case PROBE_XALLOCX:
		return 3;
	case PROBE_MREMAP:
		return 4;
	default:
		return 2;
	}
}

static int plan_function(struct planning *pl, const struct allocator_function *fn)
{
	size_t want = fn->size_bytes, len;
	const unsigned char *code;
	struct insn_site insn;
	const char *why;
	bool sized;
	int err;

	if (want > FUNCTION_BYTES_MAX || !want)
		want = ENTRY_BYTES;
	if (image_text(pl->img, fn->va, want, &code, &len))
		return note_function(pl, fn, "not probed: its symbol is not in an executable segment");
	/* A symbol's size or unwind information says where a function begins; without both: the entry. */
	sized = fn->size_bytes && len == fn->size_bytes;
	if (!sized && !fde_starts_at(pl->img, fn->va) && len > ENTRY_BYTES)
		len = ENTRY_BYTES;
	why = memory_why_not(pl, fn, code, len);
	if (why)
		return note_function(pl, fn, why);
	err = insn_site_find(code, len, fn->va, sized, kind_args(fn->kind), &insn);
	if (err == -ENOEXEC)
		return note_function(pl, fn, "not probed: the kernel would not take a probe on its first instruction");
	if (err)
		return err;
	if (probe_by_rets(fn->kind))
		return plan_by_rets(pl, fn, &insn, code[insn.delta_bytes]);
	return site_add(pl, fn, probe_at_entry(fn->kind) ? PLAN_ENTRY : PLAN_CALL, fn->va, &insn, code[insn.delta_bytes]);
}

static bool has_site(const struct planning *pl, const struct allocator_function *fn)
{
	for (size_t i = pl->first_site; i < pl->p->sites_cnt; i++)
		if (pl->p->sites[i].entry_va == fn->va)
			return true;
	return false;
}

static void sites_cut(struct plan *p, size_t cnt)
{
	while (p->sites_cnt > cnt)
		free(p->sites[--p->sites_cnt].function);
}

/*
 * A function that only jumps to another one of the plan with the same arguments would be paid for
 * twice, and a block freed twice would be counted as one that was never seen.
 */
static int drop_stubs(struct planning *pl)
{
	struct plan *p = pl->p;
	size_t cnt = p->sites_cnt, out = pl->first_site;
	bool *drop = calloc(cnt + 1, sizeof(*drop));
	struct text note = { 0 };
	size_t dropped = 0;

	if (!drop)
		return -ENOMEM;
	/* decided before any is dropped: a stub may jump to a stub */
	for (size_t i = pl->first_site; i < cnt; i++) {
		const struct allocator_function *to;

		to = stub_target(pl->t, pl->img, pl->a, &pl->a->functions[pl->functions[i]]);
		drop[i] = to && to->kind == p->sites[i].kind && to->shape == p->sites[i].shape && has_site(pl, to);
	}
	for (size_t i = pl->first_site; i < cnt; i++) {
		if (drop[i]) {
			text_add(&note, dropped++ ? ", " : "");
			text_add_safe(&note, p->sites[i].function);
			free(p->sites[i].function);
		} else {
			pl->functions[out] = pl->functions[i];
			p->sites[out++] = p->sites[i];
		}
	}
	p->sites_cnt = out;
	free(drop);
	if (!dropped)
		return 0;
	text_add(&note, " of ");
	text_add_safe(&note, module_base(pl->a->module));
	text_printf(&note, ": only jump%s to functions that are probed", dropped == 1 ? "s" : "");
	return plan_note(p, &note);
}

/* What ends or moves a block must be seen; xallocx resizes in place. */
static bool is_essential(enum probe_kind kind)
{
	return probe_at_entry(kind) || kind == PROBE_MREMAP || kind == PROBE_REALLOC || kind == PROBE_RALLOCX || kind == PROBE_REALLOCARRAY;
}

static int plan_allocator(const struct target *t, const struct image *img, const struct allocator *a, struct plan *p)
{
	struct planning pl = { .t = t, .img = img, .a = a, .p = p, .first_site = p->sites_cnt };
	const struct allocator_function *lost = NULL;
	int err = 0;

	/* indexed like the sites; those of earlier allocators are not looked at */
	pl.functions = calloc(p->sites_cnt + 1, sizeof(*pl.functions));
	if (!pl.functions)
		return -ENOMEM;
	for (size_t i = 0; i < a->functions_cnt && !err; i++) {
		err = plan_function(&pl, &a->functions[i]);
		if (!err && !has_site(&pl, &a->functions[i]) && is_essential(a->functions[i].kind))
			lost = &a->functions[i];
	}
	if (!err && lost) {
		sites_cut(p, pl.first_site);
		err = note_function(&pl, lost, "its blocks would seem to live for ever, so nothing of this allocator is probed");
	} else if (!err) {
		err = drop_stubs(&pl);
	}
	free(pl.functions);
	returns_close(&pl.file);
	if (!err && a->warning) {
		struct text note = { 0 };

		/* of our own making, names in it are safe already */
		text_add(&note, a->warning);
		err = plan_note(p, &note);
	}
	return err;
}

static int site_rank(const struct plan_site *site)
{
	if (site->role == PLAN_ENTRY)
		return 0;
	if (is_essential(site->kind) || site->kind == PROBE_XALLOCX)
		return 1;
	return site->role == PLAN_RET ? 2 : 3;
}

static int site_cmp(const void *a, const void *b)
{
	const struct plan_site *x = a, *y = b;

	if (site_rank(x) != site_rank(y))
		return site_rank(x) - site_rank(y);
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int plan_refuse(struct plan *p, const struct allocators *a)
{
	struct text why = { 0 };

	if (a->missing)
		text_add(&why, a->missing);
	else if (!p->notes_cnt)
		text_add(&why, "no allocator was found");
	else
		text_printf(&why, "no function of an allocator can be probed: %s", p->notes[p->notes_cnt - 1]);
	if (why.failed) {
		text_free(&why);
		return -ENOMEM;
	}
	p->refusal = why.str;
	return 0;
}

/*
 * What maps memory, in the files that have allocators: the C library, what it was linked into, and allocators that stand
 * before its functions (tcmalloc).
 */
static int plan_mappings(const struct target *t, const struct images *images, const struct allocators *allocators, struct plan *p)
{
	int err = 0;

	for (size_t i = 0; i < allocators->cnt && !err; i++) {
		struct allocator_function functions[MAPPING_FUNCTIONS_MAX];
		struct allocator a = { .family = "unknown", .module = allocators->list[i].module, .functions = functions };
		bool is_known = !strcmp(allocators->list[i].family, "pair");	/* memory is not looked at */
		int cnt;

		for (size_t n = 0; n < i; n++)
			is_known |= allocators->list[n].module == a.module;
		if (is_known)
			continue;
		cnt = mapping_functions_find(images_of(images, a.module), functions);
		a.functions_cnt = cnt > 0 ? cnt : 0;
		err = cnt > 0 ? plan_allocator(t, images_of(images, a.module), &a, p) : cnt;
		while (cnt > 0)
			free(functions[--cnt].names);
	}
	return err;
}

/* The function that the dynamic linker calls when it has loaded something: later libraries are found by it. */
static int is_loader_hook(const struct image_symbol *sym, void *ctx)
{
	struct allocator_function *fn = ctx;

	if (sym->type != IMAGE_FUNC || strcmp(sym->name, "_dl_debug_state"))
		return 0;
	fn->va = sym->va;
	fn->size_bytes = sym->size;
	return 1;
}

/* Behind all others: without any there is nothing to wait for. */
static int plan_loader(const struct target *t, const struct images *images, struct plan *p)
{
	for (size_t i = 0; i < t->modules_cnt; i++) {
		struct allocator_function fn = { .names = (char *)"_dl_debug_state", .kind = PROBE_LOADED };
		const struct allocator a = { .family = "unknown", .module = t->modules[i], .functions = &fn, .functions_cnt = 1 };
		const struct image *img = images_of(images, t->modules[i]);
		/* glibc's ld.so; musl's is its libc */
		bool may_be = !strncmp(module_base(t->modules[i]), "ld", 2) || !strncmp(module_base(t->modules[i]), "libc.", 5);

		if (img && may_be && image_each_symbol(img, is_loader_hook, &fn) == 1)
			return plan_allocator(t, img, &a, p);
	}
	return 0;
}

/* For a file that is to be probed when it is loaded. */
static int plan_await(struct plan *p, const char *file)
{
	bool is_told = p->sites_cnt && p->sites[p->sites_cnt - 1].kind == PROBE_LOADED;
	struct text words = { 0 };

	text_printf(&words, is_told ? "%s is not loaded yet: its functions are probed when it is" :
		    "%s is not loaded, and this process has no dynamic linker that would tell when it is", file);
	if (is_told)
		return plan_warn(p, &words);
	if (words.failed)
		return -ENOMEM;
	sites_cut(p, 0);
	p->refusal = words.str;
	return 0;
}

static int plan_fill(const struct target *t, const struct images *images, const struct allocators *a, struct plan *p)
{
	int err = 0;

	for (size_t i = 0; i < a->cnt && !err; i++) {
		if (a->list[i].used)
			err = plan_allocator(t, images_of(images, a->list[i].module), &a->list[i], p);
		else
			err = note_allocator(p, &a->list[i], " is not used: ", a->list[i].evidence);
	}
	if (!err && p->refusal)
		sites_cut(p, 0);
	else if (!err && !p->sites_cnt && !a->awaited)
		return plan_refuse(p, a);
	if (!err && p->refusal)
		return 0;
	if (!err)
		err = plan_mappings(t, images, a, p);
	if (!err)
		err = plan_loader(t, images, p);
	if (!err && a->awaited)
		err = plan_await(p, a->awaited);
	if (!err && a->missing) {
		struct text note = { 0 };

		text_add(&note, a->missing);
		err = plan_note(p, &note);
	}
	if (!err)
		qsort(p->sites, p->sites_cnt, sizeof(*p->sites), site_cmp);
	return err;
}

int plan_make(const struct target *t, const struct images *images, const struct allocators *a, struct plan **ret)
{
	struct plan *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	err = plan_fill(t, images, a, p);
	if (err) {
		plan_free(p);
		return err;
	}
	*ret = p;
	return p->refusal ? -ENOENT : 0;
}

struct plan *plan_free(struct plan *p)
{
	if (!p)
		return NULL;
	sites_cut(p, 0);
	free(p->sites);
	for (size_t i = 0; i < p->notes_cnt; i++)
		free(p->notes[i]);
	free(p->notes);
	free(p->refusal);
	for (size_t i = 0; i < p->reasons_cnt; i++)
		free(p->reasons[i]);
	free(p->reasons);
	free(p);
	return NULL;
}
