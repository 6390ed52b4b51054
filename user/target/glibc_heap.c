/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	places of memory ──▸ child without privileges: the walk ──▸ numbers
 *
 * What is in the heap was written by the target, so that it is read where it can do no harm.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/text.h"
#include "base/wire.h"
#include "base/worker.h"
#include "target/glibc_heap.h"
#include "target/glibc_walk.h"
#include "target/maps.h"
#include "target/proc.h"

/* Allocators that may be used instead of glibc's, by the files that they come in. */
static const char *const others[] = { "ld-musl", "libc.musl", "libjemalloc", "libtcmalloc", "libmimalloc", "libhoard", "libscudo" };

struct job {
	struct heap_places places;
	char *other;		/* a mapped file that has another allocator, safe for a terminal; NULL: none */
	struct heap_memory_fds fds;
	uint32_t time_ms;
};

static int range_add(struct arena_range **ranges, size_t *cnt, const struct target_mapping *map)
{
	struct arena_range *more = *ranges;

	if (!(*cnt & (*cnt - 1)))
		more = realloc(*ranges, (*cnt ? 2 * *cnt : 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	*ranges = more;
	more[(*cnt)++] = (struct arena_range){ map->start, map->end };
	return 0;
}

static int other_note(struct job *job, const char *path)
{
	const char *name = strrchr(path, '/');

	for (size_t i = 0; name && !job->other && i < sizeof(others) / sizeof(others[0]); i++) {
		if (strncmp(name + 1, others[i], strlen(others[i])))
			continue;
		job->other = text_safe(name + 1);
		if (!job->other)
			return -ENOMEM;
	}
	return 0;
}

static int place_add(struct job *job, const struct target_mapping *map)
{
	struct heap_places *p = &job->places;
	bool writable = !memcmp(map->prot, "rw", 2) && map->prot[3] == 'p';

	if (!strcmp(map->path, "[heap]")) {
		if (p->brk.end != map->start)
			p->brk.start = map->start;
		p->brk.end = map->end;
		return 0;
	}
	if (map->path[0] == '/')
		return writable ? range_add(&p->data, &p->data_cnt, map) : other_note(job, map->path);
	if (writable && (!map->path[0] || !strncmp(map->path, "[anon", 5)))
		return range_add(&p->anon, &p->anon_cnt, map);
	return 0;
}

/* The target's own reading of maps may be old: heaps grow. */
static int places_read(const struct target *t, struct job *job)
{
	struct target_mapping *maps = NULL;
	struct text text = { 0 };
	size_t cnt = 0;
	int err = proc_read(t->proc_fd, "maps", &text);

	if (!err && !text.len)
		err = -ESRCH;
	if (!err)
		err = maps_parse(text.str, text.len, &maps, &cnt);
	text_free(&text);
	for (size_t i = 0; !err && i < cnt; i++)
		err = place_add(job, &maps[i]);
	maps_free(maps, cnt);
	return err;
}

static void walk_write(const struct heap_walk *w, struct text *ret)
{
	wire_put(ret, w->changed);
	wire_put(ret, w->tiles);
	wire_put(ret, w->has_mmapped);
	wire_put(ret, w->mmapped_bytes);
	wire_put(ret, w->mmapped_cnt);
	wire_put(ret, w->read_bytes);
	wire_put_str(ret, w->why);
	wire_put(ret, w->arenas_cnt);
	for (size_t i = 0; i <= w->arenas_cnt; i++) {
		const struct heap_arena *a = i ? &w->arenas[i - 1] : &w->sum;

		wire_put(ret, a->addr);
		wire_put(ret, a->is_main);
		wire_put(ret, a->tiles);
		wire_put(ret, a->changed);
		wire_put(ret, a->largest_free_bytes);
		for (size_t k = 0; k < HEAP_ARENA_SUMS; k++)
			wire_put(ret, *heap_arena_sum((struct heap_arena *)a, k));
	}
}

static int walk_read(const struct text *reply, struct heap_walk *ret)
{
	struct heap_walk w = { .arenas = NULL };
	struct wire in = wire_open(reply);
	char *why;
	int err;

	w.changed = wire_bool(&in);
	w.tiles = wire_bool(&in);
	w.has_mmapped = wire_bool(&in);
	w.mmapped_bytes = wire_u64(&in);
	w.mmapped_cnt = wire_u64(&in);
	w.read_bytes = wire_u64(&in);
	why = wire_str(&in);
	w.why = why ? text_safe(why) : NULL;
	in.failed |= why && !w.why;
	free(why);
	w.arenas_cnt = wire_cnt(&in, 8 * HEAP_ARENA_SUMS);
	w.arenas = calloc(w.arenas_cnt + 1, sizeof(*w.arenas));
	for (size_t i = 0; w.arenas && i <= w.arenas_cnt; i++) {
		struct heap_arena *a = i ? &w.arenas[i - 1] : &w.sum;

		a->addr = wire_u64(&in);
		a->is_main = wire_bool(&in);
		a->tiles = wire_bool(&in);
		a->changed = wire_bool(&in);
		a->largest_free_bytes = wire_u64(&in);
		for (size_t k = 0; k < HEAP_ARENA_SUMS; k++)
			*heap_arena_sum(a, k) = wire_u64(&in);
	}
	err = !w.arenas ? -ENOMEM : wire_end(&in);
	if (!err && !w.tiles != !!w.why)	/* a walk that is not believed says why */
		err = -EBADMSG;
	if (err)
		heap_walk_free(&w);
	else
		*ret = w;
	return err;
}

/* The one op, in the child. */
static int handle_walk(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct job *job = state;
	struct heap_memory *m = malloc(sizeof(*m));
	struct heap_walk w;
	int err;

	(void)request, (void)len, (void)fd;
	if (!m)
		return -ENOMEM;
	heap_memory_init(m, &job->fds, job->time_ms);
	err = heap_walk_memory(m, &job->places, &w);
	if (!err) {
		walk_write(&w, reply);
		heap_walk_free(&w);
	}
	free(m);
	return err;
}

static const struct worker_op ops[] = { { .name = "malloc's heap", .handle = handle_walk } };

/*
 * The child is to pause for as long as it says, and inherits how exactly that is kept: by default every pause would be
 * three times as long, and there are some thousand.
 */
static int worker_start_exact(const struct worker_service *service, struct worker **ret)
{
	int slack_ns = prctl(PR_GET_TIMERSLACK), err;

	prctl(PR_SET_TIMERSLACK, 1000);
	err = worker_start(service, ret);
	if (slack_ns > 0)
		prctl(PR_SET_TIMERSLACK, slack_ns);
	return err;
}

static int job_run(struct job *job, const struct heap_walk_options *options, struct heap_walk *ret)
{
	const int fds[] = { job->fds.mem_fd, job->fds.pagemap_fd };
	const struct worker_service service = {
		/* the walk itself gives up first, and says so */
		.ops = ops, .ops_cnt = 1, .time_ms = options->time_ms + 2000, .data_bytes = options->data_bytes,
		.ctx = job, .fds = fds, .fds_cnt = 2,
	};
	struct text reply = { 0 };
	struct worker *w;
	int err = worker_start_exact(&service, &w);

	if (err)
		return err;
	err = worker_call(w, 0, NULL, 0, -1, &reply);
	if (!err)
		err = walk_read(&reply, ret);
	text_free(&reply);
	worker_stop(w);
	return err;
}

/* No arena was found: the file of another allocator may be the reason. */
static int why_add(struct heap_walk *w, const struct job *job)
{
	struct text t = { 0 };

	if (w->tiles || w->arenas_cnt || !job->other)
		return 0;
	text_printf(&t, "%s; the process has %s", w->why, job->other);
	if (t.failed) {
		text_free(&t);
		return -ENOMEM;
	}
	free(w->why);
	w->why = t.str;
	return 0;
}

int heap_walk(const struct target *t, const struct heap_walk_options *options, struct heap_walk *ret)
{
	struct job job = { .fds = { .mem_fd = t->mem_fd, .pagemap_fd = -1 }, .time_ms = options->time_ms };
	struct heap_walk w = { .arenas = NULL };
	int err = t->mem_fd < 0 ? -EACCES : places_read(t, &job);

	if (!err) {
		job.fds.pagemap_fd = openat(t->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
		err = job.fds.pagemap_fd < 0 ? -errno : 0;
	}
	/* another program by now: mem would be that of the one before */
	if (!err && !target_is_same_image(t))
		err = -ESRCH;
	if (!err)
		err = job_run(&job, options, &w);
	if (!err)
		err = why_add(&w, &job);
	/* what it was found not to have, it may have had until it ended */
	if (!err && !w.tiles && !(target_is_alive(t) && target_is_same_image(t)))
		err = -ESRCH;
	if (err)
		heap_walk_free(&w);
	else
		*ret = w;
	if (job.fds.pagemap_fd >= 0)
		close(job.fds.pagemap_fd);
	free(job.places.data);
	free(job.places.anon);
	free(job.other);
	return err;
}
