/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file is mapped once by libelf and read in place: nothing is copied but program headers and the
 * few names that carry a version.
 *
 *	libelf		ELF header, program and section headers, notes
 *	here		what they point at, each range checked against the length of the file (image_range)
 *
 * Symbols come through section headers; imports, as for the dynamic linker, through PT_DYNAMIC, so
 * that they are found in a file without section headers too. Not covered: .dynsym of such a file (its
 * length stands only in the hash tables), packed relocations of Android, and anything but the ELF and
 * program headers of 32-bit files, which have to be recognised and no more.
 *
 * A file that is cut short while it is mapped gives SIGBUS, as with every mapping; who opens files that
 * a target can write should do so in a process of its own.
 */
#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "elf/image.h"
#include "elf/image_private.h"

/* load_elf_phdrs() in fs/binfmt_elf.c refuses more than 64 KiB of program headers. */
#define PHDRS_MAX (65536 / sizeof(Elf64_Phdr))
/* Names may overlap in a string table: the sum of their lengths is bounded, not only each. */
#define NAME_BYTES_MAX ((size_t)1 << 30)
/* A file may name the same notes over and over; what real files have is a few KiB. */
#define NOTE_BYTES_MAX ((uint64_t)4 << 20)
/* Build ids are 8 to 32 bytes in practice; the kernel takes 20 at most. */
#define BUILD_ID_MAX 64

const unsigned char *image_range(const struct image *img, uint64_t off, uint64_t len)
{
	return off <= img->len && len <= img->len - off ? img->bytes + off : NULL;
}

static const struct image_segment *segment_by_va(const struct image *img, uint64_t va, bool exec_only)
{
	for (size_t i = 0; i < img->segment_cnt; i++) {
		const struct image_segment *seg = &img->segments[i];

		if (va >= seg->va && va - seg->va < seg->file_bytes && (seg->exec || !exec_only))
			return seg;
	}
	return NULL;
}

int image_va_to_off(const struct image *img, uint64_t va, uint64_t *ret_off)
{
	const struct image_segment *seg = segment_by_va(img, va, false);

	if (!seg)
		return -ENOENT;
	*ret_off = va - seg->va + seg->off;
	return 0;
}

/* Executable segments first: where two map the same bytes, the question is about code. */
int image_off_to_va(const struct image *img, uint64_t off, uint64_t *ret_va)
{
	for (int want_exec = 1; want_exec >= 0; want_exec--) {
		for (size_t i = 0; i < img->segment_cnt; i++) {
			const struct image_segment *seg = &img->segments[i];

			if (seg->exec != want_exec || off < seg->off || off - seg->off >= seg->file_bytes)
				continue;
			*ret_va = off - seg->off + seg->va;
			return 0;
		}
	}
	return -ENOENT;
}

int image_text(const struct image *img, uint64_t va, size_t len, const unsigned char **ret, size_t *ret_len)
{
	const struct image_segment *seg = segment_by_va(img, va, true);
	uint64_t off, left;

	if (!seg)
		return -ENOENT;
	off = va - seg->va + seg->off;
	/* The headers of a separate debug file speak of bytes that it does not have. */
	if (off >= img->len)
		return -ENOENT;
	left = seg->va + seg->file_bytes - va;
	if (left > img->len - off)
		left = img->len - off;
	*ret = img->bytes + off;
	*ret_len = len < left ? len : left;
	return 0;
}

const unsigned char *image_at_va(const struct image *img, uint64_t va, uint64_t len)
{
	const struct image_segment *seg = segment_by_va(img, va, false);

	if (!seg || len > seg->file_bytes - (va - seg->va))
		return NULL;
	return image_range(img, va - seg->va + seg->off, len);
}

/* Looks for the build id among the notes in a range, unless it is known already. */
static void load_notes(struct image *img, uint64_t off, uint64_t bytes, uint64_t align)
{
	size_t pos = 0, name_off, desc_off;
	Elf_Data *data = NULL;
	GElf_Nhdr note;

	if (!img->build_id_len && image_range(img, off, bytes) && bytes <= NOTE_BYTES_MAX - img->note_bytes)
		data = elf_getdata_rawchunk(img->elf, off, bytes, align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!data)
		return;
	img->note_bytes += bytes;
	while ((pos = gelf_getnote(data, pos, &note, &name_off, &desc_off))) {
		const unsigned char *buf = data->d_buf;

		if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != sizeof("GNU") ||
		    memcmp(buf + name_off, "GNU", sizeof("GNU")) || note.n_descsz > BUILD_ID_MAX)
			continue;
		img->build_id = buf + desc_off;
		img->build_id_len = note.n_descsz;
		return;
	}
}

