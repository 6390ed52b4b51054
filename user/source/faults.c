/* SPDX-License-Identifier: GPL-2.0-only */
/* Loads and attaches the programs of bpf/faults.bpf.c, and reads their books about every second. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "faults_abi.h"
#include "faults.skel.h"
#include "source/faults.h"
#include "source/faults_books.h"
#include "source/faults_owners.h"
#include "source/faults_sensors.h"
#include "source/loader.h"
#include "source/stacks.h"
#include "source/unwind_many.h"
#include "target/family.h"

#define LOOK_NS		900000000ull	/* between two looks: a little less than the session's second */
#define LOOK_SHARE	50		/* a look may take 1/50 of the time */
#define ENTRY_BYTES	160u		/* of the books: key, counts, the kernel's own */

struct source {
	struct source_context ctx;
	struct faults_options options;
	bool tracepoint;		/* the sensor */
	struct faults_bpf *skel;
	struct ring_buffer *rings;
	struct bpf_link *tasks;
	struct faults_events minor, major;
	struct faults_shared *state;
	struct unwinder unwinder;
	struct unwinder_settings settings;
	struct unwind_many unwind;
	struct stacks stacks;
	struct faults_owners owners;
	struct faults_books books;
	uint64_t look_ns, look_took_ns;
	int err;			/* of an event */
};

static const struct value_type faults_values[] = {
	[FAULTS_FAULTS] = { "faults", "faults" },
	[FAULTS_BYTES] = { "bytes", "bytes" },
	[FAULTS_MAJOR_NS] = { "major-ns", "nanoseconds" },
	{ NULL, NULL },
};

static uint64_t time_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static bool is_all(const struct source *s)
{
	return !s->options.pid && !s->options.group;
}

/* Whether a file begins with, or has, these words. */
static bool file_says(const char *path, const char *words)
{
	char text[4096];
	FILE *f = fopen(path, "re");
	size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[len] = '\0';
	return strstr(text, words) != NULL;
}

/* With swap anonymous memory may have major faults: a line below the heading. */
static bool has_swap(void)
{
	return file_says("/proc/swaps", "\n/");
}

static int sizes_fill(struct source *s)
{
	uint32_t entries = s->options.max_memory_bytes / 4 / ENTRY_BYTES;
	bool one = s->options.pid != 0;
	int err;

	s->settings = (struct unwinder_settings){
		.stacks_max = entries < STACKS_MAX ? entries : STACKS_MAX, .processes_max = UNWIND_MANY_MAX,
		.mappings_max = UNWIND_MANY_MAX * (one ? 16 : 64), .rows_max_bytes = s->options.max_memory_bytes / 2,
	};
	UNWINDER_CONSTANTS(s->skel, &s->settings);
	err = bpf_map__set_max_entries(s->skel->maps.faults_books, entries);
	return err ?: unwinder_size(s->skel->obj, &s->settings);
}

static int load_programs(struct source *s)
{
	struct faults_settings set = {
		.all = is_all(s),
		.huge_always = file_says("/sys/kernel/mm/transparent_hugepage/enabled", "[always]"),
	};
	struct faults_bpf *skel;
	struct stat pidns;
	int err;

	if (stat("/proc/self/ns/pid", &pidns))
		return log_error(-errno, "reading /proc/self/ns: %s", strerror(errno));
	set.pid_inode = pidns.st_ino;
	skel = s->skel = faults_bpf__open();
	if (!skel)
		return loader_error(-errno, "loading the programs of faults");
	memcpy((void *)&skel->rodata->settings, &set, sizeof(set));
	err = sizes_fill(s);
	if (err)
		return err;
	bpf_program__set_autoload(skel->progs.faults_user, s->tracepoint);
	bpf_program__set_autoload(skel->progs.faults_minor, !s->tracepoint);
	err = faults_bpf__load(skel);
	return err ? loader_error(err, "loading the programs of faults") : 0;
}

static int on_owner(struct source *s, const struct faults_owner_event *e)
{
	int err = faults_owners_on_event(&s->owners, e);

	if (err || e->type != FAULTS_EVENT_OWNER)
		return err;
	return unwind_many_add(&s->unwind, e->index);
}

static int on_event(void *ctx, void *data, size_t size)
{
	struct source *s = ctx;
	int err = size >= sizeof(struct faults_owner_event) ? on_owner(s, data) : 0;

	if (err && !s->err)
		s->err = err;
	return 0;
}

