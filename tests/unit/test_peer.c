/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Any process of the machine: where its cgroup is read from, and processes that lie about their names or are gone.
 */
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "target/peer.h"
#include "test.h"
#include "unit/child.h"

static void check_cgroup(const char *text, const char *want)
{
	char *got = peer_parse_cgroup(text);

	if (!CHECK_STR(got, want))
		fprintf(stderr, "\ttext: %s\n", text);
	free(got);
}

TEST(cgroup_versions)
{
	static const char v1[] =
		"12:pids:/user.slice/user-0.slice\n11:cpu,cpuacct:/x\n10:memory:/docker/4f1c\n1:name=systemd:/docker/4f1d\n";
	static const char hybrid[] =
		"9:name=systemd:/\n8:pids:/\n4:memory:/jobs/7\n1:cpu:/\n0::/\n";

	check_cgroup("0::/system.slice/nginx.service\n", "/system.slice/nginx.service");
	check_cgroup("0::/system.slice/docker-4f1c.scope", "/system.slice/docker-4f1c.scope");
	check_cgroup("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_3.slice/cri-containerd-9a.scope\n",
		     "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_3.slice/cri-containerd-9a.scope");
	check_cgroup("0::/../../kubepods/pod1\n", "/../../kubepods/pod1");
	check_cgroup(v1, "/docker/4f1c");
	check_cgroup(hybrid, "/jobs/7");
	check_cgroup("4:memory:/\n2:pids:/p\n1:name=systemd:/s\n0::/\n", "/s");
	check_cgroup("4:memory:/\n2:pids:/p\n1:name=systemd:/\n", "/p");
	check_cgroup("4:memory:/m\n0::/two\n", "/two");
	check_cgroup("4:cpu,memory,pids:/m\n", "/m");
	check_cgroup("4:memory,cpu:/m\n", "/m");
	check_cgroup("0::/\n", "/");
	check_cgroup("4:memory:/\n", "/");
	check_cgroup("", "");
	check_cgroup("3:cpu:/only\n", "");
}

TEST(cgroup_hostile)
{
	/* a path may hold all of the punctuation, and a name "\n" as two letters */
	check_cgroup("0::/a:b,c:memory:/d\n", "/a:b,c:memory:/d");
	check_cgroup("0::/a\\nb\n", "/a\\nb");
	check_cgroup("0::/ \t\x1b[31m\xff\n", "/ \t\x1b[31m\xff");
	check_cgroup("4:memory:/a,name=systemd:/b\n", "/a,name=systemd:/b");
	check_cgroup("5:cpu:/x:memory:/y\n4:memory:/right\n", "/right");
	check_cgroup("5:cpu:/x,memory\n", "");
	check_cgroup("5:memory2:/x\n4:mem:/y\n3:xmemory:/z\n", "");
	check_cgroup("5:name=system:/x\n4:name=systemd2:/y\n", "");
	/* lines that are none do not reach into the next one */
	check_cgroup("garbage\n0::/x\n", "/x");
	check_cgroup("4:memory\n5:cpu:/x\n", "");
	check_cgroup("4:memory\n:/x\n", "");
	check_cgroup("memory\n4:cpu:/x\n", "");
	check_cgroup("\n\n0::/x", "/x");
	check_cgroup(":", "");
	check_cgroup("::", "/");
	check_cgroup("0::", "/");
	check_cgroup("0", "");
	check_cgroup("\n", "");
}

TEST(cgroup_long)
{
	size_t len = 100000;
	char *text = malloc(len + 8);

	memcpy(text, "0::/", 4);
	memset(text + 4, 'x', len);
	strcpy(text + 4 + len, "\n");
	char *got = peer_parse_cgroup(text);
	CHECK(got && strlen(got) == len + 1);
	free(got);
	free(text);
}

/* A child that runs fn and then waits. -1: fn failed. */
static pid_t start(bool (*fn)(const char *), const char *arg)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		abort();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!fn(arg) || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}

static bool set_comm(const char *name)
{
	return !prctl(PR_SET_NAME, name);
}

