/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/loop.h"
#include "cmd/session.h"

#define TICK_PERIOD_NS	1000000000ull
#define CODE_PERIOD_NS	100000000ull
#define EVENTS_MAX	64

enum wake {
	WAKE_SIGNAL,
	WAKE_DURATION,
	WAKE_CODE,	/* ten times a second: has a target mapped any? */
	WAKE_TICK,	/* every second */
	WAKE_SNAPSHOT,
	WAKES,
};

_Static_assert(WAKES == LOOP_FDS, "a descriptor each");

/* What stands in an epoll event: one of the above, or a session, whose lowest bit says which of its two descriptors. */
#define EVENT_TARGET 1ull

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

static int watch(int epoll_fd, int fd, uint64_t what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = what };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int loop_open(struct loop *l)
{
	*l = (struct loop){ .epoll_fd = -1, .sources_fd = -1 };
	for (int i = 0; i < WAKES; i++)
		l->fds[i] = -1;
	session_hold_signals(true);
	l->fds[WAKE_SIGNAL] = signals_open();
	if (l->fds[WAKE_SIGNAL] < 0)
		return l->fds[WAKE_SIGNAL];
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->sources_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->sources_fd < 0)
		return -errno;
	return watch(l->epoll_fd, l->fds[WAKE_SIGNAL], WAKE_SIGNAL);
}

void loop_close(struct loop *l)
{
	for (int i = 0; i < WAKES; i++)
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	if (l->sources_fd >= 0)
		close(l->sources_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l->sessions);
	*l = (struct loop){ .epoll_fd = -1, .sources_fd = -1, .end = l->end };
	/* A second Ctrl-C in the last report ends ebb at once: no probe is left by then. */
	session_hold_signals(false);
}

int loop_add(struct loop *l, struct session *s)
{
	const struct session_config *c = s->config;
	int source_fd = c->type->fd(s->source), err;

	if (l->sessions_cnt == l->sessions_size) {
		size_t size = l->sessions_size ? l->sessions_size * 2 : 8;
		struct session **more = realloc(l->sessions, size * sizeof(struct session *));

		if (!more)
			return -ENOMEM;
		l->sessions = more;
		l->sessions_size = size;
	}
	err = watch(l->epoll_fd, source_fd, (uintptr_t)s);
	if (!err)
		err = watch(l->sources_fd, source_fd, 0);
	if (!err && c->target)
		err = watch(l->epoll_fd, c->target->pidfd, (uintptr_t)s | EVENT_TARGET);
	l->sessions[l->sessions_cnt++] = s;
	if (err)
		loop_remove(l, s);
	return err;
}

void loop_remove(struct loop *l, struct session *s)
{
	const struct session_config *c = s->config;
	int source_fd = c->type->fd(s->source);
	size_t at = 0;

	while (at < l->sessions_cnt && l->sessions[at] != s)
		at++;
	if (at == l->sessions_cnt)
		return;
	l->sessions[at] = l->sessions[--l->sessions_cnt];
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, source_fd, NULL);
	epoll_ctl(l->sources_fd, EPOLL_CTL_DEL, source_fd, NULL);
	if (c->target)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, c->target->pidfd, NULL);
}

static int timers_open(struct loop *l)
{
	const struct loop_config *c = l->config;
	const struct {
		enum wake wake;
		uint64_t first_ns, period_ns;
	} timers[] = {
		{ WAKE_TICK, TICK_PERIOD_NS, TICK_PERIOD_NS },
		{ WAKE_CODE, c->targets ? CODE_PERIOD_NS : 0, CODE_PERIOD_NS },
		{ WAKE_SNAPSHOT, c->interval_ns, c->interval_ns },
		{ WAKE_DURATION, c->duration_ns, 0 },
	};

	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		int err, fd;

		if (!timers[i].first_ns)
			continue;
		fd = timer_open(timers[i].first_ns, timers[i].period_ns);
		if (fd < 0)
			return fd;
		l->fds[timers[i].wake] = fd;
		err = watch(l->epoll_fd, fd, timers[i].wake);
		if (err)
			return err;
	}
	return 0;
}

