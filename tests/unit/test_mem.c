/* SPDX-License-Identifier: GPL-2.0-only */
/* What `ebb mem` makes of its looks, and the small texts that it reads beside smaps. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mem_report.h"
#include "output/output.h"
#include "profile/report.h"
#include "target/target.h"
#include "test.h"

#define S 1000000000ull
#define MIB (1ull << 20)

static const struct pressure_kills no_kills;

TEST(descriptor_kinds)
{
	static const struct { const char *link; enum descriptor_kind kind; } cases[] = {
		{ "socket:[123]", DESCRIPTOR_SOCKET }, { "pipe:[9]", DESCRIPTOR_PIPE }, { "/memfd:x (deleted)", DESCRIPTOR_MEMFD },
		{ "anon_inode:[eventpoll]", DESCRIPTOR_EPOLL }, { "anon_inode:[eventfd]", DESCRIPTOR_EVENTFD },
		{ "anon_inode:[timerfd]", DESCRIPTOR_TIMERFD }, { "anon_inode:[signalfd]", DESCRIPTOR_SIGNALFD },
		{ "anon_inode:inotify", DESCRIPTOR_INOTIFY }, { "anon_inode:[pidfd]", DESCRIPTOR_PIDFD }, { "pidfd:[4]", DESCRIPTOR_PIDFD },
		{ "anon_inode:[io_uring]", DESCRIPTOR_IO_URING }, { "anon_inode:bpf-map", DESCRIPTOR_BPF },
		{ "anon_inode:[perf_event]", DESCRIPTOR_BPF }, { "/dev/null", DESCRIPTOR_DEVICE }, { "/dev/shm/x", DESCRIPTOR_FILE },
		{ "/etc/passwd", DESCRIPTOR_FILE }, { "/", DESCRIPTOR_FILE }, { "anon_inode:[never heard of]", DESCRIPTOR_OTHER },
		{ "mnt:[4026531841]", DESCRIPTOR_OTHER }, { "", DESCRIPTOR_OTHER },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_EQ(descriptor_kind_of(cases[i].link), cases[i].kind);
}

TEST(limits)
{
	CHECK_EQ(descriptors_limit_parse("Limit  Soft\nMax open files            1024                 524288               files\n"), 1024);
	CHECK_EQ(descriptors_limit_parse("Max open files            unlimited            unlimited            files\n"), UINT64_MAX);
	CHECK_EQ(descriptors_limit_parse(""), UINT64_MAX);
	CHECK_EQ(descriptors_watches_parse("pos:\t0\nflags:\t02\ninotify wd:2 ino:1 sdev:2\ninotify wd:1 ino:3 sdev:2\n"), 2);
	CHECK_EQ(descriptors_watches_parse("pos:\t0\n"), 0);
}

TEST(thread_names)
{
	static const char *const cases[][2] = {
		{ "pool-12-thread-3", "pool-#-thread-#" }, { "node", "node" }, { "1", "#" }, { "", "" }, { "a1b22c", "a#b#c" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char name[32];

		strcpy(name, cases[i][0]);
		thread_name_shorten(name);
		CHECK_STR(name, cases[i][1]);
	}
}

TEST(stalls)
{
	struct pressure_stall s = pressure_stall_parse("some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\n"
						       "full avg10=0.75 avg60=0.10 avg300=0.00 total=99\n");

	CHECK(s.known);
	CHECK_EQ(s.some_avg10 * 100, 150);
	CHECK_EQ(s.full_avg10 * 100, 75);
	CHECK_EQ(s.some_total_us, 1234);
	CHECK_EQ(s.full_total_us, 99);
	CHECK(!pressure_stall_parse("").known);
	CHECK(!pressure_stall_parse("some avg10=x\n").known);
}

TEST(events)
{
	uint64_t n = 77;

	CHECK(pressure_event_parse("low 0\nhigh 3\noom 2\noom_kill 5\n", "oom_kill", &n));
	CHECK_EQ(n, 5);
	CHECK(pressure_event_parse("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", "oom_kill", &n));
	CHECK_EQ(n, 4);
	CHECK(!pressure_event_parse("oom_kill_disable 0\nunder_oom 0\n", "oom_kill", &n));
	CHECK(!pressure_event_parse("", "oom_kill", &n));
}

static void put(const char *dir, const char *name, const char *value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fputs(value, f) < 0 || fclose(f))
		abort();
}

static void drop(const char *dir, const char *const *names)
{
	char path[128];

	for (; *names; names++) {
		snprintf(path, sizeof(path), "%s/%s", dir, *names);
		unlink(path);
	}
	rmdir(dir);
}

TEST(cgroup_files)
{
	static const char *const names[] = { "memory.current", "memory.swap.current", "memory.swap.max", "memory.events", "memory.pressure",
					     "memory.usage_in_bytes", "memory.oom_control", NULL };
	struct pressure p = { .is_v2 = true, .swap_used_bytes = UINT64_MAX, .swap_limit_bytes = UINT64_MAX };
	char dir[] = "/tmp/ebb-mem-XXXXXX";

	if (!mkdtemp(dir))
		abort();
	/* nothing there: nothing known */
	pressure_cgroup_look(dir, &p);
	CHECK(!p.has_events && !p.own.known && !p.used_bytes);
	CHECK_EQ(p.swap_used_bytes, UINT64_MAX);
	put(dir, "memory.current", "1048576\n");
	put(dir, "memory.swap.current", "4096\n");
	put(dir, "memory.swap.max", "max\n");
	put(dir, "memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n");
	put(dir, "memory.pressure", "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=2\n");
	pressure_cgroup_look(dir, &p);
	CHECK_EQ(p.used_bytes, MIB);
	CHECK_EQ(p.swap_used_bytes, 4096);
	CHECK_EQ(p.swap_limit_bytes, UINT64_MAX);
	CHECK(p.has_events);
	CHECK_EQ(p.oom_kills_cnt, 2);
	CHECK_EQ(p.ooms_cnt, 3);
	CHECK_EQ(p.max_cnt, 9);
	CHECK(p.own.known);
	CHECK_EQ(p.own.some_avg10 * 10, 125);
	/* version 1 has other names, and no PSI */
	put(dir, "memory.usage_in_bytes", "2097152\n");
	put(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
	p = (struct pressure){ .is_v2 = false };
	pressure_cgroup_look(dir, &p);
	CHECK_EQ(p.used_bytes, 2 * MIB);
	CHECK_EQ(p.oom_kills_cnt, 5);
	CHECK(!p.own.known);
	drop(dir, names);
}

