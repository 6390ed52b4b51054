/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Handlers that answer, and handlers that do what a parser does that has been taken over or has met the wrong file: the
 * caller lives, is told the truth, and gets its next answer. Under the sanitizers there can be no limit on memory, as
 * they map terabytes: tests/e2e/worker.sh runs the same cases built without them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memo.h"
#include "base/sandbox.h"
#include "base/worker.h"
#include "test.h"

enum { OP_ECHO, OP_FILE, OP_BAD, OP_STATUS, OP_STATE, OP_MEMORY, OP_DIE, OP_NONE, OPS };

/* What OP_BAD does, a word in the request. */
static const char *const bads[] = {
	"segv", "abort", "exit", "socket", "execve", "ptrace", "exec_map", "exec_protect", "shared_map", "fork", "memfd",
	"setuid", "kill", "lie",
	"open", "tgkill", "write_file",	/* an error will do */
};
#define BADS_DEADLY	14

static unsigned char *page;	/* shared with whoever wants to see what a worker writes */

static int handle_echo(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	CHECK(!state && fd < 0);
	text_add_len(reply, request, len);
	return 0;
}

/* The bytes of the file that came with it. */
static int handle_file(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	char buf[4096];
	ssize_t got;

	(void)state, (void)request, (void)len;
	got = pread(fd, buf, sizeof(buf), 0);
	if (got < 0)
		return -errno;
	text_add_len(reply, buf, got);
	return 0;
}

/* glibc checks an abort before it comes: the kernel's number tells what is left. */
static int do_bad(const char *word, int fd)
{
	char *const none[] = { NULL };
	void *p;

	if (!strcmp(word, "segv"))
		*(volatile char *)(uintptr_t)(8 * (fd + 2)) = 1;
	if (!strcmp(word, "abort"))
		abort();
	if (!strcmp(word, "exit"))
		_exit(0);
	if (!strcmp(word, "hang"))
		for (;;)
			sched_yield();
	if (!strcmp(word, "slow")) {	/* long enough to be killed in the middle */
		for (clock_t end = clock() + CLOCKS_PER_SEC / 4; clock() < end;)
			;
		return 1;
	}
	if (!strcmp(word, "socket"))
		return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0) < 0 ? -errno : 1;
	if (!strcmp(word, "execve"))
		return syscall(SYS_execve, "/bin/true", none, none) < 0 ? -errno : 1;
	if (!strcmp(word, "ptrace"))
		return syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL) < 0 ? -errno : 1;
	if (!strcmp(word, "exec_map"))
		return syscall(SYS_mmap, NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) < 0 ? -errno : 1;
	if (!strcmp(word, "exec_protect")) {
		p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return syscall(SYS_mprotect, p, 4096, PROT_READ | PROT_EXEC) ? -errno : 1;
	}
	if (!strcmp(word, "shared_map"))
		return syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) < 0 ? -errno : 1;
	if (!strcmp(word, "fork"))
		return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 ? -errno : 1;
	if (!strcmp(word, "memfd"))
		return syscall(SYS_memfd_create, "x", 0) < 0 ? -errno : 1;
	if (!strcmp(word, "setuid"))
		return syscall(SYS_setuid, 0) < 0 ? -errno : 1;
	if (!strcmp(word, "kill"))
		return syscall(SYS_kill, getppid(), SIGKILL) < 0 ? -errno : 1;
	if (!strcmp(word, "tgkill"))
		return syscall(SYS_tgkill, getpid(), getpid(), SIGKILL) < 0 ? -errno : 1;
	if (!strcmp(word, "open"))
		return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) < 0 ? -errno : 1;
	if (!strcmp(word, "write_file"))
		return write(fd, "x", 1) < 0 ? -errno : 1;
	if (!strcmp(word, "lie"))	/* half a head of a reply, of a size that is none */
		return write(0, "\377\377\377\177\377\377\377\377", 8) == 8 ? 0 : -EIO;
	return 2;
}

