/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Touches pages, one kind of memory a command and a function, and says what the kernel has counted meanwhile. A line of
 * standard input is `WHAT N`; the answer is `did WHAT N MINFLT MAJFLT`, the last two by getrusage() around the touching alone.
 *
 *	heap, arena, anon, stack, private, shared, shmem, memfd, jit	N pages are written to first, in touch_WHAT
 *	zero		anonymous ones are only read, then written to: touch_zero, touch_zeroed
 *	cow		N pages of a parent, after fork
 *	read		read() into N new pages: faults that the kernel has itself
 *	populate	MAP_POPULATE
 *	huge		N huge pages of madvise()
 *	major		N pages of a file that is not in the page cache
 *	segv		N accesses where nothing is mapped, which a handler skips
 *	cycle		the heap grows by 100 pages and shrinks again, N times
 *	many		N mappings of one page each, which are not merged: touch_many
 *	child		a child touches N pages in touch_child; MINFLT is the child's
 *	exec		executes itself again
 *
 * toucher DIRECTORY: for its files.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "line.h"

#define PAGE	4096l
#define HUGE	(2l << 20)
#define STAY(p) __asm__ volatile("" : "+r"(p) :: "memory")

static const char *dir;
static long minflt, majflt;	/* of the last touch */

static void fail(const char *what)
{
	line_say("wrong: %s", what);
	_exit(1);
}

/* In each function itself, so that it is the innermost frame: the counts of the kernel around the touching. */
#define COUNTED(touch) do { \
	struct rusage before, after; \
	getrusage(RUSAGE_THREAD, &before); \
	touch; \
	getrusage(RUSAGE_THREAD, &after); \
	minflt = after.ru_minflt - before.ru_minflt; \
	majflt = after.ru_majflt - before.ru_majflt; \
} while (0)

#define WRITE(p, n, step) COUNTED(for (long i_ = 0; i_ < (n); i_++) ((volatile char *)(p))[i_ * (step)] = 1)
#define READ(p, n, step) COUNTED(for (long i_ = 0; i_ < (n); i_++) (void)((volatile char *)(p))[i_ * (step)])

#define TOUCH(what) __attribute__((noinline)) static void touch_##what(char *p, long n) { WRITE(p, n, PAGE); }
TOUCH(heap) TOUCH(arena) TOUCH(anon) TOUCH(stack) TOUCH(private) TOUCH(shared) TOUCH(shmem) TOUCH(memfd) TOUCH(jit)
TOUCH(zeroed) TOUCH(many) TOUCH(cow) TOUCH(child) TOUCH(cycle)

__attribute__((noinline)) static void touch_zero(char *p, long n) { READ(p, n, PAGE); }
__attribute__((noinline)) static void touch_major(char *p, long n) { READ(p, n, PAGE); }
__attribute__((noinline)) static void touch_huge(char *p, long n) { WRITE(p, n * (HUGE / PAGE), PAGE); }

