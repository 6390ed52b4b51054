/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/privileges.h"
#include "cmd/command.h"
#include "cmd/leak_member.h"
#include "cmd/leak_pairs.h"
#include "cmd/leak_plan.h"
#include "trace/tables.h"

/*
 * Once it is attached: maps, programs and probes for what the target loads, its /proc and files, a worker that is started
 * again, and the file of -o in a folder of somebody else.
 */
#define CAPABILITIES	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_SYS_PTRACE) | \
			 PRIVILEGE(CAP_CHECKPOINT_RESTORE) | PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_DAC_OVERRIDE) | \
			 PRIVILEGE(CAP_SETUID) | PRIVILEGE(CAP_SETGID) | PRIVILEGE(CAP_KILL))

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Each site is read back. */
static void sites_verify(struct leak_member *m, const struct plan *plan)
{
	size_t *missing = NULL;
	int cnt = attach_verify(plan, m->target, &missing);

	if (cnt > 0)
		m->unseen_cnt += cnt;
	if (cnt > 0)
		profile_loss_set(m->profile, "sites without a breakpoint: their calls are not seen", m->unseen_cnt);
	for (int i = 0; i < cnt; i++)
		log_warn("no breakpoint at %s+%u in process %d: calls of it are not seen (huge or remapped text)",
			 plan->sites[missing[i]].function, plan->sites[missing[i]].insn.delta_bytes, (int)m->pid);
	if (cnt < 0 && target_is_alive(m->target))
		log_warn("the sites could not be read back: %s", strerror(-cnt));
	free(missing);
}

/* Keeps a plan that probes refer to. */
static int plan_keep(struct leak_member *m, struct plan *plan)
{
	struct plan **more = realloc(m->later, (m->later_cnt + 1) * sizeof(struct plan *));

	if (!more)
		return -ENOMEM;
	m->later = more;
	more[m->later_cnt++] = plan;
	return 0;
}

/* A library that was loaded may bring what is to be probed; one that was unloaded takes it away. */
static void on_mapped(struct session *s, void *ctx)
{
	struct leak_member *m = ctx;
	uint64_t begin_ns = clock_ns();
	struct plan *plan = NULL;
	size_t added = 0;
	int err = leak_plan_again(s, leak_args_pairs(m->shared->args), &plan);

	if (!err)
		err = plan_keep(m, plan);
	if (err) {
		log_debug("looking for sites in what was mapped: %s", strerror(-err));
		plan_free(plan);
		return;
	}
	err = leak_attach_more(s->source, plan, &added);
	if (err && err != -ESHUTDOWN && target_is_alive(m->target))
		log_warn("attaching to what was loaded: %s", strerror(-err));
	if (!added)
		m->later[--m->later_cnt] = plan_free(plan);
	else
		log_info("attached to %zu more sites in what process %d has loaded", added, (int)m->pid);
	if (added)
		sites_verify(m, plan);
	log_debug("looked through what was mapped in %.0f ms", (clock_ns() - begin_ns) / 1e6);
}

static int rows_ready(struct leak_member *m)
{
	if (!m->rows_opened)
		m->err = rows_open(&m->rows, m->profile, m->shared->args->raw, m->session.start_ns);
	m->rows_opened = !m->err;
	return m->err;
}

/* Of what ends between two snapshots the last second's counters are the last that is known. */
static void memory_look(struct leak_member *m, bool whole)
{
	if (whole ? target_memory_read(m->target, &m->memory_now) : target_memory_counters(m->target, &m->memory_now))
		return;
	m->memory_ns = clock_ns();
	m->heap_is_old = !whole;
}

static void on_started(struct session *s, void *ctx)
{
	struct leak_member *m = ctx;

	log_info("attached to %zu sites of process %d by %s; every %s counts from now on", m->plan->sites_cnt,
		 (int)m->pid, leak_source.attached_by(s->source), m->shared->args->pairs.cnt ? "call" : "allocation");
	/* the books begin now, and so does what they are to explain */
	target_memory_read(m->target, &m->memory_start);
	memory_look(m, true);
	sites_verify(m, m->plan);
	rows_ready(m);
}

