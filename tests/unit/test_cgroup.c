/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory cgroups: texts of both versions, a tree of files, and what ebb may take. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/budget.h"
#include "target/cgroup.h"
#include "test.h"

#define MIB (1ull << 20)

TEST(mounts)
{
	static const struct {
		const char *text, *path, *root;
		bool is_v2;
	} cases[] = {
		{ "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup", "/", true },
		{ "1 2 0:1 / / rw - ext4 /dev/vda1 rw\n"
		  "35 31 0:32 /docker/abc /sys/fs/cgroup/memory\\040x rw - cgroup cgroup rw,memory\n"
		  "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
		  "/sys/fs/cgroup/memory x", "/docker/abc", false },
		{ "41 31 0:38 / /u rw - cgroup2 cgroup2 rw\n36 31 0:33 / /m rw master:1 - cgroup none rw,cpu,memory\n", "/m", "/", false },
		{ "36 31 0:33 / /m rw - cgroup none rw,cpu,memoryx\n41 31 0:38 / /u rw - cgroup2 cgroup2 rw", "/u", "/", true },
		{ "36 31 0:33 / /m rw - tmpfs none rw,memory\n", NULL, NULL, false },
		{ "36 31 - cgroup2 x rw\n", NULL, NULL, false },
		{ "garbage", NULL, NULL, false },
		{ "", NULL, NULL, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgroup_mount m = { .path = NULL };
		int err = cgroup_mount_parse(cases[i].text, &m);

		CHECK_EQ(err, cases[i].path ? 0 : -ENOENT);
		if (!err && CHECK(cases[i].path != NULL)) {
			CHECK_STR(m.path, cases[i].path);
			CHECK_STR(m.root, cases[i].root);
			CHECK_EQ(m.is_v2, cases[i].is_v2);
		}
		cgroup_mount_free(&m);
	}
}

TEST(paths)
{
	static const char text[] = "9:name=systemd:/init\n4:cpu,memory:/a:b/c\n3:cpuset:/\n0::/user.slice/x\n";
	char *path = NULL;

	CHECK_EQ(cgroup_path_parse(text, false, &path), 0);
	CHECK_STR(path, "/a:b/c");
	free(path);
	CHECK_EQ(cgroup_path_parse(text, true, &path), 0);
	CHECK_STR(path, "/user.slice/x");
	free(path);
	CHECK_EQ(cgroup_path_parse("3:cpuset:/\n", false, &path), -ENOENT);
	CHECK_EQ(cgroup_path_parse("3:memoryx:/\n", true, &path), -ENOENT);
	CHECK_EQ(cgroup_path_parse("", true, &path), -ENOENT);
}

TEST(below)
{
	CHECK(cgroup_is_below("/a/b", "/a/b"));
	CHECK(cgroup_is_below("/a/b/c", "/a/b"));
	CHECK(cgroup_is_below("/a", "/"));
	CHECK(cgroup_is_below("/", "/"));
	CHECK(!cgroup_is_below("/a/bc", "/a/b"));
	CHECK(!cgroup_is_below("/a", "/a/b"));
	CHECK(!cgroup_is_below("/", "/a"));
}

static char top[] = "/tmp/ebb-cgroup-XXXXXX";

static void put(const char *path, const char *name, const char *value)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", top, path);
	mkdir(full, 0700);
	snprintf(full, sizeof(full), "%s%s/%s", top, path, name);
	f = fopen(full, "w");
	if (!f || fputs(value, f) < 0 || fclose(f))
		abort();
}

static void check_walk(const struct cgroup_mount *m, const char *path, uint64_t room, const char *limited)
{
	struct cgroup_memory c;

	if (!CHECK_EQ(cgroup_memory_walk(m, path, &c), 0))
		return;
	CHECK_STR(c.path, path);
	CHECK_EQ(c.room_bytes, room);
	CHECK(!limited == !c.limited);
	if (limited && c.limited)
		CHECK_STR(c.limited, limited);
	cgroup_memory_free(&c);
}

/* The least room up the tree counts, wherever the limit is. */
TEST(walk)
{
	struct cgroup_mount m = { .path = top, .root = "/", .is_v2 = true };
	char command[64];

	if (!mkdtemp(top))
		abort();
	put("", "memory.stat", "");	/* the root of version 2 has no limit */
	put("/a", "memory.max", "1073741824\n");
	put("/a", "memory.current", "1063256064\n");
	put("/a/b", "memory.max", "max\n");
	put("/a/b", "memory.current", "1048576\n");
	put("/a/b/c", "memory.max", "67108864\n");
	put("/a/b/c", "memory.current", "70000000\n");
	put("/d", "memory.limit_in_bytes", "9223372036854771712\n");
	put("/d", "memory.usage_in_bytes", "1\n");
	put("/d/e", "memory.limit_in_bytes", "4194304\n");
	put("/d/e", "memory.usage_in_bytes", "1048576\n");
	check_walk(&m, "/", UINT64_MAX, NULL);
	check_walk(&m, "/a", 10 * MIB, "/a");
	check_walk(&m, "/a/b", 10 * MIB, "/a");
	check_walk(&m, "/a/b/c", 0, "/a/b/c");		/* over its limit */
	check_walk(&m, "/a/gone", 10 * MIB, "/a");
	check_walk(&m, "/../elsewhere", UINT64_MAX, NULL);
	/* what is mounted is a part of the hierarchy */
	m.root = "/x/y";
	check_walk(&m, "/x/y/a/b", 10 * MIB, "/x/y/a");
	check_walk(&m, "/x/y", UINT64_MAX, NULL);
	check_walk(&m, "/z", UINT64_MAX, NULL);
	m.root = "/";
	m.is_v2 = false;
	check_walk(&m, "/d", UINT64_MAX, NULL);
	check_walk(&m, "/d/e", 3 * MIB, "/d/e");
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (system(command))
		abort();
}

TEST(budget)
{
	CHECK_EQ(budget_least(0, UINT64_MAX).bytes, 256 * MIB);
	CHECK_EQ(budget_least(100ull << 30, UINT64_MAX).bytes, 256 * MIB);
	CHECK_EQ(budget_least(2000 * MIB, UINT64_MAX).bytes, 100 * MIB);
	CHECK_EQ(budget_least(100ull << 30, 64 * MIB).bytes, 16 * MIB);
	CHECK_EQ(budget_least(200 * MIB, 64 * MIB).bytes, 10 * MIB);
	CHECK_EQ(budget_least(0, 0).bytes, 0);
	CHECK(strstr(budget_least(200 * MIB, UINT64_MAX).why, "available"));
	CHECK(strstr(budget_least(0, MIB).why, "cgroup"));
}

TEST_MAIN(TEST_CASE(mounts), TEST_CASE(paths), TEST_CASE(below), TEST_CASE(walk), TEST_CASE(budget))
