/* SPDX-License-Identifier: GPL-2.0-only */
/* Any bytes as a file whose names are asked for: its symbols, those that are compressed in it, its DWARF, its debug link. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "elf/debug_file.h"
#include "elf/image.h"
#include "symbol/name_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned long sink;

static int on_symbol(const struct image_symbol *sym, void *ctx)
{
	*(uint64_t *)ctx = sym->va;
	return 0;
}

static void find(struct name_file *f, uint64_t va)
{
	struct name_file_answer answer;

	if (name_file_find(f, va, false, &answer))
		return;
	if (!answer.frames.cnt || answer.frames.cnt > INLINES_MAX + 1 || !answer.frames.at[answer.frames.cnt - 1].name)
		abort();
	for (uint32_t i = 0; i < answer.frames.cnt; i++) {
		if (answer.frames.at[i].name)
			sink += strlen(answer.frames.at[i].name);
		if (answer.frames.at[i].file)
			sink += strlen(answer.frames.at[i].file);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("names", MFD_CLOEXEC);
	const struct image_segment *seg;
	uint64_t last_va = 0;
	struct name_file f;
	uint32_t crc;
	size_t cnt;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (!name_file_open(fd, &f)) {
		const char *link = debug_file_link(f.img, &crc);

		sink += (link ? strlen(link) : 0) + name_file_wants_debug(&f);
		image_each_symbol(f.img, on_symbol, &last_va);
		cnt = image_segments(f.img, &seg);
		for (size_t i = 0; i < cnt && i < 8; i++)
			for (uint64_t at = 0; at < 256; at += 5)
				find(&f, seg[i].va + at);
		for (uint64_t at = 0; at < 64; at += 3)
			find(&f, last_va + at);
		name_file_add_debug(&f, fd);
		find(&f, last_va);
		name_file_close(&f);
	}
	close(fd);
	return 0;
}
