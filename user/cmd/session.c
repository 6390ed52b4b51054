/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/worker.h"
#include "cmd/audit.h"
#include "cmd/notes.h"
#include "cmd/session.h"

#define TICK_PERIOD_NS	1000000000ull
#define RENEW_PAUSES	20	/* as long as it took */
#define MAPPED_PAUSES	4	/* the same for config->mapped */
#define SETTLED_NS	1000000000ull	/* by then the dynamic linker has bound what it has loaded */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/*
 * What a session does for its one target: target_attached(), target_renew() and target_life(); there is none in one that
 * watches the whole machine.
 */
static void meter_update(struct session *s)
{
	struct source_traps traps;
	uint64_t cpu_ns;

	if (target_cpu_ns(s->config->target, &cpu_ns))
		return;		/* it has just ended */
	s->config->type->traps(s->source, &traps);
	s->meter.program_ns = s->config->type->program_ns(s->source);
	meter_sample(&s->meter, clock_ns(), cpu_ns, &traps);
	if (meter_brakes(&s->meter, s->config->max_overhead_percent))
		s->end = SESSION_BRAKE;
}

/* err: what attaching gave. One that has to do with the end of the target ends the session without being an error. */
static int target_attached(struct session *s, int err)
{
	const struct session_config *c = s->config;
	struct source_traps none = { 0 };
	uint64_t cpu_ns = 0;

	if (!c->target)
		return err;
	if (err == -ESRCH || (err && !target_is_alive(c->target))) {
		s->end = SESSION_EXITED;	/* while we attached */
		return 0;
	}
	if (err)
		return err;
	if (!target_is_same_image(c->target)) {
		/* between our first look and now; from here on the source sees it */
		s->end = target_is_alive(c->target) ? SESSION_EXECED : SESSION_EXITED;
		return 0;
	}
	meter_open(&s->meter, &c->context.selftest->price);
	target_cpu_ns(c->target, &cpu_ns);
	meter_sample(&s->meter, s->start_ns, cpu_ns, &none);
	return 0;
}

/* Its mappings, when the source met addresses that it does not know: seldom enough that it costs little. */
static void target_renew(struct session *s)
{
	const struct session_config *c = s->config;
	uint64_t begin_ns = clock_ns();

	int changed;

	if (!c->target || begin_ns < s->renew_ns || !c->type->misses_code(s->source))
		return;
	changed = target_refresh(c->target);
	if (changed >= 0)
		c->type->on_target(s->source);
	if (changed > 0)
		s->mapped_due = true;
	s->renew_ns = clock_ns() + RENEW_PAUSES * (clock_ns() - begin_ns);
}

/* What it has mapped may be of interest to who runs the session. */
static void target_mapped(struct session *s)
{
	const struct session_config *c = s->config;
	uint64_t begin_ns = clock_ns();
	bool settles = s->settled_ns && begin_ns >= s->settled_ns;

	if (!c->target || !c->mapped || (!s->mapped_due && !settles) || begin_ns < s->mapped_ns)
		return;
	s->settled_ns = s->mapped_due ? begin_ns + SETTLED_NS : 0;
	s->mapped_due = false;
	c->mapped(s, c->ctx);
	s->mapped_ns = clock_ns() + MAPPED_PAUSES * (clock_ns() - begin_ns);
}

static void target_life(struct session *s)
{
	struct source_life life;

	if (!s->config->target)
		return;
	s->config->type->life(s->source, &life);
	if (life.execed)
		s->end = SESSION_EXECED;
	if (life.exited) {
		s->end = SESSION_EXITED;
		s->exit_status = life.exit_status;
	}
}

/* Of one that is not in the loop, yet or any more. */
static void pump_outside(void *ctx)
{
	struct session *s = ctx;

	progress_tick(&s->progress);
	if (s->loop)
		loop_pump(s->loop);
}

