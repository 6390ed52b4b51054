/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From nothing to many live blocks, as fast as two threads can: the worst case for a table that grows.
 *
 *	grow [BLOCKS]	4,194,304 of 16 to 64 bytes; grow_block is the function that asks for them
 *
 * Prints `ready PID`, starts at a line on standard input, prints `done BLOCKS BYTES` with everything
 * held, then obeys: `free` (all of it; prints `freed`), `quit`.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "line.h"

#define THREADS 2

static void **blocks;
static size_t blocks_cnt;
static unsigned long long bytes[THREADS];

__attribute__((noinline)) void *grow_block(size_t size)
{
	void *p = malloc(size);

	__asm__ volatile("" : "+r"(p) :: "memory");
	return p;
}

static void *grow_main(void *arg)
{
	size_t thread = (size_t)arg;

	for (size_t i = thread; i < blocks_cnt; i += THREADS) {
		size_t size = 16 + i * 7 % 49;

		blocks[i] = grow_block(size);
		bytes[thread] += size;
	}
	return NULL;
}

static void *free_main(void *arg)
{
	/* Each frees what the other one allocated. */
	for (size_t i = !arg; i < blocks_cnt; i += THREADS)
		free(blocks[i]);
	return NULL;
}

static void run(void *(*main_)(void *))
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, main_, (void *)i))
			_exit(1);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	char cmd[64];

	blocks_cnt = argc > 1 ? strtoul(argv[1], NULL, 10) : 4194304;
	blocks = mmap(NULL, blocks_cnt * sizeof(*blocks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (blocks == MAP_FAILED)
		return 1;
	line_say("ready %d", getpid());
	line_wait();
	run(grow_main);
	line_say("done %zu %llu", blocks_cnt, bytes[0] + bytes[1]);
	while (line_read(cmd, sizeof(cmd)) && strcmp(cmd, "quit")) {
		if (!strcmp(cmd, "free")) {
			run(free_main);
			line_say("freed");
		}
	}
	return 0;
}
