/* SPDX-License-Identifier: GPL-2.0-only */
/* Readable names, and hostile ones that must neither hang nor eat the memory. */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "symbol/demangle.h"
#include "test.h"

static void check_demangled(const char *name, const char *want)
{
	char *got = NULL;
	int err = demangle_name(name, &got);

	CHECK_EQ(err, want ? 0 : -ENOENT);
	if (want)
		CHECK_STR(got, want);
	free(got);
}

TEST(demangling)
{
	check_demangled("_ZN3foo3barEi", "foo::bar(int)");
	check_demangled("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back(int&&)");
	check_demangled("_ZN1aC1Ev", "a::a()");
	check_demangled("_Z3foov.cold", "foo() [clone .cold]");
	check_demangled("_Z3fooi.constprop.0.isra.1", "foo(int) [clone .constprop.0] [clone .isra.1]");
	/* the form that only the one-step demangler reads */
	check_demangled("_ZN4llvm10checkedAddIiEENSt9enable_ifIXsr3std9is_signedIT_EE5valueENS_8OptionalIS2_EEE4typeES2_S2_",
			"std::enable_if<std::is_signed<int>::value, llvm::Optional<int> >::type llvm::checkedAdd<int>(int, int)");
	check_demangled("_ZN1r4deep10S$LT$T$GT$4show17h9bbcfe1501036cd3E", "r::deep::S<T>::show");
	check_demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.1234567890", "core::fmt::Write::write_fmt");
	check_demangled("_RNvMNtCs6GmmlP4bgsG_1r4deepINtB2_1SINtNtCslNYArtu3iFV_5alloc3vec3VechEE4showB4_",
			"<r::deep::S<alloc::vec::Vec<u8>>>::show");
	check_demangled("_D3std5stdio__T7writelnTAyaZQnFQhZv", "std.stdio.writeln!(immutable(char)[]).writeln(immutable(char)[])");
	check_demangled("_Dmain", "D main");
	check_demangled("malloc", NULL);
	check_demangled("", NULL);
	check_demangled("_", NULL);
	check_demangled("_Z", NULL);
	check_demangled("_ZN", NULL);
	check_demangled("_R", NULL);
	check_demangled("_D", NULL);
	check_demangled("_Znonsense", NULL);
	check_demangled("_Z3foo\xff\xfe", NULL);
}

/* prefix, cnt times part, suffix: whatever the answer, it must come. */
static void demangle_hostile(const char *prefix, const char *part, size_t cnt, const char *suffix, size_t suffix_cnt)
{
	struct text name = { 0 };
	char *got = NULL;

	text_add(&name, prefix);
	for (size_t i = 0; i < cnt; i++)
		text_add(&name, part);
	for (size_t i = 0; i < suffix_cnt; i++)
		text_add(&name, suffix);
	if (!demangle_name(name.str, &got))
		CHECK(strlen(got) <= 65536);
	free(got);
	text_free(&name);
}

/* A reference to the C++ component with this number. */
static void add_seq_id(struct text *t, unsigned int i)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	text_add(t, "S");
	if (i > 36)
		text_add_len(t, &digits[(i - 1) / 36], 1);
	if (i > 0)
		text_add_len(t, &digits[(i - 1) % 36], 1);
	text_add(t, "_");
}

/* 2^depth: each type is a template of two of the one before. */
static void demangle_doubling(const char *prefix, const char *last, unsigned int depth)
{
	struct text name = { 0 };
	char *got = NULL;

	text_printf(&name, "%s1aIiiE", prefix);
	for (unsigned int i = 0; i < depth; i++) {
		text_add(&name, "S_I");
		add_seq_id(&name, i + 1);
		add_seq_id(&name, i + 1);
		text_add(&name, "E");
	}
	text_add(&name, last);
	if (*last)
		add_seq_id(&name, depth + 1);
	CHECK_EQ(demangle_name(name.str, &got), depth < 8 ? 0 : -ENOENT);
	free(got);
	text_free(&name);
}

TEST(demangling_hostile)
{
	static const char *const prefixes[] = { "_Z", "_Z1f", "_ZN", "_Z1fI", "_ZN1acv", "_R", "_RNv", "_RINvC1a1f",
						"_D3foo", "_D3foo__T3bar" };
	static const char *const parts[] = { "P", "A_", "N", "I", "J", "T_I", "RT_", "DpT_", "cvT_I", "X", "TB_",
					     "B_", "Qb", "S111", "__T", "FA", "H", "1aIiE" };

	demangle_doubling("_Z1f", "", 5);
	demangle_doubling("_Z1f", "", 40);
	demangle_doubling("_Z1f", "", 200);
	/* a walk that prints nothing */
	demangle_doubling("_Z1f", "Dp", 40);
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
			for (size_t cnt = 10; cnt * strlen(parts[k]) < 4000; cnt *= 3) {
				demangle_hostile(prefixes[i], parts[k], cnt, "", 0);
				demangle_hostile(prefixes[i], parts[k], cnt, "E", cnt);
				demangle_hostile(prefixes[i], parts[k], cnt, "iE", 1);
			}
		}
		demangle_hostile(prefixes[i], "N", 1 << 20, "", 0);
	}
}

TEST_MAIN(TEST_CASE(demangling), TEST_CASE(demangling_hostile))
