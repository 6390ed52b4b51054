/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walker (bpf/unwind.bpf.c and all that it includes) compiled for this machine. Its maps are memory of this process,
 * behind descriptors where user space maps them; user memory is another process's or a picture of one. Included by
 * the programs that test it, once each.
 */
#ifndef UNIT_UNWIND_HOST_H
#define UNIT_UNWIND_HOST_H

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi.h"
#include "trace/tables.h"

#define HOST_CPUS	2
#define HOST_SEATS	(HOST_CPUS + STACK_SPARES)
#define HOST_MEMOS	16
#define HOST_STACKS	4096
#define HOST_MAPPINGS	(2 * UNWIND_MAPPINGS_MAX)

static void *host_chunks[UNWIND_CHUNKS_MAX];

static void *host_map(int fd, size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		abort();
	return mem;
}

static int host_fd(size_t bytes)
{
	int fd = memfd_create("map", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (bytes + 4095) & ~4095ul))
		abort();
	return fd;
}

/* In the place of libbpf's own two, for the product's tables: a map is a file in memory. */
int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size, __u32 max_entries,
		   const struct bpf_map_create_opts *opts)
{
	(void)type, (void)name, (void)key_size, (void)opts;
	return host_fd((size_t)value_size * max_entries);
}

int bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *cnt, const struct bpf_map_batch_opts *opts)
{
	(void)fd, (void)opts;
	for (__u32 i = 0; i < *cnt; i++)
		host_chunks[((const __u32 *)keys)[i]] = host_map(((const int *)values)[i], sizeof(struct unwind_chunk));
	return 0;
}

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#define memo_put	host_memo_put	/* base/memo.h has one too */
#include "unwind.bpf.c"

#include "test.h"

/* Memory of the process that is walked, where it is no process. */
struct host_region {
	__u64 addr, len;
	const void *bytes;
};

static struct {
	int processes_fd, mappings_fd, rules_fd;
	struct unwind_process *process;
	struct unwind_mapping *mappings;
	__u64 *rules;
	struct stack_cpu *seats[HOST_SEATS];
	struct stack_memo *memos;
	struct stack_state state;
	struct { struct stack_key key; struct stack_id id; } ids[HOST_STACKS];
	size_t ids_cnt;
	struct stack_event events[HOST_STACKS];	/* by index */
	size_t events_cnt;
	bool ring_full;
	bool keys_equal;	/* the worst hash that there is */

	unsigned int cpu;
	struct task_struct task;
	struct uprobe_task utask;
	struct pt_regs regs;
	pid_t pid;		/* its memory is read; 0: the regions */
	struct host_region regions[8];
	size_t reads_cnt, reads_quiet;
	void (*on_read)(void);	/* before each but the first reads_quiet */
} host;

void *shim_map_lookup_elem(void *map, const void *key)
{
	__u32 i = *(const __u32 *)key;

	if (map == &stack_state)
		return i ? NULL : &host.state;
	if (map == &stack_cpus)
		return i < HOST_SEATS ? host.seats[i] : NULL;
	if (map == &stack_memo)
		return i < HOST_SEATS * HOST_MEMOS ? &host.memos[i] : NULL;
	if (map == &unwind_processes)
		return i ? NULL : host.process;
	if (map == &unwind_mappings)
		return i < HOST_MAPPINGS ? &host.mappings[i] : NULL;
	if (map == &unwind_rules)
		return i < UNWIND_RULES_MAX ? &host.rules[i] : NULL;
	if (map == &unwind_chunks)
		return i < UNWIND_CHUNKS_MAX && host_chunks[i] ? &host_chunks[i] : NULL;
	if (map == &stack_ids) {
		for (size_t at = 0; at < host.ids_cnt; at++)
			if (host.keys_equal || !memcmp(&host.ids[at].key, key, sizeof(struct stack_key)))
				return &host.ids[at].id;
		return NULL;
	}
	if (map == &unwind_pids)
		return NULL;
	return i ? NULL : *(void **)map;	/* a chunk */
}

long shim_map_delete_elem(void *map, const void *key)
{
	(void)map, (void)key;
	CHECK(!"nobody forks here");
	return -ENOENT;
}

long shim_map_update_elem(void *map, const void *key, const void *value, unsigned long long flags)
{
	CHECK(map == &stack_ids && flags == BPF_NOEXIST);
	if (shim_map_lookup_elem(map, key))
		return -EEXIST;
	if (host.ids_cnt == HOST_STACKS)
		return -E2BIG;
	host.ids[host.ids_cnt].key = *(const struct stack_key *)key;
	host.ids[host.ids_cnt++].id = *(const struct stack_id *)value;
	return 0;
}

