/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "target/glibc_memory.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	(1ull << 63)
#define PAGEMAP_SWAPPED	(1ull << 62)

/* Measured with mem.walk of the benchmarks, on a busy machine: fewer and longer ones let the target wait longer, at the same cost. */
#define PAUSE_NS	20000
#define PAUSE_EVERY	(256u << 10)	/* bytes */

uint64_t heap_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* A wait for what nobody wakes: the sandbox, in which this runs, has no system call that only sleeps. */
static void pause_reading(struct heap_memory *m)
{
	const struct timespec ts = { .tv_nsec = m->pause_ns };
	uint32_t word = 0;

	m->paused_bytes = m->read_bytes;
	if (m->pause_ns)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0);
}

static ssize_t fds_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct heap_memory_fds *fds = ctx;
	ssize_t got = pread(fds->mem_fd, buf, len, (off_t)addr);

	if (got < 0)	/* the file says EIO for a page that is not there */
		return errno == EIO ? -EFAULT : -errno;
	return !got && len ? -ESRCH : got;
}

static ssize_t fds_pages(void *ctx, uint64_t addr, uint64_t *ret_words, size_t cnt)
{
	const struct heap_memory_fds *fds = ctx;
	uint64_t page_bytes = sysconf(_SC_PAGESIZE);
	ssize_t got = pread(fds->pagemap_fd, ret_words, cnt * sizeof(*ret_words), addr / page_bytes * sizeof(*ret_words));

	return got < 0 ? -errno : got / (ssize_t)sizeof(*ret_words);
}

void heap_memory_init(struct heap_memory *ret, struct heap_memory_fds *fds, uint32_t time_ms)
{
	memset(ret, 0, sizeof(*ret));
	ret->read = fds_read;
	ret->pages = fds_pages;
	ret->ctx = fds;
	ret->page_bytes = sysconf(_SC_PAGESIZE);
	ret->pause_ns = PAUSE_NS;
	ret->until_ns = heap_now_ns() + time_ms * 1000000ull;
}

static bool is_over(const struct heap_memory *m)
{
	return m->until_ns && heap_now_ns() > m->until_ns;
}

/* Nothing lies beyond what the machine can address, and sums of what is below do not overflow. */
static bool is_address(uint64_t addr, size_t len)
{
	return addr < 1ull << 56 && len < 1ull << 30;
}

static int read_all(struct heap_memory *m, uint64_t addr, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t got = m->read(m->ctx, addr + at, (char *)buf + at, len - at);

		if (got <= 0)
			return got < 0 ? (int)got : -EFAULT;
		at += got;
		m->read_bytes += got;
	}
	return 0;
}

int heap_memory_get(struct heap_memory *m, uint64_t addr, void *buf, size_t len)
{
	uint64_t first = addr & -m->page_bytes, words[4];
	size_t cnt = (addr + len - first + m->page_bytes - 1) / m->page_bytes;
	ssize_t got;

	if (!is_address(addr, len) || cnt > sizeof(words) / sizeof(words[0]))
		return -EFAULT;
	if (is_over(m))
		return -ETIME;
	got = m->pages(m->ctx, first, words, cnt);
	if (got < 0)
		return got;
	for (size_t i = 0; i < cnt; i++)
		if (i >= (size_t)got || !(words[i] & PAGEMAP_PRESENT))
			return -ENODATA;
	return read_all(m, addr, buf, len);
}

void heap_memory_forget(struct heap_memory *m)
{
	m->has_step = false;
}

int heap_memory_step(struct heap_memory *m, uint64_t addr)
{
	uint64_t start = addr & -HEAP_STEP_BYTES;
	size_t cnt = HEAP_STEP_BYTES / m->page_bytes;
	ssize_t got;

	if (m->has_step && m->step_start == start)
		return 0;
	if (!is_address(addr, 0))
		return -EFAULT;
	if (is_over(m))
		return -ETIME;
	m->has_step = false;
	got = m->pages(m->ctx, start, m->words, cnt);
	if (got < 0)
		return got;
	memset(m->words + got, 0, (cnt - got) * sizeof(*m->words));
	m->step_start = start;
	m->has_step = true;
	pause_reading(m);
	return 0;
}

enum heap_page heap_memory_page(const struct heap_memory *m, uint64_t addr)
{
	uint64_t word = m->words[(addr - m->step_start) / m->page_bytes];

	return word & PAGEMAP_PRESENT ? HEAP_PAGE_RESIDENT : word & PAGEMAP_SWAPPED ? HEAP_PAGE_SWAPPED : HEAP_PAGE_NONE;
}

int heap_memory_run(struct heap_memory *m, uint64_t addr, void *buf, size_t max, size_t *ret)
{
	uint64_t start = addr & -m->page_bytes, end = start;
	ssize_t got;
	int err = heap_memory_step(m, addr);

	if (err)
		return err;
	while (end < m->step_start + HEAP_STEP_BYTES && end - start + m->page_bytes <= max &&
	       heap_memory_page(m, end) == HEAP_PAGE_RESIDENT)
		end += m->page_bytes;
	*ret = end - start;
	if (start == end)
		return 0;
	got = m->read(m->ctx, start, buf, end - start);
	if (got < 0)
		return got;
	m->read_bytes += got;
	if (m->read_bytes - m->paused_bytes >= PAUSE_EVERY)
		pause_reading(m);
	*ret = got & -m->page_bytes;	/* it ends early where something was unmapped meanwhile */
	return *ret ? 0 : -EFAULT;
}