static void kill_drop(struct pressure_kill *k)
{
	free(k->comm);
	free(k->cgroup);
	free(k->limited);
}

TEST(kills)
{
	struct pressure_kill k;

	if (CHECK(pressure_kill_parse("6,1234,5000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
				      "oom_memcg=/a,task_memcg=/a/b,task=n,pid=7,x,pid=12,uid=0\n", 8000000, &k))) {
		CHECK_EQ(k.ago_ns, 3 * S);
		CHECK_EQ(k.pid, 12);
		CHECK_STR(k.comm, "n,pid=7,x");
		CHECK_STR(k.cgroup, "/a/b");
		CHECK_STR(k.limited, "/a");
		kill_drop(&k);
	}
	if (CHECK(pressure_kill_parse("3,1,1,-;Memory cgroup out of memory: Killed process 12 (a (b)) total-vm:1kB, anon-rss:2048kB, file-rss:0kB",
				      1, &k))) {
		CHECK_EQ(k.pid, 12);
		CHECK_STR(k.comm, "a (b)");
		CHECK_EQ(k.rss_bytes, 2 * MIB);
		CHECK(!k.limited);
		kill_drop(&k);
	}
	CHECK(!pressure_kill_parse("6,1,1,-;usb 1-1: new device", 1, &k));
	CHECK(!pressure_kill_parse("6,1,1,-;oom-kill:constraint=CONSTRAINT_NONE", 1, &k));
	CHECK(!pressure_kill_parse("oom-kill:", 1, &k));
	CHECK(!pressure_kill_parse("", 1, &k));
}

/* A look with so many MiB in the heap and in the managed heap, so many descriptors of a kind. */
static struct mem_look look(uint64_t at_s, uint64_t heap_mib, uint64_t managed_mib, size_t inotify, size_t threads)
{
	struct mem_look l = { .time_ns = at_s * S };

	l.footprint.parts[REGION_HEAP].values.rss_bytes = heap_mib * MIB;
	l.footprint.parts[REGION_MANAGED].values.rss_bytes = managed_mib * MIB;
	l.footprint.total.values.rss_bytes = (heap_mib + managed_mib) * MIB;
	l.footprint.before.rss_bytes = l.footprint.after.rss_bytes = l.footprint.total.values.rss_bytes;
	l.footprint.runtime = REGION_RUNTIME_DOTNET;
	l.footprint.lines = SMAPS_PSS | SMAPS_FLAGS | SMAPS_SWAP | SMAPS_HUGE;
	l.descriptors = (struct descriptors){ .cnt = 20 + inotify, .limit_cnt = 1024 };
	l.descriptors.kinds[DESCRIPTOR_INOTIFY] = inotify;
	l.descriptors.kinds[DESCRIPTOR_FILE] = 20;
	l.threads.list = calloc(1, sizeof(*l.threads.list));
	l.threads.list[0] = (struct thread_name){ strdup(".NET File Watch"), threads };
	l.threads.cnt = 1;
	l.threads.threads_cnt = threads;
	l.pressure.cgroup = (struct cgroup_memory){ strdup("/shop"), 100 * MIB, 1024 * MIB, strdup("/shop") };
	l.pressure.limited_used_bytes = 924 * MIB;
	l.pressure.oom_score = 700;
	return l;
}

