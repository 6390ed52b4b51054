/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/worker.h"
#include "cmd/audit.h"
#include "cmd/notes.h"
#include "cmd/session.h"

#define TICK_PERIOD_NS	1000000000ull
#define CODE_PERIOD_NS	100000000ull
#define RENEW_PAUSES	20	/* as long as it took */
#define MAPPED_PAUSES	4	/* the same for config->mapped */
#define SETTLED_NS	1000000000ull	/* by then the dynamic linker has bound what it has loaded */

enum wake {
	/* in the order of handling: what ends the run comes before one more snapshot */
	WAKE_SIGNAL,
	WAKE_DURATION,
	WAKE_SOURCE,
	WAKE_TARGET,	/* the pidfd: the process has ended */
	WAKE_CODE,	/* ten times a second: has the target mapped any? */
	WAKE_TICK,	/* every second */
	WAKE_SNAPSHOT,
	WAKES,
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* A timer that first fires after first_ns and then every period_ns (0: never again). */
static int timer_open(uint64_t first_ns, uint64_t period_ns)
{
	const struct itimerspec spec = {
		.it_value = { .tv_sec = first_ns / 1000000000, .tv_nsec = first_ns % 1000000000 },
		.it_interval = { .tv_sec = period_ns / 1000000000, .tv_nsec = period_ns % 1000000000 },
	};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (timerfd_settime(fd, 0, &spec, NULL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* What ends a run, but for those that ebb was started to ignore (nohup). */
static void end_signals(sigset_t *ret)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	sigemptyset(ret);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaddset(ret, signals[i]);
	}
}

void session_hold_signals(bool hold)
{
	sigset_t set;

	end_signals(&set);
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static int signals_open(void)
{
	sigset_t set;
	int fd;

	end_signals(&set);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Everything that can wake the loop. fds of the source and the target are borrowed. */
struct loop {
	int epoll_fd;
	int fds[WAKES];		/* -1 = not there */
};

static void loop_close(struct loop *l)
{
	for (int i = 0; i < WAKES; i++)
		if (l->fds[i] >= 0 && i != WAKE_SOURCE && i != WAKE_TARGET)
			close(l->fds[i]);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	/* A second Ctrl-C in the last report ends ebb at once: no probe is left by then. */
	session_hold_signals(false);
}

static int loop_open(struct loop *l)
{
	*l = (struct loop){ .epoll_fd = -1 };
	for (int i = 0; i < WAKES; i++)
		l->fds[i] = -1;
	session_hold_signals(true);
	l->fds[WAKE_SIGNAL] = signals_open();
	if (l->fds[WAKE_SIGNAL] < 0)
		return l->fds[WAKE_SIGNAL];
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll_fd < 0 ? -errno : 0;
}

static int loop_fill(struct loop *l, const struct session *s)
{
	const struct session_config *c = s->config;

	l->fds[WAKE_SOURCE] = c->type->fd(s->source);
	l->fds[WAKE_TARGET] = c->target ? c->target->pidfd : -1;
	l->fds[WAKE_TICK] = timer_open(TICK_PERIOD_NS, TICK_PERIOD_NS);
	if (c->target)
		l->fds[WAKE_CODE] = timer_open(CODE_PERIOD_NS, CODE_PERIOD_NS);
	if (c->interval_ns)
		l->fds[WAKE_SNAPSHOT] = timer_open(c->interval_ns, c->interval_ns);
	if (c->duration_ns)
		l->fds[WAKE_DURATION] = timer_open(c->duration_ns, 0);
	for (int i = 0; i < WAKES; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

		if (l->fds[i] < 0 && (i == WAKE_TICK || (i == WAKE_CODE && c->target) || (i == WAKE_SNAPSHOT && c->interval_ns) ||
				      (i == WAKE_DURATION && c->duration_ns)))
			return l->fds[i];
		if (l->fds[i] >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->fds[i], &event))
			return -errno;
	}
	return 0;
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

/* One snapshot, names included. */
static int snapshot(struct session *s, bool last)
{
	const struct session_config *c = s->config;
	int err;

	if (!last)
		s->now_ns = clock_ns();	/* the last one is of the moment when the probes began to come off */
	c->before(s, c->ctx);
	err = c->type->snapshot(s->source);
	if (err)
		return err;
	err = naming_update(&s->naming, last);
	if (err)
		return log_error(err, "naming stacks: %s", strerror(-err));
	if (c->after(s, last, c->ctx))
		s->end = SESSION_OUTPUT;
	return 0;
}

static int on_wake(struct session *s, enum wake wake, const struct loop *l)
{
	struct signalfd_siginfo info;
	uint64_t ticks;

	switch (wake) {
	case WAKE_SIGNAL:
		/* taken, or it would be delivered when the mask is restored */
		if (read(l->fds[wake], &info, sizeof(info)) > 0)
			s->end = SESSION_SIGNAL;
		return 0;
	case WAKE_SOURCE:
		target_life(s);
		target_renew(s);
		if (s->end == SESSION_RUNNING)
			target_mapped(s);
		return s->config->type->on_event(s->source) ?: naming_update(&s->naming, false);
	case WAKE_TARGET:
		target_life(s);
		s->end = SESSION_EXITED;
		return 0;
	case WAKE_DURATION:
		s->end = SESSION_DURATION;
		return 0;
	default:
		if (read(l->fds[wake], &ticks, sizeof(ticks)) < 0)
			return 0;
		if (wake == WAKE_CODE) {
			target_renew(s);
			target_mapped(s);
		}
		if (wake == WAKE_TICK) {
			if (s->config->target)
				meter_update(s);
			/* what the source does in its own time */
			return s->config->type->on_event(s->source) ?: naming_update(&s->naming, false);
		}
		return wake == WAKE_SNAPSHOT ? snapshot(s, false) : 0;
	}
}

static int loop_run(struct session *s, const struct loop *l)
{
	struct epoll_event events[WAKES];
	int err = 0;

	while (!err && s->end == SESSION_RUNNING) {
		int cnt = epoll_wait(l->epoll_fd, events, WAKES, -1);
		bool woken[WAKES] = { false };

		if (cnt < 0 && errno != EINTR)
			return log_error(-errno, "waiting for events: %s", strerror(errno));
		for (int i = 0; i < cnt; i++)
			woken[events[i].data.u32] = true;
		for (int i = 0; !err && i < WAKES && s->end == SESSION_RUNNING; i++)
			if (woken[i])
				err = on_wake(s, i, l);
	}
	return err;
}

/* While the worker reads a large file, what the source sends must not be lost, and its price not be forgotten. */
void session_pump(void *session)
{
	struct session *s = session;
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

int session_pump_fd(const struct session *s)
{
	return s->config->type->fd(s->source);
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

/* Before there is anything to pump. */
static void pump_progress(void *ctx)
{
	struct session *s = ctx;

	progress_tick(&s->progress);
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
		worker_set_pump(c->context.worker, -1, pump_progress, s);
	}
	err = c->type->open(&c->context, c->source_options, &s->source);
	progress_end(&s->progress);
	text_free(&what);
	return err;
}

int session_run(struct session *s, const struct session_config *config)
{
	bool noted = false;
	struct loop l;
	int err;

	*s = (struct session){ .config = config, .exit_status = -1 };
	err = loop_open(&l);
	if (!err)
		err = names_open(s);
	if (err) {
		log_error(err, "preparing the session: %s", strerror(-err));
		goto out;
	}
	err = source_open(s);
	if (err)
		goto out;
	err = session_attach(s);
	if (err)
		goto out;
	if (config->context.worker)
		worker_set_pump(config->context.worker, config->type->fd(s->source), session_pump, s);
	if (config->context.names_worker)
		worker_set_pump(config->context.names_worker, config->type->fd(s->source), session_pump, s);
	err = loop_fill(&l, s);
	if (err) {
		log_error(err, "preparing the session: %s", strerror(-err));
		goto out;
	}
	if (s->end == SESSION_RUNNING) {
		noted = true;
		note_attached(s, true);
		privileges_shrink(s);
		config->started(s, config->ctx);
		err = loop_run(s, &l);
	}
out:
	s->now_ns = clock_ns();
	if (s->source)
		config->type->detach(s->source);
	loop_close(&l);
	if (noted)
		note_attached(s, false);
	if (!err && s->end != SESSION_OUTPUT)
		err = snapshot(s, true);
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
	if (s->config->context.worker)
		worker_set_pump(s->config->context.worker, -1, NULL, NULL);
	if (s->config->context.names_worker)
		worker_set_pump(s->config->context.names_worker, -1, NULL, NULL);
	naming_close(&s->naming);
	if (s->source)
		s->source = s->config->type->close(s->source);
}
