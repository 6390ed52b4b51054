/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Formats: DWARF 5, 6.4; the augmentation of .eh_frame and its pointer encodings: Linux Standard Base Core, 10.5 and
 * 10.6.
 *
 *	entry	length:4 │ id:4 │ …		or 0xffffffff:4 │ length:8 │ id:8 (.eh_frame: id:4 as well)
 *	CIE	id = 0 (.eh_frame), all ones (.debug_frame); the rest is libdw's to read
 *	FDE	id → its CIE │ start │ length │ augmentation │ instructions
 *
 * Nothing here interprets instructions: they are only measured. libdw believes much (0.188): it reads over the end of a
 * CIE with a long augmentation, has an array as large as the highest register number, copies it with each state that is
 * remembered, and runs an FDE anew for each of its rows. So CIEs are read from a copy with room behind it, and
 * instructions with such a cost are left out before.
 */
#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "elf/cfi.h"
#include "elf/cfi_section.h"

/* Those of compilers have up to 60 bytes. */
#define CIE_BYTES_MAX	1024
/* The largest that was met (a function of node's) has 3,130 bytes. */
#define FDE_BYTES_MAX	(1u << 20)
/* psABI x86-64, table 3.36: 0 to 125. */
#define REG_MAX		127
#define STATES_MAX	64
#define EXPRESSION_BYTES_MAX 255
#define ALIGN_MAX	63		/* one byte of LEB128 */
/* Linkers write each once (node has 14), or at least one a file that they link. */
#define CIES_MAX	(1u << 14)

struct cfi_reader {
	const struct cfi_section *s;
	size_t pos;
	uint64_t left_out_cnt;
	struct cfi_cie *cies;
	uint32_t cies_cnt, cies_size;
	struct hashmap *by_off;
	uint32_t last;		/* the CIE that was used last */
};

struct entry {
	size_t start, end;	/* in the section, of all of it */
	size_t body;		/* behind the id */
	bool is_cie;
	uint64_t cie_off;	/* else */
};

struct cfi_reader *cfi_reader_new(const struct cfi_section *s)
{
	struct cfi_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->s = s;
	r->by_off = hashmap_new();
	return r->by_off ? r : cfi_reader_free(r);
}

struct cfi_reader *cfi_reader_free(struct cfi_reader *r)
{
	if (!r)
		return NULL;
	hashmap_free(r->by_off);
	free(r->cies);
	free(r);
	return NULL;
}

uint64_t cfi_left_out(const struct cfi_reader *r)
{
	return r->left_out_cnt;
}

const struct cfi_cie *cfi_cie(const struct cfi_reader *r, uint32_t index)
{
	return &r->cies[index];
}

static uint64_t read_unsigned(const uint8_t *at, size_t bytes)
{
	uint64_t n = 0;

	memcpy(&n, at, bytes);	/* x86-64, and image.c takes files of our own byte order only */
	return n;
}

/* An entry's frame. 1, 0 for one of length 0, -ENOEXEC when it is not inside the section. */
static int entry_read(const struct cfi_section *s, size_t pos, struct entry *ret)
{
	size_t head = 4, id_bytes = 4;
	uint64_t len, id;

	if (s->len - pos < 4)
		return -ENOEXEC;
	len = read_unsigned(s->bytes + pos, 4);
	if (len == UINT32_MAX) {
		if (s->len - pos < 12)
			return -ENOEXEC;
		head = 12;
		id_bytes = s->is_eh ? 4 : 8;
		len = read_unsigned(s->bytes + pos + 4, 8);
	}
	*ret = (struct entry){ .start = pos, .body = pos + head + id_bytes };
	if (!len) {
		ret->end = pos + head;
		return 0;
	}
	if (len > s->len - pos - head || len < id_bytes)
		return -ENOEXEC;
	ret->end = pos + head + len;
	id = read_unsigned(s->bytes + pos + head, id_bytes);
	if (s->is_eh) {
		ret->is_cie = !id;
		ret->cie_off = pos + head - id;	/* wraps to what is no offset when it lies */
	} else {
		ret->is_cie = id == (id_bytes == 4 ? UINT32_MAX : UINT64_MAX);
		ret->cie_off = id;
	}
	return 1;
}

