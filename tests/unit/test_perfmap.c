/* SPDX-License-Identifier: GPL-2.0-only */
/* Perf maps: what they say, what may be wrong with them, and whose they are. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/parser.h"
#include "symbol/perfmap.h"
#include "symbol/perfmap_table.h"
#include "test.h"

static int file_make(const char *text)
{
	int fd = memfd_create("perf.map", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void file_add(int fd, const char *text)
{
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
}

/* The name at an address, with a ? when it is guessed; "-" when there is none. */
static const char *name_at(const struct perfmap_table *t, int fd, uint64_t addr)
{
	static char buf[PERFMAP_NAME_MAX + 2];
	bool guessed = false;
	const struct perfmap_entry *e = perfmap_table_find(t, addr, &guessed);

	if (!e)
		return "-";
	if (pread(fd, buf, e->name_len, e->name_off) != e->name_len)
		return "(not read)";
	buf[e->name_len] = '\0';
	strcat(buf, guessed ? "?" : "");
	return buf;
}

#define READ(t, fd) CHECK_EQ(perfmap_table_read(t, fd, PERFMAP_BYTES_MAX), 0)

TEST(entries)
{
	struct perfmap_table t = { 0 };
	int fd = file_make("1000 10 first\n"
			   "0x2000 0X20 with a prefix\n"
			   "7fFFabcdef00 a  two spaces\n"
			   "  3000\t8\ttabs\r\n"
			   "\n"
			   "4000 10 last, without an end");

	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0xfff), "-");
	CHECK_STR(name_at(&t, fd, 0x1000), "first");
	CHECK_STR(name_at(&t, fd, 0x100f), "first");
	CHECK_STR(name_at(&t, fd, 0x1010), "-");
	CHECK_STR(name_at(&t, fd, 0x201f), "with a prefix");
	CHECK_STR(name_at(&t, fd, 0x7fffabcdef09), "two spaces");
	CHECK_STR(name_at(&t, fd, 0x7fffabcdef0a), "-");
	CHECK_STR(name_at(&t, fd, 0x3000), "tabs");
	/* it may be only half of it */
	CHECK_STR(name_at(&t, fd, 0x4000), "last, without an end?");
	CHECK_EQ(t.refused_cnt, 0);
	perfmap_table_clear(&t);
	close(fd);
}

TEST(garbage)
{
	static const char *const lines[] = {
		"1000 0 no size", "1000 no size", "1000 10", "1000 10 ", "1000  ", "1000", "xyz 10 f", "10000000000000000 10 too long",
		"1000 ffffffffffffffff everything", "1000 5000000 a large size", "ffffffffffffffff 10 over the end", "-1000 10 f",
		"1000 -10 f", "1000,10,f", " ", "0x 10 f", "0 0x f", "\x1b[31m", "1000 10 \r", "\xff\xfe\xfd",
	};
	struct perfmap_table t = { 0 };
	int fd = file_make("");

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		file_add(fd, lines[i]);
		file_add(fd, "\n");
	}
	CHECK_EQ(write(fd, "\0\0\0\n1000 8 be\0fore\n", 19), 19);
	file_add(fd, "2000 10 \x1b]0;title\x07\x1b[2Jescapes\n3000 10 \xff\xc3(broken\n");
	READ(&t, fd);
	CHECK_EQ(t.entries_cnt, 3);
	CHECK_EQ(t.refused_cnt, sizeof(lines) / sizeof(lines[0]) + 1);
	/* bytes remain as they are, up to a NUL: it is the writers who make them safe */
	CHECK_STR(name_at(&t, fd, 0x1000), "be");
	CHECK_STR(name_at(&t, fd, 0x2000), "\x1b]0;title\x07\x1b[2Jescapes");
	CHECK_STR(name_at(&t, fd, 0x3000), "\xff\xc3(broken");
	CHECK_STR(name_at(&t, fd, 0x1008), "-");
	CHECK_STR(name_at(&t, fd, 0xffffffffffffffff), "-");
	CHECK_STR(name_at(&t, fd, 0), "-");
	perfmap_table_clear(&t);
	close(fd);
}

