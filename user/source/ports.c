/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads and attaches the programs of bpf/ports.bpf.c, and looks at the books and at the kernel's tables about
 * every second, so that rates and forecasts have a history; less often where a look is dear.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "base/log.h"
#include "base/text.h"
#include "ports.skel.h"
#include "source/loader.h"
#include "source/ports.h"
#include "source/ports_books.h"
#include "source/ports_counts.h"
#include "source/ports_failure.h"
#include "source/ports_look.h"
#include "source/ports_owners.h"
#include "source/ports_settings.h"
#include "source/stacks.h"
#include "source/ticks.h"
#include "source/unwind_many.h"
#include "target/peer.h"

#define LOOK_NS		900000000ull	/* between two looks: a little less than the session's second */
#define SOON_NS	100000000ull	/* when a namespace is new: it may be gone in a second */
#define LOOK_SHARE	50	/* a look may take 1/50 of the time */
#define FILES_SHARE	200	/* a pass over all descriptors 1/200 */
#define HELD_MANY	50	/* ports that a process holds towards one destination */

struct source {
	struct source_context ctx;
	struct ports_options options;
	struct ports_bpf *skel;
	struct ring_buffer *rings;
	struct bpf_link *dump, *files;	/* iterators: they stay until close */
	struct bpf_link *binds[4];
	struct ports_shared *state;
	struct unwinder unwinder;
	struct unwind_many unwind;
	struct ticks ticks;
	struct stacks stacks;
	struct unwinder_settings stacks_settings;
	struct ports_owners owners;
	struct ports_books books;
	struct ports_look look;
	/* when it was, and what it cost: our own CPU time, since a busy machine makes it longer but not dearer */
	uint64_t look_ns, look_took_ns, files_ns, files_took_ns, names_ns, names_took_ns;
	uint64_t pid_start_ticks;	/* of options.pid */
	bool unseen;			/* a process connects in a namespace that was not visited yet */
	uint32_t names_known;		/* stacks at the last look for names */
	int err;			/* of an event */
};

static const struct value_type ports_values[] = {
	[PORTS_CONNECTIONS] = { "connections", "connections" },
	[PORTS_TIME_WAIT_SECONDS] = { "time-wait-seconds", "seconds" },
	[PORTS_FAILURES] = { "failures", "failures" },
	{ NULL, NULL },
};

static uint64_t time_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int sizes_fill(struct source *s, const struct ports_settings *set)
{
	struct ports_bpf *skel = s->skel;
	uint32_t flows = set->flows_max;

	bpf_map__set_max_entries(skel->maps.ports_flows, flows);
	bpf_map__set_max_entries(skel->maps.ports_flow_ids, flows);
	bpf_map__set_max_entries(skel->maps.ports_owners, set->owners_max);
	bpf_map__set_max_entries(skel->maps.ports_stacks, flows * 2);
	bpf_map__set_max_entries(skel->maps.ports_sockets, flows * 4);
	/* each process has its libraries elsewhere, so its stacks are its own; they stay when it has ended */
	s->stacks_settings = (struct unwinder_settings){
		.stacks_max = flows * 4, .processes_max = UNWIND_MANY_MAX, .mappings_max = UNWIND_MANY_MAX * 64,
		.rows_max_bytes = s->options.max_memory_bytes / 4,
	};
	UNWINDER_CONSTANTS(skel, &s->stacks_settings);
	return unwinder_size(skel->obj, &s->stacks_settings);
}

static int load_programs(struct source *s)
{
	struct ports_settings set = { 0 };
	struct ports_bpf *skel;
	int err = ports_settings_fill(&s->options, &set);

	if (err)
		return err;
	skel = s->skel = ports_bpf__open();
	if (!skel)
		return loader_error(-errno, "loading the programs of ports");
	memcpy((void *)&skel->rodata->settings, &set, sizeof(set));
	err = sizes_fill(s, &set);
	if (err)
		return err;
	bpf_program__set_autoload(skel->progs.ports_tw_start, s->options.exact_tw);
	bpf_program__set_autoload(skel->progs.ports_tw_end, s->options.exact_tw);
	bpf_program__set_autoload(skel->progs.ports_bind4, s->options.bind);
	bpf_program__set_autoload(skel->progs.ports_bind6, s->options.bind);
	bpf_program__set_autoload(skel->progs.ports_bound4, s->options.bind);
	bpf_program__set_autoload(skel->progs.ports_bound6, s->options.bind);
	bpf_program__set_autoload(skel->progs.ports_reap, s->options.bind);
	bpf_program__set_autoload(skel->progs.ports_udp, s->options.udp);
	err = ports_bpf__load(skel);
	return err ? loader_error(err, "loading the programs of ports") : 0;
}