static void on_tick(struct session *s, void *ctx)
{
	(void)s;
	memory_look(ctx, false);
}

static void on_before(struct session *s, void *ctx)
{
	struct leak_member *m = ctx;

	/* of a dead target the last reading stays, and after exec it would be the new program's */
	if (s->end != SESSION_EXECED)
		memory_look(m, true);
	m->cutoff_ns = 0;
	if (leak_wants_table(m->shared->args) && m->cutoff_rows->by_name)
		m->cutoff_ns = rows_cutoff(m->cutoff_rows, s->now_ns);
	leak_set_cutoff(s->source, m->cutoff_ns);
}

static int on_after(struct session *s, bool last, void *ctx)
{
	struct leak_member *m = ctx;

	if (s->meter.program_ns > 0)
		m->shared->program_ns = s->meter.program_ns;
	if (!rows_ready(m))	/* it may have ended while we attached */
		m->err = rows_update(&m->rows, s->now_ns);
	if (m->err)
		return log_error(m->err, "keeping what was found: %s", strerror(-m->err));
	if (m->shared->after)
		m->err = m->shared->after(m, last, m->shared->ctx);
	return m->err;
}

static void config_fill(struct leak_member *m)
{
	const struct leak_args *args = m->shared->args;

	m->options = (struct leak_options){
		.max_memory_bytes = args->budget.bytes,
		.room = m->shared->several ? &m->shared->room : NULL,
		.min_size_bytes = args->min_size,
		.older_ns = args->older_ns,
		.program_ns = m->shared->program_ns,
		.brk_is_allocators = allocators_use_brk(m->allocators),
		.pairs = args->pairs.cnt != 0,
		.threads_domain = leak_pairs_threads(&args->pairs),
	};
	m->config = (struct session_config){
		.type = &leak_source,
		.context = { .target = m->target, .plan = m->plan, .selftest = &m->shared->selftest,
			     .worker = m->shared->worker, .profile = m->profile },
		.target = m->target,
		.source_options = &m->options,
		.naming = &args->naming,
		.exact_is_allocator = args->pairs.cnt != 0,
		.max_overhead_percent = args->max_overhead,
		.capabilities = CAPABILITIES,
		.spare_capabilities = PRIVILEGE(CAP_SYS_ADMIN),	/* perf events want it for uprobes */
		.started = on_started,
		.mapped = on_mapped,
		.before = on_before,
		.tick = on_tick,
		.after = on_after,
		.ctx = m,
	};
}

static int error_code(int err)
{
	return err == -EPERM || err == -EACCES || err == -EOPNOTSUPP ? EXIT_STOPPED : EXIT_FAILED;
}

static int session_begin(struct leak_member *m)
{
	int err;

	m->profile = profile_new(m->shared->values);
	if (!m->profile) {
		log_error(-ENOMEM, "out of memory");
		return EXIT_FAILED;
	}
	if (!m->shared->args->pairs.cnt)
		survey_mark_plain(m->target, m->allocators);
	target_memory_read(m->target, &m->memory_start);
	m->memory_now = m->memory_start;
	m->cutoff_rows = &m->rows;
	config_fill(m);
	m->opened = true;
	err = session_open(&m->session, &m->config, m->shared->loop);
	return err ? error_code(err) : EXIT_DONE;
}

/* Who it is, for when it has ended. */
static int identity_take(struct leak_member *m, struct target *t)
{
	m->target = t;
	m->pid = t->pid;
	m->start_ticks = t->start_ticks;
	m->comm = strdup(t->comm ? t->comm : "");
	m->exe = strdup(t->exe ? t->exe : "");
	if (m->comm && m->exe)
		return EXIT_DONE;
	log_error(-ENOMEM, "out of memory");
	return EXIT_FAILED;
}

int leak_member_open(struct leak_member *m, struct leak_shared *shared, struct target *t)
{
	const struct leak_args *args = shared->args;
	int code;

	*m = (struct leak_member){ .shared = shared };
	code = identity_take(m, t);
	if (code)
		return code;
	if (!args->dry_run)
		unwind_tables_prepare(shared->worker, t);	/* while we plan and load */
	code = leak_plan(t, leak_args_pairs(args), shared->loop, &shared->selftest, &shared->tested, &m->allocators, &m->plan);
	if (code)
		return code;
	if (args->dry_run)
		return leak_plan_print(m->plan, m->allocators, &shared->selftest, &args->budget);
	if (!args->same_cgroup && !getenv("EBB_SAME_CGROUP"))
		code = budget_check_target(t->pid);
	return code ? code : session_begin(m);
}

