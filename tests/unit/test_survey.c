/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A survey by a child without privileges says what one in this process says; and a child that lies, hangs or dies is
 * not believed, and no harm.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "test.h"
#include "trace/survey.h"
#include "trace/survey_wire.h"
#include "unit/child.h"

#define READY "\n#define _GNU_SOURCE\n#include <unistd.h>\n#include <stdlib.h>\n#include <fcntl.h>\n" \
	"#include <sys/mman.h>\nstatic void ready(void) { if (write(1, \"r\", 1) != 1) _exit(1); for (;;) pause(); }\n"
#define PLAIN READY "int main(void) { void *p = realloc(malloc(10), 20); free(calloc(2, 3)); free(p); ready(); }\n"
/* Maps the file that its environment names as if there were code in it. */
#define MAPS READY "int main(void) { int fd = open(getenv(\"FILE\"), O_RDONLY);\n" \
	"if (mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED) _exit(1); free(malloc(1)); ready(); }\n"

/* Sanitizers map terabytes. */
static const struct survey_options limits = { .time_ms = 60000 };

struct look {
	pid_t pid;
	struct target *t;
	struct survey s;
	int err;
};

static bool look_at(struct look *look, char *path, char *variable, const struct survey_options *lim)
{
	enum target_problem problem;
	pid_t tgid;

	*look = (struct look){ .pid = path ? child_start(path, variable) : -1 };
	free(path);
	if (look->pid < 0 || !CHECK_EQ(target_open(look->pid, NULL, &look->t, &problem, &tgid), 0))
		return false;
	look->err = survey_make(look->t, lim, &look->s);
	return true;
}

static void look_end(struct look *look)
{
	survey_free(&look->s);
	target_free(look->t);
	child_stop(look->pid);
}

static bool same_words(const char *a, const char *b)
{
	return !a || !b ? a == b : !strcmp(a, b);
}

static void check_allocators(const struct allocators *got, const struct allocators *want)
{
	CHECK(same_words(got->missing, want->missing));
	if (!CHECK_EQ(got->cnt, want->cnt))
		return;
	for (size_t i = 0; i < got->cnt; i++) {
		const struct allocator *a = &got->list[i], *b = &want->list[i];

		CHECK(a->module == b->module && !strcmp(a->family, b->family) && a->used == b->used);
		CHECK(same_words(a->evidence, b->evidence) && same_words(a->warning, b->warning));
		if (!CHECK_EQ(a->functions_cnt, b->functions_cnt))
			continue;
		for (size_t n = 0; n < a->functions_cnt; n++)
			CHECK(!strcmp(a->functions[n].names, b->functions[n].names) &&
			      a->functions[n].kind == b->functions[n].kind && a->functions[n].va == b->functions[n].va &&
			      a->functions[n].size_bytes == b->functions[n].size_bytes);
	}
}

static void check_plan(const struct plan *got, const struct plan *want)
{
	CHECK(same_words(got->refusal, want->refusal));
	if (CHECK_EQ(got->notes_cnt, want->notes_cnt))
		for (size_t i = 0; i < got->notes_cnt; i++)
			CHECK_STR(got->notes[i], want->notes[i]);
	if (!CHECK_EQ(got->sites_cnt, want->sites_cnt))
		return;
	for (size_t i = 0; i < got->sites_cnt; i++) {
		const struct plan_site *a = &got->sites[i], *b = &want->sites[i];

		CHECK(a->module == b->module && a->kind == b->kind && a->role == b->role);
		CHECK(a->entry_va == b->entry_va && a->size_bytes == b->size_bytes && a->off == b->off && a->addr == b->addr);
		CHECK(a->original == b->original && a->insn.delta_bytes == b->insn.delta_bytes);
		CHECK_EQ(a->insn.emulated, b->insn.emulated);
		CHECK_STR(a->function, b->function);
		CHECK_STR(a->insn.text, b->insn.text);
		CHECK_STR(a->insn.reason, b->insn.reason);
	}
}

/* By the same functions, here. */
static void check_same(const struct look *look)
{
	struct hazard_texts texts;
	struct images *images;
	struct survey s = { .plan = NULL };

	CHECK_EQ(hazard_texts_read(look->t, &texts), 0);
	if (CHECK_EQ(images_open(look->t, &images), 0) && CHECK_EQ(allocators_find(look->t, images, &s.allocators), 0) &&
	    CHECK_EQ(hazards_find(look->t, images, &texts, &s.hazards), 0)) {
		plan_make(look->t, images, s.allocators, &s.plan);
		check_allocators(look->s.allocators, s.allocators);
		check_plan(look->s.plan, s.plan);
		for (int i = 0; i < HAZARD_KINDS; i++)
			if (i != HAZARD_SECCOMP && i != HAZARD_SHADOW_STACK)
				CHECK(same_words(look->s.hazards.detail[i], s.hazards.detail[i]));
	}
	images_free(images);
	hazard_texts_free(&texts);
	survey_free(&s);
}

