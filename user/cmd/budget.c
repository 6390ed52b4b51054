/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/budget.h"
#include "cmd/command.h"
#include "target/cgroup.h"

#define AVAILABLE_PART	20
#define ROOM_PART	4

struct budget budget_least(uint64_t available_bytes, uint64_t room_bytes)
{
	struct budget b = { BUDGET_MAX_BYTES, "the default" };

	if (available_bytes && available_bytes / AVAILABLE_PART < b.bytes)
		b = (struct budget){ available_bytes / AVAILABLE_PART, "5 % of the available memory" };
	if (room_bytes / ROOM_PART < b.bytes)
		b = (struct budget){ room_bytes / ROOM_PART, "a quarter of the room in ebb's own memory cgroup" };
	return b;
}

int budget_default(struct budget *ret)
{
	char bytes[TEXT_BYTES_MAX], min[TEXT_BYTES_MAX];
	struct cgroup_memory own;

	if (cgroup_memory_read(0, &own)) {
		log_error(-ENOMEM, "out of memory");
		return EXIT_FAILED;
	}
	*ret = budget_least(cgroup_available_bytes(), own.room_bytes);
	cgroup_memory_free(&own);
	if (ret->bytes >= BUDGET_MIN_BYTES)
		return EXIT_DONE;
	log_error(-ENOMEM, "not attached: memory is short: the books may take %s (%s), and need at least %s; --max-memory decides "
		  "otherwise", text_bytes(bytes, ret->bytes, false), ret->why, text_bytes(min, BUDGET_MIN_BYTES, false));
	return EXIT_STOPPED;
}

int budget_check_target(pid_t pid)
{
	struct cgroup_memory own = { .path = NULL }, its = { .path = NULL };
	char limit[TEXT_BYTES_MAX], room[TEXT_BYTES_MAX];
	int code = EXIT_DONE, err = cgroup_memory_read(0, &own);
	char *limited = NULL;

	if (!err)
		err = cgroup_memory_read(pid, &its);
	if (err) {
		log_error(err, "out of memory");
		code = EXIT_FAILED;
	} else if (own.path && its.path && its.limited && cgroup_is_below(own.path, its.path)) {
		limited = text_safe(its.limited);
		log_error(-EBUSY, "not attached: ebb runs in the memory cgroup of process %d, whose limit (%s, %s left, at %s) its "
			  "books would count against; start it outside, or with --same-cgroup", (int)pid,
			  text_bytes(limit, its.limit_bytes, false), text_bytes(room, its.room_bytes, false), limited ? limited : "");
		code = EXIT_STOPPED;
	}
	free(limited);
	cgroup_memory_free(&own);
	cgroup_memory_free(&its);
	return code;
}
