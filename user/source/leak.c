/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads and attaches the programs of bpf/leak.bpf.c, keeps their maps stocked and turns them into a
 * profile. Counters by stack say what is held; the table of blocks is read only for what needs the age
 * of single blocks.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi.h"
#include "base/log.h"
#include "source/books.h"
#include "source/counters.h"
#include "source/leak.h"
#include "source/leak_programs.h"
#include "source/leak_values.h"
#include "source/loader.h"
#include "source/stacks.h"
#include "source/tally.h"
#include "source/ticks.h"
#include "source/unwinder.h"

struct source {
	struct source_context ctx;
	struct leak_options options;
	enum attach_mode mode;			/* that is tried, and then that worked first */
	struct leak_programs *programs;
	struct ring_buffer *rings;
	bool forks;				/* it is known that the target does */
	bool detached;
	uint32_t loaded_seen;			/* state->loaded_cnt when mappings were last asked for */
	struct books *books;

	/* memory shared with the kernel */
	struct leak_state *state;
	struct leak_stripe *stripes;
	struct tally tally;			/* of the stripes */
	struct counters counters;

	struct stacks stacks;
	struct unwinder unwinder;
	struct mappings *mappings;		/* NULL with pairs */

	struct ticks ticks;
	int stats_fd;				/* keeps BPF statistics on while programs are measured; -1 else */
	double program_ns;			/* 0 = not known yet */
	uint64_t missed_cnt;			/* runs that the kernel skipped, read at detaching */
	uint64_t cutoff_ns;
	uint64_t room_bytes;			/* of options.room, beside the books' own */
	struct leak_peaks peaks;
};

static int on_leak_event(void *ctx, void *data, size_t size)
{
	struct source *s = ctx;

	/* those that are none have woken us; what happened is in the state */
	if (s->mappings)
		mappings_event(s->mappings, data, size);
	return 0;
}


static int settings_fill(struct source *s, struct leak_settings *set)
{
	struct target_ids ids;
	int err;

	/* the kernel tells a task's number only in the task's own namespace */
	err = target_ids_read(s->ctx.target, &ids);
	if (err)
		return err;
	*set = (struct leak_settings){
		.pidns_dev = ids.pidns_dev,
		.pidns_ino = ids.pidns_ino,
		.min_size = s->options.min_size_bytes,
		.pid = ids.own_pid,
		.no_stacks = s->options.no_stacks,
		.threads_domain = s->options.threads_domain,
	};
	return 0;
}

/* What the maps take beside the chunks of blocks when the target is idle; see loader_map_bytes(). */
#define FIXED_BYTES	(4ull << 20)

/* The part of --max-memory that blocks may take. */
static uint64_t blocks_limit(uint64_t max_memory_bytes)
{
	return max_memory_bytes > 2 * FIXED_BYTES ? max_memory_bytes - FIXED_BYTES : max_memory_bytes / 2;
}

/* A stack may cost 100 bytes and more (key, index, counters): a fortieth of the memory at most. */
static uint32_t stacks_limit(uint64_t max_memory_bytes)
{
	uint64_t n = max_memory_bytes / 4096;

	return n < 64 ? 64 : n > STACKS_MAX ? STACKS_MAX : n;
}

/* Rows of all its files take 1 to 3 MB in a process; a browser's take 30. */
#define ROWS_SHARE	4	/* of --max-memory at most */

#define SHARED_BYTES	(256ull << 20)	/* one of several is as large as it would be by itself, by default: see BUDGET_MAX_BYTES */

static void unwinder_fill(const struct source *s, struct unwinder_settings *ret)
{
	uint64_t max_bytes = s->options.max_memory_bytes;

	if (s->options.room && max_bytes > SHARED_BYTES)
		max_bytes = SHARED_BYTES;
	*ret = (struct unwinder_settings){
		.stacks_max = stacks_limit(max_bytes),
		.processes_max = 1,
		.mappings_max = unwinder_mappings(s->ctx.target),
		.rows_max_bytes = max_bytes / ROWS_SHARE,
		.check = s->options.check_stacks,
	};
}

