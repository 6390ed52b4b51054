/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of file formats. The names are those of -f. */
#include <string.h>

#include "output/output.h"

const struct writer writers[] = {
	{ "folded", folded_write,
	  "folded stacks; to draw them write them to a file: -f folded -o ebb.folded, "
	  "then flamegraph.pl --countname=bytes ebb.folded > ebb.svg" },
	{ NULL, NULL, NULL },
};

const struct writer *writer_find(const char *name)
{
	for (const struct writer *w = writers; w->name; w++)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}