/* While a worker is waited for, those in the loop go on; outside: and this one's progress is shown. */
static void workers_pump(struct session *s, bool outside)
{
	struct worker *const workers[] = { s->config->context.worker, s->config->context.names_worker };
	int fd = s->loop ? loop_pump_fd(s->loop) : -1;

	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		if (!workers[i])
			continue;
		if (outside)
			worker_set_pump(workers[i], fd, pump_outside, s);
		else
			worker_set_pump(workers[i], fd, s->loop ? loop_pump : NULL, s->loop);
	}
}

static int snapshot_named(struct session *s, bool last)
{
	const struct session_config *c = s->config;
	int err = c->type->snapshot(s->source);

	if (err)
		return err;
	err = naming_update(&s->naming, last);
	if (err)
		return log_error(err, "naming stacks: %s", strerror(-err));
	if (c->after(s, last, c->ctx))
		s->end = SESSION_OUTPUT;
	return 0;
}

int session_snapshot(struct session *s, bool last)
{
	int err;

	if (!last)
		s->now_ns = clock_ns();	/* the last one is of the moment when the probes began to come off */
	s->config->before(s, s->config->ctx);
	if (last)
		workers_pump(s, true);
	err = snapshot_named(s, last);
	if (last)
		workers_pump(s, false);
	return err;
}

int session_on_source(struct session *s)
{
	target_life(s);
	target_renew(s);
	if (s->end == SESSION_RUNNING)
		target_mapped(s);
	return s->config->type->on_event(s->source) ?: naming_update(&s->naming, false);
}

void session_on_exit(struct session *s)
{
	target_life(s);
	s->end = SESSION_EXITED;
}

int session_on_code(struct session *s)
{
	target_renew(s);
	target_mapped(s);
	return 0;
}

int session_on_tick(struct session *s)
{
	if (s->config->target)
		meter_update(s);
	if (s->config->tick)
		s->config->tick(s, s->config->ctx);
	/* what the source does in its own time */
	return s->config->type->on_event(s->source) ?: naming_update(&s->naming, false);
}

/* While the worker reads a large file, what the source sends must not be lost, and its price not be forgotten. */
void session_pump(struct session *s)
{
	uint64_t now = clock_ns();

	progress_tick(&s->progress);
	s->config->type->on_event(s->source);
	target_life(s);		/* what the rings said of it wakes nobody again */
	if (s->config->target && s->end == SESSION_RUNNING && now - s->pumped_ns >= TICK_PERIOD_NS) {
		s->pumped_ns = now;
		meter_update(s);
		if (s->end == SESSION_BRAKE)	/* the file may take long, the probes are to come off now */
			s->config->type->detach(s->source);
	}
}

static int session_attach(struct session *s)
{
	int err = s->config->type->attach(s->source);

	s->start_ns = clock_ns();
	s->start_wall_s = time(NULL);
	return target_attached(s, err);
}

/* "leak: attached to process 1 (init)", "ports: attached to the whole machine"; and who, or how long. */
static void note_attached(const struct session *s, bool attached)
{
	const struct session_config *c = s->config;
	char *comm = c->target ? text_safe(c->target->comm) : NULL;
	char who[AUDIT_WHO_MAX], duration[TEXT_BYTES_MAX], whom[64] = "the whole machine";

	if (c->target)
		snprintf(whom, sizeof(whom), "process %d (%.32s)", (int)c->target->pid, comm ? comm : "");
	else if (c->who)
		snprintf(whom, sizeof(whom), "%.60s", c->who);
	if (attached)
		audit_note("%s: attached to %s by %s", c->type->name, whom, audit_who(who));
	else
		audit_note("%s: detached from %s after %s", c->type->name, whom, text_duration(duration, s->now_ns - s->start_ns));
	free(comm);
}

/* What was needed to attach goes away. */
static void privileges_shrink(const struct session *s)
{
	int err = privileges_keep(s->config->capabilities, s->config->spare_capabilities);

	if (err)
		log_debug("giving privileges away: %s", strerror(-err));
}