/* LEB128; the value is cut to 64 bits. False when it does not end in front of end, or is longer than any number. */
static bool skip_leb(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
	*ret = 0;
	for (unsigned int shift = 0; *at < end && shift < 70; shift += 7) {
		uint8_t byte = *(*at)++;

		if (shift < 64)
			*ret |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/*
 * Operands of DW_CFA_*: r a register, n a number, b a block, a digit so many bytes by which the address advances. NULL:
 * not of x86-64, or (set_loc, GNU_negative_offset_extended) of no compiler of these days.
 */
static const char *const operands[64] = {
	[DW_CFA_nop] = "", [DW_CFA_advance_loc1] = "1", [DW_CFA_advance_loc2] = "2", [DW_CFA_advance_loc4] = "4",
	[DW_CFA_offset_extended] = "rn", [DW_CFA_restore_extended] = "r", [DW_CFA_undefined] = "r",
	[DW_CFA_same_value] = "r", [DW_CFA_register] = "rr", [DW_CFA_remember_state] = "", [DW_CFA_restore_state] = "",
	[DW_CFA_def_cfa] = "rn", [DW_CFA_def_cfa_register] = "r", [DW_CFA_def_cfa_offset] = "n",
	[DW_CFA_def_cfa_expression] = "b", [DW_CFA_expression] = "rb", [DW_CFA_offset_extended_sf] = "rn",
	[DW_CFA_def_cfa_sf] = "rn", [DW_CFA_def_cfa_offset_sf] = "n", [DW_CFA_val_offset] = "rn",
	[DW_CFA_val_offset_sf] = "rn", [DW_CFA_val_expression] = "rb", [DW_CFA_GNU_args_size] = "n",
};

/* Steps over one operand; false when it is cut off or costs too much. */
static bool skip_operand(char kind, const uint8_t **at, const uint8_t *end)
{
	uint64_t n = kind - '0';

	if (kind > '9' && !skip_leb(at, end, &n))
		return false;
	if (kind == 'r')
		return n <= REG_MAX;
	if (kind == 'n')
		return true;
	if (n > (uint64_t)(end - *at) || (kind == 'b' && n > EXPRESSION_BYTES_MAX))
		return false;
	*at += n;
	return true;
}

/* Measures instructions; false when libdw should not see them. A CIE's describe no rows and restore nothing. */
static bool program_measure(struct cfi_program *p, bool is_cie)
{
	const uint8_t *at = p->bytes, *end = at + p->len, *last = at;
	uint32_t states = 0;

	p->rows_cnt = 1;
	p->states_cnt = 0;
	while (at < end) {
		uint8_t op = *at++;
		const char *kinds = op & 0xc0 ? (op & 0xc0) == DW_CFA_offset ? "n" : "" : operands[op];
		bool restores = (op & 0xc0) == DW_CFA_restore || op == DW_CFA_restore_extended;
		bool advances = (op & 0xc0) == DW_CFA_advance_loc ||
				(op >= DW_CFA_advance_loc1 && op <= DW_CFA_advance_loc4);

		if (!kinds || (is_cie && (restores || advances)))
			return false;
		for (; *kinds; kinds++)
			if (!skip_operand(*kinds, &at, end))
				return false;
		if (op == DW_CFA_remember_state && states++ == STATES_MAX)
			return false;
		if (op == DW_CFA_restore_state && !states--)
			return false;
		p->states_cnt += op == DW_CFA_remember_state;
		p->rows_cnt += advances;
		if (op != DW_CFA_nop)
			last = at;
	}
	p->len = last - p->bytes;
	return true;
}

/* Bytes of a pointer in this encoding; 0 = none that we read. */
static size_t encoding_bytes(uint8_t encoding)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	default:
		return 0;
	}
}

/* The augmentation is believed as far as it is all known. */
static bool augmentation_read(const Dwarf_CIE *cie, struct cfi_cie *ret)
{
	const uint8_t *data = cie->augmentation_data, *end = data + cie->augmentation_data_size;
	const char *aug = cie->augmentation;

	ret->encoding = DW_EH_PE_absptr;
	if (!*aug)
		return true;
	if (*aug++ != 'z')
		return false;
	ret->has_augmentation = true;
	for (; *aug; aug++) {
		if (*aug == 'S') {
			ret->is_signal = true;
			continue;
		}
		if (data >= end)
			return false;
		if (*aug == 'R') {
			ret->encoding = *data++;
		} else if (*aug == 'L') {
			data++;
		} else if (*aug == 'P') {
			size_t bytes = encoding_bytes(*data);

			if (!bytes || (size_t)(end - data) < 1 + bytes || (*data & 0x70) == DW_EH_PE_aligned)
				return false;
			data += 1 + bytes;
		} else {
			return false;
		}
	}
	return true;
}

