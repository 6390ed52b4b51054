/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User stacks by bpf_get_stack(), that is by frame pointers.
 *
 * Hooks nothing itself: it is linked into every source. It gives each distinct stack an index, and sends
 * the frames of a new one through the ring `stack_events`, once.
 *
 * Misses: everything above a function that uses the frame pointer as a general register, which most
 * libraries of distributions do. The kernel then follows whatever the register holds: a stack is cut at the
 * first frame that lies outside of all code (without that, redis made 65,000 stacks of one). Every way to
 * fail has its counter in stack_state.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "unwind.bpf.h"

const volatile __u32 stacks_max = 65536;

struct stack_key {
	__u64 hash[2];
};

struct stack_scratch {
	__u64 uses;		/* changes when another task takes a stack on this CPU meanwhile */
	struct stack_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct stack_state);
} stack_state SEC(".maps");

/* Not preallocated: an idle target pays for the bucket heads only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct stack_key);
	__type(value, __u32);
} stack_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stack_scratch);
} stack_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} stack_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct code_ranges);
} stack_code SEC(".maps");

/*
 * Whether an address lies in executable code of the target. A global function, verified once by itself:
 * inside the loop over the frames it went over a million instructions (6.18).
 */
__noinline int is_code(__u32 buffer, __u64 addr)
{
	struct code_ranges *code;
	__u32 low = 0, high;

	if (addr < 65536)	/* vm.mmap_min_addr: nobody has code there */
		return 0;
	code = bpf_map_lookup_elem(&stack_code, &buffer);
	if (!code)
		return 0;
	high = code->cnt;
	if (!high)
		return 1;
	for (int i = 0; i < 10; i++) {	/* log2 of CODE_RANGES_MAX */
		__u32 middle = (low + high) / 2;

		if (high - low <= 1)
			break;
		if (middle >= CODE_RANGES_MAX)
			return 0;
		if (code->ranges[middle].start <= addr)
			low = middle;
		else
			high = middle;
	}
	if (low >= CODE_RANGES_MAX)
		return 0;
	return addr >= code->ranges[low].start && addr < code->ranges[low].end;
}

/* How many of the scratch's frames are a stack: up to the first that is no code, but one at least. */
__noinline int stack_trim(__u32 frames_cnt)
{
	struct stack_scratch *scratch;
	struct stack_state *state;
	__u32 zero = 0, buffer;

	scratch = bpf_map_lookup_elem(&stack_scratch, &zero);
	state = bpf_map_lookup_elem(&stack_state, &zero);
	if (!scratch || !state)
		return 0;
	buffer = *(volatile __u32 *)&state->code & 1;
	for (__u32 i = 1; i < STACK_FRAMES_MAX; i++) {
		if (i >= frames_cnt)
			break;
		if (is_code(buffer, scratch->event.frames[i]))
			continue;
		__sync_fetch_and_add(&state->outside_cnt, 1);
		return i;
	}
	return frames_cnt;
}

/* A new stack: an index, and its frames to user space. Published last, so an index always has frames. */
static __u32 stack_add(struct stack_scratch *scratch, const struct stack_key *key, __u32 frames_cnt, bool outside,
		       __u64 uses)
{
	struct stack_state *state;
	__u32 zero = 0, index, *known;
	__u64 bytes;

	state = bpf_map_lookup_elem(&stack_state, &zero);
	if (!state)
		return STACK_FULL;
	if (state->next >= stacks_max) {
		__sync_fetch_and_add(&state->full_cnt, 1);
		return STACK_FULL;
	}
	index = __sync_fetch_and_add(&state->next, 1);
	if (index >= stacks_max) {
		__sync_fetch_and_add(&state->full_cnt, 1);
		return STACK_FULL;
	}
	scratch->event.index = index;
	scratch->event.frames_cnt = frames_cnt;
	scratch->event.outside = outside;
	scratch->event.hash[0] = key->hash[0];
	scratch->event.hash[1] = key->hash[1];
	bytes = __builtin_offsetof(struct stack_event, frames) + 8ull * frames_cnt;
	/*
	 * The check and the use in one register. Linux 6.1 does not carry a bound from a copy to a sum of 32 bits: "R3
	 * unbounded memory access, use 'var &= const' or 'if (var < const)'".
	 */
	asm volatile("" : "+r"(bytes));
	if (bytes > sizeof(scratch->event))	/* never; the verifier cannot know */
		return STACK_FULL;
	if (bpf_ringbuf_output(&stack_events, &scratch->event, bytes, 0)) {
		__sync_fetch_and_add(&state->ring_full_cnt, 1);
		return STACK_FULL;
	}
	/* What was sent may be another task's stack: then the reader sees that the hash is wrong. */
	if (*(volatile __u64 *)&scratch->uses != uses) {
		__sync_fetch_and_add(&state->raced_cnt, 1);
		return STACK_FULL;
	}
	if (!bpf_map_update_elem(&stack_ids, key, &index, BPF_NOEXIST))
		return index;
	known = bpf_map_lookup_elem(&stack_ids, key);	/* another CPU was first */
	return known ? *known : STACK_FULL;
}

__hidden __u32 stack_take(struct pt_regs *ctx)
{
	struct stack_scratch *scratch;
	struct stack_state *state;
	struct stack_key key;
	__u32 zero = 0, walked_cnt, frames_cnt, *known;
	__u64 uses;
	long bytes;

	scratch = bpf_map_lookup_elem(&stack_scratch, &zero);
	state = bpf_map_lookup_elem(&stack_state, &zero);
	if (!scratch || !state)
		return STACK_FULL;
	for (int attempt = 0; attempt < 2; attempt++) {
		uses = __sync_fetch_and_add(&scratch->uses, 1) + 1;
		bytes = bpf_get_stack(ctx, scratch->event.frames, sizeof(scratch->event.frames), BPF_F_USER_STACK);
		if (bytes < 8) {
			__sync_fetch_and_add(&state->failed_cnt, 1);
			return STACK_FULL;
		}
		walked_cnt = (__u32)bytes / 8;
		frames_cnt = stack_trim(walked_cnt);
		key.hash[0] = STACK_HASH_SEED0;
		key.hash[1] = STACK_HASH_SEED1;
		for (__u32 i = 0; i < STACK_FRAMES_MAX && i < frames_cnt; i++)
			stack_hash_add(key.hash, scratch->event.frames[i]);
		/* On preemptible kernels another task of this CPU may have been here in between. */
		if (*(volatile __u64 *)&scratch->uses != uses)
			continue;
		known = bpf_map_lookup_elem(&stack_ids, &key);
		return known ? *known : stack_add(scratch, &key, frames_cnt, frames_cnt < walked_cnt, uses);
	}
	__sync_fetch_and_add(&state->raced_cnt, 1);
	return STACK_FULL;
}

char LICENSE[] SEC("license") = "GPL";