static struct worker *names_worker(const struct session_config *c)
{
	return c->context.names_worker ? c->context.names_worker : c->context.worker;
}

static int names_open(struct session *s)
{
	const struct session_config *c = s->config;
	const struct naming_config names = {
		.options = c->naming, .worker = names_worker(c), .target = c->target, .profile = c->context.profile,
		.is_same = c->is_same, .ctx = c->ctx, .progress = &s->progress, .exact_is_allocator = c->exact_is_allocator,
	};

	return naming_open(&s->naming, &names);
}

/* Opens the source, which waits for the worker to read how the target's files are to be unwound. */
static int source_open(struct session *s)
{
	const struct session_config *c = s->config;
	const struct target_module *largest = NULL;
	struct text what = { 0 };
	char size[TEXT_BYTES_MAX];
	int err;

	for (size_t i = 0; c->target && i < c->target->modules_cnt; i++)
		if (!largest || c->target->modules[i]->size_bytes > largest->size_bytes)
			largest = c->target->modules[i];
	if (largest && c->context.worker) {
		const char *slash = strrchr(largest->path, '/');

		text_printf(&what, "reading unwind information of %s (%s)", slash ? slash + 1 : largest->path,
			    text_bytes(size, largest->size_bytes, false));
		progress_begin(&s->progress, text_str(&what));
	}
	err = c->type->open(&c->context, c->source_options, &s->source);
	progress_end(&s->progress);
	text_free(&what);
	return err;
}

int session_open(struct session *s, const struct session_config *config, struct loop *l)
{
	int err;

	*s = (struct session){ .config = config, .loop = l, .exit_status = -1 };
	workers_pump(s, true);
	err = names_open(s);
	if (err)
		return log_error(err, "preparing the session: %s", strerror(-err));
	err = source_open(s);
	if (!err)
		err = session_attach(s);
	workers_pump(s, false);
	if (err || s->end != SESSION_RUNNING)
		return err;
	err = loop_add(l, s);
	if (err)
		return log_error(err, "preparing the session: %s", strerror(-err));
	s->noted = true;
	note_attached(s, true);
	privileges_shrink(s);
	config->started(s, config->ctx);
	return 0;
}

void session_stop(struct session *s, enum session_end end)
{
	if (s->stopped)
		return;
	s->stopped = true;
	s->now_ns = clock_ns();
	if (s->end == SESSION_RUNNING)
		s->end = end;
	if (s->source) {
		s->config->type->detach(s->source);
		loop_remove(s->loop, s);
	}
	if (s->noted)
		note_attached(s, false);
}

int session_run(struct session *s, const struct session_config *config)
{
	const struct loop_config loops = {
		.interval_ns = config->interval_ns, .duration_ns = config->duration_ns, .targets = config->target != NULL,
	};
	struct loop l;
	int err = loop_open(&l);

	*s = (struct session){ .config = config, .loop = &l, .exit_status = -1 };
	if (err)
		log_error(err, "preparing the session: %s", strerror(-err));
	else
		err = session_open(s, config, &l);
	if (!err && s->end == SESSION_RUNNING)
		err = loop_run(&l, &loops);
	session_stop(s, l.end);
	loop_close(&l);
	s->loop = NULL;
	if (!err && s->end != SESSION_OUTPUT)
		err = session_snapshot(s, true);
	return err;
}

void session_say_losses(const struct session *s, uint64_t events_cnt)
{
	const struct profile *p = s->config->context.profile;

	for (size_t i = 0; i < profile_losses_cnt(p); i++) {
		struct loss l = profile_loss_at(p, i);

		if (l.cnt)
			log_error(-ENOSPC, "lost: %" PRIu64 " %s", l.cnt, l.name);
	}
	notes_say(p, events_cnt);
}

void session_close(struct session *s)
{
	if (!s->config)
		return;
	workers_pump(s, false);
	naming_close(&s->naming);
	if (s->source)
		s->source = s->config->type->close(s->source);
}
