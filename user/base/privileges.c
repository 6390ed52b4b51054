/* SPDX-License-Identifier: GPL-2.0-only */
/* Sources: capabilities(7), prctl(2), and for dumpable proc(5): /proc/PID of a process that is not belongs to root. */
#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/privileges.h"

/* The sets of this thread, half by half. */
static int capabilities_change(void (*change)(struct __user_cap_data_struct *half, uint32_t a, uint32_t b), uint64_t a,
			       uint64_t b)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	change(&data[0], a, b);
	change(&data[1], a >> 32, b >> 32);
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static void half_keep(struct __user_cap_data_struct *half, uint32_t keep, uint32_t spare)
{
	half->permitted &= keep | spare;
	half->effective &= keep;
	half->inheritable = 0;
}

static void half_raise(struct __user_cap_data_struct *half, uint32_t spare, uint32_t none)
{
	half->effective |= half->permitted & spare;
	(void)none;
}

static void half_lower(struct __user_cap_data_struct *half, uint32_t spare, uint32_t none)
{
	half->effective &= ~spare;
	(void)none;
}

void privileges_raise(uint64_t spare)
{
	capabilities_change(half_raise, spare, 0);	/* what needs them tells when it fails */
}

void privileges_lower(uint64_t spare)
{
	/* before privileges_keep() they are no spare ones */
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		capabilities_change(half_lower, spare, 0);
}

int privileges_keep(uint64_t keep, uint64_t spare)
{
	const struct rlimit none = { 0, 0 };
	int err;

	/* without CAP_SETPCAP they stay in the bounding set, where no_new_privs makes them useless */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!((keep | spare) & PRIVILEGE(cap)))
			prctl(PR_CAPBSET_DROP, cap);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	err = capabilities_change(half_keep, keep, spare);

	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	if (setrlimit(RLIMIT_CORE, &none) && !err)
		err = -errno;
	/* a pipe to a core handler takes no notice of the limit; without root our own /proc/self would be closed to us */
	if (!geteuid() && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) && !err)
		err = -errno;
	return err;
}