TEST(later_ones_hold)
{
	struct perfmap_table t = { 0 };
	int fd = file_make("1000 100 a\n"
			   "1040 20 b\n"	/* in its middle */
			   "2000 100 a\n2000 100 a\n"	/* written twice: the same */
			   "3000 10 a\n3000 10 b\n3000 10 a\n"
			   "4000 10 a\n4010 10 b\n"	/* side by side */
			   "5000 10 a\n5008 10 a\n");

	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1000), "a");
	CHECK_STR(name_at(&t, fd, 0x103f), "a");
	CHECK_STR(name_at(&t, fd, 0x1040), "b?");
	CHECK_STR(name_at(&t, fd, 0x105f), "b?");
	CHECK_STR(name_at(&t, fd, 0x1060), "a");
	CHECK_STR(name_at(&t, fd, 0x10ff), "a");
	CHECK_STR(name_at(&t, fd, 0x2000), "a");
	CHECK_STR(name_at(&t, fd, 0x3000), "a?");
	CHECK_STR(name_at(&t, fd, 0x400f), "a");
	CHECK_STR(name_at(&t, fd, 0x4010), "b");
	CHECK_STR(name_at(&t, fd, 0x500c), "a");
	/* and what comes after a look, over old and new */
	file_add(fd, "1050 8 c\n2000 8 d\n2000 8 a\n4000 10 a\n6000 8 e\n");
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1050), "c?");
	CHECK_STR(name_at(&t, fd, 0x1058), "b?");
	CHECK_STR(name_at(&t, fd, 0x2000), "a?");
	CHECK_STR(name_at(&t, fd, 0x2008), "a");
	CHECK_STR(name_at(&t, fd, 0x4000), "a");
	CHECK_STR(name_at(&t, fd, 0x6000), "e");
	CHECK_EQ(t.old_entries_cnt, 0);	/* so few stay the recent ones */
	perfmap_table_clear(&t);
	close(fd);
}

/* Against a plain model: each address says what was written there last, and whether there were different ones. */
TEST(model)
{
	enum { SPACE = 4096, ENTRIES = 6000, NAMES = 5 };
	static int last[SPACE], names[SPACE];
	struct perfmap_table t = { 0 };
	int fd = file_make(""), wrong = 0;
	uint64_t random = 1;

	for (int i = 0; i < ENTRIES; i++) {
		unsigned int start, size, name;
		char line[64];

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		start = (random >> 33) % (SPACE - 64);
		size = 1 + (random >> 50) % 64;
		name = 1 + (random >> 40) % NAMES;
		/* mostly one name a place, so that not everything is guessed */
		if (random >> 63)
			name = 1 + start / 1024;
		snprintf(line, sizeof(line), "%x %x n%u\n", start, size, name);
		file_add(fd, line);
		for (unsigned int at = start; at < start + size; at++) {
			last[at] = name;
			names[at] |= 1 << name;
		}
		if (i % 397 && i > 8 && i != ENTRIES - 1)
			continue;
		READ(&t, fd);
		for (unsigned int at = 0; at < SPACE; at++) {
			char want[16] = "-";

			if (last[at])
				snprintf(want, sizeof(want), "n%d%s", last[at], names[at] & (names[at] - 1) ? "?" : "");
			wrong += strcmp(name_at(&t, fd, at), want) != 0;
		}
	}
	CHECK_EQ(wrong, 0);
	CHECK(t.old_entries_cnt > 0);
	perfmap_table_clear(&t);
	close(fd);
}

TEST(grows)
{
	struct perfmap_table t = { 0 };
	int fd = file_make("1000 10 fi"), other;

	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1000), "fi?");
	file_add(fd, "rst\n2000 1");
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1000), "first");
	CHECK_STR(name_at(&t, fd, 0x2000), "-");
	CHECK_EQ(t.entries_cnt, 1);
	file_add(fd, "0 second\n");
	READ(&t, fd);
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x200f), "second");
	CHECK_EQ(t.entries_cnt, 2);
	CHECK_EQ(t.parsed, lseek(fd, 0, SEEK_END));
	/* shorter */
	CHECK_EQ(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	file_add(fd, "3000 10 third\n");
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1000), "-");
	CHECK_STR(name_at(&t, fd, 0x3000), "third");
	/* written anew, and longer */
	CHECK_EQ(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	file_add(fd, "4000 10 fourth\n5000 10 fifth\n");
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x3000), "-");
	CHECK_STR(name_at(&t, fd, 0x5000), "fifth");
	/* another file that begins with the same */
	other = file_make("4000 10 fourth\n5000 10 fifth\n6000 10 sixth\n");
	READ(&t, other);
	CHECK_STR(name_at(&t, other, 0x6000), "sixth");
	CHECK_EQ(t.entries_cnt, 3);
	CHECK_EQ(ftruncate(other, 0), 0);
	READ(&t, other);
	CHECK_STR(name_at(&t, other, 0x6000), "-");
	perfmap_table_clear(&t);
	close(fd);
	close(other);
}