TEST(comm)
{
	static const char *const names[] = { "a) R 1 (b", ")", "(", "", "x\ny\n", "\x1b[2J", "15 bytes of it!", "a) Z 1 1" };
	struct peer p;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		pid_t pid = start(set_comm, names[i]);

		if (CHECK(pid > 0) && CHECK_EQ(peer_read(pid, &p), 0)) {
			CHECK_STR(p.comm, names[i]);
			CHECK(p.start_ticks > 0);
			CHECK(p.exe && strstr(p.exe, "test_peer"));
			CHECK(p.cgroup && *p.cgroup == '/');
			CHECK(!p.container);
			CHECK(peer_is_alive(pid, p.start_ticks));
			CHECK(!peer_is_alive(pid, p.start_ticks + 1));
			CHECK(!peer_is_alive(pid, 0));
			peer_close(&p);
			CHECK(!p.comm && !p.exe);
			peer_close(&p);
		}
		child_stop(pid);
	}
}

TEST(deleted_exe)
{
	char *path = child_build("gone", "cc", "#include <unistd.h>\n"
				 "int main(void) { if (write(1, \"r\", 1) != 1) return 1; for (;;) pause(); }\n", "");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct peer p;

	if (pid < 0) {
		free(path);
		TEST_SKIP("no C compiler");
	}
	unlink(path);
	if (CHECK_EQ(peer_read(pid, &p), 0)) {
		CHECK_STR(p.exe, path);
		CHECK_STR(p.comm, "gone");
		peer_close(&p);
	}
	child_stop(pid);
	free(path);
}

static bool own_name(const char *name)
{
	return !unshare(CLONE_NEWUTS) && (!name || !sethostname(name, strlen(name)));
}

static ino_t uts_inode(void)
{
	struct stat st;

	return stat("/proc/thread-self/ns/uts", &st) ? 0 : st.st_ino;
}

TEST(container)
{
	/* the third has the 64 bytes that fit; the last two say nothing, and what we are called, too */
	static const struct { const char *name, *want; } names[] = {
		{ "api-7f", "api-7f" }, { "a\nb\x1b[31m", "a\nb\x1b[31m" },
		{ "0123456789012345678901234567890123456789012345678901234567890123",
		  "0123456789012345678901234567890123456789012345678901234567890123" },
		{ "", NULL }, { NULL, NULL },
	};
	ino_t own = uts_inode();
	struct peer p;

	if (geteuid())
		TEST_SKIP("making UTS namespaces needs root");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		pid_t pid = start(own_name, names[i].name);

		if (pid < 0)
			TEST_SKIP("no UTS namespace can be made here");
		if (CHECK_EQ(peer_read(pid, &p), 0)) {
			if (names[i].want)
				CHECK_STR(p.container, names[i].want);
			else
				CHECK(!p.container);
			peer_close(&p);
		}
		CHECK_EQ(uts_inode(), own);
		child_stop(pid);
	}
}

TEST(zombie)
{
	struct peer p;
	siginfo_t info;
	pid_t pid = fork();
	uint32_t cnt, limit;

	if (!pid)
		_exit(0);
	waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
	if (CHECK_EQ(peer_read(pid, &p), 0)) {
		CHECK(p.comm && !strncmp(p.comm, "test_peer", 9));
		CHECK(!p.exe);
		CHECK(!p.container);
		CHECK(!peer_is_alive(pid, p.start_ticks));
		peer_close(&p);
	}
	/* it has none, or they may not be seen; no more is asked of this */
	if (!peer_fds(pid, &cnt, &limit))
		CHECK_EQ(cnt, 0);
	waitpid(pid, NULL, 0);
	CHECK_EQ(peer_read(pid, &p), -ESRCH);
	CHECK_EQ(peer_fds(pid, &cnt, &limit), -ESRCH);
	CHECK(!peer_is_alive(pid, 0));
	CHECK_EQ(peer_read(0, &p), -ESRCH);
	CHECK_EQ(peer_read(-1, &p), -ESRCH);
	CHECK_EQ(peer_read(0x7fffffff, &p), -ESRCH);
}

