/* SPDX-License-Identifier: GPL-2.0-only */
/* What is said of programs that cannot be loaded: a missing privilege and a refusal have one error number. */
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "source/loader.h"
#include "test.h"

#define NOBODY	65534

/* loader_error() as somebody who may load nothing; 0 when it returned what is wanted. */
static int as_nobody(int err, int want)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		if (!geteuid() && (setgid(NOBODY) || setuid(NOBODY)))
			_exit(2);
		_exit(loader_error(err, "loading a test") != want);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(without_privileges_they_are_missing)
{
	CHECK_EQ(as_nobody(-EACCES, -EACCES), 0);
	CHECK_EQ(as_nobody(-EPERM, -EPERM), 0);
}

TEST(with_privileges_the_verifier_has_refused)
{
	if (geteuid())
		TEST_SKIP("needs root");
	CHECK_EQ(loader_error(-EACCES, "loading a test"), -EOPNOTSUPP);
	CHECK_EQ(loader_error(-EPERM, "loading a test"), -EPERM);
	CHECK_EQ(loader_error(-ENOMEM, "loading a test"), -ENOMEM);
}

TEST_MAIN(TEST_CASE(without_privileges_they_are_missing), TEST_CASE(with_privileges_the_verifier_has_refused))