static int handle_bad(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	int r;

	(void)state, (void)len;
	r = do_bad(request, fd);
	text_add_len(reply, (const char *)&r, sizeof(r));
	return r < 0 ? r : 0;
}

/* What it is by now, as the system calls that it has left tell. */
struct status {
	int fds_cnt;		/* open ones */
	bool reads_page;
};

static int handle_status(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct status s = { 0 };

	(void)state, (void)request, (void)len, (void)fd;
	for (int i = 0; i < 1024; i++)
		s.fds_cnt += syscall(SYS_fcntl, i, F_GETFD) >= 0;
	/* the kernel tells whether there is memory at an address, without a crash */
	s.reads_page = !syscall(SYS_rt_sigprocmask, SIG_BLOCK, page, NULL, 8) || errno != EFAULT;
	text_add_len(reply, (const char *)&s, sizeof(s));
	return 0;
}

static void *state_new(void)
{
	return calloc(1, sizeof(int));
}

/* Counts its calls: a new worker begins at 1. "x" ends it, and what is posted may do so. */
static int handle_state(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	int *cnt = state;

	(void)fd;
	if (len && *(const char *)request == 'x')
		_exit(0);
	if (len && *(const char *)request == 'm')
		return -ENOMEM;
	if (len && *(const char *)request == 'f' && *cnt)	/* full of what was before */
		return -ENOMEM;
	++*cnt;
	text_add_len(reply, (const char *)cnt, sizeof(*cnt));
	return 0;
}

/* Takes memory until there is none. */
static int handle_memory(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	(void)state, (void)request, (void)len, (void)fd, (void)reply;
	for (;;) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		memset(p, 1, 1 << 20);
	}
}

static int handle_die(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	(void)state, (void)request, (void)len, (void)fd, (void)reply;
	_exit(0);
}

static const struct worker_op ops[OPS] = {
	[OP_ECHO] = { .name = "echo", .handle = handle_echo },
	[OP_FILE] = { .name = "file", .handle = handle_file },
	[OP_BAD] = { .name = "bad", .handle = handle_bad },
	[OP_STATUS] = { .name = "status", .handle = handle_status },
	[OP_STATE] = { .name = "state", .handle = handle_state, .open = state_new },
	[OP_MEMORY] = { .name = "memory", .handle = handle_memory },
	[OP_DIE] = { .name = "die", .handle = handle_die },
	[OP_NONE] = { .name = "none" },
};

static const struct worker_service service = { .ops = ops, .ops_cnt = OPS, .time_ms = 30000 };
static const struct worker_service hasty = { .ops = ops, .ops_cnt = OPS, .time_ms = 200 };

static int call(struct worker *w, unsigned int op, const char *request, int fd, struct text *ret)
{
	*ret = (struct text){ 0 };
	return worker_call(w, op, request, request ? strlen(request) + 1 : 0, fd, ret);
}

/* That it answers, by a new worker if need be. */
static void check_answers(struct worker *w)
{
	struct text reply;

	if (CHECK_EQ(call(w, OP_ECHO, "hello", -1, &reply), 0))
		CHECK_STR(reply.str, "hello");
	text_free(&reply);
}

