/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "trace/mapping_pool.h"
#include "trace/row_files.h"
#include "trace/rows.h"
#include "unwind.h"
#include "trace/tables.h"

struct process {
	uint32_t pid;			/* 0 = this place is free */
	struct pool_range ranges[2];	/* as in unwind_process.spaces */
	struct row_file **files;	/* that it uses, each once */
	size_t files_cnt;
};

struct unwind_tables {
	struct unwind_maps maps;
	struct row_files files;
	struct mapping_pool pool;
	struct unwind_process *kernel;	/* the map, by place */
	struct process *processes;	/* by place */
	uint64_t generation;		/* the last that was given */
	const struct stack_state *state;	/* NULL: nobody notes what is gone */
	uint64_t gone_seen;
};

static int map_memory(int fd, size_t bytes, void *ret)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		return -errno;
	*(void **)ret = mem;
	return 0;
}

int unwind_tables_open(const struct unwind_maps *maps, struct worker *w, struct unwind_tables **ret)
{
	struct unwind_tables *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->maps = *maps;
	t->processes = calloc(maps->processes_max, sizeof(*t->processes));
	err = t->processes ? 0 : -ENOMEM;
	if (!err)
		err = map_memory(maps->processes_fd, maps->processes_max * sizeof(*t->kernel), &t->kernel);
	if (!err)
		err = mapping_pool_open(&t->pool, maps->mappings_fd, maps->mappings_max);
	if (!err)
		err = row_files_open(&t->files, w, maps->rules_fd, maps->chunks_fd, maps->rows_max_bytes);
	if (err) {
		unwind_tables_close(t);
		return err;
	}
	*ret = t;
	return 0;
}

struct unwind_tables *unwind_tables_close(struct unwind_tables *t)
{
	if (!t)
		return NULL;
	for (uint32_t i = 0; t->processes && i < t->maps.processes_max; i++)
		free(t->processes[i].files);
	row_files_close(&t->files);
	mapping_pool_close(&t->pool);
	if (t->kernel)
		munmap(t->kernel, t->maps.processes_max * sizeof(*t->kernel));
	free(t->processes);
	free(t);
	return NULL;
}

/* The mappings of a process as they are being made. */
struct draft {
	struct unwind_mapping *list;
	uint32_t cnt, size;
	struct row_file **files;
	size_t files_cnt;
};

static void draft_free(struct draft *d)
{
	for (size_t i = 0; i < d->files_cnt; i++)
		row_files_put(d->files[i]);
	free(d->files);
	free(d->list);
}

