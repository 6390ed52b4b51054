/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From an address to the rule that leads to its caller: mapping, piece, block, row. User space makes the tables (see
 * abi.h for their layout); nothing in them is believed: every index is bounded where it is used.
 */
#ifndef EBB_UNWIND_ROWS_BPF_H
#define EBB_UNWIND_ROWS_BPF_H

/* Set before loading: one process only, whose tables have the index 0. */
const volatile __u32 unwind_one_process = 1;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct unwind_process);
} unwind_processes SEC(".maps");

/* Process, as the first pid namespace has it -> its tables. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct unwind_pid);
} unwind_pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct unwind_mapping);
} unwind_mappings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNWIND_RULES_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} unwind_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, UNWIND_CHUNKS_MAX);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(key_size, 4);
		__uint(value_size, sizeof(struct unwind_chunk));	/* clang leaves no __type() so deep in BTF */
	});
} unwind_chunks SEC(".maps");

/* Where the tables of the current process are; false when it has none, or those of its former program. */
static __always_inline bool place_get(__u32 *ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct unwind_pid *pid = bpf_map_lookup_elem(&unwind_pids, &tgid);

	if (!pid || pid->exec_id != task->self_exec_id || pid->start_ns != task->group_leader->start_boottime)
		return false;
	*ret = pid->place;
	return true;
}

/* The current process; NULL when it has no tables. */
static __always_inline struct unwind_process *process_get(void)
{
	__u32 place = 0;

	if (!unwind_one_process && !place_get(&place))
		return NULL;
	return bpf_map_lookup_elem(&unwind_processes, &place);
}

/* The tables of the current process as they are now; NULL when it has none. */
static __always_inline struct unwind_space *space_get(void)
{
	struct unwind_process *p = process_get();

	if (!p)
		return NULL;
	return *(volatile __u32 *)&p->current & 1 ? &p->spaces[1] : &p->spaces[0];
}

/* Index of the last of a process's mappings, `cnt` of them from `low` on, that begins at or before addr. */
static __always_inline __u32 mapping_find(__u32 low, __u32 cnt, __u64 addr)
{
	__u32 high = low + cnt;
	struct unwind_mapping *m;

	for (int i = 0; i < 13; i++) {	/* log2 of UNWIND_MAPPINGS_MAX */
		__u32 middle = (low + high) / 2;

		if (high - low <= 1)
			break;
		m = bpf_map_lookup_elem(&unwind_mappings, &middle);
		if (!m)
			break;
		if (m->start <= addr)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* What rule_find() and rule_get() return: the number of a rule below an epoch. */
#define RULE_ID(found)		((found) & 0xffff)
#define RULE_EPOCH_TAG(found)	((__u64)((found) >> 16) << 57)	/* as it stands in a frame */
#define RULE_OUTSIDE		(UNWIND_RULE_OUTSIDE | STACK_EPOCHS << 16)	/* nobody knows whose code */

/*
 * The rule of an address, and the epoch of its mapping: see RULE_ID(). A global function, verified once by itself: inside the loop over the frames it would be
 * walked for each of them.
 */
__noinline int rule_find(__u32 seat, __u64 addr)
{
	struct stack_cpu *c = cpu_get(seat);
	struct unwind_chunk *chunk = NULL;
	struct unwind_mapping *m;
	__u32 zero = 0, at, low, high, key;
	__u32 epoch;
	void *inner;
	__u64 va;

	if (!c || !c->generation)
		return UNWIND_RULE_OUTSIDE;	/* no tables: what its mappings are by then will do */
	if (!c->cnt)
		return RULE_OUTSIDE;
	at = mapping_find(c->first, c->cnt, addr);
	m = bpf_map_lookup_elem(&unwind_mappings, &at);
	if (!m || addr < m->start || addr >= m->end)
		return RULE_OUTSIDE;
	epoch = (m->epoch & STACK_EPOCHS) << 16;
	va = addr - m->bias;
	at = (__u32)(va >> UNWIND_BLOCK_SHIFT) - m->block;
	if (at >= m->blocks_cnt)
		return UNWIND_RULE_NONE | epoch;
	at += m->index;
	key = m->chunk;
	inner = bpf_map_lookup_elem(&unwind_chunks, &key);
	if (inner)
		chunk = bpf_map_lookup_elem(inner, &zero);
	if (!chunk)
		return UNWIND_RULE_NONE | epoch;
	low = chunk->words[at & (UNWIND_CHUNK_WORDS - 1)];
	high = chunk->words[(at + 1) & (UNWIND_CHUNK_WORDS - 1)];
	key = va & 0xffff;
	for (int i = 0; i < 9; i++) {	/* a block has at most 256 rows: the first one above the address */
		__u32 middle = (low + high) / 2;

		if (low >= high)
			break;
		if (chunk->words[middle & (UNWIND_CHUNK_WORDS - 1)] >> 16 <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return (chunk->words[(low - 1) & (UNWIND_CHUNK_WORDS - 1)] & 0xffff) | epoch;
}

#define CACHE_MIX	0x9e3779b97f4a7c15ull	/* 2^64 / golden ratio; odd */

static __always_inline __u32 cache_index(__u64 addr)
{
	return (addr ^ addr >> 11 ^ addr >> 22) & (UNWIND_CACHE - 1);
}

/*
 * The rule of an address by the cache. An entry is one address's and one generation's, and proves it: the key holds the
 * address under a mix of the data.
 */
static __always_inline __u32 rule_get(struct stack_cpu *c, __u64 addr)
{
	struct unwind_cached *e = &c->cache[cache_index(addr)];
	__u64 data = e->data;

	if (data >> 24 == c->generation && (e->key ^ data * CACHE_MIX) == addr)
		return data & 0xffffff;
	data = c->generation << 24 | (rule_find(c->seat, addr) & 0xffffff);
	e->data = data;
	e->key = addr ^ data * CACHE_MIX;
	return data & 0xffffff;
}

#endif
