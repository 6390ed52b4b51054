/* SPDX-License-Identifier: GPL-2.0-only */
/* The books of faults: maps, whose a fault is, and in what memory. Only included by faults.bpf.c. */
#ifndef EBB_FAULTS_BPF_H
#define EBB_FAULTS_BPF_H

#define VM_EXEC_		0x00000004ul	/* include/linux/mm.h; macros are not in BTF */
#define VM_SHARED_		0x00000008ul
#define VM_NORESERVE_		0x00200000ul
#define VM_HUGETLB_		0x00400000ul
#define VM_HUGEPAGE_		0x20000000ul
#define VM_NOHUGEPAGE_		0x40000000ul
#define TMPFS_MAGIC_		0x01021994	/* linux/magic.h */

const volatile struct faults_settings settings = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct faults_shared);
} faults_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct faults_key);
	__type(value, struct faults_counts);
} faults_books SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct faults_pending);
} faults_pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct faults_owner_key);
	__type(value, __u32);
} faults_owners SEC(".maps");

/* Process, as the first pid namespace has it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} faults_watched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 << 10);
} faults_events SEC(".maps");

/* Processes that are to be watched, as ebb's pid namespace has them; faults_tasks looks for them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} faults_wanted SEC(".maps");

/* The fault that a thread is in. */
struct begun {
	__u64 page;	/* its address, and BEGUN_ZERO where it was counted as a read of anonymous memory; 0 = none */
	__u64 ns;
};

#define BEGUN_ZERO	1ull

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct begun);
} faults_begun SEC(".maps");

static __always_inline struct faults_shared *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&faults_state, &zero);
}

static __always_inline void count(enum faults_counter counter, __u64 n)
{
	struct faults_shared *state = state_get();

	if (state)
		__sync_fetch_and_add(&state->counters[counter], n);
}

static __always_inline bool is_watched(struct task_struct *task)
{
	struct faults_shared *state = state_get();
	__u32 tgid = task->tgid;

	if (settings.all)
		return true;
	/* what others pay: with one process that is all */
	return state && (state->tgid == tgid || (state->others_cnt && bpf_map_lookup_elem(&faults_watched, &tgid)));
}

static __always_inline __u32 pid_visible(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	struct faults_shared *state = state_get();
	__u32 level = state ? state->pid_level : 0;
	struct upid upid;

	if (!pid || BPF_CORE_READ(pid, level) < level)
		return 0;
	if (bpf_probe_read_kernel(&upid, sizeof(upid), (void *)pid + bpf_core_field_offset(pid->numbers) +
				  level * bpf_core_type_size(struct upid)))
		return 0;
	return BPF_CORE_READ(upid.ns, ns.inum) == settings.pid_inode ? upid.nr : 0;
}

static __always_inline void owner_key(struct task_struct *task, struct faults_owner_key *ret)
{
	ret->start_ns = task->group_leader->start_boottime;
	ret->tgid = task->tgid;
	ret->exec_id = task->self_exec_id;
}

/* Tells the reader of an owner. False: the ring is full. */
static __noinline bool owner_say(__u32 type, __u32 index, const struct faults_owner_key *key, struct task_struct *task,
				 __u32 parent)
{
	struct faults_owner_event *e = bpf_ringbuf_reserve(&faults_events, sizeof(*e), 0);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if (!e)
		return false;
	e->type = type;
	e->index = index;
	e->key = *key;
	e->pid = pid_visible(task);
	e->parent = parent;
	bpf_core_read_str(e->comm, sizeof(e->comm), &leader->comm);
	/* signal has those of threads that are gone, but for a leader that waits for the others */
	e->minflt = BPF_CORE_READ(task, signal, min_flt) + BPF_CORE_READ(task, min_flt);
	e->majflt = BPF_CORE_READ(task, signal, maj_flt) + BPF_CORE_READ(task, maj_flt);
	if (leader != task) {
		e->minflt += BPF_CORE_READ(leader, min_flt);
		e->majflt += BPF_CORE_READ(leader, maj_flt);
	}
	bpf_ringbuf_submit(e, 0);
	return true;
}