static int open_maps(struct source *s)
{
	const struct faults_bpf *skel = s->skel;
	void *state = mmap(NULL, sizeof(*s->state), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(skel->maps.faults_state), 0);
	int err;

	if (state == MAP_FAILED)
		return -errno;
	s->state = state;
	s->state->next_owner = FAULTS_NONE + 1;
	s->state->time_anonymous = has_swap();
	err = unwinder_open(&s->unwinder, skel->obj, &s->settings, s->ctx.worker);
	if (err)
		return err;
	s->unwind = (struct unwind_many){
		.unwinder = &s->unwinder, .who = faults_owners_who, .owners = &s->owners,
		.worker = s->ctx.worker, .names_worker = s->ctx.names_worker,
	};
	faults_owners_open(&s->owners, s->ctx.profile, s->options.pid != 0);
	err = stacks_open_many(&s->stacks, s->ctx.profile);
	if (err)
		return err;
	s->books = (struct faults_books){
		.profile = s->ctx.profile, .owners = &s->owners, .stacks = &s->stacks,
		.fd = bpf_map__fd(skel->maps.faults_books), .pending_fd = bpf_map__fd(skel->maps.faults_pending),
	};
	err = faults_books_open(&s->books);
	if (err)
		return err;
	s->rings = ring_buffer__new(bpf_map__fd(skel->maps.faults_events), on_event, s, NULL);
	if (!s->rings)
		return -errno;
	return ring_buffer__add(s->rings, bpf_map__fd(skel->maps.stack_events), stacks_on_event, &s->stacks);
}

/* Lets the programs find the processes that are wanted, and know where ebb is. */
static int tasks_run(struct source *s)
{
	char ignored[64];
	int fd = bpf_iter_create(bpf_link__fd(s->tasks)), err = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do
		got = read(fd, ignored, sizeof(ignored));
	while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
	if (got < 0)
		err = -errno;
	close(fd);
	return err;
}

static int wanted_set(const struct source *s, const struct family_member *list, size_t cnt, bool wanted)
{
	int fd = bpf_map__fd(s->skel->maps.faults_wanted), err = 0;

	for (size_t i = 0; !err && i < cnt; i++) {
		uint32_t pid = list[i].pid, one = 1;

		if (!wanted)
			bpf_map_delete_elem(fd, &pid);
		else
			err = bpf_map_update_elem(fd, &pid, &one, BPF_ANY);
	}
	return err;
}

/* The processes of the group, or the one: those that were not before are watched from now on. */
static int members_find(struct source *s)
{
	const struct family family = { .group = s->options.group };
	struct family_member one = { .pid = s->options.pid }, *list = &one;
	size_t cnt = 1;
	int err = 0;

	if (s->options.group)
		err = family_find(&family, &list, &cnt);
	if (!err && !cnt && !s->look_ns)
		err = log_error(-ESRCH, "there is no process in the cgroup");
	if (!err)
		err = wanted_set(s, list, cnt, true);
	if (!err)
		err = tasks_run(s);
	if (!err && s->options.pid && !s->state->tgid)
		err = log_error(-ESRCH, "process %d has ended", (int)s->options.pid);
	/* a number may be another's later */
	if (list) {
		wanted_set(s, list, cnt, false);
		if (list != &one)
			free(list);
	}
	return err;
}

static struct source *faults_close(struct source *s)
{
	if (!s)
		return NULL;
	faults_events_close(&s->minor);
	faults_events_close(&s->major);
	ring_buffer__free(s->rings);
	faults_books_close(&s->books);
	faults_owners_close(&s->owners);
	stacks_close(&s->stacks);
	bpf_link__destroy(s->tasks);
	if (s->state)
		munmap(s->state, sizeof(*s->state));
	unwind_many_close(&s->unwind);
	unwinder_close(&s->unwinder);
	faults_bpf__destroy(s->skel);
	free(s);
	return NULL;
}

static int sensor_choose(struct source *s)
{
	bool has = faults_has_tracepoint();

	if (s->options.sensor == FAULTS_SENSOR_TRACEPOINT && !has)
		return log_error(-EOPNOTSUPP, "this kernel does not have the tracepoint page_fault_user (or no BTF): try --sensor events");
	s->tracepoint = s->options.sensor != FAULTS_SENSOR_EVENTS && has;
	return 0;
}

