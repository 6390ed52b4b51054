/* SPDX-License-Identifier: GPL-2.0-only */
/* Real programs with every allocator that is installed: which are found, and which are called used. */
#include <stdbool.h>

#include "target/allocator.h"
#include "test.h"
#include "unit/child.h"

#define READY "\n#define _GNU_SOURCE\n#include <unistd.h>\n#include <stdlib.h>\n#include <malloc.h>\n" \
	"static void ready(void) { if (write(1, \"r\", 1) != 1) _exit(1); for (;;) pause(); }\n"
#define PLAIN READY "int main(void) { void *p = realloc(malloc(10), 20); free(calloc(2, 3)); free(p); ready(); }\n"
/* Never gives anything back. */
#define OWN "\n#include <stddef.h>\n#include <string.h>\nstatic char pool[1 << 20]; static size_t at;\n" \
	"void *malloc(size_t n) { void *p = pool + at; at += (n + 31) & ~15ul; return p; }\n" \
	"void free(void *p) { (void)p; }\n" \
	"void *calloc(size_t n, size_t m) { return malloc(n * m); }\n" \
	"void *realloc(void *o, size_t n) { void *p = malloc(n); if (o) memcpy(p, o, n); return p; }\n"

/* A program under look: its process and what was found in it. */
struct look {
	pid_t pid;
	struct target *t;
	struct images *images;
	struct allocators *a;
};

static bool look_at(struct look *look, char *path, char *variable)
{
	enum target_problem problem;
	pid_t tgid;

	*look = (struct look){ .pid = path ? child_start(path, variable) : -1 };
	free(path);
	if (look->pid < 0)
		return false;
	CHECK_EQ(target_open(look->pid, NULL, &look->t, &problem, &tgid), 0);
	if (look->t && CHECK_EQ(images_open(look->t, &look->images), 0))
		CHECK_EQ(allocators_find(look->t, look->images, &look->a), 0);
	return true;
}

static void look_end(struct look *look)
{
	allocators_free(look->a);
	images_free(look->images);
	target_free(look->t);
	child_stop(look->pid);
}

/* In the file whose name begins with `file`; "" is any. */
static const struct allocator *find(const struct look *look, const char *family, const char *file)
{
	for (size_t i = 0; look->a && i < look->a->cnt; i++) {
		const char *base = strrchr(look->a->list[i].module->path, '/');

		if (!strcmp(look->a->list[i].family, family) && !strncmp(base + 1, file, strlen(file)))
			return &look->a->list[i];
	}
	return NULL;
}

static const struct allocator_function *function(const struct allocator *a, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < a->functions_cnt; i++)
		for (const char *p = a->functions[i].names; p; p = strchr(p, '='), p = p ? p + 1 : NULL)
			if (!strncmp(p, name, len) && (!p[len] || p[len] == '='))
				return &a->functions[i];
	return NULL;
}

/* names: "malloc calloc …"; also that addresses are sorted and there once. */
static void check_functions(const struct allocator *a, const char *names)
{
	char *copy = strdup(names);

	for (char *name = strtok(copy, " "); name; name = strtok(NULL, " "))
		if (!CHECK(function(a, name)))
			fprintf(stderr, "\t%s of %s is missing\n", name, a->family);
	for (size_t i = 1; i < a->functions_cnt; i++)
		CHECK(a->functions[i - 1].va < a->functions[i].va);
	free(copy);
}

static void check_allocator(const struct look *look, const char *family, const char *file, bool used, const char *names)
{
	const struct allocator *a = find(look, family, file);

	if (!CHECK(a)) {
		fprintf(stderr, "\tno %s in %s\n", family, file);
		return;
	}
	if (!CHECK_EQ(a->used, used) || !CHECK(a->evidence && *a->evidence))
		fprintf(stderr, "\t%s: %s\n", family, a->evidence);
	check_functions(a, names);
}

#define C_NAMES "malloc calloc realloc free posix_memalign aligned_alloc memalign valloc "