static int draft_add(struct draft *d, const struct unwind_mapping *m)
{
	struct unwind_mapping *last = d->cnt ? &d->list[d->cnt - 1] : NULL;

	if (m->start >= m->end)
		return 0;
	/* neighbours without rows (code of a JIT) are one */
	if (last && !m->blocks_cnt && !last->blocks_cnt && m->start == last->end && m->epoch == last->epoch) {
		last->end = m->end;
		return 0;
	}
	if (d->cnt == d->size) {
		uint32_t size = d->size ? d->size * 2 : 64;
		struct unwind_mapping *list = realloc(d->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		d->list = list;
		d->size = size;
	}
	d->list[d->cnt++] = *m;
	return 0;
}

/* One mapping of a file: an entry for each of its pieces that lies in it; together they cover all of it. */
static int draft_add_file(struct draft *d, const struct target_mapping *map, uint64_t bias, const struct row_file *file)
{
	uint64_t start = map->start;
	int err = 0;

	for (size_t i = 0; !err && i < file->pieces_cnt && start < map->end; i++) {
		const struct row_piece *p = &file->pieces[i];
		uint64_t end = map->end;

		if (i + 1 < file->pieces_cnt)
			end = ((uint64_t)file->pieces[i + 1].block << UNWIND_BLOCK_SHIFT) + bias;
		if ((int64_t)(end - start) <= 0)
			continue;
		if (end > map->end)
			end = map->end;
		err = draft_add(d, &(struct unwind_mapping){ .start = start, .end = end, .bias = bias, .block = p->block,
							     .blocks_cnt = p->blocks_cnt, .index = p->word,
							     .chunk = p->chunk, .epoch = map->epoch });
		start = end;
	}
	return err;
}

/* The file's rows for this process: a file counts one user a process. */
static int draft_file(struct draft *d, struct row_files *files, const struct target_module *m, struct row_file **ret)
{
	struct row_file **list;
	int err;

	for (size_t i = 0; i < d->files_cnt; i++)
		if (d->files[i]->key == m->file_key) {
			*ret = d->files[i];
			return 0;
		}
	list = realloc(d->files, (d->files_cnt + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	d->files = list;
	err = row_files_get(files, m, ret);
	if (!err)
		list[d->files_cnt++] = *ret;
	return err;
}

static int draft_add_mapping(struct draft *d, struct row_files *files, const struct target_mapping *map)
{
	struct unwind_mapping plain = { .start = map->start, .end = map->end, .epoch = map->epoch };
	struct row_file *file = NULL;
	uint64_t bias;
	int err;

	if (!map->module || target_mapping_bias(map, &bias))
		return draft_add(d, &plain);
	err = draft_file(d, files, map->module, &file);
	if (err)
		return err;
	return file->pieces_cnt ? draft_add_file(d, map, bias, file) : draft_add(d, &plain);
}

/* Closes the narrowest gaps between code without rows until it fits: so no code is taken for something else. */
static void draft_squeeze(struct draft *d)
{
	while (d->cnt > UNWIND_MAPPINGS_MAX) {
		uint32_t best = 0;

		for (uint32_t i = 1; i < d->cnt; i++)
			if (!d->list[i].blocks_cnt && !d->list[i - 1].blocks_cnt && d->list[i].epoch == d->list[i - 1].epoch &&
			    (!best || d->list[i].start - d->list[i - 1].end < d->list[best].start - d->list[best - 1].end))
				best = i;
		if (!best) {	/* that many files: the last ones are left out */
			d->cnt = UNWIND_MAPPINGS_MAX;
			return;
		}
		d->list[best - 1].end = d->list[best].end;
		memmove(d->list + best, d->list + best + 1, (d->cnt - best - 1) * sizeof(*d->list));
		d->cnt--;
	}
}

static int draft_make(struct draft *d, struct row_files *files, const struct target *target)
{
	int err = 0;

	for (size_t i = 0; !err && i < target->mappings_cnt; i++) {
		const struct target_mapping *map = &target->mappings[i];

		/* where return probes lead is no code of the process: addresses there stand for others */
		if (!map->gone && map->prot[2] == 'x' && strcmp(map->path, "[uprobes]"))
			err = draft_add_mapping(d, files, map);
	}
	draft_squeeze(d);
	return err;
}

/* The place of a process, a free one when it is new. -ENOSPC. */
static int place_find(const struct unwind_tables *t, uint32_t pid, uint32_t *ret)
{
	uint32_t free_place = t->maps.processes_max;

	for (uint32_t i = 0; i < t->maps.processes_max; i++) {
		if (t->processes[i].pid == pid) {
			*ret = i;
			return 0;
		}
		if (!t->processes[i].pid && i < free_place)
			free_place = i;
	}
	if (free_place == t->maps.processes_max)
		return -ENOSPC;
	*ret = free_place;
	return 0;
}

void unwind_tables_watch(struct unwind_tables *t, const struct stack_state *state, uint64_t seen)
{
	t->state = state;
	t->gone_seen = seen;
}

static bool has_code(const struct draft *d, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < d->cnt; i++)
		if (d->list[i].start < end && d->list[i].end > start)
			return true;
	return false;
}

/* Whether some of the draft is gone since its mappings were read, or may be. */
static bool is_overtaken(const struct unwind_tables *t, const struct draft *d)
{
	uint64_t now;

	if (!t->state)
		return false;
	now = __atomic_load_n(&t->state->gone_cnt, __ATOMIC_SEQ_CST);
	if (now - t->gone_seen >= STACK_GONE_KEPT)
		return true;
	for (uint64_t n = t->gone_seen + 1; n <= now; n++) {
		const struct stack_gone *gone = &t->state->gone[n % STACK_GONE_KEPT];
		uint64_t start, end;

		if (__atomic_load_n(&gone->number, __ATOMIC_ACQUIRE) != n)
			return true;	/* it is being written */
		start = __atomic_load_n(&gone->start, __ATOMIC_RELAXED);
		end = __atomic_load_n(&gone->end, __ATOMIC_RELAXED);
		if (has_code(d, start, end))
			return true;
	}
	/* none of them was overwritten while it was read */
	return __atomic_load_n(&t->state->gone_cnt, __ATOMIC_SEQ_CST) - t->gone_seen >= STACK_GONE_KEPT;
}

/* Writes the draft into the space that is not in use, and switches to it. */
static int publish(struct unwind_tables *t, uint32_t place, const struct draft *d)
{
	struct unwind_process *k = &t->kernel[place];
	struct process *p = &t->processes[place];
	uint32_t next = !k->current;
	int err;

	err = mapping_pool_fit(&t->pool, &p->ranges[next], d->cnt);
	if (!err)
		err = chunks_publish(&t->files.chunks);
	if (err)
		return err;
	if (d->cnt)
		memcpy(t->pool.mappings + p->ranges[next].first, d->list, d->cnt * sizeof(*d->list));
	k->spaces[next] = (struct unwind_space){
		.generation = t->generation += UNWIND_GENERATIONS, .first = p->ranges[next].first, .cnt = d->cnt,
	};
	/* all of it is written before it is asked what is gone: see stack_code_gone() */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (is_overtaken(t, d))
		return -EAGAIN;
	__atomic_store_n(&k->current, next, __ATOMIC_RELEASE);
	return 0;
}

/* From now on the programs find the process. */
static int announce(const struct unwind_tables *t, const struct unwind_identity *id, uint32_t place)
{
	const struct unwind_pid value = { .place = place, .exec_id = id->exec_id, .start_ns = id->start_ns };

	return t->maps.processes_max > 1 ? bpf_map_update_elem(t->maps.pids_fd, &id->pid, &value, BPF_ANY) : 0;
}

int unwind_tables_set(struct unwind_tables *t, const struct unwind_identity *id, const struct target *target)
{
	struct draft d = { 0 };
	struct process *p;
	uint32_t place;
	int err;

	err = place_find(t, id->pid, &place);
	if (err)
		return err;
	p = &t->processes[place];
	err = draft_make(&d, &t->files, target);
	if (!err)
		err = publish(t, place, &d);
	if (!err)
		err = announce(t, id, place);
	if (err) {
		draft_free(&d);
		return err;
	}
	for (size_t i = 0; i < p->files_cnt; i++)
		row_files_put(p->files[i]);
	free(p->files);
	p->pid = id->pid;
	p->files = d.files;
	p->files_cnt = d.files_cnt;
	free(d.list);
	return 0;
}

void unwind_tables_prepare(struct worker *w, const struct target *target)
{
	for (size_t i = 0; i < target->modules_cnt; i++)
		if (target->modules[i]->fd >= 0)
			rows_prepare(w, target->modules[i]->file_key, target->modules[i]->fd);
}

void unwind_tables_drop(struct unwind_tables *t, uint32_t pid)
{
	struct process *p;
	uint32_t place;

	if (place_find(t, pid, &place) || t->processes[place].pid != pid)
		return;
	p = &t->processes[place];
	if (t->maps.processes_max > 1)
		bpf_map_delete_elem(t->maps.pids_fd, &pid);
	/* a walk that has begun notices: no generation is the one that it began with */
	t->kernel[place].spaces[0].generation = t->kernel[place].spaces[1].generation = 0;
	for (int i = 0; i < 2; i++)
		mapping_pool_give_back(&t->pool, &p->ranges[i]);
	for (size_t i = 0; i < p->files_cnt; i++)
		row_files_put(p->files[i]);
	free(p->files);
	*p = (struct process){ 0 };
}

void unwind_tables_size(const struct unwind_tables *t, struct unwind_tables_size *ret)
{
	*ret = (struct unwind_tables_size){
		.rules_cnt = t->files.rules_cnt, .kernel_bytes = chunks_bytes(&t->files.chunks),
	};
	for (size_t i = 0; i < t->files.cnt; i++) {
		const struct row_file *f = t->files.list[i];

		ret->files_cnt += f->pieces_cnt > 0;
		ret->rows_cnt += f->rows_cnt;
		ret->files_failed_cnt += f->err && f->err != -ENOENT;
	}
}