/* That no child of ours is there any more, dead or alive. */
static void check_no_children(void)
{
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

TEST(answers)
{
	struct text reply;
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	check_answers(w);
	CHECK_EQ(call(w, OP_ECHO, NULL, -1, &reply), 0);
	CHECK_EQ(reply.len, 0);
	text_free(&reply);
	CHECK_EQ(call(w, OP_NONE, "x", -1, &reply), -ENOSYS);
	text_free(&reply);
	CHECK_EQ(call(w, OPS, "x", -1, &reply), -E2BIG);
	check_answers(w);
	CHECK_EQ(worker_deaths(w), 0);
	worker_stop(w);
	check_no_children();
}

/* More than any buffer between the two, both ways. */
TEST(large)
{
	size_t len = 24 << 20;
	struct text reply = { 0 };
	char *bytes = malloc(len);
	struct worker *w;

	for (size_t i = 0; i < len; i++)
		bytes[i] = i * 7 + (i >> 12);
	if (CHECK_EQ(worker_start(&service, &w), 0)) {
		CHECK_EQ(worker_call(w, OP_ECHO, bytes, len, -1, &reply), 0);
		CHECK(reply.len == len && !memcmp(reply.str, bytes, len));
		text_free(&reply);
		check_answers(w);
		worker_stop(w);
	}
	free(bytes);
}

TEST(files)
{
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC), pipes[2];
	struct text reply;
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	/* more often than the worker may have descriptors: it closes them */
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(call(w, OP_FILE, "x", fd, &reply), 0);
		text_free(&reply);
	}
	CHECK_EQ(call(w, OP_FILE, "x", -1, &reply), -EBADF);
	text_free(&reply);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	CHECK_EQ(call(w, OP_FILE, "x", pipes[0], &reply), -ESPIPE);
	text_free(&reply);
	/* still ours */
	CHECK(fcntl(fd, F_GETFD) >= 0 && fcntl(pipes[0], F_GETFD) >= 0);
	CHECK_EQ(worker_deaths(w), 0);
	worker_stop(w);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}

/* Our only child. */
static pid_t child_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

struct deaths {
	int cnt;
	char text[512];
};

static void on_death(void *ctx, const struct worker_death *d)
{
	struct deaths *deaths = ctx;

	deaths->cnt++;
	snprintf(deaths->text, sizeof(deaths->text), "%s %s %s", d->op ? d->op : "-", d->file ? d->file : "-", d->how);
}

/* Whatever a handler does, its request fails and the next one does not. */
TEST(bad_handlers)
{
	char path[] = "/tmp/ebb-worker-XXXXXX";
	int fd = mkstemp(path), ro = open(path, O_RDONLY | O_CLOEXEC);
	struct text reply;
	struct worker *w;
	uint64_t deaths = 0;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		int err = call(w, OP_BAD, bads[i], strcmp(bads[i], "write_file") ? ro : fd, &reply);
		bool died = worker_deaths(w) == deaths + 1;

		if (!CHECK(died ? err == -EPIPE : i >= BADS_DEADLY && err < 0 && err > -4096))
			fprintf(stderr, "\t%s: %d, %s\n", bads[i], err, died ? "died" : "lives");
		deaths = worker_deaths(w);
		text_free(&reply);
		check_answers(w);
	}
	worker_stop(w);
	check_no_children();
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	close(fd);
	close(ro);
	unlink(path);
}

TEST(deaths_are_told)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char path[400], want[sizeof(path) + 32];
	struct deaths deaths = { 0 };
	struct text reply;
	struct worker *w;
	ssize_t len;

	if (!CHECK_EQ(worker_start(&hasty, &w), 0))
		return;
	worker_on_death(w, on_death, &deaths);
	CHECK_EQ(call(w, OP_BAD, "segv", fd, &reply), -EPIPE);
	len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	snprintf(want, sizeof(want), "bad %s crashed (SIGSEGV)", path);
	CHECK_STR(deaths.text, want);
	CHECK_EQ(call(w, OP_BAD, "socket", -1, &reply), -EPIPE);
	CHECK_STR(deaths.text, "bad - called the system as it may not and was ended");
	CHECK_EQ(call(w, OP_BAD, "hang", -1, &reply), -ETIME);
	CHECK_STR(deaths.text, "bad - took too long and was ended");
	CHECK_EQ(call(w, OP_STATE, "m", -1, &reply), -EPIPE);
	CHECK_STR(deaths.text, "state - took more memory than it may have");
	CHECK_EQ(deaths.cnt, 4);
	CHECK_EQ(worker_deaths(w), 4);
	check_answers(w);
	worker_stop(w);
	check_no_children();
	close(fd);
}

