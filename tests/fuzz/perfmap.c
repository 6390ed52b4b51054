/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Perf maps that grow while they are read (user/symbol/perfmap_table.h): the file is given in pieces, which end at bytes of
 * the value 1, and what is known at the end must be what one look at all of it says. Names are taken apart as well.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbol/perfmap.h"
#include "symbol/perfmap_table.h"

#define FILE_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

static void name_check(int fd, const struct perfmap_entry *e)
{
	struct text name = { 0 }, file = { 0 };
	char raw[PERFMAP_NAME_MAX + 1];
	uint32_t line;

	check(e->name_len && e->name_len <= PERFMAP_NAME_MAX && e->size);
	check(pread(fd, raw, e->name_len, e->name_off) == e->name_len);
	raw[e->name_len] = '\0';
	check(strlen(raw) == e->name_len);
	perfmap_split(raw, &name, &file, &line);
	check(name.len > 0);
	text_free(&name);
	text_free(&file);
}

static void same_check(const struct perfmap_table *a, const struct perfmap_table *b, uint64_t addr)
{
	bool guessed_a = false, guessed_b = false;
	const struct perfmap_entry *x = perfmap_table_find(a, addr, &guessed_a);
	const struct perfmap_entry *y = perfmap_table_find(b, addr, &guessed_b);

	check(!x == !y && guessed_a == guessed_b);
	check(!x || (x->hash == y->hash && x->start == y->start && x->size == y->size && addr - x->start < x->size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct perfmap_table grown = { 0 }, whole = { 0 };
	int fd = memfd_create("perf.map", MFD_CLOEXEC);

	if (fd < 0 || size > FILE_MAX)
		return -1;
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, 1, size - at);
		size_t len = end ? (size_t)(end - data) - at : size - at;

		check(write(fd, data + at, len) == (ssize_t)len);
		check(!perfmap_table_read(&grown, fd, FILE_MAX));
		at += len + !!end;
	}
	check(!perfmap_table_read(&grown, fd, FILE_MAX) && !perfmap_table_read(&whole, fd, FILE_MAX));
	check(grown.entries_cnt == whole.entries_cnt);
	for (size_t i = 0; i < whole.entries_cnt && i < 1000; i++) {
		const struct perfmap_entry *e = &whole.entries[i];

		name_check(fd, e);
		same_check(&grown, &whole, e->start);
		same_check(&grown, &whole, e->start - 1);
		same_check(&grown, &whole, e->start + e->size - 1);
		same_check(&grown, &whole, e->start + e->size);
		same_check(&grown, &whole, e->start + e->size / 2);
	}
	perfmap_table_clear(&grown);
	perfmap_table_clear(&whole);
	close(fd);
	return 0;
}
