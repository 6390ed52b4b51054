/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of a mapped file without having parsed it: the worker says it, in numbers.
 */
#ifndef TARGET_FILE_H
#define TARGET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/worker.h"
#include "elf/image.h"

#define FILE_BUILD_ID_MAX	64	/* bytes; 8 to 32 in practice */

struct file_facts {
	bool is_elf;		/* one that we read; else nothing of the rest */
	bool is_64bit;
	bool is_static_exec;
	bool has_symtab;
	uint32_t machine;	/* EM_X86_64 … */
	uint64_t bytes;		/* of the file */
	unsigned char build_id[FILE_BUILD_ID_MAX];
	size_t build_id_len;	/* 0 = it has none */
	struct image_segment *segments;	/* PT_LOAD; checked: no end overflows */
	size_t segments_cnt;
};

/*
 * What the file behind fd is, whose key this is (target_module.file_key); no ELF file is no error. w NULL: read in this process, for tests; ebb itself has
 * forbidden that, see image_forbid(). -ENOMEM, -EBUSY, errors of worker_call(); -EBADMSG: its answer is not to be
 * believed.
 */
int file_facts_read(struct worker *w, uint64_t key, int fd, struct file_facts *ret);
void file_facts_free(struct file_facts *f);

/* As image_off_to_va(): executable segments first. -ENOENT. */
int file_off_to_va(const struct file_facts *f, uint64_t off, uint64_t *ret_va);
int file_va_to_off(const struct file_facts *f, uint64_t va, uint64_t *ret_off);
/* Whether there are bytes of an executable segment at va. */
bool file_is_code(const struct file_facts *f, uint64_t va);

/* The op PARSER_FILE, in the worker. */
int file_handle(void *state, const void *request, size_t len, int fd, struct text *reply);

#endif