void leak_member_stop(struct leak_member *m, enum session_end end)
{
	if (m->opened)
		session_stop(&m->session, end);
}

/* What only stderr says, and the exit code. */
static int finish_code(struct leak_member *m)
{
	const struct leak_args *args = m->shared->args;
	const struct session *s = &m->session;
	const char *name;
	uint64_t cnt;

	if (!leak_wants_table(args) || args->output) {
		session_say_losses(s, profile_total(m->profile, LEAK_ALLOC_BLOCKS));
		for (unsigned int i = 0; leak_counter_at(s->source, i, &name, &cnt); i++)
			if (cnt)
				log_debug("%s: %" PRIu64, name, cnt);
	}
	if (s->end == SESSION_EXITED && !leak_wants_table(args)) {
		char how[LEAK_HOW_MAX];

		log_info("process %d %s", (int)m->pid, leak_how_ended(how, s->exit_status));
	}
	if (s->end == SESSION_BRAKE) {
		log_error(-EBUSY, "stopped by the brake: the cost stayed above %.0f %% of the CPU time of process %d",
			  args->max_overhead, (int)m->pid);
		return EXIT_STOPPED;
	}
	return profile_lost(m->profile) ? EXIT_LOST : EXIT_DONE;
}

int leak_member_finish(struct leak_member *m)
{
	int err = 0;

	m->finished = true;
	if (m->session.end != SESSION_OUTPUT)
		err = session_snapshot(&m->session, true);
	if (err)
		return error_code(err);
	return m->err || m->session.end == SESSION_OUTPUT ? EXIT_FAILED : finish_code(m);
}

void leak_member_release(struct leak_member *m)
{
	if (m->session.source)
		m->kernel_bytes = leak_source.kernel_bytes(m->session.source);
	if (m->opened)
		session_close(&m->session);
	m->target = target_free(m->target);
	m->plan = plan_free(m->plan);
	for (size_t i = 0; i < m->later_cnt; i++)
		plan_free(m->later[i]);
	free(m->later);
	m->later = NULL;
	m->later_cnt = 0;
	allocators_free(m->allocators);
	m->allocators = NULL;
}

void leak_member_close(struct leak_member *m)
{
	leak_member_release(m);
	if (m->rows_opened)
		rows_close(&m->rows);
	profile_free(m->profile);
	merge_source_free(&m->merged);
	free(m->comm);
	free(m->exe);
	*m = (struct leak_member){ .pid = 0 };
}

void leak_member_name(const struct leak_member *m, struct text *ret)
{
	text_printf(ret, "%s[%d] %s", m->comm, (int)m->pid, m->exe);
}

void leak_member_view(const struct leak_member *m, const char *who, struct leak_view *ret)
{
	const struct leak_args *args = m->shared->args;
	const struct session *s = &m->session;

	*ret = (struct leak_view){
		.who = who, .comm = m->comm, .pid = m->pid,
		.profile = m->profile, .rows = (struct rows *)&m->rows,
		.memory_start = m->memory_start, .memory_now = m->memory_now, .memory_ns = m->memory_ns,
		.heap_is_old = m->heap_is_old,
		.cutoff_ns = m->cutoff_ns,
		.start_ns = s->start_ns, .now_ns = s->now_ns, .start_wall_s = s->start_wall_s,
		.cost_percent = meter_cost_percent(&s->meter),
		.kernel_bytes = s->source ? leak_source.kernel_bytes(s->source) : m->kernel_bytes,
		.source = s->source,
		.end = s->end, .exit_status = s->exit_status,
		.type = args->value, .top = args->top, .pairs = args->pairs.cnt != 0, .older = args->older_ns != 0,
		.verbose = args->verbose, .limit_percent = args->max_overhead,
	};
}
