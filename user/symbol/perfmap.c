/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hashmap.h"
#include "base/log.h"
#include "elf/parser_ops.h"
#include "symbol/perfmap.h"
#include "symbol/perfmap_table.h"

#define FILES_MAX	8	/* processes whose map stays open: it can be read when they have ended */
#define ADDRS_MAX	1024	/* of a request, so that an answer has 2 MB at most */

/* --- The two sides' words --- */

struct request {
	uint64_t max_bytes;
	uint32_t raw;
	uint32_t cnt;
	uint64_t addrs[];
};

/* Of each address; name and file follow it, without a NUL. */
struct answer {
	uint32_t name_len;	/* 0 = no name */
	uint32_t file_len;
	uint32_t line;
	uint32_t guessed;
	uint64_t off;
};

/* --- In the worker --- */

#define TABLES_MAX	8

struct tables {
	struct perfmap_table at[TABLES_MAX];	/* the last used first */
};

void *perfmap_state_new(void)
{
	return calloc(1, sizeof(struct tables));
}

void *perfmap_state_free(void *state)
{
	struct tables *s = state;

	for (size_t i = 0; s && i < TABLES_MAX; i++)
		perfmap_table_clear(&s->at[i]);
	free(s);
	return NULL;
}

/* The table of a file, or the one that nobody has used for the longest time. */
static struct perfmap_table *table_get(struct tables *s, int fd)
{
	struct perfmap_table found;
	struct stat st;
	size_t i;

	if (fstat(fd, &st))
		return NULL;
	for (i = 0; i < TABLES_MAX - 1 && (s->at[i].dev != st.st_dev || s->at[i].inode != st.st_ino); i++)
		;
	found = s->at[i];
	memmove(s->at + 1, s->at, i * sizeof(found));
	s->at[0] = found;
	return &s->at[0];
}

static int answer_add(const struct perfmap_table *t, int fd, const struct request *req, uint64_t addr, struct text *reply)
{
	struct text name = { 0 }, file = { 0 };
	char raw[PERFMAP_NAME_MAX + 1];
	struct answer a = { 0 };
	bool guessed = false;
	const struct perfmap_entry *e = perfmap_table_find(t, addr, &guessed);

	/* it may have been written anew since: then there is no name */
	if (e && pread(fd, raw, e->name_len, e->name_off) == e->name_len && hash_bytes(raw, e->name_len) == e->hash) {
		raw[e->name_len] = '\0';
		if (req->raw)
			text_add(&name, raw);
		else
			perfmap_split(raw, &name, &file, &a.line);
		a.name_len = name.len;
		a.file_len = file.len;
		a.guessed = guessed;
		a.off = addr - e->start;
	}
	text_add_len(reply, (const char *)&a, sizeof(a));
	text_add_len(reply, text_str(&name), name.len);
	text_add_len(reply, text_str(&file), file.len);
	if (name.failed || file.failed)
		reply->failed = true;
	text_free(&name);
	text_free(&file);
	return reply->failed ? -ENOMEM : 0;
}

int perfmap_handle(void *state, const void *request, size_t len, int fd, struct text *reply)
{
	const struct request *req = request;
	struct perfmap_table *t;
	int err;

	if (len < sizeof(*req) || req->cnt > ADDRS_MAX || len != sizeof(*req) + req->cnt * sizeof(req->addrs[0]))
		return -EINVAL;
	t = table_get(state, fd);
	if (!t)
		return -EBADF;
	err = perfmap_table_read(t, fd, req->max_bytes);
	for (uint32_t i = 0; !err && i < req->cnt; i++)
		err = answer_add(t, fd, req, req->addrs[i], reply);
	return err;
}

/* --- In ebb --- */

struct perfmap {
	struct worker *worker;
	bool raw;
	struct file {
		pid_t pid;
		uint64_t start_ticks;
		int fd;			/* -1 = none */
		bool said;		/* why there are no names */
		bool bad;		/* the worker died of it: not again */
	} files[FILES_MAX];		/* the last used first */
	size_t files_cnt;
};

int perfmap_new(struct worker *w, bool raw, struct perfmap **ret)
{
	struct perfmap *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->worker = w;
	m->raw = raw;
	*ret = m;
	return 0;
}

struct perfmap *perfmap_free(struct perfmap *m)
{
	for (size_t i = 0; m && i < m->files_cnt; i++)
		if (m->files[i].fd >= 0)
			close(m->files[i].fd);
	free(m);
	return NULL;
}

bool perfmap_covers(const struct target_mapping *map)
{
	static const char *const begins[] = { "/memfd:", "/dev/zero", "//anon", "/SYSV", "[anon", "[heap]", "[stack" };

	if (!map || !*map->path)
		return true;
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (!strncmp(map->path, begins[i], strlen(begins[i])))
			return true;
	return false;
}

/*
 * A file in the target's /tmp, whatever it is, with no way through links: O_PATH opens nothing, so no device is touched and
 * no FIFO waits.
 */