/* What was before a request must not make it fail: memory that is used up, and posts that kill. */
TEST(innocent_requests)
{
	struct deaths deaths = { 0 };
	struct text reply;
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	worker_on_death(w, on_death, &deaths);
	for (int i = 1; i <= 2; i++) {
		CHECK_EQ(call(w, OP_STATE, "", -1, &reply), 0);
		CHECK(reply.len == sizeof(int) && *(int *)reply.str == i);
		text_free(&reply);
	}
	CHECK_EQ(call(w, OP_STATE, "f", -1, &reply), 0);
	CHECK(reply.len == sizeof(int) && *(int *)reply.str == 1);
	text_free(&reply);
	CHECK_EQ(deaths.cnt, 1);
	CHECK(deaths.text[0] == '-');

	CHECK_EQ(worker_post(w, OP_STATE, "", 1, -1), 0);
	CHECK_EQ(worker_post(w, OP_STATE, "x", 1, -1), 0);
	CHECK_EQ(call(w, OP_STATE, "", -1, &reply), 0);
	CHECK(reply.len == sizeof(int) && *(int *)reply.str == 1);
	text_free(&reply);
	CHECK_EQ(deaths.cnt, 2);
	CHECK(deaths.text[0] == '-');
	/* and it does not go on for ever */
	CHECK_EQ(worker_post(w, OP_STATE, "x", 1, -1), 0);
	CHECK_EQ(call(w, OP_STATE, "x", -1, &reply), -EPIPE);
	CHECK_EQ(deaths.cnt, 4);
	CHECK(deaths.text[0] == 's');
	worker_stop(w);
	check_no_children();
}

/* One that somebody kills while it has nothing to do is made again, and no request fails. */
TEST(killed_from_outside)
{
	struct deaths deaths = { 0 };
	struct worker *w;
	int status;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	worker_on_death(w, on_death, &deaths);
	for (int i = 1; i <= 2; i++) {
		pid_t pid = child_pid();
		siginfo_t info;

		check_answers(w);
		kill(pid, SIGKILL);
		CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
		if (i == 1)
			check_answers(w);
		else
			CHECK_EQ(worker_post(w, OP_ECHO, "x", 1, -1), 0);
		check_answers(w);
		CHECK_EQ(worker_deaths(w), i);
		CHECK_STR(deaths.text, "- - was ended");
	}
	/* and one that was reaped by somebody else */
	kill(child_pid(), SIGKILL);
	waitpid(-1, &status, 0);
	check_answers(w);
	worker_stop(w);
	check_no_children();
}

static int kills_left;

static void kill_worker(void *ctx)
{
	(void)ctx;
	if (kills_left-- > 0)
		kill(child_pid(), SIGKILL);
}

/* And in the middle of a request, which is asked once more, but not for ever: it may be why the system wants its memory. */
TEST(killed_while_it_works)
{
	struct deaths deaths = { 0 };
	struct text reply = { 0 };
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	worker_on_death(w, on_death, &deaths);
	worker_set_pump(w, -1, kill_worker, NULL);
	kills_left = 1;
	CHECK_EQ(call(w, OP_BAD, "slow", -1, &reply), 0);
	CHECK_EQ(worker_deaths(w), 1);
	CHECK_STR(deaths.text, "- - was ended");
	text_free(&reply);
	kills_left = 2;
	CHECK_EQ(call(w, OP_BAD, "slow", -1, &reply), -EPIPE);
	CHECK_EQ(worker_deaths(w), 3);
	CHECK_STR(deaths.text, "bad - was ended");
	check_answers(w);
	worker_stop(w);
	check_no_children();
}

