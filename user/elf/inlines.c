/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	units     ranges of all compilation units, sorted, made once
 *	scopes    of one unit: ranges of its functions and of what is inlined in them, sorted by start, the outer one first;
 *	          each knows the nearest one before it that encloses it
 *
 * DIEs come from a file that may lie: depth, number and repetition are bounded, cycles end there. Where a bound is met, less
 * is known: a name without inlined functions.
 *
 * What the linker left out begins at 0 (ld; lld says -1), where no code is: it is nowhere.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/text.h"
#include "elf/image.h"
#include "elf/image_private.h"
#include "elf/inlines.h"

#define DEPTH_MAX	256
#define SCOPES_MAX	(1u << 20)	/* of one unit; the largest seen (V8, one file) has 200,000 */
#define SCOPES_KEPT_MAX	(4u << 20)	/* of all units, 48 bytes each: when there are more, all are forgotten, and read again */
#define STEPS_MAX	(64u << 20)	/* DIEs and ranges of all units; some 700 MB of .debug_info, at ebb's 11 bytes a DIE */
#define UNITS_MAX	(1u << 20)
#define RANGES_MAX	(2u << 20)	/* of all units */
#define OUTER_MAX	(4 * DEPTH_MAX)	/* scopes that an address is looked for in; where they are nested there are DEPTH_MAX */
#define NO_SCOPE	UINT32_MAX

/* Bytes of a section with debug information, where libdw reads them. */
struct span {
	const char *start;
	size_t len;
};

#define SPANS_MAX 32	/* there are ten of a file, and its common part */

struct unit_range {
	uint64_t low, high;
	uint32_t unit;
};

struct scope {
	uint64_t low, high;
	Dwarf_Off die;
	const char *name;	/* as soon as it is asked for */
	uint32_t depth;
	uint32_t outer;		/* index of the nearest enclosing one, NO_SCOPE = none */
	bool inlined, named;
};

struct unit {
	Dwarf_Die die;
	uint64_t bytes;		/* a DIE has one at least */
	bool read;
	struct scope *scopes;
	uint32_t scopes_cnt, scopes_size;
};

struct inlines {
	struct image *img, *alt;
	Dwarf *dwarf, *alt_dwarf;
	struct span spans[SPANS_MAX];
	size_t spans_cnt;
	struct unit_range *ranges;
	size_t ranges_cnt, ranges_size;
	struct unit *units;
	size_t units_cnt, units_size;
	uint32_t steps_left;	/* of STEPS_MAX */
	size_t scopes_cnt;	/* of all units */
	struct hashmap *joined;	/* {file, folder} as DWARF has them, by where they stand -> the path, in strings */
	char **strings;		/* owned */
	size_t strings_cnt, strings_size;
};

/* Room for one more; false when memory is short. */
static bool grow(void *list, size_t cnt, size_t *size, size_t bytes)
{
	size_t more = *size ? *size * 2 : 64;
	void *bigger;

	if (cnt < *size)
		return true;
	bigger = realloc(*(void **)list, more * bytes);
	if (!bigger)
		return false;
	*(void **)list = bigger;
	*size = more;
	return true;
}

/* One of STEPS_MAX; false when there are no more. */
static bool step(struct inlines *in)
{
	return in->steps_left && --in->steps_left;
}

static uint64_t unit_bytes(Dwarf *dwarf, Dwarf_Die *die)
{
	Dwarf_Off start = dwarf_dieoffset(die) - dwarf_cuoffset(die), next;
	size_t head_bytes;

	return dwarf_nextcu(dwarf, start, &next, &head_bytes, NULL, NULL, NULL) || next <= start ? 0 : next - start;
}