bool loop_signalled(struct loop *l)
{
	struct signalfd_siginfo info;

	/* taken, or it would be delivered when the mask is restored */
	if (read(l->fds[WAKE_SIGNAL], &info, sizeof(info)) > 0)
		l->end = SESSION_SIGNAL;
	return l->end == SESSION_SIGNAL;
}

/* What ends the run comes before one more snapshot. */
static bool ends(struct loop *l, const bool *woken)
{
	if (woken[WAKE_SIGNAL] && loop_signalled(l))
		return true;
	if (woken[WAKE_DURATION])
		l->end = SESSION_DURATION;
	return l->end != SESSION_RUNNING;
}

typedef int session_step(struct session *s);

static int snapshot_step(struct session *s)
{
	return session_snapshot(s, false);
}

/* One step of all that run. */
static void step_all(struct loop *l, session_step *step)
{
	for (size_t i = 0; i < l->sessions_cnt && !l->err; i++)
		if (l->sessions[i]->end == SESSION_RUNNING)
			l->err = step(l->sessions[i]);
}

static void on_timers(struct loop *l, bool *woken)
{
	uint64_t ticks;

	for (int i = WAKE_CODE; i < WAKES; i++)
		if (woken[i] && read(l->fds[i], &ticks, sizeof(ticks)) < 0)
			woken[i] = false;
	if (woken[WAKE_CODE])
		step_all(l, session_on_code);
	if (woken[WAKE_TICK])
		step_all(l, session_on_tick);
	if (!woken[WAKE_SNAPSHOT])
		return;
	step_all(l, snapshot_step);
	if (!l->err && l->config->shown && l->config->shown(l, l->config->ctx))
		l->end = SESSION_OUTPUT;
}

/* Whether any goes on. */
static bool is_running(const struct loop *l)
{
	for (size_t i = 0; i < l->sessions_cnt; i++)
		if (l->sessions[i]->end == SESSION_RUNNING)
			return true;
	return false;
}

static int loop_once(struct loop *l)
{
	struct epoll_event events[EVENTS_MAX];
	bool woken[WAKES] = { false };
	int cnt = epoll_wait(l->epoll_fd, events, EVENTS_MAX, -1);

	if (cnt < 0 && errno != EINTR)
		return log_error(-errno, "waiting for events: %s", strerror(errno));
	for (int i = 0; i < cnt; i++)
		if (events[i].data.u64 < WAKES)
			woken[events[i].data.u64] = true;
	if (ends(l, woken))
		return 0;
	for (int i = 0; i < cnt && !l->err; i++) {
		struct session *s = (struct session *)(uintptr_t)(events[i].data.u64 & ~EVENT_TARGET);

		if (events[i].data.u64 < WAKES || s->end != SESSION_RUNNING)
			continue;
		if (events[i].data.u64 & EVENT_TARGET)
			session_on_exit(s);
		else
			l->err = session_on_source(s);
	}
	if (!l->err)
		on_timers(l, woken);
	if (!l->err && l->config->settle && l->end == SESSION_RUNNING &&
	    !l->config->settle(l, woken[WAKE_TICK], l->config->ctx) && !is_running(l))
		l->end = SESSION_EXITED;
	return l->err;
}

int loop_run(struct loop *l, const struct loop_config *config)
{
	int err;

	l->config = config;
	err = timers_open(l);
	if (err)
		return log_error(err, "preparing the session: %s", strerror(-err));
	while (!err && l->end == SESSION_RUNNING && (config->settle || is_running(l)))
		err = loop_once(l);
	return err;
}

void loop_pump(void *loop)
{
	struct loop *l = loop;

	for (size_t i = 0; i < l->sessions_cnt; i++)
		session_pump(l->sessions[i]);
}

int loop_pump_fd(const struct loop *l)
{
	return l->sources_fd;
}
