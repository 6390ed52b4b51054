/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "elf/image.h"
#include "elf/parser_ops.h"
#include "target/maps.h"
#include "target/proc.h"
#include "target/target.h"
#include "test.h"
#include "unit/child.h"

#define READY "\n#include <unistd.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n" \
	"#include <pthread.h>\nstatic void ready(void) { if (write(1, \"r\", 1) != 1) _exit(1); for (;;) pause(); }\n"

static int parse(const char *text, struct target_mapping **maps, size_t *cnt)
{
	return maps_parse(text, strlen(text), maps, cnt);
}

TEST(maps_lines)
{
	static const char text[] =
		"00400000-00401000 r--p 00000000 fe:01 1234                       /usr/bin/with two  spaces\n"
		"00401000-00402000 r-xp 00001000 103:0a 99999999999              /tmp/new\\012line (deleted)\n"
		"7f0000000000-7f0000001000 rw-s 00000000 00:01 7                 /memfd:x (deleted)\n"
		"7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0 \n"
		"7ffe10000000-7ffe10021000 rw-p 00000000 00:00 0                 [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0         [vsyscall]";
	struct target_mapping *maps;
	size_t cnt;

	if (!CHECK_EQ(parse(text, &maps, &cnt), 0) || !CHECK_EQ(cnt, 6))
		return;
	CHECK_STR(maps[0].path, "/usr/bin/with two  spaces");
	CHECK_EQ(maps[0].dev, 0xfe01);
	CHECK_STR(maps[1].path, "/tmp/new\nline (deleted)");
	CHECK_EQ(maps[1].start, 0x401000);
	CHECK_EQ(maps[1].end, 0x402000);
	CHECK_EQ(maps[1].off, 0x1000);
	CHECK_EQ(maps[1].inode, 99999999999ll);
	CHECK(!memcmp(maps[1].prot, "r-xp", 4));
	CHECK_STR(maps[3].path, "");
	CHECK_STR(maps[4].path, "[stack]");
	CHECK(maps[5].end == 0xffffffffff601000ull);
	maps_free(maps, cnt);
}

TEST(maps_hostile)
{
	static const char *const bad[] = {
		"x", "\n", "1000", "1000-", "1000-2000", "1000-2000 r-xp", "1000-2000 r-xp 0", "1000-2000 r-xp 0 0:0",
		"1000-2000 r-xp 0 0:0 ", "2000-1000 r-xp 0 0:0 0 /x", "1000-2000 r-x 0 0:0 0 /x",
		"10000000000000000-2000 r-xp 0 0:0 0", "1000-2000 r-xp 0 0:0 99999999999999999999 /x",
		"1000-2000 r-xp 0 0:0 0x /x", "-1-2000 r-xp 0 0:0 0 /x",
	};
	static const char overlap[] =
		"1000-5000 r-xp 0 0:0 0 /a\n2000-3000 r-xp 0 0:0 0 /b\n5000-6000 r-xp 0 0:0 0 /c\n";
	static const char nul[] = "1000-2000 r-xp 0 0:0 0 /a\0b\n";
	struct target_mapping *maps;
	size_t cnt;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK_EQ(parse(bad[i], &maps, &cnt), -EBADMSG))
			fprintf(stderr, "\tline %zu: %s\n", i, bad[i]);
	if (CHECK_EQ(parse("", &maps, &cnt), 0)) {
		CHECK_EQ(cnt, 0);
		maps_free(maps, cnt);
	}
	/* a torn reading: what overlaps is dropped, so that a search finds one answer */
	if (CHECK_EQ(parse(overlap, &maps, &cnt), 0)) {
		CHECK_EQ(cnt, 2);
		CHECK_STR(maps[1].path, "/c");
		maps_free(maps, cnt);
	}
	if (CHECK_EQ(maps_parse(nul, sizeof(nul) - 1, &maps, &cnt), 0)) {
		CHECK_STR(maps[0].path, "/a");
		maps_free(maps, cnt);
	}
}

