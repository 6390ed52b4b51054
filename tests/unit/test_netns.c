/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network namespaces that the test makes in children: found, named, entered, and left again.
 */
#include <sched.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "target/netns.h"
#include "test.h"
#include "unit/child.h"
#include "unit/port_bits.h"

static uint32_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

static uint32_t inode_of_pid(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return inode_of(path);
}

static int index_of(const struct netns_list *l, uint32_t inode)
{
	for (size_t i = 0; i < netns_list_cnt(l); i++)
		if (netns_list_inode(l, i) == inode)
			return i;
	return -1;
}

/* What a visit has seen of one namespace. */
struct seen {
	uint32_t inode;		/* of the one to look for */
	unsigned int cnt;	/* visits of it */
	unsigned int all_cnt;
	struct netns_info info;
	char name[128];
	uint32_t inside;	/* where fn was */
	int result;
};

static int look(const struct netns_info *info, void *ctx)
{
	struct seen *seen = ctx;

	seen->all_cnt++;
	if (info->inode != seen->inode)
		return 0;
	seen->cnt++;
	seen->info = *info;
	snprintf(seen->name, sizeof(seen->name), "%s", info->name);
	seen->inside = inode_of("/proc/thread-self/ns/net");
	return seen->result;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	ssize_t done = 0;

	/* a page at a time: the kernel adds up what comes through one descriptor */
	while (fd >= 0 && len && (done = write(fd, text, len)) > 0) {
		text += done;
		len -= done;
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0 && done >= 0 && !len;
}

/* Settings that no namespace has by itself. */
static bool settings_write(void)
{
	return write_file("/proc/sys/net/ipv4/ip_local_port_range", "40000 40031") &&
	       write_file("/proc/sys/net/ipv4/ip_local_reserved_ports", "40003,40010-40012") &&
	       write_file("/proc/sys/net/ipv4/tcp_tw_reuse", "1") && write_file("/proc/sys/net/ipv4/tcp_timestamps", "0") &&
	       write_file("/proc/sys/net/ipv4/tcp_max_tw_buckets", "777");
}

/* A child in a namespace of its own, once it is ready; it runs set() inside first. -1: not here. */
static pid_t namespace_start(bool (*set)(void))
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		abort();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) || (set && !set()) || write(ready[1], "r", 1) != 1)
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

/* Another child, in the namespace of the first. */
static pid_t namespace_join(pid_t first)
{
	int fd = syscall(SYS_pidfd_open, first, 0);
	pid_t pid;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		abort();
	close(fd);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

#define NEEDS_ROOT	"making network namespaces needs root"
#define NEEDS_NETNS	"no network namespace can be made here"

TEST(own)
{
	struct netns_list *l;
	struct netns_info info = { .inode = 5, .reserved = { 0xff } };
	uint8_t reserved[NETNS_PORT_BITS_BYTES];
	char text[128] = "";
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
	uint16_t low = 0, high = 0;

	memset(reserved, 0xff, sizeof(reserved));
	memcpy(info.reserved, reserved, sizeof(reserved));
	CHECK_EQ(netns_info_read(&info), 0);
	CHECK(info.cookie);
	if (f && fgets(text, sizeof(text), f))
		CHECK_EQ(netns_parse_range(text, &low, &high), 0);
	if (f)
		fclose(f);
	CHECK_EQ(info.range_low, low);
	CHECK_EQ(info.range_high, high);
	CHECK(bits_cnt(info.reserved) < 65536);	/* nothing is left of what was there */
	CHECK_EQ(info.inode, 5);
	if (!CHECK_EQ(netns_list_all(&l), 0))
		return;
	CHECK(index_of(l, inode_of("/proc/self/ns/net")) >= 0);
	/* twice the same */
	CHECK_EQ(netns_list_add_pid(l, getpid()), 0);
	CHECK_EQ(netns_list_add_pid(l, 0x7fffffff), 0);
	for (size_t i = 0; i < netns_list_cnt(l); i++)
		CHECK_EQ(index_of(l, netns_list_inode(l, i)), i);
	netns_list_free(l);
	netns_list_free(NULL);
}

TEST(visit)
{
	uint32_t own = inode_of("/proc/self/ns/net");
	struct netns_info here = { .inode = own };
	pid_t pid = geteuid() ? -1 : namespace_start(settings_write);
	struct seen seen = { .inode = inode_of_pid(pid) };
	unsigned int skipped = 99;
	struct netns_list *l;
	char name[64];

	if (pid < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	if (!CHECK_EQ(netns_list_all(&l), 0))
		goto out;
	CHECK(index_of(l, seen.inode) >= 0);
	CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), 0);
	CHECK_EQ(seen.cnt, 1);
	CHECK_EQ(seen.all_cnt + skipped, netns_list_cnt(l));
	CHECK_EQ(seen.inside, seen.inode);
	CHECK_EQ(inode_of("/proc/self/ns/net"), own);
	CHECK_EQ(seen.info.pid, pid);
	snprintf(name, sizeof(name), "of test_netns[%d]", (int)pid);
	CHECK_STR(seen.name, name);
	CHECK_EQ(seen.info.range_low, 40000);
	CHECK_EQ(seen.info.range_high, 40031);
	CHECK_EQ(bits_cnt(seen.info.reserved), 4);
	CHECK(BIT(seen.info.reserved, 40003) && BIT(seen.info.reserved, 40012));
	CHECK_EQ(seen.info.tw_reuse, 1);
	CHECK(!seen.info.timestamps);
	CHECK_EQ(seen.info.tw_max, 777);
	CHECK_EQ(seen.info.tw_cnt, 0);
	CHECK_EQ(netns_info_read(&here), 0);
	CHECK(seen.info.cookie && here.cookie && seen.info.cookie != here.cookie);
	netns_list_free(l);
out:
	child_stop(pid);
}