static int unit_add(struct inlines *in, Dwarf_Die *die)
{
	ptrdiff_t off = 0;
	Dwarf_Addr base, low, high;

	if (in->units_cnt == UNITS_MAX)
		return 0;
	if (!grow(&in->units, in->units_cnt, &in->units_size, sizeof(*in->units)))
		return -ENOMEM;
	in->units[in->units_cnt] = (struct unit){ .die = *die, .bytes = unit_bytes(in->dwarf, die) };
	while ((off = dwarf_ranges(die, off, &base, &low, &high)) > 0 && step(in) && in->ranges_cnt < RANGES_MAX) {
		if (low >= high || !low)
			continue;
		if (!grow(&in->ranges, in->ranges_cnt, &in->ranges_size, sizeof(*in->ranges)))
			return -ENOMEM;
		in->ranges[in->ranges_cnt++] = (struct unit_range){ .low = low, .high = high, .unit = in->units_cnt };
	}
	in->units_cnt++;
	return 0;
}

static int range_compare(const void *pa, const void *pb)
{
	const struct unit_range *a = pa, *b = pb;

	return a->low != b->low ? (a->low > b->low) - (a->low < b->low) : (a->unit > b->unit) - (a->unit < b->unit);
}

static void span_add(struct inlines *in, const Elf_Data *data)
{
	if (data && data->d_buf && data->d_size && in->spans_cnt < SPANS_MAX)
		in->spans[in->spans_cnt++] = (struct span){ data->d_buf, data->d_size };
}

/* The sections with strings; libelf has them as they are in the file, or made something of them. */
static void spans_find(struct inlines *in, Elf *elf)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return;
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr head;
		const char *name = gelf_getshdr(scn, &head) ? elf_strptr(elf, names, head.sh_name) : NULL;

		if (!name || (strcmp(name, ".debug_info") && strcmp(name, ".debug_str") && strcmp(name, ".debug_line_str") &&
			      strcmp(name, ".debug_line") && strcmp(name, ".debug_types")))
			continue;
		span_add(in, elf_rawdata(scn, NULL));
		span_add(in, elf_getdata(scn, NULL));
	}
}

/* libdw (0.188) takes strings as they are, also without an end. What is in no section libdw has made, and has one. */
static const char *string_check(const struct inlines *in, const char *str)
{
	for (size_t i = 0; str && i < in->spans_cnt; i++) {
		size_t off = (uintptr_t)str - (uintptr_t)in->spans[i].start;

		if (off < in->spans[i].len && !memchr(str, '\0', in->spans[i].len - off))
			return NULL;
	}
	return str;
}

int inlines_new(struct image *img, struct image *alt, struct inlines **ret)
{
	struct inlines *in = calloc(1, sizeof(*in));
	Dwarf_CU *cu = NULL;
	Dwarf_Die die;
	uint8_t type;
	int err = 0;

	if (!in)
		return -ENOMEM;
	in->img = image_ref(img);
	in->steps_left = STEPS_MAX;
	in->joined = hashmap_new();
	if (!in->joined)
		err = -ENOMEM;
	in->dwarf = image_has_section(img, ".debug_info") ? dwarf_begin_elf(img->elf, DWARF_C_READ, NULL) : NULL;
	if (in->dwarf && alt) {
		in->alt = image_ref(alt);
		in->alt_dwarf = dwarf_begin_elf(alt->elf, DWARF_C_READ, NULL);
		if (in->alt_dwarf)
			dwarf_setalt(in->dwarf, in->alt_dwarf);
	}
	while (!err && in->dwarf && !dwarf_get_units(in->dwarf, cu, &cu, NULL, &type, &die, NULL))
		if (type == DW_UT_compile || type == DW_UT_skeleton)
			err = unit_add(in, &die);
	if (!err && !in->ranges_cnt)
		err = -ENOENT;
	if (err) {
		inlines_free(in);
		return err;
	}
	spans_find(in, img->elf);
	if (in->alt_dwarf)
		spans_find(in, alt->elf);
	qsort(in->ranges, in->ranges_cnt, sizeof(*in->ranges), range_compare);
	*ret = in;
	return 0;
}

struct inlines *inlines_free(struct inlines *in)
{
	if (!in)
		return NULL;
	for (size_t i = 0; i < in->units_cnt; i++)
		free(in->units[i].scopes);
	for (size_t i = 0; i < in->strings_cnt; i++)
		free(in->strings[i]);
	free(in->strings);
	hashmap_free(in->joined);
	free(in->units);
	free(in->ranges);
	dwarf_end(in->dwarf);
	dwarf_end(in->alt_dwarf);
	image_free(in->alt);
	image_free(in->img);
	free(in);
	return NULL;
}

