/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rows are collected in the order of the functions, each one's end as a mark of its own, then sorted: where another
 * function begins at once, its row takes the place of the mark.
 *
 *	FDE a   row row row end
 *	FDE b                row row end
 *	rows    row row row  row row gap
 *
 * Two things that no CFI says are added: that nobody calls what the kernel jumps to (e_entry), and musl's signal restorer.
 */
#include <dwarf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "elf/cfi.h"
#include "elf/ehframe.h"
#include "elf/image.h"
#include "elf/image_private.h"

#define ROWS_MAX	(16u << 20)	/* libLLVM has 1.2 million */
#define FDE_ROWS_MAX	4096		/* libdw runs an FDE's instructions anew for each: more would take for ever */
#define FDES_TOGETHER	64		/* libdw keeps all that it has met in a tree, which becomes slow */
#define ENTRY_BYTES	64		/* _start is shorter everywhere */
#define SPARSE_ROWS	1024		/* a file with fewer has code without CFI */
#define SPARSE_BYTES	(16u << 20)

struct raw_row {
	uint64_t va;
	uint32_t rule;
	uint32_t is_end;
};

/* What an FDE is about. */
struct function {
	uint64_t start, end;
};

struct reader {
	const struct image *img;
	struct function *functions;
	size_t functions_cnt, functions_size;
	struct raw_row *rows;
	size_t cnt, size;
	struct hashmap *rule_ids;
	uint64_t *rules;
	size_t rules_cnt, rules_size;
	/* the section */
	Elf_Data data;
	uint64_t va;
	bool is_eh;		/* .eh_frame; else .debug_frame */
	Dwarf_CFI *cfi;
	Dwarf *dwarf;		/* owns cfi, of .debug_frame */
	/* the CIE that was met last */
	uint64_t cie_off;
	uint8_t encoding;
	bool cie_known;
};