TEST(glibc)
{
	struct look look;

	if (!look_at(&look, child_build("plain", "cc", PLAIN, ""), NULL))
		TEST_SKIP("no C compiler");
	CHECK_EQ(look.a->cnt, 1);
	check_allocator(&look, "glibc", "libc.so", true, C_NAMES "pvalloc reallocarray");
	CHECK(!look.a->missing);
	look_end(&look);
	/* bound lazily, and before main(): no word of the program tells yet, libc's own files do or all are used */
	if (look_at(&look, child_build("lazy", "cc", PLAIN, "-Wl,-z,lazy"), NULL))
		check_allocator(&look, "glibc", "libc.so", true, C_NAMES);
	look_end(&look);
}

/* False when the library is not installed. */
static bool check_preloaded(const char *library, const char *family, const char *names)
{
	struct look look;
	char *variable;
	bool mapped = false;

	if (asprintf(&variable, "LD_PRELOAD=%s", library) < 0)
		abort();
	if (!look_at(&look, child_build("plain", "cc", PLAIN, ""), variable)) {
		free(variable);
		return false;
	}
	for (size_t i = 0; i < look.t->modules_cnt; i++)
		mapped |= strstr(look.t->modules[i]->path, library) != NULL;
	if (mapped) {
		check_allocator(&look, family, library, true, names);
		check_allocator(&look, "glibc", "libc.so", false, C_NAMES);
		for (size_t i = 0; i < look.a->cnt; i++)
			CHECK(!look.a->list[i].warning);
	}
	look_end(&look);
	free(variable);
	return mapped;
}

TEST(jemalloc)
{
	if (!check_preloaded("libjemalloc.so.2", "jemalloc", C_NAMES "mallocx rallocx xallocx sdallocx dallocx"))
		TEST_SKIP("no libjemalloc");
}

TEST(tcmalloc)
{
	if (!check_preloaded("libtcmalloc_minimal.so.4", "tcmalloc", C_NAMES "pvalloc cfree tc_malloc tc_free_sized"))
		TEST_SKIP("no libtcmalloc_minimal");
}

TEST(mimalloc)
{
	if (!check_preloaded("libmimalloc.so.2", "mimalloc",
			     C_NAMES "pvalloc cfree reallocarray mi_malloc mi_zalloc mi_calloc mi_realloc mi_free "
			     "mi_free_size mi_malloc_small mi_malloc_aligned mi_heap_malloc mi_reallocf"))
		TEST_SKIP("no libmimalloc");
}

static void check_static(const char *compiler, const char *flags, const char *family, const char *names, const char *why)
{
	struct look look;

	if (!look_at(&look, child_build("static", compiler, PLAIN, flags), NULL))
		TEST_SKIP(why);
	check_allocator(&look, family, "static", true, names);
	CHECK_EQ(look.a->cnt, 1);
	look_end(&look);
}

TEST(glibc_static)
{
	check_static("cc", "-static", "glibc", "malloc calloc realloc free", "no static glibc");
}

TEST(musl_static)
{
	check_static("musl-gcc", "-static", "musl", "malloc calloc realloc free __libc_malloc_impl", "no musl-gcc");
}

TEST(musl)
{
	struct look look;

	if (!look_at(&look, child_build("musl", "musl-gcc", PLAIN, ""), NULL))
		TEST_SKIP("no musl-gcc, or no musl to run its programs");
	/* the same file is the loader */
	check_allocator(&look, "musl", "", true, C_NAMES "reallocarray");
	CHECK_EQ(look.a->cnt, 1);
	look_end(&look);
}

/* An allocator linked into a dynamic executable: glibc is mapped too, and loses. */
static void check_linked_in(const char *source, const char *flags, const char *family, const char *names, const char *why)
{
	struct look look;

	if (!look_at(&look, child_build("linked", "cc", source, flags), NULL))
		TEST_SKIP(why);
	check_allocator(&look, family, "linked", true, names);
	check_allocator(&look, "glibc", "libc.so", false, "malloc free");
	look_end(&look);
}