static int faults_open(const struct source_context *ctx, const void *options, struct source **ret)
{
	struct source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return log_error(-ENOMEM, "out of memory");
	s->ctx = *ctx;
	s->options = *(const struct faults_options *)options;
	loader_prepare();
	err = sensor_choose(s);
	if (!err)
		err = load_programs(s);
	if (err)
		goto out;
	s->tasks = bpf_program__attach_iter(s->skel->progs.faults_tasks, NULL);
	if (!s->tasks) {
		err = loader_error(-errno, "making the iterator of faults");
		goto out;
	}
	err = open_maps(s);
	if (!err)
		err = is_all(s) ? tasks_run(s) : members_find(s);
	if (!err)
		err = ring_buffer__consume(s->rings);
	/* who is known has rows before anything counts */
	err = err < 0 ? err : s->err ? s->err : unwind_many_finish(&s->unwind);
	if (err && err != -ESRCH)
		log_error(err, "setting up the books of faults: %s", strerror(-err));
out:
	if (err) {
		faults_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

static int attach_program(struct bpf_link **link, const struct bpf_program *prog, const char *what)
{
	*link = bpf_program__attach(prog);
	return *link ? 0 : loader_error(-errno, what);
}

static int events_attach(struct source *s)
{
	bool threads = s->options.pid && !s->tracepoint;
	int err;

	if (threads)
		err = faults_events_threads(&s->major, s->skel->progs.faults_major, PERF_COUNT_SW_PAGE_FAULTS_MAJ, s->options.pid);
	else
		err = faults_events_cpus(&s->major, s->skel->progs.faults_major, PERF_COUNT_SW_PAGE_FAULTS_MAJ);
	if (!err && threads)
		err = faults_events_threads(&s->minor, s->skel->progs.faults_minor, PERF_COUNT_SW_PAGE_FAULTS_MIN, s->options.pid);
	else if (!err && !s->tracepoint)
		err = faults_events_cpus(&s->minor, s->skel->progs.faults_minor, PERF_COUNT_SW_PAGE_FAULTS_MIN);
	if (err == -ESRCH)
		return log_error(err, "process %d has ended", (int)s->options.pid);
	return err ? loader_error(err, "attaching to the events of page faults") : 0;
}

/* Births first, so that no child is missed; major faults last: what they are a part of must be counted. */
static int faults_attach(struct source *s)
{
	struct faults_bpf *skel = s->skel;
	int err = attach_program(&skel->links.faults_fork, skel->progs.faults_fork, "watching births of processes");

	if (!err)
		err = attach_program(&skel->links.faults_exit, skel->progs.faults_exit, "watching ends of processes");
	if (!err && s->tracepoint)
		err = attach_program(&skel->links.faults_user, skel->progs.faults_user, "attaching to page_fault_user");
	return err ?: events_attach(s);
}

static void faults_detach(struct source *s)
{
	faults_events_close(&s->major);
	faults_events_close(&s->minor);
	bpf_link__destroy(s->skel->links.faults_user);
	bpf_link__destroy(s->skel->links.faults_fork);
	bpf_link__destroy(s->skel->links.faults_exit);
	s->skel->links.faults_user = s->skel->links.faults_fork = s->skel->links.faults_exit = NULL;
}

static int faults_fd(const struct source *s)
{
	return ring_buffer__epoll_fd(s->rings);
}

static int rings_read(struct source *s)
{
	int err = ring_buffer__consume(s->rings);

	return err < 0 ? err : s->err ? s->err : s->stacks.err;
}

/* Books, members of a group; into the profile as well, so that frames get their names while the process lives. */
static int look(struct source *s)
{
	uint64_t begin = time_ns(CLOCK_THREAD_CPUTIME_ID);
	int err = faults_books_look(&s->books);

	s->look_ns = time_ns(CLOCK_MONOTONIC);
	s->state->time_anonymous = has_swap();
	if (!err)
		err = rings_read(s);	/* what the books refer to */
	if (!err)
		err = faults_books_fill(&s->books, s->options.pid);
	if (!err && s->options.group)
		err = members_find(s);
	s->look_took_ns = time_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	return err;
}

static int faults_on_event(struct source *s)
{
	uint64_t now = time_ns(CLOCK_MONOTONIC);
	int err = rings_read(s);

	if (!err)
		err = unwind_many_work(&s->unwind);
	if (!err && now - s->look_ns >= LOOK_NS && now - s->look_ns >= s->look_took_ns * LOOK_SHARE)
		err = look(s);
	return err ? log_error(err, "reading the books of faults: %s", strerror(-err)) : 0;
}

static const struct {
	const char *name;
	bool loss;
} counter_words[FAULTS_COUNTERS] = {
	[FAULTS_LOST_OWNERS] = { "faults whose process could not be kept", true },
	[FAULTS_LOST_COUNTS] = { "faults that found no room in the books (--max-memory)", true },
	[FAULTS_LOST_ENDS] = { "ends of processes that were not told: ebb was not scheduled in time", false },
	[FAULTS_LOST_BIRTHS] = { "processes that are not watched: no room", true },
	[FAULTS_MEMORY_BUSY] = { "faults whose memory is not known: its list of mappings was being changed", false },
	[FAULTS_UNTIMED] = { "major faults that were not timed", false },
};

static uint64_t counter_read(const struct source *s, enum faults_counter c)
{
	return __atomic_load_n(&s->state->counters[c], __ATOMIC_RELAXED);
}

bool faults_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt)
{
	if (i >= FAULTS_COUNTERS)
		return unwinder_counter_at(&s->unwinder, i - FAULTS_COUNTERS, ret_name, ret_cnt);
	*ret_name = counter_words[i].name;
	*ret_cnt = counter_read(s, i);
	return true;
}

static void set_losses(struct source *s)
{
	struct profile *p = s->ctx.profile;

	for (int i = 0; i < FAULTS_COUNTERS; i++)
		if (counter_words[i].loss)
			profile_loss_set(p, counter_words[i].name, counter_read(s, i));
	profile_loss_set(p, "stacks of faults: no index left (--max-memory)", s->unwinder.state->full_cnt);
	profile_loss_set(p, "stacks of faults: the ring was full", s->unwinder.state->ring_full_cnt);
	profile_loss_set(p, "stacks of faults: disturbed", s->unwinder.state->raced_cnt + s->stacks.garbled_cnt);
	unwinder_notes(&s->unwinder, p);
}

static int faults_snapshot(struct source *s)
{
	int err = rings_read(s) ?: look(s);

	if (err)
		return log_error(err, "reading the books of faults: %s", strerror(-err));
	set_losses(s);
	return 0;
}

static uint64_t faults_kernel_bytes(const struct source *s)
{
	return loader_map_bytes(s->skel->obj) + unwinder_bytes(&s->unwinder);
}

struct faults_tag faults_tag_at(const struct source *s, uint32_t stack)
{
	if (stack < s->books.tags_size)
		return s->books.tags[stack];
	return (struct faults_tag){ .how = FAULTS_HOWS, .memory = FAULTS_MEMORY_UNKNOWN };
}

const struct faults_summary *faults_summary(const struct source *s)
{
	return &s->books.summary;
}

struct faults_process faults_process_at(const struct source *s, uint32_t process)
{
	const struct faults_owner *o;

	if (process >= s->owners.processes_cnt)
		return (struct faults_process){ .ended = false };
	o = &s->owners.list[s->owners.by_process[process]];
	return (struct faults_process){ .pid = o->pid, .ended = o->ended, .minflt = o->minflt, .majflt = o->majflt };
}

size_t faults_processes_cnt(const struct source *s)
{
	return s->owners.processes_cnt;
}

const char *faults_sensor_name(const struct source *s)
{
	return s->tracepoint ? "page_fault_user and major-fault events" : "minor- and major-fault events";
}

bool faults_tells_how(const struct source *s)
{
	return s->tracepoint;
}

bool faults_is_same_process(const struct source *s, uint32_t process, const struct target *t)
{
	return faults_owners_is_same(&s->owners, process, t);
}

const struct source_type faults_source = {
	.name = "faults",
	.values = faults_values,
	.open = faults_open,
	.attach = faults_attach,
	.fd = faults_fd,
	.on_event = faults_on_event,
	.snapshot = faults_snapshot,
	.kernel_bytes = faults_kernel_bytes,
	.detach = faults_detach,
	.close = faults_close,
};
