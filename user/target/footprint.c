/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "target/footprint.h"
#include "target/maps.h"
#include "target/proc.h"
#include "target/target.h"

static uint64_t status_bytes(const char *status, const char *key)
{
	uint64_t kib = 0;

	proc_status_u64(status, key, &kib);
	return kib << 10;
}

bool footprint_status_parse(const char *status, struct footprint_status *ret)
{
	if (!proc_status_line(status, "VmRSS", &(size_t){ 0 }))
		return false;
	*ret = (struct footprint_status){
		.rss_bytes = status_bytes(status, "VmRSS"), .anon_bytes = status_bytes(status, "RssAnon"),
		.file_bytes = status_bytes(status, "RssFile"), .shmem_bytes = status_bytes(status, "RssShmem"),
		.swap_bytes = status_bytes(status, "VmSwap"), .page_table_bytes = status_bytes(status, "VmPTE"),
		.peak_bytes = status_bytes(status, "VmHWM"), .hugetlb_bytes = status_bytes(status, "HugetlbPages"),
	};
	proc_status_u64(status, "Threads", &ret->threads_cnt);
	return true;
}

static int status_read(const struct target *t, struct footprint_status *ret)
{
	struct text status = { 0 };
	int err = proc_read(t->proc_fd, "status", &status);

	if (!err && !footprint_status_parse(text_str(&status), ret))
		err = -ESRCH;
	text_free(&status);
	return err;
}

static void values_add(struct smaps_values *to, const struct smaps_values *v)
{
	to->rss_bytes += v->rss_bytes;
	to->pss_bytes += v->pss_bytes;
	to->own_bytes += v->own_bytes;
	to->swap_bytes += v->swap_bytes;
	to->huge_bytes += v->huge_bytes;
	to->hugetlb_bytes += v->hugetlb_bytes;
}

static void part_add(struct footprint_part *part, const struct target_mapping *map, const struct smaps_values *v)
{
	values_add(&part->values, v);
	part->reserved_bytes += map->prot[0] == 'r' || map->prot[1] == 'w' || map->prot[2] == 'x' ? map->end - map->start : 0;
	part->maps_cnt++;
}

static int compare_names(const void *a, const void *b)
{
	const struct footprint_mapping *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	/* without a name: not put together */
	if (!x->name || !y->name)
		return x->name ? 1 : y->name ? -1 : x->start < y->start ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int compare_sizes(const void *a, const void *b)
{
	const struct footprint_mapping *x = a, *y = b;
	uint64_t x_bytes = x->values.rss_bytes + x->values.swap_bytes + x->values.hugetlb_bytes;
	uint64_t y_bytes = y->values.rss_bytes + y->values.swap_bytes + y->values.hugetlb_bytes;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x_bytes != y_bytes)
		return x_bytes > y_bytes ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

/* Those that hold something, put together by name. Names are borrowed from s until the end, then copied. */
static int mappings_make(const struct smaps *s, const enum region_kind *kinds, struct footprint *f)
{
	struct footprint_mapping *list = calloc(s->cnt + 1, sizeof(*list));
	size_t cnt = 0, out = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < s->cnt; i++) {
		const struct smaps_values *v = &s->values[i];

		if (v->rss_bytes + v->swap_bytes + v->hugetlb_bytes)
			list[cnt++] = (struct footprint_mapping){ kinds[i], *s->maps[i].path ? s->maps[i].path : NULL, s->maps[i].start,
								  s->maps[i].end, 1, *v };
	}
	qsort(list, cnt, sizeof(*list), compare_names);
	for (size_t i = 0; i < cnt; i++) {
		struct footprint_mapping *last = out ? &list[out - 1] : NULL;

		if (last && last->name && list[i].name && last->kind == list[i].kind && !strcmp(last->name, list[i].name)) {
			values_add(&last->values, &list[i].values);
			last->maps_cnt++;
		} else {
			list[out++] = list[i];
		}
	}
	qsort(list, out, sizeof(*list), compare_sizes);
	f->mappings = list;
	for (; f->mappings_cnt < out; f->mappings_cnt++) {
		char **name = &list[f->mappings_cnt].name;

		if (*name && !(*name = strdup(*name)))
			return -ENOMEM;
	}
	return 0;
}