static int on_owner(struct source *s, const struct ports_owner_event *e)
{
	int netns = ports_netns_find(s->options.model, e->netns);

	s->unseen |= netns < 0 || !s->options.model->netns[netns].visited;
	return ports_owners_add(&s->owners, e) ?: unwind_many_add(&s->unwind, e->index);
}

static int on_ports_event(void *ctx, void *data, size_t size)
{
	struct source *s = ctx;
	const uint32_t *type = data;
	int err = 0;

	if (size >= sizeof(struct ports_owner_event) && *type == PORTS_EVENT_OWNER)
		err = on_owner(s, data);
	else if (size >= sizeof(struct ports_failure_event) && *type == PORTS_EVENT_FAILURE)
		ports_say_failure(s->options.model, data);
	if (err && !s->err)
		s->err = err;
	return 0;
}

static int open_maps(struct source *s)
{
	const struct ports_bpf *skel = s->skel;
	void *state;
	int err;

	state = mmap(NULL, sizeof(*s->state), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(skel->maps.ports_shared), 0);
	if (state == MAP_FAILED)
		return -errno;
	s->state = state;
	err = unwinder_open(&s->unwinder, skel->obj, &s->stacks_settings, s->ctx.worker);
	if (err)
		return err;
	s->unwind = (struct unwind_many){ .unwinder = &s->unwinder, .who = ports_owners_who, .owners = &s->owners,
					  .worker = s->ctx.worker,
					  .names_worker = s->ctx.names_worker };
	s->state->next_flow = s->state->next_owner = PORTS_NONE + 1;
	err = ticks_open(&s->ticks, bpf_program__fd(skel->progs.ports_clock), &s->state->clock);
	if (err)
		return err;
	s->options.model->exact_tw = s->options.exact_tw;
	s->options.model->watches_bind = s->options.bind;
	s->options.model->watches_udp = s->options.udp;
	s->state->tw_jiffies = 60 * s->ticks.hz;
	s->state->wheel_shift = ports_wheel_shift(s->state->tw_jiffies);
	s->rings = ring_buffer__new(bpf_map__fd(skel->maps.ports_events), on_ports_event, s, NULL);
	if (!s->rings)
		return -errno;
	return ring_buffer__add(s->rings, bpf_map__fd(skel->maps.stack_events), stacks_on_event, &s->stacks);
}

static int open_books(struct source *s)
{
	const struct ports_bpf *skel = s->skel;
	struct ports *model = s->options.model;
	int err;

	s->books = (struct ports_books){
		.model = model, .profile = s->ctx.profile, .owners = &s->owners, .stacks = &s->stacks, .state = s->state,
		.flows_fd = bpf_map__fd(skel->maps.ports_flows), .flow_ids_fd = bpf_map__fd(skel->maps.ports_flow_ids),
		 .stacks_fd = bpf_map__fd(skel->maps.ports_stacks),
		.pools_fd = bpf_map__fd(skel->maps.ports_pools), .exact_tw = s->options.exact_tw,
	};
	s->look = (struct ports_look){
		.model = model, .books = &s->books, .owners = &s->owners, .stacks = &s->stacks, .state = s->state,
		.dump_fd = bpf_link__fd(s->dump), .files_fd = bpf_link__fd(s->files), .hz = s->ticks.hz,
		.udp = s->options.udp, .only = s->skel->rodata->settings.netns,
	};
	err = ports_owners_open(&s->owners, model, s->ctx.profile);
	if (!err)
		err = stacks_open_many(&s->stacks, s->ctx.profile);
	return err ?: ports_look_open(&s->look);
}

