/* SPDX-License-Identifier: GPL-2.0-only */
/* Symbol tables that several processes share, in children of this test. */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "symbol/symbol.h"
#include "symbol/tables.h"
#include "test.h"

__attribute__((noinline)) static int function_of_the_test(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

struct child {
	pid_t pid;
	struct target *target;
};

static bool child_start(struct child *c)
{
	enum target_problem problem;
	pid_t tgid;

	*c = (struct child){ .pid = fork() };
	if (!c->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return CHECK(c->pid > 0) && CHECK_EQ(target_open(c->pid, &c->target, &problem, &tgid), 0);
}

static void child_end(struct child *c)
{
	c->target = target_free(c->target);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	c->pid = 0;
}

static const struct target_module *module_of(const struct target *t, const char *part)
{
	for (size_t i = 0; i < t->modules_cnt; i++)
		if (strstr(t->modules[i]->path, part) && t->modules[i]->image)
			return t->modules[i];
	return NULL;
}

/* Two processes that map the same files: one table a file, also when the process that brought it is gone. */
TEST(shared)
{
	const char *const files[] = { "/test_tables", "libc.so", "[vdso]" };
	struct symtab *of_first[3] = { 0 }, *tab;
	struct tables *tables = tables_new();
	struct child first, second = { 0 };
	const struct target_module *m;
	size_t cnt;

	if (!child_start(&first) || !child_start(&second))
		goto out;
	for (int i = 0; i < 3; i++) {
		m = module_of(first.target, files[i]);
		CHECK(m || i);
		if (m)
			CHECK_EQ(tables_get(tables, m, &of_first[i]), 0);
	}
	cnt = tables_cnt(tables);
	child_end(&first);
	for (int i = 0; i < 3; i++) {
		m = module_of(second.target, files[i]);
		if (!m)
			continue;
		CHECK_EQ(tables_get(tables, m, &tab), 0);
		if (CHECK(tab && tab == of_first[i]))
			CHECK(symtab_count(tab) > 0);
	}
	CHECK_EQ(tables_cnt(tables), cnt);
out:
	child_end(&first);
	child_end(&second);
	tables_free(tables);
}

/* The same from outside: names of a second process when the first is gone, and of an address alone. */
TEST(symbolizer)
{
	const struct symbolizer_options opt = { 0 };
	struct symbolizer *names = NULL;
	struct symbol sym = { 0 }, again = { 0 };
	uint64_t addr = (uintptr_t)function_of_the_test;
	struct child first, second = { 0 };

	CHECK_EQ(symbolizer_new(&opt, &names), 0);
	if (!child_start(&first) || !child_start(&second))
		goto out;
	CHECK_EQ(symbolizer_resolve(names, first.target, addr, false, &sym), 0);
	CHECK_STR(sym.name, "function_of_the_test");
	child_end(&first);
	CHECK_EQ(symbolizer_resolve(names, second.target, addr + 1, true, &again), 0);
	CHECK(again.name == sym.name && again.module == sym.module);
	CHECK_EQ(again.off, 1);
	CHECK_EQ(symbolizer_resolve(names, NULL, 0x1234, true, &again), 0);
	CHECK_STR(again.name, "0x1234");
	CHECK_STR(again.module, "");
	CHECK(!again.known);
out:
	child_end(&first);
	child_end(&second);
	symbolizer_free(names);
}

/* What makes a file another one; the least recently used table goes when there are too many. */
TEST(bounded)
{
	struct symtab *kept = NULL, *tab = NULL;
	struct tables *tables = tables_new();
	const struct target_module *self;
	struct target_module m;
	struct child c;

	if (!child_start(&c))
		goto out;
	self = module_of(c.target, "/test_tables");
	if (!CHECK(self != NULL))
		goto out;
	CHECK(self->size_bytes > 0 && self->mtime_ns > 0);
	CHECK_EQ(tables_get(tables, self, &kept), 0);
	for (int i = 0; i < 4; i++) {
		m = *self;
		m.dev += i == 0;
		m.inode += i == 1;
		m.size_bytes += i == 2;
		m.mtime_ns += i == 3;
		CHECK_EQ(tables_get(tables, &m, &tab), 0);
		CHECK(tab && tab != kept);
		CHECK_EQ(tables_cnt(tables), 2 + i);
	}
	m = *self;
	for (int i = 0; i < TABLES_MAX * 2; i++) {
		m.inode = self->inode + 1000 + i;
		CHECK_EQ(tables_get(tables, &m, &tab), 0);
		CHECK(tables_cnt(tables) <= TABLES_MAX);
		/* used all the time, so it stays */
		CHECK_EQ(tables_get(tables, self, &tab), 0);
		CHECK(tab == kept);
	}
	CHECK_EQ(tables_cnt(tables), TABLES_MAX);
	/* one that went is read again */
	m.inode = self->inode + 1000;
	CHECK_EQ(tables_get(tables, &m, &tab), 0);
	CHECK(tab && symtab_count(tab) == symtab_count(kept));
out:
	child_end(&c);
	tables_free(tables);
}

TEST_MAIN(TEST_CASE(shared), TEST_CASE(symbolizer), TEST_CASE(bounded))