static __noinline __u32 owner_add(const struct faults_owner_key *key, struct task_struct *task, __u32 parent)
{
	struct faults_shared *state = state_get();
	__u32 index, *known;

	if (!state)
		return FAULTS_NONE;
	index = __sync_fetch_and_add(&state->next_owner, 1);
	if (bpf_map_update_elem(&faults_owners, key, &index, BPF_NOEXIST)) {
		/* another CPU was first, or it is full */
		known = bpf_map_lookup_elem(&faults_owners, key);
		return known ? *known : FAULTS_NONE;
	}
	if (owner_say(FAULTS_EVENT_OWNER, index, key, task, parent))
		return index;
	bpf_map_delete_elem(&faults_owners, key);
	return FAULTS_NONE;
}

static __always_inline __u32 owner_get(struct task_struct *task)
{
	struct faults_owner_key key;
	__u32 *known;

	owner_key(task, &key);
	known = bpf_map_lookup_elem(&faults_owners, &key);
	return known ? *known : owner_add(&key, task, FAULTS_NONE);
}

struct memory_search {
	__u64 start, end;
	__u64 memory;
	__u64 may_be_thread;
};

#define THREAD_BYTES_MAX	(64ull << 20)	/* of a thread's stack: beyond, stack pointers are those of coroutines in a heap */

static __always_inline bool is_tmpfs(struct vm_area_struct *vma)
{
	return BPF_CORE_READ(vma, vm_file, f_inode, i_sb, s_magic) == TMPFS_MAGIC_;
}

static long memory_note(struct task_struct *task, struct vm_area_struct *vma, struct memory_search *s)
{
	__u64 flags = vma->vm_flags, memory = FAULTS_KNOWN, start = vma->vm_start, end = vma->vm_end;
	struct mm_struct *mm = vma->vm_mm;
	bool may_be_huge = flags & VM_HUGEPAGE_ || (settings.huge_always && !(flags & VM_NOHUGEPAGE_));

	s->start = start;
	s->end = end;
	if (vma->vm_file)
		memory |= FAULTS_FILE | (is_tmpfs(vma) ? FAULTS_SHMEM : 0);
	if (flags & VM_SHARED_)
		memory |= FAULTS_SHARED;
	if (flags & VM_EXEC_)
		memory |= FAULTS_EXEC;
	if (flags & VM_HUGETLB_)
		memory |= FAULTS_HUGETLB;
	else if (may_be_huge && !vma->vm_file)
		memory |= FAULTS_HUGE;
	if (memory & FAULTS_FILE) {
		memory |= start;
	} else if (start <= mm->brk && end >= mm->start_brk) {
		memory |= FAULTS_BRK;
	} else if (start <= mm->start_stack && end >= mm->start_stack) {
		memory |= FAULTS_STACK;
	} else if (flags & VM_NORESERVE_) {
		memory |= start;	/* as arenas of glibc, which grow upwards */
	} else {
		memory |= FAULTS_AT_END | end;
	}
	s->memory = memory;
	/* since Linux 6.7 MAP_STACK sets it */
	s->may_be_thread = flags & VM_NOHUGEPAGE_ && !vma->vm_file && !(memory & (FAULTS_BRK | FAULTS_STACK)) &&
			   end - start <= THREAD_BYTES_MAX;
	return 0;
}

/*
 * Mappings that this CPU found of late, and how often the list of mappings had been changed by then. To search the list takes
 * a lock, which a program that runs with interrupts off (as at page_fault_user) can only leave by an interrupt of its own:
 * dear, and in a storm it is the same mapping a thousand times.
 */
#define MEMORY_PLACES	16u	/* a power of two */

struct memory_place {
	__u64 mm;
	__u64 start, end;
	__u64 memory;
	__u64 may_be_thread;
	__u64 changes;
};

/* What a CPU met last: mostly it meets it again. */
struct fault_cpu {
	__u32 busy;	/* somebody writes here */
	__u32 owner;
	struct faults_owner_key key;	/* of owner */
	struct memory_place places[MEMORY_PLACES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fault_cpu);
} faults_cpus SEC(".maps");

