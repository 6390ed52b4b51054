/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdbool.h>
#include <sys/syscall.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "target/hazard.h"
#include "test.h"
#include "unit/child.h"

#define READY "#include <unistd.h>\n#include <stdlib.h>\n" \
	"int main(void) { free(malloc(1)); if (write(1, \"r\", 1) != 1) return 1; for (;;) pause(); }\n"

static const char *profiler(const char *environ)
{
	const char *found = hazard_environ_profiler(environ, strlen(environ) + 1);

	return found ? found : "none";
}

TEST(environ_profiler)
{
	static const char several[] = "PATH=/bin\0MALLOC_CONF=prof:true\0HOME=/";

	CHECK_STR(profiler("MALLOC_CONF=prof:true"), "MALLOC_CONF=prof:true");
	CHECK_STR(profiler("_RJEM_MALLOC_CONF=a:b,prof:true,lg_prof_sample:19"),
		  "_RJEM_MALLOC_CONF=a:b,prof:true,lg_prof_sample:19");
	CHECK_STR(profiler("JE_MALLOC_CONF=prof:false,prof:true"), "JE_MALLOC_CONF=prof:false,prof:true");
	CHECK_STR(profiler("MALLOC_CONF=prof:true,prof_active:false"), "none");
	CHECK_STR(profiler("MALLOC_CONF=prof:true,prof:false"), "none");
	CHECK_STR(profiler("MALLOC_CONF=prof:trueish"), "none");
	CHECK_STR(profiler("MALLOC_CONF=prof_final:true"), "none");
	CHECK_STR(profiler("MALLOC_CONF=,,,"), "none");
	CHECK_STR(profiler("XMALLOC_CONF=prof:true"), "none");
	CHECK_STR(profiler("MALLOC_CONF"), "none");
	CHECK_STR(profiler("HEAPPROFILE=/tmp/x"), "HEAPPROFILE=/tmp/x");
	CHECK_STR(profiler("HEAPPROFILE="), "none");
	CHECK_STR(profiler("HEAPCHECK=normal"), "HEAPCHECK=normal");
	CHECK(hazard_environ_profiler(several, sizeof(several)) == several + 10);
	CHECK(!hazard_environ_profiler(several, 10));
	CHECK(!hazard_environ_profiler("", 0));
	/* cut in the middle, and without a NUL */
	CHECK(!hazard_environ_profiler(several, 26));
	CHECK(hazard_environ_profiler(several, 31) == several + 10);
}

