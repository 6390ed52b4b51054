/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "base/worker.h"
#include "trace/survey.h"
#include "trace/survey_wire.h"

/* What the child has of ebb as it was when it was forked. */
struct looking {
	const struct target *t;
	struct hazard_texts texts;
};

/* The one op, in the child. */
static int look(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	const struct looking *l = state;
	struct images *images = NULL;
	struct survey s = { .allocators = NULL };
	int err;

	(void)request, (void)len, (void)fd;
	err = images_open(l->t, &images);
	if (!err)
		err = hazards_find(l->t, images, &l->texts, &s.hazards);
	if (!err)
		err = allocators_find(l->t, images, &s.allocators);
	if (!err)
		err = plan_make(l->t, images, s.allocators, &s.plan);
	if (s.plan && s.plan->refusal)
		err = 0;
	if (!err)
		survey_write(&s, reply);
	survey_free(&s);
	images_free(images);
	return err ? err : reply->failed ? -ENOMEM : 0;
}

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

static int ask(const struct worker_service *service, const struct target *t, struct survey *s)
{
	struct worker *w = NULL;
	struct text reply = { 0 };
	int err = worker_start(service, &w);

	if (err)
		return err;
	worker_on_death(w, on_death, s);
	err = worker_call(w, 0, NULL, 0, -1, &reply);
	worker_stop(w);
	if (!err)
		err = survey_read(&reply, t, s);
	text_free(&reply);
	return err;
}

int survey_make(const struct target *t, const struct survey_limits *limits, struct survey *ret)
{
	static const struct worker_op op = { .name = "probe sites", .handle = look };
	struct looking l = { .t = t };
	struct worker_service service = {
		.ops = &op, .ops_cnt = 1, .time_ms = limits->time_ms, .data_bytes = limits->data_bytes,
		.enter = image_allow, .ctx = &l,
	};
	int *fds = NULL, err;

	*ret = (struct survey){ .allocators = NULL };
	err = hazard_texts_read(t, &l.texts);
	if (!err)
		err = fds_of(t, &fds, &service.fds_cnt);
	service.fds = fds;
	if (!err)
		err = ask(&service, t, ret);
	if (!err)
		err = hazards_find_threads(t, &ret->hazards);
	hazard_texts_free(&l.texts);
	free(fds);
	return err;
}

void survey_free(struct survey *s)
{
	hazards_free(&s->hazards);
	plan_free(s->plan);
	allocators_free(s->allocators);
	free(s->died);
	*s = (struct survey){ .allocators = NULL };
}