TEST(sizes)
{
	struct perfmap_table t = { 0 };
	size_t len = 300000;
	char *line = malloc(len + 1);
	int fd = file_make("1000 10 before\n2000 10 ");
	int err;

	/* a name that is longer than what is read at once, twice; its line has no end at first */
	memset(line, 'x', len);
	line[len] = '\0';
	file_add(fd, line);
	READ(&t, fd);
	file_add(fd, line);
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x1000), "before");
	CHECK_EQ(strlen(name_at(&t, fd, 0x2000)), PERFMAP_NAME_MAX);
	file_add(fd, "\n3000 10 after\n");
	READ(&t, fd);
	CHECK_STR(name_at(&t, fd, 0x3000), "after");
	CHECK_EQ(strlen(name_at(&t, fd, 0x2000)), PERFMAP_NAME_MAX);
	CHECK_EQ(t.entries_cnt, 3);
	CHECK_EQ(t.refused_cnt, 0);
	/* too large, and sparse */
	CHECK_EQ(ftruncate(fd, 10ll << 30), 0);
	CHECK_EQ(perfmap_table_read(&t, fd, PERFMAP_BYTES_MAX), -EFBIG);
	/* nothing but zeros */
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(ftruncate(fd, PERFMAP_BYTES_MAX), 0);
	READ(&t, fd);
	CHECK_EQ(t.entries_cnt, 0);
	close(fd);
	/* more entries than there can be of a JIT */
	fd = file_make("");
	for (size_t i = 0; i + 6 <= len; i += 6)
		memcpy(line + i, "1 1 a\n", 6);
	for (int i = 0; i < 22; i++)
		CHECK_EQ(write(fd, line, len), len);
	err = perfmap_table_read(&t, fd, PERFMAP_BYTES_MAX);
	CHECK_EQ(err, -E2BIG);
	CHECK_STR(name_at(&t, fd, 1), "-");
	close(fd);
	/* no regular file */
	fd = open("/dev/zero", O_RDONLY);
	CHECK_EQ(perfmap_table_read(&t, fd, PERFMAP_BYTES_MAX), -EINVAL);
	close(fd);
	CHECK_EQ(perfmap_table_read(&t, -1, PERFMAP_BYTES_MAX), -EBADF);
	perfmap_table_clear(&t);
	free(line);
}

