/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each mapping of a process is for: its heap, a runtime's heap, a stack, code. The kernel does not say; it is told by
 * shape, place and flags, by rules that region.c explains. What no rule knows is REGION_ANON or REGION_FILE, not a guess.
 */
#ifndef TARGET_REGION_H
#define TARGET_REGION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target_mapping;

enum region_kind {
	REGION_HEAP,		/* brk: glibc's main arena, and what other allocators take there */
	REGION_ARENA,		/* glibc's other arenas */
	REGION_MANAGED,		/* V8's or .NET's heap */
	REGION_JIT,		/* code that was made at run time; of .NET its loader's data as well */
	REGION_STACK,		/* of the main thread and of the others, with their guards */
	REGION_ANON,		/* other private memory without a file: large blocks of malloc, other allocators */
	REGION_CODE,		/* of executables and libraries: code and what is only read */
	REGION_DATA,		/* of executables and libraries: what can be written or was relocated; .bss */
	REGION_FILE,		/* other mapped files */
	REGION_SHMEM,		/* shared anonymous memory, memfd, System V, POSIX */
	REGION_OTHER,		/* the vdso and its data, devices, rings of the kernel */
	REGION_KINDS
};

/* "malloc heap (brk)", for people. */
const char *region_kind_label(enum region_kind kind);
/* "heap", for formats. */
const char *region_kind_name(enum region_kind kind);

enum region_runtime { REGION_RUNTIME_NONE, REGION_RUNTIME_V8, REGION_RUNTIME_DOTNET };

/* Of the line VmFlags of smaps, what tells kinds apart. */
enum region_flag {
	REGION_FLAG_NORESERVE = 1 << 0,	/* nr */
	REGION_FLAG_NOHUGE = 1 << 1,	/* nh: since Linux 6.7 all that was mapped with MAP_STACK */
	REGION_FLAG_DONTDUMP = 1 << 2,	/* dd */
	REGION_FLAG_KNOWN = 1 << 7,	/* there was such a line */
};
/* From what is behind "VmFlags:"; up to the end of the line. */
uint8_t region_flags_parse(const char *words);

struct region_facts {
	enum region_runtime runtime;
	const uint64_t *sp_addrs;	/* stack pointers of threads, in rising order */
	size_t sps_cnt;
	const uint8_t *flags;		/* one a mapping; NULL = not known */
	/* Where files' data ends in memory, .bss included, in rising order; NULL = not known. */
	const uint64_t *image_end_addrs;
	size_t image_ends_cnt;
};

/* What runs there, by the files that it has mapped. */
enum region_runtime region_runtime_of(const struct target_mapping *maps, size_t cnt);
/* The kind of each mapping; maps are sorted, as maps_parse() gives them. -ENOMEM. */
int regions_classify(const struct target_mapping *maps, size_t cnt, const struct region_facts *facts, enum region_kind *ret_kinds);

struct region {
	uint64_t start, end;
	enum region_kind kind;
};

/* Sorted, without overlap; neighbours of one kind are one region. */
struct regions {
	struct region *list;
	size_t cnt;
};

/*
 * Of a process, by a descriptor of /proc/PID. Reads maps, which walks no page tables, and the threads' stack pointers where
 * that is allowed. -ESRCH: it has no memory (any more); -EACCES; -ENOMEM; -EBADMSG.
 */
int regions_read(int proc_fd, struct regions *ret);
void regions_free(struct regions *r);
/* That holds addr; NULL when none does. */
const struct region *regions_at(const struct regions *r, uint64_t addr);

/*
 * Where the files end that are mapped with code, by their program headers as they are in the process's memory: sorted, rounded
 * up to pages. *ret is NULL where its memory may not be read. The caller frees it. -ENOMEM.
 */
int region_image_ends_read(int proc_fd, const struct target_mapping *maps, size_t cnt, uint64_t **ret, size_t *ret_cnt);

struct region_threads {
	uint64_t *sp_addrs;		/* sorted; a thread that runs at the moment shows none */
	size_t sps_cnt, threads_cnt;
	enum region_runtime runtime;	/* by the threads' names; REGION_RUNTIME_NONE: they do not say */
};
/* Threads that end meanwhile are left out. -ENOMEM or what opening task/ gives. */
int region_threads_read(int proc_fd, struct region_threads *ret);
void region_threads_free(struct region_threads *t);

#endif
