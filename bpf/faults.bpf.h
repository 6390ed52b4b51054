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

static __always_inline void count(enum faults_counter counter)
{
	struct faults_shared *state = state_get();

	if (state)
		__sync_fetch_and_add(&state->counters[counter], 1);
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
static __noinline bool owner_say(__u32 type, __u32 index, const struct faults_owner_key *key, struct task_struct *task)
{
	struct faults_owner_event *e = bpf_ringbuf_reserve(&faults_events, sizeof(*e), 0);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if (!e)
		return false;
	e->type = type;
	e->index = index;
	e->key = *key;
	e->pid = pid_visible(task);
	e->pad = 0;
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

static __noinline __u32 owner_add(const struct faults_owner_key *key, struct task_struct *task)
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
	if (owner_say(FAULTS_EVENT_OWNER, index, key, task))
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
	return known ? *known : owner_add(&key, task);
}

struct memory_search {
	__u64 start, end;
	__u64 memory;
};

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
		memory |= FAULTS_NORESERVE | start;
	} else {
		memory |= FAULTS_AT_END | end;
	}
	s->memory = memory;
	return 0;
}

/*
 * The mapping that this CPU found last, and how often the list of mappings had been changed by then: it takes a lock to
 * search it, and in a storm it is the same one a thousand times.
 */
struct memory_last {
	__u64 mm;
	__u64 start, end;
	__u64 memory;
	__u32 changes;
	__u32 busy;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory_last);
} faults_memory SEC(".maps");

struct mm_struct___int {
	int mm_lock_seq;
} __attribute__((preserve_access_index));

/* Changes with every change of an address space's mappings. False: this kernel does not count them (before 6.4). */
static __always_inline bool changes_read(struct mm_struct *mm, __u32 *ret)
{
	if (bpf_core_field_exists(mm->mm_lock_seq)) {
		*ret = mm->mm_lock_seq.sequence;
		return !(*ret & 1);	/* odd: one is under way */
	}
	if (bpf_core_field_exists(((struct mm_struct___int *)mm)->mm_lock_seq)) {
		*ret = BPF_CORE_READ((struct mm_struct___int *)mm, mm_lock_seq);
		return true;
	}
	return false;
}

/* Searches, and keeps what was found. */
static __noinline __u64 memory_find(struct task_struct *task, __u64 addr, struct memory_last *last, __u32 changes, bool keep)
{
	struct memory_search s = {};
	long err = bpf_find_vma(task, addr, memory_note, &s, 0);

	if (err == -2)		/* ENOENT */
		return FAULTS_KNOWN | FAULTS_UNMAPPED;
	if (err || !s.memory) {
		count(FAULTS_MEMORY_BUSY);
		return 0;
	}
	if (keep && last && !__sync_val_compare_and_swap(&last->busy, 0, 1)) {
		last->mm = (__u64)task->mm;
		last->start = s.start;
		last->end = s.end;
		last->memory = s.memory;
		last->changes = changes;
		__sync_lock_test_and_set(&last->busy, 0);
	}
	return s.memory;
}

static __always_inline __u64 memory_at(struct task_struct *task, __u64 addr)
{
	__u32 zero = 0, changes = 0;
	struct memory_last *last = bpf_map_lookup_elem(&faults_memory, &zero);
	struct mm_struct *mm = task->mm;
	bool keep;

	if (!mm)
		return 0;
	keep = changes_read(mm, &changes);
	if (keep && last && !last->busy && last->mm == (__u64)mm && last->changes == changes && addr >= last->start &&
	    addr < last->end)
		return last->memory;
	return memory_find(task, addr, last, changes, keep);
}

#endif
