/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An allocator that is being judged: found by candidate.c in the symbols of one file, called used or
 * not by usage.c from the import words of all files. Inside the layer; allocator.c puts them together.
 */
#ifndef TARGET_CANDIDATE_H
#define TARGET_CANDIDATE_H

#include "target/allocator.h"
#include "target/names.h"

/* An entry of an import table, as the process has it now. */
struct import_word {
	const char *name;	/* lives as long as the image */
	const struct target_module *importer;
	uint64_t addr;		/* what it points at; lazily bound: the importer's own PLT */
};

struct import_words {
	struct import_word *list;
	size_t cnt;
};

struct candidate {
	struct allocator a;
	const struct image *img;	/* of its module */
	bool exported;		/* others can be bound to it: a function of it is in .dynsym */
	bool prefixed;		/* je_malloc and the like only */
};

struct candidates {
	struct candidate *list;
	size_t cnt;
};

/* The words of the names that names.c knows, and operator new. */
int import_words_read(const struct target *t, const struct images *images, struct import_words *ret);

/* Adds the allocators of one file. 0 or -ENOMEM; a file that lies about its symbols has none. */
int candidates_scan(struct target_module *m, const struct image *img, const struct import_words *words,
		    struct candidates *c);
void candidates_free(struct candidates *c);

/* Fills in used, evidence and warning of each. */
int candidates_judge(struct candidates *c, const struct import_words *words);

const struct allocator_function *allocator_function_at(const struct allocator *a, uint64_t va);
/* The last component of a path. */
const char *path_base(const char *path);

#endif
