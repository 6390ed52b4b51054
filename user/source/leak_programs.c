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
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "leak.skel.h"
#include "leak_pairs.skel.h"
#include "leak_session.skel.h"
#include "source/leak_programs.h"
#include "source/loader.h"

struct leak_programs {
	enum attach_mode mode;
	struct leak_settings settings;
	struct unwinder_settings stacks;
	struct leak_bpf *skel;
	struct leak_session_bpf *session;	/* NULL unless mode is or was ATTACH_SESSION */
	struct leak_bpf *perf;			/* NULL until leak_programs_spare_children() */
	struct leak_pairs_bpf *pairs[2];	/* for multi links, and for perf events; NULL until they are needed */
	struct attach **attached;		/* in the order of attaching */
	size_t attached_cnt;
};

static void constants_fill(const struct leak_programs *p, struct leak_bpf *skel)
{
	memcpy((void *)&skel->rodata->settings, &p->settings, sizeof(p->settings));
	UNWINDER_CONSTANTS(skel, &p->stacks);
}

/* The types of the programs that are attached to the target; those that ATTACH_SESSION has elsewhere are left out. */
static void programs_choose(struct leak_bpf *skel, enum attach_mode mode)
{
	struct bpf_program *const probes[] = { skel->progs.leak_enter, skel->progs.leak_return, skel->progs.leak_free };

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

static int load_all(struct leak_programs *p)
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
	return err || p->mode != ATTACH_SESSION ? err : load_session(p);
}

int leak_programs_load(enum attach_mode mode, const struct leak_settings *set, const struct unwinder_settings *stacks,
		       struct leak_programs **ret)
{
	struct leak_programs *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->mode = mode;
	p->settings = *set;
	p->stacks = *stacks;
	err = load_all(p);
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
	free(p->attached);
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
		.release_fd = pairs ? bpf_program__fd(pairs->progs.pair_release) : -1,
	};
}

static int attach_by(struct leak_programs *p, enum attach_mode mode, const struct plan *plan, const struct target *t)
{
	struct attach **more = realloc(p->attached, (p->attached_cnt + 1) * sizeof(struct attach *));
	struct attach_programs progs;
	int err = 0;

	if (!more)
		return -ENOMEM;
	p->attached = more;
	if (has_pairs(plan) && !p->pairs[mode == ATTACH_PERF])
		err = load_pairs(p, mode);
	if (err)
		return err;
	programs_of(p, mode, &progs);
	err = attach_plan(plan, t, mode, &progs, &p->attached[p->attached_cnt]);
	if (!err)
		p->attached_cnt++;
	return err;
}

int leak_programs_attach(struct leak_programs *p, const struct plan *plan, const struct target *t)
{
	return attach_by(p, p->mode, plan, t);
}

/* Those from `first` on, before `end`: in the other order, so that no block is seen born whose death could be missed. */
static void detach_some(struct leak_programs *p, size_t first, size_t end)
{
	for (size_t i = end; i > first; i--)
		attach_free(p->attached[i - 1]);
	memmove(&p->attached[first], &p->attached[end], (p->attached_cnt - end) * sizeof(struct attach *));
	p->attached_cnt -= end - first;
}

void leak_programs_detach(struct leak_programs *p)
{
	if (p->attached_cnt)
		detach_some(p, 0, p->attached_cnt);
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

int leak_programs_spare_children(struct leak_programs *p, const struct plan *const *plans, size_t plans_cnt,
				 const struct target *t)
{
	size_t old_cnt = p->attached_cnt;
	int err = load_perf(p);

	/* what both see is booked once: see book_birth(), and a block that is gone cannot go again */
	for (size_t i = 0; i < plans_cnt && !err; i++)
		err = attach_by(p, ATTACH_PERF, plans[i], t);
	if (err) {
		detach_some(p, old_cnt, p->attached_cnt);
		return err;
	}
	detach_some(p, 0, old_cnt);
	p->mode = ATTACH_PERF;
	return 0;
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
