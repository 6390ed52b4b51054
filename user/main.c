/* SPDX-License-Identifier: GPL-2.0-only */
/* ebb: attaches to a running process and says what it is running out of. The commands are in cmd/. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/command.h"
#include "elf/image.h"

static void print_help(FILE *out)
{
	fputs("ebb says what a running process is running out of, and which code path takes it.\n"
	      "\n"
	      "  sudo ebb leak 1234                 live report until Ctrl-C, then the final one\n"
	      "  sudo ebb leak nginx -d 30s         by name, for 30 seconds\n"
	      "  sudo ebb leak 1234 --dry-run       what would be attached where; attaches nothing\n"
	      "  sudo ebb leak 1234 -d 1m -f folded -o leak.folded     for a flame graph\n"
	      "  sudo ebb faults 1234               who touches new pages, in which part of the process\n"
	      "  sudo ebb ports                     the whole machine: who uses up which ephemeral ports\n"
	      "\n", out);
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-10s %s\n", c->name, c->help);
	fputs("\nebb COMMAND --help lists the options of a command.\n", out);
}

/* What the command wrote must have arrived: a full disk or a closed pipe is an error. */
static int close_stdout(int code)
{
	int err = 0;

	if (ferror(stdout)) {
		/* of more than a buffer; why it failed is not known any more: another byte meets the same */
		clearerr(stdout);
		err = fputc('\n', stdout) == EOF || fflush(stdout) ? errno : EIO;
	}
	if (fflush(stdout))
		err = errno;
	if (!err || err == EBADF)	/* nothing was written to a closed stdout */
		return code;
	log_error(-err, "writing to stdout: %s", strerror(err));
	return code == EXIT_DONE || code == EXIT_LOST ? EXIT_FAILED : code;
}

/*
 * Standard descriptors that are closed stay taken, or a file or socket of ours would become one of them and get what is
 * printed. Writing to them still fails.
 */
static void reserve_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *c;

	reserve_standard();
	image_forbid();		/* what may have privileges parses no files: see base/worker.h */
	signal(SIGPIPE, SIG_IGN);	/* a closed pipe is an error of writing, and the probes come off in order */
	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return close_stdout(EXIT_DONE);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("ebb %s\n", EBB_VERSION);
		return close_stdout(EXIT_DONE);
	}
	c = command_find(argv[1]);
	if (!c) {
		log_error(-EINVAL, "%s: no such command; ebb --help lists them", argv[1]);
		return EXIT_USAGE;
	}
	return close_stdout(c->run(argc - 2, argv + 2));
}
