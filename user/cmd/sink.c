/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
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

/* How many bytes the first `lines` lines take. */
static size_t lines_len(const char *str, size_t len, unsigned int lines)
{
	size_t end = 0;

	while (lines && end < len)
		lines -= str[end++] == '\n';
	return end;
}

/*
 * Writes to stdout without ever waiting for longer than STALL_MS: a pipe that poll() calls writable takes
 * PIPE_BUF bytes at once. What finds no reader is dropped.
 */
#define STALL_MS	100

static int write_live(struct sink *k, const char *str, size_t len)
{
	struct pollfd fd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	while (len) {
		ssize_t n = poll(&fd, 1, STALL_MS);

		if (n == 0) {
			k->stalled = true;
			return 0;
		}
		if (n > 0)
			n = write(STDOUT_FILENO, str, len < PIPE_BUF ? len : PIPE_BUF);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0) {
			str += n;
			len -= n;
		}
	}
	return 0;
}

/* The table as bytes, with what makes it replace the last one. The caller frees *ret. */
static int table_bytes(struct sink *k, struct report *const *reports, size_t cnt, bool last, char **ret, size_t *ret_len)
{
	struct table_options opt = { .width = sink_width(k), .color = k->color };
	unsigned int max = 0;
	size_t table_len = 0;
	char *table = NULL;
	FILE *mem, *out;
	int err = 0;

	mem = open_memstream(&table, &table_len);
	if (!mem)
		return -ENOMEM;
	for (size_t i = 0; i < cnt && !err; i++) {
		if (i)
			fputc('\n', mem);
		max += table_lines(reports[i], &opt) + (i != 0);
		err = table_write(mem, reports[i], &opt);
	}
	if (fclose(mem) && !err)
		err = -ENOMEM;
	out = err ? NULL : open_memstream(ret, ret_len);
	if (!out) {
		free(table);
		return err ? err : -ENOMEM;
	}
	if (k->terminal && !last && max > terminal_rows() - 1)
		max = terminal_rows() - 1;
	if (k->stalled)
		fputc('\n', out);	/* the last one broke off somewhere */
	else if (k->terminal && k->lines)
		fprintf(out, "\033[%uA\033[J", k->lines);	/* up to where the last one began, clear below */
	fwrite(table, 1, lines_len(table, table_len, max), out);
	if (!k->terminal && !last)
		fputc('\n', out);
	k->lines = last ? 0 : max;
	k->stalled = false;
	free(table);
	return fclose(out) ? -ENOMEM : 0;
}

int sink_table(struct sink *k, struct report *r, bool last)
{
	return sink_tables(k, &r, 1, last);
}

int sink_tables(struct sink *k, struct report *const *reports, size_t cnt, bool last)
{
	char *str = NULL;
	size_t len = 0;
	int err = table_bytes(k, reports, cnt, last, &str, &len);

	if (!err && !last && k->file == stdout) {
		err = fflush(stdout) ? -errno : write_live(k, str, len);
	} else if (!err) {
		errno = 0;
		if (fwrite(str, 1, len, k->file) != len || fflush(k->file))
			err = errno ? -errno : -EIO;
	}
	free(str);
	return err ? sink_error(k, err) : 0;
}

int sink_document(struct sink *k, int (*write)(FILE *out, const void *ctx), const void *ctx)
{
	FILE *mem;
	int err;

	free(k->pending);
	k->pending = NULL;
	k->pending_len = 0;
	mem = open_memstream(&k->pending, &k->pending_len);
	if (!mem)
		return sink_error(k, -ENOMEM);
	err = write(mem, ctx);
	if (fclose(mem) && !err)
		err = -ENOMEM;
	return err ? sink_error(k, err) : 0;
}

struct profile_document {
	const struct writer *writer;
	const struct profile *profile;
	const struct writer_options *opt;
};

static int profile_write(FILE *out, const void *ctx)
{
	const struct profile_document *d = ctx;

	return d->writer->write(out, d->profile, d->opt);
}

int sink_profile(struct sink *k, const struct writer *w, const struct profile *p, const struct writer_options *opt)
{
	const struct profile_document d = { w, p, opt };

	return sink_document(k, profile_write, &d);
}

int sink_commit(struct sink *k)
{
	int err = 0;

	errno = 0;
	if (k->pending_len && fwrite(k->pending, 1, k->pending_len, k->file) != k->pending_len)
		err = errno ? -errno : -EIO;
	if (!err && (fflush(k->file) || ferror(k->file)))
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
	free(k->pending);
	if (k->file && k->file != stdout)
		fclose(k->file);
	*k = (struct sink){ 0 };
}
