/* SPDX-License-Identifier: GPL-2.0-only */
/* Plans for real programs: what every plan must keep, and what is left out with which words. */
#include <stdbool.h>

#include "elf/image.h"
#include "test.h"
#include "trace/plan.h"
#include "unit/child.h"

#define READY "\n#define _GNU_SOURCE\n#include <unistd.h>\n#include <stdlib.h>\n#include <dlfcn.h>\n#include <stdint.h>\n" \
	"#include <sys/mman.h>\nstatic void ready(void) { if (write(1, \"r\", 1) != 1) _exit(1); for (;;) pause(); }\n"
#define PLAIN READY "int main(void) { void *p = realloc(malloc(10), 20); free(calloc(2, 3)); free(p); ready(); }\n"
/* Writes a byte into the code of free, three bytes in, as other tools do. */
#define PATCH(byte) READY "int main(void) { unsigned char *f = dlsym(RTLD_DEFAULT, \"free\");\n" \
	"mprotect((void *)((uintptr_t)f & -4096ul), 8192, 7); f[3] = " byte "; ready(); }\n"

struct look {
	pid_t pid;
	struct target *t;
	struct images *images;
	struct allocators *a;
	struct plan *p;
	int err;
};

static bool look_at(struct look *look, char *path, char *variable)
{
	enum target_problem problem;
	pid_t tgid;

	*look = (struct look){ .pid = path ? child_start(path, variable) : -1 };
	free(path);
	if (look->pid < 0)
		return false;
	if (CHECK_EQ(target_open(look->pid, NULL, &look->t, &problem, &tgid), 0) &&
	    CHECK_EQ(images_open(look->t, &look->images), 0) &&
	    CHECK_EQ(allocators_find(look->t, look->images, &look->a), 0))
		look->err = plan_make(look->t, look->images, look->a, &look->p);
	return CHECK(look->p);
}

static void look_end(struct look *look)
{
	plan_free(look->p);
	allocators_free(look->a);
	images_free(look->images);
	target_free(look->t);
	child_stop(look->pid);
}

static const struct plan_site *site(const struct plan *p, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < p->sites_cnt; i++)
		for (const char *n = p->sites[i].function; n; n = strchr(n, '='), n = n ? n + 1 : NULL)
			if (!strncmp(n, name, len) && (!n[len] || n[len] == '='))
				return &p->sites[i];
	return NULL;
}

static bool has_note(const struct plan *p, const char *part)
{
	for (size_t i = 0; i < p->notes_cnt; i++)
		if (strstr(p->notes[i], part))
			return true;
	return false;
}

static int rank(const struct plan_site *s)
{
	switch (s->kind) {
	case PROBE_FREE: case PROBE_LOADED: case PROBE_MUNMAP: return 0;
	case PROBE_MREMAP: case PROBE_REALLOC: case PROBE_RALLOCX: case PROBE_REALLOCARRAY: case PROBE_XALLOCX: return 1;
	default: return s->role == PLAN_RET ? 2 : 3;
	}
}

/* What holds for every site of every plan. */
static void check_sites(const struct look *look)
{
	const struct plan *p = look->p;

	for (size_t i = 0; i < p->sites_cnt; i++) {
		const struct plan_site *s = &p->sites[i];
		uint64_t va = s->entry_va + s->insn.delta_bytes, off = 0;
		unsigned char memory = 0, file = 0;

		CHECK_EQ(s->role == PLAN_ENTRY, probe_at_entry(s->kind));
		CHECK_EQ(s->role == PLAN_CALL, !probe_at_entry(s->kind) && !probe_by_rets(s->kind));
		if (s->role == PLAN_RET)
			CHECK(s->original == 0xc3 || s->original == 0xc2 || s->original == 0xf3 || s->original == 0xf2);
		CHECK_EQ(s->addr, target_addr(s->module, va));
		CHECK_EQ(image_va_to_off(images_of(look->images, s->module), va, &off), 0);
		CHECK_EQ(s->off, off);
		CHECK(!s->size_bytes || s->insn.delta_bytes < s->size_bytes);
		CHECK_EQ(pread(s->module->fd, &file, 1, s->off), 1);
		CHECK_EQ(file, s->original);
		CHECK_EQ(target_read(look->t, s->addr, &memory, 1), 1);
		CHECK(memory == s->original || memory == 0xcc);
		CHECK(s->insn.text[0] && s->insn.reason);
		if (i)
			CHECK(rank(s - 1) <= rank(s));
		for (size_t n = 0; n < i; n++)
			CHECK(p->sites[n].addr != s->addr);
	}
}