/* What is asked by a key is asked once, whatever came of it. */
TEST(remembered)
{
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	struct text reply = { 0 };
	struct worker *w;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	for (int i = 0; i < 6; i++) {
		/* the key decides, and the op */
		CHECK_EQ(worker_ask(w, OP_STATE, i / 2, -1, &reply), 0);
		CHECK(reply.len == sizeof(int) && *(int *)reply.str == i / 2 + 1);
		text_free(&reply);
		CHECK_EQ(worker_ask(w, OP_FILE, 1, i ? -1 : fd, &reply), 0);
		CHECK(reply.len > 1);
		text_free(&reply);
		CHECK_EQ(worker_ask(w, OP_FILE, 2, -1, &reply), -EBADF);	/* no word on the file: asked again */
		text_free(&reply);
		CHECK_EQ(worker_ask(w, OP_DIE, 7, -1, &reply), -EPIPE);
		CHECK_EQ(worker_deaths(w), 1);
		text_free(&reply);
		if (!i) {	/* what it counts begins anew */
			CHECK_EQ(worker_ask(w, OP_STATE, 100, -1, &reply), 0);
			text_free(&reply);
		}
	}
	worker_stop(w);
	close(fd);
}

/* Answers are forgotten when there are too many, and never wrong. */
TEST(memo)
{
	struct memo *m = memo_new(100000);
	struct text answer = { 0 }, got = { 0 };
	size_t remembered = 0;
	int err = 0;

	for (int i = 0; i < 5000; i++) {
		text_clear(&answer);
		text_printf(&answer, "answer %d", i);
		memo_put(m, &i, sizeof(i), -i, &answer);
		for (int n = i; n >= 0 && n > i - 3; n--) {
			if (!memo_get(m, &n, sizeof(n), &err, &got))
				continue;
			remembered++;
			text_clear(&answer);
			text_printf(&answer, "answer %d", n);
			CHECK_STR(got.str, answer.str);
			CHECK_EQ(err, -n);
			text_free(&got);
		}
	}
	CHECK(remembered > 14000);
	err = 0;
	CHECK(!memo_get(m, &err, sizeof(err), &err, &got));	/* the first of all */
	text_clear(&answer);
	while (answer.len < 50000)
		text_add(&answer, "too long");
	err = -1;
	memo_put(m, &err, sizeof(err), 0, &answer);
	CHECK(!memo_get(m, &err, sizeof(err), &err, &got));
	text_free(&answer);
	memo_free(m);
}

/* Posts are handled, in their order, and never waited for. */
TEST(posts)
{
	struct text reply;
	struct worker *w;
	int cnt = 0, err = 0;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	for (int i = 0; i < 5; i++)
		CHECK_EQ(worker_post(w, OP_STATE, "", 1, -1), 0);
	CHECK_EQ(call(w, OP_STATE, "", -1, &reply), 0);
	CHECK(reply.len == sizeof(int) && *(int *)reply.str == 6);
	text_free(&reply);
	/* one that hangs, and no room for all behind it */
	CHECK_EQ(worker_post(w, OP_BAD, "hang", 5, -1), 0);
	while (!err && cnt++ < 100000)
		err = worker_post(w, OP_STATE, "", 1, -1);
	CHECK_EQ(err, -EAGAIN);
	worker_stop(w);
	check_no_children();
}

struct pumping {
	struct worker *w;
	int fd;
	int cnt, nested;
};

static void on_pump(void *ctx)
{
	struct pumping *p = ctx;
	struct text reply = { 0 };
	uint64_t ticks;

	p->cnt += read(p->fd, &ticks, sizeof(ticks)) == sizeof(ticks);
	CHECK(worker_is_busy(p->w));
	p->nested = call(p->w, OP_ECHO, "x", -1, &reply);
	CHECK_EQ(worker_post(p->w, OP_ECHO, "x", 1, -1), -EBUSY);
}

