/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of malloc that never return. With a library's malloc that is undefined behaviour, so this
 * program brings an allocator of its own (nothing is ever reused), in which it is not:
 *
 *	mortal_die	a thread ends inside malloc, by the system call itself
 *	mortal_jump	malloc leaves by longjmp
 *	mortal_keep	100 blocks of 100 bytes, ordinary ones, after each of these
 *
 * Prints `ready PID`; at a line does each 100 times, prints `SITE BYTES BLOCKS` and `done`, and holds
 * everything until the next line.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "line.h"

#define ARENA_BYTES (64ul << 20)

enum way { WAY_RETURN, WAY_DIE, WAY_JUMP };

static __thread enum way way;
static __thread jmp_buf *jump;
static char arena[ARENA_BYTES] __attribute__((aligned(64)));
static size_t arena_used;

__attribute__((noinline)) void *malloc(size_t size)
{
	size_t room = ((size + 15) & ~15ul) + 16;
	size_t at = __atomic_fetch_add(&arena_used, room, __ATOMIC_RELAXED);

	if (at + room > ARENA_BYTES)
		return NULL;
	if (way == WAY_DIE)
		syscall(SYS_exit, 0);
	if (way == WAY_JUMP)
		longjmp(*jump, 1);
	memcpy(arena + at, &size, sizeof(size));
	return arena + at + 16;
}

__attribute__((noinline)) void free(void *p)
{
	__asm__ volatile("" :: "r"(p) : "memory");
}

__attribute__((noinline)) void *calloc(size_t cnt, size_t size)
{
	void *p = malloc(cnt * size);	/* the arena is zero from the start */

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

__attribute__((noinline)) void *realloc(void *old, size_t size)
{
	void *p = malloc(size);
	size_t old_size = 0;

	if (p && old) {
		memcpy(&old_size, (char *)old - 16, sizeof(old_size));
		memcpy(p, old, old_size < size ? old_size : size);
		free(old);
	}
	return p;
}

static void *die_main(void *arg)
{
	void *p;

	way = WAY_DIE;
	p = malloc(10);
	__asm__ volatile("" : "+r"(p) :: "memory");
	return arg;
}

__attribute__((noinline)) void mortal_die(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, die_main, NULL))
		_exit(1);
	pthread_join(t, NULL);	/* the kernel clears the thread's id, whichever way it went */
}

__attribute__((noinline)) void mortal_jump(void)
{
	jmp_buf here;
	void *p;

	jump = &here;
	if (!setjmp(here)) {
		way = WAY_JUMP;
		p = malloc(20);
		__asm__ volatile("" : "+r"(p) :: "memory");
		_exit(1);
	}
	way = WAY_RETURN;
}

__attribute__((noinline)) void *mortal_keep(void)
{
	void *p = malloc(100);

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

int main(void)
{
	line_say("ready %d", getpid());
	line_wait();
	for (int i = 0; i < 100; i++) {
		mortal_die();
		mortal_keep();
		mortal_jump();
		mortal_keep();
	}
	line_say("mortal_jump 0 0");
	line_say("die_main 0 0");
	line_say("mortal_keep 20000 200");
	line_say("done");
	line_wait();
	return 0;
}