static void load_dynamic(struct image *img, const GElf_Phdr *phdr)
{
	const unsigned char *at = image_range(img, phdr->p_offset, phdr->p_filesz);
	Elf64_Dyn d;

	for (size_t i = 0; at && i < phdr->p_filesz / sizeof(d); i++) {
		memcpy(&d, at + i * sizeof(d), sizeof(d));
		if (d.d_tag == DT_NULL)
			return;
		if (d.d_tag > 0 && d.d_tag < DT_NUM)
			img->dynamic[d.d_tag] = d.d_un.d_val;
		if (d.d_tag == DT_FLAGS_1)
			img->flags_1 = d.d_un.d_val;
	}
}

static int load_segments(struct image *img)
{
	GElf_Phdr phdr, dynamic = { 0 };
	size_t cnt;

	/* libelf lowers the number to what the file has room for. */
	if (elf_getphdrnum(img->elf, &cnt) || cnt > PHDRS_MAX || img->ehdr.e_phnum != cnt)
		return -ENOEXEC;
	img->segments = calloc(cnt + 1, sizeof(*img->segments));
	if (!img->segments)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		if (!gelf_getphdr(img->elf, i, &phdr))
			return -ENOEXEC;
		switch (phdr.p_type) {
		case PT_LOAD:
			if (phdr.p_vaddr + phdr.p_filesz < phdr.p_vaddr || phdr.p_offset + phdr.p_filesz < phdr.p_offset)
				return -ENOEXEC;
			img->segments[img->segment_cnt++] = (struct image_segment){
				.va = phdr.p_vaddr, .off = phdr.p_offset, .file_bytes = phdr.p_filesz,
				.exec = phdr.p_flags & PF_X,
			};
			break;
		case PT_INTERP: img->has_interp = true; break;
		case PT_DYNAMIC: dynamic = phdr; break;
		case PT_NOTE: load_notes(img, phdr.p_offset, phdr.p_filesz, phdr.p_align); break;
		case PT_GNU_EH_FRAME:
			img->eh_frame_hdr_va = phdr.p_vaddr;
			img->eh_frame_hdr_bytes = phdr.p_filesz;
			break;
		}
	}
	if (image_is_64bit(img))
		load_dynamic(img, &dynamic);
	return 0;
}

/* The string table in a section, up to its last NUL: what follows that is no string. NULL: none such. */
static const char *section_strings(const struct image *img, size_t index, size_t *ret_len)
{
	Elf_Scn *scn = elf_getscn(img->elf, index);
	const char *strings;
	GElf_Shdr shdr;
	size_t len;

	if (!scn || !gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_STRTAB)
		return NULL;
	strings = (const char *)image_range(img, shdr.sh_offset, shdr.sh_size);
	for (len = strings ? shdr.sh_size : 0; len && strings[len - 1]; len--)
		;
	*ret_len = len;
	return strings;
}

static void load_table(struct image *img, struct table *table, const GElf_Shdr *shdr)
{
	table->present = true;
	table->dynamic = shdr->sh_type == SHT_DYNSYM;
	table->strings = section_strings(img, shdr->sh_link, &table->strings_len);
	table->syms = image_range(img, shdr->sh_offset, shdr->sh_size);
	table->lies = shdr->sh_entsize != sizeof(Elf64_Sym) || !table->strings || !table->syms;
	if (!table->lies)
		table->sym_cnt = shdr->sh_size / sizeof(Elf64_Sym);
}

/* A file whose section headers are broken is one without them. */
static void load_sections(struct image *img)
{
	const unsigned char *versions = NULL;
	size_t version_cnt = 0;
	GElf_Shdr shdr;

	for (Elf_Scn *scn = elf_nextscn(img->elf, NULL); scn; scn = elf_nextscn(img->elf, scn)) {
		if (!gelf_getshdr(scn, &shdr))
			continue;
		if (shdr.sh_type == SHT_NOTE)
			load_notes(img, shdr.sh_offset, shdr.sh_size, shdr.sh_addralign);
		if (!image_is_64bit(img))
			continue;
		if (shdr.sh_type == SHT_DYNSYM && !img->dynsym.present)
			load_table(img, &img->dynsym, &shdr);
		if (shdr.sh_type == SHT_SYMTAB && !img->symtab.present)
			load_table(img, &img->symtab, &shdr);
		if (shdr.sh_type == SHT_GNU_versym) {
			versions = image_range(img, shdr.sh_offset, shdr.sh_size);
			version_cnt = shdr.sh_size / sizeof(Elf64_Versym);
		}
	}
	if (version_cnt >= img->dynsym.sym_cnt)
		img->dynsym.versions = versions;
}