/* While a handler hangs the pump is served whenever there is something for it. */
TEST(pump)
{
	const struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };
	struct pumping p = { .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) };
	struct text reply;

	if (!CHECK_EQ(worker_start(&hasty, &p.w), 0))
		return;
	CHECK_EQ(timerfd_settime(p.fd, 0, &often, NULL), 0);
	worker_set_pump(p.w, p.fd, on_pump, &p);
	CHECK_EQ(call(p.w, OP_BAD, "hang", -1, &reply), -ETIME);
	CHECK(p.cnt > 2);	/* the time-out alone would call it twice */
	CHECK_EQ(p.nested, -EBUSY);
	worker_set_pump(p.w, -1, NULL, NULL);
	p.cnt = 0;
	check_answers(p.w);
	CHECK_EQ(p.cnt, 0);
	worker_stop(p.w);
	close(p.fd);
}

/* Neither descriptors nor shared memory of the parent; the limit of descriptors counts those that are sent. */
TEST(inherits_nothing)
{
	int extra = open("/proc/self/comm", O_RDONLY), kept = open("/proc/self/comm", O_RDONLY);
	struct worker_service keeps = service;
	struct text reply;
	struct worker *w;
	struct status s = { 0 };

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (CHECK_EQ(worker_start(&service, &w), 0)) {
		CHECK_EQ(call(w, OP_STATUS, "x", -1, &reply), 0);
		if (CHECK_EQ(reply.len, sizeof(s)))
			memcpy(&s, reply.str, sizeof(s));
		CHECK_EQ(s.fds_cnt, 3);
		CHECK(!s.reads_page);
		text_free(&reply);
		worker_stop(w);
	}
	keeps.fds = &kept;
	keeps.fds_cnt = 1;
	keeps.ctx = NULL;
	if (CHECK_EQ(worker_start(&keeps, &w), 0)) {
		CHECK_EQ(call(w, OP_STATUS, "x", -1, &reply), 0);
		if (CHECK_EQ(reply.len, sizeof(s)))
			memcpy(&s, reply.str, sizeof(s));
		CHECK_EQ(s.fds_cnt, 4);
		text_free(&reply);
		worker_stop(w);
	}
	munmap(page, 4096);
	close(extra);
	close(kept);
}

/* A line of /proc/PID/status, as a number in its base; -1. */
static long long status_number(pid_t pid, const char *key, int base)
{
	char path[64], line[256];
	long long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			n = strtoll(line + strlen(key) + 1, NULL, base);
	if (f)
		fclose(f);
	return n;
}

TEST(privileges)
{
	struct worker *w;
	pid_t pid;

	if (!CHECK_EQ(worker_start(&service, &w), 0))
		return;
	check_answers(w);
	pid = child_pid();
	CHECK(pid > 0);
	CHECK_EQ(status_number(pid, "CapEff", 16), 0);
	CHECK_EQ(status_number(pid, "CapPrm", 16), 0);
	CHECK_EQ(status_number(pid, "CapInh", 16), 0);
	CHECK_EQ(status_number(pid, "CapAmb", 16), 0);
	CHECK_EQ(status_number(pid, "NoNewPrivs", 10), 1);
	CHECK_EQ(status_number(pid, "Seccomp", 10), 2);
	if (!getuid()) {
		CHECK_EQ(status_number(pid, "Uid", 10), 65534);
		CHECK_EQ(status_number(pid, "Gid", 10), 65534);
		CHECK_EQ(status_number(pid, "CapBnd", 16), 0);
	} else {
		CHECK_EQ(status_number(pid, "Uid", 10), getuid());
	}
	CHECK(getpgid(pid) == pid);
	worker_stop(w);
	CHECK(kill(pid, 0) && errno == ESRCH);
}

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED	true
#else
#define SANITIZED	false
#endif