/* As the kernel's: all of it or nothing, and then zeroes. */
long shim_probe_read_user(void *dst, unsigned int size, const void *from)
{
	__u64 addr = (__u64)from;
	struct iovec here = { dst, size }, there = { (void *)from, size };

	host.reads_cnt++;
	if (host.on_read && host.reads_cnt > host.reads_quiet)
		host.on_read();
	if (host.pid && process_vm_readv(host.pid, &here, 1, &there, 1, 0) == (ssize_t)size)
		return 0;
	for (size_t i = 0; !host.pid && i < sizeof(host.regions) / sizeof(host.regions[0]); i++) {
		const struct host_region *r = &host.regions[i];

		if (addr < r->addr || addr - r->addr > r->len || size > r->len - (addr - r->addr))
			continue;
		memcpy(dst, (const char *)r->bytes + (addr - r->addr), size);
		return 0;
	}
	memset(dst, 0, size);
	return -EFAULT;
}

long shim_ringbuf_output(void *ring, void *data, unsigned long long size, unsigned long long flags)
{
	const struct stack_event *e = data;

	CHECK(ring == &stack_events && !flags);
	if (host.ring_full)
		return -EAGAIN;
	if (CHECK(e->index < HOST_STACKS) && CHECK(size <= sizeof(*e)))
		memcpy(&host.events[e->index], e, size);
	host.events_cnt++;
	return 0;
}

unsigned int shim_get_smp_processor_id(void) { return host.cpu; }
unsigned long long shim_get_current_pid_tgid(void) { return 1ull << 32 | 1; }
struct task_struct *shim_get_current_task(void) { return &host.task; }
long shim_task_pt_regs(struct task_struct *task) { return task == &host.task ? (long)&host.regs : 0; }

/* Settings are set once, before a program is loaded: then its constants are those. */
static inline void host_set(const volatile __u32 *constant, __u32 value)
{
	char *page = (char *)((unsigned long)constant & ~4095ul);

	if (mprotect(page, 8192, PROT_READ | PROT_WRITE))
		abort();
	*(volatile __u32 *)constant = value;
}

/* All empty, nothing counted. */
static inline void host_open(void)
{
	memset(&host, 0, sizeof(host));
	host.processes_fd = host_fd(sizeof(*host.process));
	host.mappings_fd = host_fd(HOST_MAPPINGS * sizeof(*host.mappings));
	host.rules_fd = host_fd(UNWIND_RULES_MAX * sizeof(*host.rules));
	host.process = host_map(host.processes_fd, sizeof(*host.process));
	host.mappings = host_map(host.mappings_fd, HOST_MAPPINGS * sizeof(*host.mappings));
	host.rules = host_map(host.rules_fd, UNWIND_RULES_MAX * sizeof(*host.rules));
	host.memos = calloc(HOST_SEATS * HOST_MEMOS, sizeof(*host.memos));
	/* one by one: beyond the end of a window is beyond the end of its memory */
	for (__u32 i = 0; i < HOST_SEATS; i++)
		host.seats[i] = calloc(1, sizeof(struct stack_cpu));
	host.state.next = STACK_FIRST;
	host.task.mm = &host;
	host.task.utask = &host.utask;
	host_set(&stack_spare_first, HOST_CPUS);
	host_set(&stack_memos, 0);
	host_set(&stack_check, 0);
	host_set(&stacks_max, HOST_STACKS);
}

static inline void host_close(void)
{
	munmap(host.process, sizeof(*host.process));
	munmap(host.mappings, HOST_MAPPINGS * sizeof(*host.mappings));
	munmap(host.rules, UNWIND_RULES_MAX * sizeof(*host.rules));
	close(host.processes_fd);
	close(host.mappings_fd);
	close(host.rules_fd);
	free(host.memos);
	for (__u32 i = 0; i < HOST_SEATS; i++) {
		CHECK_EQ(host.seats[i]->busy, 0);
		free(host.seats[i]);
	}
	for (__u32 i = 0; i < UNWIND_CHUNKS_MAX; i++) {
		if (host_chunks[i])
			munmap(host_chunks[i], sizeof(struct unwind_chunk));
		host_chunks[i] = NULL;
	}
}

static inline __u32 host_take(__u32 (*take)(struct pt_regs *ctx), __u64 pc, __u64 sp, __u64 bp)
{
	host.regs = (struct pt_regs){ 0 };
	UNWIND_REG_PC(&host.regs) = pc;
	UNWIND_REG_SP(&host.regs) = sp;
	UNWIND_REG_BP(&host.regs) = bp;
	return take ? take(&host.regs) : stack_take_task();
}

#endif