/* What a tracer cannot do without. */
static void check_whole(const struct look *look)
{
	CHECK_EQ(look->err, 0);
	CHECK(!look->p->refusal);
	check_sites(look);
	for (int kind = 0; kind <= 3; kind++) {
		bool found = kind == 2;		/* rets: in C++ only */

		for (size_t i = 0; i < look->p->sites_cnt; i++)
			found |= rank(&look->p->sites[i]) == kind;
		CHECK(found);
	}
}

TEST(glibc)
{
	struct look look;

	if (!look_at(&look, child_build("plain", "cc", PLAIN, ""), NULL))
		TEST_SKIP("no C compiler");
	check_whole(&look);
	CHECK(site(look.p, "malloc") && site(look.p, "free") && site(look.p, "posix_memalign"));
	CHECK(site(look.p, "mmap") && site(look.p, "mmap") == site(look.p, "mmap64") && site(look.p, "munmap") && site(look.p, "mremap"));
	look_end(&look);
}

static bool check_preloaded(char *variable, const char *family)
{
	struct look look;
	bool used = false;

	if (!look_at(&look, child_build("plain", "cc", PLAIN, ""), variable))
		return false;
	for (size_t i = 0; i < look.a->cnt; i++)
		used |= look.a->list[i].used && !strcmp(look.a->list[i].family, family);
	if (used) {
		check_whole(&look);
		CHECK(has_note(look.p, "glibc in libc.so.6 is not used"));
		for (size_t i = 0; i < look.p->sites_cnt; i++)
			CHECK(probe_maps(look.p->sites[i].kind) || !strstr(look.p->sites[i].module->path, "libc.so"));
	}
	look_end(&look);
	return used;
}

TEST(jemalloc)
{
	if (!check_preloaded((char *)"LD_PRELOAD=libjemalloc.so.2", "jemalloc"))
		TEST_SKIP("no libjemalloc");
}

TEST(tcmalloc)
{
	if (!check_preloaded((char *)"LD_PRELOAD=libtcmalloc_minimal.so.4", "tcmalloc"))
		TEST_SKIP("no libtcmalloc_minimal");
}

TEST(mimalloc)
{
	if (!check_preloaded((char *)"LD_PRELOAD=libmimalloc.so.2", "mimalloc"))
		TEST_SKIP("no libmimalloc");
}

/* Its cfree and the like jump to the real ones through the PLT. */
TEST(mimalloc_stubs)
{
	struct look look;

	if (!look_at(&look, child_build("plain", "cc", PLAIN, ""), (char *)"LD_PRELOAD=libmimalloc.so.2"))
		TEST_SKIP("no C compiler");
	if (site(look.p, "mi_free")) {
		CHECK(site(look.p, "free") && !site(look.p, "cfree") && !site(look.p, "mi_free_size"));
		CHECK(!site(look.p, "posix_memalign") && site(look.p, "mi_posix_memalign"));
		CHECK(has_note(look.p, "mi_free_size_aligned"));
	}
	look_end(&look);
}

