/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * leak.books, leak.entry0, leak.pair: what ebb's programs cost a malloc+free pair beyond the traps themselves;
 * fork.child: what it costs in a child that is forked meanwhile.
 *
 *	bare	no probes
 *	empty	programs that only return 0, at the same sites, attached in the same way: the floor
 *	ebb	the source `leak` as `ebb leak` runs it
 *	naive	the same, but each probe at its function's first instruction
 *
 * Each round starts anew: programs are loaded and attached, the victim runs, they are detached. So where the
 * kernel puts a program, which is worth some percent, differs from round to round.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cmd/parser.h"
#include "drive.h"
#include "trace/attach.h"
#include "trace/survey.h"

#define RUN_NS		80e6	/* aimed at for one measurement with probes */
#define BOOKS_BAR	1.12
#define TRAP_CHEAP_NS	1000	/* hosts differ tenfold: where a trap is dear, a single step weighs less */

enum variant { BARE, EMPTY, EMPTY_NAIVE, EBB, NAIVE, VARIANTS };

static const char *const variant_names[VARIANTS] = {
	"bare", "empty programs", "empty programs at symbol+0", "ebb", "ebb at symbol+0",
};

struct lab {
	struct victim victim;
	struct worker *worker;
	struct target *target;
	struct survey survey, naive;
	struct selftest selftest;
	struct attach_programs empty;
	uint32_t frames;	/* of the stack that was seen most, in the last run with stacks */
	uint64_t lost;		/* by ebb, in all runs */
};

struct figures {
	double ns[VARIANTS][ROUNDS_MAX];
	int rounds;
};

static int empty_load(int expected_attach_type)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = expected_attach_type);
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "bench_empty", "GPL", insns, 2, &opts);
}

