/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * frames OBJECT: the walker on a stack that is known. OBJECT is tests/unwind/walk.bpf.c linked with the unwinder.
 *
 *	outermost ─ nested_0 ─ nested_1 ─ nested_2 ─ nested_3 ─ nested_4 ─ nested_5
 *
 * Each function says where it returns to, by the compiler, before any probe is there; and that must lie in its caller,
 * which has a section of its own. Then nested_5 is probed and the kernel walks this very stack by frame pointers: the
 * program's mappings are in the tables, without rows. outermost() has the frame pointer 0, which ends a stack.
 *
 * A line a case: `frames NAME ok` or `frames NAME wrong: why`.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"
#include "constant.h"
#include "unwind.h"

#define NESTED		5
#define CALLS		3	/* the second and third may be remembered */
#define MAPPINGS	64
#define MEMOS		16	/* a power of two */

/* A function with a section of its own, so that the linker says where it begins and ends. */
#define IN(n)	__attribute__((noinline, used, section("nested_text_" #n)))
#define STAY(x)	__asm__ volatile("" : "+r"(x) : : "memory")

static uint64_t returns_to[NESTED + 1];	/* by the last call */
static uint64_t known[NESTED + 1];	/* by the first one, without probes */

#define NESTED_FUNCTION(n, inner) \
	extern const char __start_nested_text_##n[], __stop_nested_text_##n[]; \
	IN(n) long nested_##n(long x); \
	IN(n) long nested_##n(long x) \
	{ \
		returns_to[n] = UNWIND_STRIP((uintptr_t)__builtin_return_address(0)); \
		x = inner; \
		STAY(x); \
		return x + n; \
	}
NESTED_FUNCTION(5, x)
NESTED_FUNCTION(4, nested_5(x + 1))
NESTED_FUNCTION(3, nested_4(x + 1))
NESTED_FUNCTION(2, nested_3(x + 1))
NESTED_FUNCTION(1, nested_2(x + 1))
NESTED_FUNCTION(0, nested_1(x + 1))

/* Calls nested_0 as the first function of a stack would. */
extern const char __start_outermost_text[], __stop_outermost_text[];
void outermost(long x);
asm(".pushsection outermost_text, \"ax\", %progbits\n"
    ".globl outermost\n.type outermost, %function\noutermost:\n"
#if defined(__x86_64__)
    "push %rbp\nxor %ebp, %ebp\ncall nested_0\npop %rbp\nret\n"
#elif defined(__aarch64__)
    "hint #34\n"	/* bti c: it may be called through a PLT or a pointer */
    "stp x29, x30, [sp, #-16]!\nmov x29, xzr\nbl nested_0\nldp x29, x30, [sp], #16\nret\n"
#endif
    ".size outermost, . - outermost\n.popsection\n");

/* Where each of them must return to. */
static const struct {
	const char *start, *stop;
} callers[NESTED + 1] = {
	{ __start_outermost_text, __stop_outermost_text },
	{ __start_nested_text_0, __stop_nested_text_0 }, { __start_nested_text_1, __stop_nested_text_1 },
	{ __start_nested_text_2, __stop_nested_text_2 }, { __start_nested_text_3, __stop_nested_text_3 },
	{ __start_nested_text_4, __stop_nested_text_4 },
};

static struct stack_event last;
static int events_cnt;
static bool failed;

static void verdict(const char *name, const char *why)
{
	failed |= why != NULL;
	printf("frames %s %s%s\n", name, why ? "wrong: " : "ok", why ? why : "");
	for (int i = 0; why && i < last.frames_cnt; i++)
		printf("frames %s: frame %d is 0x%016" PRIx64 "\n", name, i, (uint64_t)last.frames[i]);
	for (int n = NESTED; why && n >= 0; n--)
		printf("frames %s: nested_%d returns to 0x%016" PRIx64 "\n", name, n, known[n]);
	if (why)
		printf("frames %s: events %d, end %d\n", name, events_cnt, last.end);
}

static int on_stack(void *ctx, void *data, size_t size)
{
	(void)ctx;
	memset(&last, 0, sizeof(last));
	memcpy(&last, data, size < sizeof(last) ? size : sizeof(last));
	events_cnt++;
	return 0;
}

