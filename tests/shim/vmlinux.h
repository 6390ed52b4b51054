/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for the kernel's types when BPF C is compiled for this machine: a program that only computes
 * needs only the integers, and names of numbers. Unit tests alone are compiled with -isystem tests/shim.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT,
	TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING, TCP_NEW_SYN_RECV,
};

/* What a walk asks of a task: bpf/unwind_task.bpf.h, bpf/unwind.bpf.c. */
struct pt_regs {
	unsigned long ip, sp, bp;	/* x86-64 */
	unsigned long pc, regs[31];	/* arm64 */
};

struct return_instance {
	unsigned long stack, orig_ret_vaddr;
	bool chained;
	struct return_instance *next;
};

struct uprobe_task {
	struct return_instance *return_instances;
};

struct task_struct {
	struct uprobe_task *utask;
	void *mm;
	u32 self_exec_id;
	u64 start_boottime;
	struct task_struct *group_leader;
};

/* What the makefile tells clang about the machine that the programs run on. */
#if defined(__x86_64__)
#define __TARGET_ARCH_x86
#elif defined(__aarch64__)
#define __TARGET_ARCH_arm64
#endif

#endif
