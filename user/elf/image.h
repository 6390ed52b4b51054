/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an ELF file says of itself: segments, symbols, relocations, build id, bytes of text.
 * Reads through libelf from a descriptor, never a path. The file is not trusted: offsets, counts and
 * links are checked against its size, and a file that lies is -ENOEXEC, not a crash.
 *
 * "va" is an address as the file sees it, "off" an offset in the file.
 */
#ifndef ELF_IMAGE_H
#define ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* fd is not needed any more afterwards. -ENOEXEC: not an ELF file that we read. */
int image_open(int fd, struct image **ret);
/* Also a relocatable one, as which dwz writes what has sections alone. */
int image_open_any(int fd, struct image **ret);
/* As image_open(), on bytes in memory (the vdso), which are copied. */
int image_open_memory(const void *data, size_t len, struct image **ret);
/* One more who uses it: it lives until each has called image_free(). Returns img. */
struct image *image_ref(struct image *img);
struct image *image_free(struct image *img);

/*
 * Makes both fail with -EPERM from here on: what has privileges parses nothing. main() calls it first of all, and the
 * children that have given them up call image_allow().
 */
void image_forbid(void);
void image_allow(void);

/* A PT_LOAD segment; va + file_bytes and off + file_bytes do not overflow, but the file may end before. */
struct image_segment {
	uint64_t va;
	uint64_t off;
	uint64_t file_bytes;
	bool exec;
};

/* In the order of the file, at most 1,170; they live as long as the image. */
size_t image_segments(const struct image *img, const struct image_segment **ret);
size_t image_bytes(const struct image *img);	/* of the whole file */
bool image_is_64bit(const struct image *img);
int image_machine(const struct image *img);	/* EM_X86_64 … */
bool image_is_static_exec(const struct image *img);	/* an executable without PT_INTERP */
bool image_has_symtab(const struct image *img);	/* false = stripped: only .dynsym, if that */
/* Length of the build id, 0 without one; *ret_id lives as long as the image. */
size_t image_build_id(const struct image *img, const unsigned char **ret_id);
bool image_has_section(const struct image *img, const char *name);
/*
 * Where the section in memory ends that va lies in. -ENOENT: in none, or the file has no section headers; then *ret_end is
 * where the next one begins, UINT64_MAX when there is none.
 */
int image_section_end(const struct image *img, uint64_t va, uint64_t *ret_end);

/* Through the PT_LOAD segments. -ENOENT: not in any. */
int image_va_to_off(const struct image *img, uint64_t va, uint64_t *ret_off);
int image_off_to_va(const struct image *img, uint64_t off, uint64_t *ret_va);
/* Bytes of an executable segment at va, at most len, fewer at its end; -ENOENT when va is in none. */
int image_text(const struct image *img, uint64_t va, size_t len, const unsigned char **ret, size_t *ret_len);

enum image_symbol_type { IMAGE_FUNC, IMAGE_IFUNC, IMAGE_OBJECT, IMAGE_OTHER };

struct image_symbol {
	const char *name;	/* without a version; lives as long as the image; never empty */
	uint64_t va;
	uint64_t size;		/* 0 = unknown */
	enum image_symbol_type type;
	bool global;
	bool dynamic;		/* from .dynsym */
	bool hidden_version;	/* name@VERSION, not name@@VERSION */
};

/*
 * Calls fn for each defined symbol with an address, .dynsym first and then .symtab. A return other
 * than 0 ends it and becomes the result.
 */
int image_each_symbol(const struct image *img, int (*fn)(const struct image_symbol *sym, void *ctx), void *ctx);

/* The bytes of .eh_frame_hdr and its va; the length, 0 when there is none. They live as long as the image. */
size_t image_eh_frame_hdr(const struct image *img, const unsigned char **ret, uint64_t *ret_va);

#endif
