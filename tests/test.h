/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unit tests. Each TEST is one case; a CHECK that fails says where and with what, and the case goes on.
 * A program prints a line a case, which tests/run counts:
 *
 *	ok NAME | not ok NAME | skip NAME: why
 *
 *	TEST(sizes) { CHECK_EQ(add(1, 2), 3); }
 *	TEST_MAIN(TEST_CASE(sizes), TEST_CASE(others))
 */
#ifndef TEST_H
#define TEST_H

#include <stdio.h>
#include <string.h>

static int test_failures;
static const char *test_skipped;

#define TEST(name) static void test_##name(void)
/* Ends the case: it cannot run here, and why. */
#define TEST_SKIP(why) do { test_skipped = (why); return; } while (0)

#define CHECK(cond) ({								\
	int ok_ = !!(cond);							\
	if (!ok_) {								\
		test_failures++;						\
		fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
	}									\
	ok_;									\
})

#define CHECK_EQ(got, want) ({							\
	long long got_ = (long long)(got), want_ = (long long)(want);		\
	if (got_ != want_) {							\
		test_failures++;						\
		fprintf(stderr, "%s:%d: %s is %lld (%#llx), want %lld (%#llx)\n",	\
			__FILE__, __LINE__, #got, got_, got_, want_, want_);	\
	}									\
	got_ == want_;								\
})

#define CHECK_STR(got, want) ({							\
	const char *got_ = (got), *want_ = (want);				\
	int ok_ = got_ && !strcmp(got_, want_);					\
	if (!ok_) {								\
		test_failures++;						\
		fprintf(stderr, "%s:%d: %s is \"%s\", want \"%s\"\n",		\
			__FILE__, __LINE__, #got, got_ ? got_ : "(null)", want_);	\
	}									\
	ok_;									\
})

struct test_case { const char *name; void (*run)(void); };

static int test_run(const struct test_case *cases, size_t cnt)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < cnt; i++) {
		test_failures = 0;
		test_skipped = NULL;
		cases[i].run();
		if (test_failures)
			printf("not ok %s\n", cases[i].name);
		else if (test_skipped)
			printf("skip %s: %s\n", cases[i].name, test_skipped);
		else
			printf("ok %s\n", cases[i].name);
		failed += test_failures != 0;
	}
	return failed ? 1 : 0;
}

#define TEST_CASE(name) { #name, test_##name }
#define TEST_MAIN(...)								\
	static const struct test_case test_cases[] = { __VA_ARGS__ };		\
	int main(void) { return test_run(test_cases, sizeof(test_cases) / sizeof(test_cases[0])); }

#endif