static int map_set(const struct bpf_object *obj, const char *name, uint32_t key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(obj, name);

	return bpf_map_update_elem(fd, &key, value, BPF_ANY) ? -errno : 0;
}

/* This process's code into the tables: mappings without rows. *ret_bias: address - file offset of our own. */
static int tables_fill(const struct bpf_object *obj, uint64_t *ret_bias)
{
	struct unwind_process process = { .spaces[0] = { .generation = 1 } };
	struct stack_state state = { .next = STACK_FIRST };
	uint32_t cnt = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end, off;
	char line[512], prot[5];
	int err = maps ? 0 : -errno;

	while (!err && cnt < MAPPINGS && fgets(line, sizeof(line), maps)) {
		struct unwind_mapping m = { 0 };

		if (sscanf(line, "%lx-%lx %4s %lx", &start, &end, prot, &off) != 4 || prot[2] != 'x')
			continue;
		m.start = start;
		m.end = end;
		if ((uintptr_t)tables_fill >= start && (uintptr_t)tables_fill < end)
			*ret_bias = start - off;
		err = map_set(obj, "unwind_mappings", cnt++, &m);
	}
	if (maps)
		fclose(maps);
	process.spaces[0].cnt = cnt;
	if (!err)
		err = map_set(obj, "stack_state", 0, &state);
	return err ? err : map_set(obj, "unwind_processes", 0, &process);
}

/* What is wrong with the last stack, whose frames begin with `first` unless that is 0; NULL: nothing. */
static const char *stack_wrong(uint64_t first)
{
	int i = 0;

	if (first && last.frames[i++] != first)
		return "the first frame is not the probe's own address";
	for (int n = NESTED; n >= 0; n--)
		if (last.frames[i++] != known[n])
			return "a frame that is not where its callee returns to";
	if (last.frames_cnt != i)
		return "frames too many or too few";
	return last.end == STACK_ENDED ? NULL : "no proper end";
}

static uint64_t count_of(const struct bpf_object *obj, uint32_t index)
{
	uint64_t cnt = 0;

	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "walk_counts"), &index, &cnt);
	return cnt;
}

/* Some calls, and what came of them. *index: of the stack that they have; 0: it is a new one, and set. */
static const char *run(const struct bpf_object *obj, struct ring_buffer *ring, uint64_t first, uint32_t *index)
{
	uint64_t before = *index ? count_of(obj, *index) : 0;
	const char *wrong = NULL;

	events_cnt = 0;
	memset(&last, 0, sizeof(last));
	for (volatile int i = 0; i < CALLS; i++)	/* volatile: one call, not three in a row */
		outermost(i);
	ring_buffer__consume(ring);
	if (events_cnt != (*index ? 0 : 1))
		wrong = *index ? "it is not the stack that it was" : "equal stacks are not one, or none came";
	else if (!*index)
		wrong = stack_wrong(first);
	if (!*index)
		*index = last.index;
	if (!wrong && count_of(obj, *index) != before + CALLS)
		wrong = "not seen at every call";
	return wrong;
}