static int image_load(struct image *img, bool any_type)
{
	const int order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	int err;

	if (!img->elf || elf_kind(img->elf) != ELF_K_ELF || !gelf_getehdr(img->elf, &img->ehdr))
		return -ENOEXEC;
	if (img->ehdr.e_ident[EI_DATA] != order ||
	    (img->ehdr.e_type != ET_EXEC && img->ehdr.e_type != ET_DYN && !(any_type && img->ehdr.e_type == ET_REL)))
		return -ENOEXEC;
	/* A pointer to the mapping; libelf reads the file here only if it could not be mapped. */
	img->bytes = (const unsigned char *)elf_rawfile(img->elf, &img->len);
	if (!img->bytes)
		return -ENOEXEC;
	err = load_segments(img);
	if (err)
		return err;
	load_sections(img);
	return 0;
}

/* No setting but a lock: see image_forbid(). */
static bool forbidden;

void image_forbid(void)
{
	forbidden = true;
}

void image_allow(void)
{
	forbidden = false;
}

static int image_check_allowed(void)
{
	if (forbidden)
		log_debug("refused: a file would have been parsed with privileges");
	return forbidden ? -EPERM : 0;
}

/* Takes over elf and copy, which may be NULL. */
static int image_new(Elf *elf, void *copy, bool any_type, struct image **ret)
{
	struct image *img = calloc(1, sizeof(*img));
	int err;

	if (!img) {
		elf_end(elf);
		free(copy);
		return -ENOMEM;
	}
	img->users_cnt = 1;
	img->elf = elf;
	img->copy = copy;
	err = image_load(img, any_type);
	if (err) {
		image_free(img);
		return err;
	}
	/* all of the file is in memory by now, see image_load(): the descriptor is the caller's to close */
	elf_cntl(elf, ELF_C_FDDONE);
	*ret = img;
	return 0;
}

static int open_fd(int fd, bool any_type, struct image **ret)
{
	int err = image_check_allowed();

	if (err)
		return err;
	elf_version(EV_CURRENT);
	return image_new(elf_begin(fd, ELF_C_READ_MMAP, NULL), NULL, any_type, ret);
}

int image_open(int fd, struct image **ret)
{
	return open_fd(fd, false, ret);
}

int image_open_any(int fd, struct image **ret)
{
	return open_fd(fd, true, ret);
}

int image_open_memory(const void *data, size_t len, struct image **ret)
{
	int err = image_check_allowed();
	char *copy;

	if (err)
		return err;
	copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	elf_version(EV_CURRENT);
	return image_new(elf_memory(copy, len), copy, false, ret);
}

struct image *image_ref(struct image *img)
{
	img->users_cnt++;
	return img;
}

struct image *image_free(struct image *img)
{
	if (!img || --img->users_cnt)
		return NULL;
	tdestroy(img->versionless, free);
	free(img->segments);
	elf_end(img->elf);
	free(img->copy);
	free(img);
	return NULL;
}

size_t image_segments(const struct image *img, const struct image_segment **ret)
{
	*ret = img->segments;
	return img->segment_cnt;
}

size_t image_bytes(const struct image *img)
{
	return img->len;
}

bool image_is_64bit(const struct image *img)
{
	return img->ehdr.e_ident[EI_CLASS] == ELFCLASS64;
}

int image_machine(const struct image *img)
{
	return img->ehdr.e_machine;
}

/* A static PIE is ET_DYN like a library; only DF_1_PIE tells them apart. */
bool image_is_static_exec(const struct image *img)
{
	return !img->has_interp && (img->ehdr.e_type == ET_EXEC || (img->flags_1 & DF_1_PIE));
}

bool image_has_symtab(const struct image *img)
{
	return img->symtab.present && img->symtab.sym_cnt;
}

size_t image_build_id(const struct image *img, const unsigned char **ret_id)
{
	*ret_id = img->build_id;
	return img->build_id_len;
}

int image_section(const struct image *img, const char *name, GElf_Shdr *ret)
{
	const char *strings = NULL;
	size_t index, len;

	if (!elf_getshdrstrndx(img->elf, &index))
		strings = section_strings(img, index, &len);
	for (Elf_Scn *scn = elf_nextscn(img->elf, NULL); scn && strings; scn = elf_nextscn(img->elf, scn))
		if (gelf_getshdr(scn, ret) && ret->sh_name < len && !strcmp(strings + ret->sh_name, name))
			return 0;
	return -ENOENT;
}

bool image_has_section(const struct image *img, const char *name)
{
	GElf_Shdr shdr;

	return !image_section(img, name, &shdr);
}

