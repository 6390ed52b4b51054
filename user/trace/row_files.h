/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files whose rows are in the kernel, each as pieces that fit into chunks. Inside the layer.
 */
#ifndef TRACE_ROW_FILES_H
#define TRACE_ROW_FILES_H

#include "base/hashmap.h"
#include "base/worker.h"
#include "target/target.h"
#include "trace/chunks.h"
#include "trace/row_pack.h"

struct row_file {
	uint64_t key;
	struct row_piece *pieces;	/* sorted */
	size_t pieces_cnt;
	size_t rows_cnt;
	uint32_t users_cnt;		/* processes */
	uint64_t used;			/* when last: the order in which files without users are forgotten */
	int err;			/* why it has no rows; 0 */
};

struct row_files {
	struct worker *worker;		/* borrowed */
	struct chunks chunks;
	uint64_t *rules;		/* the kernel's dictionary, mapped */
	struct hashmap *rule_ids;
	uint32_t rules_cnt;
	struct row_file **list;
	size_t cnt;
	uint64_t clock;
};

int row_files_open(struct row_files *f, struct worker *w, int rules_fd, int chunks_fd, uint64_t max_bytes);
void row_files_close(struct row_files *f);

/*
 * The rows of a module's file, made when it is new; one user more. A file that has none, or that finds no room, has no
 * pieces and says why in err. -ENOMEM.
 */
int row_files_get(struct row_files *f, const struct target_module *m, struct row_file **ret);
/* One user less. The rows stay until their room is needed. */
void row_files_put(struct row_file *file);

#endif