TEST(jemalloc_linked_in)
{
	check_linked_in(PLAIN, "-l:libjemalloc.a -lm -lpthread -ldl -lstdc++", "jemalloc", C_NAMES "mallocx", "no libjemalloc.a");
}

TEST(tcmalloc_linked_in)
{
	check_linked_in(PLAIN, "-l:libtcmalloc_minimal.a -lstdc++ -lpthread -lm", "tcmalloc", C_NAMES, "no libtcmalloc_minimal.a");
}

TEST(own_malloc)
{
	check_linked_in(OWN PLAIN, "", "unknown", "malloc calloc realloc free", "no C compiler");
}

TEST(stripped)
{
	struct look look;

	if (!look_at(&look, child_build("stripped", "cc", PLAIN, "-static -s"), NULL))
		TEST_SKIP("no static glibc");
	CHECK_EQ(look.a->cnt, 0);
	CHECK(look.a->missing && strstr(look.a->missing, "stripped"));
	look_end(&look);
	/* its allocator is exported, so that libraries share it: strip leaves that */
	if (look_at(&look, child_build("stripped", "cc", OWN PLAIN, "-fno-builtin -s -rdynamic"), NULL))
		check_allocator(&look, "unknown", "stripped", true, "malloc free");
	look_end(&look);
}

TEST(prefixed)
{
	static const char source[] = READY
		"void *je_malloc(size_t n) { return sbrk(n); }\nvoid je_free(void *p) { (void)p; }\n"
		"void *_rjem_malloc(size_t n) { return sbrk(n); }\nvoid _rjem_free(void *p) { (void)p; }\n"
		"void *_rjem_mallocx(size_t n, int f) { return sbrk(n + !f); }\n"
		"int main(void) { je_free(je_malloc(1)); _rjem_free(_rjem_malloc(1)); free(malloc(2)); ready(); }\n";
	struct look look;

	if (!look_at(&look, child_build("prefixed", "cc", source, ""), NULL))
		TEST_SKIP("no C compiler");
	CHECK_EQ(look.a->cnt, 3);
	check_allocator(&look, "jemalloc", "prefixed", true, "");
	check_allocator(&look, "glibc", "libc.so", true, C_NAMES);
	for (size_t i = 0; i < look.a->cnt; i++)
		CHECK(look.a->list[i].used);
	look_end(&look);
}

/* jemalloc is mapped, but stands behind libc in the search order. */
TEST(mapped_and_unused)
{
	struct look look;

	if (!look_at(&look, child_build("behind", "cc", PLAIN, "-Wl,--no-as-needed -lc -l:libjemalloc.so.2"), NULL))
		TEST_SKIP("no libjemalloc");
	check_allocator(&look, "glibc", "libc.so", true, C_NAMES);
	check_allocator(&look, "jemalloc", "libjemalloc.so", false, C_NAMES);
	look_end(&look);
}

/* jemalloc has no reallocarray: glibc's is called, and calls jemalloc's realloc. */
TEST(reallocarray_of_glibc)
{
	static const char source[] = READY "int main(void) { free(reallocarray(malloc(1), 2, 3)); ready(); }\n";
	struct look look;

	if (!look_at(&look, child_build("array", "cc", source, "-l:libjemalloc.so.2"), NULL))
		TEST_SKIP("no libjemalloc");
	check_allocator(&look, "glibc", "libc.so", false, C_NAMES);
	check_allocator(&look, "jemalloc", "libjemalloc.so", true, C_NAMES);
	look_end(&look);
}

