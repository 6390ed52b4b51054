/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	kinds of hazard: detail or NULL
 *	allocators: missing │ awaited │ cnt │ each: module, family, used, evidence, warning │ cnt │ each function
 *	plan: refusal │ cnt │ notes │ how many of them are warnings │ cnt │ sites
 *
 * The writer may have been taken over by what it parsed. So: modules by number, families by name out of a list, names
 * of functions without anything but letters, digits, _ and =, other words printable, and sites in code of their module,
 * where the process has it mapped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "trace/survey_wire.h"

static const char *const families[] = { "glibc", "musl", "jemalloc", "tcmalloc", "mimalloc", "unknown", "pair" };
#define FAMILIES (sizeof(families) / sizeof(families[0]))

/* A site further in than this is at no entry any more, see elf/insn.c. */
#define DELTA_MAX	64

static void hazards_write(const struct hazards *h, struct text *ret)
{
	for (int i = 0; i < HAZARD_KINDS; i++)
		wire_put_str(ret, h->found[i] ? h->detail[i] : NULL);
}

static void allocator_write(const struct allocator *a, struct text *ret)
{
	size_t family = 0;

	while (family < FAMILIES && strcmp(families[family], a->family))
		family++;
	wire_put(ret, a->module->index);
	wire_put(ret, family);
	wire_put(ret, a->used);
	wire_put_str(ret, a->evidence);
	wire_put_str(ret, a->warning);
	wire_put(ret, a->functions_cnt);
	for (size_t i = 0; i < a->functions_cnt; i++) {
		wire_put_str(ret, a->functions[i].names);
		wire_put(ret, a->functions[i].kind);
		wire_put(ret, a->functions[i].va);
		wire_put(ret, a->functions[i].size_bytes);
		wire_put(ret, a->functions[i].shape);
	}
}

static void site_write(const struct plan_site *s, struct text *ret)
{
	wire_put(ret, s->module->index);
	wire_put_str(ret, s->function);
	wire_put(ret, s->kind);
	wire_put(ret, s->role);
	wire_put(ret, s->shape);
	wire_put(ret, s->entry_va);
	wire_put(ret, s->size_bytes);
	wire_put(ret, s->off);
	wire_put(ret, s->original);
	wire_put(ret, s->insn.delta_bytes);
	wire_put(ret, s->insn.emulated);
	wire_put_str(ret, s->insn.text);
	wire_put_str(ret, s->insn.reason);
}

void survey_write(const struct survey *s, struct text *ret)
{
	hazards_write(&s->hazards, ret);
	wire_put_str(ret, s->allocators->missing);
	wire_put_str(ret, s->allocators->awaited);
	wire_put(ret, s->allocators->cnt);
	for (size_t i = 0; i < s->allocators->cnt; i++)
		allocator_write(&s->allocators->list[i], ret);
	wire_put_str(ret, s->plan->refusal);
	wire_put(ret, s->plan->notes_cnt);
	for (size_t i = 0; i < s->plan->notes_cnt; i++)
		wire_put_str(ret, s->plan->notes[i]);
	wire_put(ret, s->plan->warnings_cnt);
	wire_put(ret, s->plan->sites_cnt);
	for (size_t i = 0; i < s->plan->sites_cnt; i++)
		site_write(&s->plan->sites[i], ret);
}

/* Words of our own making, in which names were made safe: \xNN stands for the rest. */
static char *take_words(struct wire *w)
{
	char *str = wire_str(w);
	size_t len = 0;

	for (const char *p = str; p && *p; p += len) {
		len = text_printable_len(p);
		if (!len && *p == '\\')
			len = 1;
		if (!len) {
			w->bad = true;
			free(str);
			return NULL;
		}
	}
	return str;
}

/* Never NULL, unless it is bad. */
static char *take_some_words(struct wire *w)
{
	char *str = take_words(w);

	if (!str && !w->failed)
		w->bad = true;
	return str;
}

static char *take_names(struct wire *w)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=";
	char *str = take_some_words(w);

	if (str && str[strspn(str, good)]) {
		w->bad = true;
		free(str);
		return NULL;
	}
	return str;
}

static struct target_module *take_module(struct wire *w, const struct target *t)
{
	uint64_t index = wire_u64(w);

	if (index < t->modules_cnt && t->modules[index]->facts.is_elf)
		return t->modules[index];
	w->bad = true;
	return NULL;
}

static enum probe_kind take_kind(struct wire *w)
{
	uint64_t kind = wire_max(w, PROBE_KINDS - 1);

	if (!kind)
		w->bad = true;
	return kind;
}

static uint64_t take_shape(struct wire *w)
{
	uint64_t shape = wire_u64(w);

	w->bad |= (shape & ~COOKIE_SHAPE_MASK) != 0;
	return shape;
}

static void hazards_read(struct wire *w, struct hazards *h)
{
	for (int i = 0; i < HAZARD_KINDS; i++) {
		h->detail[i] = take_words(w);
		h->found[i] = h->detail[i] != NULL;
	}
}

