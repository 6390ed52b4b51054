/* SPDX-License-Identifier: GPL-2.0-only */
/* Which processes belong together, by the text of /proc/PID/cgroup and what runtimes write down. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/cgroup.h"
#include "target/group.h"
#include "test.h"

#define ID	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER	"fedcba98765432100123456789abcdef0123456789abcdef0123456789abcdef"

TEST(ids)
{
	static const struct {
		const char *component, *id;
	} cases[] = {
		{ ID, ID },
		{ "docker-" ID ".scope", ID },
		{ "cri-containerd-" ID ".scope", ID },
		{ "libpod-" ID ".scope", ID },
		{ "kubelet-pod:cri-containerd:" ID, ID },
		{ "libpod-conmon-" ID ".scope", NULL },
		{ "crio-conmon-" ID ".scope", NULL },
		{ "user-1000.slice", NULL },
		{ "docker-0123456789.scope", NULL },
		{ "docker-" ID "g.scope", NULL },
		{ "docker-.scope", NULL },
		{ ".scope", NULL },
		{ "-", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = 0;
		const char *id = group_container_id(cases[i].component, strlen(cases[i].component), &len);

		CHECK_EQ(id != NULL, cases[i].id != NULL);
		if (id && cases[i].id)
			CHECK(len == strlen(cases[i].id) && !strncmp(id, cases[i].id, len));
	}
}

TEST(members)
{
	static const char v1[] = "9:name=systemd:/system.slice/web.service\n4:cpu,memory:/a/b/c\n0::/\n";
	static const char v2[] = "0::/kubepods.slice/pod1.slice/cri-containerd-" ID ".scope\n";
	static const char lxc[] = "0::/lxc.payload.web/init.scope\n";
	const struct {
		struct group g;
		const char *text;
		bool want;
	} cases[] = {
		{ { GROUP_CGROUP, "/a/b", "memory", NULL }, v1, true },
		{ { GROUP_CGROUP, "/a/b", "cpu", NULL }, v1, true },
		{ { GROUP_CGROUP, "/a/b/c", NULL, NULL }, v1, true },
		{ { GROUP_CGROUP, "/a/b/c/d", NULL, NULL }, v1, false },
		{ { GROUP_CGROUP, "/a/bb", NULL, NULL }, v1, false },
		{ { GROUP_CGROUP, "/a/b", "pids", NULL }, v1, false },
		{ { GROUP_CGROUP, "/a/b", "", NULL }, v1, false },
		{ { GROUP_CGROUP, "/", "", NULL }, v1, true },
		{ { GROUP_CGROUP, "/a/b", "mem", NULL }, v1, false },
		{ { GROUP_CGROUP, "/kubepods.slice", "", NULL }, v2, true },
		{ { GROUP_UNIT, "web.service", NULL, NULL }, v1, true },
		{ { GROUP_UNIT, "web", NULL, NULL }, v1, false },
		{ { GROUP_UNIT, "b", NULL, NULL }, v1, true },
		{ { GROUP_CONTAINER, ID, NULL, NULL }, v2, true },
		{ { GROUP_CONTAINER, OTHER, NULL, NULL }, v2, false },
		{ { GROUP_CONTAINER, "0123456789ab", NULL, NULL }, v2, false },
		{ { GROUP_CONTAINER, "web", NULL, NULL }, lxc, true },
		{ { GROUP_CONTAINER, "we", NULL, NULL }, lxc, false },
		{ { GROUP_UNIT, "x", NULL, NULL }, "", false },
		{ { GROUP_UNIT, "x", NULL, NULL }, "garbage\n:\n::\n1:/x", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!CHECK_EQ(group_has(&cases[i].g, cases[i].text), cases[i].want))
			fprintf(stderr, "case %zu\n", i);
}

TEST(units)
{
	static const char *const names[][2] = {
		{ "nginx", "nginx.service" }, { "nginx.service", "nginx.service" }, { "user-0.slice", "user-0.slice" },
		{ "a.b", "a.b.service" }, { "session-1.scope", "session-1.scope" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct group g;

		if (CHECK_EQ(group_unit(names[i][0], &g), 0))
			CHECK_STR(g.name, names[i][1]);
		group_free(&g);
	}
}

static void file_make(const char *root, const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *at = strchr(full + strlen(root) + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		mkdir(full, 0755);
		*at = '/';
	}
	f = fopen(full, "w");
	if (CHECK(f != NULL)) {
		fputs(text, f);
		fclose(f);
	}
}

static void tree_remove(const char *root)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -r '%s'", root);
	CHECK_EQ(system(command), 0);
}

static size_t names_cnt(const char *root, const char *name, const char *first)
{
	char **ids = NULL;
	size_t cnt = 0;

	CHECK_EQ(group_names_find(root, name, &ids), 0);
	while (ids && ids[cnt])
		cnt++;
	if (cnt && first)
		CHECK_STR(ids[0], first);
	group_ids_free(ids);
	return cnt;
}

TEST(runtimes)
{
	char root[] = "/tmp/ebb-group-XXXXXX";

	if (!CHECK(mkdtemp(root) != NULL))
		return;
	CHECK_EQ(names_cnt(root, "web", NULL), 0);
	file_make(root, "var/lib/docker/containers/" ID "/config.v2.json",
		  "{\"Config\":{\"Env\":[\"X=\\\"Name\\\":\\\"/forged\\\"\"]},\"Name\":\"/web\"}");
	file_make(root, "var/lib/docker/containers/" OTHER "/config.v2.json", "{\"Name\" : \"/webs\"}");
	file_make(root, "var/lib/containers/storage/overlay-containers/containers.json",
		  "[{\"id\":\"" ID "\",\"names\":[\"one\",\"pod\"],\"metadata\":\"{\\\"names\\\":[\\\"forged\\\"]}\"},"
		  "{\"id\":\"" OTHER "\",\"names\":[\"two\"]},{\"id\":\"x\"}]");
	file_make(root, "run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json",
		  "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"app\"}}");
	file_make(root, "run/containerd/io.containerd.runtime.v2.task/k8s.io/" OTHER "/config.json",
		  "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"app\"}}");
	file_make(root, "run/containers/storage/overlay-containers/" ID "/userdata/config.json",
		  "{\"annotations\":{\n\t\"io.kubernetes.container.name\": \"crio\"}}");
	CHECK_EQ(names_cnt(root, "web", ID), 1);
	CHECK_EQ(names_cnt(root, "webs", OTHER), 1);
	CHECK_EQ(names_cnt(root, "we", NULL), 0);
	CHECK_EQ(names_cnt(root, "forged", NULL), 0);
	CHECK_EQ(names_cnt(root, "pod", ID), 1);
	CHECK_EQ(names_cnt(root, "two", OTHER), 1);
	CHECK_EQ(names_cnt(root, "app", NULL), 2);
	CHECK_EQ(names_cnt(root, "crio", ID), 1);
	CHECK_EQ(names_cnt(root, "a\"b", NULL), 0);
	CHECK_EQ(names_cnt(root, "../x", NULL), 0);
	CHECK_EQ(names_cnt(root, "", NULL), 0);
	/* what is no file of a runtime */
	file_make(root, "var/lib/docker/containers/empty/config.v2.json", "");
	file_make(root, "var/lib/containers/storage/overlay-containers/containers.json", "[{\"id\":\"");
	CHECK_EQ(names_cnt(root, "web", ID), 1);
	CHECK_EQ(names_cnt(root, "pod", NULL), 0);
	tree_remove(root);
}