TEST(status_text)
{
	CHECK(hazard_status_has_shadow_stack("Name:\tx\nx86_Thread_features:\tshstk wrss\nx86_Thread_features_locked:\t\n"));
	CHECK(!hazard_status_has_shadow_stack("Name:\tx\nx86_Thread_features:\t\nx86_Thread_features_locked:\tshstk\n"));
	CHECK(!hazard_status_has_shadow_stack("Name:\tshstk\n"));
	CHECK(hazard_status_has_seccomp_filter("Seccomp:\t2\nSeccomp_filters:\t1\n"));
	CHECK(!hazard_status_has_seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t2\n"));
	CHECK(!hazard_status_has_seccomp_filter(""));
}

static void find_hazards(pid_t pid, struct hazards *h)
{
	struct hazard_texts texts = { 0 };
	enum target_problem problem;
	struct images *images;
	struct target *t;
	pid_t tgid;

	*h = (struct hazards){ 0 };
	if (CHECK_EQ(target_open(pid, NULL, &t, &problem, &tgid), 0)) {
		CHECK_EQ(hazard_texts_read(t, &texts), 0);
		if (CHECK_EQ(images_open(t, &images), 0)) {
			CHECK_EQ(hazards_find(t, images, &texts, h), 0);
			images_free(images);
		}
		CHECK_EQ(hazards_find_threads(t, h), 0);
		hazard_texts_free(&texts);
		target_free(t);
	}
}

/* Builds and starts the program; only `want` (or nothing: HAZARD_KINDS) may be found. False: not possible here. */
static bool check_program(const char *compiler, const char *flags, char *variable, enum hazard_kind want)
{
	char *path = child_build("hazard", compiler, READY, flags);
	pid_t pid = path ? child_start(path, variable) : -1;
	struct hazards h;

	free(path);
	if (pid < 0)
		return false;
	find_hazards(pid, &h);
	for (int i = 0; i < HAZARD_KINDS; i++)
		if (i != HAZARD_SECCOMP && i != HAZARD_SHADOW_STACK && !CHECK_EQ(h.found[i], i == (int)want))
			fprintf(stderr, "\tkind %d: %s\n", i, h.detail[i] ? h.detail[i] : "not found");
	hazards_free(&h);
	child_stop(pid);
	return true;
}

TEST(plain_program)
{
	if (!check_program("cc", "", NULL, HAZARD_KINDS))
		TEST_SKIP("no C compiler");
	/* a setting for an allocator that is not there */
	check_program("cc", "", (char *)"MALLOC_CONF=prof:true", HAZARD_KINDS);
	check_program("cc", "", (char *)"HEAPPROFILE=/nowhere", HAZARD_KINDS);
}

TEST(sanitizers)
{
	if (!check_program("cc", "-fsanitize=address", NULL, HAZARD_SANITIZER))
		TEST_SKIP("no compiler with AddressSanitizer");
	check_program("cc", "-fsanitize=thread", NULL, HAZARD_SANITIZER);
	check_program("cc", "-fsanitize=address -static-libasan", NULL, HAZARD_SANITIZER);
}

TEST(jemalloc_profiler)
{
	if (!check_program("cc", "-Wl,--no-as-needed -l:libjemalloc.so.2", NULL, HAZARD_KINDS))
		TEST_SKIP("no libjemalloc");
	check_program("cc", "-Wl,--no-as-needed -l:libjemalloc.so.2", (char *)"MALLOC_CONF=prof:true", HAZARD_PROFILER);
}

TEST(jemalloc_variable)
{
	static const char source[] = "const char *malloc_conf = \"narenas:2,prof:true\";\n" READY;
	char *path = child_build("variable", "cc", source, "-Wl,--no-as-needed -l:libjemalloc.so.2");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct hazards h;

	free(path);
	if (pid < 0)
		TEST_SKIP("no libjemalloc");
	find_hazards(pid, &h);
	CHECK(h.found[HAZARD_PROFILER]);
	hazards_free(&h);
	child_stop(pid);
}

TEST(go_section)
{
	static const char source[] = READY "__attribute__((section(\".go.buildinfo\"), used)) static int info = 1;\n";
	char *path = child_build("go", "cc", source, "-s");
	pid_t pid = path ? child_start(path, NULL) : -1;
	struct hazards h;

	free(path);
	if (pid < 0)
		TEST_SKIP("no C compiler");
	find_hazards(pid, &h);
	CHECK(h.found[HAZARD_GO]);
	hazards_free(&h);
	child_stop(pid);
}

TEST(seccomp)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &allow };
	struct hazards h;
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		TEST_SKIP("no pipe");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		byte = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? 'n' : 'y';
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) == 1 && byte == 'y') {
		find_hazards(pid, &h);
		CHECK(h.found[HAZARD_SECCOMP]);
		/* the test itself runs under a sanitizer */
		CHECK(h.found[HAZARD_SANITIZER]);
		hazards_free(&h);
	}
	child_stop(pid);
	close(ready[0]);
	close(ready[1]);
	if (byte != 'y')
		TEST_SKIP("no seccomp filters here");
}

TEST_MAIN(TEST_CASE(environ_profiler), TEST_CASE(status_text), TEST_CASE(plain_program), TEST_CASE(sanitizers),
	  TEST_CASE(jemalloc_profiler), TEST_CASE(jemalloc_variable), TEST_CASE(go_section), TEST_CASE(seccomp))
