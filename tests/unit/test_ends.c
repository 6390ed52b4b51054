/* SPDX-License-Identifier: GPL-2.0-only */
/* Where control leaves a function, and what a PLT entry is, on bytes written by hand. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "code_bytes.h"
#include "elf/insn.h"
#include "test.h"

struct want_ends {
	const char *what;
	const char *bytes;
	const char *why;		/* a part of it; NULL: they are found */
	uint64_t rets[4], jumps[4], words[4];	/* from VA on; 0 ends a list */
};

static void check_list(const uint64_t *got, size_t cnt, const uint64_t *want)
{
	size_t i = 0;

	for (; want[i]; i++)
		CHECK(i < cnt && got[i] == VA + want[i]);
	CHECK_EQ(cnt, i);
}

TEST(ends)
{
	static const struct want_ends wants[] = {
		{ "one", "53 5b c3", NULL, { 2 }, { 0 }, { 0 } },
		{ "repz ret, ret imm16", "7403 f3c3 90 c20800", NULL, { 2, 5 }, { 0 }, { 0 } },
		{ "a c3 that is data of an instruction", "b8c3c3c3c3 c3", NULL, { 5 }, { 0 }, { 0 } },
		{ "tail jump", "7401 c3 e900010000", NULL, { 2 }, { 0x108 }, { 0 } },
		{ "conditional jump out", "0f8400010000 c3", NULL, { 6 }, { 0x106 }, { 0 } },
		{ "loop inside", "31c0 ffc8 75fc c3", NULL, { 6 }, { 0 }, { 0 } },
		{ "through a word", "7401 c3 ff2500010000", NULL, { 2 }, { 0 }, { 0x109 } },
		{ "bnd jmp through a word", "7401 c3 f2ff2500010000", NULL, { 2 }, { 0 }, { 0x10a } },
		{ "calls do not end it", "e800010000 ff1500010000 c3", NULL, { 11 }, { 0 }, { 0 } },
		{ "switch with CET", "3effe0 c3", NULL, { 3 }, { 0 }, { 0 } },
		{ "jump by a register", "ffe0 c3", "not seen", { 0 }, { 0 }, { 0 } },
		{ "jump table", "ff24c500100000 c3", "not seen", { 0 }, { 0 }, { 0 } },
		{ "into an instruction", "eb01 b8c3c3c3c3 c3", "decode", { 0 }, { 0 }, { 0 } },
		{ "cut off", "53 5b 48", "decode", { 0 }, { 0 }, { 0 } },
		{ "no end", "ebfe", NULL, { 0 }, { 0 }, { 0 } },
	};

	X86_ONLY;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		const struct want_ends *w = &wants[i];
		struct insn_ends ends;
		const char *why = NULL;
		int failures = test_failures;
		size_t len;
		unsigned char *bytes = bytes_parse(w->bytes, &len);
		int err = insn_ends_find(bytes, len, VA, &ends, &why);

		free(bytes);
		if (w->why) {
			CHECK_EQ(err, -ENOEXEC);
			CHECK(why && strstr(why, w->why));
		} else if (CHECK_EQ(err, 0)) {
			check_list(ends.rets, ends.rets_cnt, w->rets);
			check_list(ends.jumps, ends.jumps_cnt, w->jumps);
			check_list(ends.words, ends.words_cnt, w->words);
		}
		insn_ends_free(&ends);
		if (test_failures != failures)
			fprintf(stderr, "  in: %s\n", w->what);
	}
}

TEST(plt)
{
	static const struct { const char *bytes; bool is; uint64_t word; } wants[] = {
		{ "ff2500010000 6800000000", true, 0x106 },
		{ "f30f1efa ff2500010000", true, 0x10a },
		{ "f30f1efa f2ff2500010000", true, 0x10b },
		{ "e900010000", false, 0 },
		{ "ff25000100", false, 0 },
		{ "f30f1efa", false, 0 },
		{ "", false, 0 },
	};

	X86_ONLY;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		uint64_t word = 0;
		size_t len;
		unsigned char *bytes = bytes_parse(wants[i].bytes, &len);

		CHECK_EQ(insn_is_plt(bytes, len, VA, &word), wants[i].is);
		CHECK(!wants[i].is || word == VA + wants[i].word);
		free(bytes);
	}
}

TEST_MAIN(TEST_CASE(ends), TEST_CASE(plt))