TEST(hierarchies)
{
	static const char text[] = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
				   "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
				   "32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n"
				   "33 30 0:29 /docker/a /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
				   "34 31 0:30 / /sys/fs/cgroup/cpu,cpuacct/in\\040it rw - cgroup none rw,freezer\ngarbage - cgroup\n";
	static const char *const want[][3] = {
		{ "/sys/fs/cgroup/unified", "/docker/a", "" },
		{ "/sys/fs/cgroup/systemd", "/", "name=systemd" },
		{ "/sys/fs/cgroup/cpu,cpuacct/in it", "/", "freezer" },
		{ "/sys/fs/cgroup/cpu,cpuacct", "/", "cpu" },
	};
	struct cgroup_hierarchy *list = NULL;
	size_t cnt = 0;

	CHECK_EQ(cgroup_hierarchies_parse(text, &list, &cnt), 0);
	CHECK_EQ(cnt, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < cnt && i < sizeof(want) / sizeof(want[0]); i++) {
		CHECK_STR(list[i].path, want[i][0]);
		CHECK_STR(list[i].root, want[i][1]);
		CHECK_STR(list[i].controller, want[i][2]);
	}
	cgroup_hierarchies_free(list, cnt);
}

TEST_MAIN(TEST_CASE(ids), TEST_CASE(members), TEST_CASE(units), TEST_CASE(runtimes), TEST_CASE(hierarchies))