/* fn fails in it: that is what is returned, and we are at home. */
TEST(visit_fails)
{
	static const int results[] = { -ENOMEM, -EPERM, -EIO, -EMFILE };
	uint32_t own = inode_of("/proc/self/ns/net");
	pid_t pid = geteuid() ? -1 : namespace_start(NULL);
	struct seen seen = { .inode = inode_of_pid(pid) };
	struct netns_list *l;

	if (pid < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	if (CHECK_EQ(netns_list_pid(pid, &l), 0)) {
		CHECK_EQ(netns_list_cnt(l), 1);
		for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
			seen.result = results[i];
			CHECK_EQ(netns_list_visit(l, look, &seen, NULL), results[i]);
			CHECK_EQ(seen.inside, seen.inode);
			CHECK_EQ(inode_of("/proc/self/ns/net"), own);
		}
		CHECK_EQ(seen.cnt, sizeof(results) / sizeof(results[0]));
		seen.result = 3;	/* what is not negative is no end */
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		netns_list_free(l);
	}
	child_stop(pid);
}

TEST(gone)
{
	pid_t pid = geteuid() ? -1 : namespace_start(NULL);
	uint32_t own = inode_of("/proc/self/ns/net");
	struct seen seen = { .inode = inode_of_pid(pid) };
	unsigned int skipped = 0;
	struct netns_list *l;

	if (pid < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	if (!CHECK_EQ(netns_list_pid(pid, &l), 0)) {
		child_stop(pid);
		return;
	}
	child_stop(pid);
	CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), 0);
	CHECK_EQ(skipped, 1);
	CHECK_EQ(seen.all_cnt, 0);
	/* the others are visited all the same */
	CHECK_EQ(netns_list_add_pid(l, getpid()), 0);
	seen.inode = own;
	CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), 0);
	CHECK_EQ(skipped, 1);
	CHECK_EQ(seen.cnt, 1);
	netns_list_free(l);
}

/* The process that was met first is gone, another is in it still. */
TEST(first_process_gone)
{
	pid_t first = geteuid() ? -1 : namespace_start(NULL), second;
	struct seen seen = { .inode = inode_of_pid(first) };
	unsigned int skipped = 9;
	struct netns_list *l;
	int own;

	if (first < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	second = namespace_join(first);
	CHECK_EQ(setns(own, CLONE_NEWNET), 0);
	close(own);
	if (CHECK_EQ(netns_list_pid(first, &l), 0)) {
		child_stop(first);
		CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), 0);
		CHECK_EQ(seen.cnt, 1);
		CHECK_EQ(skipped, 0);
		CHECK_EQ(seen.info.pid, second);
		netns_list_free(l);
	} else {
		child_stop(first);
	}
	child_stop(second);
}

/* A pid that belongs to a process of another namespace by now leads nowhere. */
TEST(other_namespace)
{
	pid_t pid = geteuid() ? -1 : namespace_start(NULL);
	struct seen seen = { .inode = inode_of_pid(pid) };
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	unsigned int skipped = 0;
	struct netns_list *l;

	if (pid < 0) {
		close(own);
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	}
	/* this process goes where the child is, is listed, and comes back */
	if (CHECK_EQ(unshare(CLONE_NEWNET), 0) && CHECK_EQ(netns_list_pid(getpid(), &l), 0)) {
		seen.inode = inode_of("/proc/self/ns/net");
		CHECK_EQ(setns(own, CLONE_NEWNET), 0);
		CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), 0);
		CHECK_EQ(seen.all_cnt, 0);
		CHECK_EQ(skipped, 1);
		netns_list_free(l);
	}
	setns(own, CLONE_NEWNET);
	close(own);
	child_stop(pid);
}