static void push(struct mem_history *h, struct mem_look l)
{
	mem_history_push(h, &l);
}

TEST(growth)
{
	struct mem_history h = { 0 };
	enum region_kind growing[REGION_KINDS];
	struct mem_growth g;

	push(&h, look(1, 10, 100, 1, 5));
	CHECK_EQ(mem_history_growing(&h, growing), 0);
	CHECK_EQ(mem_history_ns(&h), 0);
	for (int i = 1; i <= 10; i++)
		push(&h, look(1 + i, 10, 100 + 2 * i, 1, 5));
	if (CHECK_EQ(mem_history_growing(&h, growing), 1))
		CHECK_EQ(growing[0], REGION_MANAGED);
	g = mem_history_growth(&h, REGION_MANAGED);
	CHECK_EQ(g.by, 20 * MIB);
	CHECK_EQ(llround(g.per_s), 2 * MIB);
	CHECK_EQ(g.ups_cnt, 10);
	CHECK_EQ(g.steps_cnt, 10);
	CHECK_EQ(llround(mem_seconds_left(100 * MIB, &g)), 50);
	CHECK_EQ(mem_history_growth(&h, REGION_HEAP).by, 0);
	CHECK(mem_seconds_left(1, &(struct mem_growth){ .by = -1, .per_s = -1 }) < 0);
	mem_history_clear(&h);
	CHECK_EQ(h.looks_cnt, 0);
}

/* What shrinks, what rose once, and what comes and goes do not grow; the larger of two comes first. */
TEST(growing)
{
	struct mem_history h = { 0 };
	enum region_kind growing[REGION_KINDS];

	for (int i = 0; i < 20; i++)
		push(&h, look(i, i ? 50 : 10, 200 - i, 1, 5));
	CHECK_EQ(mem_history_growing(&h, growing), 0);
	mem_history_clear(&h);

	for (int i = 0; i < 20; i++)
		push(&h, look(i, i % 2 ? 60 : 10, 100, 1, 5));
	CHECK(mem_history_growing(&h, growing) <= 1);
	mem_history_clear(&h);

	for (int i = 0; i < 20; i++)
		push(&h, look(i, 10 + i, 100 + 3 * i, 1, 5));
	if (CHECK_EQ(mem_history_growing(&h, growing), 2)) {
		CHECK_EQ(growing[0], REGION_MANAGED);
		CHECK_EQ(growing[1], REGION_HEAP);
	}
	mem_history_clear(&h);
}

TEST(counts)
{
	struct mem_history h = { 0 };
	size_t by;

	for (int i = 0; i < 10; i++)
		push(&h, look(i, 10, 10, 1 + i, 5 + 2 * i));
	CHECK(mem_history_counts_up(&h, MEM_SERIES_DESCRIPTOR_KIND + DESCRIPTOR_INOTIFY));
	CHECK(!mem_history_counts_up(&h, MEM_SERIES_DESCRIPTOR_KIND + DESCRIPTOR_FILE));
	CHECK(mem_history_counts_up(&h, MEM_SERIES_THREADS));
	CHECK(mem_history_thread(&h, &by) != NULL);
	CHECK_EQ(by, 18);
	mem_history_clear(&h);
}

static char *table_of(const struct mem_view *v)
{
	static const struct table_options opt = { .width = 0 };
	struct report *r;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!CHECK_EQ(mem_report(v, &r), 0))
		abort();
	CHECK_EQ(table_write(f, r, &opt), 0);
	report_free(r);
	fclose(f);
	return text;
}

static void check_has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fprintf(stderr, "missing: %s\nin: %s\n", what, text);
	CHECK(strstr(text, what) != NULL);
}

