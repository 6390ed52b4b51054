/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frames of a profile: found by what the kernel stored, named by others. Inside the layer.
 *
 *	index     hash of (process, what the kernel stored) -> frame
 *	blocks    of FRAMES_A_BLOCK, so that a frame never moves
 *	frame ──▸ its inlined functions: frames as well, one behind the other, the innermost first; in no index
 *	strings   one copy of each name, module and source file: many frames share them
 */
#ifndef PROFILE_FRAMES_H
#define PROFILE_FRAMES_H

#include "profile/index.h"
#include "profile/profile.h"

struct hashmap;
struct frame_slot;

struct frames {
	struct frame_slot **blocks;
	size_t blocks_cnt;
	size_t cnt;
	struct index index;
	char **strings;
	size_t strings_cnt, strings_size;
	struct hashmap *string_index;
	const char *last[3];	/* what was set last: name, module, file; NULL = none */
	uint32_t renames;	/* changes when a frame that had names gets other inlined functions */
};

/* -ENOMEM. */
int frames_open(struct frames *fs);
void frames_close(struct frames *fs);

struct frame *frames_at(const struct frames *fs, uint32_t frame);
/* The functions that are inlined in a frame: how many, and the innermost; the others follow it. */
uint32_t frames_inlined(const struct frames *fs, uint32_t frame, uint32_t *ret_first);
/* A frame as the kernel stored it, added when it is new. -ENOMEM, -EOVERFLOW. */
int frames_intern(struct frames *fs, uint32_t process, uint64_t stored, uint32_t *ret);
/* As profile_frame_names(). */
int frames_name(struct frames *fs, uint32_t frame, const struct frame_name *names, uint32_t cnt);

#endif