static void check_program(const char *source, const char *flags, char *variable, bool refused, enum hazard_kind want)
{
	struct look look;

	if (look_at(&look, child_build("survey", "cc", source, flags), variable, &limits) && CHECK_EQ(look.err, 0)) {
		CHECK_EQ(look.s.plan->refusal != NULL, refused);
		if (want < HAZARD_KINDS)
			CHECK(look.s.hazards.found[want]);
		check_same(&look);
	}
	look_end(&look);
}

TEST(plain) { check_program(PLAIN, "", NULL, false, HAZARD_KINDS); }
TEST(static_program) { check_program(PLAIN, "-static", NULL, false, HAZARD_KINDS); }
TEST(stripped) { check_program(PLAIN, "-static -s", NULL, true, HAZARD_KINDS); }

TEST(jemalloc_profiler)
{
	check_program("\nvoid *mallctl;\n" PLAIN, "", "MALLOC_CONF=prof:true", false, HAZARD_PROFILER);
}

/* A file of which the kernel maps a page, and whose symbols are gigabytes that nobody has written. */
static bool file_make_endless(const char *path, const char *built)
{
	int in = open(built, O_RDONLY | O_CLOEXEC), out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	uint64_t end = 1 << 20, bytes = 40ull << 30;
	Elf64_Shdr sections[3] = {
		{ 0 },
		{ .sh_type = SHT_SYMTAB, .sh_offset = end, .sh_size = bytes, .sh_entsize = sizeof(Elf64_Sym), .sh_link = 2 },
		{ .sh_type = SHT_STRTAB, .sh_offset = end, .sh_size = 16 },
	};
	char buf[4096];
	Elf64_Ehdr ehdr;
	ssize_t len;
	bool ok;

	while ((len = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, len) != len)
			return false;
	ok = pread(out, &ehdr, sizeof(ehdr), 0) == sizeof(ehdr);
	ehdr.e_shoff = 1 << 19;
	ehdr.e_shnum = 3;
	ehdr.e_shstrndx = 0;
	ehdr.e_shentsize = sizeof(Elf64_Shdr);
	ok &= pwrite(out, &ehdr, sizeof(ehdr), 0) == sizeof(ehdr) &&
	      pwrite(out, sections, sizeof(sections), ehdr.e_shoff) == sizeof(sections) && !ftruncate(out, end + bytes);
	close(in);
	close(out);
	return ok;
}

TEST(endless_file)
{
	const struct survey_options short_time = { .time_ms = 500 };
	char *program = child_build("maps", "cc", MAPS, ""), *path = child_path("endless"), *variable = NULL;
	struct look look;

	if (!program || !file_make_endless(path, program) || asprintf(&variable, "FILE=%s", path) < 0)
		TEST_SKIP("no C compiler, or no sparse files");
	if (CHECK(look_at(&look, program, variable, &short_time))) {
		CHECK_EQ(look.err, -ETIME);
		CHECK_STR(look.s.died, "took too long and was ended");
		CHECK(!look.s.plan && !look.s.allocators);
	}
	look_end(&look);
	unlink(path);
	free(path);
	free(variable);
}

/* What is not in the mappings of this target is not believed. */
static void check_accepted(const struct survey *s, const struct target *t)
{
	for (size_t i = 0; i < s->plan->sites_cnt; i++) {
		const struct plan_site *site = &s->plan->sites[i];
		const struct target_mapping *map = target_mapping_at(t, site->addr);

		CHECK(map && map->module == site->module && map->prot[2] == 'x');
		CHECK(site->addr - map->start + map->off == site->off);
		CHECK(!strpbrk(site->function, "\033\n\r /;%"));
		CHECK(!strpbrk(site->insn.reason, "\033\n\r"));
	}
}

/* Every byte of an answer in turn is another one, and every length is tried. */
TEST(lies)
{
	struct look look;
	struct text text = { 0 };
	size_t bad = 0, good = 0;

	if (!look_at(&look, child_build("survey", "cc", PLAIN, ""), NULL, &limits) || !CHECK_EQ(look.err, 0))
		return look_end(&look);
	survey_write(&look.s, &text);
	for (size_t i = 0; i < text.len; i++) {
		for (int n = 0; n < 3; n++) {
			struct survey s = { .plan = NULL };
			char old = text.str[i];
			int err;

			text.str[i] = n == 0 ? old ^ 1 : n == 1 ? '\033' : -1;
			err = survey_read(&text, look.t, &s);
			CHECK(!err || err == -EBADMSG);
			bad += err != 0;
			good += !err;
			if (!err)
				check_accepted(&s, look.t);
			survey_free(&s);
			text.str[i] = old;
		}
	}
	CHECK(bad > good);
	for (size_t len = 0; len < text.len; len++) {
		struct text part = { .str = text.str, .len = len };
		struct survey s = { .plan = NULL };

		CHECK_EQ(survey_read(&part, look.t, &s), -EBADMSG);
		CHECK(!s.plan && !s.allocators);
	}
	text_free(&text);
	look_end(&look);
}

