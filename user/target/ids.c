/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "target/proc.h"
#include "target/target.h"

/* NSpid has a number for each namespace from ours inwards, the innermost last. 0 = none. */
static pid_t last_number(const char *line)
{
	pid_t pid = 0;

	for (const char *p = line; *p && *p != '\n'; p++)
		if (*p >= '0' && *p <= '9' && (p[-1] < '0' || p[-1] > '9'))
			pid = atoi(p);
	return pid;
}

int target_ids_read(const struct target *t, struct target_ids *ret)
{
	struct text status = { 0 };
	const char *uid, *pid;
	unsigned int fs_uid;
	struct stat st;
	int err;

	err = proc_read(t->proc_fd, "status", &status);
	if (!err && fstatat(t->proc_fd, "ns/pid", &st, 0))
		err = -errno;
	if (err)
		goto out;
	/* nobody can make up these lines: in Name, a newline is written as \n */
	uid = strstr(status.str, "\nUid:");
	pid = strstr(status.str, "\nNSpid:");
	err = -ESRCH;
	if (!uid || !pid || sscanf(uid, "\nUid: %*u %*u %*u %u", &fs_uid) != 1)
		goto out;
	*ret = (struct target_ids){
		.own_pid = last_number(pid + strlen("\nNSpid:")), .fs_uid = fs_uid, .pidns_dev = st.st_dev, .pidns_ino = st.st_ino,
	};
	err = ret->own_pid > 0 ? 0 : -ESRCH;
out:
	text_free(&status);
	return err == -ENOENT ? -ESRCH : err;
}