struct mm_struct___int {
	int mm_lock_seq;
} __attribute__((preserve_access_index));

/*
 * Is another one after each change of an address space's mappings; 0 while one is under way. Linux counts them since 6.4.
 * Before that it is made of how much is mapped: then one mapping may pass for another that has just taken its place and has
 * its size.
 */
static __always_inline __u64 changes_read(struct mm_struct *mm)
{
	__u32 seq;

	if (bpf_core_field_exists(mm->mm_lock_seq)) {
		seq = mm->mm_lock_seq.sequence;
		return seq & 1 ? 0 : 1ull << 32 | seq;
	}
	if (bpf_core_field_exists(((struct mm_struct___int *)mm)->mm_lock_seq))
		return 1ull << 32 | (__u32)BPF_CORE_READ((struct mm_struct___int *)mm, mm_lock_seq);
	return 1ull << 63 | ((__u64)mm->map_count << 40 ^ mm->total_vm << 20 ^ mm->data_vm << 10 ^ mm->exec_vm);
}

/* Depends on who asks. */
static __always_inline __u64 thread_flag(struct task_struct *task, __u64 may_be, __u64 start, __u64 end)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
	__u64 sp;

	if (!may_be)
		return 0;
	sp = UNWIND_REG_SP(regs);
	return sp >= start && sp < end ? FAULTS_THREAD : 0;
}

/* Searches, and keeps what was found. */
static __noinline __u64 memory_find(struct task_struct *task, __u64 addr, struct fault_cpu *cpu, __u64 changes)
{
	struct memory_search s = {};
	struct memory_place *place;
	long err = bpf_find_vma(task, addr, memory_note, &s, 0);

	if (err == -2)		/* ENOENT */
		return FAULTS_KNOWN | FAULTS_UNMAPPED;
	if (err || !s.memory) {
		count(FAULTS_MEMORY_BUSY, 1);
		return 0;
	}
	if (changes && cpu && !__sync_val_compare_and_swap(&cpu->busy, 0, 1)) {
		place = &cpu->places[addr >> 21 & (MEMORY_PLACES - 1)];
		place->mm = (__u64)task->mm;
		place->start = s.start;
		place->end = s.end;
		place->memory = s.memory;
		place->may_be_thread = s.may_be_thread;
		place->changes = changes;
		__sync_lock_test_and_set(&cpu->busy, 0);
	}
	return s.memory | thread_flag(task, s.may_be_thread, s.start, s.end);
}

static __always_inline struct fault_cpu *fault_cpu_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&faults_cpus, &zero);
}

/* The owner of a fault that the current task has. */
static __always_inline __u32 owner_current(struct task_struct *task, struct fault_cpu *cpu)
{
	struct faults_owner_key key;
	__u32 owner;

	owner_key(task, &key);
	if (cpu && !cpu->busy && cpu->key.start_ns == key.start_ns && cpu->key.tgid == key.tgid &&
	    cpu->key.exec_id == key.exec_id)
		return cpu->owner;
	owner = owner_get(task);
	if (owner && cpu && !__sync_val_compare_and_swap(&cpu->busy, 0, 1)) {
		cpu->key = key;
		cpu->owner = owner;
		__sync_lock_test_and_set(&cpu->busy, 0);
	}
	return owner;
}

static __always_inline __u64 memory_at(struct task_struct *task, __u64 addr, struct fault_cpu *cpu)
{
	struct mm_struct *mm = task->mm;
	struct memory_place *place;
	__u64 changes;

	if (!mm)
		return 0;
	changes = changes_read(mm);
	if (changes && cpu && !cpu->busy) {
		place = &cpu->places[addr >> 21 & (MEMORY_PLACES - 1)];
		if (place->mm == (__u64)mm && place->changes == changes && addr >= place->start && addr < place->end)
			return place->memory | thread_flag(task, place->may_be_thread, place->start, place->end);
	}
	return memory_find(task, addr, cpu, changes);
}

#endif
