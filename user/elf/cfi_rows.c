/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libdw gets a file of our own making, with programs side by side in an .eh_frame, each at an address of its own. What
 * it is given is small and well formed, whatever the real file holds, and it has little to remember.
 *
 *	ELF header │ CIE, FDE at 0x200000000, FDE at 0x400000000, … │ names of sections │ section headers
 *
 * Hence the real section's encodings, overlaps, missing headers and wrong search tables do not matter here.
 */
#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <libelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/hashmap.h"
#include "elf/cfi_rows.h"
#include "elf/cfi_rule.h"
#include "unwind.h"

#define ROOM_SHIFT	33		/* of one program in the address space of our file */
#define ROOM_BYTES	((uint64_t)UINT32_MAX)
/* Of one file. More of them: libdw's tree grows slow; fewer: setting up costs more than running. */
#define BATCH_PROGRAMS	256
/*
 * libdw runs a program anew for each row: rows times bytes is the price of one, of about 1 ns each. All of node costs
 * 100 million, the most expensive of its functions 28 million (3,130 bytes, 894 rows at most).
 */
#define PROGRAM_PRICE_MAX	((uint64_t)1 << 27)
#define PRICE_MAX	((uint64_t)1 << 30)
#define ROWS_MAX	(16u << 20)	/* of all programs; libLLVM's have less than 1.2 million */
#define STATE_PRICE	64		/* a state that is remembered is a copy of all registers */
/* What the unwinder can take of all files together. What comes after is UNWIND_BAD. */
#define RULES_MAX	(1u << 14)
#define SLOTS_SHIFT	15		/* of the table of rules: never more than half full */
#define CHAIN_MAX	16		/* who makes hashes collide gets his programs run more than once */
#define NONE		UINT32_MAX

struct program {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t cie;		/* NONE: its row is there already */
	uint32_t row, rows_cnt;
	uint32_t next;		/* of one hash */
};

/* The file for libdw. A failed append stays failed. */
struct made_file {
	uint8_t *bytes;
	size_t len, size;
	bool failed;
};

struct cfi_rows {
	const struct cfi_reader *reader;
	struct program *programs;
	uint32_t programs_cnt, programs_size;
	uint32_t *heads;	/* by hash, programs_size of them: the program added last, or NONE */
	uint64_t price, rows_most_cnt;	/* of all programs so far */
	struct cfi_row *rows;
	uint32_t rows_cnt, rows_size;
	uint64_t *rules;	/* RULES_MAX */
	uint32_t rules_cnt;
	uint32_t bad_id;
	uint16_t *rule_slots;	/* by hash: index in rules, 0 = free (rule 0 is never looked for) */
	uint64_t hash_key;
	struct made_file file;
};

/* *array has room for one more of that size. 0 or -ENOMEM. */
static int array_room(void *array, uint32_t cnt, uint32_t *size, size_t bytes)
{
	uint32_t bigger = *size ? *size * 2 : 256;
	void *p;

	if (cnt < *size)
		return 0;
	if (bigger < *size)
		return -ENOMEM;
	memcpy(&p, array, sizeof(p));
	p = realloc(p, bigger * bytes);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*size = bigger;
	return 0;
}

/*
 * The index of a rule, added when it is new. Its bits are the file's choice, so the hash has a key: the 16 random bytes
 * that the kernel gives to each program.
 */
static uint32_t rule_id(struct cfi_rows *c, uint64_t rule)
{
	uint32_t slot = rule * c->hash_key >> (64 - SLOTS_SHIFT);

	if (!rule)
		return 0;
	for (; c->rule_slots[slot]; slot = (slot + 1) % (1u << SLOTS_SHIFT))
		if (c->rules[c->rule_slots[slot]] == rule)
			return c->rule_slots[slot];
	if (c->rules_cnt == RULES_MAX)
		return c->bad_id;
	c->rules[c->rules_cnt] = rule;
	c->rule_slots[slot] = c->rules_cnt;
	return c->rules_cnt++;
}

struct cfi_rows *cfi_rows_new(const struct cfi_reader *r)
{
	struct cfi_rows *c = calloc(1, sizeof(*c));
	const void *random = (const void *)getauxval(AT_RANDOM);

	if (!c)
		return NULL;
	c->reader = r;
	c->rules = malloc(RULES_MAX * sizeof(*c->rules));
	c->rule_slots = calloc(1u << SLOTS_SHIFT, sizeof(*c->rule_slots));
	if (!c->rules || !c->rule_slots)
		return cfi_rows_free(c);
	if (random)
		memcpy(&c->hash_key, random, sizeof(c->hash_key));
	c->hash_key |= 1;
	c->rules[c->rules_cnt++] = 0;
	c->bad_id = rule_id(c, UNWIND_RULE(UNWIND_BAD, 0, 0, 0));
	return c;
}

struct cfi_rows *cfi_rows_free(struct cfi_rows *c)
{
	if (!c)
		return NULL;
	free(c->programs);
	free(c->heads);
	free(c->rows);
	free(c->rules);
	free(c->rule_slots);
	free(c->file.bytes);
	free(c);
	return NULL;
}