TEST(stat_line)
{
	static const char numbers[] = " S 4 5 6 7 -8 4194304 10 11 12 13 14 15 16 17 18 19 23 21 4242 23";
	struct text text = { 0 };
	struct proc_stat stat;

	text_printf(&text, "77 (a) R 1 (x\n) b)%s\n", numbers);
	if (CHECK_EQ(proc_stat_parse(text.str, &stat), 0)) {
		CHECK_EQ(stat.comm_len, strlen("a) R 1 (x\n) b"));
		CHECK_EQ(stat.state, 'S');
		CHECK_EQ(stat.flags, 4194304);
		CHECK_EQ(stat.minflt, 10);
		CHECK_EQ(stat.majflt, 12);
		CHECK_EQ(stat.threads_cnt, 23);
		CHECK_EQ(stat.start_ticks, 4242);
	}
	text_free(&text);
	CHECK_EQ(proc_stat_parse("", &stat), -EBADMSG);
	CHECK_EQ(proc_stat_parse("77 )(", &stat), -EBADMSG);
	CHECK_EQ(proc_stat_parse("77 (x)", &stat), -EBADMSG);
	CHECK_EQ(proc_stat_parse("77 (x) S", &stat), -EBADMSG);
	CHECK_EQ(proc_stat_parse("77 (x) S 1 2 3", &stat), -EBADMSG);
}

TEST(status_lines)
{
	static const char status[] = "Name:\tVmRSS: 1 kB\nTgid:\t12\nVmRSS:\t  340 kB\nRss:\t-1";
	uint64_t n = 5;
	size_t len;

	CHECK(proc_status_u64(status, "VmRSS", &n));
	CHECK_EQ(n, 340);
	CHECK(proc_status_u64(status, "Tgid", &n));
	CHECK_EQ(n, 12);
	CHECK(!proc_status_u64(status, "Rss", &n));
	CHECK(!proc_status_u64(status, "gid", &n));
	CHECK(!proc_status_line("", "x", &len));
}

static int open_target(pid_t pid, struct target **t)
{
	enum target_problem problem;
	pid_t tgid;

	return target_open(pid, NULL, t, &problem, &tgid);
}

static void check_problem(pid_t pid, enum target_problem want)
{
	enum target_problem problem = TARGET_OK;
	struct target *t = NULL;
	pid_t tgid = 0;
	int err = target_open(pid, NULL, &t, &problem, &tgid);

	CHECK(err < 0);
	CHECK_EQ(problem, want);
	if (!err)
		target_free(t);
}

TEST(not_a_process)
{
	pid_t pid = fork();
	siginfo_t info;

	if (!pid)
		_exit(0);
	waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
	check_problem(pid, TARGET_ZOMBIE);
	waitpid(pid, NULL, 0);
	check_problem(pid, TARGET_NO_PROCESS);
	check_problem(0, TARGET_NO_PROCESS);
	check_problem(-1, TARGET_NO_PROCESS);
	check_problem(0x7fffffff, TARGET_NO_PROCESS);
	check_problem(getpid(), TARGET_SELF);
}

TEST(kernel_thread)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int fd = proc_open(2);
	bool is_kthreadd = fd >= 0 && !proc_read(fd, "stat", &text) && !proc_stat_parse(text_str(&text), &stat) &&
			   stat.comm_len == 8 && !memcmp(stat.comm, "kthreadd", 8);

	text_free(&text);
	if (fd >= 0)
		close(fd);
	if (!is_kthreadd)
		TEST_SKIP("no kernel threads are visible here");
	check_problem(2, TARGET_KERNEL_THREAD);
}