static struct source *ports_close(struct source *s)
{
	if (!s)
		return NULL;
	ring_buffer__free(s->rings);
	ports_look_close(&s->look);
	ports_books_close(&s->books);
	ports_owners_close(&s->owners);
	stacks_close(&s->stacks);
	bpf_link__destroy(s->dump);
	bpf_link__destroy(s->files);
	for (size_t i = 0; i < sizeof(s->binds) / sizeof(s->binds[0]); i++)
		bpf_link__destroy(s->binds[i]);
	if (s->state)
		munmap(s->state, sizeof(*s->state));
	unwind_many_close(&s->unwind);
	unwinder_close(&s->unwinder);
	ports_bpf__destroy(s->skel);
	free(s);
	return NULL;
}

static int ports_open(const struct source_context *ctx, const void *options, struct source **ret)
{
	struct source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return log_error(-ENOMEM, "out of memory");
	s->ctx = *ctx;
	s->options = *(const struct ports_options *)options;
	s->pid_start_ticks = peer_start_ticks(s->options.pid);
	loader_prepare();
	err = load_programs(s);
	if (err)
		goto out;
	s->dump = bpf_program__attach_iter(s->skel->progs.ports_dump, NULL);
	s->files = s->dump ? bpf_program__attach_iter(s->skel->progs.ports_files, NULL) : NULL;
	if (!s->files) {
		err = loader_error(-errno, "making the iterators of ports");
		goto out;
	}
	err = open_maps(s);
	if (!err)
		err = open_books(s);
	if (err)
		log_error(err, "setting up the books of ports: %s", strerror(-err));
out:
	if (err) {
		ports_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

bool ports_counter_at(const struct source *s, unsigned int i, const char **ret_name, uint64_t *ret_cnt)
{
	if (i >= PORTS_COUNTERS)
		return unwinder_counter_at(&s->unwinder, i - PORTS_COUNTERS, ret_name, ret_cnt);
	*ret_name = ports_count_name(i);
	*ret_cnt = ports_count_read(bpf_map__fd(s->skel->maps.ports_counts), i);
	return true;
}

static void set_losses(struct source *s)
{
	struct profile *p = s->ctx.profile;

	ports_count_losses(bpf_map__fd(s->skel->maps.ports_counts), p);
	profile_loss_set(p, "stacks of connects: no index left (--max-memory)", s->unwinder.state->full_cnt);
	profile_loss_set(p, "stacks of connects: the ring was full", s->unwinder.state->ring_full_cnt);
	profile_loss_set(p, "stacks of connects: disturbed", s->unwinder.state->raced_cnt + s->stacks.garbled_cnt);
	unwinder_notes(&s->unwinder, p);
}

/* Where version 2 of cgroups is mounted: its root sees every process of the machine. */
static int cgroup_root_open(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "%s/cgroup.procs", places[i]);
		if (access(path, F_OK))
			continue;
		fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -EOPNOTSUPP;
}

static int attach_binds(struct source *s)
{
	const struct bpf_program *progs[] = { s->skel->progs.ports_bind4, s->skel->progs.ports_bind6,
					      s->skel->progs.ports_bound4, s->skel->progs.ports_bound6 };
	int err = 0, fd = cgroup_root_open();

	if (fd < 0)
		return log_error(fd, "--bind needs cgroups of version 2 mounted at /sys/fs/cgroup[/unified]: %s", strerror(-fd));
	/* what is after bind() first, so that no call is seen begun and not ended */
	for (int i = 3; !err && i >= 0; i--) {
		s->binds[i] = bpf_program__attach_cgroup(progs[i], fd);
		if (!s->binds[i])
			err = loader_error(-errno, "attaching to bind()");
	}
	close(fd);
	return err;
}

static int attach_program(struct bpf_link **link, const struct bpf_program *prog, const char *what)
{
	*link = bpf_program__attach(prog);
	return *link ? 0 : loader_error(-errno, what);
}

/* More is asked of the owners that hold much or fail. */
static int look_owners(struct source *s)
{
	const struct ports *model = s->options.model;
	struct ports_owner_use *uses = calloc(model->owners_cnt, sizeof(*uses));

	if (!uses)
		return -ENOMEM;
	for (size_t i = 0; i < model->flows_cnt; i++) {
		const struct ports_flow *f = &model->flows[i];
		uint64_t held = f->tw;

		for (int j = 0; j < PORTS_STATES; j++)
			held += f->states[j];
		uses[f->owner].matters |= held >= HELD_MANY || f->total.exhausted;
		uses[f->owner].in_books |= !ports_recycle_is_closed(&s->books.recycle, i);
	}
	ports_owners_look(&s->owners, uses, bpf_map__fd(s->skel->maps.ports_owners));
	free(uses);
	return 0;
}

static bool is_wanted(const struct ports_options *opt, const struct ports_dest *d)
{
	struct ports_addr remote = d->remote;

	if (!ports_addr_interface(&opt->remote) && ports_addr_interface(&remote))	/* that of any interface */
		remote.bytes[2] = remote.bytes[3] = 0;
	if (opt->has_remote && memcmp(&opt->remote, &remote, sizeof(remote)))
		return false;
	return !opt->port || opt->port == d->port;
}

static void look_select(struct source *s)
{
	struct ports *model = s->options.model;

	for (size_t i = 0; i < model->dests_cnt; i++)
		model->dests[i].selected = !s->options.pid && is_wanted(&s->options, &model->dests[i]);
	for (size_t i = 0; s->options.pid && i < model->flows_cnt; i++) {
		struct ports_dest *d = &model->dests[model->flows[i].dest];

		if (ports_owners_is(&s->owners, model->flows[i].owner, s->options.pid, s->pid_start_ticks))
			d->selected = is_wanted(&s->options, d);
	}
}

/*
 * bind() hooks do not say why a call failed. While the pool is nearly full it was for lack of a port; else it was
 * something else (the address is not ours, no permission).
 */
static bool look_failures(struct source *s, bool final)
{
	struct ports *model = s->options.model;
	bool some = false;

	for (size_t i = 0; i < model->netns_cnt; i++) {
		for (size_t j = 0; j < model->netns[i].pools_cnt; j++) {
			struct ports_pool *pool = &model->netns[i].pools[j];
			uint64_t more = pool->failed_now - pool->failed - pool->failed_other;

			some |= more > 0;
			if (final && pool->used >= pool->usable / 10.0 * 9)
				pool->failed += more;
			else if (final)
				pool->failed_other += more;
		}
	}
	return some;
}

static int look_files(struct source *s)
{
	uint64_t cpu = time_ns(CLOCK_THREAD_CPUTIME_ID);
	int err;

	s->files_ns = time_ns(CLOCK_MONOTONIC);
	err = ports_look_files(&s->look);
	s->files_took_ns = time_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return err;
}

static int look_sockets(struct source *s)
{
	struct netns_list *list = NULL;
	int err = ports_namespaces(&s->options, &list);
	bool lost = err == -ENOENT || err == -ESRCH || err == -EINVAL;

	if (!err)
		err = ports_look_namespaces(&s->look, list);
	list = netns_list_free(list);
	/* what led to it is gone; others may be in it still. If not, the model says that it is no more. */
	if ((!err && !s->look.seen && s->look.only) || lost) {
		err = netns_list_all(&list);
		if (!err)
			err = ports_look_namespaces(&s->look, list);
		netns_list_free(list);
	}
	return err;
}

/* Everything anew: books, namespaces, owners, for a snapshot the stacks, and what follows from it. */
static int ports_look_now(struct source *s, bool with_stacks)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	struct ports *model = s->options.model;
	uint64_t start = time_ns(CLOCK_MONOTONIC), cpu = time_ns(CLOCK_THREAD_CPUTIME_ID);
	int err;

	if (s->options.bind)
		bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.ports_reap), &run);
	err = ports_books_pools(&s->books);
	/* ports that are only bound change slowly; and they explain a bind() that found none */
	if (!err && (!s->files_ns || start - s->files_ns > s->files_took_ns * FILES_SHARE + LOOK_NS || look_failures(s, false)))
		err = look_files(s);
	if (!err)
		err = bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.ports_clock), &run);
	if (!err)
		err = ring_buffer__consume(s->rings);
	if (err < 0)
		return err;
	ports_clear_now(model);
	model->now_ns = s->state->clock.ns;
	err = ports_books_flows(&s->books, s->state->clock.jiffies);
	if (!err)
		err = look_sockets(s);
	if (!err)
		err = look_owners(s);
	if (!err && with_stacks)
		err = ports_books_stacks(&s->books, s->options.no_stacks);
	if (err)
		return err;
	look_failures(s, true);
	look_select(s);
	err = ports_judge(model);
	s->look_ns = start;
	s->look_took_ns = time_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	s->unseen = false;
	return err;
}

