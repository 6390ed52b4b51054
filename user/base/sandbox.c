/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox.h"

#define NOBODY		65534
#define FILES_MAX	64

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

/* What malloc, libelf, libdw, liblzma and our own loop use, and nothing else. */
static int seccomp_enter(void)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_AUDIT, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_recvmsg), ALLOW(SYS_sendmsg), ALLOW(SYS_close),
		ALLOW(SYS_pread64), ALLOW(SYS_lseek), ALLOW(SYS_fstat),
		ALLOW_WITH(SYS_newfstatat, 3, AT_EMPTY_PATH),
		ALLOW_IF(SYS_fcntl, 1, F_GETFD),	/* elf_begin() asks whether it is a descriptor */
		ALLOW_WITHOUT(SYS_mmap, 2, PROT_EXEC), ALLOW_WITHOUT(SYS_mprotect, 2, PROT_EXEC),
		ALLOW(SYS_munmap), ALLOW(SYS_mremap), ALLOW(SYS_madvise), ALLOW(SYS_brk), ALLOW(SYS_futex),
		ALLOW(SYS_clock_gettime), ALLOW(SYS_getrandom), ALLOW(SYS_rt_sigreturn), ALLOW(SYS_rt_sigprocmask),
		ALLOW(SYS_sysinfo),	/* glibc's qsort() asks how much memory it may take */
		ALLOW(SYS_exit), ALLOW(SYS_exit_group),
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

int sandbox_enter(int keep_fd, uint64_t data_bytes)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGPIPE };
	sigset_t none;
	int err;

	if (dup2(keep_fd, 0) != 0 || close_range(1, ~0u, 0))
		return -errno;
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	err = capabilities_drop();
	if (err)
		return err;
	/* after the change of user, which clears it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_NOFILE, FILES_MAX);
	if (data_bytes)
		limit(RLIMIT_DATA, data_bytes);
	return seccomp_enter();
}