TEST(split)
{
	static const struct { const char *raw, *name, *file; uint32_t line; } cases[] = {
		{ "JS:*handleUpload /srv/server.js:41:17", "handleUpload", "/srv/server.js", 41 },
		{ "LazyCompile:~handleUpload /srv/server.js:41", "handleUpload", "/srv/server.js", 41 },
		{ "Function:^a.b.<computed> file:///srv/m.mjs:1:2", "a.b.<computed>", "file:///srv/m.mjs", 1 },
		{ "JS:~emit node:events:465:44", "emit", "node:events", 465 },
		{ "JS:~get size /srv/my app/x.js:3:1", "get size", "/srv/my app/x.js", 3 },
		{ "LazyCompile:~ /srv/server.js:3:13", "(anonymous server.js:3)", "/srv/server.js", 3 },
		{ "JS:~ node:internal/main/run_main_module:1:1", "(anonymous run_main_module:1)",
		  "node:internal/main/run_main_module", 1 },
		{ "Script:~ /srv/server.js:1:1", "(script server.js:1)", "/srv/server.js", 1 },
		{ "Eval:~ [eval]:1:1", "(eval [eval]:1)", "[eval]", 1 },
		{ "JS:*f x.js", "f", "x.js", 0 },
		{ "JS:*f", "f", "", 0 },
		{ "JS:", "(anonymous)", "", 0 },
		{ "JS:~ ", "(anonymous)", "", 0 },
		{ "JS:*f /:1:2", "f", "/", 1 },
		{ "JS:*f /a:99999999999999:1", "f", "/a:99999999999999", 1 },
		{ "JS:*f /srv/:7", "f", "/srv/", 7 },
		{ "Builtin:ArrayPrototypePush", "Builtin:ArrayPrototypePush", "", 0 },
		{ "py::handle:/srv/server.py", "handle", "/srv/server.py", 0 },
		{ "py::<module>:/srv/server.py", "(module server.py)", "/srv/server.py", 0 },
		{ "py::", "py::", "", 0 },
		{ "py:::x", "py:::x", "", 0 },
		{ "void [Shop] Shop.Cart::Add(class System.String)[Tier0]", "Shop.Cart::Add(class System.String)", "", 0 },
		{ "instance class [System.Linq]X [Shop] Shop.Cart::Get()[OptimizedTier1]", "Shop.Cart::Get()", "", 0 },
		{ "void dynamicClass::lambda_method1(int32[])[Optimized]", "void dynamicClass::lambda_method1(int32[])", "", 0 },
		{ "std::vector<int>::at(int[])", "std::vector<int>::at(int[])", "", 0 },
		{ "A::f[]", "A::f[]", "", 0 },
		{ "[A::f]", "[A::f]", "", 0 },
		{ "Ljava/util/HashMap;::resize", "Ljava/util/HashMap;::resize", "", 0 },
		{ "TRACE_1::/srv/x.lua:5", "TRACE_1::/srv/x.lua:5", "", 0 },
		{ "", "", "", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text name = { 0 }, file = { 0 };
		uint32_t line;

		perfmap_split(cases[i].raw, &name, &file, &line);
		if (!CHECK_STR(text_str(&name), cases[i].name) | !CHECK_STR(text_str(&file), cases[i].file) |
		    !CHECK_EQ(line, cases[i].line))
			fprintf(stderr, "of %s\n", cases[i].raw);
		text_free(&name);
		text_free(&file);
	}
}

/* A process, its map in /tmp, and who asks for its names. */
struct scene {
	pid_t pid;
	char path[64];
	struct target *t;
	struct worker *w;
	struct perfmap *m;
};

static bool scene_open(struct scene *s, bool raw)
{
	struct worker_service service = parser_service;
	static struct worker_service lives;
	enum target_problem problem;
	pid_t tgid;

	*s = (struct scene){ .pid = fork() };
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	service.data_bytes = 0;		/* sanitizers map terabytes */
	lives = service;
	snprintf(s->path, sizeof(s->path), "/tmp/perf-%d.map", (int)s->pid);
	unlink(s->path);
	return CHECK_EQ(target_open(s->pid, NULL, &s->t, &problem, &tgid), 0) && CHECK_EQ(worker_start(&lives, &s->w), 0) &&
	       CHECK_EQ(perfmap_new(s->w, raw, &s->m), 0);
}

static void scene_close(struct scene *s)
{
	unlink(s->path);
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	perfmap_free(s->m);
	worker_stop(s->w);
	target_free(s->t);
}

static void scene_write(struct scene *s, int flags, const char *text)
{
	int fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

	if (CHECK(fd >= 0))
		file_add(fd, text);
	close(fd);
}

static int on_name(void *ctx, size_t i, const struct perfmap_name *name)
{
	struct text *t = ctx;

	text_printf(t, "%zu %s+%" PRIu64 "%s", i, name->name, name->off, name->guessed ? "?" : "");
	if (name->file)
		text_printf(t, " %s:%u", name->file, name->line);
	text_add(t, "\n");
	return 0;
}

static void check_names(struct scene *s, const char *want)
{
	const uint64_t addrs[] = { 0x1004, 0x2000, 0x999, 0x3001 };
	struct text got = { 0 };

	CHECK_EQ(perfmap_names(s->m, s->t, addrs, 4, on_name, &got), 0);
	CHECK_STR(text_str(&got), want);
	text_free(&got);
}

TEST(of_a_process)
{
	struct scene s;

	if (!scene_open(&s, false))
		goto out;
	check_names(&s, "");
	scene_write(&s, 0, "1000 10 JS:*f /srv/x.js:7:1\n");
	check_names(&s, "0 f+4 /srv/x.js:7\n");
	scene_write(&s, O_APPEND, "2000 10 \x1b[2Jg\n3000 10 h\n3000 10 i\n");
	check_names(&s, "0 f+4 /srv/x.js:7\n1 \x1b[2Jg+0\n3 i+1?\n");
	/* another file takes its place */
	unlink(s.path);
	scene_write(&s, 0, "3000 10 new\n");
	check_names(&s, "3 new+1\n");
	/* what was seen once remains readable when the process has ended, the file too */
	scene_write(&s, O_APPEND, "2000 10 more\n");
	kill(s.pid, SIGKILL);
	waitpid(s.pid, NULL, 0);
	s.pid = 0;
	unlink(s.path);
	check_names(&s, "1 more+0\n3 new+1\n");
	CHECK_EQ(worker_deaths(s.w), 0);
out:
	scene_close(&s);
}

TEST(raw)
{
	struct scene s;

	if (scene_open(&s, true)) {
		scene_write(&s, 0, "1000 10 JS:*f /srv/x.js:7:1\n");
		check_names(&s, "0 JS:*f /srv/x.js:7:1+4\n");
	}
	scene_close(&s);
}

/* More addresses than a request has. */
static int on_count(void *ctx, size_t i, const struct perfmap_name *name)
{
	size_t *cnt = ctx;

	CHECK_EQ(name->off, i % 16);
	return ++*cnt == 5000 ? -ECANCELED : 0;
}

TEST(many)
{
	static uint64_t addrs[6000];
	struct scene s;
	size_t cnt = 0;

	if (scene_open(&s, false)) {
		scene_write(&s, 0, "1000 10 f\n");
		for (size_t i = 0; i < 6000; i++)
			addrs[i] = 0x1000 + i % 16;
		CHECK_EQ(perfmap_names(s.m, s.t, addrs, 6000, on_count, &cnt), -ECANCELED);
		CHECK_EQ(cnt, 5000);
	}
	scene_close(&s);
}

TEST(refused)
{
	char target_path[80];
	struct scene s;

	if (!scene_open(&s, false))
		goto out;
	snprintf(target_path, sizeof(target_path), "%s.real", s.path);
	scene_write(&s, 0, "1000 10 f\n");
	check_names(&s, "0 f+4\n");
	/* a link, to the same file */
	CHECK_EQ(rename(s.path, target_path), 0);
	CHECK_EQ(symlink(target_path, s.path), 0);
	check_names(&s, "");
	unlink(s.path);
	CHECK_EQ(rename(target_path, s.path), 0);
	check_names(&s, "0 f+4\n");
	/* a FIFO that nobody writes to, a folder */
	unlink(s.path);
	CHECK_EQ(mkfifo(s.path, 0600), 0);
	check_names(&s, "");
	unlink(s.path);
	CHECK_EQ(mkdir(s.path, 0700), 0);
	check_names(&s, "");
	rmdir(s.path);
	/* 10 GB of nothing */
	scene_write(&s, 0, "1000 10 f\n");
	CHECK_EQ(truncate(s.path, 10ll << 30), 0);
	check_names(&s, "");
	CHECK_EQ(truncate(s.path, 10), 0);
	check_names(&s, "0 f+4\n");
	CHECK_EQ(worker_deaths(s.w), 0);
out:
	scene_close(&s);
}

/* Its owner is another one than the process: a root process's map that belongs to a user, and the other way round. */
TEST(other_owner)
{
	struct scene s;

	if (geteuid())
		TEST_SKIP("needs root");
	if (!scene_open(&s, false))
		goto out;
	scene_write(&s, 0, "1000 10 f\n");
	CHECK_EQ(chown(s.path, 65534, 65534), 0);
	check_names(&s, "");
	CHECK_EQ(chown(s.path, 0, 0), 0);
	check_names(&s, "0 f+4\n");
out:
	scene_close(&s);
}

/* A process that is number 1 in a namespace of its own and has an odd name; its pid here, -1 when that cannot be made. */
static pid_t own_namespace(pid_t *ret_parent)
{
	pid_t inner = -1;
	int out[2], ready[2];
	char byte;

	if (pipe(out) || pipe(ready))
		return -1;
	*ret_parent = fork();
	if (!*ret_parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		inner = unshare(CLONE_NEWPID) ? -1 : fork();
		if (!inner) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, "\nUid:\t9 9 9 9\n");
			while (write(ready[1], "", 1) == 1)
				pause();
			_exit(1);
		}
		if (inner > 0 && read(ready[0], &byte, 1) != 1)
			_exit(1);
		while (write(out[1], &inner, sizeof(inner)) == sizeof(inner))
			pause();
		_exit(1);
	}
	close(out[1]);
	if (read(out[0], &inner, sizeof(inner)) != sizeof(inner))
		inner = -1;
	close(out[0]);
	close(ready[0]);
	close(ready[1]);
	return inner;
}