static int ports_attach(struct source *s)
{
	struct ports_bpf *skel = s->skel;
	int err = 0;

	if (s->options.exact_tw) {
		err = attach_program(&skel->links.ports_tw_end, skel->progs.ports_tw_end, "watching the ends of TIME_WAIT");
		if (!err)
			err = attach_program(&skel->links.ports_tw_start, skel->progs.ports_tw_start, "watching TIME_WAIT");
	}
	if (!err && s->options.udp)
		err = attach_program(&skel->links.ports_udp, skel->progs.ports_udp, "watching UDP sends");
	if (!err && s->options.bind)
		err = attach_binds(s);
	if (!err)
		err = attach_program(&skel->links.ports_gone, skel->progs.ports_gone, "watching the ends of TCP sockets");
	if (!err)
		err = attach_program(&skel->links.ports_change, skel->progs.ports_change, "watching TCP sockets");
	if (err)
		return err;
	s->options.model->start_ns = time_ns(CLOCK_MONOTONIC);
	s->options.model->start_wall_ns = time_ns(CLOCK_REALTIME);
	err = ports_look_now(s, false);
	if (err == -EPERM || err == -EACCES)
		return ports_namespaces_error(&s->options, err);
	return err;
}

static void ports_detach(struct source *s)
{
	bpf_link__destroy(s->skel->links.ports_gone);
	bpf_link__destroy(s->skel->links.ports_change);
	bpf_link__destroy(s->skel->links.ports_tw_start);
	bpf_link__destroy(s->skel->links.ports_tw_end);
	bpf_link__destroy(s->skel->links.ports_udp);
	s->skel->links.ports_change = s->skel->links.ports_gone = s->skel->links.ports_udp = NULL;
	s->skel->links.ports_tw_start = s->skel->links.ports_tw_end = NULL;
	for (size_t i = 0; i < sizeof(s->binds) / sizeof(s->binds[0]); i++) {
		bpf_link__destroy(s->binds[i]);
		s->binds[i] = NULL;
	}
}

