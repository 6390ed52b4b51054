/* SPDX-License-Identifier: GPL-2.0-only */
#include <stddef.h>
#include <string.h>

#include "cmd/command.h"

const struct command commands[] = {
	{ "leak", "memory that was allocated and not freed, by code path", cmd_leak },
	{ "mem", "what a process's memory is made of, and which part grows", cmd_mem },
	{ "faults", "page faults by code path and kind of memory: who touches new pages", cmd_faults },
	{ "ports", "ephemeral ports by destination, who holds them, and when they run out", cmd_ports },
	{ "doctor", "what this kernel, these privileges and a process allow, and what to do about the rest", cmd_doctor },
	{ NULL, NULL, NULL },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}
