/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Up to five objects, one set of maps:
 *
 *	skel     the maps; helpers; entries, returns and frees of the first way of attaching
 *	session  entry and return in one program; where the kernel has them (leak_session.bpf.c)
 *	perf     entries, returns and frees as perf events want them: loaded when the target forks
 *	pairs    entries and rets of what must have no return probe (leak_pairs.bpf.c): loaded when a plan has such sites
 *
 * A child that is forked inherits the breakpoints. Those of perf events the kernel takes out there at the first hit;
 * those of uprobe.multi and uprobe.session links stay for as long as the links live, and a malloc+free pair in the child
 * costs 1,300 ns instead of 10, for nothing (Linux 6.18: a multi link's handler only ever asks for removal itself).
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "base/privileges.h"
#include "leak.skel.h"
#include "leak_pairs.skel.h"
#include "leak_session.skel.h"
#include "source/leak_programs.h"
#include "source/loader.h"

#define OVERLAP_US	50000	/* of the probes of two ways of attaching; a call takes some microseconds, or waits for a lock */

/* What was attached together. */
struct site_set {
	struct plan plan;		/* its own list of sites, of which all else is the plan's that they were taken from */
	struct attach *attach;
};

struct leak_programs {
	enum attach_mode mode;
	struct leak_settings settings;
	struct unwinder_settings stacks;
	struct leak_bpf *skel;
	struct leak_session_bpf *session;	/* NULL unless mode is or was ATTACH_SESSION */
	struct leak_bpf *perf;			/* NULL until leak_programs_spare_children() */
	struct leak_pairs_bpf *pairs[2];	/* for multi links, and for perf events; NULL until they are needed */
	struct site_set *sets;			/* in the order of attaching */
	size_t sets_cnt;
};

static void constants_fill(const struct leak_programs *p, struct leak_bpf *skel)
{
	memcpy((void *)&skel->rodata->settings, &p->settings, sizeof(p->settings));
	UNWINDER_CONSTANTS(skel, &p->stacks);
}

/* The types of the programs that are attached to the target; those that ATTACH_SESSION has elsewhere are left out. */
static void programs_choose(struct leak_bpf *skel, enum attach_mode mode)
{
	struct bpf_program *const probes[] = {
		skel->progs.leak_enter, skel->progs.leak_return, skel->progs.leak_free, skel->progs.leak_loaded,
	};

	bpf_program__set_autoload(skel->progs.leak_enter, mode != ATTACH_SESSION);
	bpf_program__set_autoload(skel->progs.leak_return, mode != ATTACH_SESSION);
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		bpf_program__set_expected_attach_type(probes[i], attach_type(mode));
}

static int load_session(struct leak_programs *p)
{
	int err;

	p->session = leak_session_bpf__open();
	if (!p->session)
		return -errno;
	memcpy((void *)&p->session->rodata->settings, &p->settings, sizeof(p->settings));
	UNWINDER_CONSTANTS(p->session, &p->stacks);
	bpf_program__set_expected_attach_type(p->session->progs.leak_session, ATTACH_TYPE_SESSION);
	err = loader_share_maps(p->session->obj, p->skel->obj);
	return err ? err : leak_session_bpf__load(p->session);
}

static int load_pairs(struct leak_programs *p, enum attach_mode mode)
{
	struct leak_pairs_bpf **pairs = &p->pairs[mode == ATTACH_PERF];
	int err;

	*pairs = leak_pairs_bpf__open();
	if (!*pairs)
		return -errno;
	memcpy((void *)&(*pairs)->rodata->settings, &p->settings, sizeof(p->settings));
	UNWINDER_CONSTANTS(*pairs, &p->stacks);
	bpf_program__set_expected_attach_type((*pairs)->progs.pair_enter, attach_type(mode));
	bpf_program__set_expected_attach_type((*pairs)->progs.pair_ret, attach_type(mode));
	bpf_program__set_expected_attach_type((*pairs)->progs.pair_release, attach_type(mode));
	err = loader_share_maps((*pairs)->obj, p->skel->obj);
	if (!err)
		err = leak_pairs_bpf__load(*pairs);
	if (err) {
		leak_pairs_bpf__destroy(*pairs);
		*pairs = NULL;
	}
	return err;
}

static int load_all(struct leak_programs *p, bool pairs)
{
	int err;

	p->skel = leak_bpf__open();
	if (!p->skel)
		return -errno;
	constants_fill(p, p->skel);
	programs_choose(p->skel, p->mode);
	err = unwinder_size(p->skel->obj, &p->stacks);
	if (!err)
		err = leak_bpf__load(p->skel);
	if (!err && p->mode == ATTACH_SESSION)
		err = load_session(p);
	return err || !pairs ? err : load_pairs(p, p->mode);
}

int leak_programs_load(enum attach_mode mode, const struct leak_settings *set, const struct unwinder_settings *stacks,
		       bool pairs, struct leak_programs **ret)
{
	struct leak_programs *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->mode = mode;
	p->settings = *set;
	p->stacks = *stacks;
	err = load_all(p, pairs);
	if (err)
		leak_programs_free(p);
	else
		*ret = p;
	return err;
}

struct leak_programs *leak_programs_free(struct leak_programs *p)
{
	if (!p)
		return NULL;
	leak_programs_detach(p);
	leak_pairs_bpf__destroy(p->pairs[0]);
	leak_pairs_bpf__destroy(p->pairs[1]);
	leak_bpf__destroy(p->perf);
	leak_session_bpf__destroy(p->session);
	leak_bpf__destroy(p->skel);
	free(p);
	return NULL;
}

struct bpf_object *leak_programs_object(const struct leak_programs *p)
{
	return p->skel->obj;
}

int leak_programs_map(const struct leak_programs *p, const char *name)
{
	return bpf_object__find_map_fd_by_name(p->skel->obj, name);
}

int leak_programs_run_fd(const struct leak_programs *p, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(p->skel->obj, name));
}

