/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stacks with values. Knows nothing of where they came from or how they are shown.
 *
 *	frame   one u64 as the kernel stored it, per process; named once, by whoever can. Functions that the compiler has
 *	        inlined there are frames of their own: they come with the name
 *	stack   frames, innermost first, interned: what the kernel stored equal, for one process, is one stack
 *	value   one signed number a stack and kind of value; the source says which kinds it has
 *	loss    a named counter of what is missing; printed when it is not zero
 *	note    a named counter of what is not as one would wish, but in the totals: stacks that are incomplete
 *
 * Indexes are given in the order of adding and never change. Pointers to frames, processes, names and the frames of
 * a stack stay valid as long as the profile; a process's comm until it is set again.
 */
#ifndef PROFILE_PROFILE_H
#define PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profile;

/* What a source can count, e.g. { "held-bytes", "bytes" }. A table of them ends with a NULL name. */
struct value_type {
	const char *name;
	const char *unit;
};

enum frame_kind { FRAME_UNNAMED, FRAME_APP, FRAME_DEPENDENCY, FRAME_RUNTIME, FRAME_ALLOCATOR, FRAME_KERNEL };

struct frame {
	uint64_t addr;
	uint32_t process;
	enum frame_kind kind;	/* FRAME_UNNAMED until profile_frame_name() */
	uint8_t epoch;		/* which of the files that were mapped at addr one after the other */
	bool is_return;		/* addr is a return address: the call lies just before it */
	bool guessed;		/* the name may be wrong: shown with a ? */
	bool inlined;		/* stands in the code of the next outer frame that is not; its addr is that one's */
	uint32_t line;		/* in file; 0 = not known */
	const char *name;
	const char *module;	/* file whose code it is; "" or NULL = none */
	const char *file;	/* source file; NULL = not known */
};

/* What a frame, or a function inlined there, is called. Strings are copied. */
struct frame_name {
	const char *name;
	const char *module;	/* may be NULL */
	const char *file;	/* may be NULL */
	uint32_t line;
	enum frame_kind kind;
	bool guessed;
};

struct stack {
	const uint32_t *frames;	/* indexes of frames, innermost first; inlined ones as soon as all have names */
	uint32_t frames_cnt;
	uint32_t process;
	bool cut;		/* its outer part is missing */
	const char *label;	/* instead of frames: "[stacks full]"; NULL as a rule */
};

struct process {
	int pid;
	char *comm;
};

struct loss {
	const char *name;	/* a constant: "inserts lost: books full"; at most 64 of them */
	uint64_t cnt;
};

struct note {
	const char *name;	/* a constant: "stacks cut: deeper than 127 frames"; at most 64 of them */
	uint64_t cnt;		/* events */
};

/* types lives as long as the profile. NULL when memory is short. */
struct profile *profile_new(const struct value_type *types);
struct profile *profile_free(struct profile *p);

/* Index of a process, added when its pid is new; a known one takes the new comm. Negative errno. */
int profile_process(struct profile *p, int pid, const char *comm);
/*
 * Adds a process in any case: for those who know processes by more than a pid, which is used again and keeps
 * its number over exec. Its index; negative errno.
 */
int profile_process_add(struct profile *p, int pid, const char *comm);
/*
 * Index of a stack, added when new. addrs: as the kernel stored them: STACK_FRAME_EXACT is the tag of an exact pc and no
 * part of the address; without it they are return addresses, whatever else their top byte says. Negative errno.
 */
int profile_stack(struct profile *p, uint32_t process, const uint64_t *addrs, uint32_t addrs_cnt, bool cut);
/* A stack without frames, known by its label (a constant string). Negative errno. */
int profile_stack_label(struct profile *p, uint32_t process, const char *label);

size_t profile_stacks_cnt(const struct profile *p);
struct stack profile_stack_at(const struct profile *p, uint32_t stack);
size_t profile_frames_cnt(const struct profile *p);
const struct frame *profile_frame_at(const struct profile *p, uint32_t frame);
size_t profile_processes_cnt(const struct profile *p);
const struct process *profile_process_at(const struct profile *p, uint32_t process);

/*
 * Names a frame that a stack was added with: functions that are inlined there, innermost first, and last the function
 * itself. Frames that were added since are found by their kind; so are the inlined ones, which have their names.
 * -ENOMEM, and then nothing has changed.
 */
int profile_frame_names(struct profile *p, uint32_t frame, const struct frame_name *names, uint32_t cnt);
/* The same with nothing inlined and no line. */
int profile_frame_name(struct profile *p, uint32_t frame, const char *name, const char *module,
		       enum frame_kind kind, bool guessed);

const struct value_type *profile_types(const struct profile *p);
/* Index of a kind of value by its name; -ENOENT. */
int profile_type_find(const struct profile *p, const char *name);
void profile_value_set(struct profile *p, uint32_t stack, int type, int64_t value);
int64_t profile_value(const struct profile *p, uint32_t stack, int type);
/* The sum over all stacks. */
int64_t profile_total(const struct profile *p, int type);
/* All values of all stacks to 0: before a new snapshot. */
void profile_values_clear(struct profile *p);

/* Sets (not adds) a loss; name is a constant string. */
void profile_loss_set(struct profile *p, const char *name, uint64_t cnt);
size_t profile_losses_cnt(const struct profile *p);
struct loss profile_loss_at(const struct profile *p, size_t i);
/* Sum of all losses. */
uint64_t profile_lost(const struct profile *p);

/* The same for notes, which are no losses. */
void profile_note_set(struct profile *p, const char *name, uint64_t cnt);
size_t profile_notes_cnt(const struct profile *p);
struct note profile_note_at(const struct profile *p, size_t i);

#endif
