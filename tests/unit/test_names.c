/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names through the worker: what several processes share, what is remembered, and what becomes of files that lie.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "child.h"
#include "resolve.h"
#include "symbol/symbol.h"
#include "test.h"

__attribute__((noinline)) static int function_of_the_test(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

struct other {
	pid_t pid;
	struct target *target;
};

static bool other_start(struct other *c)
{
	enum target_problem problem;
	pid_t tgid;

	*c = (struct other){ .pid = fork() };
	if (!c->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return CHECK(c->pid > 0) && CHECK_EQ(target_open(c->pid, NULL, &c->target, &problem, &tgid), 0);
}

static void other_end(struct other *c)
{
	c->target = target_free(c->target);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	c->pid = 0;
}

/* The same file in two processes: asked of the worker once, also when the first process is gone, and the worker too. */
TEST(shared)
{
	const struct symbolizer_options opt = { 0 };
	struct symbolizer *names = NULL;
	struct symbol sym = { 0 }, again = { 0 };
	uint64_t addr = (uintptr_t)function_of_the_test;
	struct other first, second = { 0 };
	struct worker *w = NULL;

	CHECK_EQ(worker_start(&resolve_service, &w), 0);
	CHECK_EQ(symbolizer_new(&opt, w, &names), 0);
	if (!other_start(&first) || !other_start(&second))
		goto out;
	CHECK_EQ(symbolizer_resolve(names, first.target, addr, false, &sym), 0);
	CHECK_STR(sym.name, "function_of_the_test");
	other_end(&first);
	CHECK_EQ(symbolizer_resolve(names, second.target, addr + 1, true, &again), 0);
	CHECK(again.name == sym.name && again.module == sym.module);
	CHECK_EQ(again.off, 1);
	CHECK_EQ(symbolizer_resolve(names, NULL, 0x1234, true, &again), 0);
	CHECK_STR(again.name, "0x1234");
	CHECK_STR(again.module, "");
	CHECK(!again.known);
out:
	other_end(&first);
	other_end(&second);
	symbolizer_free(names);
	worker_stop(w);
}

/* Without a worker there are places, never a wrong name. */
TEST(no_worker)
{
	const struct symbolizer_options opt = { 0 };
	struct symbolizer *names = NULL;
	struct symbol sym = { 0 };
	struct other c;

	CHECK_EQ(symbolizer_new(&opt, NULL, &names), 0);
	if (other_start(&c)) {
		CHECK_EQ(symbolizer_resolve(names, c.target, (uintptr_t)function_of_the_test, false, &sym), 0);
		CHECK(!sym.known);
		CHECK(strstr(sym.name, "test_names+0x") != NULL);
	}
	other_end(&c);
	symbolizer_free(names);
}

/* A service whose handler of names dies, hangs, eats memory or lies, as the first byte of the file says. */
static char mood;

static int bad_names(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	volatile char *nowhere = NULL;

	(void)state, (void)request, (void)len, (void)fd;
	switch (mood) {
	case 'c':
		*nowhere = 1;
		return 0;
	case 'h':
		for (;;)
			;
	case 'l':
		text_add(reply, "this is no answer to anything, but it is quite long: longer than any head could be, even one "
			 "with a build id and the name of a link in it, which has some three hundred bytes or a little more "
			 "than that, so that whoever believes it walks into strings that have no end at all, or numbers that "
			 "count more frames than there are bytes in the reply, which must not be followed by anybody.");
		return 0;
	default:
		return -EIO;
	}
}

static void check_bad(char what, int want)
{
	static const struct worker_op ops[PARSER_OPS] = { [PARSER_NAMES] = { .name = "symbols", .handle = bad_names } };
	static const struct worker_service service = { .ops = ops, .ops_cnt = PARSER_OPS, .time_ms = 300 };
	const struct symbolizer_options opt = { 0 };
	struct symbolizer_failure failure = { 0 };
	struct symbolizer *names = NULL;
	struct worker *w = NULL;
	struct symbol sym = { 0 };
	struct other c;
	size_t cnt = 0;

	mood = what;
	CHECK_EQ(worker_start(&service, &w), 0);
	CHECK_EQ(symbolizer_new(&opt, w, &names), 0);
	if (other_start(&c)) {
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(symbolizer_resolve(names, c.target, (uintptr_t)function_of_the_test + i, false, &sym), 0);
			CHECK(!sym.known);
		}
		/* it is said, and the file is not asked about again */
		CHECK(symbolizer_failures(names, &cnt, &failure));
		CHECK_EQ(cnt, 1);
		CHECK_EQ(failure.err, want);
		CHECK(failure.path && strstr(failure.path, "test_names"));
		CHECK_EQ(worker_deaths(w), what == 'c' || what == 'h' ? 1 : 0);
	}
	other_end(&c);
	symbolizer_free(names);
	worker_stop(w);
}

TEST(crash) { check_bad('c', -EPIPE); }
TEST(hang) { check_bad('h', -ETIME); }
TEST(lie) { check_bad('l', -EBADMSG); }
TEST(error) { check_bad('e', -EIO); }

static int on_plt_name(void *ctx, uint32_t i, const struct names_frame *frames, uint32_t cnt)
{
	(void)i;
	*(bool *)ctx |= cnt == 1 && !strcmp(frames[0].name, "foo(int)@plt");
	return 0;
}

/* Entries of the PLT for functions of C++. */
TEST(plt_demangled)
{
	static const char source[] = "extern int foo(int) __asm__(\"_Z3fooi\");\nint bar(int n) { return foo(n) + 1; }\n";
	char *path = child_build("plt.so", "cc", source, "-shared -fPIC -nostdlib");
	static uint64_t vas[0x4000];
	struct names_question q = { .file_key = 2, .no_debug = true, .vas = vas, .vas_cnt = 0x4000 };
	struct names_wish wish;
	struct worker *w = NULL;
	bool found = false;

	q.fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	free(path);
	if (!CHECK(q.fd >= 0) || !CHECK_EQ(worker_start(&resolve_service, &w), 0))
		return;
	for (uint32_t i = 0; i < q.vas_cnt; i++)
		vas[i] = i;
	CHECK_EQ(names_ask(w, &q, &wish, on_plt_name, &found), 0);
	CHECK(found);
	worker_stop(w);
	close(q.fd);
}

struct sum {
	uint32_t cnt;
	size_t bytes, longest;
};

static int on_long_name(void *ctx, uint32_t i, const struct names_frame *frames, uint32_t cnt)
{
	struct sum *sum = ctx;

	(void)i;
	for (uint32_t k = 0; k < cnt; k++) {
		size_t len = strlen(frames[k].name);

		sum->bytes += len;
		sum->longest = len > sum->longest ? len : sum->longest;
	}
	sum->cnt++;
	return 0;
}

#define LONG_CNT 3000

/* Gives function i the end of the long name that begins at its byte i. */
static uint64_t names_lengthen(unsigned char *data)
{
	Elf64_Ehdr *head = (Elf64_Ehdr *)data;
	Elf64_Shdr *sections = (Elf64_Shdr *)(data + head->e_shoff);
	uint32_t longest = 0, found = 0;
	uint64_t va = 0;

	for (int i = 0; i < head->e_shnum; i++) {
		Elf64_Sym *sym = (Elf64_Sym *)(data + sections[i].sh_offset), *end = sym + sections[i].sh_size / sizeof(*sym);
		const char *strings = (const char *)data + sections[sections[i].sh_link].sh_offset;

		if (sections[i].sh_type != SHT_SYMTAB && sections[i].sh_type != SHT_DYNSYM)
			continue;
		found = longest = 0;
		for (Elf64_Sym *s = sym; s < end; s++)
			if (!strncmp(strings + s->st_name, "aaaaaaaa", 8))
				longest = s->st_name;
		for (Elf64_Sym *s = sym; s < end; s++)
			if (ELF64_ST_TYPE(s->st_info) == STT_FUNC) {
				va = !va || s->st_value < va ? s->st_value : va;
				s->st_name = longest + found++;
			}
	}
	CHECK(longest && found == LONG_CNT + 1);
	return va;
}

/* A name of 200 KB, and 3,000 functions that have the ends of it: names are cut, and at 64 MB there are enough of them. */
TEST(long_names)
{
	static uint64_t vas[LONG_CNT];
	struct names_question q = { .file_key = 1, .no_debug = true, .no_demangle = true, .vas = vas, .vas_cnt = LONG_CNT };
	struct text source = { 0 };
	struct names_wish wish;
	struct worker *w = NULL;
	struct sum sum = { 0 };
	unsigned char *data;
	struct stat st;
	char *path;

	text_add(&source, "void ");
	for (int i = 0; i < 200000; i++)
		text_add(&source, "a");
	text_add(&source, "(void) { }\n");
	for (int i = 0; i < LONG_CNT; i++)
		text_printf(&source, "void f%d(void) { }\n", i);
	path = child_build("long.so", "cc", source.str, "-shared -nostdlib");
	q.fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	text_free(&source);
	free(path);
	if (!CHECK(q.fd >= 0) || !CHECK_EQ(fstat(q.fd, &st), 0))
		return;
	data = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, q.fd, 0);
	vas[0] = names_lengthen(data);
	munmap(data, st.st_size);
	/* each is that long at least */
	for (uint32_t i = 1; i < LONG_CNT; i++)
		vas[i] = vas[0] + 2 * i;
	CHECK_EQ(worker_start(&resolve_service, &w), 0);
	CHECK_EQ(names_ask(w, &q, &wish, on_long_name, &sum), 0);
	CHECK_EQ(sum.longest, 65536);
	CHECK(sum.bytes > 60 << 20 && sum.bytes < 70 << 20);
	CHECK_EQ(sum.cnt, sum.bytes / sum.longest);
	/* the same name again and again is there once */
	for (uint32_t i = 1; i < LONG_CNT; i++)
		vas[i] = vas[0];
	sum = (struct sum){ 0 };
	CHECK_EQ(names_ask(w, &q, &wish, on_long_name, &sum), 0);
	CHECK_EQ(sum.cnt, LONG_CNT);
	worker_stop(w);
	close(q.fd);
}

TEST_MAIN(TEST_CASE(shared), TEST_CASE(no_worker), TEST_CASE(crash), TEST_CASE(hang), TEST_CASE(lie), TEST_CASE(error),
	  TEST_CASE(plt_demangled), TEST_CASE(long_names))
