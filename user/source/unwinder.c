/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "source/unwinder.h"

/* What all CPUs together may take to remember stacks; each entry is some 700 bytes. */
#define MEMO_BYTES_MAX	(6u << 20)
#define MEMO_BYTES	704u
#define MEMOS_MAX	512u	/* of a CPU: hit rates of 99.8 % and more were measured with it */
#define MEMOS_MIN	32u

/* There may be gaps, which libbpf's count leaves out. */
uint32_t unwinder_cpus(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned int first, last, cnt = 1;
	char sep;

	while (f && fscanf(f, "%u", &first) == 1) {
		last = first;
		if (fscanf(f, "%c", &sep) == 1 && sep == '-' && fscanf(f, "%u%c", &last, &sep) < 1)
			break;
		if (last >= cnt)
			cnt = last + 1;
	}
	if (f)
		fclose(f);
	return cnt;
}

uint32_t unwinder_memos(void)
{
	uint32_t memos = MEMOS_MAX, cpus = unwinder_cpus();

	while (memos > MEMOS_MIN && memos * MEMO_BYTES * (uint64_t)cpus > MEMO_BYTES_MAX)
		memos /= 2;
	return memos;
}

uint32_t unwinder_mappings(const struct target *t)
{
	uint32_t cnt = 1024;

	for (size_t i = 0; i < t->mappings_cnt; i++)
		cnt += 4 * (t->mappings[i].prot[2] == 'x');
	return 2 * (cnt < UNWIND_MAPPINGS_MAX ? cnt : UNWIND_MAPPINGS_MAX);
}

static int resize(struct bpf_object *obj, const char *name, uint32_t entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	return map ? bpf_map__set_max_entries(map, entries) : -ENOENT;
}

int unwinder_size(struct bpf_object *obj, const struct unwinder_settings *set)
{
	uint32_t cpus = unwinder_cpus();
	int err = resize(obj, "stack_ids", set->stacks_max);

	if (!err)
		err = resize(obj, "stack_cpus", cpus + STACK_SPARES);
	if (!err)
		err = resize(obj, "stack_memo", cpus * unwinder_memos());
	if (!err)
		err = resize(obj, "unwind_processes", set->processes_max);
	if (!err)
		err = resize(obj, "unwind_pids", set->processes_max);
	if (!err)
		err = resize(obj, "unwind_mappings", set->mappings_max);
	return err;
}

static int map_fd(const struct bpf_object *obj, const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

int unwinder_open(struct unwinder *u, const struct bpf_object *obj, const struct unwinder_settings *set,
		  struct worker *w)
{
	const struct unwind_maps maps = {
		.processes_fd = map_fd(obj, "unwind_processes"), .pids_fd = map_fd(obj, "unwind_pids"),
		.mappings_fd = map_fd(obj, "unwind_mappings"), .rules_fd = map_fd(obj, "unwind_rules"),
		.chunks_fd = map_fd(obj, "unwind_chunks"), .processes_max = set->processes_max,
		.mappings_max = set->mappings_max, .rows_max_bytes = set->rows_max_bytes,
	};
	void *state = mmap(NULL, sizeof(*u->state), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd(obj, "stack_state"), 0);

	*u = (struct unwinder){ .settings = *set };
	if (state == MAP_FAILED)
		return -errno;
	u->state = state;
	u->state->next = STACK_FIRST;
	return unwind_tables_open(&maps, w, &u->tables);
}

void unwinder_close(struct unwinder *u)
{
	u->tables = unwind_tables_close(u->tables);
	if (u->state)
		munmap(u->state, sizeof(*u->state));
	u->state = NULL;
}

static uint64_t outside_cnt(const struct unwinder *u)
{
	return __atomic_load_n(&u->state->outside_cnt, __ATOMIC_RELAXED);
}

int unwinder_set_target(struct unwinder *u, const struct target *t)
{
	const struct unwind_identity id = { .pid = t->pid };
	int err;

	u->outside_seen = u->outside_now;
	unwind_tables_watch(u->tables, u->state, u->gone_now);
	err = unwind_tables_set(u->tables, &id, t);
	u->overtaken = err == -EAGAIN;
	return err;
}

bool unwinder_misses_code(struct unwinder *u)
{
	u->gone_now = __atomic_load_n(&u->state->gone_cnt, __ATOMIC_SEQ_CST);
	u->outside_now = outside_cnt(u);
	return u->overtaken || u->outside_now != u->outside_seen;
}

uint64_t unwinder_bytes(const struct unwinder *u)
{
	struct unwind_tables_size size;

	unwind_tables_size(u->tables, &size);
	return size.kernel_bytes;
}

static const char *const end_words[STACK_ENDS] = {
	[STACK_CUT_DEPTH] = "stacks cut: deeper than 127 frames",
	[STACK_CUT_POINTER] = "stacks cut: code without unwind rows that keeps no frame pointer",
	[STACK_CUT_READ] = "stacks cut: stack memory that could not be read",
	[STACK_CUT_RULE] = "stacks cut: unwind information that rows cannot say",
	[STACK_CUT_LOOP] = "stacks cut: a caller's frame below its callee's",
	[STACK_CUT_OUTSIDE] = "stacks cut: a return address that is in no known code",
	[STACK_CUT_UNTABLED] = "stacks taken before their process had unwind rows (by frame pointers)",
};

void unwinder_notes(const struct unwinder *u, struct profile *p)
{
	for (int i = STACK_ENDED + 1; i < STACK_ENDS; i++)
		profile_note_set(p, end_words[i], u->state->ends[i]);
}

bool unwinder_counter_at(const struct unwinder *u, unsigned int i, const char **ret_name, uint64_t *ret_cnt)
{
	struct unwind_tables_size size;

	unwind_tables_size(u->tables, &size);
	const struct {
		const char *name;
		uint64_t cnt;
	} counters[] = {
		{ "stacks without an index: all are used up (--max-memory)", u->state->full_cnt },
		{ "stacks not sent: ebb was not scheduled in time", u->state->ring_full_cnt },
		{ "stacks that could not be walked: no user process", u->state->failed_cnt },
		{ "stacks not walked: no seat, or new tables meanwhile", u->state->raced_cnt },
		{ "stacks with the hashes of other ones", u->state->collided_cnt },
		{ "walks that met addresses outside of all known code", u->state->outside_cnt },
		{ "remembered stacks that were walked again (test)", u->state->memo_cnt },
		{ "remembered stacks that were wrong (test)", u->state->memo_wrong_cnt },
		{ "files with unwind rows", size.files_cnt },
		{ "unwind rows", size.rows_cnt },
		{ "unwind rules", size.rules_cnt },
		{ "bytes of unwind rows in the kernel", size.kernel_bytes },
		{ "files whose unwind rows could not be made", size.files_failed_cnt },
	};

	if (i >= sizeof(counters) / sizeof(counters[0]))
		return false;
	*ret_name = counters[i].name;
	*ret_cnt = counters[i].cnt;
	return true;
}