TEST(thread_id)
{
	char *path = child_build("threads", "cc", READY
		"static void *run(void *x) { ready(); return x; }\n"
		"int main(void) { pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0); }\n", "-pthread");
	pid_t pid = path ? child_start(path, NULL) : -1, tgid = 0;
	enum target_problem problem;
	struct target *t = NULL;
	struct dirent *entry;
	char task[64];
	DIR *dir;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	snprintf(task, sizeof(task), "/proc/%d/task", pid);
	dir = opendir(task);
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || tid == pid)
			continue;
		CHECK(target_open(tid, NULL, &t, &problem, &tgid) < 0);
		CHECK_EQ(problem, TARGET_THREAD);
		CHECK_EQ(tgid, pid);
	}
	if (dir)
		closedir(dir);
	CHECK_EQ(tgid, pid);
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		CHECK_EQ(target_threads_cnt(t), 2);
		target_free(t);
	}
	child_stop(pid);
}

TEST(class_32bit)
{
	/* write(1, "r", 1), then pause() for ever; no library for 32 bits is needed */
	char *path = child_build("small", "cc",
		"__asm__(\".globl _start\\n_start: push $114\\nmov %esp,%ecx\\nmov $4,%eax\\nmov $1,%ebx\\nmov $1,%edx\\n\"\n"
		"\"int $0x80\\n1: mov $29,%eax\\nint $0x80\\njmp 1b\\n\");\n", "-m32 -nostdlib -static -no-pie");
	pid_t pid = path ? child_start(path, NULL) : -1;

	free(path);
	if (pid < 0)
		TEST_SKIP("32-bit programs cannot be built or run here");
	check_problem(pid, TARGET_32BIT);
	child_stop(pid);
}

static const struct target_module *find_exe(const struct target *t)
{
	for (size_t i = 0; i < t->modules_cnt; i++)
		if (t->modules[i]->is_exe)
			return t->modules[i];
	return NULL;
}

static void check_exe_path(pid_t pid, const char *path, bool deleted)
{
	const struct target_module *exe;
	struct target *t;

	if (!CHECK_EQ(open_target(pid, &t), 0))
		return;
	exe = find_exe(t);
	if (CHECK(exe)) {
		CHECK_STR(exe->path, path);
		CHECK_EQ(exe->deleted, deleted);
		CHECK(exe->facts.is_elf && exe->facts.segments_cnt);
		CHECK_STR(t->exe, path);
	}
	target_free(t);
}

TEST(hostile_names)
{
	static const char *const names[] = { "two  words", "line\nbreak", "back\\012slash", "x (deleted)", "\033[31m" };
	char *built = child_build("plain", "cc", READY "int main(void) { ready(); }\n", "");

	if (!built)
		TEST_SKIP("no C compiler");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = child_path(names[i]);
		pid_t pid;

		CHECK_EQ(link(built, path), 0);
		pid = child_start(path, NULL);
		if (CHECK(pid > 0)) {
			check_exe_path(pid, path, false);
			unlink(path);
			/* the name of a file that is gone is only in maps; without rights it stays closed */
			if (!geteuid())
				check_exe_path(pid, path, true);
		}
		child_stop(pid);
		free(path);
	}
	free(built);
}

static int say(int fd, char byte)
{
	return write(fd, &byte, 1) == 1 ? 0 : -1;
}

/* A child that maps and unmaps a file as code, one step a byte. */
static void mapper(const char *file, int in, int out)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	void *p = NULL;
	char byte;

	while (!say(out, 'r') && read(in, &byte, 1) == 1) {
		if (byte == 'm')
			p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
		else
			munmap(p, 4096);
	}
	_exit(0);
}