struct lie {
	void (*make)(struct survey *s);
	bool allowed;
};

static void as_it_is(struct survey *s) { (void)s; }
static void other_place(struct survey *s) { s->plan->sites[0].off++; }
static void no_code(struct survey *s)
{
	s->plan->sites[0].entry_va = 0;
	s->plan->sites[0].off = s->plan->sites[0].insn.delta_bytes;
}
static void far_from_entry(struct survey *s) { s->plan->sites[0].insn.delta_bytes = 4096; }
static void no_kind(struct survey *s) { s->plan->sites[0].kind = 0; }
static void high_kind(struct survey *s) { s->plan->sites[0].kind = PROBE_KINDS; }
static void escapes_in_name(struct survey *s) { strcpy(s->plan->sites[0].function, "\033"); }
static void escapes_in_note(struct survey *s) { s->plan->notes[0][0] = '\033'; }
static void escapes_in_evidence(struct survey *s) { s->allocators->list[0].evidence[0] = '\n'; }
static void no_sites(struct survey *s)
{
	while (s->plan->sites_cnt)
		free(s->plan->sites[--s->plan->sites_cnt].function);
}
/* A return probe on what may throw would end the program; what ends a block has none; a role that there is not. */
static void return_probe_on_new(struct survey *s)
{
	for (size_t i = 0; i < s->plan->sites_cnt; i++)
		if (s->plan->sites[i].role == PLAN_CALL)
			s->plan->sites[i].kind = PROBE_NEW;
}
static void return_probe_on_free(struct survey *s)
{
	for (size_t i = 0; i < s->plan->sites_cnt; i++)
		if (s->plan->sites[i].role == PLAN_ENTRY)
			s->plan->sites[i].role = PLAN_CALL;
}
static void no_role(struct survey *s) { s->plan->sites[0].role = PLAN_ROLES; }
static void odd_shape(struct survey *s) { s->plan->sites[0].shape = COOKIE_STEPPED; }
static void more_warnings(struct survey *s) { s->plan->warnings_cnt = s->plan->notes_cnt + 1; }
static void escapes_in_awaited(struct survey *s) { s->allocators->awaited = strdup("\033"); }
static void also_refused(struct survey *s) { s->plan->refusal = strdup("no"); }

TEST(told_lies)
{
	static const struct lie all[] = {
		{ as_it_is, true }, { other_place, false }, { no_code, false }, { far_from_entry, false }, { no_kind, false },
		{ high_kind, false }, { escapes_in_name, false }, { escapes_in_note, false }, { escapes_in_evidence, false },
		{ no_sites, false }, { also_refused, false }, { return_probe_on_new, false }, { return_probe_on_free, false },
		{ no_role, false }, { odd_shape, false }, { more_warnings, false }, { escapes_in_awaited, false },
	};
	char *built = child_build("survey", "cc", PLAIN, "-Wl,-z,lazy");

	for (size_t i = 0; built && i < sizeof(all) / sizeof(all[0]); i++) {
		struct survey s = { .plan = NULL };
		struct text text = { 0 };
		struct look look;

		if (look_at(&look, strdup(built), NULL, &limits) && CHECK_EQ(look.err, 0)) {
			if (!look.s.plan->notes_cnt) {
				free(look.s.plan->notes);
				look.s.plan->notes = calloc(1, sizeof(char *));
				look.s.plan->notes[look.s.plan->notes_cnt++] = strdup("note");
			}
			all[i].make(&look.s);
			survey_write(&look.s, &text);
			if (!CHECK_EQ(survey_read(&text, look.t, &s), all[i].allowed ? 0 : -EBADMSG))
				fprintf(stderr, "\tlie %zu\n", i);
			survey_free(&s);
			text_free(&text);
		}
		look_end(&look);
	}
	free(built);
}

TEST_MAIN(TEST_CASE(plain), TEST_CASE(static_program), TEST_CASE(stripped), TEST_CASE(jemalloc_profiler),
	  TEST_CASE(endless_file), TEST_CASE(lies), TEST_CASE(told_lies))
