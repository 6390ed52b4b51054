/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <string.h>

#include "elf/debug_file.h"
#include "elf/image.h"
#include "symbol/name_file.h"

int name_file_open(int fd, struct name_file *ret)
{
	struct name_file f = { 0 };
	int err = image_open(fd, &f.img);

	if (!err && debug_file_mini(f.img, &f.mini) == -ENOMEM)
		err = -ENOMEM;
	if (err)
		name_file_close(&f);
	else
		*ret = f;
	return err;
}

void name_file_close(struct name_file *f)
{
	f->inlines = inlines_free(f->inlines);
	f->symtab = symtab_free(f->symtab);
	f->debug = image_free(f->debug);
	f->alt = image_free(f->alt);
	f->mini = image_free(f->mini);
	f->img = image_free(f->img);
}

bool name_file_wants_debug(const struct name_file *f)
{
	return !f->debug && !(image_has_symtab(f->img) && image_has_section(f->img, ".debug_info"));
}

/* A file that is its own debug file, by its link, says nothing new, and another one may. */
static bool says_more(const struct image *img, const struct image *debug)
{
	return (image_has_symtab(debug) && !image_has_symtab(img)) ||
	       (image_has_section(debug, ".debug_info") && !image_has_section(img, ".debug_info"));
}

int name_file_add_debug(struct name_file *f, int fd)
{
	struct image *debug;
	int err = image_open(fd, &debug);

	if (err)
		return err;
	if (f->debug || !says_more(f->img, debug) || !debug_file_matches(f->img, debug)) {
		image_free(debug);
		return -ENOEXEC;
	}
	f->debug = debug;
	/* what was made without it is made anew */
	f->symtab = symtab_free(f->symtab);
	f->inlines = inlines_free(f->inlines);
	f->inlines_tried = false;
	return 0;
}

/* The file that has the debug information; NULL. */
static struct image *dwarf_image(const struct name_file *f)
{
	return image_has_section(f->img, ".debug_info") ? f->img : f->debug;
}

const char *name_file_wants_alt(const struct name_file *f, const unsigned char **ret_id, size_t *ret_id_len)
{
	const struct image *img = dwarf_image(f);

	return img && !f->alt ? debug_file_alt(img, ret_id, ret_id_len) : NULL;
}

int name_file_add_alt(struct name_file *f, int fd)
{
	const unsigned char *id, *its_id;
	struct image *alt;
	size_t len;
	int err;

	if (!name_file_wants_alt(f, &id, &len))
		return -ENOEXEC;
	err = image_open_any(fd, &alt);
	if (err)
		return err;
	if (image_build_id(alt, &its_id) != len || memcmp(id, its_id, len)) {
		image_free(alt);
		return -ENOEXEC;
	}
	f->alt = alt;
	f->inlines = inlines_free(f->inlines);
	f->inlines_tried = false;
	return 0;
}

static int symtab_get(struct name_file *f)
{
	struct image *others[2];
	size_t cnt = 0;

	if (f->symtab)
		return 0;
	if (f->debug)
		others[cnt++] = f->debug;
	if (f->mini)
		others[cnt++] = f->mini;
	return symtab_new(f->img, others, cnt, &f->symtab);
}

static int inlines_get(struct name_file *f)
{
	struct image *img;

	if (f->inlines_tried)
		return 0;
	f->inlines_tried = true;
	img = dwarf_image(f);
	return img && inlines_new(img, f->alt, &f->inlines) == -ENOMEM ? -ENOMEM : 0;
}

int name_file_find(struct name_file *f, uint64_t va, bool no_inline, struct name_file_answer *ret)
{
	const struct symtab_symbol *sym;
	struct inlines_frame *last;
	int err = symtab_get(f);

	if (!err)
		err = inlines_get(f);
	if (err)
		return err;
	ret->frames.cnt = 0;
	ret->off = 0;
	if (f->inlines)
		inlines_find(f->inlines, va, &ret->frames);
	sym = symtab_find(f->symtab, va);
	if (sym)
		ret->off = va - sym->va;
	if (!ret->frames.cnt) {
		if (!sym)
			return -ENOENT;
		ret->frames.at[ret->frames.cnt++] = (struct inlines_frame){ .name = sym->name };
		return 0;
	}
	last = &ret->frames.at[ret->frames.cnt - 1];
	if (sym)	/* DWARF's name of an alias may be any; with a suffix like .cold it has none */
		last->name = sym->name;
	if (!last->name)
		return -ENOENT;
	if (no_inline) {
		/* the line is that of the address, in whatever was inlined there */
		ret->frames.at[0].name = last->name;
		ret->frames.cnt = 1;
	}
	return 0;
}