TEST(refresh)
{
	const struct target_mapping *map;
	int in[2], out[2];
	struct target *t;
	uint64_t addr = 0;
	char byte;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		TEST_SKIP("no pipe");
	pid = fork();
	if (!pid)
		mapper("/usr/bin/env", in[0], out[1]);
	if (read(out[0], &byte, 1) == 1 && CHECK_EQ(open_target(pid, &t), 0)) {
		CHECK_EQ(target_refresh(t), 0);
		if (!say(in[1], 'm') && read(out[0], &byte, 1) == 1) {
			CHECK_EQ(target_refresh(t), 1);
			CHECK_EQ(target_refresh(t), 0);
			for (size_t i = 0; i < t->mappings_cnt; i++)
				if (!strcmp(t->mappings[i].path, "/usr/bin/env"))
					addr = t->mappings[i].start;
			map = target_mapping_at(t, addr + 4095);
			CHECK(addr && map && map->module && !map->gone);
		}
		if (!say(in[1], 'u') && read(out[0], &byte, 1) == 1) {
			CHECK_EQ(target_refresh(t), 1);
			map = target_mapping_at(t, addr);
			if (CHECK(map && map->gone))
				CHECK_STR(map->module->path, "/usr/bin/env");
			CHECK_EQ(target_refresh(t), 0);
		}
		child_stop(pid);
		CHECK(!target_is_alive(t));
		CHECK_EQ(target_refresh(t), -ESRCH);
		CHECK_EQ(target_read(t, addr, &byte, 1), -ESRCH);
		CHECK(target_mapping_at(t, addr) != NULL);
		target_free(t);
	} else {
		child_stop(pid);
	}
	close(in[0]), close(in[1]), close(out[0]), close(out[1]);
}

TEST(many_mappings)
{
	char *path = child_build("many", "cc", READY
		"int main(void) { char *p = mmap(0, 60000 * 4096l, 0, 0x4022, -1, 0);\n"
		"for (long i = 0; i < 60000; i += 2) mprotect(p + i * 4096, 4096, PROT_READ); ready(); }\n", "");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct target *t;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		CHECK(t->mappings_cnt > 50000);
		for (size_t i = 0; i < t->mappings_cnt; i += 997)
			CHECK(target_mapping_at(t, t->mappings[i].end - 1) == &t->mappings[i]);
		CHECK(!target_mapping_at(t, 1));
		target_free(t);
	}
	child_stop(pid);
}

TEST(reading)
{
	static const char mark[] = "what the parent looks for";
	struct target_memory memory;
	char buf[sizeof(mark)];
	char *path = child_build("heap", "cc", READY
		"int main(void) { char *p = sbrk(9 << 20); memset(p, 1, 9 << 20); for (volatile int i = 0; i < 9999999; i++);"
		" ready(); }\n", "");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct target *t;
	uint64_t ns = 0;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		CHECK_EQ(target_memory_read(t, &memory), 0);
		CHECK(memory.heap_bytes >= 9 << 20 && memory.heap_bytes < 20 << 20);
		CHECK(memory.rss_bytes > memory.heap_bytes && memory.anon_bytes >= memory.heap_bytes);
		CHECK_EQ(memory.rss_bytes, memory.anon_bytes + memory.file_bytes + memory.shmem_bytes);
		CHECK_EQ(target_cpu_ns(t, &ns), 0);
		CHECK(ns > 0);
		target_free(t);
	}
	child_stop(pid);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		/* a fork has its parent's addresses */
		CHECK_EQ(target_read(t, (uintptr_t)mark, buf, sizeof(buf)), (long)sizeof(buf));
		CHECK_STR(buf, mark);
		CHECK_EQ(target_read(t, 4096, buf, sizeof(buf)), -EFAULT);
		target_free(t);
	}
	child_stop(pid);
}

TEST(place_of_code)
{
	struct target *t;
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		const struct target_mapping *map = target_mapping_at(t, (uintptr_t)open_target);
		unsigned char memory[16];
		uint64_t va = 0;

		CHECK(map && map->module && map->module->is_exe);
		CHECK_EQ(target_mapping_va(map, (uintptr_t)open_target, &va), 0);
		CHECK_EQ(target_addr(map->module, va), (uintptr_t)open_target);
		CHECK_EQ(target_read(t, target_addr(map->module, va), memory, sizeof(memory)), 16);
		CHECK(!memcmp(memory, (void *)open_target, 16));
		target_free(t);
	}
	child_stop(pid);
}