int image_section_end(const struct image *img, uint64_t va, uint64_t *ret_end)
{
	uint64_t next = UINT64_MAX;
	GElf_Shdr shdr;

	for (Elf_Scn *scn = elf_nextscn(img->elf, NULL); scn; scn = elf_nextscn(img->elf, scn)) {
		/* .tbss has an address, but the bytes there are another section's. */
		if (!gelf_getshdr(scn, &shdr) || !(shdr.sh_flags & SHF_ALLOC) ||
		    ((shdr.sh_flags & SHF_TLS) && shdr.sh_type == SHT_NOBITS))
			continue;
		if (shdr.sh_addr > va && shdr.sh_addr < next)
			next = shdr.sh_addr;
		if (va < shdr.sh_addr || va - shdr.sh_addr >= shdr.sh_size || shdr.sh_addr + shdr.sh_size < shdr.sh_addr)
			continue;
		*ret_end = shdr.sh_addr + shdr.sh_size;
		return 0;
	}
	*ret_end = next;
	return -ENOENT;
}

static int versionless_cmp(const void *a, const void *b)
{
	uint32_t x = ((const struct versionless *)a)->offset, y = ((const struct versionless *)b)->offset;

	return (x > y) - (x < y);
}

/* The first len bytes of the name at the offset, copied once. NULL when memory is short. */
static const char *name_cut(const struct image *img, uint32_t offset, const char *name, size_t len)
{
	void **tree = (void **)&img->versionless;
	struct versionless *v, key = { .offset = offset };
	void *node = tfind(&key, tree, versionless_cmp);

	if (node)
		return (*(struct versionless **)node)->name;
	v = malloc(sizeof(*v) + len + 1);
	if (!v)
		return NULL;
	v->offset = offset;
	memcpy(v->name, name, len);
	v->name[len] = '\0';
	if (!tsearch(v, tree, versionless_cmp)) {
		free(v);
		return NULL;
	}
	return v->name;
}

/* False for symbols that are not the address of something in the file. */
static bool symbol_is_placed(const Elf64_Sym *s)
{
	unsigned int type = ELF64_ST_TYPE(s->st_info);

	return s->st_value && s->st_shndx != SHN_UNDEF &&
	       (s->st_shndx < SHN_LORESERVE || s->st_shndx == SHN_XINDEX) &&
	       type != STT_TLS && type != STT_SECTION && type != STT_FILE;
}

static enum image_symbol_type symbol_type(const Elf64_Sym *s)
{
	switch (ELF64_ST_TYPE(s->st_info)) {
	case STT_FUNC: return IMAGE_FUNC;
	case STT_GNU_IFUNC: return IMAGE_IFUNC;
	case STT_OBJECT: return IMAGE_OBJECT;
	}
	return IMAGE_OTHER;
}

static int each_of_table(const struct image *img, const struct table *table,
			 int (*fn)(const struct image_symbol *sym, void *ctx), void *ctx)
{
	size_t name_bytes = 0;

	if (table->present && table->lies)
		return -ENOEXEC;
	for (size_t i = 0; i < table->sym_cnt; i++) {
		struct image_symbol sym = { .dynamic = table->dynamic };
		Elf64_Versym version = 0;
		const char *at;
		Elf64_Sym s;
		int err;

		memcpy(&s, table->syms + i * sizeof(s), sizeof(s));
		if (!symbol_is_placed(&s) || s.st_name >= table->strings_len || !table->strings[s.st_name])
			continue;
		sym.name = table->strings + s.st_name;
		/* $x and $d of aarch64 mark code and data, they name nothing. */
		if (img->ehdr.e_machine == EM_AARCH64 && sym.name[0] == '$')
			continue;
		name_bytes += strlen(sym.name);
		if (name_bytes > NAME_BYTES_MAX)
			return -ENOEXEC;
		at = table->dynamic ? NULL : strchr(sym.name + 1, '@');
		if (at) {
			sym.hidden_version = at[1] != '@';
			sym.name = name_cut(img, s.st_name, sym.name, at - sym.name);
			if (!sym.name)
				return -ENOMEM;
		}
		if (table->versions) {
			memcpy(&version, table->versions + i * sizeof(version), sizeof(version));
			sym.hidden_version = version & 0x8000;	/* VERSYM_HIDDEN of the gABI's GNU extension */
		}
		sym.va = s.st_value;
		sym.size = s.st_size;
		sym.type = symbol_type(&s);
		sym.global = ELF64_ST_BIND(s.st_info) != STB_LOCAL;
		err = fn(&sym, ctx);
		if (err)
			return err;
	}
	return 0;
}

int image_each_symbol(const struct image *img, int (*fn)(const struct image_symbol *sym, void *ctx), void *ctx)
{
	int err = each_of_table(img, &img->dynsym, fn, ctx);

	return err ? err : each_of_table(img, &img->symtab, fn, ctx);
}

size_t image_eh_frame_hdr(const struct image *img, const unsigned char **ret, uint64_t *ret_va)
{
	const unsigned char *hdr = image_at_va(img, img->eh_frame_hdr_va, img->eh_frame_hdr_bytes);

	if (!hdr)
		return 0;
	*ret = hdr;
	*ret_va = img->eh_frame_hdr_va;
	return img->eh_frame_hdr_bytes;
}
