/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a uprobe may be put in a function, and what it costs there.
 *
 * The kernel emulates some instructions under a uprobe (arch/x86/kernel/uprobes.c: push reg, nop,
 * call rel32, jmp rel, jcc rel) and single-steps every other one out of line, which costs a second
 * exception. The site is the first emulated instruction that is reached from the entry by straight-line
 * code which leaves the argument registers and the stack pointer alone, and that no branch of the
 * function jumps to or past. When anything is in doubt: the entry.
 *
 * Decoded with Capstone. Knows nothing of files or processes.
 */
#ifndef ELF_INSN_H
#define ELF_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct insn_site {
	uint32_t delta_bytes;	/* from the entry */
	bool emulated;		/* else the kernel single-steps it */
	char text[64];		/* the instruction at the site, as a disassembler writes it */
	const char *reason;	/* why here, a constant string */
};

/*
 * code: the bytes of the function from its entry at va, len = its whole size. size_known = false where
 * the symbol has no size: then the site stays at the entry unless that is proven safe without it.
 * args_cnt: how many argument registers the probe reads, counted from the first; the others may be changed on
 * the way. -ENOEXEC when even the entry is not a valid instruction: do not probe this function.
 */
int insn_site_find(const unsigned char *code, size_t len, uint64_t va, bool size_known, unsigned int args_cnt,
		   struct insn_site *ret);

/* Where control leaves a piece of code for good: calls come back. vas, in the order of the code; each list may be NULL. */
struct insn_ends {
	uint64_t *rets;		/* the ret instructions */
	size_t rets_cnt;
	uint64_t *jumps;	/* what it jumps to outside of it */
	size_t jumps_cnt;
	uint64_t *words;	/* words that hold what it jumps to: of an import table */
	size_t words_cnt;
};

/*
 * The ends of a piece of code, of which the whole has been decoded. 0; -ENOEXEC and *ret_why, a constant string, where
 * they are not known; -ENOMEM. The caller frees with insn_ends_free(), in any case.
 */
int insn_ends_find(const unsigned char *code, size_t len, uint64_t va, struct insn_ends *ret, const char **ret_why);
void insn_ends_free(struct insn_ends *e);
/* Whether the code, which is decoded from its beginning, has an instruction that begins at off. */
bool insn_starts_at(const unsigned char *code, size_t len, size_t off);
/* Where a PLT entry takes its target from: the va of a word. False: the code at va is none. */
bool insn_is_plt(const unsigned char *code, size_t len, uint64_t va, uint64_t *ret_word_va);

/* True when the bytes are an instruction that the kernel emulates under a uprobe. */
bool insn_is_emulated(const unsigned char *code, size_t len, uint64_t va);

#endif
