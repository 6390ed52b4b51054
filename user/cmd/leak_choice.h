/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which processes `ebb leak` watches: those that the command line names, and with --tree, --cgroup, --container and --unit
 * also those that are born later.
 */
#ifndef CMD_LEAK_CHOICE_H
#define CMD_LEAK_CHOICE_H

#include "cmd/leak_args.h"
#include "target/family.h"
#include "target/target.h"

struct leak_choice {
	const struct leak_args *args;
	struct worker *worker;		/* opens them; to be set before the first scan */
	struct group group;		/* of --cgroup, --container, --unit */
	bool has_group;
	bool grows;			/* it is to be scanned again */
	bool several;			/* it can be more than one process */
	const char **named;		/* PIDs or names on the command line; borrowed strings */
	size_t named_cnt;
	struct leak_known {
		pid_t pid;
		uint64_t start_ticks;
		unsigned int tries;	/* looks at it when it had no allocator yet */
		bool taken;		/* handed out, or given up */
		bool again;		/* it was handed out before, and is another program now */
		bool watched;		/* its children are wanted: with --tree */
	} *known;
	size_t known_cnt;
	size_t pending_cnt;		/* that are to be looked at again soon */
	bool started;			/* the first scan is over */
	uint64_t born_cnt;		/* that were found after it */
	uint64_t scan_ns;		/* what the last scan took, without what add() did */
	char *what;			/* "cgroup /a/b", "unit nginx.service"; NULL = processes by number */
};

/* From the command line: args, and the words that are no options. An exit code, printed. Borrowed until it is closed. */
int leak_choice_open(struct leak_choice *c, const struct leak_args *args, char **words, int words_cnt);
void leak_choice_close(struct leak_choice *c);

/*
 * Hands out the processes that were not before, largest first: add() takes each over. An error of add() (an exit code) ends
 * it. An exit code: of processes that are named, one that cannot be opened is a reason, printed.
 */
int leak_choice_scan(struct leak_choice *c, int (*add)(struct target *t, void *ctx), void *ctx);
/* One that was handed out has ended: what has its number later is another. */
void leak_choice_forget(struct leak_choice *c, pid_t pid);
/* One that was handed out calls exec: a later scan hands it out again, when the new program is ready. */
void leak_choice_again(struct leak_choice *c, pid_t pid);
/* False when what was named is gone: a cgroup that was removed. */
bool leak_choice_is_there(const struct leak_choice *c);

/*
 * The new program of a target that called exec, once it has mapped its allocator; waits up to a second. *t: the old one,
 * freed. An exit code, printed.
 */
int leak_choice_reopen(const struct leak_choice *c, pid_t pid, struct target **ret);

#endif
