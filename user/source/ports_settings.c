/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "source/ports_settings.h"

/* The kernel's address of a function; 0 when it may not be seen. */
static uint64_t kernel_symbol(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[256], symbol[128];
	uint64_t addr, found = 0;

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %*c %127s", &addr, symbol) == 2 && !strcmp(symbol, name))
			found = addr;
	if (f)
		fclose(f);
	return found;
}

static int first_cookie(const struct netns_info *info, void *ctx)
{
	*(uint64_t *)ctx = info->cookie;
	return 0;
}

int ports_namespaces(const struct ports_options *opt, struct netns_list **ret)
{
	if (opt->netns_path)
		return netns_list_path(opt->netns_path, ret);
	if (opt->netns_pid)
		return netns_list_pid(opt->netns_pid, ret);
	return netns_list_all(ret);
}

int ports_namespaces_error(const struct ports_options *opt, int err)
{
	char *safe = opt->netns_path ? text_safe(opt->netns_path) : NULL;

	if (err == -EPERM || err == -EACCES)
		log_error(err, "entering network namespaces is not permitted: needs CAP_SYS_ADMIN and CAP_SYS_PTRACE; try: "
			  "sudo ebb ports");
	else if (opt->netns_path)
		log_error(err, "%s: %s; `ip netns` lists the names, and a PID is one, too", safe ? safe : "",
			  err == -EINVAL ? "no network namespace" : strerror(-err));
	else if (opt->netns_pid)
		log_error(err, "the network namespace of process %d: %s", (int)opt->netns_pid, strerror(-err));
	else
		log_error(err, "listing network namespaces: %s", strerror(-err));
	free(safe);
	return err;
}

int ports_settings_fill(const struct ports_options *opt, struct ports_settings *set)
{
	struct netns_list *list = NULL;
	struct stat pid, uts;
	int err;

	/* said before loading: for one tracepoint that is not there libbpf fails the whole object (6.1: error 3) */
	if (opt->udp && libbpf_find_vmlinux_btf_id("sock_send_length", BPF_TRACE_RAW_TP) == -ENOENT)
		return log_error(-EOPNOTSUPP, "--udp needs Linux 6.3 or later: this kernel does not tell how a send has ended "
				 "(tracepoint sock_send_length)");

	if (stat("/proc/self/ns/pid", &pid) || stat("/proc/self/ns/uts", &uts))
		return log_error(-errno, "reading /proc/self/ns: %s", strerror(errno));
	/* a flow takes about 1.2 KiB with its keys, a stack 100 bytes, an owner the same */
	*set = (struct ports_settings){
		.pid_inode = pid.st_ino,
		.uts_inode = uts.st_ino,
		.no_stacks = opt->no_stacks,
		.flows_max = opt->max_memory_bytes / 2048,
		.owners_max = opt->max_memory_bytes / 2048,
		.udp = opt->udp,
	};
	if (opt->exact_tw) {
		set->tw_handler = kernel_symbol("tw_timer_handler");
		if (!set->tw_handler)
			return log_error(-EPERM, "--exact-time-wait needs the address of a kernel function: CAP_SYSLOG is missing, or "
					 "kernel.kptr_restrict hides it");
	}
	if (!opt->netns_path && !opt->netns_pid)
		return 0;
	err = ports_namespaces(opt, &list);
	if (!err)
		err = netns_list_visit(list, first_cookie, &set->netns, NULL);
	if (!err && !set->netns)
		err = -ESRCH;
	netns_list_free(list);
	return err ? ports_namespaces_error(opt, err) : 0;
}

uint32_t ports_wheel_shift(uint64_t jiffies)
{
	uint32_t shift = 0;

	while (jiffies >= (63ull << shift))	/* LVL_START(n + 1) */
		shift += 3;
	return shift;
}
