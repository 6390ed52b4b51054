/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a probe goes in a function: each rule on bytes written by hand, and every allocator function of
 * the installed libraries against a second decoder, objdump.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "code_bytes.h"
#include "elf/image.h"
#include "elf/insn.h"
#include "test.h"

#define WHY_ARGUMENT	"entry: an argument register is written before the next emulated instruction"
#define WHY_STACK	"entry: the stack changes before the next emulated instruction"
#define WHY_MEMORY	"entry: memory is written before the next emulated instruction"
#define WHY_LEAVES	"entry: control leaves before the next emulated instruction"
#define WHY_KIND	"entry: an instruction that is not known to be harmless comes before the next emulated one"
#define WHY_FAR		"entry: the next emulated instruction is too far"
#define WHY_END		"entry: the function ends before an emulated instruction"
#define WHY_NO_SIZE	"entry: the size of the function is unknown"
#define WHY_LARGE	"entry: the function is too large to be checked"
#define WHY_DECODE	"entry: the function does not decode from its entry to its end"
#define WHY_BACK	"entry: a branch jumps back to before the next emulated instruction"
#define WHY_UNSEEN	"entry: branches with unseen targets might jump back to before the next emulated instruction"
#define ENTRY		"entry is emulated"
#define MOVED		"first emulated instruction"

struct want {
	const char *what;
	const char *bytes;	/* hexadecimal */
	uint32_t delta_bytes;
	bool emulated;
	const char *reason;	/* NULL: -ENOEXEC */
};

static void check_want(const struct want *w, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++, w++) {
		struct insn_site site = { .delta_bytes = 0xdead };
		int failures = test_failures, err;
		unsigned char *bytes;
		size_t len;

		bytes = bytes_parse(w->bytes, &len);
		err = insn_site_find(bytes, len, VA, true, 6, &site);
		free(bytes);
		if (w->reason) {
			if (CHECK_EQ(err, 0)) {
				CHECK_EQ(site.delta_bytes, w->delta_bytes);
				CHECK_EQ(site.emulated, w->emulated);
				CHECK_STR(site.reason, w->reason);
				CHECK(site.text[0]);
			}
		} else {
			CHECK_EQ(err, -ENOEXEC);
			CHECK_EQ(site.delta_bytes, 0xdead);
		}
		if (test_failures != failures)
			fprintf(stderr, "  in: %s\n", w->what);
	}
}

#define CHECK_WANT(table) check_want(table, sizeof(table) / sizeof(table[0]))

