/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/options.h"
#include "test.h"

struct all_options {
	bool verbose;
	bool raw;
	const char *output;
	uint64_t top;
	uint64_t min_bytes;
	uint64_t max_bytes;
	uint64_t duration_ns;
	uint64_t interval_ns;
	int format;
	double overhead;
};

static const char *const formats[] = { "table", "folded", NULL };

static const struct option_spec specs[] = {
	OPTION_FLAG('v', "verbose", struct all_options, verbose, "say more"),
	OPTION_FLAG('\0', "raw", struct all_options, raw, "no grouping of frames"),
	OPTION_STRING('o', "output", struct all_options, output, "FILE", "write to FILE instead of stdout"),
	OPTION_U64('n', "top", struct all_options, top, "N", "only the first N rows"),
	OPTION_SIZE('\0', "min-size", struct all_options, min_bytes, "BYTES", "only blocks of at least BYTES"),
	OPTION_SIZE('\0', "max-memory", struct all_options, max_bytes, "BYTES",
		    "memory that the books may take in the kernel; what does not fit is counted and said at the end"),
	OPTION_DURATION('d', "duration", struct all_options, duration_ns, "TIME", "stop after TIME"),
	OPTION_DURATION('i', "interval", struct all_options, interval_ns, "TIME", "a snapshot every TIME"),
	OPTION_CHOICE('f', "format", struct all_options, format, "what to write", formats),
	OPTION_PERCENT('\0', "max-overhead-of-the-target", struct all_options, overhead, "PCT", "the brake"),
	OPTION_END,
};

static const struct all_options defaults = {
	.top = 20, .max_bytes = 256 << 20, .interval_ns = 1500000000, .overhead = 30,
};

struct result {
	int err;
	struct all_options o;
	int args_cnt;
	char args[256];		/* joined by | */
	bool help;
	char said[512];		/* on stderr, without its newline */
};

/* Parses a line that is split at spaces. */
static struct result parse(const char *line)
{
	struct result r = { .o = defaults, .args_cnt = -1 };
	char *copy = strdup(line), *argv[32], **args = NULL;
	int argc = 0, saved = dup(STDERR_FILENO);
	FILE *said = tmpfile();
	size_t len;

	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	dup2(fileno(said), STDERR_FILENO);
	r.err = options_parse(specs, &r.o, argc, argv, &args, &r.args_cnt, &r.help);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(said);
	len = fread(r.said, 1, sizeof(r.said) - 1, said);
	r.said[len ? len - 1 : 0] = '\0';
	fclose(said);
	for (int i = 0; i < r.args_cnt; i++) {
		strcat(r.args, i ? "|" : "");
		strcat(r.args, args[i]);
	}
	free(args);
	/* borrowed from the line, which is freed here */
	if (r.o.output)
		r.o.output = !strcmp(r.o.output, "file") ? "file" : !strcmp(r.o.output, "-v") ? "-v" : "another";
	free(copy);
	return r;
}

TEST(every_type)
{
	struct result r = parse("123 --verbose --raw -o file --top 5 --min-size 64K -d 2h --interval=500ms -ffolded "
				"--max-overhead-of-the-target none");

	CHECK_EQ(r.err, 0);
	CHECK_STR(r.said, "");
	CHECK(r.o.verbose && r.o.raw && !r.help);
	CHECK_STR(r.o.output, "file");
	CHECK_EQ(r.o.top, 5);
	CHECK_EQ(r.o.min_bytes, 65536);
	CHECK_EQ(r.o.duration_ns, 7200000000000ull);
	CHECK_EQ(r.o.interval_ns, 500000000);
	CHECK_EQ(r.o.format, 1);
	CHECK(r.o.overhead == -1);
	CHECK_STR(r.args, "123");
}

TEST(defaults_stay)
{
	struct result r = parse("");

	CHECK_EQ(r.err, 0);
	CHECK_EQ(r.args_cnt, 0);
	CHECK(!memcmp(&r.o, &defaults, sizeof(defaults)));
}

TEST(spellings)
{
	CHECK_EQ(parse("-n5").o.top, 5);
	CHECK_EQ(parse("-n 5").o.top, 5);
	CHECK_EQ(parse("--top=5").o.top, 5);
	CHECK_EQ(parse("--top 5 --top 6").o.top, 6);
	CHECK_EQ(parse("-vn5").o.top, 5);
	CHECK(parse("-vn5").o.verbose);
	CHECK(parse("--max-overhead-of-the-target 12.5%").o.overhead == 12.5);
	CHECK(parse("--max-overhead-of-the-target=0").o.overhead == 0);
	CHECK(parse("-h").help);
	CHECK(parse("-v --help").help);
	CHECK_STR(parse("--output=-v").o.output, "-v");
	CHECK_STR(parse("a -v b").args, "a|b");
	CHECK_STR(parse("a -- -v --top").args, "a|-v|--top");
	CHECK_STR(parse("- a").args, "-|a");
	CHECK_EQ(parse("--").args_cnt, 0);
}