TEST(musl_static)
{
	struct look look;

	if (!look_at(&look, child_build("musl", "musl-gcc", PLAIN, "-static"), NULL))
		TEST_SKIP("no musl-gcc");
	check_whole(&look);
	/* malloc and free are jumps there */
	CHECK(site(look.p, "__libc_malloc_impl") && !site(look.p, "malloc"));
	CHECK(site(look.p, "__libc_free") && !site(look.p, "free"));
	CHECK(has_note(look.p, "only jump to functions that are probed"));
	look_end(&look);
}

TEST(musl)
{
	struct look look;

	if (!look_at(&look, child_build("musl", "musl-gcc", PLAIN, ""), NULL))
		TEST_SKIP("no musl-gcc, or no musl to run its programs");
	check_whole(&look);
	CHECK(site(look.p, "malloc") && site(look.p, "free"));
	CHECK(site(look.p, "mmap") && site(look.p, "munmap"));
	look_end(&look);
}

TEST(glibc_static)
{
	struct look look;

	if (!look_at(&look, child_build("static", "cc", PLAIN, "-static"), NULL))
		TEST_SKIP("no static glibc");
	check_whole(&look);
	look_end(&look);
}

TEST(stripped)
{
	struct look look;

	if (!look_at(&look, child_build("stripped", "cc", PLAIN, "-static -s"), NULL))
		TEST_SKIP("no static glibc");
	CHECK_EQ(look.err, -ENOENT);
	CHECK_EQ(look.p->sites_cnt, 0);
	CHECK(look.p->refusal && strstr(look.p->refusal, "stripped"));
	look_end(&look);
}

TEST(own_stub)
{
	static const char source[] = READY
		"#include <stddef.h>\nstatic char pool[1 << 20]; static size_t at; volatile int freed;\n"
		"void *malloc(size_t n) { void *p = pool + at; at += (n + 31) & ~15ul; return p; }\n"
		"__attribute__((noipa)) void free(void *p) { if (p) freed++; }\n"
		"void cfree(void *p) { free(p); }\n"
		"void *calloc(size_t n, size_t m) { return malloc(n * m); }\n"
		"void *realloc(void *o, size_t n) { free(o); return malloc(n); }\n"
		"int main(void) { cfree(malloc(1)); ready(); }\n";
	struct look look;

	if (!look_at(&look, child_build("stub", "cc", source, "-O2 -fcf-protection=full"), NULL))
		TEST_SKIP("no C compiler");
	check_whole(&look);
	CHECK(site(look.p, "free") && !site(look.p, "cfree"));
	CHECK(has_note(look.p, "cfree of stub: only jumps"));
	look_end(&look);
}

#define OWN_ALLOCATOR READY \
	"#include <stddef.h>\nstatic char pool[1 << 20]; static size_t at; volatile int freed;\n" \
	"void *malloc(size_t n) { void *p = pool + at; at += (n + 31) & ~15ul; return p; }\n" \
	"__attribute__((noipa)) void free(void *p) { if (p) freed++; }\n" \
	"void *calloc(size_t n, size_t m) { return malloc(n * m); }\n" \
	"void *realloc(void *o, size_t n) { free(o); return malloc(n); }\n" \
	"int main(void) { free(malloc(1)); ready(); }\n"

/* CODE of a function in assembler. */
#define FUNCTION(name, code) \
	"__asm__(\".text\\n.globl " name "\\n.type " name ",@function\\n" name ": .cfi_startproc\\n" code \
	".cfi_endproc\\n.size " name ",.-" name "\\n\");\n"

static size_t rets_of(const struct plan *p, const char *name)
{
	size_t cnt = 0;

	for (size_t i = 0; i < p->sites_cnt; i++)
		cnt += p->sites[i].role == PLAN_RET && !strcmp(p->sites[i].function, name);
	return cnt;
}