static int row_add(struct reader *r, uint64_t va, uint32_t rule, bool is_end)
{
	if (r->cnt == r->size) {
		size_t size = r->size ? r->size * 2 : 4096;
		struct raw_row *rows;

		if (size > ROWS_MAX)
			return -E2BIG;
		rows = realloc(r->rows, size * sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		r->rows = rows;
		r->size = size;
	}
	r->rows[r->cnt++] = (struct raw_row){ .va = va, .rule = rule, .is_end = is_end };
	return 0;
}

/* Index of a rule, added when it is new. */
static int rule_add(struct reader *r, uint64_t rule, uint32_t *ret)
{
	uint64_t id;

	if (hashmap_get(r->rule_ids, &rule, sizeof(rule), &id)) {
		*ret = id;
		return 0;
	}
	if (r->rules_cnt == r->rules_size) {
		size_t size = r->rules_size ? r->rules_size * 2 : 256;
		uint64_t *rules = realloc(r->rules, size * sizeof(*rules));

		if (!rules)
			return -ENOMEM;
		r->rules = rules;
		r->rules_size = size;
	}
	if (hashmap_put(r->rule_ids, &rule, sizeof(rule), r->rules_cnt))
		return -ENOMEM;
	r->rules[r->rules_cnt] = rule;
	*ret = r->rules_cnt++;
	return 0;
}

static int range_add(struct reader *r, uint64_t start, uint64_t end, uint64_t rule)
{
	uint32_t id;
	int err = rule_add(r, rule, &id);

	if (!err)
		err = row_add(r, start, id, false);
	return err ? err : row_add(r, end, 0, true);
}

/* All rows of one FDE. What libdw cannot read of it is a gap. */
static int fde_read(struct reader *r, uint64_t start, uint64_t end)
{
	uint64_t va = start;
	int err = 0;

	for (int i = 0; !err && va < end && i < FDE_ROWS_MAX; i++) {
		Dwarf_Addr row_start, row_end;
		Dwarf_Frame *frame;
		bool is_signal = false;
		uint32_t id;
		int ra_reg;

		if (dwarf_cfi_addrframe(r->cfi, va, &frame))
			break;
		ra_reg = dwarf_frame_info(frame, &row_start, &row_end, &is_signal);
		if (ra_reg < 0) {
			free(frame);
			break;
		}
		err = rule_add(r, cfi_rule(frame, ra_reg, is_signal), &id);
		free(frame);
		if (!err)
			err = row_add(r, va, id, false);
		if (row_end <= va) {
			va = end;
			break;
		}
		va = row_end;
	}
	return err ? err : row_add(r, va < end ? va : end, 0, true);
}

/* How the addresses of an FDE are encoded: its CIE says. */
static bool fde_encoding(struct reader *r, const Dwarf_FDE *fde)
{
	Dwarf_CFI_Entry entry;
	Dwarf_Off next;

	if (r->cie_off == fde->CIE_pointer)
		return r->cie_known;
	r->cie_off = fde->CIE_pointer;
	r->cie_known = fde->CIE_pointer < r->data.d_size &&
		       !dwarf_next_cfi(r->img->bytes, &r->data, r->is_eh, fde->CIE_pointer, &next, &entry) &&
		       dwarf_cfi_cie_p(&entry) && cfi_cie_encoding(&entry.cie, &r->encoding);
	return r->cie_known;
}

/* libdw's reader of the section, made anew now and then: for .eh_frame only, where that costs little. */
static bool cfi_renew(struct reader *r)
{
	if (r->is_eh) {
		dwarf_cfi_end(r->cfi);
		r->cfi = dwarf_getcfi_elf(r->img->elf);
	}
	return r->cfi != NULL;
}

static int function_add(struct reader *r, uint64_t start, uint64_t end)
{
	if (r->functions_cnt == r->functions_size) {
		size_t size = r->functions_size ? r->functions_size * 2 : 1024;
		struct function *list = realloc(r->functions, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		r->functions = list;
		r->functions_size = size;
	}
	r->functions[r->functions_cnt++] = (struct function){ .start = start, .end = end };
	return 0;
}

/* The range of each FDE of the section. What cannot be read is left out. */
static int functions_find(struct reader *r)
{
	Dwarf_CFI_Entry entry;
	Dwarf_Off off = 0, next;
	uint64_t start, end;
	int err = 0;

	for (; !err; off = next) {
		int got = dwarf_next_cfi(r->img->bytes, &r->data, r->is_eh, off, &next, &entry);

		if (got > 0)
			break;
		if (got < 0 && (next <= off || next == (Dwarf_Off)-1))
			break;	/* nothing behind it can be found */
		if (got < 0 || dwarf_cfi_cie_p(&entry) || !fde_encoding(r, &entry.fde) ||
		    !cfi_fde_range(&entry.fde, r->encoding, r->data.d_buf, r->va, &start, &end))
			continue;
		err = function_add(r, start, end);
	}
	return err;
}

static int function_compare(const void *pa, const void *pb)
{
	const struct function *a = pa, *b = pb;

	return a->start != b->start ? (a->start > b->start) - (a->start < b->start) : (a->end > b->end) - (a->end < b->end);
}

/* In the order of their addresses, so that rows come sorted, or nearly. */
static int section_read(struct reader *r)
{
	int err = functions_find(r);

	if (!err && r->functions_cnt)
		qsort(r->functions, r->functions_cnt, sizeof(*r->functions), function_compare);
	for (size_t i = 0; !err && i < r->functions_cnt; i++) {
		if (i % FDES_TOGETHER == 0 && !cfi_renew(r))
			break;
		err = fde_read(r, r->functions[i].start, r->functions[i].end);
	}
	return err == -E2BIG ? 0 : err;	/* what fits is used */
}

/* The section of that name with its bytes; false when it has none in the file. */
static bool section_find(struct reader *r, const char *name)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(r->img->elf, &names))
		return false;
	while ((scn = elf_nextscn(r->img->elf, scn))) {
		GElf_Shdr head;
		const char *its_name;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &head) || head.sh_type == SHT_NOBITS || head.sh_type == SHT_NULL)
			continue;
		its_name = elf_strptr(r->img->elf, names, head.sh_name);
		if (!its_name || strcmp(its_name, name))
			continue;
		if (head.sh_flags & SHF_COMPRESSED && elf_compress(scn, 0, 0) < 0)
			return false;
		data = elf_getdata(scn, NULL);
		if (!data || !data->d_buf || !data->d_size)
			return false;
		r->data = *data;
		r->va = head.sh_addr;
		return true;
	}
	return false;
}

