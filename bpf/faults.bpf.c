/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page faults: who touches new pages, with which stack, in what memory.
 *
 * Hooks exceptions:page_fault_user (x86), which fires before a fault is handled and says whether the page was there; and
 * the software events of major and minor faults, which fire when it has been. The first tells first touch from
 * copy-on-write, the second major from minor. With the tracepoint minor events are not used, on machines without it they
 * are all there is. fork and exit keep the set of watched processes.
 *
 * Counts by process, stack and mapping; addresses are not kept.
 *
 * Misses: with the tracepoint, faults that the kernel has itself in user memory (read() into new memory, but for the major
 * ones); with either, pages that are made present without a fault (MAP_POPULATE, a neighbour's page of a file, the rest of
 * a huge page). Counted although nothing became resident: a fault that ends in a signal, one that another thread has just
 * handled.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "faults_abi.h"
#include "unwind.h"
#include "unwind.bpf.h"
#include "faults.bpf.h"

#define FAULT_WAS_PRESENT	1	/* X86_PF_PROT of the error code */
#define FAULT_WAS_WRITE		2	/* X86_PF_WRITE */

static __always_inline struct faults_counts *counts_get(const struct faults_key *key)
{
	struct faults_counts *c = bpf_map_lookup_elem(&faults_books, key), zero = {};

	if (c)
		return c;
	bpf_map_update_elem(&faults_books, key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&faults_books, key);
}

/* Whose a fault of the current process at addr is. False when it is not watched, or lost. */
static __always_inline bool fault_key(__u64 addr, struct faults_key *key)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fault_cpu *cpu;

	if (!is_watched(task))
		return false;
	cpu = fault_cpu_get();
	key->owner = owner_current(task, cpu);
	if (!key->owner) {
		count(FAULTS_LOST_OWNERS, 1);
		return false;
	}
	key->memory = memory_at(task, addr, cpu);
	key->stack = stack_take_task();
	return true;
}

static __always_inline bool is_same_key(const struct faults_key *a, const struct faults_key *b)
{
	return a->owner == b->owner && a->stack == b->stack && a->memory == b->memory;
}

/* Into the books. */
static __noinline int books_add(const struct faults_pending *p)
{
	struct faults_counts *c = counts_get(&p->key);

	if (!c) {
		count(FAULTS_LOST_COUNTS, p->counts[0] + p->counts[1] + p->counts[2] + p->counts[3]);
		return 0;
	}
	if (p->counts[FAULTS_KIND_FIRST])
		__sync_fetch_and_add(&c->first, p->counts[FAULTS_KIND_FIRST]);
	if (p->counts[FAULTS_KIND_ZERO])
		__sync_fetch_and_add(&c->zero, p->counts[FAULTS_KIND_ZERO]);
	if (p->counts[FAULTS_KIND_COPIED])
		__sync_fetch_and_add(&c->copied, p->counts[FAULTS_KIND_COPIED]);
	if (p->counts[FAULTS_KIND_MINOR])
		__sync_fetch_and_add(&c->minor, p->counts[FAULTS_KIND_MINOR]);
	return 0;
}

/* One more; what this CPU has kept of another key goes into the books. */
static __always_inline void fault_add(const struct faults_key *key, enum faults_kind kind)
{
	struct faults_pending done = {}, *p;
	__u32 zero = 0;

	p = bpf_map_lookup_elem(&faults_pending, &zero);
	if (!p || __sync_val_compare_and_swap(&p->busy, 0, 1)) {
		done.key = *key;
		done.counts[kind] = 1;
		books_add(&done);
		return;
	}
	if (!is_same_key(&p->key, key)) {
		done = *p;
		p->key = *key;
		__builtin_memset(p->counts, 0, sizeof(p->counts));
	}
	p->counts[kind]++;
	__sync_lock_test_and_set(&p->busy, 0);
	if (done.key.owner)
		books_add(&done);
}

/*
 * Major faults take tens of microseconds at least, so the time is only kept where there may be one: in files, in anonymous
 * memory when there is swap.
 */
static __always_inline bool may_be_major(__u64 memory)
{
	struct faults_shared *state = state_get();

	if (memory & FAULTS_FILE && !(memory & FAULTS_SHMEM))
		return true;
	return state && state->time_anonymous;
}