static int ports_fd(const struct source *s)
{
	return ring_buffer__epoll_fd(s->rings);
}

/*
 * New stacks become stacks of their processes as soon as they are here, for those may end before the next look. It
 * may take a twentieth of the time.
 */
static int look_names(struct source *s)
{
	uint64_t now = time_ns(CLOCK_MONOTONIC), cpu = time_ns(CLOCK_THREAD_CPUTIME_ID);
	int err;

	if (s->stacks.known == s->names_known || now - s->names_ns < s->names_took_ns * 20)
		return 0;
	err = ports_books_flows(&s->books, s->state->clock.jiffies);
	if (!err)
		err = ports_books_stacks(&s->books, s->options.no_stacks);
	s->names_known = s->stacks.known;
	s->names_ns = now;
	s->names_took_ns = time_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return err;
}

static int ports_on_event(struct source *s)
{
	uint64_t now = time_ns(CLOCK_MONOTONIC);
	int err = ring_buffer__consume(s->rings);

	if (err >= 0)
		err = s->err ? s->err : s->stacks.err;
	if (!err)
		err = unwind_many_work(&s->unwind);
	if (!err)
		err = look_names(s);
	if (err)
		return log_error(err, "reading events: %s", strerror(-err));
	if (now - s->look_ns < (s->unseen ? SOON_NS : LOOK_NS) || now - s->look_ns < s->look_took_ns * LOOK_SHARE)
		return 0;
	err = ports_look_now(s, false);
	return err ? log_error(err, "looking at the sockets: %s", strerror(-err)) : 0;
}

static int ports_snapshot(struct source *s)
{
	int err = ports_look_now(s, true);

	if (err)
		return log_error(err, "looking at the sockets: %s", strerror(-err));
	set_losses(s);
	return 0;
}

static uint64_t ports_kernel_bytes(const struct source *s)
{
	return loader_map_bytes(s->skel->obj) + unwinder_bytes(&s->unwinder);
}

bool ports_is_same_process(const struct source *s, uint32_t process, const struct target *t)
{
	return ports_owners_is_same(&s->owners, process, t);
}

const struct source_type ports_source = {
	.name = "ports",
	.values = ports_values,
	.open = ports_open,
	.attach = ports_attach,
	.fd = ports_fd,
	.on_event = ports_on_event,
	.snapshot = ports_snapshot,
	.kernel_bytes = ports_kernel_bytes,
	.detach = ports_detach,
	.close = ports_close,
};