int leak_programs_watch(struct leak_programs *p)
{
	const struct {
		struct bpf_program *prog;
		struct bpf_link **link;
	} life[] = {
		{ p->skel->progs.leak_exec, &p->skel->links.leak_exec },
		{ p->skel->progs.leak_exit, &p->skel->links.leak_exit },
		{ p->skel->progs.leak_fork, &p->skel->links.leak_fork },
		{ p->skel->progs.leak_mapped, &p->skel->links.leak_mapped },
	};

	for (size_t i = 0; i < sizeof(life) / sizeof(life[0]); i++) {
		*life[i].link = bpf_program__attach(life[i].prog);
		if (!*life[i].link)
			return -errno;
	}
	return 0;
}

static bool has_pairs(const struct plan *plan)
{
	for (size_t i = 0; i < plan->sites_cnt; i++)
		if (plan->sites[i].role == PLAN_RET || plan->sites[i].kind == PROBE_RELEASE)
			return true;
	return false;
}

static void programs_of(const struct leak_programs *p, enum attach_mode mode, struct attach_programs *ret)
{
	const struct leak_bpf *skel = mode == ATTACH_PERF && p->perf ? p->perf : p->skel;
	const struct leak_pairs_bpf *pairs = p->pairs[mode == ATTACH_PERF];

	*ret = (struct attach_programs){
		.session_fd = p->session ? bpf_program__fd(p->session->progs.leak_session) : -1,
		.enter_fd = bpf_program__fd(skel->progs.leak_enter),
		.return_fd = bpf_program__fd(skel->progs.leak_return),
		.free_fd = bpf_program__fd(skel->progs.leak_free),
		.begin_fd = pairs ? bpf_program__fd(pairs->progs.pair_enter) : -1,
		.ret_fd = pairs ? bpf_program__fd(pairs->progs.pair_ret) : -1,
		.loaded_fd = bpf_program__fd(skel->progs.leak_loaded),
		.release_fd = pairs ? bpf_program__fd(pairs->progs.pair_release) : -1,
	};
}

/* Where a return address means that a probed function has called another one, by the mappings of now. */
static void ranges_fill(const struct leak_programs *p, struct leak_state *state)
{
	struct leak_range hull = { 0 };
	uint32_t cnt = 0;

	for (size_t i = 0; i < p->sets_cnt; i++)
		for (size_t n = 0; n < p->sets[i].plan.sites_cnt && cnt < LEAK_RANGES_MAX; n++) {
			const struct plan_site *s = &p->sets[i].plan.sites[n];
			struct leak_range r = { .start = target_addr(s->module, s->entry_va), .domain = COOKIE_DOMAIN(s->shape) };

			if ((s->role != PLAN_CALL && s->role != PLAN_BEGIN) || !s->size_bytes || probe_maps(s->kind))
				continue;
			r.end = r.start + s->size_bytes + 1;	/* a return address may be the end: the call was the last instruction */
			state->ranges[cnt++] = r;
			hull.start = cnt == 1 || r.start < hull.start ? r.start : hull.start;
			hull.end = r.end > hull.end ? r.end : hull.end;
		}
	/* programs are reading: an empty range is none, and the hull covers the old ones until all are there */
	while (cnt < LEAK_RANGES_MAX)
		state->ranges[cnt++] = (struct leak_range){ 0 };
	state->hull = hull;
}

