/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names through the worker: what several processes share, what is remembered, and what becomes of files that lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "child.h"
#include "elf/image.h"
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

static int find_long(const struct image_symbol *sym, void *ctx)
{
	if (!strncmp(sym->name, "aaaaaaaa", 8))
		*(uint64_t *)ctx = sym->va;
	return 0;
}

/* A name of 200 KB, asked for 5,000 times: it is cut, and at 64 MB it is enough. */
TEST(long_names)
{
	static uint64_t vas[5000];
	struct names_question q = { .file_key = 1, .no_debug = true, .vas = vas, .vas_cnt = 5000 };
	struct text source = { 0 };
	struct names_wish wish;
	struct worker *w = NULL;
	struct image *img;
	struct sum sum = { 0 };
	char *path;

	text_add(&source, "void ");
	for (int i = 0; i < 200000; i++)
		text_add(&source, "a");
	text_add(&source, "(void) { __asm__ volatile(\".zero 5000\"); }\n");
	path = child_build("long.so", "cc", source.str, "-shared -nostdlib");
	q.fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	text_free(&source);
	free(path);
	if (!CHECK(q.fd >= 0) || !CHECK_EQ(image_open(q.fd, &img), 0))
		return;
	image_each_symbol(img, find_long, &vas[0]);
	image_free(img);
	for (uint32_t i = 1; i < 5000; i++)
		vas[i] = vas[0] + i;
	CHECK_EQ(worker_start(&resolve_service, &w), 0);
	CHECK_EQ(names_ask(w, &q, &wish, on_long_name, &sum), 0);
	CHECK_EQ(sum.longest, 65536);
	CHECK(sum.bytes > 60 << 20 && sum.bytes < 70 << 20);
	CHECK_EQ(sum.cnt, sum.bytes / sum.longest);
	worker_stop(w);
	close(q.fd);
}

TEST_MAIN(TEST_CASE(shared), TEST_CASE(no_worker), TEST_CASE(crash), TEST_CASE(hang), TEST_CASE(lie), TEST_CASE(error),
	  TEST_CASE(long_names))