static int load_programs(struct source *s)
{
	struct unwinder_settings stacks;
	struct leak_settings set;
	int err = settings_fill(s, &set);

	unwinder_fill(s, &stacks);
	return err ? err : leak_programs_load(s->mode, &set, &stacks, s->options.pairs, &s->programs);
}

static int map_memory(int map_fd, size_t bytes, bool write, void *ret)
{
	void *mem = mmap(NULL, bytes, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, map_fd, 0);

	if (mem == MAP_FAILED)
		return -errno;
	*(void **)ret = mem;
	return 0;
}

static int leak_on_target(struct source *s)
{
	return unwinder_set_target(&s->unwinder, s->ctx.target);
}

static bool leak_misses_code(struct source *s)
{
	uint32_t loaded = __atomic_load_n(&s->state->loaded_cnt, __ATOMIC_RELAXED);
	/* both are to be asked; once in any case: between the first look and the attaching nobody watched */
	bool misses = unwinder_misses_code(&s->unwinder) | (loaded != s->loaded_seen);

	s->loaded_seen = loaded;
	return misses;
}

static int open_maps(struct source *s)
{
	const struct leak_programs *p = s->programs;
	struct unwinder_settings stacks;
	int err;

	unwinder_fill(s, &stacks);
	err = map_memory(leak_programs_map(p, "leak_state"), sizeof(*s->state), true, &s->state);
	if (!err)
		err = map_memory(leak_programs_map(p, "leak_stripes"), LEAK_STRIPES * sizeof(*s->stripes), false, &s->stripes);
	if (!err)
		err = unwinder_open(&s->unwinder, leak_programs_object(p), &stacks, s->ctx.worker);
	if (err)
		return err;
	s->tally = (struct tally){ .stripes = s->stripes };
	err = leak_on_target(s);
	counters_open(&s->counters, leak_programs_map(p, "leak_counters"));
	s->loaded_seen = UINT32_MAX;
	if (!err)
		err = counters_restock(&s->counters, STACK_FIRST);
	if (!err)
		err = books_open(leak_programs_map(p, "blocks_chunks"), &s->state->blocks,
				 blocks_limit(s->options.max_memory_bytes), &s->books);
	if (!err)
		books_set_drain(s->books, leak_programs_run_fd(p, "leak_drain"), s->state);
	if (!err && s->options.room)
		books_share(s->books, s->options.room);
	if (err)
		return err;
	s->rings = ring_buffer__new(leak_programs_map(p, "stack_events"), stacks_on_event, &s->stacks, NULL);
	if (!s->rings)
		return -errno;
	return ring_buffer__add(s->rings, leak_programs_map(p, "leak_events"), on_leak_event, s);
}

static int open_mappings(struct source *s)
{
	const struct mappings_config config = {
		.target = s->ctx.target, .profile = s->ctx.profile, .stacks = &s->stacks, .min_bytes = s->options.min_size_bytes,
		.brk_is_allocators = s->options.brk_is_allocators, .programs = s->programs, .rings = s->rings,
	};

	return mappings_open(&config, &s->mappings);
}

static int open_profile(struct source *s)
{
	const struct target *t = s->ctx.target;
	int err = stacks_open(&s->stacks, s->ctx.profile, t->pid, t->comm);

	if (!err && s->options.no_stacks)
		err = stacks_label(&s->stacks, STACK_FIRST, "[no stacks]");
	return err || s->options.pairs ? err : open_mappings(s);
}

/* Everything that belongs to one way of attaching, undone. */
static void unprepare(struct source *s)
{
	if (s->programs)
		leak_programs_detach(s->programs);
	ring_buffer__free(s->rings);
	s->rings = NULL;
	s->books = books_free(s->books);
	counters_close(&s->counters);
	s->mappings = mappings_free(s->mappings);
	stacks_close(&s->stacks);
	if (s->state)
		munmap(s->state, sizeof(*s->state));
	if (s->stripes)
		munmap(s->stripes, LEAK_STRIPES * sizeof(*s->stripes));
	unwinder_close(&s->unwinder);
	s->state = NULL;
	s->stripes = NULL;
	s->programs = leak_programs_free(s->programs);
}