static int row_add(struct cfi_rows *c, uint32_t off, uint32_t rule)
{
	int err = array_room(&c->rows, c->rows_cnt, &c->rows_size, sizeof(*c->rows));

	if (!err)
		c->rows[c->rows_cnt++] = (struct cfi_row){ .off = off, .rule = rule };
	return err;
}

static uint32_t program_hash(const struct cfi_rows *c, const uint8_t *bytes, uint32_t len, uint32_t cie)
{
	return (hash_bytes(bytes, len) + cie) & (c->programs_size - 1);
}

/* Room for one more, and the table of hashes as large as that. */
static int programs_room(struct cfi_rows *c)
{
	uint32_t size = c->programs_size;
	uint32_t *heads;
	int err = array_room(&c->programs, c->programs_cnt, &c->programs_size, sizeof(*c->programs));

	if (err || size == c->programs_size)
		return err;
	heads = realloc(c->heads, c->programs_size * sizeof(*heads));
	if (!heads)
		return -ENOMEM;
	c->heads = heads;
	memset(heads, 0xff, c->programs_size * sizeof(*heads));
	for (uint32_t i = 0; i < c->programs_cnt; i++) {
		struct program *p = &c->programs[i];
		uint32_t *head = &heads[program_hash(c, p->bytes, p->len, p->cie)];

		p->next = *head;
		*head = i;
	}
	return 0;
}

static uint64_t program_price(const struct cfi_program *p)
{
	return (uint64_t)p->rows_cnt * (p->len + (uint64_t)p->states_cnt * STATE_PRICE);
}

int cfi_rows_add(struct cfi_rows *c, const struct cfi_fde *fde, uint32_t *ret)
{
	const struct cfi_program *p = &fde->program;
	uint64_t price = program_price(p);
	uint32_t at, turns = 0, *head;
	int err = programs_room(c);

	if (err)
		return err;
	head = &c->heads[program_hash(c, p->bytes, p->len, fde->cie)];
	for (at = *head; at != NONE && turns < CHAIN_MAX; at = c->programs[at].next, turns++) {
		const struct program *its = &c->programs[at];

		if (its->cie == fde->cie && its->len == p->len && !memcmp(its->bytes, p->bytes, p->len)) {
			*ret = at;
			return 0;
		}
	}
	if (price > PROGRAM_PRICE_MAX || price > PRICE_MAX - c->price || p->rows_cnt > ROWS_MAX - c->rows_most_cnt)
		return -E2BIG;
	c->price += price;
	c->rows_most_cnt += p->rows_cnt;
	c->programs[c->programs_cnt] = (struct program){
		.bytes = p->bytes, .len = p->len, .cie = fde->cie, .next = *head,
	};
	*ret = *head = c->programs_cnt++;
	return 0;
}

int cfi_rows_add_rule(struct cfi_rows *c, uint64_t rule, uint32_t *ret)
{
	int err = programs_room(c);
	uint32_t *head;

	if (!err)
		err = row_add(c, 0, rule_id(c, rule));
	if (err)
		return err;
	head = &c->heads[program_hash(c, NULL, 0, NONE)];
	c->programs[c->programs_cnt] = (struct program){
		.cie = NONE, .row = c->rows_cnt - 1, .rows_cnt = 1, .next = *head,
	};
	*ret = *head = c->programs_cnt++;
	return 0;
}

static void file_append(struct made_file *f, const void *bytes, size_t len)
{
	if (f->len + len > f->size && !f->failed) {
		size_t size = (f->len + len) * 2;
		uint8_t *bigger = realloc(f->bytes, size);

		f->failed = !bigger;
		if (bigger) {
			f->bytes = bigger;
			f->size = size;
		}
	}
	if (f->failed)
		return;
	if (len)
		memcpy(f->bytes + f->len, bytes, len);
	f->len += len;
}

static void file_append_byte(struct made_file *f, uint8_t byte)
{
	file_append(f, &byte, 1);
}

/* An entry's length and id; it ends with entry_end(). Returns where it begins. */
static size_t entry_begin(struct made_file *f, uint32_t id)
{
	uint32_t head[2] = { 0, id };
	size_t pos = f->len;

	file_append(f, head, sizeof(head));
	return pos;
}

static void entry_end(struct made_file *f, size_t pos)
{
	uint32_t len;

	while (f->len % 8 && !f->failed)
		file_append_byte(f, DW_CFA_nop);
	len = f->len - pos - sizeof(len);
	if (!f->failed)
		memcpy(f->bytes + pos, &len, sizeof(len));
}

/* Version 1, no augmentation: FDEs have addresses of 8 bytes. The factors fit into one byte of LEB128. */
static size_t cie_append(struct made_file *f, const struct cfi_cie *cie)
{
	size_t pos = entry_begin(f, 0);

	file_append_byte(f, 1);
	file_append_byte(f, 0);
	file_append_byte(f, cie->code_align & 0x7f);
	file_append_byte(f, cie->data_align & 0x7f);
	file_append_byte(f, cie->ra_reg);
	file_append(f, cie->program.bytes, cie->program.len);
	entry_end(f, pos);
	return pos;
}

