/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/faults_books.h"

#define BATCH	1024u

/*
 * The address of the frame that says what happened where: in the half of the kernel, where no user code is.
 *
 *	0xfffe:16 │ 0:30 │ huge:1 │ how:8 │ memory:8 │ 0
 */
#define LEAF	0xfffe000000000000ull

static uint64_t leaf_addr(const struct faults_tag *tag)
{
	return LEAF | (uint64_t)tag->huge << 16 | (uint64_t)tag->how << 8 | tag->memory;
}

int faults_books_open(struct faults_books *b)
{
	unsigned long kib;
	char line[256];
	FILE *f = fopen("/proc/meminfo", "re");

	b->page_bytes = sysconf(_SC_PAGESIZE);
	b->huge_bytes = b->page_bytes;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %lu", &kib) == 1)
			b->huge_bytes = kib << 10;
	if (f)
		fclose(f);
	b->index = hashmap_new();
	return b->index ? 0 : -ENOMEM;
}

void faults_books_close(struct faults_books *b)
{
	b->index = hashmap_free(b->index);
	free(b->list);
	free(b->tags);
	b->list = NULL;
	b->tags = NULL;
}

static int entry_add(struct faults_books *b, const struct faults_key *key, struct faults_entry **ret)
{
	struct faults_entry *e;
	int err;

	if (b->cnt == b->size) {
		size_t size = b->size ? b->size * 2 : 256;
		struct faults_entry *list = realloc(b->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		b->list = list;
		b->size = size;
	}
	err = hashmap_put(b->index, key, sizeof(*key), b->cnt);
	if (err)
		return err;
	e = &b->list[b->cnt++];
	*e = (struct faults_entry){ .key = *key, .memory = FAULTS_MEMORY_UNKNOWN };
	for (int i = 0; i < FAULTS_HOWS; i++)
		e->stacks[i] = -1;
	*ret = e;
	return 0;
}

static int entry_get(struct faults_books *b, const struct faults_key *key, struct faults_entry **ret)
{
	uint64_t at;

	if (!hashmap_get(b->index, key, sizeof(*key), &at))
		return entry_add(b, key, ret);
	*ret = &b->list[at];
	return 0;
}

static int entry_take(struct faults_books *b, const struct faults_key *key, const struct faults_counts *counts)
{
	struct faults_entry *e;
	int err = entry_get(b, key, &e);

	if (!err)
		e->now = *counts;
	return err;
}

/*
 * What the CPUs have not put into the books yet. It is read after them: what goes there in between is missing until the next
 * look, so that counts seem to fall. When the programs are detached it is exact.
 */
static int pending_take(struct faults_books *b)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	struct faults_pending *list = cpus > 0 ? calloc(cpus, sizeof(*list)) : NULL;
	uint32_t zero = 0;

	if (!list)
		return -ENOMEM;
	err = bpf_map_lookup_elem(b->pending_fd, &zero, list);
	for (int i = 0; !err && i < cpus; i++) {
		struct faults_entry *e;

		if (list[i].key.owner == FAULTS_NONE)
			continue;
		err = entry_get(b, &list[i].key, &e);
		if (err)
			break;
		e->now.first += list[i].counts[FAULTS_KIND_FIRST];
		e->now.zero += list[i].counts[FAULTS_KIND_ZERO];
		e->now.copied += list[i].counts[FAULTS_KIND_COPIED];
		e->now.minor += list[i].counts[FAULTS_KIND_MINOR];
	}
	free(list);
	return err;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void counts_keep(struct faults_entry *e)
{
	struct faults_counts *c = &e->counts;

	/* what comes back from swap is moved from one to the other */
	if (e->now.first + e->now.zero >= c->first + c->zero) {
		c->first = e->now.first;
		c->zero = e->now.zero;
	}
	c->copied = larger(c->copied, e->now.copied);
	c->minor = larger(c->minor, e->now.minor);
	c->major_user = e->now.major_user;
	c->major_kernel = e->now.major_kernel;
	c->major_ns = e->now.major_ns;
	c->timed = e->now.timed;
}

/* Reads the map in pieces. *keys and *values: of `room` entries, which grows where one bucket holds more. */
static int map_read(struct faults_books *b, struct faults_key **keys, struct faults_counts **values)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t room = 0, want = BATCH, position = 0, next, cnt;
	bool first = true;
	int err;

	do {
		if (room < want) {
			struct faults_key *k = realloc(*keys, want * sizeof(*k));
			struct faults_counts *v = realloc(*values, want * sizeof(*v));

			*keys = k ? k : *keys;
			*values = v ? v : *values;
			if (!k || !v)
				return -ENOMEM;
			room = want;
		}
		cnt = room;
		err = bpf_map_lookup_batch(b->fd, first ? NULL : &position, &next, *keys, *values, &cnt, &opts);
		if (err == -ENOSPC) {
			want = room * 2;
			continue;
		}
		if (err && err != -ENOENT)
			return err;
		for (uint32_t i = 0; i < cnt; i++) {
			int failed = entry_take(b, &(*keys)[i], &(*values)[i]);

			if (failed)
				return failed;
		}
		first = false;
		position = next;
	} while (err != -ENOENT);
	return 0;
}