static bool reserve_every_second(void)
{
	char *text = every_second_port();
	bool ok = write_file("/proc/sys/net/ipv4/ip_local_reserved_ports", text);

	free(text);
	return ok;
}

/* A list far longer than a page. */
TEST(visit_reserved_long)
{
	pid_t pid = geteuid() ? -1 : namespace_start(reserve_every_second);
	struct seen seen = { .inode = inode_of_pid(pid) };
	struct netns_list *l;

	if (pid < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	if (CHECK_EQ(netns_list_pid(pid, &l), 0)) {
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		CHECK_EQ(bits_cnt(seen.info.reserved), 32768);
		CHECK(BIT(seen.info.reserved, 65535) && !BIT(seen.info.reserved, 65534));
		netns_list_free(l);
	}
	child_stop(pid);
}

/* In a child with its own mounts: a namespace that only a mount holds, whose path has a space and a backslash. */
static int mounted_check(const char *dir)
{
	char *path = NULL, *over = NULL, *folder = NULL;
	uint32_t inode = 0;
	struct seen seen;
	struct netns_list *l = NULL;
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	test_failures = 0;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    asprintf(&path, "%s/a b\\c", dir) < 0 || asprintf(&over, "%s/over", dir) < 0 ||
	    asprintf(&folder, "%s/folder", dir) < 0)
		return 77;
	close(open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
	close(open(over, O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
	if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL))
		return 77;
	inode = inode_of(path);
	if (setns(own, CLONE_NEWNET))
		return 77;
	/* a mount that only says that it is a namespace */
	CHECK_EQ(mkdir(folder, 0700), 0);
	CHECK_EQ(mount("net:[123]", folder, "tmpfs", 0, NULL), 0);
	seen = (struct seen){ .inode = inode };
	if (CHECK_EQ(netns_list_all(&l), 0)) {
		CHECK(index_of(l, inode) >= 0);
		CHECK_EQ(index_of(l, 123), -1);
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		CHECK_EQ(seen.cnt, 1);
		CHECK_EQ(seen.info.pid, 0);
		CHECK_STR(seen.name, "a b\\c");
		l = netns_list_free(l);
	}
	if (CHECK_EQ(netns_list_path(path, &l), 0)) {
		CHECK_EQ(netns_list_cnt(l), 1);
		CHECK_EQ(netns_list_inode(l, 0), inode);
		/* something else takes its place: a file, another namespace */
		CHECK_EQ(mount(over, path, NULL, MS_BIND, NULL), 0);
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		CHECK_EQ(seen.cnt, 1);
		CHECK_EQ(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL), 0);
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		CHECK_EQ(seen.cnt, 1);
		netns_list_free(l);
	}
	umount(folder);
	rmdir(folder);
	free(path);
	free(over);
	free(folder);
	close(own);
	return test_failures ? 1 : 0;
}

/* Runs in a child, which may change what it is in. True: it ran, and its checks count here. */
static bool child_checks(int (*fn)(const char *), const char *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(fn(arg));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		return false;
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	return true;
}

TEST(only_mounted)
{
	char dir[] = "/tmp/ebb-netns-XXXXXX";
	char *path = NULL;
	bool ran;

	if (geteuid())
		TEST_SKIP(NEEDS_ROOT);
	if (!mkdtemp(dir))
		abort();
	ran = child_checks(mounted_check, dir);
	if (asprintf(&path, "%s/a b\\c", dir) >= 0)
		unlink(path);
	free(path);
	if (asprintf(&path, "%s/over", dir) >= 0)
		unlink(path);
	free(path);
	CHECK_EQ(rmdir(dir), 0);
	if (!ran)
		TEST_SKIP("no mounts can be made here");
}