static void allocator_read(struct wire *w, const struct target *t, struct allocator *a)
{
	size_t cnt;

	a->module = take_module(w, t);
	a->family = families[wire_max(w, FAMILIES - 1)];
	a->used = wire_bool(w);
	a->evidence = take_words(w);
	a->warning = take_words(w);
	cnt = wire_cnt(w, 5 * sizeof(uint64_t));
	a->functions = calloc(cnt + 1, sizeof(*a->functions));
	w->failed |= !a->functions;
	for (; a->functions && a->functions_cnt < cnt && !w->bad; a->functions_cnt++) {
		struct allocator_function *fn = &a->functions[a->functions_cnt];

		fn->names = take_names(w);
		fn->kind = take_kind(w);
		fn->va = wire_u64(w);
		fn->size_bytes = wire_u64(w);
		fn->shape = take_shape(w);
	}
}

static void allocators_read(struct wire *w, const struct target *t, struct allocators *a)
{
	size_t cnt;

	a->missing = take_words(w);
	a->awaited = take_words(w);
	cnt = wire_cnt(w, 6 * sizeof(uint64_t));
	a->list = calloc(cnt + 1, sizeof(*a->list));
	w->failed |= !a->list;
	for (; a->list && a->cnt < cnt && !w->bad; a->cnt++)
		allocator_read(w, t, &a->list[a->cnt]);
}

/* In code of the module's file, and where the process has just that mapped. */
static bool site_is_sound(const struct target *t, const struct plan_site *s)
{
	const struct target_mapping *map = target_mapping_at(t, s->addr);
	uint64_t va = s->entry_va + s->insn.delta_bytes, off;

	return file_is_code(&s->module->facts, va) && !file_va_to_off(&s->module->facts, va, &off) && off == s->off && map &&
	       !map->gone && map->prot[2] == 'x' && map->module == s->module;
}

static void reason_read(struct wire *w, struct plan *p, struct plan_site *s)
{
	char *reason = take_some_words(w);

	s->insn.reason = reason;
	if (reason)
		p->reasons[p->reasons_cnt++] = reason;
}

static void site_read(struct wire *w, const struct target *t, struct plan *p)
{
	struct plan_site *s = &p->sites[p->sites_cnt++];
	char *text;

	s->module = take_module(w, t);
	s->function = take_names(w);
	s->kind = take_kind(w);
	s->role = wire_max(w, PLAN_ROLES - 1);
	s->shape = take_shape(w);
	s->entry_va = wire_u64(w);
	s->size_bytes = wire_u64(w);
	s->off = wire_u64(w);
	s->original = wire_max(w, UINT8_MAX);
	s->insn.delta_bytes = wire_max(w, DELTA_MAX);
	s->insn.emulated = wire_bool(w);
	text = take_some_words(w);
	if (text && strlen(text) < sizeof(s->insn.text))
		strcpy(s->insn.text, text);
	else
		w->bad = true;
	free(text);
	reason_read(w, p, s);
	/* a return probe on what throws would kill */
	w->bad |= (s->role == PLAN_ENTRY) != probe_at_entry(s->kind) || (s->role >= PLAN_BEGIN) != probe_by_rets(s->kind);
	if (w->bad)
		return;
	s->addr = target_addr(s->module, s->entry_va + s->insn.delta_bytes);
	w->bad |= !site_is_sound(t, s);
}

static void notes_read(struct wire *w, struct plan *p)
{
	size_t cnt = wire_cnt(w, sizeof(uint64_t));

	p->notes = calloc(cnt + 1, sizeof(*p->notes));
	w->failed |= !p->notes;
	while (p->notes && p->notes_cnt < cnt && !w->bad)
		p->notes[p->notes_cnt++] = take_some_words(w);
	p->warnings_cnt = wire_max(w, p->notes_cnt);
}

static void plan_read(struct wire *w, const struct target *t, struct plan *p)
{
	size_t cnt;

	p->refusal = take_words(w);
	notes_read(w, p);
	cnt = wire_cnt(w, 13 * sizeof(uint64_t));
	p->sites = calloc(cnt + 1, sizeof(*p->sites));
	p->reasons = calloc(cnt + 1, sizeof(*p->reasons));
	w->failed |= !p->sites || !p->reasons;
	while (!w->failed && p->sites_cnt < cnt && !w->bad)
		site_read(w, t, p);
	/* one or the other */
	w->bad |= !p->refusal == !p->sites_cnt;
}

int survey_read(const struct text *text, const struct target *t, struct survey *ret)
{
	struct survey s = { .allocators = calloc(1, sizeof(*s.allocators)), .plan = calloc(1, sizeof(*s.plan)) };
	struct wire w = wire_open(text);
	int err = s.allocators && s.plan ? 0 : -ENOMEM;

	if (!err) {
		hazards_read(&w, &s.hazards);
		allocators_read(&w, t, s.allocators);
		plan_read(&w, t, s.plan);
		err = wire_end(&w);
	}
	if (err) {
		survey_free(&s);
		return err;
	}
	s.died = ret->died;
	*ret = s;
	return 0;
}