static int find_file(const struct target *t, const char *name)
{
	int root_fd = openat(t->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC), tmp_fd, fd, err;

	if (root_fd < 0)
		return -errno;
	tmp_fd = openat(root_fd, "tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = -errno;
	close(root_fd);
	if (tmp_fd < 0)
		return err;
	fd = openat(tmp_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	err = -errno;
	close(tmp_fd);
	return fd < 0 ? err : fd;
}

/* Opens the map. Negative errno, and in *ret_why what is wrong with it. */
static int open_file(const struct target *t, const char **ret_why)
{
	char name[sizeof("perf-.map") + 16], path[sizeof("/proc/self/fd/") + 16];
	struct target_ids ids;
	int path_fd, fd, err;
	struct stat st;

	*ret_why = NULL;
	err = target_ids_read(t, &ids);
	if (err)
		return err;
	snprintf(name, sizeof(name), "perf-%d.map", (int)ids.own_pid);
	path_fd = find_file(t, name);
	if (path_fd < 0)
		return path_fd;
	err = -EINVAL;
	if (fstat(path_fd, &st))
		err = -errno;
	else if (S_ISLNK(st.st_mode))
		*ret_why = "it is a symbolic link";
	else if (!S_ISREG(st.st_mode))
		*ret_why = "it is no regular file";
	else if (st.st_uid != ids.fs_uid)
		*ret_why = "it belongs to another user than the process";
	else if ((uint64_t)st.st_size > PERFMAP_BYTES_MAX)
		*ret_why = "it is larger than 64 MiB";
	else
		err = 0;
	if (err) {
		close(path_fd);
		return err;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	err = -errno;
	close(path_fd);
	return fd < 0 ? err : fd;
}

static struct file *file_of(struct perfmap *m, const struct target *t)
{
	struct file found = { .pid = t->pid, .start_ticks = t->start_ticks, .fd = -1 };
	size_t i;

	for (i = 0; i < m->files_cnt && (m->files[i].pid != t->pid || m->files[i].start_ticks != t->start_ticks); i++)
		;
	if (i < m->files_cnt) {
		found = m->files[i];
	} else if (m->files_cnt < FILES_MAX) {
		m->files_cnt++;
	} else {
		i--;
		if (m->files[i].fd >= 0)
			close(m->files[i].fd);
	}
	memmove(m->files + 1, m->files, i * sizeof(found));
	m->files[0] = found;
	return &m->files[0];
}

static void say_once(struct file *f, int err, const char *why)
{
	if (f->said || err == -ENOENT)
		return;
	log_debug("perf map of process %d: not used: %s", (int)f->pid, why ? why : strerror(-err));
	f->said = true;
}

/* The map as it is now; the one of before when the process has ended meanwhile. NULL when there is none. */
static struct file *file_open(struct perfmap *m, const struct target *t)
{
	struct file *f = file_of(m, t);
	const char *why;
	int fd;

	if (f->bad)
		return NULL;
	fd = open_file(t, &why);
	if (fd < 0 && f->fd >= 0 && !target_is_alive(t))
		return f;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd < 0 ? -1 : fd;
	if (fd < 0)
		say_once(f, fd, why);
	return fd < 0 ? NULL : f;
}

/* Takes an answer's string; NULL when it is not as it should be. */
static char *string_take(const char **p, const char *end, uint32_t len)
{
	char *copy;

	if (len > (size_t)(end - *p) || memchr(*p, '\0', len))
		return NULL;
	copy = strndup(*p, len);
	*p += len;
	return copy;
}

static int answers_take(const struct text *reply, size_t first, size_t cnt,
			int (*fn)(void *ctx, size_t i, const struct perfmap_name *name), void *ctx)
{
	const char *p = text_str(reply), *end = p + reply->len;
	int err = 0;

	for (size_t i = 0; !err && i < cnt; i++) {
		char *name, *file;
		struct answer a;

		if ((size_t)(end - p) < sizeof(a))
			return -EBADMSG;
		memcpy(&a, p, sizeof(a));
		p += sizeof(a);
		name = string_take(&p, end, a.name_len);
		file = name ? string_take(&p, end, a.file_len) : NULL;
		if (!name || !file)
			err = -EBADMSG;	/* or memory is short, and then it comes again */
		else if (a.name_len)
			err = fn(ctx, first + i, &(struct perfmap_name){
				.name = name, .file = *file ? file : NULL, .line = a.line, .off = a.off, .guessed = a.guessed,
			});
		free(name);
		free(file);
	}
	return err;
}

int perfmap_names(struct perfmap *m, const struct target *t, const uint64_t *addrs, size_t cnt,
		  int (*fn)(void *ctx, size_t i, const struct perfmap_name *name), void *ctx)
{
	struct request *req;
	struct file *f;
	int err = 0;

	f = m->worker && cnt ? file_open(m, t) : NULL;
	if (!f)
		return 0;
	req = malloc(sizeof(*req) + ADDRS_MAX * sizeof(req->addrs[0]));
	if (!req)
		return -ENOMEM;
	*req = (struct request){ .max_bytes = PERFMAP_BYTES_MAX, .raw = m->raw };
	for (size_t at = 0; !err && at < cnt; at += req->cnt) {
		struct text reply = { 0 };
		int call_err;

		req->cnt = cnt - at < ADDRS_MAX ? cnt - at : ADDRS_MAX;
		memcpy(req->addrs, addrs + at, req->cnt * sizeof(req->addrs[0]));
		call_err = worker_call(m->worker, PARSER_PERFMAP, req, sizeof(*req) + req->cnt * sizeof(req->addrs[0]), f->fd,
				       &reply);
		if (!call_err)
			err = answers_take(&reply, at, req->cnt, fn, ctx);
		text_free(&reply);
		if (call_err || err == -EBADMSG) {
			f->bad = call_err == -EPIPE || call_err == -ETIME;
			say_once(f, call_err ? call_err : err, NULL);
			err = call_err == -ENOMEM ? -ENOMEM : 0;
			break;
		}
	}
	free(req);
	return err;
}
