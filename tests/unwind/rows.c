/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rows FILE
 *
 * Prints the unwind rows of an ELF file, one a line: the address in hex, the kind of its rule, and for the kinds sp and bp
 * the CFA's offset and where rbp is: "same", "lost", "*bp" or its offset from the CFA; for plt the byte from which on it has
 * pushed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "elf/ehframe.h"
#include "elf/image.h"

static void rule_print(uint64_t rule)
{
	static const char *const kinds[UNWIND_KINDS] = { "gap", "sp", "bp", "deref", "deref", "plt", "signal", "end", "bad" };
	static const char *const bps[UNWIND_BP_KINDS] = {
		[UNWIND_BP_SAME] = "same", [UNWIND_BP_UNDEFINED] = "lost", [UNWIND_BP_AT_BP] = "*bp",
	};
	unsigned int kind = UNWIND_RULE_KIND(rule), bp = UNWIND_RULE_BP_KIND(rule);

	printf(" %s", kinds[kind]);
	if (kind == UNWIND_SP || kind == UNWIND_BP || kind == UNWIND_PLT)
		printf(" %d", UNWIND_RULE_CFA(rule));
	if ((kind == UNWIND_SP || kind == UNWIND_BP) && bp == UNWIND_BP_CFA)
		printf(" %d", UNWIND_RULE_BP(rule));
	else if (kind == UNWIND_SP || kind == UNWIND_BP)
		printf(" %s", bps[bp]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct image *img;
	struct ehframe e;
	int fd, err;

	if (argc != 2) {
		fprintf(stderr, "usage: rows FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	err = image_open(fd, &img);
	if (!err)
		err = ehframe_read(img, &e);
	if (err) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	for (size_t i = 0; i < e.rows_cnt; i++) {
		printf("%" PRIx64, e.base_va + e.rows[i].va_off);
		rule_print(e.rules[e.rows[i].rule]);
	}
	ehframe_free(&e);
	image_free(img);
	close(fd);
	return fflush(stdout) ? 1 : 0;
}