/* The copy of the vdso is what the process has, and nobody can make it something else. */
TEST(vdso)
{
	const struct target_module *m = NULL;
	struct target *t;
	pid_t pid = fork();
	char byte;

	if (!pid)
		for (;;)
			pause();
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		for (size_t i = 0; i < t->modules_cnt; i++)
			if (t->modules[i]->is_vdso)
				m = t->modules[i];
		if (CHECK(m && m->fd >= 0 && m->facts.is_elf && m->file_key)) {
			const struct target_mapping *map = NULL;
			unsigned char file[4096], memory[4096];

			for (size_t i = 0; i < t->mappings_cnt; i++)
				if (t->mappings[i].module == m)
					map = &t->mappings[i];
			CHECK_EQ(pread(m->fd, file, sizeof(file), 0), 4096);
			CHECK_EQ(target_read(t, map->start, memory, sizeof(memory)), 4096);
			CHECK(!memcmp(file, memory, sizeof(file)));
			CHECK(pwrite(m->fd, "x", 1, 0) < 0 && ftruncate(m->fd, 0) < 0);
			CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, m->fd, 0) == MAP_FAILED);
			CHECK_EQ(pread(m->fd, &byte, 1, 0), 1);
		}
		target_free(t);
	}
	child_stop(pid);
}

/* What was known of a program is never read from the one that takes its place. */
TEST(reading_after_exec)
{
	char *path = child_build("plain", "cc", READY "int main(void) { ready(); }\n", ""), *argv[] = { path, NULL };
	int go[2], ready[2];
	struct target *t;
	char buf[16];
	pid_t pid;

	if (!path)
		TEST_SKIP("no C compiler");
	CHECK(!pipe(go) && !pipe(ready));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], 1);
		if (read(go[0], buf, 1) == 1)
			execv(path, argv);
		_exit(1);
	}
	if (CHECK_EQ(open_target(pid, &t), 0)) {
		const struct target_mapping *map;

		CHECK_EQ(target_read(t, (uintptr_t)argv, buf, sizeof(buf)), 16);
		CHECK_EQ(write(go[1], "x", 1), 1);
		CHECK_EQ(read(ready[0], buf, 1), 1);
		CHECK(!target_is_same_image(t));
		CHECK_EQ(target_refresh(t), 1);
		map = &t->mappings[0];
		CHECK_EQ(target_read(t, map->start, buf, sizeof(buf)), -ESRCH);
		target_free(t);
	}
	child_stop(pid);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(ready[i]);
	}
	free(path);
}

static int handle_small(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	if (lseek(fd, 0, SEEK_END) > 1 << 20)
		_exit(0);
	return file_handle(state, request, len, fd, reply);
}

static int handle_busy(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	(void)state, (void)request, (void)len, (void)fd, (void)reply;
	return -EBUSY;
}

/* A file that the worker dies of is one of which nothing is known; the others are not worse off. */
TEST(deadly_file)
{
	static const struct worker_op ops[PARSER_OPS] = { [PARSER_FILE] = { .name = "headers", .handle = handle_small } };
	static const struct worker_op busy[PARSER_OPS] = { [PARSER_FILE] = { .name = "headers", .handle = handle_busy } };
	static const struct worker_service deadly = { .ops = ops, .ops_cnt = PARSER_OPS, .time_ms = 30000 };
	static const struct worker_service never = { .ops = busy, .ops_cnt = PARSER_OPS, .time_ms = 30000 };
	size_t large = 0, small = 0;
	enum target_problem problem;
	struct worker *w = NULL;
	struct target *t;
	pid_t tgid, pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	for (int i = 0; i < 2 && CHECK(w || !worker_start(&deadly, &w)); i++) {
		large = small = 0;
		if (!CHECK_EQ(target_open(pid, w, &t, &problem, &tgid), 0))
			break;
		for (size_t n = 0; n < t->modules_cnt; n++) {
			const struct target_module *m = t->modules[n];
			bool is_large = m->size_bytes > 1 << 20;

			CHECK_EQ(m->facts.is_elf, !is_large);
			large += is_large;
			small += !is_large;
		}
		target_free(t);
		/* and nobody dies of it a second time */
		CHECK_EQ(worker_deaths(w), large);
	}
	CHECK(large && small);
	worker_stop(w);
	/* not now is no answer */
	if (CHECK_EQ(worker_start(&never, &w), 0)) {
		CHECK_EQ(target_open(pid, w, &t, &problem, &tgid), -EBUSY);
		worker_stop(w);
	}
	child_stop(pid);
}