static __always_inline void begun_set(__u64 page)
{
	struct begun *begun = bpf_task_storage_get(&faults_begun, bpf_get_current_task_btf(), NULL,
						   BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!begun)
		return;		/* the major fault, if it is one, is counted as not timed */
	begun->page = page;
	begun->ns = bpf_ktime_get_ns();
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(faults_user, unsigned long addr, struct pt_regs *regs, unsigned long error)
{
	struct faults_key key = {};
	bool zero;

	if (!fault_key(addr, &key))
		return 0;
	if (error & FAULT_WAS_PRESENT) {
		fault_add(&key, FAULTS_KIND_COPIED);
		return 0;
	}
	zero = key.memory && !(key.memory & (FAULTS_FILE | FAULTS_UNMAPPED)) && !(error & FAULT_WAS_WRITE);
	fault_add(&key, zero ? FAULTS_KIND_ZERO : FAULTS_KIND_FIRST);
	if (may_be_major(key.memory))
		begun_set((addr & ~0xfffull) | (zero ? BEGUN_ZERO : 0));
	return 0;
}

static __always_inline bool was_user(const struct bpf_perf_event_data *ctx)
{
#if defined(__TARGET_ARCH_arm64)
	return !(ctx->regs.pstate & 0xf);	/* PSR_MODE_MASK: EL0 */
#else
	/*
	 * cs, where struct pt_regs has it on x86-64: as a field it has other sizes in other kernels, and the verifier takes the
	 * whole word only.
	 */
	return *(const volatile __u64 *)((const char *)ctx + 136) & 3;
#endif
}

/* How long a major fault took, if its beginning is known. */
static __always_inline void major_time(struct faults_counts *counts, __u64 addr)
{
	struct begun *begun = bpf_task_storage_get(&faults_begun, bpf_get_current_task_btf(), NULL, 0);

	if (!begun || (begun->page & ~0xfffull) != (addr & ~0xfffull)) {
		count(FAULTS_UNTIMED, 1);
		return;
	}
	__sync_fetch_and_add(&counts->major_ns, bpf_ktime_get_ns() - begun->ns);
	__sync_fetch_and_add(&counts->timed, 1);
	if (begun->page & BEGUN_ZERO) {		/* it came back from swap */
		__sync_fetch_and_add(&counts->zero, -1);
		__sync_fetch_and_add(&counts->first, 1);
	}
	begun->page = 0;
}

SEC("perf_event")
int faults_major(struct bpf_perf_event_data *ctx)
{
	struct faults_key key = {};
	struct faults_counts *counts;
	__u64 addr = ctx->addr;

	if (!fault_key(addr, &key))
		return 0;
	counts = counts_get(&key);
	if (!counts) {
		count(FAULTS_LOST_COUNTS, 1);
		return 0;
	}
	if (was_user(ctx))
		__sync_fetch_and_add(&counts->major_user, 1);
	else
		__sync_fetch_and_add(&counts->major_kernel, 1);
	major_time(counts, addr);
	return 0;
}

SEC("perf_event")
int faults_minor(struct bpf_perf_event_data *ctx)
{
	struct faults_key key = {};

	if (fault_key(ctx->addr, &key))
		fault_add(&key, FAULTS_KIND_MINOR);
	return 0;
}

/* Children of watched processes are watched. Until they have unwind tables of their own, they use those of their parent. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(faults_fork, struct task_struct *parent, struct task_struct *child)
{
	struct faults_shared *state = state_get();
	__u32 tgid = child->tgid, one = 1;
	struct faults_owner_key key;

	if (!state || child->pid != child->tgid || !is_watched(parent))
		return 0;
	owner_key(child, &key);
	stack_tables_inherit(parent->tgid, tgid, key.start_ns, key.exec_id);
	if (settings.all)
		return 0;
	if (bpf_map_update_elem(&faults_watched, &tgid, &one, BPF_ANY)) {
		count(FAULTS_LOST_BIRTHS, 1);
		return 0;
	}
	__sync_fetch_and_add(&state->others_cnt, 1);
	owner_add(&key, child, owner_get(parent));
	return 0;
}

/* The last thread ends: what the kernel has counted for the process in all its life. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(faults_exit, struct task_struct *task)
{
	struct faults_owner_key key;
	__u32 tgid = task->tgid, *known;

	if (BPF_CORE_READ(task, signal, live.counter) || !is_watched(task))
		return 0;
	owner_key(task, &key);
	known = bpf_map_lookup_elem(&faults_owners, &key);
	if (known && !owner_say(FAULTS_EVENT_END, *known, &key, task, FAULTS_NONE))
		count(FAULTS_LOST_ENDS, 1);
	stack_tables_leave(tgid);
	if (!settings.all)
		bpf_map_delete_elem(&faults_watched, &tgid);
	return 0;
}

/*
 * Run by the reader: finds the processes that are wanted, and gives them their indexes before anything counts. In a look at
 * the whole machine it only notes where ebb is.
 */
SEC("iter/task")
int faults_tasks(struct bpf_iter__task *ctx)
{
	struct faults_shared *state = state_get();
	struct task_struct *task = ctx->task;
	__u32 pid, tgid, one = 1;

	if (!state || !task)
		return 0;
	state->pid_level = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid, level);
	if (settings.all || task->pid != task->tgid || !task->mm)
		return 0;
	pid = pid_visible(task);
	if (!pid || !bpf_map_lookup_elem(&faults_wanted, &pid))
		return 0;
	tgid = task->tgid;
	if (!state->tgid || state->tgid == tgid) {
		state->tgid = tgid;
	} else if (bpf_map_update_elem(&faults_watched, &tgid, &one, BPF_ANY)) {
		count(FAULTS_LOST_BIRTHS, 1);
		return 0;
	} else {
		__sync_fetch_and_add(&state->others_cnt, 1);
	}
	owner_get(task);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
