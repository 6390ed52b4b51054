/* SPDX-License-Identifier: GPL-2.0-only */
/* Pairs of functions as a command line names them. */
#include <errno.h>
#include <string.h>

#include "cmd/leak_pairs.h"
#include "test.h"

#define MAX	8

/* Options by turns: name, value. */
static int parse(const char *const *options, const char *object, struct pairs *ret)
{
	struct option_list list = { .cnt = 0 };

	for (; options[0]; options += 2) {
		list.items[list.cnt].name = options[0];
		list.items[list.cnt++].value = options[1];
	}
	return leak_pairs_parse(&list, object, ret);
}

TEST(own)
{
	static const char *const options[] = {
		"acquire", "get:2", "acquire", "ns::get_deep:3", "release", "put:2", "acquire", "ns::Pool::take:1", "release", "drop", NULL,
	};
	struct pairs pairs;

	if (CHECK_EQ(parse(options, "lib.so", &pairs), 0) && CHECK_EQ(pairs.cnt, 2) && CHECK_EQ(pairs.list[0].functions_cnt, 3)) {
		const struct pair_function *f = pairs.list[0].functions;

		CHECK_STR(f[0].name, "get");
		CHECK_EQ(COOKIE_SIZE_ARG(f[0].shape), 2);
		CHECK_EQ(COOKIE_KEY_ARG(f[0].shape), 0);
		CHECK_STR(f[1].name, "ns::get_deep");
		CHECK_EQ(COOKIE_SIZE_ARG(f[1].shape), 3);
		CHECK(f[0].acquires && f[1].acquires && !f[2].acquires);
		CHECK_STR(f[2].name, "put");
		CHECK_EQ(COOKIE_KEY_ARG(f[2].shape), 2);
		CHECK_STR(pairs.list[1].functions[0].name, "ns::Pool::take");
		CHECK_EQ(COOKIE_KEY_ARG(pairs.list[1].functions[1].shape), 1);
		CHECK_STR(pairs.object, "lib.so");
		CHECK_STR(leak_pairs_unit(&pairs), "bytes");
		CHECK_EQ(leak_pairs_threads(&pairs), 0);
	}
	pairs_free(&pairs);
}

TEST(built_in)
{
	static const char *const two[] = { "pairs", "mutex,threads", NULL }, *const one[] = { "pairs", "fds", NULL };
	static const char *const mixed[] = { "pairs", "inotify", "acquire", "a", "release", "b", NULL };
	struct pairs pairs;

	if (CHECK_EQ(parse(two, NULL, &pairs), 0) && CHECK_EQ(pairs.cnt, 2)) {
		CHECK_STR(leak_pairs_unit(&pairs), "objects");
		CHECK_EQ(leak_pairs_threads(&pairs), 2);
		CHECK(pairs.list[0].in_libc && pairs.list[1].are_threads);
	}
	pairs_free(&pairs);
	if (CHECK_EQ(parse(one, NULL, &pairs), 0) && CHECK_EQ(pairs.cnt, 1)) {
		CHECK_STR(leak_pairs_unit(&pairs), "descriptors");
		/* no shape may reach into other fields of the cookie */
		for (size_t i = 0; i < pairs.list[0].functions_cnt; i++)
			CHECK(!(pairs.list[0].functions[i].shape & ~COOKIE_SHAPE_MASK) && !COOKIE_DOMAIN(pairs.list[0].functions[i].shape));
	}
	pairs_free(&pairs);
	/* an --acquire behind --pairs is a pair of its own */
	CHECK_EQ(parse(mixed, NULL, &pairs), 0);
	CHECK_EQ(pairs.cnt, 2);
	pairs_free(&pairs);
}

TEST(wrong)
{
	static const char *const all[][MAX + 1] = {
		{ "acquire", "a" }, { "release", "b" }, { "acquire", "a:0", "release", "b" }, { "acquire", "a:6", "release", "b" },
		{ "acquire", ":2", "release", "b" }, { "acquire", "", "release", "b" }, { "acquire", "a", "release", "b:99999999999999999999" },
		{ "acquire", "a", "release", "b", "acquire", "c" }, { "pairs", "threads,fd" }, { "pairs", "fdsx" }, { "pairs", "," },
		{ "acquire", "a:1", "release", "b", "acquire", "c", "release", "d" }, { "acquire", "a:2", "release", "b", "pairs", "fds" },
		{ "pairs", "fds", "release", "b" },
	};
	struct pairs pairs;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!CHECK_EQ(parse(all[i], NULL, &pairs), -EINVAL))
			fprintf(stderr, "\tcase %zu\n", i);
		pairs_free(&pairs);
	}
	/* a file without anything to look for in it */
	CHECK_EQ(parse((const char *const[]){ "pairs", "fds", NULL }, "lib.so", &pairs), -EINVAL);
	pairs_free(&pairs);
	CHECK_EQ(parse((const char *const[]){ NULL }, NULL, &pairs), 0);
	CHECK_STR(leak_pairs_unit(&pairs), "bytes");
	pairs_free(&pairs);
}

TEST_MAIN(TEST_CASE(own), TEST_CASE(built_in), TEST_CASE(wrong))
