/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The names in one file, as the worker has them: its symbols, those of the file that was split off from it, and what
 * DWARF knows. Inside the layer.
 */
#ifndef SYMBOL_NAME_FILE_H
#define SYMBOL_NAME_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "elf/inlines.h"
#include "symbol/symtab.h"

struct image;

struct name_file {
	struct image *img;
	struct image *mini;	/* .gnu_debugdata; NULL */
	struct image *debug;	/* the file that was split off; NULL = none, or not known yet */
	struct image *alt;	/* what that has in common with others; NULL = none, or not known yet */
	struct symtab *symtab;	/* made when the first name is asked for */
	struct inlines *inlines;
	bool inlines_tried;
};

int name_file_open(int fd, struct name_file *ret);
void name_file_close(struct name_file *f);

/* Whether a file with more symbols or with DWARF would say more. */
bool name_file_wants_debug(const struct name_file *f);
/* Takes the file behind fd as the one that was split off. -ENOEXEC: it is of another file, or says nothing new. */
int name_file_add_debug(struct name_file *f, int fd);
/* The name and the build id of the file with what its debug information has in common with that of others; NULL = not wanted. */
const char *name_file_wants_alt(const struct name_file *f, const unsigned char **ret_id, size_t *ret_id_len);
/* Takes the file behind fd as that one. -ENOEXEC: it is another. */
int name_file_add_alt(struct name_file *f, int fd);

/* What stands at va; innermost first, raw names. -ENOENT: nothing is known. -ENOMEM. */
struct name_file_answer {
	struct inlines_list frames;	/* one at least; the last has the symbol's name */
	uint64_t off;			/* of va in the symbol */
};
int name_file_find(struct name_file *f, uint64_t va, bool no_inline, struct name_file_answer *ret);

#endif