TEST(errors)
{
	static const struct { const char *line, *said; } cases[] = {
		{ "--topp 5", "--topp: no such option; did you mean --top?" },
		{ "--topp=5", "--topp: no such option; did you mean --top?" },
		{ "--to 5", "--to: no such option; did you mean --top?" },
		{ "--dur 5s", "--dur: no such option; did you mean --duration?" },
		{ "--fromat table", "--fromat: no such option; did you mean --format?" },
		{ "--hlep", "--hlep: no such option; did you mean --help?" },
		{ "-top 5", "-top: no such option; did you mean --top?" },
		{ "--colour", "--colour: no such option; --help lists them" },
		{ "--averyverylongnamethatisnooptionatall", "--averyverylongnamethatisnooptionatall: no such option; --help lists them" },
		{ "-x", "-x: no such option; --help lists them" },
		{ "--=5", "--: no such option; --help lists them" },
		{ "--\x1b[31m", "--\\x1b[31m: no such option; --help lists them" },
		{ "--verbose=1", "--verbose: takes no value, write just --verbose" },
		{ "--help=1", "--help: takes no value, write just --help" },
		{ "-v1", "-v: takes no value, write just -v" },
		{ "-n", "--top: its argument is missing: --top N" },
		{ "--format", "--format: its argument is missing: --format table|folded" },
		{ "-o -v", "--output: its argument is missing: --output FILE (or --output=-v, if that is meant)" },
		{ "-n --raw", "--top: its argument is missing: --top N (or --top=--raw, if that is meant)" },
		{ "-o -- x", "--output: its argument is missing: --output FILE (or --output=--, if that is meant)" },
		{ "-n five", "--top: 'five' is not a whole number such as 10" },
		{ "-n -5", "--top: '-5' is not a whole number such as 10" },
		{ "-n 99999999999999999999", "--top: '99999999999999999999' is too much" },
		{ "--min-size 5X", "--min-size: '5X' is not a size such as 512, 64K or 1MiB" },
		{ "--min-size=", "--min-size: '' is not a size such as 512, 64K or 1MiB" },
		{ "-d soon", "--duration: 'soon' is not a duration such as 500ms, 30s or 2h" },
		{ "-f svg", "--format: 'svg' is none of table, folded" },
		{ "-f tab", "--format: 'tab' is none of table, folded" },
		{ "--max-overhead-of-the-target much",
		  "--max-overhead-of-the-target: 'much' is not a percentage such as 30 or 30%, or none" },
		{ "--max-overhead-of-the-target -3",
		  "--max-overhead-of-the-target: '-3' is not a percentage such as 30 or 30%, or none" },
		{ "--max-overhead-of-the-target 0x10",
		  "--max-overhead-of-the-target: '0x10' is not a percentage such as 30 or 30%, or none" },
		{ "--max-overhead-of-the-target %",
		  "--max-overhead-of-the-target: '%' is not a percentage such as 30 or 30%, or none" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result r = parse(cases[i].line);

		CHECK_EQ(r.err, -EINVAL);
		/* "ebb: " comes from the log */
		CHECK_STR(strncmp(r.said, "ebb: ", 5) ? r.said : r.said + 5, cases[i].said);
		CHECK_EQ(r.args_cnt, -1);
	}
}

TEST(help)
{
	static const char want[] =
		"  -v, --verbose           say more\n"
		"      --raw               no grouping of frames\n"
		"  -o, --output FILE       write to FILE instead of stdout\n"
		"  -n, --top N             only the first N rows (default 20)\n"
		"      --min-size BYTES    only blocks of at least BYTES\n"
		"      --max-memory BYTES  memory that the books may take in the kernel; what\n"
		"                          does not fit is counted and said at the end (default\n"
		"                          256M)\n"
		"  -d, --duration TIME     stop after TIME\n"
		"  -i, --interval TIME     a snapshot every TIME (default 1500ms)\n"
		"  -f, --format table|folded\n"
		"                          what to write (default table)\n"
		"      --max-overhead-of-the-target PCT\n"
		"                          the brake (default 30)\n"
		"  -h, --help              this text\n";
	char *got = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&got, &len);

	options_print(out, specs, &defaults);
	fclose(out);
	CHECK_STR(got, want);
	free(got);
}

TEST_MAIN(TEST_CASE(every_type), TEST_CASE(defaults_stay), TEST_CASE(spellings), TEST_CASE(errors), TEST_CASE(help))