/* False when it is enough. */
static bool scopes_add(struct inlines *in, struct unit *u, Dwarf_Die *die, uint32_t depth, bool inlined)
{
	Dwarf_Addr base, low, high;
	ptrdiff_t off = 0;
	size_t size = u->scopes_size;

	while ((off = dwarf_ranges(die, off, &base, &low, &high)) > 0) {
		if (!step(in) || u->scopes_cnt == SCOPES_MAX)
			return false;
		if (low >= high || !low)
			continue;
		if (!grow(&u->scopes, u->scopes_cnt, &size, sizeof(*u->scopes)))
			return false;
		u->scopes_size = size;
		u->scopes[u->scopes_cnt++] = (struct scope){
			.low = low, .high = high, .die = dwarf_dieoffset(die), .depth = depth, .inlined = inlined,
		};
	}
	return true;
}

/* What of a unit may hold functions. */
static bool is_container(int tag)
{
	return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
	       tag == DW_TAG_namespace || tag == DW_TAG_structure_type || tag == DW_TAG_class_type ||
	       tag == DW_TAG_union_type || tag == DW_TAG_module;
}

/* Depth first, without recursion: the parents of the DIE that is looked at. */
static void unit_walk(struct inlines *in, struct unit *u, Dwarf_Die *root)
{
	Dwarf_Die stack[DEPTH_MAX];
	uint64_t dies_left = u->bytes;
	uint32_t depth = 0;

	if (dwarf_child(root, &stack[0]))
		return;
	for (;;) {
		int tag = dwarf_tag(&stack[depth]);

		if (!dies_left-- || !step(in))
			return;
		if ((tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine) &&
		    !scopes_add(in, u, &stack[depth], depth, tag == DW_TAG_inlined_subroutine))
			return;
		if (is_container(tag) && depth + 1 < DEPTH_MAX && !dwarf_child(&stack[depth], &stack[depth + 1])) {
			depth++;
			continue;
		}
		while (dwarf_siblingof(&stack[depth], &stack[depth])) {
			if (!depth)
				return;
			depth--;
		}
	}
}

static int scope_compare(const void *pa, const void *pb)
{
	const struct scope *a = pa, *b = pb;

	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	if (a->high != b->high)
		return a->high > b->high ? -1 : 1;
	return (a->depth > b->depth) - (a->depth < b->depth);
}

static void scopes_forget(struct inlines *in)
{
	for (size_t i = 0; i < in->units_cnt; i++) {
		free(in->units[i].scopes);
		in->units[i] = (struct unit){ .die = in->units[i].die, .bytes = in->units[i].bytes };
	}
	in->scopes_cnt = 0;
}

static void unit_read(struct inlines *in, struct unit *u)
{
	uint32_t open = NO_SCOPE;

	if (in->scopes_cnt > SCOPES_KEPT_MAX)
		scopes_forget(in);
	u->read = true;
	unit_walk(in, u, &u->die);
	in->scopes_cnt += u->scopes_cnt;
	if (u->scopes_cnt)
		qsort(u->scopes, u->scopes_cnt, sizeof(*u->scopes), scope_compare);
	for (uint32_t i = 0; i < u->scopes_cnt; i++) {
		while (open != NO_SCOPE && u->scopes[open].high <= u->scopes[i].low)
			open = u->scopes[open].outer;
		u->scopes[i].outer = open;
		open = i;
	}
}

/* The unit that covers va, by the last range that begins before it; ranges of units do not overlap but in files that lie. */
static struct unit *unit_find(struct inlines *in, uint64_t va)
{
	size_t low = 0, high = in->ranges_cnt;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (in->ranges[middle].low <= va)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || va >= in->ranges[low - 1].high)
		return NULL;
	return &in->units[in->ranges[low - 1].unit];
}