/* The first thread ends, another goes on: the process lives. */
TEST(first_thread_ended)
{
	char *path = child_build("threads", "cc", "#include <pthread.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
		"#include <string.h>\n#include <unistd.h>\n"
		"static void *run(void *x) { char line[512], *end; do { FILE *f = fopen(\"/proc/self/stat\", \"r\");\n"
		"if (!fgets(line, 512, f)) exit(1); fclose(f); end = strrchr(line, ')'); } while (end[2] != 'Z');\n"
		"if (write(1, \"r\", 1) != 1) exit(1); for (;;) pause(); return x; }\n"
		"int main(void) { pthread_t t; pthread_create(&t, 0, run, 0); pthread_exit(0); }\n", "-pthread");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct peer p;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	if (CHECK_EQ(peer_read(pid, &p), 0)) {
		CHECK(peer_is_alive(pid, p.start_ticks));
		CHECK(!peer_is_alive(pid, p.start_ticks + 1));
		peer_close(&p);
	}
	child_stop(pid);
}

TEST(itself)
{
	struct peer p;

	if (CHECK_EQ(peer_read(getpid(), &p), 0)) {
		CHECK(p.exe && strstr(p.exe, "/test_peer"));
		CHECK(!p.container);
		CHECK(peer_is_alive(getpid(), p.start_ticks));
		peer_close(&p);
	}
}

static bool map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED;
}

TEST(runtime)
{
	static const struct { const char *file, *want; } files[] = {
		{ "libcoreclr.so", "dotnet" }, { "libjvm.so", "java" }, { "xlibjvm.so", NULL }, { "libjvm.so.1", NULL },
		{ "libjvm.so\n", NULL },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = child_path(files[i].file);
		const char *got;
		pid_t pid;

		close(open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
		CHECK_EQ(truncate(path, 4096), 0);
		pid = start(map_file, path);
		got = CHECK(pid > 0) ? peer_runtime(pid) : NULL;
		if (files[i].want)
			CHECK_STR(got, files[i].want);
		else
			CHECK(!got);
		child_stop(pid);
		unlink(path);
		free(path);
	}
	CHECK(!peer_runtime(getpid()));
	CHECK(!peer_runtime(0x7fffffff));
}

static bool limit_fds(const char *limit)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || syscall(SYS_close_range, 5, ~0u, 0))
		return false;
	l.rlim_cur = strtoul(limit, NULL, 10);
	for (int fd = 100; fd < 140; fd++)
		if (dup2(0, fd) != fd)
			return false;
	return !setrlimit(RLIMIT_NOFILE, &l);
}

TEST(fds)
{
	pid_t pid = start(limit_fds, "200"), low = start(limit_fds, "7");
	uint32_t cnt = 0, limit = 0;
	int mine[3];

	if (CHECK(pid > 0) && CHECK_EQ(peer_fds(pid, &cnt, &limit), 0)) {
		CHECK(cnt >= 40 && cnt <= 45);
		CHECK_EQ(limit, 200);
	}
	/* those beyond the limit stay open */
	if (CHECK(low > 0) && CHECK_EQ(peer_fds(low, &cnt, &limit), 0)) {
		CHECK(cnt >= 40 && cnt <= 45);
		CHECK_EQ(limit, 7);
	}
	child_stop(pid);
	child_stop(low);
	CHECK_EQ(peer_fds(getpid(), &cnt, &limit), 0);
	for (int i = 0; i < 3; i++)
		mine[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(peer_fds(getpid(), &limit, &limit), 0);
	for (int i = 0; i < 3; i++)
		close(mine[i]);
	/* nothing is left open by asking */
	for (int i = 0; i < 3; i++) {
		uint32_t again = 0;

		CHECK_EQ(peer_fds(getpid(), &again, &limit), 0);
		CHECK_EQ(again, cnt);
	}
	CHECK_EQ(peer_fds(0x7fffffff, &cnt, &limit), -ESRCH);
	CHECK_EQ(peer_fds(0, &cnt, &limit), -ESRCH);
}

TEST_MAIN(TEST_CASE(cgroup_versions), TEST_CASE(cgroup_hostile), TEST_CASE(cgroup_long), TEST_CASE(comm),
	  TEST_CASE(deleted_exe), TEST_CASE(container), TEST_CASE(zombie), TEST_CASE(first_thread_ended), TEST_CASE(itself),
	  TEST_CASE(runtime), TEST_CASE(fds))
