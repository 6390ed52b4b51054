/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The traced process, seen from outside: identity, mappings, files, state. Never stops it, never
 * writes to it.
 *
 * A pid is not an identity: it can be reused. target_open() takes a pidfd and the start time together
 * and checks that they belong to each other; everything that is read later is believed only while the
 * pidfd says that the process is alive.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/file.h"

struct hashmap;

/*
 * A file that is or was mapped executable. Found once per (dev, inode), and again when it was written over; kept until
 * target_free().
 */
struct target_module {
	char *path;		/* as maps says, unescaped, without " (deleted)" */
	/*
	 * What the kernel opens for a uprobe: /proc/self/fd/N of `fd`, so it is the file that was read
	 * and stays valid when mappings are split; /proc/PID/map_files/… when fd is -1.
	 */
	char *attach_path;
	uint64_t dev, inode;	/* as maps says; fstat() says others on btrfs and overlayfs */
	/*
	 * Address in the process - va in the file, of its newest mapping. A file that is mapped twice
	 * (dlmopen, or unloaded and loaded elsewhere) has two: target_mapping_va() is right for each.
	 */
	uint64_t bias;
	int fd;			/* read-only; -1 when it could not be opened: see open_err */
	int open_err;		/* negative errno */
	bool deleted;
	bool is_exe;
	bool is_vdso;		/* [vdso]: fd is a copy of its memory */
	bool is_plain;		/* its symbols were looked at: no allocator and no danger in it; see survey_mark_plain() */
	struct file_facts facts;
	uint64_t size_bytes, mtime_ns;	/* of the file when it was opened; 0 when it was not */
	uint64_t file_key;	/* a hash of what tells this file, as it is now, from others: for caches */
	size_t index;		/* in target.modules */
};

struct target_mapping {
	uint64_t start, end;	/* addresses */
	uint64_t off;		/* in the file */
	uint64_t dev, inode;
	char prot[4];		/* "rwxp", not terminated */
	char *path;		/* "" for anonymous; "[heap]", "[stack]" … */
	struct target_module *module;	/* executable mappings of files and the vdso; else NULL */
	uint8_t epoch;		/* how many other files' code was at its addresses before: see target_mapping_of() */
	bool gone;		/* not in the newest reading of maps; kept so that old stacks keep names */
};

struct target {
	pid_t pid;
	int pidfd;
	int proc_fd;		/* /proc/PID: reads through it fail once this process is gone */
	int mem_fd;		/* /proc/PID/mem, of the address space that it had when it was opened; -1 = not allowed */
	struct worker *worker;	/* reads the files; borrowed */
	uint64_t start_ticks;	/* field 22 of stat */
	uint64_t start_stack_addr, start_brk_addr;	/* of its address space: others after exec */
	char *comm;
	char *exe;		/* path as the target sees it */
	struct target_mapping *mappings;	/* sorted by start; gone ones behind the others */
	size_t mappings_cnt;
	struct target_module **modules;
	size_t modules_cnt;
	struct hashmap *module_index;	/* {dev, inode} -> index in modules */
	uint8_t epochs_lost;	/* as many epochs as gone mappings had that are not kept any more */
	uint64_t maps_hash;	/* of the text of the last reading */
};

enum target_problem {
	TARGET_OK,
	TARGET_NO_PROCESS,	/* or its pid now belongs to another one */
	TARGET_ZOMBIE,
	TARGET_KERNEL_THREAD,
	TARGET_32BIT,
	TARGET_SELF,
	TARGET_NO_ACCESS,	/* CAP_SYS_PTRACE is missing, or hidepid */
	TARGET_THREAD,		/* a thread id; tgid in *ret_tgid */
};

/*
 * Opens a process. w: reads its files, borrowed until target_free(); NULL: see file_facts_read(). On failure a negative
 * errno and *ret_problem says which; *ret_tgid is set for TARGET_THREAD.
 */