TEST(ids)
{
	enum target_problem problem;
	struct target *t = NULL;
	struct target_ids ids;
	struct scene s;
	struct stat st;
	pid_t tgid, parent = -1, inner;

	if (scene_open(&s, false)) {
		CHECK_EQ(target_ids_read(s.t, &ids), 0);
		CHECK_EQ(stat("/proc/self/ns/pid", &st), 0);
		CHECK_EQ(ids.pidns_ino, st.st_ino);
		CHECK_EQ(ids.pidns_dev, st.st_dev);
		CHECK_EQ(ids.fs_uid, geteuid());
		kill(s.pid, SIGKILL);
		waitpid(s.pid, NULL, 0);
		s.pid = 0;
		CHECK_EQ(target_ids_read(s.t, &ids), -ESRCH);
	}
	scene_close(&s);
	inner = geteuid() ? -1 : own_namespace(&parent);
	if (inner > 0 && CHECK_EQ(target_open(inner, NULL, &t, &problem, &tgid), 0)) {
		CHECK_EQ(target_ids_read(t, &ids), 0);
		CHECK_EQ(ids.own_pid, 1);
		CHECK_EQ(ids.fs_uid, 0);
		CHECK(ids.pidns_ino != st.st_ino);
	}
	target_free(t);
	if (inner > 0)
		kill(inner, SIGKILL);
	if (parent > 0) {
		kill(parent, SIGKILL);
		waitpid(parent, NULL, 0);
	}
	if (inner <= 0)
		TEST_SKIP("no namespace of processes can be made here");
}