/* A parser that takes all it gets: it ends, and the next one has its share again. */
TEST(memory)
{
	struct worker_service small = service;
	size_t ballast_len = 96 << 20;
	char *ballast = malloc(ballast_len);
	struct text reply, large = { 0 };
	struct worker *w = NULL;

	if (SANITIZED) {
		free(ballast);
		TEST_SKIP("sanitizers need all memory: see e2e/worker.sh");
	}
	memset(ballast, 1, ballast_len);	/* what the parent has does not count */
	small.data_bytes = 64 << 20;
	if (CHECK_EQ(worker_start(&small, &w), 0)) {
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(call(w, OP_MEMORY, "x", -1, &reply), -EPIPE);
			/* one that has served before is given a second chance */
			CHECK_EQ(worker_deaths(w), 1 + 2 * i);
			check_answers(w);
		}
		CHECK_EQ(worker_call(w, OP_ECHO, ballast, 16 << 20, -1, &large), 0);
		CHECK_EQ(large.len, 16 << 20);
		text_free(&large);
		CHECK_EQ(worker_call(w, OP_ECHO, ballast, ballast_len, -1, &large), -EPIPE);
		check_answers(w);
		worker_stop(w);
	}
	free(ballast);
	check_no_children();
}

/* Nothing is left when the parent is killed with its worker busy. */
TEST(ends_with_parent)
{
	int fds[2];
	char byte;
	pid_t pid;

	CHECK_EQ(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		struct text reply = { 0 };
		struct worker *w;
		pid_t child;

		close(fds[0]);
		if (worker_start(&service, &w))
			_exit(1);
		worker_post(w, OP_BAD, "hang", 5, -1);
		child = child_pid();
		if (write(fds[1], &child, sizeof(child)) != sizeof(child))
			_exit(1);
		call(w, OP_ECHO, "x", -1, &reply);
		_exit(1);
	}
	close(fds[1]);
	/* the worker has the other end no longer, so what ends here is the parent's */
	if (CHECK(pid > 0)) {
		pid_t child = 0;

		CHECK_EQ(read(fds[0], &child, sizeof(child)), sizeof(child));
		CHECK(child > 0 && !kill(child, 0));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		CHECK_EQ(read(fds[0], &byte, 1), 0);
		for (int i = 0; i < 1000 && status_number(child, "Seccomp", 10) == 2; i++)
			usleep(10000);
		CHECK(status_number(child, "Seccomp", 10) != 2);
	}
	close(fds[0]);
}

/* A parent that has gone before the child could ask for its end. */
TEST(late_for_parent)
{
	const struct sandbox s = { .parent = getppid() };
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(sandbox_enter(&s) == -ESRCH ? 7 : 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void *no_state(void)
{
	return NULL;
}

/* A sandbox, or a state, that cannot be made is an error of the start. */
TEST(bad_start)
{
	static const struct worker_op bad_ops[1] = { { .name = "bad", .handle = handle_echo, .open = no_state } };
	const struct worker_service bad = { .ops = bad_ops, .ops_cnt = 1, .time_ms = 30000 };
	const struct worker_service many = { .ops = ops, .ops_cnt = WORKER_OPS_MAX + 1, .time_ms = 30000 };
	struct worker *w = NULL;

	CHECK_EQ(worker_start(&bad, &w), -ENOMEM);
	CHECK_EQ(worker_start(&many, &w), -E2BIG);
	CHECK(!w);
	check_no_children();
}

TEST_MAIN(TEST_CASE(answers), TEST_CASE(large), TEST_CASE(files), TEST_CASE(bad_handlers),
	  TEST_CASE(deaths_are_told), TEST_CASE(innocent_requests), TEST_CASE(killed_from_outside), TEST_CASE(killed_while_it_works), TEST_CASE(remembered),
	  TEST_CASE(memo), TEST_CASE(posts),
	  TEST_CASE(pump), TEST_CASE(inherits_nothing), TEST_CASE(privileges), TEST_CASE(memory),
	  TEST_CASE(ends_with_parent), TEST_CASE(late_for_parent), TEST_CASE(bad_start))