/*
 * .eh_frame of a file without section headers: .eh_frame_hdr (version 1) points to it. It ends with an entry of length
 * 0, or with its segment.
 */
static bool segment_find(struct reader *r)
{
	const unsigned char *hdr;
	uint64_t hdr_va, va, off;
	int32_t rel;

	if (image_eh_frame_hdr(r->img, &hdr, &hdr_va) < 8 || hdr[0] != 1 || hdr[1] != (DW_EH_PE_pcrel | DW_EH_PE_sdata4))
		return false;
	memcpy(&rel, hdr + 4, sizeof(rel));
	va = hdr_va + 4 + (int64_t)rel;
	if (image_va_to_off(r->img, va, &off))
		return false;
	for (size_t i = 0; i < r->img->segment_cnt; i++) {
		const struct image_segment *s = &r->img->segments[i];
		const unsigned char *bytes;

		if (off < s->off || off - s->off >= s->file_bytes)
			continue;
		bytes = image_range(r->img, off, s->off + s->file_bytes - off);
		if (!bytes)
			return false;
		r->data = (Elf_Data){ .d_buf = (void *)(uintptr_t)bytes, .d_size = s->off + s->file_bytes - off,
				      .d_type = ELF_T_BYTE, .d_version = EV_CURRENT };
		r->va = va;
		return true;
	}
	return false;
}

static int cfi_read(struct reader *r)
{
	int err = 0;

	r->is_eh = true;
	r->cie_off = UINT64_MAX;
	if (section_find(r, ".eh_frame") || segment_find(r)) {
		err = section_read(r);
		dwarf_cfi_end(r->cfi);
	} else if (section_find(r, ".debug_frame")) {
		r->is_eh = false;
		r->dwarf = dwarf_begin_elf(r->img->elf, DWARF_C_READ, NULL);
		r->cfi = r->dwarf ? dwarf_getcfi(r->dwarf) : NULL;
		if (r->cfi)
			err = section_read(r);
		dwarf_end(r->dwarf);
	}
	return err;
}

static int raw_compare(const void *pa, const void *pb)
{
	const struct raw_row *a = pa, *b = pb;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	return (int)a->is_end - (int)b->is_end;
}

static bool rows_are_sorted(const struct reader *r)
{
	for (size_t i = 1; i < r->cnt; i++)
		if (raw_compare(&r->rows[i - 1], &r->rows[i]) > 0)
			return false;
	return true;
}

static void rows_sort(struct reader *r)
{
	uint64_t va = 0;
	size_t kept = 0;

	if (!rows_are_sorted(r))
		qsort(r->rows, r->cnt, sizeof(*r->rows), raw_compare);
	for (size_t i = 0; i < r->cnt; i++) {
		const struct raw_row *last = kept ? &r->rows[kept - 1] : NULL, *row = &r->rows[i];

		/* the first at an address counts, also where it only says that the rule goes on */
		if (i && row->va == va)
			continue;
		va = row->va;
		if (last ? last->rule != row->rule : row->rule)
			r->rows[kept++] = *row;
	}
	r->cnt = kept;
}

