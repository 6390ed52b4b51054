/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walker on real stacks: programs that stand still, their registers and memory read from outside, tables made by the
 * product from their files. The other opinion is libdw's own unwinder, at the same moment of the same process.
 */
#include "unwind_host.h"

#include <elfutils/libdwfl.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "cmd/parser.h"
#include "target/target.h"

#if defined(__x86_64__)

#define FRAMES_MAX	400

struct frames {
	size_t cnt;
	__u64 pcs[FRAMES_MAX];
	bool exact[FRAMES_MAX];
};

/* A program that stands still, and all that looks at it. */
struct lab {
	pid_t pid, tid;
	FILE *out;
	int in;
	struct target *target;
	struct unwind_tables *tables;
	Dwfl *dwfl;
};

static struct worker *worker(void)
{
	static struct worker_service service;
	static struct worker *w;

	service = parser_service;
	service.data_bytes = 0;		/* sanitizers map terabytes */
	if (!w)
		CHECK_EQ(worker_start(&service, &w), 0);
	return w;
}

static int on_frame(Dwfl_Frame *state, void *arg)
{
	struct frames *f = arg;
	Dwarf_Addr pc;

	if (f->cnt == FRAMES_MAX || !dwfl_frame_pc(state, &pc, &f->exact[f->cnt]))
		return DWARF_CB_ABORT;
	f->pcs[f->cnt++] = pc;
	return DWARF_CB_OK;
}

static bool lab_dwfl(struct lab *l)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf, .find_debuginfo = dwfl_standard_find_debuginfo,
	};

	l->dwfl = dwfl_begin(&callbacks);
	return l->dwfl && !dwfl_linux_proc_report(l->dwfl, l->pid) && !dwfl_report_end(l->dwfl, NULL, NULL) &&
	       !dwfl_linux_proc_attach(l->dwfl, l->pid, true);
}

/* The last thread there is: the one that pauses. */
static pid_t last_thread(pid_t pid)
{
	pid_t last = pid;
	struct dirent *e;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (atoi(e->d_name) > last)
			last = atoi(e->d_name);
	if (dir)
		closedir(dir);
	return last;
}

static void lab_close(struct lab *l)
{
	int status;

	if (l->dwfl)
		dwfl_end(l->dwfl);
	unwind_tables_close(l->tables);
	target_free(l->target);
	if (l->pid > 0) {
		kill(l->pid, SIGKILL);
		/* a thread that we trace is ours to bury, and before its leader */
		while (l->tid && l->tid != l->pid && waitpid(l->tid, &status, __WALL) == l->tid && WIFSTOPPED(status))
			;
		waitpid(l->pid, NULL, __WALL);
	}
	if (l->out)
		fclose(l->out);
	close(l->in);
	host_close();
}