TEST(entry)
{
	static const struct want wants[] = {
		{ "push r15", "4157 415f c3", 0, true, ENTRY },
		{ "push rbx", "53 5b c3", 0, true, ENTRY },
		{ "jmp rel8", "eb00 c3", 0, true, ENTRY },
		{ "jmp rel32 out", "e900100000", 0, true, ENTRY },
		{ "call rel32", "e800000000 c3", 0, true, ENTRY },
		{ "nop", "90 c3", 0, true, ENTRY },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(moved)
{
	static const struct want wants[] = {
		{ "free: test; je", "4885ff 7401 c3 c3", 3, true, MOVED },
		{ "je rel32", "4885ff 0f8401000000 c3 c3", 3, true, MOVED },
		{ "endbr64; push", "f30f1efa 53 5b c3", 4, true, MOVED },
		{ "endbr64; tail jump out of the function", "f30f1efa e900100000", 4, true, MOVED },
		{ "xor eax; call", "31c0 e800000000 c3", 2, true, MOVED },
		{ "store to a variable", "48890500000000 53 5b c3", 7, true, MOVED },
		{ "store to a thread's variable", "6448890425f8ffffff 53 5b c3", 9, true, MOVED },
		{ "load over an argument", "488b07 53 5b c3", 3, true, MOVED },
		{ "cmp with memory on the stack", "48837c240800 53 5b c3", 6, true, MOVED },
		{ "imul of two operands", "480fafc6 53 5b c3", 4, true, MOVED },
		{ "pxor xmm0", "660fefc0 53 5b c3", 4, true, MOVED },
		{ "nop of 2", "6690 53 5b c3", 2, true, MOVED },
		{ "nop of 5 is no site", "0f1f440000 53 5b c3", 5, true, MOVED },
		{ "nop of 10", "662e0f1f840000000000 53 5b c3", 0, false, NULL },
		{ "test; nop of 10", "4885ff 662e0f1f840000000000 53 5b c3", 13, true, MOVED },
		{ "padding inside the function", "4885ff 7401 c3 c3 cccccc 90", 3, true, MOVED },
		{ "branch to the entry itself", "4885ff 7402 ebf9 c3", 3, true, MOVED },
		{ "jump over lock, as in glibc", "4885ff 740a 7401 f00fb11500000000 c3", 3, true, MOVED },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(argument_written)
{
	static const struct want wants[] = {
		{ "esi", "31f6 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "rdi", "4889c7 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "dil", "40b701 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "dh", "b601 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "cx", "66b90100 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "r8d", "41b801000000 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "r9b", "41b101 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "cmovb rdx", "480f42d0 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "sete sil", "400f94c6 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "imul of one operand: rdx", "48f7ef 53 5b c3", 0, false, WHY_ARGUMENT },
		{ "after something harmless", "31c0 31d2 53 5b c3", 0, false, WHY_ARGUMENT },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(stack_and_memory)
{
	static const struct want wants[] = {
		{ "sub rsp", "4883ec08 90 4883c408 c3", 0, false, WHY_STACK },
		{ "push 1", "6a01 53 5b 58 c3", 0, false, WHY_STACK },
		{ "push [rip]", "ff3500000000 53 5b 58 c3", 0, false, WHY_STACK },
		{ "REX.W push is not the kernel's push", "4850 53 5b 58 c3", 0, false, WHY_STACK },
		{ "pop", "5b 53 c3", 0, false, WHY_STACK },
		{ "mov rbp, rsp", "4889e5 53 5b c3", 0, false, WHY_STACK },
		{ "leave", "c9 53 5b c3", 0, false, WHY_STACK },
		{ "red zone", "48894424f8 53 5b c3", 0, false, WHY_MEMORY },
		{ "return address", "48890424 53 5b c3", 0, false, WHY_MEMORY },
		{ "[rbp]", "48894508 53 5b c3", 0, false, WHY_MEMORY },
		{ "[rdi]", "488907 53 5b c3", 0, false, WHY_MEMORY },
		{ "inc [rax]", "48ff00 53 5b c3", 0, false, WHY_MEMORY },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(no_site)
{
	static const struct want wants[] = {
		{ "ret", "c3", 0, false, WHY_LEAVES },
		{ "test; ret", "4885ff c3 53", 0, false, WHY_LEAVES },
		{ "jmp rax", "ffe0 53", 0, false, WHY_LEAVES },
		{ "call rax", "ffd0 53 5b c3", 0, false, WHY_LEAVES },
		{ "jrcxz", "e300 53 5b c3", 0, false, WHY_LEAVES },
		{ "test; syscall", "4885ff 0f05 53 5b c3", 0, false, WHY_LEAVES },
		{ "a jump with a prefix is not emulated", "4885ff f2e900000000 c3", 0, false, WHY_LEAVES },
		{ "nop of 5 alone", "0f1f440000 c3", 0, false, WHY_LEAVES },
		{ "cpuid", "0fa2 53 5b c3", 0, false, WHY_KIND },
		{ "mul: rdx, not listed", "48f7e2 53 5b c3", 0, false, WHY_KIND },
		{ "xchg", "4887c7 53 5b c3", 0, false, WHY_KIND },
		{ "xor ebx", "31db 53 5b c3", 0, false, WHY_KIND },
		{ "pause", "f390 53 5b c3", 0, false, WHY_KIND },
		{ "test and nothing", "4885ff", 0, false, WHY_END },
		{ "22 times test", "4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff"
		  "4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff 53 5b c3", 0, false, WHY_FAR },
		{ "21 times test", "4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff"
		  "4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff4885ff 53 5b c3", 63, true, MOVED },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(sweep)
{
	static const struct want wants[] = {
		{ "invalid before the site", "4885ff 06 53 5b c3", 0, false, WHY_DECODE },
		{ "invalid behind it", "4885ff 7400 06 c3", 0, false, WHY_DECODE },
		{ "cut at the end", "4885ff 7400 48", 0, false, WHY_DECODE },
		{ "an instruction over the end", "4885ff 7400 e90000", 0, false, WHY_DECODE },
		{ "branch into an instruction", "4885ff 7401 4889c7 c3", 0, false, WHY_DECODE },
		{ "jump of unknown length", "4885ff 7400 66e900000000 c3", 0, false, WHY_DECODE },
		{ "back to the site", "4885ff 7402 ebfc c3", 0, false, WHY_BACK },
		{ "back to before the site", "4885ff 4885f6 7402 ebf9 c3", 0, false, WHY_BACK },
		{ "into an instruction before the site", "4885ff 4885f6 7402 ebfa c3", 0, false, WHY_BACK },
		{ "into the site", "4885ff 7402 ebfd c3", 0, false, WHY_BACK },
		{ "the site's own", "4885ff 74fe c3", 0, false, WHY_BACK },
		{ "a call back", "4885ff 7405 e8f9ffffff c3", 0, false, WHY_BACK },
		{ "loop instruction", "4885ff 7402 e2fc c3", 0, false, WHY_BACK },
		{ "back to a push", "4885ff 53 5b ebfc c3", 0, false, WHY_BACK },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(unseen)
{
	static const struct want wants[] = {
		{ "jump table, site je", "4885ff 7403 90 ffe0 c3", 0, false, WHY_UNSEEN },
		{ "jump table in memory, site je", "4885ff 7407 ff24c500000000 c3", 0, false, WHY_UNSEEN },
		{ "jump table, site push", "4885ff 53 5b ffe0", 3, true, MOVED },
		{ "tail call through a fixed word", "4885ff 7406 ff2500000000 c3", 3, true, MOVED },
		{ "indirect call", "4885ff 7402 ffd0 c3", 3, true, MOVED },
		{ "je out of the function, site je", "4885ff 0f8400100000 c3", 0, false, WHY_UNSEEN },
		{ "je out of the function, site push", "4885ff 53 0f8400100000 5b c3", 3, true, MOVED },
		{ "jmp out of the function", "4885ff 7405 e900100000 c3", 3, true, MOVED },
		{ "call out of the function", "4885ff 7405 e800100000 c3", 3, true, MOVED },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(refused)
{
	static const struct want wants[] = {
		{ "nothing", "", 0, false, NULL },
		{ "int3", "cc c3", 0, false, NULL },
		{ "invalid", "06 c3", 0, false, NULL },
		{ "cut", "4885", 0, false, NULL },
		{ "only prefixes", "6666", 0, false, NULL },
		{ "lock", "f0480fb10f c3", 0, false, NULL },
		{ "notrack jmp rax", "3effe0", 0, false, NULL },
		{ "vzeroupper, which passes for ja", "c5f877 c3", 0, false, NULL },
		{ "xchg r8d, eax, which passes for nop", "4190 c3", 0, false, NULL },
		{ "je with 66", "667400 c3", 0, false, NULL },
		{ "call with 66", "6648e800000000 c3", 0, false, NULL },
		{ "mov ss", "8ed0 c3", 0, false, NULL },
		{ "syscall", "0f05 c3", 0, false, NULL },
		{ "ud2", "0f0b", 0, false, NULL },
		{ "hlt", "f4", 0, false, NULL },
		{ "int 80", "cd80 c3", 0, false, NULL },
	};

	X86_ONLY;
	CHECK_WANT(wants);
}

TEST(size)
{
	static const unsigned char code[] = { 0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3 };
	size_t len = ((size_t)64 << 10) + 1;
	unsigned char *large = malloc(len);
	struct insn_site site;

	X86_ONLY;
	if (CHECK_EQ(insn_site_find(code, sizeof(code), VA, false, 6, &site), 0)) {
		CHECK_EQ(site.delta_bytes, 0);
		CHECK_STR(site.reason, WHY_NO_SIZE);
		CHECK_STR(site.text, "test rdi, rdi");
	}
	if (CHECK_EQ(insn_site_find(code + 3, sizeof(code) - 3, VA, false, 6, &site), 0))
		CHECK_STR(site.reason, ENTRY);
	if (!CHECK(large))
		return;
	memset(large, 0x90, len);
	memcpy(large, code, sizeof(code));
	if (CHECK_EQ(insn_site_find(large, len, VA, true, 6, &site), 0))
		CHECK_STR(site.reason, WHY_LARGE);
	if (CHECK_EQ(insn_site_find(large, len - 1, VA, true, 6, &site), 0))
		CHECK_EQ(site.delta_bytes, 3);
	free(large);
}

TEST(emulated)
{
	static const struct { const char *bytes; bool emulated; } wants[] = {
		{ "50", true }, { "57", true }, { "4150", true }, { "4157", true }, { "90", true },
		{ "e800000000", true }, { "e900000000", true }, { "eb00", true }, { "7000", true }, { "7f00", true },
		{ "0f8000000000", true }, { "0f8f00000000", true },
		{ "", false }, { "41", false }, { "e8000000", false }, { "eb", false }, { "0f80000000", false },
		{ "4050", false }, { "4850", false }, { "6650", false }, { "58", false }, { "f390", false },
		{ "6690", false }, { "0f1f440000", false }, { "66e900000000", false }, { "ff30", false },
		{ "ffd0", false }, { "c3", false }, { "e300", false }, { "4885ff", false }, { "f30f1efa", false },
	};

	X86_ONLY;
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		unsigned char *bytes;
		size_t len;

		bytes = bytes_parse(wants[i].bytes, &len);
		if (!CHECK_EQ(insn_is_emulated(bytes, len, VA), wants[i].emulated))
			fprintf(stderr, "  in: %s\n", wants[i].bytes);
		free(bytes);
	}
}

/* Whatever the bytes: an answer, and one that lies inside them. */
TEST(random)
{
	static const unsigned char test[] = { 0x48, 0x85, 0xff };
	uint64_t x = 0x9e3779b97f4a7c15;

	X86_ONLY;
	for (int round = 0; round < 20000; round++) {
		size_t len = round % 48 + 1;
		unsigned char *bytes = malloc(len);
		struct insn_site site = { 0 };

		for (size_t i = 0; i < len; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			bytes[i] = i < 3 && round & 1 ? test[i] : (unsigned char)(x >> 32);
		}
		if (!insn_site_find(bytes, len, VA, true, 6, &site)) {
			CHECK(site.delta_bytes < len);
			CHECK(!site.delta_bytes || site.emulated);
		}
		free(bytes);
	}
}

/* One library against objdump. */

struct library {
	struct image *img;
	const char *path;
	uint64_t *seen;		/* aliases are looked at once */
	size_t seen_cnt, moved_cnt, emulated_cnt;
};

static bool is_allocator(const char *name)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc",
		"reallocarray", "mallocx", "rallocx", "xallocx", "dallocx", "sdallocx", "cfree",
	};
	static const char *const prefixes[] = { "mi_", "tc_", "_Zn", "_Zd", "__libc_", "je_" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

/* "%rsi", "%sil", "(…)" … : the last operand of AT&T syntax, which is the one that is written. */
static const char *last_operand(const char *operands)
{
	const char *last = operands;
	int depth = 0;

	for (const char *p = operands; *p; p++) {
		depth += (*p == '(') - (*p == ')');
		if (*p == ',' && !depth)
			last = p + 1;
	}
	return last;
}

static unsigned int protected_args;	/* args_cnt of the site that is being checked */

static bool is_argument_or_stack(const char *operand)
{
	static const char *const args[6][5] = {
		{ "%rdi", "%edi", "%di", "%dil" }, { "%rsi", "%esi", "%si", "%sil" },
		{ "%rdx", "%edx", "%dx", "%dl", "%dh" }, { "%rcx", "%ecx", "%cx", "%cl", "%ch" },
		{ "%r8", "%r8d", "%r8w", "%r8b" }, { "%r9", "%r9d", "%r9w", "%r9b" },
	};

	for (unsigned int i = 0; i < protected_args; i++)
		for (int j = 0; j < 5 && args[i][j]; j++)
			if (!strcmp(operand, args[i][j]))
				return true;
	if (!strcmp(operand, "%rsp") || !strcmp(operand, "%esp") || !strcmp(operand, "%rbp") || !strcmp(operand, "%ebp"))
		return true;
	return strstr(operand, "(%rsp") || strstr(operand, "(%rbp");
}

/* What objdump says may stand before the site. */
static bool text_is_harmless(const char *mnemonic, const char *operands)
{
	static const char *const bad[] = { "push", "pop", "call", "ret", "j", "syscall", "int", "leave", "loop", "mul",
					   "div", "xchg", "hlt", "ud2" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!strncmp(mnemonic, bad[i], strlen(bad[i])))
			return false;
	if (!strncmp(mnemonic, "test", 4) || !strncmp(mnemonic, "cmp", 3) || !strncmp(mnemonic, "nop", 3) ||
	    !strncmp(mnemonic, "data16", 6) || !strncmp(mnemonic, "bt", 2))
		return true;
	return !is_argument_or_stack(last_operand(operands));
}

static bool text_is_emulated(const char *mnemonic, const char *operands)
{
	if (!strcmp(mnemonic, "push"))
		return operands[0] == '%';
	if (!strcmp(mnemonic, "nop"))
		return !operands[0];
	return (!strcmp(mnemonic, "call") || mnemonic[0] == 'j') && operands[0] != '*' && strcmp(mnemonic, "jrcxz");
}

/* One line of objdump: "  98ef3:<tab>je     98fb8 <free+0xc8>". False when it is none of code. */
static bool line_parse(char *line, uint64_t *ret_va, char **ret_mnemonic, char **ret_operands)
{
	char *end, *p;

	*ret_va = strtoull(line, &end, 16);
	if (end == line || end[0] != ':' || end[1] != '\t')
		return false;
	*ret_mnemonic = end + 2;
	(*ret_mnemonic)[strcspn(*ret_mnemonic, "\n")] = '\0';
	p = *ret_mnemonic + strcspn(*ret_mnemonic, " ");
	while (*p == ' ')
		*p++ = '\0';
	*ret_operands = p;
	p[strcspn(p, " ")] = '\0';	/* "<name>", comment */
	return true;
}

static void check_objdump(struct library *lib, const struct image_symbol *sym, const struct insn_site *site)
{
	uint64_t want = sym->va + site->delta_bytes, va;
	int failures = test_failures;
	bool found = false;
	char cmd[512], *line = NULL, *mnemonic, *operands;
	size_t size = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "LC_ALL=C objdump -dw --no-show-raw-insn --start-address=%#llx --stop-address=%#llx %s",
		 (unsigned long long)sym->va, (unsigned long long)(sym->va + (sym->size ? sym->size : 16)), lib->path);
	f = popen(cmd, "re");
	while (CHECK(f) && getline(&line, &size, f) > 0) {
		if (!line_parse(line, &va, &mnemonic, &operands))
			continue;
		if (va == want) {
			found = true;
			CHECK_EQ(text_is_emulated(mnemonic, operands), site->emulated);
		}
		if (!site->delta_bytes)
			continue;
		if (va < want && !CHECK(text_is_harmless(mnemonic, operands)))
			fprintf(stderr, "  objdump: %s %s\n", mnemonic, operands);
		if (mnemonic[0] == 'j' && operands[0] != '*') {
			uint64_t to = strtoull(operands, NULL, 16);

			CHECK(to <= sym->va || to > want);
		}
	}
	free(line);
	CHECK(found);
	CHECK_EQ(f ? pclose(f) : -1, 0);
	if (test_failures != failures)
		fprintf(stderr, "  in: %s of %s, +%u %s (%s)\n", sym->name, lib->path, site->delta_bytes, site->text,
			site->reason);
}

static int check_symbol(const struct image_symbol *sym, void *ctx)
{
	static const unsigned int args_cnts[] = { 6, 3, 2, 1 };
	struct insn_site site = { 0 };
	struct library *lib = ctx;
	const unsigned char *code;
	size_t len;

	if (sym->type != IMAGE_FUNC || !is_allocator(sym->name))
		return 0;
	for (size_t i = 0; i < lib->seen_cnt; i++)
		if (lib->seen[i] == sym->va)
			return 0;
	lib->seen = realloc(lib->seen, (lib->seen_cnt + 1) * sizeof(*lib->seen));
	if (!lib->seen)
		abort();
	lib->seen[lib->seen_cnt++] = sym->va;
	if (!CHECK_EQ(image_text(lib->img, sym->va, sym->size ? sym->size : 16, &code, &len), 0))
		return 0;
	for (unsigned int i = 0; i < sizeof(args_cnts) / sizeof(args_cnts[0]); i++) {
		uint32_t before = site.delta_bytes;

		protected_args = args_cnts[i];
		if (!CHECK_EQ(insn_site_find(code, len, sym->va, sym->size == len, protected_args, &site), 0))
			return 0;
		if (!i || site.delta_bytes != before)
			check_objdump(lib, sym, &site);
	}
	lib->moved_cnt += site.delta_bytes != 0;
	lib->emulated_cnt += site.emulated;
	/* Facts about the build that the distribution ships, as the kernel was measured with it. */
	if (!strcmp(sym->name, "free") && len > 4 && !memcmp(code, "\x48\x85\xff\x0f\x84", 5)) {
		CHECK_EQ(site.delta_bytes, 3);
		CHECK(!strncmp(site.text, "je ", 3));
	}
	return 0;
}

static void check_library(const char *pattern)
{
	struct library lib = { 0 };
	glob_t found;
	int fd;

	X86_ONLY;
	if (system("objdump --version >/dev/null 2>&1"))
		TEST_SKIP("objdump is not installed");
	if (glob(pattern, 0, NULL, &found))
		TEST_SKIP("the library is not installed");
	lib.path = found.gl_pathv[0];
	fd = open(lib.path, O_RDONLY | O_CLOEXEC);
	if (CHECK(fd >= 0) && CHECK_EQ(image_open(fd, &lib.img), 0)) {
		CHECK_EQ(image_each_symbol(lib.img, check_symbol, &lib), 0);
		CHECK(lib.seen_cnt >= 8);
		if (getenv("EBB_TEST_FIGURES"))
			fprintf(stderr, "%s: %zu functions, %zu sites moved, %zu emulated\n", lib.path, lib.seen_cnt,
				lib.moved_cnt, lib.emulated_cnt);
		image_free(lib.img);
	}
	if (fd >= 0)
		close(fd);
	free(lib.seen);
	globfree(&found);
}

TEST(libc) { check_library("/lib/x86_64-linux-gnu/libc.so.6"); }
TEST(libstdcxx) { check_library("/usr/lib/x86_64-linux-gnu/libstdc++.so.6"); }
TEST(jemalloc) { check_library("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"); }
TEST(tcmalloc) { check_library("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"); }
TEST(mimalloc) { check_library("/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.*"); }
TEST(musl) { check_library("/usr/lib/x86_64-linux-musl/libc.so"); }

TEST_MAIN(TEST_CASE(entry), TEST_CASE(moved), TEST_CASE(argument_written), TEST_CASE(stack_and_memory),
	  TEST_CASE(no_site), TEST_CASE(sweep), TEST_CASE(unseen), TEST_CASE(refused), TEST_CASE(size),
	  TEST_CASE(emulated), TEST_CASE(random), TEST_CASE(libc), TEST_CASE(libstdcxx), TEST_CASE(jemalloc),
	  TEST_CASE(tcmalloc), TEST_CASE(mimalloc), TEST_CASE(musl))
