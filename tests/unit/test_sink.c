/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where results go: files that appear whole or not at all, and what is no file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/sink.h"
#include "test.h"

static char folder[256];	/* where each case works */
static char path[300];		/* "result" in it */

static void case_open(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/sink.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/result", folder);
}

/* Files in the folder. */
static int files_cnt(void)
{
	DIR *dir = opendir(folder);
	int cnt = 0;

	while (dir && readdir(dir))
		cnt++;
	closedir(dir);
	return cnt - 2;
}

/* No temporary file is left. */
static void case_close(int files)
{
	CHECK_EQ(files_cnt(), files);
	unlink(path);
	CHECK_EQ(rmdir(folder), 0);
}

static const char *file_read(const char *name)
{
	static char buf[4096];
	FILE *f = fopen(name, "r");
	size_t len;

	if (!f)
		return NULL;
	len = fread(buf, 1, sizeof(buf) - 1, f);
	buf[len] = '\0';
	fclose(f);
	return buf;
}

static void file_write(const char *name, const char *str)
{
	FILE *f = fopen(name, "w");

	if (!f || fputs(str, f) < 0 || fclose(f))
		abort();
}

/* What is printed about errors is not for the log of the tests; whether something is, is checked. */
static int stderr_fd;

static void stderr_catch(void)
{
	char name[320];

	fflush(stderr);
	stderr_fd = dup(STDERR_FILENO);
	snprintf(name, sizeof(name), "%s.stderr", folder);
	if (!freopen(name, "w+", stderr))
		abort();
}

static bool stderr_release(void)
{
	char name[320];
	struct stat st;
	bool said;

	fflush(stderr);
	said = !fstat(STDERR_FILENO, &st) && st.st_size > 0;
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	snprintf(name, sizeof(name), "%s.stderr", folder);
	unlink(name);
	return said;
}

static int write_str(FILE *out, const struct profile *p, const struct writer_options *opt)
{
	(void)opt;
	return fputs((const char *)p, out) < 0 ? -errno : 0;
}

static int write_much(FILE *out, const struct profile *p, const struct writer_options *opt)
{
	(void)p;
	(void)opt;
	for (int i = 0; i < 1 << 16; i++)
		if (fputs("0123456789abcdef", out) < 0)
			return -errno;
	return 0;
}

/* Half of it, then an error. */
static int write_half(FILE *out, const struct profile *p, const struct writer_options *opt)
{
	write_much(out, p, opt);
	return -ENOMEM;
}

static const struct writer writer_str = { "str", write_str, NULL };
static const struct writer writer_much = { "much", write_much, NULL };
static const struct writer writer_half = { "half", write_half, NULL };

static int put_str(struct sink *k, const char *str)
{
	return sink_profile(k, &writer_str, (const struct profile *)str, NULL);
}

TEST(appears_whole)
{
	struct sink k;
	struct stat st;

	case_open();
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK(!k.terminal && !k.color);
	CHECK_EQ(sink_width(&k), 0);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(put_str(&k, "all of it\n"), 0);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(sink_commit(&k), 0);
	CHECK_STR(file_read(path), "all of it\n");
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0644);
	sink_close(&k);
	CHECK_STR(file_read(path), "all of it\n");
	case_close(1);
}

TEST(not_committed)
{
	struct sink k;

	case_open();
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(sink_profile(&k, &writer_much, NULL, NULL), 0);
	sink_close(&k);
	CHECK_EQ(access(path, F_OK), -1);
	sink_close(&k);		/* twice does no harm */
	case_close(0);
}

TEST(existing_file)
{
	struct sink k;

	case_open();
	file_write(path, "before\n");
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(put_str(&k, "after\n"), 0);
	fflush(k.file);
	CHECK_STR(file_read(path), "before\n");
	sink_close(&k);
	CHECK_STR(file_read(path), "before\n");

	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(put_str(&k, "after\n"), 0);
	CHECK_EQ(sink_commit(&k), 0);
	CHECK_STR(file_read(path), "after\n");
	sink_close(&k);
	case_close(1);
}

TEST(writer_fails)
{
	struct sink k;

	case_open();
	file_write(path, "before\n");
	CHECK_EQ(sink_open(&k, path, false), 0);
	stderr_catch();
	CHECK_EQ(sink_profile(&k, &writer_half, NULL, NULL), -ENOMEM);
	CHECK(stderr_release());
	sink_close(&k);
	CHECK_STR(file_read(path), "before\n");
	case_close(1);
}

TEST(no_folder)
{
	struct sink k;
	char name[400];

	case_open();
	snprintf(name, sizeof(name), "%s/missing/result", folder);
	stderr_catch();
	CHECK_EQ(sink_open(&k, name, false), -ENOENT);
	CHECK(stderr_release());
	sink_close(&k);
	stderr_catch();
	CHECK_EQ(sink_open(&k, folder, false), -EISDIR);
	CHECK(stderr_release());
	sink_close(&k);
	case_close(0);
}