int target_open(pid_t pid, struct worker *w, struct target **ret, enum target_problem *ret_problem, pid_t *ret_tgid);
/*
 * The same for who reads numbers only: no mappings, no files, no worker, and 32-bit programs, too. Memory that we may not look at
 * is TARGET_NO_ACCESS.
 */
int target_open_plain(pid_t pid, struct target **ret, enum target_problem *ret_problem, pid_t *ret_tgid);
struct target *target_free(struct target *t);

bool target_is_alive(const struct target *t);
/*
 * False when it has called exec since it was opened (or has ended): what is known of its memory is of another program.
 */
bool target_is_same_image(const struct target *t);
/*
 * Reads maps again; modules that are new get their file opened, and the worker is asked about it. 1 when executable
 * mappings of files changed, 0 when not, or a negative errno and then what was known stays (-EBUSY: try again).
 * Pointers to mappings are invalid after it, those to modules are not.
 */
int target_refresh(struct target *t);
/* Whether its file was written over since it was opened: what is read from it now may not be what was mapped. */
bool target_module_changed(const struct target_module *m);
/* Whether code of it is mapped now. */
bool target_module_is_mapped(const struct target *t, const struct target_module *m);
/* Mapping that holds addr, the newest first; NULL when none does. */
const struct target_mapping *target_mapping_at(const struct target *t, uint64_t addr);
/*
 * The mapping of that epoch that holds or held addr: a frame names both (STACK_FRAME_EPOCH() of bpf/abi.h). STACK_EPOCHS:
 * the one that is the only one that was ever seen there. NULL when there is none.
 */
const struct target_mapping *target_mapping_of(const struct target *t, uint64_t addr, uint32_t epoch);
/* The va, in its module's file, of an address in this mapping. -ENOENT: no module, or not in a segment. */
int target_mapping_va(const struct target_mapping *map, uint64_t addr, uint64_t *ret_va);
/* Address - va for this mapping's code. -ENOENT: no module, or no code in it. */
int target_mapping_bias(const struct target_mapping *map, uint64_t *ret_bias);
/* Address of a va of a module in the process. */
static inline uint64_t target_addr(const struct target_module *m, uint64_t va)
{
	return va + m->bias;
}
/* Reads the process's memory; bytes read, or a negative errno. After exec the memory is gone: -ESRCH. Never writes. */
ssize_t target_read(const struct target *t, uint64_t addr, void *buf, size_t len);

/* Processes whose comm or executable's base name is `name`. The caller frees *ret_pids. */
int target_find_by_name(const char *name, pid_t **ret_pids, size_t *ret_cnt);

struct target_memory {
	uint64_t rss_bytes, anon_bytes, file_bytes, shmem_bytes;	/* /proc/PID/status */
	uint64_t heap_bytes;	/* resident part of [heap]; 0 when there is none */
};
int target_memory_read(const struct target *t, struct target_memory *ret);
/* The same without heap_bytes, which is left alone: the kernel walks the heap's pages for it, and this costs nothing. */
int target_memory_counters(const struct target *t, struct target_memory *ret);
/* As the target itself is told who it is: a container has its own numbers for processes. */
struct target_ids {
	pid_t own_pid;				/* in its own pid namespace */
	uint64_t pidns_dev, pidns_ino;		/* which is this one */
	uid_t fs_uid;				/* that its files belong to, as we see it */
};
/* -ESRCH: it has ended. */
int target_ids_read(const struct target *t, struct target_ids *ret);
/* CPU time of all its threads, user and system, nanoseconds. */
int target_cpu_ns(const struct target *t, uint64_t *ret_ns);
int target_threads_cnt(const struct target *t);
/* Page faults that the kernel has counted for it, of all its threads and in all its life: minor ones, major ones. */
int target_faults_read(const struct target *t, uint64_t *ret_minor, uint64_t *ret_major);
/* Its anonymous memory in huge pages. Walks its page tables, so not often. */
int target_huge_read(const struct target *t, uint64_t *ret_bytes);
/* Whether it has children that run the same file, as a pre-forking server has. False where the kernel does not say. */
bool target_has_forked(const struct target *t);

#endif
