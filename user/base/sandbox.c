/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In this order: what was inherited goes (descriptors, shared memory, signals), then the identity, then the limits, and
 * last the system calls, because each step needs some that the next one forbids.
 *
 * Run without root, or in a container that keeps some of it back, what can be dropped is dropped; the filter of system
 * calls is there in any case, or the sandbox is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox.h"

#define NOBODY		65534
#define FILES_MAX	64	/* beside those that it keeps */
/* Files of some GB are mapped; page tables for this much are 128 MiB. Not with the sanitizers, which map terabytes. */
#define ADDRESSES_MAX	(64ull << 30)
#define STACK_BYTES	(8u << 20)	/* names may be nested deeply; and not what a shell may have set */

#if defined(__x86_64__)
#define ARCH_AUDIT	AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH_AUDIT	AUDIT_ARCH_AARCH64
#endif

#define ARG(n)		offsetof(struct seccomp_data, args[n])	/* low half: both machines are little-endian */
#define LOAD(off)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, off)
#define RETURN(what)	BPF_STMT(BPF_RET | BPF_K, what)
/* if the system call is nr: allowed */
#define ALLOW(nr)	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RETURN(SECCOMP_RET_ALLOW)
/* if it is nr: it fails, and no harm is done: libraries try it in good faith */
#define FAIL(nr)	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RETURN(SECCOMP_RET_ERRNO | EACCES)
/* if it is nr: allowed where argument n has none of these bits */
#define ALLOW_WITHOUT(nr, n, bits)	\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4), LOAD(ARG(n)), \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)
/* if it is nr: allowed where argument n has these bits */
#define ALLOW_WITH(nr, n, bits)		\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4), LOAD(ARG(n)), \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)
/* if it is nr: allowed where argument n is this */
#define ALLOW_IF(nr, n, value)		\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4), LOAD(ARG(n)), \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)

/* Memory that is not executable; and none that is shared and anonymous, which no limit counts. */
#define SHARED_ANONYMOUS	(MAP_SHARED | MAP_ANONYMOUS)
#define ALLOW_MMAP			\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 7), LOAD(ARG(2)), \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 4, 0), LOAD(ARG(3)), \
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SHARED_ANONYMOUS), \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SHARED_ANONYMOUS, 1, 0), RETURN(SECCOMP_RET_ALLOW), \
	RETURN(SECCOMP_RET_KILL_PROCESS)

/* What malloc, libelf, libdw, liblzma and our own loop use, and nothing else. */
static int seccomp_enter(void)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_AUDIT, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_writev), ALLOW(SYS_recvmsg), ALLOW(SYS_close),
		ALLOW(SYS_pread64), ALLOW(SYS_lseek), ALLOW(SYS_fstat),
		ALLOW_WITH(SYS_newfstatat, 3, AT_EMPTY_PATH),
		ALLOW_IF(SYS_fcntl, 1, F_GETFD),	/* elf_begin() asks whether it is a descriptor */
		ALLOW_MMAP, ALLOW_WITHOUT(SYS_mprotect, 2, PROT_EXEC),
		ALLOW(SYS_munmap), ALLOW(SYS_mremap), ALLOW(SYS_madvise), ALLOW(SYS_brk), ALLOW(SYS_futex),
		ALLOW(SYS_clock_gettime), ALLOW(SYS_getrandom), ALLOW(SYS_rt_sigreturn), ALLOW(SYS_rt_sigprocmask),
		ALLOW(SYS_sysinfo),	/* glibc's qsort() asks how much memory it may take */
		ALLOW(SYS_setitimer), ALLOW(SYS_sched_yield), ALLOW(SYS_getpid), ALLOW(SYS_gettid), ALLOW(SYS_rt_sigaction),
		ALLOW(SYS_sigaltstack),	/* the sanitizers, before each call that does not return */
		ALLOW(SYS_exit), ALLOW(SYS_exit_group),
		FAIL(SYS_tgkill), FAIL(SYS_ioctl), FAIL(SYS_sched_getaffinity),	/* abort(), stdio, liblzma: they cope */
		/* libdw looks for the path of a file, and for the file that a file of dwz names */
		FAIL(SYS_openat), FAIL(SYS_readlinkat),
#ifdef SYS_readlink
		FAIL(SYS_open), FAIL(SYS_readlink),
#endif
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	const struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

static void limit(int what, rlim_t max)
{
	const struct rlimit r = { max, max };

	setrlimit(what, &r);	/* to less: always allowed */
}

static int capabilities_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
		prctl(PR_CAPBSET_DROP, i);	/* without CAP_SETPCAP it stays, and no_new_privs keeps it useless */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* in a user namespace that has no nobody we stay who we are, without capabilities */
	if (!geteuid() && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) &&
	    errno != EINVAL && errno != EPERM)
		return -errno;
	return syscall(SYS_capset, &head, none) ? -errno : 0;
}

static int fd_compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all descriptors but those, and has /dev/null for the three that libraries write to unasked. */
static int descriptors_drop(const int *keep, size_t cnt)
{
	int *fds = malloc((cnt + 1) * sizeof(*fds)), next = 0, err = 0;

	if (!fds)
		return -ENOMEM;
	if (cnt)
		memcpy(fds, keep, cnt * sizeof(*fds));
	qsort(fds, cnt, sizeof(*fds), fd_compare);
	for (size_t i = 0; !err && i < cnt; next = fds[i++] + 1)
		if (fds[i] > next && close_range(next, fds[i] - 1, 0))
			err = -errno;
	if (!err && close_range(next, ~0u, 0))
		err = -errno;
	free(fds);
	if (err)
		return err;
	/* the lowest that is free is the one that it gets; without /dev/null they stay closed */
	do {
		next = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (next >= 0 && next <= STDERR_FILENO);
	if (next >= 0)
		close(next);
	return 0;
}

/* The maps of BPF programs, rings: what is written there is written for the parent, too. */
static int shared_memory_drop(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char *line = NULL, prot[5];
	size_t size = 0;
	int err = maps ? 0 : -errno;

	/* what is unmapped is behind the reader */
	while (!err && getline(&line, &size, maps) > 0)
		if (sscanf(line, "%lx-%lx %4s", &start, &end, prot) == 3 && prot[3] == 's' &&
		    munmap((void *)start, end - start))
			err = -errno;
	free(line);
	if (maps)
		fclose(maps);
	return err;
}

static void signals_reset(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGPIPE };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What it has of its parent already counts, too. */
static uint64_t data_inherited(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!statm)
		return 0;
	if (fscanf(statm, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
		pages = 0;
	fclose(statm);
	return (uint64_t)pages * sysconf(_SC_PAGESIZE);
}

int sandbox_enter(const struct sandbox *s)
{
	uint64_t inherited = data_inherited();
	int err = shared_memory_drop();

	if (!err)
		err = descriptors_drop(s->fds, s->fds_cnt);
	if (err)
		return err;
	signals_reset();
	setpgid(0, 0);
	err = capabilities_drop();
	if (err)
		return err;
	/* after the change of user, which clears it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (getppid() != s->parent)	/* it was too late for that signal */
		return -ESRCH;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_NOFILE, FILES_MAX + s->fds_cnt);
	if (s->data_bytes) {
		limit(RLIMIT_DATA, inherited + s->data_bytes);
		limit(RLIMIT_AS, ADDRESSES_MAX);
		limit(RLIMIT_STACK, STACK_BYTES);
	}
	return seccomp_enter();
}
