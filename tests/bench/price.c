/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this host takes for the things that tracing consists of. Printed before everything else: hosts differ
 * tenfold, so a figure without the price of a trap beside it says little.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "source/loader.h"
#include "trace/selftest.h"

#define PAGES	4096
#define CALLS	20000
#define ROUNDS	9

static int page_fault_ns(double *ret_ns)
{
	size_t page = sysconf(_SC_PAGESIZE);
	double ns[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		char *mem = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		double start;

		if (mem == MAP_FAILED)
			return -errno;
		madvise(mem, PAGES * page, MADV_NOHUGEPAGE);
		start = cpu_ns();
		for (size_t p = 0; p < PAGES; p++)
			*(volatile char *)(mem + p * page) = 1;
		ns[i] = (cpu_ns() - start) / PAGES;
		munmap(mem, PAGES * page);
	}
	*ret_ns = median(ns, ROUNDS);
	return 0;
}

static double system_call_ns(void)
{
	double ns[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		double start = cpu_ns();

		for (int j = 0; j < CALLS; j++)
			syscall(SYS_getppid);
		ns[i] = (cpu_ns() - start) / CALLS;
	}
	return median(ns, ROUNDS);
}

int bench_price(void)
{
	double trap[ROUNDS], stepped[ROUNDS], returned[ROUNDS], fault_ns = 0;
	struct selftest st;
	int err = 0;

	loader_prepare();
	for (int i = 0; !err && i < ROUNDS; i++) {
		err = selftest_run(ATTACH_SESSION, false, &st);
		trap[i] = st.price.trap_ns;
		stepped[i] = st.price.stepped_ns;
		returned[i] = st.price.return_ns;
	}
	if (!err)
		err = page_fault_ns(&fault_ns);
	if (err) {
		fprintf(stderr, "price: %s\n", strerror(-err));
		return err;
	}
	printf("this host, attaching by %s, medians of %d: trap %.0f ns, stepped trap %.0f ns, return trap %.0f ns, page "
	       "fault %.0f ns, system call %.0f ns\n", attach_mode_name(st.mode), ROUNDS, median(trap, ROUNDS),
	       median(stepped, ROUNDS), median(returned, ROUNDS), fault_ns, system_call_ns());
	result("price.trap", median(trap, ROUNDS), 0, BAR_NONE, 0, "ns");
	result("price.stepped", median(stepped, ROUNDS), 0, BAR_NONE, 0, "ns");
	result("price.return", median(returned, ROUNDS), 0, BAR_NONE, 0, "ns");
	result("price.fault", fault_ns, 0, BAR_NONE, 0, "ns");
	result("price.syscall", system_call_ns(), 0, BAR_NONE, 0, "ns");
	return 0;
}
