/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "elf/parser_ops.h"
#include "target/file.h"

/* load_elf_phdrs() in fs/binfmt_elf.c refuses more than 64 KiB of program headers of 56 bytes. */
#define SEGMENTS_MAX	1170

static void facts_write(const struct image *img, struct text *reply)
{
	const struct image_segment *segments;
	const unsigned char *id = NULL;
	size_t cnt = image_segments(img, &segments), id_len = image_build_id(img, &id);

	wire_put(reply, image_is_64bit(img));
	wire_put(reply, image_is_static_exec(img));
	wire_put(reply, image_has_symtab(img));
	wire_put(reply, image_machine(img));
	wire_put(reply, image_bytes(img));
	wire_put_bytes(reply, id, id_len > FILE_BUILD_ID_MAX ? 0 : id_len);
	wire_put(reply, cnt);
	for (size_t i = 0; i < cnt; i++) {
		wire_put(reply, segments[i].va);
		wire_put(reply, segments[i].off);
		wire_put(reply, segments[i].file_bytes);
		wire_put(reply, segments[i].exec);
	}
}

int file_handle(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	struct image *img;
	int err;

	(void)state, (void)request;
	if (len)
		return -EINVAL;
	err = image_open(fd, &img);
	if (err)
		return err;
	facts_write(img, reply);
	image_free(img);
	return reply->failed ? -ENOMEM : 0;
}

static int segments_take(struct wire *w, struct file_facts *f)
{
	size_t cnt = wire_max(w, SEGMENTS_MAX);

	f->segments = calloc(cnt + 1, sizeof(*f->segments));
	if (!f->segments)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		struct image_segment *s = &f->segments[i];

		s->va = wire_u64(w);
		s->off = wire_u64(w);
		s->file_bytes = wire_u64(w);
		s->exec = wire_bool(w);
		if (s->va + s->file_bytes < s->va || s->off + s->file_bytes < s->off)
			return -EBADMSG;
	}
	f->segments_cnt = cnt;
	return 0;
}

static int facts_take(const struct text *reply, struct file_facts *ret)
{
	struct wire w = wire_open(reply);
	struct file_facts f = { .is_elf = true };
	int err;

	f.is_64bit = wire_bool(&w);
	f.is_static_exec = wire_bool(&w);
	f.has_symtab = wire_bool(&w);
	f.machine = wire_max(&w, UINT16_MAX);
	f.bytes = wire_u64(&w);
	f.build_id_len = wire_bytes(&w, f.build_id, sizeof(f.build_id));
	err = segments_take(&w, &f);
	if (!err)
		err = wire_end(&w);
	if (err) {
		file_facts_free(&f);
		return err;
	}
	*ret = f;
	return 0;
}

int file_facts_read(struct worker *w, uint64_t key, int fd, struct file_facts *ret)
{
	struct text reply = { 0 };
	int err;

	err = w ? worker_ask(w, PARSER_FILE, key, fd, &reply) : file_handle(NULL, NULL, 0, fd, &reply);
	if (!err)
		err = facts_take(&reply, ret);
	else if (err == -ENOEXEC)
		err = 0;	/* a mapped file that is no ELF file is common: .NET assemblies, caches of compiled code */
	text_free(&reply);
	return err;
}

void file_facts_free(struct file_facts *f)
{
	free(f->segments);
	*f = (struct file_facts){ 0 };
}

static const struct image_segment *segment_by_va(const struct file_facts *f, uint64_t va, bool exec_only)
{
	for (size_t i = 0; i < f->segments_cnt; i++) {
		const struct image_segment *s = &f->segments[i];

		if (va >= s->va && va - s->va < s->file_bytes && (s->exec || !exec_only))
			return s;
	}
	return NULL;
}

int file_off_to_va(const struct file_facts *f, uint64_t off, uint64_t *ret_va)
{
	for (int want_exec = 1; want_exec >= 0; want_exec--) {
		for (size_t i = 0; i < f->segments_cnt; i++) {
			const struct image_segment *s = &f->segments[i];

			if (s->exec != want_exec || off < s->off || off - s->off >= s->file_bytes)
				continue;
			*ret_va = off - s->off + s->va;
			return 0;
		}
	}
	return -ENOENT;
}

int file_va_to_off(const struct file_facts *f, uint64_t va, uint64_t *ret_off)
{
	const struct image_segment *s = segment_by_va(f, va, false);

	if (!s)
		return -ENOENT;
	*ret_off = va - s->va + s->off;
	return 0;
}

bool file_is_code(const struct file_facts *f, uint64_t va)
{
	const struct image_segment *s = segment_by_va(f, va, true);

	return s && va - s->va + s->off < f->bytes;
}