static int load_perf(struct leak_programs *p)
{
	int err;

	p->perf = leak_bpf__open();
	if (!p->perf)
		return -errno;
	constants_fill(p, p->perf);
	programs_choose(p->perf, ATTACH_PERF);
	err = loader_share_maps(p->perf->obj, p->skel->obj);
	if (!err)
		err = leak_bpf__load(p->perf);
	if (err) {
		leak_bpf__destroy(p->perf);
		p->perf = NULL;
	}
	return err;
}

/* Adds a set with these sites, whose list it takes over. */
static int set_attach(struct leak_programs *p, enum attach_mode mode, struct plan_site *sites, size_t sites_cnt,
		      const struct target *t, struct leak_state *state)
{
	struct site_set *more = realloc(p->sets, (p->sets_cnt + 1) * sizeof(*more)), *set;
	struct attach_programs progs;
	int err = more ? 0 : -ENOMEM;

	if (more)
		p->sets = more;
	if (!err) {
		set = &p->sets[p->sets_cnt];
		*set = (struct site_set){ .plan = { .sites = sites, .sites_cnt = sites_cnt } };
		if (has_pairs(&set->plan) && !p->pairs[mode == ATTACH_PERF])
			err = load_pairs(p, mode);
	}
	if (!err) {
		programs_of(p, mode, &progs);
		p->sets_cnt++;
		ranges_fill(p, state);	/* before a nested call can be met */
		privileges_raise(PRIVILEGE(CAP_SYS_ADMIN));	/* for ATTACH_PERF: perf_uprobe_event_init() of the kernel */
		err = attach_plan(&set->plan, t, mode, &progs, &set->attach);
		privileges_lower(PRIVILEGE(CAP_SYS_ADMIN));
		if (err) {
			p->sets_cnt--;
			ranges_fill(p, state);
		}
	}
	if (err)
		free(sites);
	return err;
}

/* Sets [first, end): in the other order, so that no block is seen born whose death could be missed. */
static void sets_detach(struct leak_programs *p, size_t first, size_t end)
{
	for (size_t i = end; i > first; i--) {
		attach_free(p->sets[i - 1].attach);
		free(p->sets[i - 1].plan.sites);
	}
	if (end < p->sets_cnt)
		memmove(&p->sets[first], &p->sets[end], (p->sets_cnt - end) * sizeof(*p->sets));
	p->sets_cnt -= end - first;
}

void leak_programs_detach(struct leak_programs *p)
{
	sets_detach(p, 0, p->sets_cnt);
	free(p->sets);
	p->sets = NULL;
}

static bool is_attached(const struct leak_programs *p, const struct plan_site *site)
{
	for (size_t i = 0; i < p->sets_cnt; i++)
		for (size_t n = 0; n < p->sets[i].plan.sites_cnt; n++) {
			const struct plan_site *s = &p->sets[i].plan.sites[n];

			if (s->module == site->module && s->off == site->off && s->kind == site->kind && s->role == site->role &&
			    s->shape == site->shape)
				return true;
		}
	return false;
}

/* Sites of files that were unmapped. If a file comes again its sites are new ones. */
static void sites_forget(struct leak_programs *p, const struct target *t)
{
	for (size_t i = 0; i < p->sets_cnt; i++) {
		struct plan *plan = &p->sets[i].plan;
		size_t out = 0;

		for (size_t n = 0; n < plan->sites_cnt; n++) {
			if (target_module_is_mapped(t, plan->sites[n].module))
				plan->sites[out++] = plan->sites[n];
			else
				attach_forget(p->sets[i].attach, plan->sites[n].module);
		}
		plan->sites_cnt = out;
	}
}