static void empty_close(struct attach_programs *p)
{
	const int fds[] = { p->session_fd, p->enter_fd, p->return_fd, p->free_fd, p->loaded_fd };

	for (int i = 0; i < 5; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int empty_open(struct attach_programs *p, enum attach_mode mode)
{
	int type = attach_type(mode);

	*p = (struct attach_programs){
		.session_fd = mode == ATTACH_SESSION ? empty_load(ATTACH_TYPE_SESSION) : -1,
		.enter_fd = empty_load(type),
		.return_fd = empty_load(type),
		.free_fd = empty_load(type),
		.loaded_fd = empty_load(type),
	};
	if ((mode == ATTACH_SESSION && p->session_fd < 0) || p->enter_fd < 0 || p->return_fd < 0 || p->free_fd < 0 ||
	    p->loaded_fd < 0)
		return -EOPNOTSUPP;
	return 0;
}

static const struct survey_options limits = { .time_ms = PARSER_TIME_MS, .data_bytes = PARSER_DATA_BYTES };

/* A plan whose sites are all at the entries. */
static int naive_plan(struct lab *lab)
{
	int err = survey_make(lab->target, &limits, &lab->naive);

	for (size_t i = 0; !err && i < lab->naive.plan->sites_cnt; i++) {
		struct plan_site *s = &lab->naive.plan->sites[i];
		unsigned char code[16];

		s->off -= s->insn.delta_bytes;
		s->addr -= s->insn.delta_bytes;
		s->insn.delta_bytes = 0;
		if (target_read(lab->target, s->addr, code, sizeof(code)) != sizeof(code))
			return -EIO;
		s->original = code[0];
		s->insn.emulated = insn_is_emulated(code, sizeof(code), s->entry_va);
	}
	return err;
}

static void lab_close(struct lab *lab)
{
	empty_close(&lab->empty);
	survey_free(&lab->survey);
	survey_free(&lab->naive);
	target_free(lab->target);
	victim_stop(&lab->victim);
	worker_stop(lab->worker);
}

static int lab_open(struct lab *lab, const char *program)
{
	enum target_problem problem;
	pid_t tgid;
	int err;

	*lab = (struct lab){ .empty = { -1, -1, -1, -1, -1, -1, -1, -1 } };
	err = victim_start(program, &lab->victim);
	if (!err)
		err = worker_start(&parser_service, &lab->worker);
	if (!err)
		err = selftest_run(ATTACH_SESSION, false, &lab->selftest);
	if (!err)
		err = target_open(lab->victim.pid, lab->worker, &lab->target, &problem, &tgid);
	if (!err)
		err = survey_make(lab->target, &limits, &lab->survey);
	if (!err)
		err = naive_plan(lab);
	if (!err)
		err = empty_open(&lab->empty, lab->selftest.mode);
	return err;
}

/*
 * After the books have grown, ebb empties their older parts in slices, at each event and every second. Here it
 * need not wait so long.
 */
static int settle(struct source *source)
{
	int err = 0;

	for (int i = 0; !err && i < 12; i++) {
		usleep(25000);
		err = leak_source.on_event(source);
	}
	return err;
}

/* A fresh heap, then what is to be held when it begins, then the measurement. */
static int run_job(struct lab *lab, const struct job *job, struct source *source, double *ret_ns)
{
	struct job prepare = *job;
	int err = 0;

	prepare.pairs = 0;
	if (job->live)
		err = victim_run(&lab->victim, &prepare, source, NULL);
	if (!err && job->live && source)
		err = settle(source);
	return err ? err : victim_run(&lab->victim, job, source, ret_ns);
}

/* What the last snapshot says of losses and of the depth of the stack that was seen most. */
static void look(struct lab *lab, const struct profile *p)
{
	int64_t most = 0;

	lab->lost += profile_lost(p);
	for (size_t i = 0; i < profile_losses_cnt(p); i++)
		if (profile_loss_at(p, i).cnt)
			fprintf(stderr, "lost by ebb: %" PRIu64 " %s\n", profile_loss_at(p, i).cnt, profile_loss_at(p, i).name);
	for (size_t i = 0; i < profile_stacks_cnt(p); i++) {
		if (profile_value(p, i, LEAK_ALLOC_BLOCKS) <= most)
			continue;
		most = profile_value(p, i, LEAK_ALLOC_BLOCKS);
		lab->frames = profile_stack_at(p, i).frames_cnt;
	}
}

/*
 * At first the source has the kernel measure its programs, which makes them dearer; it stops when it knows. The
 * meter of a session asks for it after a second.
 */
static int warm_up(struct lab *lab, const struct job *job, struct source *source)
{
	const struct job some = { .kind = job->kind, .frames = job->frames, .threads = 1, .pairs = 500 };
	int err = victim_run(&lab->victim, &some, source, NULL);

	if (!err)
		leak_source.program_ns(source);
	return err ? err : leak_source.on_event(source);	/* the first fork */
}

static int run_ebb(struct lab *lab, const struct plan *plan, bool no_stacks, const struct job *job, double *ret_ns)
{
	const struct leak_options options = { .max_memory_bytes = 256ull << 20, .no_stacks = no_stacks };
	struct source_context context = {
		.target = lab->target, .plan = plan, .selftest = &lab->selftest, .worker = lab->worker,
		.profile = profile_new(leak_source.values),
	};
	struct source *source = NULL;
	int err;

	if (!context.profile)
		return -ENOMEM;
	err = leak_source.open(&context, &options, &source);
	if (!err)
		err = leak_source.attach(source);
	if (!err)
		err = warm_up(lab, job, source);
	if (!err)
		err = run_job(lab, job, source, ret_ns);
	if (source)
		leak_source.detach(source);
	if (!err)
		err = leak_source.snapshot(source);
	if (!err)
		look(lab, context.profile);
	if (source)
		leak_source.close(source);
	profile_free(context.profile);
	return err;
}

static int run_empty(struct lab *lab, const struct plan *plan, const struct job *job, double *ret_ns)
{
	struct attach *attach = NULL;
	int err = attach_plan(plan, lab->target, lab->selftest.mode, &lab->empty, &attach);

	if (!err)
		err = run_job(lab, job, NULL, ret_ns);
	attach_free(attach);
	return err;
}

static int run_variant(struct lab *lab, enum variant v, bool no_stacks, const struct job *job, double *ret_ns)
{
	const struct job nothing = { .frames = job->frames, .threads = 1 };
	int err = victim_run(&lab->victim, &nothing, NULL, NULL);	/* gives back what it holds */

	if (err)
		return err;
	if (v == BARE)
		return run_job(lab, job, NULL, ret_ns);
	if (v == EMPTY || v == EMPTY_NAIVE)
		return run_empty(lab, v == EMPTY ? lab->survey.plan : lab->naive.plan, job, ret_ns);
	return run_ebb(lab, v == EBB ? lab->survey.plan : lab->naive.plan, no_stacks, job, ret_ns);
}

static long pairs_for(const struct lab *lab)
{
	const struct trap_price *p = &lab->selftest.price;

	return RUN_NS / (2 * p->trap_ns + p->return_ns + 200);
}

static int measure(struct lab *lab, const enum variant *variants, int cnt, bool no_stacks, const struct job *job,
		   int rounds, struct figures *f)
{
	int order[VARIANTS];

	for (f->rounds = 0; f->rounds < rounds; f->rounds++) {
		shuffle(order, cnt);
		for (int i = 0; i < cnt; i++) {
			enum variant v = variants[order[i]];
			int err = run_variant(lab, v, no_stacks, job, &f->ns[v][f->rounds]);

			if (err)
				return err;
		}
	}
	return 0;
}

static void say(const char *what, const struct figures *f, const enum variant *variants, int cnt)
{
	printf("%s, %d rounds, ns a pair:", what, f->rounds);
	for (int i = 0; i < cnt; i++)
		printf(" %s %.0f%s", variant_names[variants[i]], median(f->ns[variants[i]], f->rounds),
		       i + 1 < cnt ? "," : "\n");
	fflush(stdout);
}

static int finish(const char *name, struct lab *lab, int err)
{
	if (lab->lost)
		printf("%s: ebb lost %" PRIu64 " events: the figures are not of exact tracing\n", name, lab->lost);
	lab_close(lab);
	if (err)
		fprintf(stderr, "%s: %s\n", name, strerror(-err));
	return err;
}

int bench_leak_books(void)
{
	static const enum variant variants[] = { BARE, EMPTY, EBB };
	static const struct {
		const char *name, *words;
		struct job job;
		int rounds;
	} cases[] = {
		{ "leak.books", "tight loop", { JOB_TIGHT, 5, 1, 0, 0 }, 21 },
		{ "leak.books.threads2", "tight loop, 2 threads", { JOB_TIGHT, 5, 2, 0, 0 }, 15 },
		{ "leak.books.churn", "churn, 100,000 live", { JOB_CHURN, 5, 1, 0, 100000 }, 15 },
		{ "leak.books.churn.threads2", "churn, 100,000 live, 2 threads", { JOB_CHURN, 5, 2, 0, 100000 }, 15 },
		{ "leak.books.churn1m", "churn, 1,000,000 live", { JOB_CHURN, 5, 1, 0, 1000000 }, 7 },
	};
	struct figures f;
	struct lab lab;
	int err = lab_open(&lab, "victim");

	for (size_t i = 0; !err && i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job job = cases[i].job;
		char words[96];

		job.pairs = pairs_for(&lab);
		err = measure(&lab, variants, 3, true, &job, rounds_wanted(cases[i].rounds), &f);
		if (err)
			break;
		snprintf(words, sizeof(words), "%s, without stacks: %s", cases[i].name, cases[i].words);
		say(words, &f, variants, 3);
		result(cases[i].name, median_ratio(f.ns[EBB], f.ns[EMPTY], f.rounds), 3, BAR_MAX, BOOKS_BAR, "");
	}
	return finish("leak.books", &lab, err);
}

/* Three times: as ebb runs, without stacks, and the sites alone. What all have in common takes from the ratio. */
int bench_leak_entry0(void)
{
	static const struct {
		const char *name, *words;
		enum variant variants[3];
		bool no_stacks;
	} cases[] = {
		{ "leak.entry0", "with stacks", { BARE, EBB, NAIVE }, false },
		{ "leak.entry0.books", "without stacks", { BARE, EBB, NAIVE }, true },
		{ "leak.entry0.sites", "empty programs", { BARE, EMPTY, EMPTY_NAIVE }, false },
	};
	struct job job = { .frames = 5, .threads = 1 };
	struct figures f;
	struct lab lab;
	int err = lab_open(&lab, "victim");

	for (size_t i = 0; !err && i < sizeof(cases) / sizeof(cases[0]); i++) {
		const enum variant *v = cases[i].variants;
		char words[96];

		job.pairs = pairs_for(&lab);
		err = measure(&lab, v, 3, cases[i].no_stacks, &job, rounds_wanted(11), &f);
		if (err)
			break;
		snprintf(words, sizeof(words), "%s, %s: tight loop", cases[i].name, cases[i].words);
		say(words, &f, v, 3);
		result(cases[i].name, median_ratio(f.ns[v[2]], f.ns[v[1]], f.rounds), 2, BAR_MIN,
		       lab.selftest.price.trap_ns < TRAP_CHEAP_NS ? 3 : 1.5, "");
	}
	return finish("leak.entry0", &lab, err);
}

int bench_leak_pair(void)
{
	static const enum variant variants[] = { BARE, EMPTY, EBB };
	static const int depths[] = { 5, 22 };
	struct figures f;
	struct lab lab;
	int err = lab_open(&lab, "victim-rows");

	for (int i = 0; !err && i < 2; i++) {
		struct job job = { .frames = depths[i], .threads = 1 };
		char words[96], name[32];

		job.pairs = pairs_for(&lab);
		err = measure(&lab, variants, 3, false, &job, rounds_wanted(15), &f);
		if (err)
			break;
		snprintf(words, sizeof(words), "leak.pair, with stacks: tight loop, %d frames (%u recorded)", depths[i],
			 lab.frames);
		say(words, &f, variants, 3);
		snprintf(name, sizeof(name), "leak.pair%s", i ? ".frames22" : "");
		result(name, median_ratio(f.ns[EBB], f.ns[EMPTY], f.rounds), 3, BAR_MAX, i ? 1.35 : 1.28, "");
	}
	return finish("leak.pair", &lab, err);
}

/* In the child nothing is counted: as many pairs as take a while without probes. */
int bench_fork_child(void)
{
	static const enum variant variants[] = { BARE, EBB };
	const struct job job = { .kind = JOB_CHILD, .frames = 5, .threads = 1, .pairs = 2000000 };
	struct figures f;
	struct lab lab;
	int err = lab_open(&lab, "victim");

	if (!err)
		err = measure(&lab, variants, 2, false, &job, rounds_wanted(15), &f);
	if (!err) {
		say("fork.child, in a child after its first 1,000 pairs", &f, variants, 2);
		result("fork.child", median_ratio(f.ns[EBB], f.ns[BARE], f.rounds), 3, BAR_MAX, 1.05, "");
	}
	return finish("fork.child", &lab, err);
}