/* The CIE at an offset of the section; ret->is_usable says whether it is one. */
static void cie_read(const struct cfi_section *s, uint64_t off, struct cfi_cie *ret)
{
	/* for a letter of the augmentation libdw reads nine bytes at most, or a number that ends in zeroes */
	uint8_t copy[8 + 10 * CIE_BYTES_MAX] = { 0 };
	uint32_t len;
	unsigned char ident[EI_NIDENT] = { [EI_CLASS] = ELFCLASS64, [EI_DATA] = ELFDATA2LSB };
	Elf_Data data = { .d_buf = copy, .d_type = ELF_T_BYTE, .d_version = EV_CURRENT };
	Dwarf_CFI_Entry entry;
	struct entry e;
	Dwarf_Off next;

	*ret = (struct cfi_cie){ .off = off };
	if (off >= s->len || entry_read(s, off, &e) != 1 || !e.is_cie || e.end - e.body > CIE_BYTES_MAX)
		return;
	/* in the short form of .debug_frame */
	len = 4 + e.end - e.body;
	memcpy(copy, &len, sizeof(len));
	memset(copy + 4, 0xff, 4);
	memcpy(copy + 8, s->bytes + e.body, e.end - e.body);
	data.d_size = 4 + len;
	if (dwarf_next_cfi(ident, &data, false, 0, &next, &entry) || !dwarf_cfi_cie_p(&entry) ||
	    !augmentation_read(&entry.cie, ret))
		return;
	if (!entry.cie.code_alignment_factor || entry.cie.code_alignment_factor > ALIGN_MAX ||
	    entry.cie.data_alignment_factor < -ALIGN_MAX || entry.cie.data_alignment_factor > ALIGN_MAX)
		return;
	ret->code_align = entry.cie.code_alignment_factor;
	ret->data_align = entry.cie.data_alignment_factor;
	ret->ra_reg = entry.cie.return_address_register;
	ret->program.len = copy + data.d_size - entry.cie.initial_instructions;
	ret->program.bytes = s->bytes + e.end - ret->program.len;
	ret->is_usable = ret->program.len <= e.end - e.body && program_measure(&ret->program, true);
}

/* The index of the CIE at an offset. 0, -ENOMEM, or -E2BIG: there are too many. */
static int cie_find(struct cfi_reader *r, uint64_t off, uint32_t *ret)
{
	uint64_t index;

	if (r->cies_cnt && r->cies[r->last].off == off) {
		*ret = r->last;
		return 0;
	}
	if (!hashmap_get(r->by_off, &off, sizeof(off), &index)) {
		index = r->cies_cnt;
		if (index == CIES_MAX)
			return -E2BIG;
		if (r->cies_cnt == r->cies_size) {
			uint32_t size = r->cies_size ? r->cies_size * 2 : 16;
			struct cfi_cie *cies = realloc(r->cies, size * sizeof(*cies));

			if (!cies)
				return -ENOMEM;
			r->cies = cies;
			r->cies_size = size;
		}
		if (hashmap_put(r->by_off, &off, sizeof(off), index))
			return -ENOMEM;
		cie_read(r->s, off, &r->cies[r->cies_cnt++]);
	}
	*ret = r->last = index;
	return 0;
}

/* A number of an encoding's width. */
static uint64_t read_encoded(const uint8_t *at, uint8_t encoding)
{
	size_t bytes = encoding_bytes(encoding);
	uint64_t n = read_unsigned(at, bytes);

	if ((encoding & DW_EH_PE_signed) && bytes < 8 && n >> (8 * bytes - 1))
		n |= ~(uint64_t)0 << (8 * bytes);
	return n;
}

/* False: left out. */
static bool fde_read(const struct cfi_section *s, const struct entry *e, const struct cfi_cie *cie, struct cfi_fde *ret)
{
	const uint8_t *at = s->bytes + e->body, *end = s->bytes + e->end;
	size_t bytes = encoding_bytes(cie->encoding);
	uint8_t base = cie->encoding & 0xf0;
	uint64_t len;

	/* relative to other sections, indirect, aligned: not for functions of files */
	if (!cie->is_usable || !bytes || (base != DW_EH_PE_absptr && base != DW_EH_PE_pcrel) ||
	    (size_t)(end - at) < 2 * bytes)
		return false;
	ret->start = read_encoded(at, cie->encoding);
	if (base == DW_EH_PE_pcrel)
		ret->start += s->va + (at - s->bytes);
	/* the length is no pointer: it has the encoding's width only, and is never negative */
	len = read_unsigned(at + bytes, bytes);
	ret->end = ret->start + len;
	if (ret->end <= ret->start)
		return false;
	at += 2 * bytes;
	if (cie->has_augmentation) {
		if (!skip_leb(&at, end, &len) || len > (uint64_t)(end - at))
			return false;
		at += len;
	}
	ret->program = (struct cfi_program){ .bytes = at, .len = end - at };
	return end - at <= (ptrdiff_t)FDE_BYTES_MAX && program_measure(&ret->program, false);
}

int cfi_next(struct cfi_reader *r, struct cfi_fde *ret)
{
	const struct cfi_section *s = r->s;

	while (s->len - r->pos >= 4) {
		struct entry e;
		int got = entry_read(s, r->pos, &e), err;

		/* behind a damaged length nothing can be found */
		if (got < 0) {
			r->left_out_cnt++;
			break;
		}
		/* linkers leave ends inside: of crtend.o, of assembly */
		if (!got && !s->is_bounded)
			break;
		r->pos = e.end;
		if (!got || e.is_cie)
			continue;
		err = cie_find(r, e.cie_off, &ret->cie);
		if (err == -ENOMEM)
			return err;
		if (!err && fde_read(s, &e, &r->cies[ret->cie], ret))
			return 1;
		r->left_out_cnt++;
	}
	r->pos = s->len;
	return 0;
}