TEST(report)
{
	struct target t = { .pid = 42, .comm = (char *)"shop\x1b[31m" };
	struct mem_history h = { 0 };
	struct pressure_kill kill = { 60 * S, 7, (char *)"shop", (char *)"/shop", (char *)"/shop", 900 * MIB };
	struct pressure_kills kills = { &kill, 1, 0 };
	struct mem_view v = { .target = &t, .history = &h, .kills = &no_kills, .top = 5 };
	char *text;

	push(&h, look(0, 10, 100, 1, 5));
	h.first.footprint.minor_faults = 100;
	text = table_of(&v);
	check_has(text, "RSS 110 MiB");
	check_has(text, "one look");
	check_has(text, "next: sudo ebb mem 42 -d 1m");
	CHECK(!strstr(text, "\x1b"));
	CHECK(!strstr(text, "GROWS"));
	free(text);

	for (int i = 1; i <= 10; i++)
		push(&h, look(i, 10, 100 + i, 1, 5));
	h.last.footprint.minor_faults = 2100;
	h.last.footprint.major_faults = 7;
	v.repeated = true;
	v.kills = &kills;
	text = table_of(&v);
	check_has(text, "GROWS: managed heap (.NET) +10 MiB in 10.0s (+1.0 MiB/s), up in 10 of 10 steps");
	check_has(text, "page faults in this time: 2,000 without a read, 7 that read from disk or swap");
	check_has(text, "100 MiB left: reached at this process's rate in ≈100 s");
	check_has(text, "shop[7] was killed for lack of memory 1m00s ago, with 900 MiB: the limit of cgroup /shop");
	free(text);

	for (int i = 11; i <= 20; i++)
		push(&h, look(i, 10, 110, 1 + 10 * i, 5 + 10 * i));
	text = table_of(&v);
	check_has(text, "GROWS: descriptors: inotify instances +200; at this rate the limit is reached in ");
	check_has(text, "GROWS: threads: .NET File Watch +200 of +200");
	check_has(text, "next: sudo ebb leak 42 --pairs inotify");
	free(text);
	mem_history_clear(&h);
}

/* What the kernel did not say is said so. */
TEST(unknown)
{
	struct target t = { .pid = 42, .comm = (char *)"x" };
	struct mem_history h = { 0 };
	struct mem_view v = { .target = &t, .history = &h, .kills = &no_kills, .top = 5, .verbose = true };
	struct mem_look l = look(0, 10, 100, 1, 5);
	char *text;

	l.footprint.lines = 0;
	l.footprint.after.rss_bytes += 3 * MIB;
	l.footprint.before.rss_bytes += 2 * MIB;
	l.footprint.moved_cnt = 2;
	l.descriptors_err = -EACCES;
	cgroup_memory_free(&l.pressure.cgroup);
	push(&h, l);
	text = table_of(&v);
	check_has(text, "2 mappings changed while they were read");
	check_has(text, "this kernel shows no flags of mappings");
	check_has(text, "VmRSS says 2.0 MiB more");
	check_has(text, "no memory cgroup is seen from here");
	check_has(text, "descriptors: not known: Permission denied");
	check_has(text, "this kernel keeps no PSI");
	check_has(text, "whether processes of its cgroup were killed for lack of memory is not known");
	CHECK(!strstr(text, "· PSS"));
	free(text);
	mem_history_clear(&h);
}

/* What a walk of malloc's heap found, and what it did not. */
TEST(heap)
{
	struct target t = { .pid = 42, .comm = (char *)"x" };
	struct mem_history h = { 0 };
	struct mem_heap heap = { .walk = { .arenas_cnt = 3, .tiles = true, .changed = true, .has_mmapped = true, .mmapped_cnt = 1,
		.mmapped_bytes = 9 * MIB, .sum = { .used_bytes = 5 * MIB, .used_cnt = 12, .free_bytes = 70 * MIB, .fast_bytes = MIB,
		.cached_bytes = MIB, .largest_free_bytes = 8 * MIB, .top_bytes = 4 * MIB, .trim_bytes = 69 * MIB } } };
	struct mem_view v = { .target = &t, .history = &h, .kills = &no_kills, .heap = &heap, .top = 5 };
	struct mem_look l = look(0, 10, 100, 1, 5);
	char *text;

	push(&h, l);
	text = table_of(&v);
	check_has(text, "inside glibc's heap (3 arenas, approximate: walked while it was busy): 5.0 MiB in use in 12 blocks");
	check_has(text, "70 MiB in bins (the largest piece 8.0 MiB), 2.0 MiB in caches, 4.0 MiB at the top; 9.0 MiB in large blocks");
	check_has(text, "malloc_trim() could return 69 MiB");
	free(text);
	heap.walk.tiles = false;
	heap.walk.why = (char *)"its chunks do not tile";
	text = table_of(&v);
	check_has(text, "inside glibc's heap: not known, its chunks do not tile");
	CHECK(!strstr(text, "malloc_trim"));
	free(text);
	heap.err = -ETIME;
	text = table_of(&v);
	check_has(text, "inside glibc's heap: it could not be walked");
	free(text);
	v.heap = NULL;
	text = table_of(&v);
	CHECK(!strstr(text, "glibc"));
	free(text);
	mem_history_clear(&h);
}

TEST_MAIN(TEST_CASE(descriptor_kinds), TEST_CASE(limits), TEST_CASE(thread_names), TEST_CASE(stalls), TEST_CASE(events), TEST_CASE(cgroup_files), TEST_CASE(kills),
	  TEST_CASE(growth), TEST_CASE(growing), TEST_CASE(counts), TEST_CASE(report), TEST_CASE(unknown), TEST_CASE(heap))