int leak_programs_attach(struct leak_programs *p, const struct plan *plan, const struct target *t, struct leak_state *state,
			 size_t *ret_added)
{
	struct plan_site *sites = calloc(plan->sites_cnt + 1, sizeof(*sites));
	size_t cnt = 0;
	int err = 0;

	if (!sites)
		return -ENOMEM;
	sites_forget(p, t);
	for (size_t i = 0; i < plan->sites_cnt; i++)
		if (!is_attached(p, &plan->sites[i]))
			sites[cnt++] = plan->sites[i];
	if (cnt)
		err = set_attach(p, p->mode, sites, cnt, t, state);
	else
		free(sites);
	ranges_fill(p, state);	/* what is mapped again may be elsewhere */
	if (!err)
		*ret_added = cnt;
	return err;
}

int leak_programs_spare_children(struct leak_programs *p, const struct target *t, struct leak_state *state)
{
	size_t old_cnt = p->sets_cnt;
	int err = load_perf(p);

	/* what both see is booked once: see book_birth(), and a block that is gone cannot go again */
	for (size_t i = 0; i < old_cnt && !err; i++) {
		const struct plan *plan = &p->sets[i].plan;
		struct plan_site *sites = calloc(plan->sites_cnt + 1, sizeof(*sites));

		if (sites)
			memcpy(sites, plan->sites, plan->sites_cnt * sizeof(*sites));
		err = sites ? set_attach(p, ATTACH_PERF, sites, plan->sites_cnt, t, state) : -ENOMEM;
	}
	if (err) {
		sets_detach(p, old_cnt, p->sets_cnt);
		return err;
	}
	/* who was in malloc when the new probes came is known to the old ones only: they stay until it is back */
	usleep(OVERLAP_US);
	sets_detach(p, 0, old_cnt);
	ranges_fill(p, state);
	p->mode = ATTACH_PERF;
	return 0;
}

/* A library that was made to be an allocator: not the program, and not the C library, which maps for others as well. */
static bool is_allocator_file(const struct plan_site *site)
{
	const char *slash = strrchr(site->module->path, '/'), *base = slash ? slash + 1 : site->module->path;

	return !site->module->is_exe && strncmp(base, "libc.", 5) && strncmp(base, "libc-", 5) && strncmp(base, "ld", 2) &&
	       (site->kind == PROBE_MALLOC || site->kind == PROBE_CALLOC);
}

bool leak_programs_allocates(const struct leak_programs *p, const struct target *t, uint64_t addr, bool is_caller)
{
	const struct target_mapping *map = target_mapping_at(t, addr);

	for (size_t i = 0; map && i < p->sets_cnt; i++)
		for (size_t n = 0; n < p->sets[i].plan.sites_cnt; n++) {
			const struct plan_site *s = &p->sets[i].plan.sites[n];
			uint64_t start = target_addr(s->module, s->entry_va);

			if (s->module != map->module || probe_maps(s->kind) || s->kind == PROBE_LOADED)
				continue;
			if ((is_caller && is_allocator_file(s)) || (addr >= start && addr < start + s->size_bytes))
				return true;
		}
	return false;
}

enum attach_mode leak_programs_mode(const struct leak_programs *p)
{
	return p->mode;
}

#define OBJECTS_MAX	5

static size_t objects_of(const struct leak_programs *p, const struct bpf_object *ret[OBJECTS_MAX])
{
	size_t cnt = 0;

	ret[cnt++] = p->skel->obj;
	if (p->session)
		ret[cnt++] = p->session->obj;
	if (p->perf)
		ret[cnt++] = p->perf->obj;
	for (int i = 0; i < 2; i++)
		if (p->pairs[i])
			ret[cnt++] = p->pairs[i]->obj;
	return cnt;
}

void leak_programs_add_runs(const struct leak_programs *p, uint64_t *cnt, uint64_t *ns)
{
	const struct bpf_object *objects[OBJECTS_MAX];
	size_t objects_cnt = objects_of(p, objects);

	for (size_t i = 0; i < objects_cnt; i++)
		loader_add_runs(objects[i], cnt, ns);
}

uint64_t leak_programs_missed(const struct leak_programs *p)
{
	const struct bpf_object *objects[OBJECTS_MAX];
	size_t objects_cnt = objects_of(p, objects);
	uint64_t sum = 0;

	for (size_t i = 0; i < objects_cnt; i++)
		sum += loader_missed(objects[i]);
	return sum;
}

uint64_t leak_programs_map_bytes(const struct leak_programs *p)
{
	return loader_map_bytes(p->skel->obj);
}
