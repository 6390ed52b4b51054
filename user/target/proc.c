/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/proc.h"

int proc_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int proc_read(int proc_fd, const char *name, struct text *ret)
{
	char buf[16384];
	int err = 0, fd;
	ssize_t len;

	fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	for (;;) {
		len = read(fd, buf, sizeof(buf));
		if (len < 0) {
			err = -errno;
			if (err == -EINTR)
				continue;
			break;
		}
		/* also once for an empty file, so that the text is never NULL */
		text_add_len(ret, buf, len);
		err = ret->failed ? -ENOMEM : 0;
		if (!len || err)
			break;
	}
	close(fd);
	return err;
}

int proc_readlink(int proc_fd, const char *name, char **ret)
{
	size_t size = 256;
	char *buf = NULL;

	for (;; size *= 2) {
		char *bigger = realloc(buf, size);
		ssize_t len;
		int err;

		if (!bigger) {
			free(buf);
			return -ENOMEM;
		}
		buf = bigger;
		len = readlinkat(proc_fd, name, buf, size);
		if (len < 0) {
			err = -errno;
			free(buf);
			return err;
		}
		if ((size_t)len < size) {
			buf[len] = '\0';
			*ret = buf;
			return 0;
		}
	}
}

/*
 *	PID (COMM) STATE PPID PGRP SESSION TTY TPGID FLAGS … THREADS(20) ITREAL START(22) … START_STACK(28) … START_BRK(47)
 *
 * COMM is what the process says of itself and may hold ')' and newlines: the last ')' ends it, since
 * only a letter and numbers follow.
 */
int proc_stat_parse(const char *text, struct proc_stat *ret)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')'), *p;
	struct proc_stat stat = { 0 };
	int field = 4;
	char *end;

	if (!open || !close || close < open || close[1] != ' ' || !close[2] || close[3] != ' ')
		return -EBADMSG;
	stat.comm = open + 1;
	stat.comm_len = close - open - 1;
	stat.state = close[2];
	for (p = close + 4; field <= 47; field++, p = end) {
		/* some of them are negative: strtoull takes the sign, and nobody looks at those */
		unsigned long long n = strtoull(p, &end, 10);

		if (end == p)
			break;
		if (field == 4)
			stat.parent = n;
		else if (field == 9)
			stat.flags = n;
		else if (field == 10)
			stat.minflt = n;
		else if (field == 12)
			stat.majflt = n;
		else if (field == 20)
			stat.threads_cnt = n;
		else if (field == 22)
			stat.start_ticks = n;
		else if (field == 24)
			stat.rss_pages = n;
		else if (field == 28)
			stat.start_stack_addr = n;
		else if (field == 47)
			stat.start_brk_addr = n;
	}
	if (field <= 22)
		return -EBADMSG;
	*ret = stat;
	return 0;
}

const char *proc_status_line(const char *status, const char *key, size_t *ret_len)
{
	size_t key_len = strlen(key);
	const char *line = status;

	/* "Name:" is escaped by the kernel, so that no name can forge a line */
	while (line) {
		if (!strncmp(line, key, key_len) && line[key_len] == ':') {
			line += key_len + 1;
			line += strspn(line, " \t");
			*ret_len = strcspn(line, "\n");
			return line;
		}
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return NULL;
}

bool proc_status_u64(const char *status, const char *key, uint64_t *ret)
{
	const char *value;
	size_t len;
	char *end;
	unsigned long long n;

	value = proc_status_line(status, key, &len);
	if (!value || *value < '0' || *value > '9')
		return false;
	n = strtoull(value, &end, 10);
	*ret = n;
	return true;
}
