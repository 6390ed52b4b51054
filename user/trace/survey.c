/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "base/worker.h"
#include "trace/survey.h"
#include "trace/survey_wire.h"

struct survey_run {
	const struct target *t;
	const struct pairs *pairs;
	struct worker_service service;
	struct worker *w;
	struct survey s;		/* what is known before the child answers */
	/* The child has all that is here as it was when it was forked, and for itself: */
	struct hazard_texts texts;
	bool looked;
	int err;
	struct text reply;
};

static int look(const struct survey_run *run, struct text *reply)
{
	struct images *images = NULL;
	struct survey s = { .allocators = NULL };
	int err;

	err = images_open(run->t, &images);
	if (!err)
		err = hazards_find(run->t, images, &run->texts, &s.hazards);
	if (!err)
		err = run->pairs ? pairs_find(run->t, images, run->pairs, &s.allocators) :
		      allocators_find(run->t, images, &s.allocators);
	if (!err)
		err = plan_make(run->t, images, s.allocators, &s.plan);
	if (s.plan && s.plan->refusal)
		err = 0;
	if (!err)
		survey_write(&s, reply);
	survey_free(&s);
	images_free(images);
	return err ? err : reply->failed ? -ENOMEM : 0;
}

/* The one op, in the child: it is posted, which makes it look, and called, which fetches what was found. */
static int handle_look(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct survey_run *run = state;

	(void)request, (void)len, (void)fd;
	if (!run->looked)
		run->err = look(run, &run->reply);
	run->looked = true;
	if (!run->err)
		text_add_len(reply, run->reply.str, run->reply.len);
	return run->err;
}

static const struct worker_op ops[] = { { .name = "probe sites", .handle = handle_look } };

static void on_death(void *ctx, const struct worker_death *d)
{
	struct survey *s = ctx;

	free(s->died);
	s->died = strdup(d->how);
}

/* Descriptors of what it reads. */
static int fds_of(const struct target *t, int **ret, size_t *ret_cnt)
{
	int *fds = malloc((t->modules_cnt + 1) * sizeof(*fds));
	size_t cnt = 0;

	if (!fds)
		return -ENOMEM;
	if (t->mem_fd >= 0)
		fds[cnt++] = t->mem_fd;
	for (size_t i = 0; i < t->modules_cnt; i++)
		if (t->modules[i]->fd >= 0)
			fds[cnt++] = t->modules[i]->fd;
	*ret = fds;
	*ret_cnt = cnt;
	return 0;
}

void survey_abandon(struct survey_run *run)
{
	if (!run)
		return;
	worker_stop(run->w);
	hazard_texts_free(&run->texts);
	free((int *)run->service.fds);
	survey_free(&run->s);
	free(run);
}

int survey_begin(const struct target *t, const struct survey_options *options, struct survey_run **ret)
{
	struct survey_run *run = calloc(1, sizeof(*run));
	int *fds = NULL, err;

	*ret = NULL;
	if (!run)
		return -ENOMEM;
	run->t = t;
	run->pairs = options->pairs;
	err = hazard_texts_read(t, &run->texts);
	if (!err)
		err = fds_of(t, &fds, &run->service.fds_cnt);
	run->service = (struct worker_service){
		.ops = ops, .ops_cnt = 1, .time_ms = options->time_ms, .data_bytes = options->data_bytes,
		.enter = image_allow, .ctx = run, .fds = fds, .fds_cnt = run->service.fds_cnt,
	};
	if (!err)
		err = worker_start(&run->service, &run->w);
	if (!err) {
		worker_on_death(run->w, on_death, &run->s);
		err = worker_post(run->w, 0, NULL, 0, -1);
	}
	if (err) {
		survey_abandon(run);
		return err;
	}
	*ret = run;
	return 0;
}

void survey_set_pump(struct survey_run *run, int pump_fd, void (*pump)(void *ctx), void *ctx)
{
	worker_set_pump(run->w, pump_fd, pump, ctx);
}

int survey_finish(struct survey_run *run, struct survey *ret)
{
	struct text reply = { 0 };
	int err;

	*ret = (struct survey){ .allocators = NULL };
	err = worker_call(run->w, 0, NULL, 0, -1, &reply);
	if (!err)
		err = survey_read(&reply, run->t, &run->s);
	if (!err)
		err = hazards_find_threads(run->t, &run->s.hazards);
	text_free(&reply);
	*ret = run->s;
	run->s = (struct survey){ .allocators = NULL };
	survey_abandon(run);
	return err;
}

int survey_make(const struct target *t, const struct survey_options *options, struct survey *ret)
{
	struct survey_run *run;
	int err = survey_begin(t, options, &run);

	*ret = (struct survey){ .allocators = NULL };
	return err ? err : survey_finish(run, ret);
}

void survey_mark_plain(struct target *t, const struct allocators *found)
{
	for (size_t i = 0; i < t->modules_cnt; i++) {
		bool has_one = false;

		for (size_t n = 0; n < found->cnt; n++)
			has_one |= found->list[n].module == t->modules[i];
		/* one that could not be read, or was unmapped, was not looked at */
		t->modules[i]->is_plain = !has_one && t->modules[i]->facts.is_elf && target_module_is_mapped(t, t->modules[i]);
	}
}

void survey_free(struct survey *s)
{
	hazards_free(&s->hazards);
	plan_free(s->plan);
	allocators_free(s->allocators);
	free(s->died);
	*s = (struct survey){ .allocators = NULL };
}