TEST(without)
{
	const uint64_t addr = 0x1000;
	struct text got = { 0 };
	struct scene s;
	struct perfmap *m = NULL;
	struct target_mapping map = { .path = "" };

	if (!scene_open(&s, false))
		goto out;
	CHECK_EQ(perfmap_new(NULL, false, &m), 0);
	scene_write(&s, 0, "1000 10 f\n");
	CHECK_EQ(perfmap_names(m, s.t, &addr, 1, on_name, &got), 0);
	CHECK_EQ(perfmap_names(s.m, s.t, &addr, 0, on_name, &got), 0);
	CHECK_EQ(got.len, 0);
	perfmap_free(m);
	CHECK(!perfmap_free(NULL));
	CHECK(perfmap_covers(NULL));
	CHECK(perfmap_covers(&map));
	map.path = "/memfd:doublemapper";
	CHECK(perfmap_covers(&map));
	map.path = "[anon:v8]";
	CHECK(perfmap_covers(&map));
	map.path = "/usr/bin/node";
	CHECK(!perfmap_covers(&map));
	map.path = "[vdso]";
	CHECK(!perfmap_covers(&map));
out:
	scene_close(&s);
}

TEST(bad_requests)
{
	uint64_t request[40] = { PERFMAP_BYTES_MAX, 3ull << 32 /* cnt 3 */, 0x1000, 0x2000, 0x3000 };
	struct text reply = { 0 };
	void *state = perfmap_state_new();
	int fd = file_make("1000 10 f\n");

	CHECK_EQ(perfmap_handle(state, request, 5 * 8, fd, &reply), 0);
	CHECK(reply.len > 0);
	text_clear(&reply);
	for (size_t len = 0; len < sizeof(request); len++)
		if (len != 5 * 8)
			CHECK_EQ(perfmap_handle(state, request, len, fd, &reply), -EINVAL);
	CHECK(perfmap_handle(state, request, 5 * 8, -1, &reply) < 0);
	request[1] = 0xffffffffull << 32;
	CHECK_EQ(perfmap_handle(state, request, sizeof(request), fd, &reply), -EINVAL);
	CHECK_EQ(reply.len, 0);
	/* more files than are kept */
	request[1] = 3ull << 32;
	for (int i = 0; i < 20; i++) {
		int other = file_make("2000 10 g\n");

		text_clear(&reply);
		CHECK_EQ(perfmap_handle(state, request, 5 * 8, other, &reply), 0);
		CHECK(reply.len && reply.str[reply.len - 24 - 1] == 'g');
		close(other);
	}
	text_free(&reply);
	CHECK(!perfmap_state_free(state));
	CHECK(!perfmap_state_free(NULL));
	close(fd);
}

TEST_MAIN(TEST_CASE(entries), TEST_CASE(garbage), TEST_CASE(later_ones_hold), TEST_CASE(model), TEST_CASE(grows),
	  TEST_CASE(sizes), TEST_CASE(split), TEST_CASE(of_a_process), TEST_CASE(raw), TEST_CASE(many), TEST_CASE(refused),
	  TEST_CASE(other_owner), TEST_CASE(ids), TEST_CASE(without), TEST_CASE(bad_requests))
