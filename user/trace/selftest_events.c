/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other half of what `leak` stands on, beside uprobes: a ring buffer, and programs at raw tracepoints whose arguments have
 * BTF. Tried as `leak` uses them: a program at sched_process_fork puts a record into the ring, a child is forked, and the
 * record must arrive. Instructions by hand, because a skeleton belongs to layer source.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace/selftest.h"

#define TRACEPOINT_TYPEDEF	"btf_trace_sched_process_fork"	/* how vmlinux's BTF names a tracepoint's arguments */

#define INSN(op, dst, src, offset, value) \
	{ .code = (op), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (value) }

/* Puts 8 bytes into the ring; with ring_fd < 0 a program that does nothing. */
static int load_fork_program(int btf_id, int ring_fd)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP, .attach_btf_id = btf_id);
	const struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -8, 1),
		INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, ring_fd),
		INSN(0, 0, 0, 0, 0),		/* the upper half of the load */
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	const size_t cnt = sizeof(insns) / sizeof(insns[0]), first = ring_fd < 0 ? cnt - 2 : 0;

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "ebb_fork", "GPL", insns + first, cnt - first, &opts);
}

static int tracepoint_btf_id(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id, err = libbpf_get_error(btf);

	if (err)
		return err;
	id = btf__find_by_name_kind(btf, TRACEPOINT_TYPEDEF, BTF_KIND_TYPEDEF);
	btf__free(btf);
	return id;
}

static int count_record(void *ctx, void *data, size_t size)
{
	(void)data;
	(void)size;
	++*(unsigned int *)ctx;
	return 0;
}

static int fork_child(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0)
		return -errno;
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* What the programs of others do at the same moment may cost a record, not three. */
#define FORKS_MAX 3

/* The link is closed at once: its program runs at each fork of the machine. records_cnt is what a look at the ring counts. */
static int watch_forks(int prog_fd, struct ring_buffer *ring, const unsigned int *records_cnt)
{
	int link_fd = bpf_raw_tracepoint_open(NULL, prog_fd), err;

	if (link_fd < 0)
		return link_fd;
	err = ring ? -ENODATA : 0;
	for (int i = 0; i < FORKS_MAX && err == -ENODATA; i++) {
		err = fork_child();
		if (err)
			break;
		ring_buffer__consume(ring);
		err = *records_cnt ? 0 : -ENODATA;
	}
	close(link_fd);
	return err;
}

void selftest_events(struct selftest_events *ret)
{
	int ring_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ebb_ring", 0, 0, sysconf(_SC_PAGESIZE), NULL);
	struct ring_buffer *ring = NULL;
	unsigned int records_cnt = 0;
	int id, prog_fd;

	ret->ring_err = ring_fd < 0 ? ring_fd : 0;
	if (ring_fd >= 0) {
		ring = ring_buffer__new(ring_fd, count_record, &records_cnt, NULL);
		ret->ring_err = ring ? 0 : -errno;
	}
	id = tracepoint_btf_id();
	prog_fd = id < 0 ? id : load_fork_program(id, ring_fd);
	ret->tracepoint_err = prog_fd < 0 ? prog_fd : watch_forks(prog_fd, ring, &records_cnt);
	if (prog_fd >= 0)
		close(prog_fd);
	ring_buffer__free(ring);
	if (ring_fd >= 0)
		close(ring_fd);
}
