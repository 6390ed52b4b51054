/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules, the first that fits:
 *
 *	[heap]                            brk
 *	[stack], a thread's               a guard without access below it and a stack pointer in it, or its flags say
 *	                                  MAP_STACK, or it is as long as a stack that is known
 *	V8's heap                         starts at 256 KiB, in the lower half of the addresses: V8 asks for random places below
 *	                                  2^46, while the kernel hands out the top
 *	.NET's heap                       a run of neighbours of which a part is reserved and kept out of core dumps
 *	glibc's arenas                    start at 64 MiB, and end there with their reserve:
 *
 *	   64M·n                                     64M·(n+1)
 *	     ├── rw-p, used ──┼──── ---p, reserved ────┤
 *
 *	code that was made                executable without a file, or a memfd of which a part is executable; in V8's
 *	                                  reserve for code also the heads of pages
 *
 * A run is a row of private mappings without a file of which each begins where the one before ends. What malloc mapped just
 * below .NET's heap is one mapping with the heap's first and cannot be told from it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "target/maps.h"
#include "target/region.h"

#define ARENA_ALIGN_BYTES	(64ull << 20)	/* glibc's HEAP_MAX_SIZE on 64-bit machines */
#define V8_PAGE_BYTES		(256ull << 10)
#define GUARD_BYTES_MAX		(1ull << 20)
/* .NET reserves some GiB to 256 GiB; where VmFlags are not known, nothing smaller is believed to be its heap. */
#define GC_RUN_BYTES_MIN	(256ull << 20)
/* Where the files' own sizes are not known, nothing larger is believed to be a library's .bss. */
#define BSS_BYTES_MAX		(1ull << 20)
#define STACK_BYTES_MIN		(1ull << 20)
/* A stack pointer alone does not make a large mapping a stack: coroutines live in heaps. */
#define STACK_BYTES_MAX		(1ull << 30)

static const struct {
	const char *name, *label;
} kinds[REGION_KINDS] = {
	[REGION_HEAP] = { "heap", "malloc heap (brk)" },
	[REGION_ARENA] = { "arenas", "malloc arenas" },
	[REGION_MANAGED] = { "managed", "managed heap" },
	[REGION_JIT] = { "jit", "JIT code" },
	[REGION_STACK] = { "stacks", "thread stacks" },
	[REGION_ANON] = { "anonymous", "other anonymous" },
	[REGION_CODE] = { "code", "code of files" },
	[REGION_DATA] = { "data", "data of files, .bss" },
	[REGION_FILE] = { "files", "other mapped files" },
	[REGION_SHMEM] = { "shared", "shared memory" },
	[REGION_OTHER] = { "other", "kernel's own, devices" },
};

const char *region_kind_label(enum region_kind kind)
{
	return kinds[kind].label;
}

const char *region_kind_name(enum region_kind kind)
{
	return kinds[kind].name;
}

uint8_t region_flags_parse(const char *words)
{
	uint8_t flags = REGION_FLAG_KNOWN;

	for (const char *p = words; *p && *p != '\n'; p++) {
		if (p == words || p[-1] != ' ')
			continue;
		if (!strncmp(p, "nr", 2))
			flags |= REGION_FLAG_NORESERVE;
		else if (!strncmp(p, "nh", 2))
			flags |= REGION_FLAG_NOHUGE;
		else if (!strncmp(p, "dd", 2))
			flags |= REGION_FLAG_DONTDUMP;
	}
	return flags;
}

struct file_id {
	uint64_t dev, inode;
};

/* What the rules look at. */
struct scene {
	const struct target_mapping *maps;
	size_t cnt;
	const struct region_facts *facts;
	enum region_kind *kinds;
	struct file_id *code;		/* files that are mapped executable, sorted */
	size_t code_cnt;
	uint64_t half_addr;		/* half of the addresses that a process can have */
	uint64_t stack_bytes;		/* length of the longest thread's stack that is known, 0 = none; and of its guard */
	uint64_t guard_bytes;
	bool stacks_marked;		/* the kernel marks stacks: none needs to be told by its length */
};

/* While no rule has spoken. */
#define UNDECIDED REGION_KINDS

static bool begins(const char *str, const char *with)
{
	return !strncmp(str, with, strlen(with));
}

/* Private and without a file; the kernel shows the names that a process gives to such memory as [anon:NAME]. */
static bool is_private_anon(const struct target_mapping *map)
{
	return map->prot[3] == 'p' && !map->inode && (!*map->path || begins(map->path, "[anon:"));
}

static bool is_reserved(const struct target_mapping *map)
{
	return map->prot[0] == '-' && map->prot[1] == '-' && map->prot[2] == '-';
}

