/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading a heap without making a page of it present. Inside the layer.
 *
 * A read of an untouched page would map one, and one of a page that is swapped out would bring it back: so pagemap is
 * asked first, in steps of 8 MiB.
 *
 * The kernel takes the lock of the address space for each page that is read, some 1 us, and for 2 MiB of page tables. That
 * is not long; but a reader that comes again and again is let in before a writer that waits (mmap(), munmap(), brk() of the
 * target), for up to 4 ms. So there is a pause after each step, and after some that was read.
 */
#ifndef TARGET_GLIBC_MEMORY_H
#define TARGET_GLIBC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HEAP_STEP_BYTES	(8ull << 20)
#define HEAP_STEP_PAGES	2048		/* of 4 KiB; pages are never smaller */

struct heap_memory {
	/* As pread() on /proc/PID/mem, and on /proc/PID/pagemap with cnt words from the page at addr; a negative errno. */
	ssize_t (*read)(void *ctx, uint64_t addr, void *buf, size_t len);
	ssize_t (*pages)(void *ctx, uint64_t addr, uint64_t *ret_words, size_t cnt);
	void *ctx;
	uint64_t page_bytes;
	uint64_t pause_ns;
	uint64_t until_ns;		/* CLOCK_MONOTONIC: then all reads are -ETIME; 0 = never */
	uint64_t read_bytes;		/* all together */
	uint64_t paused_bytes;		/* of them before the last pause */
	/* The step that was read last. */
	bool has_step;
	uint64_t step_start;
	uint64_t words[HEAP_STEP_PAGES];
};

enum heap_page { HEAP_PAGE_NONE, HEAP_PAGE_RESIDENT, HEAP_PAGE_SWAPPED };

/* On two descriptors that stay the caller's; `ret` borrows fds. */
struct heap_memory_fds {
	int mem_fd, pagemap_fd;
};
void heap_memory_init(struct heap_memory *ret, struct heap_memory_fds *fds, uint32_t time_ms);

/*
 * All len bytes, over a few pages, which are looked up now: 0; -ENODATA: one of them is not resident; -ESRCH, -ETIME …
 */
int heap_memory_get(struct heap_memory *m, uint64_t addr, void *buf, size_t len);

/* Reads the step that holds addr, if it is not the one that is there. */
int heap_memory_step(struct heap_memory *m, uint64_t addr);
void heap_memory_forget(struct heap_memory *m);
/* Of the page that holds addr, in the present step. */
enum heap_page heap_memory_page(const struct heap_memory *m, uint64_t addr);
/*
 * Resident bytes from addr on, one run, at most max of them and not beyond the step; 0: its page is not resident. Reads them
 * to buf, from the start of addr's page on. Fewer than that were read when *ret is less than the run: -EFAULT when none.
 */
int heap_memory_run(struct heap_memory *m, uint64_t addr, void *buf, size_t max, size_t *ret);

uint64_t heap_now_ns(void);

#endif