static int number_in(const char *path, const char *format)
{
	FILE *f = fopen(path, "re");
	int n = -1;

	if (f && fscanf(f, format, &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* A return probe that only counts: it puts the trampoline in place of a return address. */
static int trampoline_open(uint64_t off)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .probe_offset = off };
	int type = number_in("/sys/bus/event_source/devices/uprobe/type", "%d");
	int bit = number_in("/sys/bus/event_source/devices/uprobe/format/retprobe", "config:%d");

	if (type < 0 || bit < 0)
		return -1;
	attr.type = type;
	attr.config = 1ull << bit;
	attr.uprobe_path = (uintptr_t)"/proc/self/exe";
	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/*
 * nested_5 is probed by a program. The second case is the same while nested_3 has a return probe: the trampoline
 * stands where nested_3 returns to, and the stack must be the same one.
 */
static void try(struct bpf_object *obj, struct ring_buffer *ring, const char *names[2], uint64_t bias, bool is_return)
{
	const char *program = is_return ? "walk_return" : "walk_entry", *wrong;
	uint64_t first = is_return ? 0 : (uintptr_t)nested_5 | STACK_FRAME_EXACT;
	struct bpf_link *link;
	uint32_t index = 0;
	int event_fd;

	link = bpf_program__attach_uprobe(bpf_object__find_program_by_name(obj, program), is_return, 0, "/proc/self/exe",
					  (uintptr_t)nested_5 - bias);
	verdict(names[0], link ? run(obj, ring, first, &index) : "the probe cannot be attached");
	event_fd = trampoline_open((uintptr_t)nested_3 - bias);
	wrong = event_fd < 0 ? "the return probe cannot be attached" : run(obj, ring, first, &index);
	if (!wrong && returns_to[3] == known[3])
		wrong = "no trampoline was there: nothing was tried";
	verdict(names[1], wrong);
	bpf_link__destroy(link);
	if (event_fd >= 0)
		close(event_fd);
}

#define THREAD_BYTES_MAX	(64u << 10)	/* of a kernel stack; 16 KiB on both machines, more with KASAN */

/* A program that may be preempted has its variables on its task's stack. */
static void stack_verdict(struct bpf_object *obj, uint64_t bias)
{
	struct bpf_program *program = bpf_object__find_program_by_name(obj, "walk_where");
	struct bpf_link *link = bpf_program__attach_uprobe(program, false, 0, "/proc/self/exe", (uintptr_t)nested_5 - bias);
	uint64_t addrs[2] = { 0 };	/* walk_frame_addr, walk_stack_addr: all that is in .bss */
	struct bpf_map *map, *bss = NULL;
	uint32_t zero = 0;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__is_internal(map) && strstr(bpf_map__name(map), ".bss"))
			bss = map;
	outermost(0);
	bpf_link__destroy(link);
	if (!link || !bss || bpf_map_lookup_elem(bpf_map__fd(bss), &zero, addrs) || !addrs[0] || !addrs[1])
		verdict("own-stack", "nothing was seen");
	else
		verdict("own-stack", addrs[0] - addrs[1] < THREAD_BYTES_MAX ? NULL : "the variables are on a private stack");
}

/* What was remembered was walked again: it must have been the same, and have happened. */
static void memo_verdict(const struct bpf_object *obj)
{
	struct stack_state state = { 0 };
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "stack_state"), &zero, &state))
		verdict("memo", "its counters cannot be read");
	else
		verdict("memo", state.memo_wrong_cnt ? "a remembered stack was another one" :
			!state.memo_cnt ? "nothing was remembered" : NULL);
}

/* The object loaded for this process, with what is remembered walked again. */
static int load(struct bpf_object *obj, uint64_t *ret_bias)
{
	int cpus = libbpf_num_possible_cpus(), err = constant_set(obj, "stack_memos", MEMOS);
	const struct {
		const char *map;
		uint32_t entries;
	} sizes[] = { { "stack_cpus", cpus + STACK_SPARES }, { "stack_memo", cpus * MEMOS }, { "unwind_mappings", MAPPINGS } };

	if (!err)
		err = constant_set(obj, "stack_check", 1);
	if (!err)
		err = constant_set(obj, "stack_spare_first", cpus);
	for (size_t i = 0; !err && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, sizes[i].map), sizes[i].entries);
	if (!err)
		err = bpf_object__load(obj);
	return err ? err : tables_fill(obj, ret_bias);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 1 ? bpf_object__open(argv[1]) : NULL;
	struct ring_buffer *ring;
	uint64_t bias = 0;
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	outermost(0);
	memcpy(known, returns_to, sizeof(known));
	for (int n = 0; n <= NESTED; n++)
		if (known[n] <= (uintptr_t)callers[n].start || known[n] > (uintptr_t)callers[n].stop)
			return printf("frames known wrong: nested_%d does not return to its caller\n", n), 1;
	verdict("known", NULL);

	err = obj ? load(obj, &bias) : -errno;
	if (err)
		return printf("frames load wrong: %s\n", strerror(-err)), 1;
	ring = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "stack_events"), on_stack, NULL, NULL);
	if (!ring)
		return printf("frames load wrong: the ring: %s\n", strerror(errno)), 1;
	try(obj, ring, (const char *[]){ "entry", "entry-through-return-probe" }, bias, false);
	try(obj, ring, (const char *[]){ "return", "return-through-return-probe" }, bias, true);
	memo_verdict(obj);
	stack_verdict(obj, bias);
	ring_buffer__free(ring);
	bpf_object__close(obj);
	return failed;
}