/* Whether no row holds at va; *ret_end: where the next one begins. The rows are sorted. */
static bool is_gap(const struct reader *r, uint64_t va, uint64_t *ret_end)
{
	size_t low = 0, high = r->cnt;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (r->rows[middle].va <= va)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_end = low < r->cnt ? r->rows[low].va : UINT64_MAX;
	return !low || !r->rows[low - 1].rule;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Nobody calls the entry point; musl's has no CFI that would say so. */
static int entry_add(struct reader *r)
{
	uint64_t va = r->img->ehdr.e_entry, end;
	const unsigned char *text;
	size_t len;

	if (!va || image_text(r->img, va, 1, &text, &len) || !is_gap(r, va, &end))
		return 0;
	return range_add(r, va, min_u64(end, va + ENTRY_BYTES), UNWIND_RULE(UNWIND_END, 0, 0, 0));
}

/* mov $15, %rax; syscall: rt_sigreturn, what a signal handler returns to (musl: src/signal/x86_64/restore.s). */
static int restorer_add(struct reader *r)
{
	static const unsigned char code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };

	for (size_t i = 0; r->cnt < SPARSE_ROWS && i < r->img->segment_cnt; i++) {
		const struct image_segment *s = &r->img->segments[i];
		const unsigned char *text = s->exec && s->file_bytes <= SPARSE_BYTES ?
					    image_range(r->img, s->off, s->file_bytes) : NULL, *at;
		uint64_t va, end;

		at = text ? memmem(text, s->file_bytes, code, sizeof(code)) : NULL;
		if (!at)
			continue;
		va = s->va + (at - text);
		if (is_gap(r, va, &end) && end - va >= sizeof(code))
			return range_add(r, va, va + sizeof(code), UNWIND_RULE(UNWIND_SIGNAL, 0, 0, 0));
	}
	return 0;
}

static int rows_take(struct reader *r, struct ehframe *ret)
{
	struct ehframe e = { .rows_cnt = r->cnt, .rules_cnt = r->rules_cnt };

	/* the last is an end mark: every range has one, and none lies behind it */
	if (!r->cnt)
		return -ENOENT;
	e.base_va = r->rows[0].va & ~(uint64_t)(UNWIND_BLOCK_BYTES - 1);
	if (r->rows[r->cnt - 1].va - e.base_va > UINT32_MAX || r->rows[r->cnt - 1].rule)
		return -ENOEXEC;
	e.rows = malloc(r->cnt * sizeof(*e.rows));
	if (!e.rows)
		return -ENOMEM;
	for (size_t i = 0; i < r->cnt; i++)
		e.rows[i] = (struct ehframe_row){ .va_off = r->rows[i].va - e.base_va, .rule = r->rows[i].rule };
	e.rules = r->rules;
	r->rules = NULL;
	*ret = e;
	return 0;
}

int ehframe_read(const struct image *img, struct ehframe *ret)
{
	struct reader r = { .img = img, .rule_ids = hashmap_new() };
	size_t sorted;
	uint32_t none;
	int err;

	if (image_machine(img) != EM_X86_64 || !image_is_64bit(img)) {
		hashmap_free(r.rule_ids);
		return -EOPNOTSUPP;
	}
	err = r.rule_ids ? rule_add(&r, 0, &none) : -ENOMEM;
	if (!err)
		err = cfi_read(&r);
	if (!err) {
		rows_sort(&r);
		sorted = r.cnt;
		err = entry_add(&r);
		if (!err && r.cnt == sorted)
			err = restorer_add(&r);
		if (r.cnt != sorted)
			rows_sort(&r);
	}
	if (!err)
		err = rows_take(&r, ret);
	hashmap_free(r.rule_ids);
	free(r.rules);
	free(r.rows);
	free(r.functions);
	return err;
}

void ehframe_free(struct ehframe *e)
{
	free(e->rows);
	free(e->rules);
	*e = (struct ehframe){ 0 };
}