/* The innermost scope that covers va. */
static uint32_t scope_find(const struct unit *u, uint64_t va)
{
	uint32_t low = 0, high = u->scopes_cnt, at, left = OUTER_MAX;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (u->scopes[middle].low <= va)
			low = middle + 1;
		else
			high = middle;
	}
	at = low ? low - 1 : NO_SCOPE;
	while (at != NO_SCOPE && va >= u->scopes[at].high)
		at = left-- ? u->scopes[at].outer : NO_SCOPE;
	return at;
}

static const char *die_name(const struct inlines *in, Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	const char *name;

	name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attr));
	if (!name)
		name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr));
	return string_check(in, name ? name : dwarf_diename(die));
}

/*
 * The path of a source file: a relative one is seen from the folder of the compilation. What lies in that itself has it in
 * its path already, which shows only where the folder is relative, too.
 */
static const char *path_join(struct inlines *in, Dwarf_Die *unit, const char *source)
{
	Dwarf_Attribute attr;
	const char *file = string_check(in, source);
	const char *folder = file && *file != '/' ?
			     string_check(in, dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr))) : NULL;
	const char *const key[] = { file, folder };
	size_t len = folder ? strlen(folder) : 0;
	struct text path = { 0 };
	uint64_t known;

	while (len > 1 && folder[len - 1] == '/')
		len--;
	if (!len || (!strncmp(file, folder, len) && file[len] == '/'))
		return file;
	if (hashmap_get(in->joined, key, sizeof(key), &known))
		return (const char *)(uintptr_t)known;
	text_add_len(&path, folder, len);
	text_printf(&path, "/%s", file);
	if (path.failed || !grow(&in->strings, in->strings_cnt, &in->strings_size, sizeof(*in->strings)) ||
	    hashmap_put(in->joined, key, sizeof(key), (uintptr_t)path.str)) {
		text_free(&path);
		return file;
	}
	return in->strings[in->strings_cnt++] = path.str;
}

/* Where an inlined function was called from. */
static void call_site(struct inlines *in, Dwarf_Die *unit, Dwarf_Die *die, struct inlines_frame *ret)
{
	Dwarf_Attribute attr;
	Dwarf_Files *files;
	Dwarf_Word file, line;
	size_t cnt;

	if (!dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attr), &line))
		ret->line = line;
	if (!dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attr), &file) && !dwarf_getsrcfiles(unit, &files, &cnt) &&
	    file < cnt)
		ret->file = path_join(in, unit, dwarf_filesrc(files, file, NULL, NULL));
}

static void source_line(struct inlines *in, Dwarf_Die *unit, uint64_t va, struct inlines_frame *ret)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, va);
	int number;

	if (!line)
		return;
	ret->file = path_join(in, unit, dwarf_linesrc(line, NULL, NULL));
	if (!dwarf_lineno(line, &number) && number > 0)
		ret->line = number;
}

void inlines_find(struct inlines *in, uint64_t va, struct inlines_list *ret)
{
	struct unit *u = unit_find(in, va);
	struct inlines_frame place = { 0 };
	uint32_t at, left = OUTER_MAX;

	ret->cnt = 0;
	if (!u)
		return;
	if (!u->read)
		unit_read(in, u);
	source_line(in, &u->die, va, &place);
	for (at = scope_find(u, va); at != NO_SCOPE && left--; at = u->scopes[at].outer) {
		struct scope *scope = &u->scopes[at];
		Dwarf_Die die;

		if (va >= scope->high || ((scope->inlined || !scope->named) && !dwarf_offdie(in->dwarf, scope->die, &die)))
			continue;
		if (!scope->named)
			scope->name = die_name(in, &die);
		scope->named = true;
		place.name = scope->name;
		if (ret->cnt == INLINES_MAX + 1)	/* the innermost ones are left out */
			memmove(ret->at, ret->at + 1, (--ret->cnt) * sizeof(ret->at[0]));
		if (place.name || !scope->inlined)	/* else it is not known what was inlined there */
			ret->at[ret->cnt++] = place;
		if (!scope->inlined)
			return;
		place = (struct inlines_frame){ 0 };
		call_site(in, &u->die, &die, &place);
	}
	/* a line, but no function: it is in the last frame, without a name */
	if (place.line && ret->cnt <= INLINES_MAX)
		ret->at[ret->cnt++] = place;
}