/* Loads for s->mode. *ret_what: what failed. */
static int prepare(struct source *s, const char **ret_what)
{
	int err;

	*ret_what = "loading the programs of leak";
	err = load_programs(s);
	if (err)
		return err;
	*ret_what = "setting up the books of leak";
	err = open_maps(s);
	if (!err)
		err = ticks_open(&s->ticks, leak_programs_run_fd(s->programs, "leak_clock"), &s->state->clock);
	if (!err)
		err = open_profile(s);
	return err;
}

/* The next way of attaching, when this one failed; false when there is none, or the user forced one. */
static bool fall_back(struct source *s, const char *what, int err)
{
	if (s->mode + 1 >= ATTACH_MODES || s->ctx.selftest->forced)
		return false;
	log_debug("%s by %s: %s; trying %s", what, attach_mode_name(s->mode), strerror(-err),
		  attach_mode_name(s->mode + 1));
	unprepare(s);
	s->mode++;
	return true;
}

static struct source *leak_close(struct source *s)
{
	if (!s)
		return NULL;
	if (s->stats_fd >= 0)
		close(s->stats_fd);
	if (s->options.room)
		s->options.room->used_bytes -= s->room_bytes;
	unprepare(s);
	leak_peaks_free(&s->peaks);
	free(s);
	return NULL;
}

static uint64_t leak_kernel_bytes(const struct source *s)
{
	return leak_programs_map_bytes(s->programs) + books_bytes(s->books) + counters_bytes(&s->counters) +
	       unwinder_bytes(&s->unwinder);
}

static int leak_open(const struct source_context *ctx, const void *options, struct source **ret)
{
	struct source *s = calloc(1, sizeof(*s));
	const char *what = "raising limits";
	int err;

	if (!s)
		return log_error(-ENOMEM, "out of memory");
	s->stats_fd = -1;
	s->ctx = *ctx;
	s->options = *(const struct leak_options *)options;
	s->forks = !ctx->selftest->forced && target_has_forked(ctx->target);
	s->mode = s->forks ? ATTACH_PERF : ctx->selftest->mode;
	err = loader_prepare();
	if (!err)
		err = prepare(s, &what);
	while (err && fall_back(s, what, err))
		err = prepare(s, &what);
	if (err) {
		err = loader_error(err, what);
		leak_close(s);
		return err;
	}
	if (s->options.room)
		s->options.room->used_bytes += s->room_bytes = leak_kernel_bytes(s) - books_bytes(s->books);
	*ret = s;
	return 0;
}

/* Attaches by s->mode. *ret_what: what failed. */
static int attach_all(struct source *s, const char **ret_what)
{
	size_t added;
	int err;

	*ret_what = "watching the target's exec and exit";
	err = leak_programs_watch(s->programs);
	if (err)
		return err;
	*ret_what = "attaching to the process";
	return leak_programs_attach(s->programs, s->ctx.plan, s->ctx.target, s->state, &added);
}

int leak_attach_more(struct source *s, const struct plan *plan, size_t *ret_added)
{
	return s->detached ? -ESHUTDOWN : leak_programs_attach(s->programs, plan, s->ctx.target, s->state, ret_added);
}

uint32_t leak_forks(const struct source *s)
{
	return __atomic_load_n(&s->state->fork_cnt, __ATOMIC_RELAXED);
}

/* At the first fork: see leak_programs_spare_children(). */
static void on_forks(struct source *s)
{
	int err;

	if (s->forks || s->detached || s->ctx.selftest->forced || !leak_forks(s))
		return;
	s->forks = true;
	if (s->mode == ATTACH_PERF)
		return;
	err = leak_programs_spare_children(s->programs, s->ctx.target, s->state);
	if (!err)
		log_info("process %d forks: attached by perf events from here on, which cost its children nothing",
			 (int)s->ctx.target->pid);
	else if (target_is_alive(s->ctx.target))
		log_warn("process %d forks, and its children pay for the probes although nothing is counted there: attaching "
			 "by perf events failed: %s", (int)s->ctx.target->pid, strerror(-err));
}