static bool lab_start(struct lab *l, const char *program, char *const argv[])
{
	const char *folder = getenv("PROGRAMS");
	char path[512], line[64];
	int in[2], out[2];

	snprintf(path, sizeof(path), "%s/%s", folder ? folder : "build/tests/programs", program);
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		abort();
	l->pid = fork();
	if (!l->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(path, argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	l->in = in[1];
	l->out = fdopen(out[0], "r");
	return fgets(line, sizeof(line), l->out) && write(l->in, "go\n", 3) == 3 && fgets(line, sizeof(line), l->out);
}

/* Where it pauses, stopped, with tables made. */
static bool lab_open(struct lab *l, const char *program, const char *mode, const char *n)
{
	char *const argv[] = { (char *)program, (char *)mode, (char *)n, NULL };
	struct unwind_identity id = { .pid = 1 };
	enum target_problem problem;
	struct unwind_maps maps;
	pid_t tgid;
	int status;

	*l = (struct lab){ .in = -1 };
	host_open();
	maps = (struct unwind_maps){ .processes_fd = host.processes_fd, .mappings_fd = host.mappings_fd,
				     .rules_fd = host.rules_fd, .pids_fd = -1, .chunks_fd = -1, .processes_max = 1,
				     .mappings_max = HOST_MAPPINGS, .rows_max_bytes = 256u << 20 };
	if (!CHECK(worker()) || !CHECK(lab_start(l, program, argv)))
		return false;
	l->tid = last_thread(l->pid);
	host.pid = l->pid;
	return CHECK_EQ(target_open(l->pid, worker(), &l->target, &problem, &tgid), 0) &&
	       CHECK_EQ(unwind_tables_open(&maps, worker(), &l->tables), 0) &&
	       CHECK_EQ(unwind_tables_set(l->tables, &id, l->target), 0) &&
	       CHECK_EQ(ptrace(PTRACE_ATTACH, l->tid, 0, 0), 0) && CHECK_EQ(waitpid(l->tid, &status, __WALL), l->tid) &&
	       CHECK(lab_dwfl(l));
}

static struct user_regs_struct lab_regs(const struct lab *l)
{
	struct user_regs_struct regs = { 0 };

	CHECK_EQ(ptrace(PTRACE_GETREGS, l->tid, 0, &regs), 0);
	return regs;
}

static __u32 lab_take(const struct lab *l, __u32 (*take)(struct pt_regs *ctx))
{
	struct user_regs_struct regs = lab_regs(l);

	return host_take(take, regs.rip, regs.rsp, regs.rbp);
}

static void frames_print(const struct stack_event *e, const struct frames *f)
{
	for (size_t i = 0; i < e->frames_cnt || i < f->cnt; i++)
		fprintf(stderr, "  %2zu walker %#llx, libdw %#llx\n", i,
			i < e->frames_cnt ? (unsigned long long)e->frames[i] : 0,
			i < f->cnt ? (unsigned long long)f->pcs[i] : 0);
}

static bool has_cfi(const struct lab *l, __u64 addr)
{
	Dwfl_Module *module = dwfl_addrmodule(l->dwfl, addr);
	Dwarf_Frame *frame = NULL;
	Dwarf_Addr bias;
	Dwarf_CFI *cfi = module ? dwfl_module_eh_cfi(module, &bias) : NULL;

	if (!cfi || dwarf_cfi_addrframe(cfi, addr - bias, &frame))
		return false;
	free(frame);
	return true;
}

/*
 * At code without CFI (crtstuff.c's) libdw guesses by the frame pointer, also where a function has only begun, and the
 * walker knows entries. So there libdw says nothing now; but what lies above is what it said before.
 */
static bool tail_same(const struct lab *l, const struct stack_event *e, const struct frames *last)
{
	size_t i = 0;

	while (i < e->frames_cnt && !has_cfi(l, STACK_FRAME_ADDR(e->frames[i]) - !!i))
		i++;
	for (i++; i < e->frames_cnt; i++)
		if (e->frames_cnt - i > last->cnt || STACK_FRAME_ADDR(e->frames[i]) != last->pcs[last->cnt - (e->frames_cnt - i)])
			return false;
	return true;
}

/*
 * The walker's frames are libdw's: all of them, or (when it was cut) as many as it has. last: libdw's frames of a
 * moment ago, kept up to date; NULL: all code has CFI, or keeps frame pointers.
 */
static bool frames_same(const char *name, const struct lab *l, __u32 index, enum stack_end end, struct frames *last)
{
	const struct stack_event *e = &host.events[index];
	struct frames f = { 0 };
	size_t bad = 0;

	if (!CHECK(index >= STACK_FIRST && index < HOST_STACKS))
		return false;
	dwfl_getthread_frames(l->dwfl, l->tid, on_frame, &f);
	bad += e->end != end;
	if (last && !has_cfi(l, STACK_FRAME_ADDR(e->frames[0]))) {
		bad += end == STACK_ENDED ? !tail_same(l, e, last) : end != STACK_CUT_POINTER;
	} else {
		bad += end == STACK_ENDED ? e->frames_cnt != f.cnt : e->frames_cnt > f.cnt;
		for (size_t i = 0; !bad && i < e->frames_cnt; i++)
			bad += STACK_FRAME_ADDR(e->frames[i]) != f.pcs[i];
		if (last)
			*last = f;
	}
	if (bad) {
		fprintf(stderr, "%s: ends as %u, want %u\n", name, e->end, end);
		frames_print(e, &f);
	}
	return CHECK_EQ(bad, 0);
}

static void lab_compare(const char *program, const char *mode, const char *n, enum stack_end end)
{
	struct lab l;
	__u32 index;

	if (lab_open(&l, program, mode, n)) {
		index = lab_take(&l, NULL);
		frames_same(mode, &l, index, end, NULL);
		CHECK_EQ(lab_take(&l, NULL), index);
		CHECK_EQ(host.events_cnt, 1);
		CHECK_EQ(host.state.ends[end], end == STACK_ENDED ? 0 : 2);
	}
	lab_close(&l);
}

/* Tables whose mappings are gone meanwhile are not used; what goes elsewhere does not matter. */
TEST(overtaken)
{
	struct unwind_identity id = { .pid = 1 };
	struct stack_state *state = &host.state;
	const struct target_mapping *map;
	uint64_t generation;
	struct lab l;

	if (!lab_open(&l, "unwindlab", "deep", "3"))
		goto out;
	map = target_mapping_at(l.target, lab_regs(&l).rip);
	if (!CHECK(map != NULL))
		goto out;
	generation = host.process->spaces[host.process->current].generation;
	unwind_tables_watch(l.tables, state, 0);
	stack_code_gone(map->end + (1 << 30), map->end + (1 << 30) + 4096);
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), 0);
	CHECK(host.process->spaces[host.process->current].generation > generation);
	generation = host.process->spaces[host.process->current].generation;
	stack_code_gone(map->start, map->end);
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), -EAGAIN);
	CHECK(host.process->spaces[host.process->current].generation / UNWIND_GENERATIONS == generation / UNWIND_GENERATIONS);
	/* read again since then */
	unwind_tables_watch(l.tables, state, state->gone_cnt);
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), 0);
	/* more than is kept: not known */
	for (unsigned int n = 0; n < STACK_GONE_KEPT; n++)
		stack_code_gone(map->end + (1 << 30), map->end + (1 << 30) + 4096);
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), -EAGAIN);
	unwind_tables_watch(l.tables, state, state->gone_cnt);
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), 0);
	/* one that is being written */
	state->gone_cnt++;
	CHECK_EQ(unwind_tables_set(l.tables, &id, l.target), -EAGAIN);