int footprint_sum(const struct smaps *s, const enum region_kind *kinds, struct footprint *ret)
{
	struct footprint f = { .lines = s->lines, .moved_cnt = s->moved_cnt };
	int err;

	for (size_t i = 0; i < s->cnt; i++) {
		part_add(&f.parts[kinds[i]], &s->maps[i], &s->values[i]);
		part_add(&f.total, &s->maps[i], &s->values[i]);
		f.stacks_cnt += kinds[i] == REGION_STACK && s->maps[i].prot[1] == 'w';
	}
	err = mappings_make(s, kinds, &f);
	if (err)
		footprint_free(&f);
	else
		*ret = f;
	return err;
}

void footprint_free(struct footprint *f)
{
	for (size_t i = 0; i < f->mappings_cnt; i++)
		free(f->mappings[i].name);
	free(f->mappings);
	*f = (struct footprint){ .mappings = NULL };
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int classify(const struct target *t, const struct smaps *s, const struct region_threads *threads, enum region_kind *kinds,
		    enum region_runtime *ret_runtime)
{
	struct region_facts facts = { .sp_addrs = threads->sp_addrs, .sps_cnt = threads->sps_cnt };
	uint64_t *ends;
	int err = region_image_ends_read(t->proc_fd, s->maps, s->cnt, &ends, &facts.image_ends_cnt);

	if (err)
		return err;
	facts.runtime = threads->runtime ? threads->runtime : region_runtime_of(s->maps, s->cnt);
	facts.flags = s->lines & SMAPS_FLAGS ? s->flags : NULL;
	facts.image_end_addrs = ends;
	err = regions_classify(s->maps, s->cnt, &facts, kinds);
	free(ends);
	*ret_runtime = facts.runtime;
	return err;
}

static void faults_read(const struct target *t, struct footprint *f)
{
	struct text text = { 0 };
	const char *behind;

	if (!proc_read(t->proc_fd, "stat", &text)) {
		/* "… ) S ppid pgrp session tty tpgid flags minflt cminflt majflt" */
		behind = strrchr(text_str(&text), ')');
		if (!behind || sscanf(behind, ") %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &f->minor_faults, &f->major_faults) != 2)
			f->minor_faults = f->major_faults = 0;
	}
	text_free(&text);
}

int footprint_read(const struct target *t, struct footprint *ret)
{
	struct footprint_status before, after;
	struct region_threads threads = { 0 };
	enum region_runtime runtime;
	enum region_kind *kinds = NULL;
	struct smaps s = { 0 };
	uint64_t read_ns = 0;
	int err;

	if (region_threads_read(t->proc_fd, &threads) == -ENOMEM)
		return -ENOMEM;
	err = status_read(t, &before);
	if (!err) {
		read_ns = now_ns();
		err = smaps_read(t->proc_fd, &s);
		read_ns = now_ns() - read_ns;
	}
	if (!err)
		err = status_read(t, &after);
	if (!err && !(kinds = calloc(s.cnt + 1, sizeof(*kinds))))
		err = -ENOMEM;
	if (!err)
		err = classify(t, &s, &threads, kinds, &runtime);
	if (!err)
		err = footprint_sum(&s, kinds, ret);
	if (!err) {
		ret->before = before;
		ret->after = after;
		ret->read_ns = read_ns;
		ret->runtime = runtime;
		ret->threads_cnt = threads.threads_cnt;
		faults_read(t, ret);
	}
	free(kinds);
	smaps_free(&s);
	region_threads_free(&threads);
	return err;
}

const char *footprint_label(const struct footprint *f, enum region_kind kind)
{
	if (kind == REGION_MANAGED && f->runtime != REGION_RUNTIME_NONE)
		return f->runtime == REGION_RUNTIME_V8 ? "managed heap (V8)" : "managed heap (.NET)";
	if (kind == REGION_JIT && f->runtime == REGION_RUNTIME_DOTNET)
		return "JIT code, loader (.NET)";
	return region_kind_label(kind);
}