/* Without them all else goes on. */
static void start_mappings(struct source *s)
{
	int err = s->mappings ? mappings_start(s->mappings) : 0;

	if (err && target_is_alive(s->ctx.target))
		log_warn("what process %d maps is not seen: its maps cannot be read: %s", (int)s->ctx.target->pid, strerror(-err));
}

static int leak_attach(struct source *s)
{
	const char *what;
	int err;

	s->program_ns = s->options.program_ns;
	if (!s->program_ns)
		s->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	err = attach_all(s, &what);
	/* -ESRCH: it has just ended; the session has the words for that */
	while (err && err != -ESRCH && target_is_alive(s->ctx.target) && fall_back(s, what, err)) {
		err = prepare(s, &what);
		if (!err)
			err = attach_all(s, &what);
	}
	if (!err)
		start_mappings(s);
	if (!err || err == -ESRCH)
		return err;
	return log_error(err, "%s by %s: %s", what, attach_mode_name(s->mode), strerror(-err));
}

#define MEASURED_RUNS	200	/* enough for a mean */

/*
 * The kernel's own measurement, for the first seconds only: it makes each run of any program on the machine
 * some 50 ns dearer.
 */
static double leak_program_ns(struct source *s)
{
	uint64_t cnt = 0, ns = 0;

	if (s->stats_fd < 0)
		return s->program_ns;
	leak_programs_add_runs(s->programs, &cnt, &ns);
	if (cnt < MEASURED_RUNS)
		return 0;
	s->program_ns = (double)ns / cnt;
	close(s->stats_fd);
	s->stats_fd = -1;
	log_debug("a run of the programs takes %.0f ns on average", s->program_ns);
	return s->program_ns;
}

static const char *leak_attached_by(const struct source *s)
{
	return attach_mode_name(leak_programs_mode(s->programs));
}

static int leak_fd(const struct source *s)
{
	return ring_buffer__epoll_fd(s->rings);
}

/* What the kernel counts in a hurry, put right: how many blocks are live. */
static void live_correct(struct source *s)
{
	int64_t live = 0;

	for (uint32_t i = STACK_FULL; i < s->stacks.known; i++) {
		struct stack_counters c = counters_read(&s->counters, i);

		live += c.born_cnt - c.died_cnt;
	}
	__atomic_store_n(&s->state->blocks.live_cnt, live, __ATOMIC_RELAXED);
}

static int leak_on_event(struct source *s)
{
	int err = ring_buffer__consume(s->rings);

	if (err >= 0)
		err = s->stacks.err;
	if (!err)
		err = counters_restock(&s->counters, s->stacks.known);
	if (err)
		return log_error(err, "reading new stacks: %s", strerror(-err));
	on_forks(s);
	if (s->mappings)
		mappings_look(s->mappings, false);
	live_correct(s);
	err = books_tend(s->books);
	if (err)
		log_warn("the books cannot grow: %s; what does not fit will be counted as lost", strerror(-err));
	return 0;
}

struct scan {
	struct source *s;
	uint64_t cutoff, older;		/* jiffies; 0 = not wanted */
};

static void scan_block(const struct block_slot *block, void *ctx)
{
	const struct scan *scan = ctx;
	struct profile *p = scan->s->ctx.profile;
	int stack = stacks_at(&scan->s->stacks, block_stack(block));

	if (stack < 0)
		return;	/* born after the rings were read: the next snapshot has it */
	if (scan->cutoff && block_time(block) <= scan->cutoff)
		leak_value_add(p, stack, LEAK_OLD_BLOCKS, 1);
	if (scan->older && block_time(block) <= scan->older) {
		leak_value_add(p, stack, LEAK_HELD_BLOCKS, 1);
		leak_value_add(p, stack, LEAK_HELD_BYTES, block_size(block));
	}
}

static int snapshot_blocks(struct source *s)
{
	struct scan scan = { .s = s };
	int err = 0;

	if (s->cutoff_ns)
		err = ticks_at(&s->ticks, s->cutoff_ns, &scan.cutoff);
	if (!err && s->options.older_ns)
		err = ticks_ago(&s->ticks, s->options.older_ns, &scan.older);
	if (err || (!scan.cutoff && !scan.older))
		return err;
	return books_each(s->books, scan_block, &scan);
}

