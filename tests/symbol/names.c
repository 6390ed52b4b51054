/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * names [-m] [-n] FILE < addresses
 *
 * What ebb says of addresses of an ELF file, one hexadecimal number a line, as the file sees them. A child maps the file as
 * the loader would, and stands still; it is asked about like any process, through the public interface of user/symbol and
 * the worker of ebb itself. A line for each function at an address, the innermost first, with tabs between:
 *
 *	address	known|place|guess	offset	source file or -	line or 0	name
 *
 * -m: names as they are in the file, mangled. -n: no inlined functions.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/parser.h"
#include "elf/image.h"
#include "symbol/symbol.h"
#include "target/target.h"

static uint64_t page_floor(uint64_t n)
{
	return n & ~(uint64_t)(getpagesize() - 1);
}

/* Maps the segments with code, each where it belongs beside the others. */
static int file_map(int fd, uint64_t *ret_bias)
{
	const struct image_segment *seg;
	uint64_t low = UINT64_MAX, high = 0;
	struct image *img;
	char *room = MAP_FAILED;
	size_t cnt;
	int err = image_open(fd, &img);

	if (err)
		return err;
	cnt = image_segments(img, &seg);
	for (size_t i = 0; i < cnt; i++) {
		low = seg[i].va < low ? page_floor(seg[i].va) : low;
		high = seg[i].va + seg[i].file_bytes > high ? seg[i].va + seg[i].file_bytes : high;
	}
	if (low < high)
		room = mmap(NULL, high - low, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	err = room == MAP_FAILED ? -ENOMEM : 0;
	for (size_t i = 0; !err && i < cnt; i++) {
		uint64_t slack = seg[i].va - page_floor(seg[i].va);

		if (seg[i].exec && mmap(room + (page_floor(seg[i].va) - low), seg[i].file_bytes + slack, PROT_READ | PROT_EXEC,
					MAP_PRIVATE | MAP_FIXED, fd, seg[i].off - slack) == MAP_FAILED)
			err = -errno;
	}
	*ret_bias = (uintptr_t)room - low;
	image_free(img);
	return err;
}

/* All numbers of standard input. */
static size_t queries_read(uint64_t bias, struct symbol_query **ret)
{
	struct symbol_query *list = NULL;
	size_t cnt = 0, size = 0;
	uint64_t va;

	while (scanf("%" SCNx64, &va) == 1) {
		if (cnt == size) {
			size = size ? size * 2 : 1024;
			list = realloc(list, size * sizeof(*list));
			if (!list)
				abort();
		}
		list[cnt++] = (struct symbol_query){ .addr = va + bias };
	}
	*ret = list;
	return cnt;
}

struct answers {
	const struct symbol_query *queries;
	uint64_t bias;
};

static int on_list(void *ctx, size_t i, const struct symbol_list *list)
{
	const struct answers *a = ctx;

	for (uint32_t k = 0; k < list->cnt; k++) {
		const struct symbol *s = &list->at[k];

		printf("%" PRIx64 "\t%s\t%" PRIx64 "\t%s\t%u\t%s\n", a->queries[i].addr - a->bias,
		       s->guessed ? "guess" : s->known ? "known" : "place", s->off, s->file ? s->file : "-", s->line, s->name);
	}
	return 0;
}

static int names_print(pid_t pid, uint64_t bias, const struct symbolizer_options *opt)
{
	struct answers a = { .bias = bias };
	struct symbolizer_failure failure;
	struct symbolizer *names = NULL;
	struct symbol_query *queries;
	enum target_problem problem;
	struct target *t = NULL;
	struct worker *w = NULL;
	size_t cnt, failed_cnt;
	pid_t tgid;
	int err = parser_start(&w);

	if (!err)
		err = target_open(pid, w, &t, &problem, &tgid);
	if (!err)
		err = symbolizer_new(opt, w, &names);
	if (!err) {
		cnt = queries_read(bias, &queries);
		a.queries = queries;
		err = symbolizer_batch(names, t, queries, cnt, on_list, &a);
		free(queries);
		if (!err && symbolizer_failures(names, &failed_cnt, &failure))
			err = failure.err;
	}
	symbolizer_free(names);
	target_free(t);
	worker_stop(w);
	return err;
}

int main(int argc, char **argv)
{
	struct symbolizer_options opt = { 0 };
	uint64_t bias = 0;
	int c, fd, err;
	pid_t pid;

	while ((c = getopt(argc, argv, "mn")) != -1) {
		if (c == 'm')
			opt.no_demangle = true;
		else if (c == 'n')
			opt.no_inline = true;
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: names [-m] [-n] FILE < addresses\n");
		return 2;
	}
	fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : file_map(fd, &bias);
	pid = err ? -1 : fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (pid > 0) {
		err = names_print(pid, bias, &opt);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (err)
		fprintf(stderr, "%s: %s\n", argv[optind], strerror(-err));
	return err || fflush(stdout) ? 1 : 0;
}
