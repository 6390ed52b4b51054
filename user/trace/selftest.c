/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "trace/selftest.h"

/* Functions whose first instruction the kernel emulates, or has to step. Two bytes are enough. */
#if defined(__x86_64__)
#define PROBE_BODY_EMULATED	"nop; ret"
#define PROBE_BODY_STEPPED	"mov %edi, %eax; ret"
#define SYSCALL_URETPROBE	335	/* arch/x86/entry/syscalls/syscall_64.tbl, from 6.11 */
#else
#define PROBE_BODY_EMULATED	"nop; ret"
#define PROBE_BODY_STEPPED	"mov w1, w0; ret"
#define SYSCALL_URETPROBE	(-1)	/* only x86 has one */
#endif

void selftest_emulated(void);
void selftest_stepped(void);
asm(".pushsection .text\n.balign 16\n"
    ".globl selftest_emulated\n.type selftest_emulated, @function\nselftest_emulated: " PROBE_BODY_EMULATED "\n"
    ".balign 16\n"
    ".globl selftest_stepped\n.type selftest_stepped, @function\nselftest_stepped: " PROBE_BODY_STEPPED "\n"
    ".popsection\n");

#define CALLS	250	/* a batch; 1.5 ms where a trap costs 6 µs */
#define BATCHES	5	/* the fastest counts: the others were interrupted */

/* The offset of an address of ours in our own file. */
static int own_offset(const void *func, uint64_t *ret_off)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end, off;
	int err = -ENOENT;
	char line[512];

	if (!maps)
		return -errno;
	while (err && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &off) != 3)
			continue;
		if ((uintptr_t)func < start || (uintptr_t)func >= end)
			continue;
		*ret_off = (uintptr_t)func - start + off;
		err = 0;
	}
	fclose(maps);
	return err;
}

/* A program that does nothing. */
static int load_empty(int expected_attach_type)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = expected_attach_type);
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "ebb_empty", "GPL", insns, 2, &opts);
}

/* Empty programs of one mode on one of our functions. */
struct probe {
	int prog_fd;
	int link_fds[2], event_fds[2];	/* entry, return */
};

static void *probe_close_all(void *ctx)
{
	struct probe *p = ctx;

	for (int i = 0; i < 2; i++) {
		if (p->link_fds[i] >= 0)
			close(p->link_fds[i]);
		if (p->event_fds[i] >= 0)
			close(p->event_fds[i]);
	}
	if (p->prog_fd >= 0)
		close(p->prog_fd);
	free(p);
	return NULL;
}

/*
 * Closing a link waits for 20 to 50 ms until no CPU runs its program any more: nobody else need wait for that. The
 * probes are on functions of our own.
 */
static void probe_close(const struct probe *p)
{
	struct probe *mine = malloc(sizeof(*mine));
	pthread_t thread;

	if (!mine)	/* the end of the process closes them */
		return;
	*mine = *p;
	if (pthread_create(&thread, NULL, probe_close_all, mine))
		probe_close_all(mine);
	else
		pthread_detach(thread);
}

static int probe_open(struct probe *p, enum attach_mode mode, const void *func, bool with_return, pid_t pid)
{
	/* what has no return is attached as frees are */
	enum attach_mode entry_mode = mode == ATTACH_SESSION && !with_return ? ATTACH_MULTI : mode;
	int self_fd, err;
	uint64_t off;

	*p = (struct probe){ .prog_fd = -1, .link_fds = { -1, -1 }, .event_fds = { -1, -1 } };
	err = own_offset(func, &off);
	if (err)
		return err;
	self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self_fd < 0)
		return -errno;
	p->prog_fd = load_empty(entry_mode == ATTACH_SESSION ? ATTACH_TYPE_SESSION : attach_type(entry_mode));
	err = p->prog_fd < 0 ? p->prog_fd : 0;
	if (!err) {
		p->link_fds[0] = attach_one(entry_mode, p->prog_fd, self_fd, off, 0, false, pid, &p->event_fds[0]);
		err = p->link_fds[0] < 0 ? p->link_fds[0] : 0;
	}
	if (!err && with_return && mode != ATTACH_SESSION) {
		p->link_fds[1] = attach_one(mode, p->prog_fd, self_fd, off, 0, true, pid, &p->event_fds[1]);
		err = p->link_fds[1] < 0 ? p->link_fds[1] : 0;
	}
	close(self_fd);
	if (err)
		probe_close(p);
	return err;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static double call_ns(void (*func)(void))
{
	double best = 0;

	for (int batch = 0; batch < BATCHES; batch++) {
		double start = now_ns(), each;

		for (int i = 0; i < CALLS; i++)
			func();
		each = (now_ns() - start) / CALLS;
		if (!batch || each < best)
			best = each;
	}
	return best;
}

static int measure(enum attach_mode mode, void (*func)(void), bool with_return, double *ret_ns)
{
	struct probe p;
	int err = probe_open(&p, mode, (const void *)(uintptr_t)func, with_return, getpid());

	if (err)
		return err;
	*ret_ns = call_ns(func);
	probe_close(&p);
	return 0;
}

static int price_measure(enum attach_mode mode, struct trap_price *ret)
{
	double bare = call_ns(selftest_emulated), trap, stepped, both;
	int err;

	err = measure(mode, selftest_emulated, false, &trap);
	if (!err)
		err = measure(mode, selftest_stepped, false, &stepped);
	if (!err)
		err = measure(mode, selftest_emulated, true, &both);
	if (err)
		return err;
	ret->trap_ns = trap - bare;
	ret->stepped_ns = stepped - bare;
	ret->return_ns = both > trap ? both - trap : 0;
	return 0;
}

int selftest_run(enum attach_mode first, bool only, struct selftest *ret)
{
	struct selftest st = { .forced = only };
	int err = -EOPNOTSUPP;

	for (int i = first; i < ATTACH_MODES; i++) {
		err = price_measure(i, &st.price);
		if (!err || only) {
			st.mode = i;
			break;
		}
		log_debug("attaching by %s does not work here: error %d", attach_mode_name(i), -err);
	}
	if (!err)
		*ret = st;
	return err;
}

/* The child: waits until it is probed, puts itself under the filter, calls the function. */
static void seccomp_child(int ready_fd)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)SYSCALL_URETPROBE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = (struct sock_filter *)code };
	char byte;

	if (read(ready_fd, &byte, 1) != 1)
		_exit(2);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(2);
	selftest_emulated();
	_exit(0);
}

int selftest_seccomp(enum attach_mode mode)
{
	int pipe_fds[2], err, status;
	struct probe p;
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child == 0) {
		close(pipe_fds[1]);
		seccomp_child(pipe_fds[0]);
	}
	close(pipe_fds[0]);
	if (child < 0) {
		close(pipe_fds[1]);
		return -EAGAIN;
	}
	err = probe_open(&p, mode, (const void *)(uintptr_t)selftest_emulated, true, child);
	if (!err && write(pipe_fds[1], "x", 1) != 1)
		err = -EPIPE;
	close(pipe_fds[1]);	/* without a byte the child ends */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (err)
		return err;
	probe_close(&p);
	if (WIFSIGNALED(status))
		return 1;
	return WEXITSTATUS(status) ? -EIO : 0;
}