static int find_main(const struct image_symbol *sym, void *ctx)
{
	if (strcmp(sym->name, "main"))
		return 0;
	*(uint64_t *)ctx = sym->va;
	return 1;
}

/* Linkers lay segments out differently: main() of the file must be found in memory with each. */
TEST(linkers)
{
	static const char *const flags[] = {
		"", "-Wl,-z,noseparate-code", "-no-pie", "-static-pie", "-fuse-ld=gold -Wl,--rosegment", "-fuse-ld=lld",
	};
	unsigned int built = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		char *path = child_build("linker", "cc", READY "int main(void) { ready(); }\n", flags[i]);
		pid_t pid = path ? child_start(path, NULL) : -1;
		const struct target_module *exe;
		const unsigned char *file;
		struct image *img = NULL;
		unsigned char memory[16];
		uint64_t va = 0;
		struct target *t;
		size_t len;

		free(path);
		if (pid < 0)
			continue;
		built++;
		if (CHECK_EQ(open_target(pid, &t), 0)) {
			exe = find_exe(t);
			if (CHECK(exe && exe->facts.is_elf) && CHECK_EQ(image_open(exe->fd, &img), 0) &&
			    CHECK_EQ(image_each_symbol(img, find_main, &va), 1) &&
			    CHECK_EQ(image_text(img, va, sizeof(memory), &file, &len), 0)) {
				const struct target_mapping *map = target_mapping_at(t, target_addr(exe, va));

				CHECK_EQ(target_read(t, target_addr(exe, va), memory, len), (long)len);
				/* lld's pages overlap: the bytes are in the neighbour as well, but not as code */
				if (!CHECK(!memcmp(memory, file, len)) || !CHECK(map && map->prot[2] == 'x'))
					fprintf(stderr, "\twith %s\n", flags[i]);
			}
			img = image_free(img);
			target_free(t);
		}
		child_stop(pid);
	}
	if (!built)
		TEST_SKIP("no C compiler");
}

TEST(by_name)
{
	char *path = child_build("ebb odd) name", "cc", READY "int main(void) { ready(); }\n", "");
	pid_t pid = path ? child_start(path, NULL) : -1, *pids = NULL;
	char own[64] = "";
	size_t cnt = 0;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	CHECK_EQ(target_find_by_name("ebb odd) name", &pids, &cnt), 0);
	if (CHECK_EQ(cnt, 1))
		CHECK_EQ(pids[0], pid);
	free(pids);
	prctl(PR_GET_NAME, own);
	CHECK_EQ(target_find_by_name(own, &pids, &cnt), 0);
	for (size_t i = 0; i < cnt; i++)
		CHECK(pids[i] != getpid());
	free(pids);
	CHECK_EQ(target_find_by_name("ebb odd) nam", &pids, &cnt), 0);
	CHECK_EQ(cnt, 0);
	free(pids);
	child_stop(pid);
}

TEST_MAIN(TEST_CASE(maps_lines), TEST_CASE(maps_hostile), TEST_CASE(stat_line), TEST_CASE(status_lines),
	  TEST_CASE(not_a_process), TEST_CASE(kernel_thread), TEST_CASE(thread_id), TEST_CASE(class_32bit),
	  TEST_CASE(hostile_names), TEST_CASE(refresh), TEST_CASE(many_mappings), TEST_CASE(reading), TEST_CASE(vdso),
	  TEST_CASE(reading_after_exec), TEST_CASE(deadly_file),
	  TEST_CASE(place_of_code), TEST_CASE(linkers), TEST_CASE(by_name))