static void snapshot_counters(struct source *s)
{
	struct profile *p = s->ctx.profile;

	/* several indexes may be one stack: two CPUs saw it first at the same time */
	for (uint32_t i = STACK_FULL; i < s->stacks.known; i++) {
		struct stack_counters c = counters_read(&s->counters, i);
		int stack = stacks_at(&s->stacks, i);

		if (stack < 0)
			continue;
		leak_value_add(p, stack, LEAK_ALLOC_BLOCKS, c.born_cnt);
		leak_value_add(p, stack, LEAK_ALLOC_BYTES, c.born_bytes);
		if (s->options.older_ns)
			continue;	/* held comes from the blocks */
		leak_value_add(p, stack, LEAK_HELD_BLOCKS, (int64_t)(c.born_cnt - c.died_cnt));
		leak_value_add(p, stack, LEAK_HELD_BYTES, (int64_t)(c.born_bytes - c.died_bytes));
	}
}

static int leak_snapshot(struct source *s)
{
	const struct mappings_ages ages = { .cutoff_ns = s->cutoff_ns, .older_ns = s->options.older_ns };
	int err;

	if (s->mappings)
		mappings_look(s->mappings, true);
	err = leak_on_event(s);
	if (err)
		return err;
	profile_values_clear(s->ctx.profile);
	snapshot_counters(s);
	err = snapshot_blocks(s);
	if (!err && s->mappings)
		err = mappings_values(s->mappings, &ages);
	if (!err)
		err = leak_peaks_update(&s->peaks, s->ctx.profile);
	if (err)
		return log_error(err, "reading the books: %s", strerror(-err));
	tally_losses(&s->tally, s->ctx.profile);
	unwinder_notes(&s->unwinder, s->ctx.profile);
	profile_loss_set(s->ctx.profile, "runs of programs skipped by the kernel", s->missed_cnt);
	return 0;
}

static void leak_traps(const struct source *s, struct source_traps *ret)
{
	ret->emulated = tally_sum(&s->tally, LEAK_TRAPS);
	ret->stepped = tally_sum(&s->tally, LEAK_TRAPS_STEPPED);
	ret->returned = tally_sum(&s->tally, LEAK_TRAPS_RETURN);
}

static void leak_life(const struct source *s, struct source_life *ret)
{
	ret->exited = __atomic_load_n(&s->state->exited, __ATOMIC_ACQUIRE);
	ret->execed = __atomic_load_n(&s->state->exec_cnt, __ATOMIC_ACQUIRE) > 0;
	ret->exit_status = s->state->exit_code;
}

static void leak_detach(struct source *s)
{
	if (s->mappings && !s->detached)
		mappings_freeze(s->mappings);
	s->detached = true;
	leak_programs_detach(s->programs);
	s->missed_cnt = leak_programs_missed(s->programs);
}

void leak_set_cutoff(struct source *s, uint64_t cutoff_ns)
{
	s->cutoff_ns = cutoff_ns;
}

void leak_mappings_held(const struct source *s, struct mappings_held *ret)
{
	*ret = (struct mappings_held){ 0 };
	if (s && s->mappings)
		mappings_held(s->mappings, ret);
}

bool leak_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt)
{
	unsigned int words = tally_cnt();

	return i < words ? tally_at(&s->tally, i, ret_name, ret_cnt) :
	       unwinder_counter_at(&s->unwinder, i - words, ret_name, ret_cnt);
}

const struct source_type leak_source = {
	.name = "leak",
	.values = leak_values,
	.open = leak_open,
	.attach = leak_attach,
	.attached_by = leak_attached_by,
	.fd = leak_fd,
	.on_event = leak_on_event,
	.misses_code = leak_misses_code,
	.on_target = leak_on_target,
	.snapshot = leak_snapshot,
	.traps = leak_traps,
	.program_ns = leak_program_ns,
	.life = leak_life,
	.kernel_bytes = leak_kernel_bytes,
	.detach = leak_detach,
	.close = leak_close,
};