static bool is_writable(const struct target_mapping *map)
{
	return map->prot[1] == 'w';
}

static bool is_exec(const struct target_mapping *map)
{
	return map->prot[2] == 'x';
}

static uint64_t bytes_of(const struct target_mapping *map)
{
	return map->end - map->start;
}

static bool is_joined(const struct scene *s, size_t i)
{
	return i > 0 && s->maps[i - 1].end == s->maps[i].start;
}

static uint8_t flags_of(const struct scene *s, size_t i)
{
	return s->facts->flags ? s->facts->flags[i] : 0;
}

static int compare_files(const void *a, const void *b)
{
	const struct file_id *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static bool is_code_file(const struct scene *s, const struct target_mapping *map)
{
	struct file_id id = { map->dev, map->inode };

	return map->inode && bsearch(&id, s->code, s->code_cnt, sizeof(id), compare_files);
}

static int find_code_files(struct scene *s)
{
	size_t cnt = 0;

	for (size_t i = 0; i < s->cnt; i++)
		cnt += is_exec(&s->maps[i]) && s->maps[i].inode;
	s->code = calloc(cnt + 1, sizeof(*s->code));
	if (!s->code)
		return -ENOMEM;
	for (size_t i = 0; i < s->cnt; i++)
		if (is_exec(&s->maps[i]) && s->maps[i].inode)
			s->code[s->code_cnt++] = (struct file_id){ s->maps[i].dev, s->maps[i].inode };
	qsort(s->code, s->code_cnt, sizeof(*s->code), compare_files);
	return 0;
}

/* The first of the sorted addresses that is not below addr; UINT64_MAX when there is none. */
static uint64_t first_from(const uint64_t *addrs, size_t cnt, uint64_t addr)
{
	size_t low = 0, high = cnt;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (addrs[mid] < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < cnt ? addrs[low] : UINT64_MAX;
}

static bool holds_sp(const struct scene *s, const struct target_mapping *map)
{
	return first_from(s->facts->sp_addrs, s->facts->sps_cnt, map->start) < map->end;
}

static bool has_guard(const struct scene *s, size_t i)
{
	const struct target_mapping *low = &s->maps[i - 1];

	/* what is kept out of core dumps is a runtime's reserve */
	return is_joined(s, i) && is_private_anon(low) && is_reserved(low) && bytes_of(low) <= GUARD_BYTES_MAX &&
	       !(flags_of(s, i - 1) & REGION_FLAG_DONTDUMP);
}

/* Those that have names or files. */
static enum region_kind kind_by_name(const struct scene *s, const struct target_mapping *map)
{
	const char *path = map->path;

	if (begins(path, "[heap"))
		return REGION_HEAP;
	/* "[stack:TID]" before 4.5 */
	if (begins(path, "[stack") || begins(path, "[anon: glibc: pthread stack"))
		return REGION_STACK;
	if (begins(path, "[anon: glibc: malloc arena"))
		return REGION_ARENA;
	if (begins(path, "/memfd:"))
		return is_exec(map) || is_code_file(s, map) ? REGION_JIT : REGION_SHMEM;
	if (begins(path, "/dev/zero") || begins(path, "/SYSV") || begins(path, "/dev/shm/") || begins(path, "[anon_shmem:"))
		return REGION_SHMEM;
	if (begins(path, "/anon_hugepage"))
		return map->prot[3] == 's' ? REGION_SHMEM : REGION_ANON;
	if (is_private_anon(map))
		return UNDECIDED;
	if (*path != '/' || begins(path, "/dev/"))
		return REGION_OTHER;
	if (!is_code_file(s, map))
		return REGION_FILE;
	return is_writable(map) ? REGION_DATA : REGION_CODE;
}

/* Pages that the dynamic linker relocated and then made read-only lie just below those that stay writable. */
static void mark_relocated(struct scene *s)
{
	for (size_t i = 1; i < s->cnt; i++) {
		const struct target_mapping *map = &s->maps[i], *low = map - 1;

		if (s->kinds[i] == REGION_DATA && s->kinds[i - 1] == REGION_CODE && is_joined(s, i) && !is_exec(low) && low->off &&
		    low->dev == map->dev && low->inode == map->inode)
			s->kinds[i - 1] = REGION_DATA;
	}
}

/*
 * What a segment has beyond its file lies behind the file's last page that can be written. So does, by chance, what was
 * mapped before the library: the kernel puts new mappings just below old ones, and makes one of two that are alike. The
 * larger part names the whole.
 */
static bool is_bss(const struct scene *s, size_t i)
{
	const struct target_mapping *map = &s->maps[i];
	uint64_t image_end;

	if (s->kinds[i] != UNDECIDED || !is_joined(s, i) || !is_writable(map) || is_exec(map) ||
	    s->kinds[i - 1] != REGION_DATA || !map[-1].inode || !is_writable(map - 1))
		return false;
	if (!s->facts->image_end_addrs)
		return bytes_of(map) <= BSS_BYTES_MAX;
	image_end = first_from(s->facts->image_end_addrs, s->facts->image_ends_cnt, map->start + 1);
	return image_end >= map->end ? image_end == map->end : image_end - map->start >= map->end - image_end;
}

static void mark_bss(struct scene *s)
{
	for (size_t i = 1; i < s->cnt; i++)
		if (is_bss(s, i))
			s->kinds[i] = REGION_DATA;
}

static bool is_stack(const struct scene *s, size_t i)
{
	const struct target_mapping *map = &s->maps[i];
	bool guarded = has_guard(s, i), pointed = holds_sp(s, map);

	if (s->kinds[i] != UNDECIDED || !is_writable(map) || is_exec(map) || bytes_of(map) > STACK_BYTES_MAX)
		return false;
	/* Go's threads have stacks in its heap, which it places low and may keep from huge pages */
	if (flags_of(s, i) & REGION_FLAG_NOHUGE)
		return guarded || (pointed && map->start >= s->half_addr);
	/* .NET's heap has pieces of the same length behind reserves, but those have no guard's length */
	return guarded && (pointed || (!s->stacks_marked && bytes_of(map) == s->stack_bytes &&
				       bytes_of(map - 1) == s->guard_bytes));
}

static void mark_stack(struct scene *s, size_t i)
{
	s->kinds[i] = REGION_STACK;
	if (has_guard(s, i))
		s->kinds[i - 1] = REGION_STACK;
}

/*
 * Twice: the first time tells how long most stacks are. glibc keeps stacks of threads that have ended, and a thread that
 * runs shows no stack pointer.
 */
static void mark_stacks(struct scene *s)
{
	for (int pass = 0; pass < 2; pass++) {
		uint64_t stack_bytes = s->stack_bytes;

		for (size_t i = 0; i < s->cnt; i++) {
			if (!is_stack(s, i))
				continue;
			mark_stack(s, i);
			s->stacks_marked |= (flags_of(s, i) & REGION_FLAG_NOHUGE) != 0;
			/* small ones are too many things' length */
			if (has_guard(s, i) && bytes_of(&s->maps[i]) > stack_bytes && bytes_of(&s->maps[i]) >= STACK_BYTES_MIN) {
				stack_bytes = bytes_of(&s->maps[i]);
				s->guard_bytes = bytes_of(&s->maps[i - 1]);
			}
		}
		s->stack_bytes = stack_bytes;
	}
}

static bool is_arena_part(const struct scene *s, size_t i)
{
	uint8_t flags = flags_of(s, i);

	return s->kinds[i] == UNDECIDED && !is_exec(&s->maps[i]) && (!flags || (flags & REGION_FLAG_NORESERVE));
}

/* How many mappings, from i on, are a heap of an arena, or several without a gap; 0 = none. */
static size_t arena_parts(const struct scene *s, size_t i)
{
	size_t n = 0;
	bool reserve = false;

	if (s->maps[i].start % ARENA_ALIGN_BYTES || !is_writable(&s->maps[i]))
		return 0;
	while (i + n < s->cnt && is_arena_part(s, i + n) && (!n || is_joined(s, i + n))) {
		const struct target_mapping *map = &s->maps[i + n++];

		reserve |= is_reserved(map);
		if (map->end % ARENA_ALIGN_BYTES)
			continue;
		/* one that is used up has no reserve: only its flag tells it */
		if (flags_of(s, i))
			return n;
		/* .NET's heap may begin and end at such places, but its pieces are smaller or many */
		if (s->facts->runtime == REGION_RUNTIME_DOTNET && (n != 2 || map->end - s->maps[i].start != ARENA_ALIGN_BYTES))
			return 0;
		return reserve ? n : 0;
	}
	return 0;
}

static void mark_arenas(struct scene *s)
{
	for (size_t i = 0; i < s->cnt; i++)
		for (size_t n = arena_parts(s, i); n; n--)
			s->kinds[i + n - 1] = REGION_ARENA;
}

static void mark_v8(struct scene *s)
{
	for (size_t i = 0; i < s->cnt; i++) {
		const struct target_mapping *map = &s->maps[i];

		/* behind the executable, which may lie low */
		if (s->kinds[i] == UNDECIDED && !is_exec(map) && map->prot[0] == 'r' && !(map->start % V8_PAGE_BYTES) &&
		    map->end <= s->half_addr)
			s->kinds[i] = REGION_MANAGED;
	}
}

/* What is known of a run. */
struct run {
	size_t end;		/* the index behind its last */
	uint64_t bytes;
	bool reserved, dontdump, exec, writable, flags;
};

static struct run run_at(const struct scene *s, size_t first)
{
	struct run run = { .end = first };

	for (size_t i = first; i < s->cnt && s->kinds[i] == UNDECIDED && (i == first || is_joined(s, i)); i++) {
		run.end = i + 1;
		run.bytes += bytes_of(&s->maps[i]);
		run.exec |= is_exec(&s->maps[i]);
		run.writable |= is_writable(&s->maps[i]);
		run.flags |= flags_of(s, i) != 0;
		if (is_reserved(&s->maps[i])) {
			run.reserved = true;
			run.dontdump |= (flags_of(s, i) & REGION_FLAG_DONTDUMP) != 0;
		}
	}
	return run;
}

/*
 * In a reserve for code, what can be written but not executed: .NET's is shared memory, V8's are heads of pages. A large block
 * of malloc may by chance lie just below V8's reserve.
 */
static bool is_code_head(const struct scene *s, size_t i)
{
	const struct target_mapping *map = &s->maps[i];
	uint8_t flags = flags_of(s, i);

	if (!is_writable(map))
		return true;
	if (s->facts->runtime != REGION_RUNTIME_V8)
		return false;
	return !(map->start % V8_PAGE_BYTES) && (flags ? (flags & REGION_FLAG_NORESERVE) != 0 : bytes_of(map) <= V8_PAGE_BYTES);
}

/* Reserves of runtimes: for code, where a part can be executed, else .NET's heap. */
static void mark_runs(struct scene *s)
{
	struct run run;

	for (size_t i = 0; i < s->cnt; i = run.end) {
		run = run_at(s, i);
		if (run.end == i) {
			run.end++;
			continue;
		}
		for (size_t n = i; n < run.end; n++)
			if (is_exec(&s->maps[n]) || (s->facts->runtime != REGION_RUNTIME_NONE && run.exec && run.reserved &&
						     is_code_head(s, n)))
				s->kinds[n] = REGION_JIT;
			else if (s->facts->runtime == REGION_RUNTIME_DOTNET && run.reserved && run.writable && !run.exec &&
				 (run.flags ? run.dontdump : run.bytes >= GC_RUN_BYTES_MIN))
				s->kinds[n] = REGION_MANAGED;
	}
}

int regions_classify(const struct target_mapping *maps, size_t cnt, const struct region_facts *facts, enum region_kind *ret_kinds)
{
	struct scene s = { .maps = maps, .cnt = cnt, .facts = facts, .kinds = ret_kinds };
	int err;

	err = find_code_files(&s);
	if (err)
		return err;
	for (size_t i = 0; i < cnt; i++) {
		ret_kinds[i] = kind_by_name(&s, &maps[i]);
		/* the main thread's is the topmost that is the process's own, but for the vdso */
		while (ret_kinds[i] == REGION_STACK && s.half_addr < maps[i].end / 2)
			s.half_addr = s.half_addr ? s.half_addr * 2 : 1;
	}
	mark_relocated(&s);
	mark_bss(&s);
	mark_stacks(&s);
	mark_arenas(&s);
	if (facts->runtime == REGION_RUNTIME_V8)
		mark_v8(&s);
	mark_runs(&s);
	for (size_t i = 0; i < cnt; i++)
		if (ret_kinds[i] == UNDECIDED)
			ret_kinds[i] = REGION_ANON;
	free(s.code);
	return 0;
}

static bool is_file_named(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');
	size_t len = strlen(name);

	base = base ? base + 1 : path;
	/* "node", "node (deleted)", "libnode.so.108", but not "nodemon" */
	return !strncmp(base, name, len) && (!base[len] || base[len] == ' ' || base[len] == '.');
}

enum region_runtime region_runtime_of(const struct target_mapping *maps, size_t cnt)
{
	static const char *const v8[] = { "node", "nodejs", "libnode.so", "libv8.so", "deno", "electron", "chrome" };

	for (size_t i = 0; i < cnt; i++) {
		if (!is_exec(&maps[i]) || !maps[i].inode)
			continue;
		if (is_file_named(maps[i].path, "libcoreclr.so"))
			return REGION_RUNTIME_DOTNET;
		for (size_t n = 0; n < sizeof(v8) / sizeof(*v8); n++)
			if (is_file_named(maps[i].path, v8[n]))
				return REGION_RUNTIME_V8;
	}
	return REGION_RUNTIME_NONE;
}