static char *map(long n, int prot, int flags, int fd)
{
	char *p = mmap(NULL, n * PAGE, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	/* a huge page would take 512 pages at once */
	if (flags & MAP_ANONYMOUS)
		madvise(p, n * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static char *anon(long n)
{
	return map(n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static int file(const char *name, long n, int cold)
{
	static char page[PAGE];
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	memset(page, 'x', sizeof(page));
	for (long i = 0; i < n; i++)
		if (fd < 0 || write(fd, page, PAGE) != PAGE)
			fail(path);
	if (cold && (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)))
		fail("dropping the cache");
	return fd;
}

static void of_file(const char *name, long n, int flags, void (*touch)(char *p, long n))
{
	int fd = file(name, n, 0);
	char *p = map(n, PROT_READ | PROT_WRITE, flags, fd);

	touch(p, n);
	munmap(p, n * PAGE);
	close(fd);
}

static void *in_arena(void *arg)
{
	char *p = malloc((long)arg * PAGE + PAGE);

	STAY(p);
	touch_arena((char *)(((unsigned long)p + 2 * PAGE - 1) & -PAGE), (long)arg);
	return NULL;
}

static void *on_stack(void *arg)
{
	char *pages = __builtin_alloca(((long)arg + 1) * PAGE);
	char *p = (char *)(((unsigned long)pages + PAGE - 1) & -PAGE);

	STAY(p);
	touch_stack(p, (long)arg);
	return NULL;
}

static void in_thread(void *(*fn)(void *), long n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16l << 20);
	if (pthread_create(&t, &attr, fn, (void *)n) || pthread_join(t, NULL))
		fail("thread");
}

static void cow(long n)
{
	char *p = anon(n);
	pid_t child;
	int go[2];

	memset(p, 1, n * PAGE);
	if (pipe(go))
		fail("pipe");
	child = fork();
	if (!child) {
		close(go[1]);
		_exit(read(go[0], go, 1) != 0);
	}
	touch_cow(p, n);
	close(go[1]);
	waitpid(child, NULL, 0);
	close(go[0]);
	munmap(p, n * PAGE);
}

static void child(long n)
{
	int answer[2];
	pid_t pid;

	if (pipe(answer))
		fail("pipe");
	pid = fork();
	if (!pid) {
		touch_child(anon(n), n);
		_exit(write(answer[1], &minflt, sizeof(minflt)) != sizeof(minflt));
	}
	if (read(answer[0], &minflt, sizeof(minflt)) != sizeof(minflt))
		fail("child");
	waitpid(pid, NULL, 0);
	close(answer[0]);
	close(answer[1]);
}

static sigjmp_buf skipped;

static void on_segv(int sig)
{
	siglongjmp(skipped, sig);
}

/* On a stack that is there already, for each access a fault. */
__attribute__((noinline)) static void touch_nothing(long n)
{
	char *p = anon(n);
	volatile long i = 0;

	munmap(p, n * PAGE);
	signal(SIGSEGV, on_segv);
	sigsetjmp(skipped, 1);
	while (i < n)
		((volatile char *)p)[i++ * PAGE] = 1;
	signal(SIGSEGV, SIG_DFL);
}

static void read_into(long n)
{
	char *p = anon(n);
	int fd = open("/dev/zero", O_RDONLY);

	COUNTED(if (read(fd, p, n * PAGE) != n * PAGE) fail("read"));
	close(fd);
}

static void cycle(long n)
{
	for (long i = 0; i < n; i++) {
		char *p = malloc(100 * PAGE);

		STAY(p);
		touch_cycle(p, 100);
		free(p);
		malloc_trim(0);
	}
}

static void huge(long n)
{
	char *p = mmap(NULL, (n + 1) * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	p = (char *)(((unsigned long)p + HUGE - 1) & -HUGE);
	madvise(p, n * HUGE, MADV_HUGEPAGE);
	touch_huge(p, n);
}

static void heap(long n)
{
	char *p = malloc((n + 1) * PAGE);

	STAY(p);
	touch_heap((char *)(((unsigned long)p + PAGE - 1) & -PAGE), n);
}

static void memfd(long n)
{
	int fd = memfd_create("toucher", 0);

	if (fd < 0 || ftruncate(fd, n * PAGE))
		fail("memfd");
	touch_memfd(map(n, PROT_READ | PROT_WRITE, MAP_SHARED, fd), n);
}

static void major(long n)
{
	int fd = file("cold", n, 1);
	char *p = map(n, PROT_READ, MAP_SHARED, fd);

	madvise(p, n * PAGE, MADV_RANDOM);
	touch_major(p, n);
	munmap(p, n * PAGE);
	close(fd);
}

static void zero(long n)
{
	char *p = anon(n);

	touch_zero(p, n);
	touch_zeroed(p, n);
}

static void populate(long n)
{
	char *p;

	COUNTED(p = map(n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1));
	STAY(p);
}

/* Each is a file of its own to the kernel. */
static void many(long n)
{
	for (long i = 0; i < n; i++)
		touch_many(map(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1), 1);
}

static void jit(long n)
{
	touch_jit(map(n, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1), n);
}

static void anonymous(long n) { touch_anon(anon(n), n); }
static void shmem(long n) { touch_shmem(map(n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1), n); }
static void arena(long n) { in_thread(in_arena, n); }
static void stack(long n) { in_thread(on_stack, n); }
static void file_private(long n) { of_file("private", n, MAP_PRIVATE, touch_private); }
static void file_shared(long n) { of_file("shared", n, MAP_SHARED, touch_shared); }

static const struct {
	const char *what;
	void (*fn)(long n);
} orders[] = {
	{ "heap", heap }, { "arena", arena }, { "anon", anonymous }, { "stack", stack }, { "private", file_private },
	{ "shared", file_shared }, { "shmem", shmem }, { "memfd", memfd }, { "jit", jit }, { "zero", zero }, { "cow", cow },
	{ "read", read_into }, { "populate", populate }, { "huge", huge }, { "major", major }, { "segv", touch_nothing },
	{ "cycle", cycle }, { "many", many }, { "child", child },
};

static void do_one(const char *what, long n)
{
	minflt = majflt = 0;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(what, orders[i].what))
			continue;
		orders[i].fn(n);
		return;
	}
	fail(what);
}

int main(int argc, char **argv)
{
	char line[128], what[32];
	long n;

	if (argc != 2)
		fail("toucher DIRECTORY");
	dir = argv[1];
	mallopt(M_MMAP_THRESHOLD, 1 << 30);	/* all from the heap */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);	/* but for malloc_trim() */
	line_say("ready %d", (int)getpid());
	while (line_read(line, sizeof(line))) {
		if (sscanf(line, "%31s %ld", what, &n) != 2)
			fail(line);
		if (!strcmp(what, "exec")) {
			execv("/proc/self/exe", argv);
			fail("exec");
		}
		do_one(what, n);
		line_say("did %s %ld %ld %ld", what, n, minflt, majflt);
	}
	return 0;
}