TEST(operator_new)
{
	static const char source[] = READY "int main() { volatile int *p = new int; *p = 1; delete p; ready(); }\n";
	const struct allocator *a;
	struct look look;

	if (!look_at(&look, child_build("cplusplus", "c++", source, "-x none -l:libjemalloc.so.2"), NULL))
		TEST_SKIP("no C++ compiler, or no libjemalloc");
	/* it has one of its own; aliases of it are called by nobody and are there all the same */
	a = find(&look, "jemalloc", "libjemalloc");
	if (CHECK(a && a->used)) {
		CHECK(!a->warning);
		CHECK(function(a, "_Znwm") && function(a, "_Znwm")->kind == PROBE_NEW);
		CHECK(function(a, "_ZnwmSt11align_val_t") && function(a, "_ZnwmSt11align_val_t")->kind == PROBE_NEW);
		CHECK(function(a, "_ZdlPvm") && function(a, "_ZdlPvm")->kind == PROBE_FREE);
	}
	look_end(&look);
	/* a program in C does not call it */
	if (look_at(&look, child_build("plain", "cc", READY "int main(void) { free(malloc(1)); ready(); }\n",
				       "-x none -l:libjemalloc.so.2"), NULL)) {
		a = find(&look, "jemalloc", "libjemalloc");
		CHECK(a && a->used && !function(a, "_Znwm") && !function(a, "_ZdlPvm"));
	}
	look_end(&look);
	if (look_at(&look, child_build("cplusplus", "c++", source, ""), NULL)) {
		a = find(&look, "glibc", "libc.so");
		CHECK(a && a->used && !a->warning);
	}
	look_end(&look);
	/* libstdc++'s passes through malloc, here as well, where it is a function of the same file */
	if (look_at(&look, child_build("cplusplus-static", "c++", source, "-static"), NULL)) {
		a = find(&look, "glibc", "cplusplus-static");
		CHECK(a && a->used && !function(a, "_Znwm"));
	}
	look_end(&look);
}

TEST(ifunc)
{
	static const char library[] = OWN
		"static void *big(size_t n) { return malloc(n + 4096); }\n"
		"static void *(*choose(void))(size_t) { return big; }\n"
		"void *pvalloc(size_t n) __attribute__((ifunc(\"choose\")));\n"
		"void *valloc(size_t n) __attribute__((ifunc(\"choose\")));\n";
	static const char source[] = READY "int main(void) { free(pvalloc(1)); ready(); }\n";
	char *path = child_build("libifunc.so", "cc", library, "-shared -fPIC"), *program, *flags;
	const struct allocator_function *fn;
	const struct allocator *a;
	struct look look;

	if (!path)
		TEST_SKIP("no C compiler, or no IFUNC");
	if (asprintf(&flags, "-Wl,-z,now -Wl,-rpath,%s %s", child_dir_path, path) < 0)
		abort();
	program = child_build("ifunc", "cc", source, flags);
	free(path);
	free(flags);
	if (!look_at(&look, program, NULL))
		TEST_SKIP("no IFUNC");
	a = find(&look, "unknown", "libifunc.so");
	if (CHECK(a)) {
		CHECK(a->used);
		fn = function(a, "pvalloc");
		/* the function, not its resolver: what the symbol says would be the resolver */
		CHECK(fn && fn->kind == PROBE_MALLOC);
		CHECK(!function(a, "valloc"));
		CHECK(a->warning && strstr(a->warning, "valloc") && strstr(a->warning, "IFUNC"));
	}
	look_end(&look);
}

TEST_MAIN(TEST_CASE(glibc), TEST_CASE(jemalloc), TEST_CASE(tcmalloc), TEST_CASE(mimalloc), TEST_CASE(glibc_static),
	  TEST_CASE(musl_static), TEST_CASE(musl), TEST_CASE(jemalloc_linked_in), TEST_CASE(tcmalloc_linked_in),
	  TEST_CASE(own_malloc), TEST_CASE(stripped), TEST_CASE(prefixed), TEST_CASE(mapped_and_unused),
	  TEST_CASE(reallocarray_of_glibc), TEST_CASE(operator_new), TEST_CASE(ifunc))