/* Descriptors run out: that is said, and no namespace is taken for gone. */
TEST(short_of_descriptors)
{
	struct rlimit limit, low;
	int fds[128], cnt = 0;
	struct netns_list *l;
	struct seen seen = { .inode = inode_of("/proc/self/ns/net") };
	unsigned int skipped = 9;

	if (geteuid())
		TEST_SKIP(NEEDS_ROOT);
	if (!CHECK_EQ(netns_list_pid(getpid(), &l), 0))
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	low = (struct rlimit){ 64, limit.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (cnt < 128 && (fds[cnt] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		cnt++;
	CHECK(cnt > 0 && cnt < 128);
	close(fds[--cnt]);	/* one for the way back */
	CHECK_EQ(netns_list_visit(l, look, &seen, &skipped), -EMFILE);
	CHECK_EQ(skipped, 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	while (cnt)
		close(fds[--cnt]);
	netns_list_free(l);
}

TEST(paths)
{
	char *file = child_path("file"), *pipe = child_path("pipe");
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct netns_list *l = NULL;
	struct inotify_event event;
	char own[64];

	close(open(file, O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
	CHECK_EQ(mkfifo(pipe, 0600), 0);
	CHECK(inotify_add_watch(watch, file, IN_OPEN) >= 0 && inotify_add_watch(watch, pipe, IN_OPEN) >= 0);
	CHECK_EQ(netns_list_path(file, &l), -EINVAL);
	CHECK_EQ(netns_list_path(pipe, &l), -EINVAL);
	/* nor are they opened: what if it were a watchdog? */
	CHECK_EQ(read(watch, &event, sizeof(event)), -1);
	CHECK_EQ(errno, EAGAIN);
	close(watch);
	CHECK_EQ(netns_list_path("/tmp", &l), -EINVAL);
	CHECK_EQ(netns_list_path("/", &l), -EINVAL);
	CHECK_EQ(netns_list_path("/dev/null", &l), -EINVAL);
	CHECK_EQ(netns_list_path("/proc/self/ns/uts", &l), -EINVAL);
	CHECK_EQ(netns_list_path("/proc/self/ns/mnt", &l), -EINVAL);
	CHECK_EQ(netns_list_path("/nowhere/at all", &l), -ENOENT);
	CHECK_EQ(netns_list_path("no such name", &l), -ENOENT);
	CHECK(netns_list_path("", &l) < 0);
	CHECK(netns_list_path("..", &l) < 0);
	CHECK_EQ(netns_list_pid(0x7fffffff, &l), -ESRCH);
	CHECK_EQ(netns_list_pid(0, &l), -ESRCH);
	CHECK_EQ(netns_list_pid(-1, &l), -ESRCH);
	CHECK(!l);
	snprintf(own, sizeof(own), "/proc/%d/ns/net", (int)getpid());
	if (CHECK_EQ(netns_list_path(own, &l), 0)) {
		CHECK_EQ(netns_list_cnt(l), 1);
		CHECK_EQ(netns_list_inode(l, 0), inode_of(own));
		netns_list_free(l);
	}
	unlink(file);
	unlink(pipe);
	free(file);
	free(pipe);
}

/* A path of /proc gives no name: the process does. */
TEST(name_of_proc_path)
{
	pid_t pid = geteuid() ? -1 : namespace_start(NULL);
	struct seen seen = { .inode = inode_of_pid(pid) };
	struct netns_list *l;
	char path[64], name[64];

	if (pid < 0)
		TEST_SKIP(geteuid() ? NEEDS_ROOT : NEEDS_NETNS);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	snprintf(name, sizeof(name), "of test_netns[%d]", (int)pid);
	if (CHECK_EQ(netns_list_path(path, &l), 0)) {
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), 0);
		CHECK_STR(seen.name, name);
		CHECK_EQ(seen.info.pid, pid);
		netns_list_free(l);
	}
	child_stop(pid);
}

/* Without the right to enter, that is the answer, not an empty list. */
static int forbidden_check(const char *arg)
{
	struct netns_list *l = NULL;
	struct seen seen = { 0 };

	(void)arg;
	test_failures = 0;
	if (setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return 77;
	if (CHECK_EQ(netns_list_all(&l), 0)) {
		CHECK_EQ(netns_list_visit(l, look, &seen, NULL), -EPERM);
		CHECK_EQ(seen.all_cnt, 0);
		netns_list_free(l);
	}
	return test_failures ? 1 : 0;
}

TEST(forbidden)
{
	if (!child_checks(forbidden_check, NULL))
		TEST_SKIP("no other user can be had");
}

TEST_MAIN(TEST_CASE(own), TEST_CASE(visit), TEST_CASE(visit_fails), TEST_CASE(gone), TEST_CASE(first_process_gone),
	  TEST_CASE(other_namespace), TEST_CASE(visit_reserved_long), TEST_CASE(only_mounted),
	  TEST_CASE(short_of_descriptors), TEST_CASE(paths), TEST_CASE(name_of_proc_path), TEST_CASE(forbidden))