/* operator new may throw: no return probe, but all of its rets, those of what it ends in included; or nothing. */
TEST(operators)
{
#if defined(__x86_64__)
	static const char source[] = OWN_ALLOCATOR
		FUNCTION("tail", "test %rdi,%rdi\\n je 1f\\n ret\\n1: ret\\n")
		FUNCTION("_Znwm", "push %rbx\\n test %rdi,%rdi\\n pop %rbx\\n je 1f\\n ret\\n1: jmp tail\\n")
		FUNCTION("_Znam", "push %rbx\\n mov %rdi,%rax\\n pop %rbx\\n jmp *%rax\\n")
		FUNCTION("_ZnwmSt11align_val_t", "push %rbx\\n pop %rbx\\n jmp tail + 3\\n")
		FUNCTION("_ZnamSt11align_val_t", "push %rbx\\n pop %rbx\\n jmp tail + 1\\n")
		FUNCTION("_ZdlPv", "push %rbx\\n pop %rbx\\n ret\\n");
	struct look look;

	if (!look_at(&look, child_build("operators", "cc", source, "-O2"), NULL))
		TEST_SKIP("no C compiler");
	check_whole(&look);
	CHECK(site(look.p, "_Znwm") && site(look.p, "_ZdlPv"));
	CHECK_EQ(rets_of(look.p, "_Znwm") + rets_of(look.p, "_ZnwmSt11align_val_t"), 3);	/* tail's two only once */
	CHECK(site(look.p, "_ZnwmSt11align_val_t"));
	/* where it goes is not seen; or into the middle of an instruction */
	CHECK(!site(look.p, "_Znam") && !site(look.p, "_ZnamSt11align_val_t"));
	if (CHECK_EQ(look.p->warnings_cnt, 2))
		for (int i = 0; i < 2; i++)
			CHECK(!strncmp(look.p->notes[i], "_Zna", 4) && strstr(look.p->notes[i], "not seen"));
	look_end(&look);
#else
	TEST_SKIP("x86-64 only");
#endif
}

/* Someone rewrote free: a probe there could hit the middle of an instruction. */
TEST(patched)
{
	struct look look;

	if (!look_at(&look, child_build("patched", "cc", PATCH("0x90"), ""), NULL))
		TEST_SKIP("no C compiler");
	CHECK_EQ(look.err, -ENOENT);
	CHECK_EQ(look.p->sites_cnt, 0);
	CHECK(has_note(look.p, "changed by somebody"));
	CHECK(look.p->refusal && strstr(look.p->refusal, "free"));
	look_end(&look);
}

/* A breakpoint of another tracer is no such thing. */
TEST(breakpoint)
{
	struct look look;

	if (!look_at(&look, child_build("breakpoint", "cc", PATCH("0xcc"), ""), NULL))
		TEST_SKIP("no C compiler");
	check_whole(&look);
	look_end(&look);
}

/* Code copied to other memory at the same addresses, as programs do that want huge pages. */
TEST(remapped)
{
	static const char source[] = READY "int main(void) { unsigned char *f = dlsym(RTLD_DEFAULT, \"free\");\n"
		"char *page = (char *)((uintptr_t)f & -4096ul), *copy = mmap(0, 8192, 7, 0x22, -1, 0);\n"
		"for (int i = 0; i < 8192; i++) copy[i] = page[i];\n"
		"mremap(copy, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, page); ready(); }\n";
	struct look look;

	if (!look_at(&look, child_build("remapped", "cc", source, ""), NULL))
		TEST_SKIP("no C compiler");
	CHECK_EQ(look.err, -ENOENT);
	CHECK(has_note(look.p, "moved away from the mapped file"));
	look_end(&look);
}

TEST_MAIN(TEST_CASE(glibc), TEST_CASE(jemalloc), TEST_CASE(tcmalloc), TEST_CASE(mimalloc), TEST_CASE(mimalloc_stubs),
	  TEST_CASE(musl_static), TEST_CASE(musl), TEST_CASE(glibc_static), TEST_CASE(stripped), TEST_CASE(own_stub), TEST_CASE(operators),
	  TEST_CASE(patched), TEST_CASE(breakpoint), TEST_CASE(remapped))
