/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "source/loader.h"

/* libbpf's warnings explain a failed load at length: they are for -v, the short words are ours. */
static int loader_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level == LIBBPF_DEBUG || log_get_level() < LOG_DEBUG)
		return 0;
	return vfprintf(stderr, fmt, args);
}

int loader_prepare(void)
{
	struct rlimit files, memlock = { RLIM_INFINITY, RLIM_INFINITY };

	libbpf_set_print(loader_print);
	/* Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; where it cannot be raised, loading tells. */
	setrlimit(RLIMIT_MEMLOCK, &memlock);
	/* Books of 4 GiB are 4,096 chunks, a descriptor each. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return 0;
}

/* Whether this process may load programs at all: the smallest one of the type that needs the most. */
static bool may_load(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "ebb_may_load", "GPL", insns, 2, NULL);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int loader_error(int err, const char *what)
{
	/* The verifier's refusal has the number of a missing privilege. */
	if (err == -EACCES && may_load())
		return log_error(-EOPNOTSUPP, "%s: this kernel's verifier refuses them (-v shows what it said); ebb is tested "
				 "on Linux 6.1 and later", what);
	if (err == -EPERM || err == -EACCES)
		return log_error(err, "%s: not permitted; needs CAP_BPF and CAP_PERFMON (run as root: sudo ebb …), "
				 "and a kernel that is not locked down", what);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return log_error(-EOPNOTSUPP, "%s: this kernel has no BTF (/sys/kernel/btf/vmlinux); ebb needs a kernel built "
				 "with CONFIG_DEBUG_INFO_BTF", what);
	return log_error(err, "%s: %s (-v shows what the kernel said)", what, strerror(-err));
}

int loader_share_maps(struct bpf_object *to, const struct bpf_object *from)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, to) {
		const struct bpf_map *shared;
		int err;

		/* .rodata, and what is bound to one type of programs (task_stack.bpf.h): each has its own */
		if (bpf_map__is_internal(map) || bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY)
			continue;
		shared = bpf_object__find_map_by_name(from, bpf_map__name(map));
		if (!shared)
			return -ENOENT;
		err = bpf_map__reuse_fd(map, bpf_map__fd(shared));
		if (err)
			return err;
	}
	return 0;
}

uint64_t loader_map_bytes(const struct bpf_object *obj)
{
	uint64_t sum = 0, bytes;
	struct bpf_map *map;
	char line[128];
	FILE *f;

	bpf_object__for_each_map(map, obj) {
		snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", bpf_map__fd(map));
		f = fopen(line, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
				sum += bytes;
		if (f)
			fclose(f);
	}
	return sum;
}

static bool program_info(const struct bpf_program *prog, struct bpf_prog_info *ret)
{
	__u32 len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_program__fd(prog) >= 0 && !bpf_obj_get_info_by_fd(bpf_program__fd(prog), ret, &len);
}

void loader_add_runs(const struct bpf_object *obj, uint64_t *cnt, uint64_t *ns)
{
	struct bpf_prog_info info;
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		if (!program_info(prog, &info))
			continue;
		*cnt += info.run_cnt;
		*ns += info.run_time_ns;
	}
}

uint64_t loader_missed(const struct bpf_object *obj)
{
	struct bpf_prog_info info;
	struct bpf_program *prog;
	uint64_t sum = 0;

	bpf_object__for_each_program(prog, obj)
		if (program_info(prog, &info))
			sum += info.recursion_misses;
	return sum;
}
