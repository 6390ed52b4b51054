/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/sink.h"

static int sink_error(const struct sink *k, int err)
{
	char *safe = k->path ? text_safe(k->path) : NULL;

	log_error(err, "writing %s: %s", k->path ? (safe ? safe : "the result") : "to stdout", strerror(-err));
	free(safe);
	return err;
}

/* A file beside the path. What is no regular file (a FIFO, /dev/stdout) is written in place. */
static int file_open(struct sink *k)
{
	struct stat st;
	mode_t mask;
	int fd;

	if (!stat(k->path, &st) && !S_ISREG(st.st_mode)) {
		fd = open(k->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	} else {
		if (asprintf(&k->temp_path, "%s.XXXXXX", k->path) < 0) {
			k->temp_path = NULL;
			return -ENOMEM;
		}
		fd = mkostemp(k->temp_path, O_CLOEXEC);
		if (fd < 0) {
			int err = -errno;

			free(k->temp_path);
			k->temp_path = NULL;
			return err;
		}
		mask = umask(0);
		umask(mask);
		fchmod(fd, 0666 & ~mask);	/* as open() would have made it */
	}
	if (fd < 0)
		return -errno;
	k->file = fdopen(fd, "w");
	return k->file ? 0 : -errno;
}

int sink_open(struct sink *k, const char *path, bool no_color)
{
	int err;

	*k = (struct sink){ .path = path };
	if (path) {
		err = file_open(k);
		if (err) {
			sink_error(k, err);
			sink_close(k);
			return err;
		}
		return 0;
	}
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0)
		return sink_error(k, -EBADF);
	k->file = stdout;
	k->terminal = isatty(STDOUT_FILENO);
	k->color = k->terminal && !no_color && !getenv("NO_COLOR");
	return 0;
}

unsigned int sink_width(const struct sink *k)
{
	struct winsize size;

	if (!k->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		return 0;
	return size.ws_col;
}

static unsigned int terminal_rows(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row ? 24 : size.ws_row;
}

/* The table's bytes, at most so many lines of them. */
static void lines_write(FILE *out, const char *str, size_t len, unsigned int lines)
{
	size_t end = 0;

	while (lines && end < len)
		lines -= str[end++] == '\n';
	fwrite(str, 1, end, out);
}

int sink_table(struct sink *k, const struct report *r, bool last)
{
	struct table_options opt = { .width = sink_width(k), .color = k->color };
	unsigned int lines, max;
	char *str = NULL;
	size_t len = 0;
	FILE *mem;
	int err;

	mem = open_memstream(&str, &len);
	if (!mem)
		return sink_error(k, -ENOMEM);
	err = table_write(mem, r, &opt);
	if (fclose(mem) && !err)
		err = -ENOMEM;
	if (err)
		goto out;
	if (k->terminal && k->lines)
		fprintf(k->file, "\033[%uA\033[J", k->lines);	/* up to where the last one began, clear below */
	lines = table_lines(r, &opt);
	max = k->terminal && !last ? terminal_rows() - 1 : lines;
	lines_write(k->file, str, len, lines < max ? lines : max);
	k->lines = last ? 0 : lines < max ? lines : max;
	if (!k->terminal && !last)
		fputc('\n', k->file);
	if (fflush(k->file) || ferror(k->file))
		err = errno ? -errno : -EIO;
out:
	free(str);
	return err ? sink_error(k, err) : 0;
}

int sink_profile(struct sink *k, const struct writer *w, const struct profile *p, const struct writer_options *opt)
{
	int err = w->write(k->file, p, opt);

	return err ? sink_error(k, err) : 0;
}

int sink_commit(struct sink *k)
{
	int err = 0;

	if (fflush(k->file) || ferror(k->file))
		err = errno ? -errno : -EIO;
	if (!err && k->temp_path && fsync(fileno(k->file)) && errno != EINVAL)
		err = -errno;
	if (!err && k->temp_path && rename(k->temp_path, k->path))
		err = -errno;
	if (err)
		return sink_error(k, err);
	free(k->temp_path);
	k->temp_path = NULL;
	return 0;
}

void sink_close(struct sink *k)
{
	if (k->temp_path)
		unlink(k->temp_path);
	free(k->temp_path);
	if (k->file && k->file != stdout)
		fclose(k->file);
	*k = (struct sink){ 0 };
}