static int by_owner(const void *a, const void *b, void *ctx)
{
	const struct faults_entry *list = ctx, *x = &list[*(const size_t *)a], *y = &list[*(const size_t *)b];

	return (x->key.owner > y->key.owner) - (x->key.owner < y->key.owner);
}

/* Entries of one owner, whose mappings are read once for all. */
static void owner_resolve(struct faults_books *b, const size_t *entries, size_t cnt)
{
	uint32_t owner = b->list[entries[0]].key.owner;
	struct regions regions = { .list = NULL };
	int err = faults_owners_at(b->owners, owner) ? faults_owner_regions(b->owners, owner, &regions) : -EAGAIN;

	for (size_t i = 0; i < cnt; i++) {
		struct faults_entry *e = &b->list[entries[i]];

		e->memory = faults_memory_of(e->key.memory, err ? NULL : regions_at(&regions,
					     faults_memory_addr(e->key.memory)));
		e->resolved = err != -EAGAIN && err != -ENOMEM;
	}
	if (!err)
		regions_free(&regions);
}

static int resolve(struct faults_books *b)
{
	size_t *entries, cnt = 0, first = 0;

	for (size_t i = 0; i < b->cnt; i++) {
		struct faults_entry *e = &b->list[i];

		if (!e->resolved && !faults_memory_asks(e->key.memory)) {
			e->memory = faults_memory_of(e->key.memory, NULL);
			e->resolved = true;
		}
		cnt += !e->resolved;
	}
	if (!cnt)
		return 0;
	entries = malloc(cnt * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	cnt = 0;
	for (size_t i = 0; i < b->cnt; i++)
		if (!b->list[i].resolved)
			entries[cnt++] = i;
	qsort_r(entries, cnt, sizeof(*entries), by_owner, b->list);
	for (size_t i = 1; i <= cnt; i++) {
		if (i < cnt && b->list[entries[i]].key.owner == b->list[entries[first]].key.owner)
			continue;
		owner_resolve(b, entries + first, i - first);
		first = i;
	}
	free(entries);
	return 0;
}

int faults_books_look(struct faults_books *b)
{
	struct faults_key *keys = NULL;
	struct faults_counts *values = NULL;
	int err;

	for (size_t i = 0; i < b->cnt; i++)
		b->list[i].now = (struct faults_counts){ .first = 0 };
	err = map_read(b, &keys, &values);
	free(keys);
	free(values);
	if (!err)
		err = pending_take(b);
	for (size_t i = 0; !err && i < b->cnt; i++)
		counts_keep(&b->list[i]);
	return err ?: resolve(b);
}

static int tag_set(struct faults_books *b, uint32_t stack, const struct faults_tag *tag)
{
	size_t size = b->tags_size ? b->tags_size : 1024;
	struct faults_tag *tags;

	if (stack >= b->tags_size) {
		while (size <= stack)
			size *= 2;
		tags = realloc(b->tags, size * sizeof(*tags));
		if (!tags)
			return -ENOMEM;
		for (size_t i = b->tags_size; i < size; i++)
			tags[i] = (struct faults_tag){ .how = FAULTS_HOWS, .memory = FAULTS_MEMORY_UNKNOWN };
		b->tags = tags;
		b->tags_size = size;
	}
	b->tags[stack] = *tag;
	return 0;
}

/* The innermost frame of a stack gets its name, unless it has one. */
static int leaf_name(struct faults_books *b, uint32_t stack, const struct faults_tag *tag)
{
	struct stack st = profile_stack_at(b->profile, stack);
	char name[128];

	if (profile_frame_at(b->profile, st.frames[0])->kind != FRAME_UNNAMED)
		return 0;
	snprintf(name, sizeof(name), "[%s: %s%s]", faults_how_label(tag->how), faults_memory_label(tag->memory),
		 tag->huge ? ", huge pages" : "");
	return profile_frame_name(b->profile, st.frames[0], name, NULL, FRAME_KERNEL, false);
}

/* The stack of the profile; -1: not yet. Or a negative errno below -1. */
static int entry_stack(struct faults_books *b, struct faults_entry *e, enum faults_how how)
{
	const struct faults_owner *owner = faults_owners_at(b->owners, e->key.owner);
	const struct faults_tag tag = { .how = how, .memory = e->memory, .huge = e->key.memory & FAULTS_HUGE };
	int stack, err = 0;

	if (e->stacks[how] >= 0 || !owner || !e->resolved)
		return e->stacks[how];
	stack = stacks_of_with(b->stacks, e->key.stack, owner->process, leaf_addr(&tag));
	if (stack < 0)
		return -1;
	if (!profile_stack_at(b->profile, stack).label)
		err = tag_set(b, stack, &tag) ?: leaf_name(b, stack, &tag);
	if (err)
		return err < -1 ? err : -ENOMEM;
	return e->stacks[how] = stack;
}

static void value_add(struct profile *p, int stack, int type, uint64_t n)
{
	profile_value_set(p, stack, type, profile_value(p, stack, type) + n);
}

static int entry_fill(struct faults_books *b, struct faults_entry *e, bool own)
{
	const struct faults_split split = faults_split(&e->counts, e->key.memory);
	struct faults_summary *sum = &b->summary;

	for (int how = 0; how < FAULTS_HOWS; how++) {
		uint64_t n = split.counts[how], bytes = faults_bytes(how, e->memory, n, b->page_bytes, b->huge_bytes);
		int stack;

		if (!n)
			continue;
		sum->counts[e->memory][how] += n;
		sum->bytes += bytes;
		if (own && e->memory != FAULTS_MEMORY_UNMAPPED)
			sum->own += n;
		if (e->key.memory & FAULTS_HUGE && how == FAULTS_FIRST)
			sum->huge += n;
		stack = entry_stack(b, e, how);
		if (stack < -1)
			return stack;
		if (stack < 0) {
			sum->without_stack += n;
			continue;
		}
		value_add(b->profile, stack, FAULTS_FAULTS, n);
		value_add(b->profile, stack, FAULTS_BYTES, bytes);
		if (how == FAULTS_MAJOR)
			value_add(b->profile, stack, FAULTS_MAJOR_NS, e->counts.major_ns);
	}
	sum->majors += split.counts[FAULTS_MAJOR];
	sum->own_majors += own ? split.counts[FAULTS_MAJOR] : 0;
	sum->kernel_majors += e->counts.major_kernel;
	sum->major_ns += e->counts.major_ns;
	sum->timed += e->counts.timed;
	return 0;
}

int faults_books_fill(struct faults_books *b, pid_t own)
{
	int err = 0;

	profile_values_clear(b->profile);
	b->summary = (struct faults_summary){ .bytes = 0 };
	for (size_t i = 0; !err && i < b->cnt; i++) {
		const struct faults_owner *owner = faults_owners_at(b->owners, b->list[i].key.owner);

		err = entry_fill(b, &b->list[i], own && owner && owner->pid == own);
	}
	return err ?: b->stacks->err;
}