out:
	lab_close(&l);
}

TEST(modes)
{
	static const char *const modes[] = {
		"alloca", "large", "frame", "realigned", "noreturn", "tail", "signal", "fault", "nested", "longjmp",
		"thread", "qsort", "once", "asm_cfi",
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		lab_compare("unwindlab", modes[i], NULL, STACK_ENDED);
}

TEST(depths)
{
	lab_compare("unwindlab", "deep", "1", STACK_ENDED);
	lab_compare("unwindlab", "deep", "22", STACK_ENDED);
	lab_compare("unwindlab", "deep", "105", STACK_ENDED);
	lab_compare("unwindlab", "deep", "200", STACK_CUT_DEPTH);
}

TEST(static_program)
{
	lab_compare("unwindlab-static", "deep", "9", STACK_ENDED);
	lab_compare("unwindlab-static", "signal", NULL, STACK_ENDED);
	lab_compare("unwindlab-static", "qsort", NULL, STACK_ENDED);
}

struct steps {
	size_t done, ended, calls, returns, remembered;
	size_t cut[STACK_ENDS];
	struct frames last;
};

/* One instruction. False when the program has ended. */
static bool lab_step(const struct lab *l)
{
	int status;

	return !ptrace(PTRACE_SINGLESTEP, l->tid, 0, 0) && waitpid(l->tid, &status, __WALL) == l->tid &&
	       WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* What the walker says in the middle of whatever the program does: libdw's frames, or the first of them and why not all. */
static bool step_compare(const char *name, const struct lab *l, struct steps *s, __u32 (*take)(struct pt_regs *ctx))
{
	__u32 index = lab_take(l, take);
	enum stack_end end;

	if (!CHECK(index >= STACK_FIRST && index < HOST_STACKS))
		return false;
	end = host.events[index].end;
	s->ended += end == STACK_ENDED;
	s->cut[end]++;
	return frames_same(name, l, index, end, &s->last);
}

/* Steps through what comes after the pause; calls and returns are taken as a probe would take them. */
static void lab_steps(const char *program, const char *mode, size_t cnt, struct steps *s)
{
	struct user_regs_struct before, after;
	bool good;
	struct lab l;
	__u64 top;

	good = lab_open(&l, program, mode, NULL) && CHECK_EQ(write(l.in, "on\n", 3), 3);
	s->last.cnt = 0;
	host_set(&stack_memos, HOST_MEMOS);
	host_set(&stack_check, 1);
	after = good ? lab_regs(&l) : (struct user_regs_struct){ 0 };
	for (size_t i = 0; good && i < cnt && lab_step(&l); i++) {
		before = after;
		after = lab_regs(&l);
		if (host.ids_cnt > HOST_STACKS / 2) {	/* as many as there are instructions */
			memset(host.memos, 0, HOST_SEATS * HOST_MEMOS * sizeof(*host.memos));
			host.ids_cnt = host.events_cnt = 0;
			host.state.next = STACK_FIRST;
		}
		s->done++;
		good = step_compare(mode, &l, s, NULL);
		good = good && step_compare(mode, &l, s, NULL);	/* remembered, and walked again: see stack_check */
		top = 0;
		if (after.rsp == before.rsp - 8 && !shim_probe_read_user(&top, 8, (void *)after.rsp) &&
		    top > before.rip && top - before.rip <= 7 && after.rip != top) {
			s->calls++;
			good = good && step_compare(mode, &l, s, stack_take_entry);
		} else if (after.rsp == before.rsp + 8 && !shim_probe_read_user(&top, 8, (void *)before.rsp) &&
			   top == after.rip) {
			s->returns++;
			good = good && step_compare(mode, &l, s, stack_take);
			good = good && step_compare(mode, &l, s, stack_take);
		}
	}
	s->remembered += host.state.memo_cnt;
	CHECK_EQ(host.state.memo_wrong_cnt, 0);
	lab_close(&l);
}

/* Every instruction of prologues, epilogues, the PLT, the dynamic linker, the C library. */
TEST(steps)
{
	static const char *const modes[] = { "deep", "qsort", "realigned", "signal", "alloca" };
	struct steps s = { 0 };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		lab_steps("unwindlab", modes[i], 3000, &s);
	/* rbx of _dl_runtime_resolve, which rows cannot say; crtstuff.c's prologues. Each is taken twice */
	for (int i = 1; i < STACK_ENDS; i++)
		CHECK(i == STACK_CUT_RULE || i == STACK_CUT_POINTER ? s.cut[i] < 2 * s.done / 200 : !s.cut[i]);
	CHECK(s.remembered > s.done / 2);
	CHECK(s.done > 6000 && s.calls > 100 && s.returns > 100);
}

TEST_MAIN(TEST_CASE(modes), TEST_CASE(depths), TEST_CASE(static_program), TEST_CASE(steps), TEST_CASE(overtaken))

#else

TEST(modes) { TEST_SKIP("there are no rows on this machine"); }

TEST_MAIN(TEST_CASE(modes))

#endif