TEST(unwritable_folder)
{
	struct sink k;
	int err;

	case_open();
	chmod(folder, 0500);
	stderr_catch();
	/* root writes anywhere: then as nobody */
	if (!geteuid() && (chown(folder, 65534, 65534) || seteuid(65534))) {
		stderr_release();
		rmdir(folder);
		TEST_SKIP("cannot give up root");
	}
	err = sink_open(&k, path, false);
	if (!getuid() && seteuid(0))
		abort();
	CHECK(stderr_release());
	CHECK_EQ(err, -EACCES);
	sink_close(&k);
	case_close(0);
}

TEST(full_disk)
{
	struct sink k;

	if (access("/dev/full", W_OK))
		TEST_SKIP("no /dev/full");
	case_open();
	CHECK_EQ(sink_open(&k, "/dev/full", false), 0);
	CHECK_EQ(put_str(&k, "little"), 0);	/* in the buffer */
	stderr_catch();
	CHECK_EQ(sink_commit(&k), -ENOSPC);
	CHECK(stderr_release());
	sink_close(&k);

	CHECK_EQ(sink_open(&k, "/dev/full", false), 0);
	CHECK_EQ(sink_profile(&k, &writer_much, NULL, NULL), 0);	/* kept until it is committed */
	stderr_catch();
	CHECK_EQ(sink_commit(&k), -ENOSPC);
	CHECK(stderr_release());
	sink_close(&k);
	CHECK_EQ(access("/dev/full", F_OK), 0);
	case_close(0);
}

TEST(written_in_place)
{
	char buf[32] = "";
	struct stat st;
	struct sink k;
	int fd;

	case_open();
	CHECK_EQ(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK);
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(files_cnt(), 1);
	CHECK_EQ(put_str(&k, "through\n"), 0);
	CHECK_EQ(sink_commit(&k), 0);
	CHECK_EQ(read(fd, buf, sizeof(buf) - 1), 8);
	CHECK_STR(buf, "through\n");
	sink_close(&k);
	close(fd);
	CHECK(!stat(path, &st) && S_ISFIFO(st.st_mode));

	CHECK_EQ(sink_open(&k, "/dev/null", false), 0);
	CHECK_EQ(put_str(&k, "nowhere\n"), 0);
	CHECK_EQ(sink_commit(&k), 0);
	sink_close(&k);
	CHECK(!stat("/dev/null", &st) && S_ISCHR(st.st_mode));
	case_close(1);
}

/* A link is replaced, and never followed: ebb is root, and anyone may have put it there. */
TEST(link_to_a_file)
{
	char link[320];
	struct stat st;
	struct sink k;

	case_open();
	file_write(path, "before\n");
	snprintf(link, sizeof(link), "%s/link", folder);
	CHECK_EQ(symlink("result", link), 0);
	CHECK_EQ(sink_open(&k, link, false), 0);
	CHECK_EQ(put_str(&k, "after\n"), 0);
	CHECK_STR(file_read(link), "before\n");
	CHECK_EQ(sink_commit(&k), 0);
	sink_close(&k);
	CHECK_STR(file_read(link), "after\n");
	CHECK_STR(file_read(path), "before\n");
	CHECK(!lstat(link, &st) && S_ISREG(st.st_mode));
	unlink(link);
	case_close(1);
}

TEST(folder_goes_away)
{
	struct sink k;

	case_open();
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(put_str(&k, "lost\n"), 0);
	unlink(k.temp_path);
	CHECK_EQ(rmdir(folder), 0);
	stderr_catch();
	CHECK_EQ(sink_commit(&k), -ENOENT);
	CHECK(stderr_release());
	sink_close(&k);
}

static struct report *report_of(int rows)
{
	struct report *r = report_new();
	const struct report_column columns[] = { { .title = "A" }, { .title = "B", .elastic = true } };

	report_head(r, REPORT_PLAIN, "head");
	report_columns(r, columns, 2);
	for (int i = 0; i < rows; i++) {
		report_row(r, REPORT_PLAIN);
		report_cell(r, "%d", i);
		report_cell(r, "row");
	}
	return r;
}

/* In a file tables follow each other, with an empty line between them, whole and without colour. */
TEST(tables)
{
	struct report *r = report_of(100);
	const char *got, *second;
	struct sink k;
	int lines = 0;

	case_open();
	CHECK_EQ(sink_open(&k, path, false), 0);
	CHECK_EQ(sink_table(&k, r, false), 0);
	CHECK_EQ(sink_table(&k, r, true), 0);
	CHECK_EQ(sink_commit(&k), 0);
	sink_close(&k);
	got = file_read(path);
	if (CHECK(got)) {
		for (const char *c = got; *c; c++)
			lines += *c == '\n';
		CHECK(!strchr(got, '\033'));
		second = strstr(got + 1, "head");
		CHECK(second && second - got > 4 && second[-1] == '\n' && second[-2] == '\n');
		CHECK_EQ(lines, 2 * table_lines(r, &(struct table_options){ 0 }) + 1);
	}
	report_free(r);
	case_close(1);
}

TEST_MAIN(TEST_CASE(appears_whole), TEST_CASE(not_committed), TEST_CASE(existing_file), TEST_CASE(writer_fails),
	  TEST_CASE(no_folder), TEST_CASE(unwritable_folder), TEST_CASE(full_disk), TEST_CASE(written_in_place),
	  TEST_CASE(link_to_a_file), TEST_CASE(folder_goes_away), TEST_CASE(tables))
