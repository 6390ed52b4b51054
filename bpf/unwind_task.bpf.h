/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel knows of the current task and a walk must ask: the return addresses that its return probes have
 * replaced by the address of a trampoline.
 */
#ifndef EBB_UNWIND_TASK_BPF_H
#define EBB_UNWIND_TASK_BPF_H

#define TRAMPOLINES_MAX	64	/* MAX_URETPROBE_DEPTH of kernel/events/uprobes.c */

/*
 * The return address of the frame whose caller has the stack pointer sp, if a return probe has it; else 0. Where several
 * probes are on one function, or it has jumped to another one with a probe, they form a chain over one frame and the
 * last has the true address. ~180 ns.
 */
__noinline __u64 return_address(__u64 sp)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *ri = BPF_CORE_READ(task, utask, return_instances);
	__u64 addr = 0;

	for (int i = 0; i < TRAMPOLINES_MAX && ri; i++) {
		if (UNWIND_PROBED(BPF_CORE_READ(ri, stack), sp)) {
			addr = BPF_CORE_READ(ri, orig_ret_vaddr);
			if (!BPF_CORE_READ(ri, chained))
				return addr;
		} else if (addr) {
			break;
		}
		ri = BPF_CORE_READ(ri, next);
	}
	return addr;
}

#endif