static void fde_append(struct made_file *f, size_t cie_pos, uint64_t va, const struct program *p)
{
	const uint64_t range[2] = { va, ROOM_BYTES };
	size_t pos = entry_begin(f, f->len + 4 - cie_pos);

	file_append(f, range, sizeof(range));
	file_append(f, p->bytes, p->len);
	entry_end(f, pos);
}

/* The headers, when the entries from sizeof(Elf64_Ehdr) on are there. */
static void file_finish(struct made_file *f)
{
	static const char names[16] = "\0.eh_frame\0.x";
	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(ehdr),
		.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 3, .e_shstrndx = 2,
		.e_shoff = f->len + sizeof(names),
	};
	Elf64_Shdr shdrs[3] = {
		[1] = { .sh_name = 1, .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_offset = sizeof(ehdr),
			.sh_size = f->len - sizeof(ehdr), .sh_addralign = 8 },
		[2] = { .sh_name = 11, .sh_type = SHT_STRTAB, .sh_offset = f->len, .sh_size = sizeof(names),
			.sh_addralign = 1 },
	};

	file_append(f, names, sizeof(names));
	file_append(f, shdrs, sizeof(shdrs));
	if (!f->failed)
		memcpy(f->bytes, &ehdr, sizeof(ehdr));
}

static uint64_t room_va(uint32_t index)
{
	return (uint64_t)(index + 1) << ROOM_SHIFT;
}

/* The file with the programs from first to end: 1, 0 when none of them is to be run, -ENOMEM. */
static int file_make(struct made_file *f, const struct cfi_rows *c, uint32_t first, uint32_t end)
{
	static const Elf64_Ehdr room;
	uint32_t cie = NONE;
	size_t pos = 0;

	f->len = 0;
	file_append(f, &room, sizeof(room));
	for (uint32_t i = first; i < end; i++) {
		const struct program *p = &c->programs[i];

		if (p->cie == NONE)
			continue;
		if (p->cie != cie)
			pos = cie_append(f, cfi_cie(c->reader, p->cie));
		cie = p->cie;
		fde_append(f, pos, room_va(i - first), p);
	}
	file_finish(f);
	return f->failed ? -ENOMEM : cie != NONE;
}

/* All rows of one program. What libdw cannot read of it is a gap. */
static int program_run(struct cfi_rows *c, struct program *p, Dwarf_CFI *cfi, uint64_t va)
{
	uint64_t pc = va;
	int err = 0;

	p->row = c->rows_cnt;
	while (!err && pc - va < ROOM_BYTES) {
		Dwarf_Addr start, end = pc;
		Dwarf_Frame *frame = NULL;
		uint32_t id = 0;

		if (!dwarf_cfi_addrframe(cfi, pc, &frame) && dwarf_frame_info(frame, &start, &end, NULL) >= 0)
			id = rule_id(c, cfi_rule(frame, cfi_cie(c->reader, p->cie)->is_signal));
		free(frame);
		if (p->row == c->rows_cnt || c->rows[c->rows_cnt - 1].rule != id)
			err = row_add(c, pc - va, id);
		if (end <= pc)
			break;
		pc = end;
	}
	p->rows_cnt = c->rows_cnt - p->row;
	return err;
}

static int batch_run(struct cfi_rows *c, uint32_t first, uint32_t end)
{
	int err = file_make(&c->file, c, first, end);
	Dwarf_CFI *cfi;
	Elf *elf;

	if (err <= 0)
		return err;
	elf = elf_memory((char *)c->file.bytes, c->file.len);
	cfi = elf ? dwarf_getcfi_elf(elf) : NULL;
	err = cfi ? 0 : -ENOMEM;	/* the file is sound */
	for (uint32_t i = first; !err && i < end; i++)
		if (c->programs[i].cie != NONE)
			err = program_run(c, &c->programs[i], cfi, room_va(i - first));
	dwarf_cfi_end(cfi);
	elf_end(elf);
	return err;
}

int cfi_rows_run(struct cfi_rows *c)
{
	int err = 0;

	elf_version(EV_CURRENT);
	for (uint32_t i = 0; !err && i < c->programs_cnt; i += BATCH_PROGRAMS) {
		uint32_t left = c->programs_cnt - i;

		err = batch_run(c, i, i + (left < BATCH_PROGRAMS ? left : BATCH_PROGRAMS));
	}
	return err;
}

const struct cfi_row *cfi_rows_at(const struct cfi_rows *c, uint32_t index, size_t *ret_cnt)
{
	*ret_cnt = c->programs[index].rows_cnt;
	return c->rows + c->programs[index].row;
}

uint64_t *cfi_rows_rules(struct cfi_rows *c, size_t *ret_cnt)
{
	uint64_t *rules = realloc(c->rules, c->rules_cnt * sizeof(*rules));

	*ret_cnt = c->rules_cnt;
	rules = rules ? rules : c->rules;
	c->rules = NULL;
	return rules;
}
