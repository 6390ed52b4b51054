/* SPDX-License-Identifier: GPL-2.0-only */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"
#include "base/hashmap.h"
#include "target/maps.h"
#include "target/module.h"
#include "target/proc.h"
#include "target/target.h"

/* PF_KTHREAD of include/linux/sched.h, as stat's flags field shows it. */
#define PF_KTHREAD 0x00200000

static int problem_of(int err, const struct target *t, enum target_problem *ret)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		*ret = TARGET_NO_ACCESS;
		break;
	case -ENOENT:
	case -ESRCH:
		*ret = TARGET_NO_PROCESS;
		/* with hidepid=2 there is not even a directory, while a signal finds the process */
		if (t->proc_fd < 0 && (!kill(t->pid, 0) || errno == EPERM)) {
			*ret = TARGET_NO_ACCESS;
			return -EACCES;
		}
		return -ESRCH;
	default:
		break;
	}
	return err;
}

/* What the process is, by its own numbers: one that we do not trace is named in *ret_problem. */
static int target_read_identity(struct target *t, enum target_problem *ret_problem, pid_t *ret_tgid)
{
	struct text stat_text = { 0 }, status = { 0 };
	struct proc_stat stat;
	uint64_t tgid;
	int err;

	err = proc_read(t->proc_fd, "stat", &stat_text);
	if (err)
		goto out;
	err = proc_stat_parse(text_str(&stat_text), &stat);
	if (err)
		goto out;
	err = proc_read(t->proc_fd, "status", &status);
	if (err)
		goto out;
	if (proc_status_u64(text_str(&status), "Tgid", &tgid) && (pid_t)tgid != t->pid) {
		*ret_problem = TARGET_THREAD;
		*ret_tgid = tgid;
		err = -EINVAL;
	} else if (stat.flags & PF_KTHREAD) {
		*ret_problem = TARGET_KERNEL_THREAD;
		err = -EINVAL;
	} else if (stat.state == 'Z' || stat.state == 'X') {
		*ret_problem = TARGET_ZOMBIE;
		err = -ESRCH;
	} else {
		t->start_stack_addr = stat.start_stack_addr;
		t->start_brk_addr = stat.start_brk_addr;
		t->start_ticks = stat.start_ticks;
		t->comm = strndup(stat.comm, stat.comm_len);
		err = t->comm ? 0 : -ENOMEM;
	}
out:
	text_free(&stat_text);
	text_free(&status);
	return err;
}

/*
 * The descriptors of /proc/PID and of the process are opened one after the other, and the pid may
 * change hands in between. When the directory still works after the second, its process lived all the
 * time, so the pid was its own and both mean the same.
 */
static int target_open_pidfd(struct target *t)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int err;

	t->pidfd = syscall(SYS_pidfd_open, t->pid, 0);
	if (t->pidfd < 0)
		return -errno;
	err = proc_read(t->proc_fd, "stat", &text);
	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	if (!err && stat.start_ticks != t->start_ticks)
		err = -ESRCH;
	text_free(&text);
	return err;
}

/* The executable decides: class 32 is i386 as well as x32, whose machine is EM_X86_64. */
static int target_check_class(const struct target *t, enum target_problem *ret_problem)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	int err = 0, fd;

	fd = openat(t->proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (pread(fd, ident, sizeof(ident), 0) < 0)
		err = -errno;
	close(fd);
	if (!err && !memcmp(ident, ELFMAG, SELFMAG) && ident[EI_CLASS] == ELFCLASS32) {
		*ret_problem = TARGET_32BIT;
		err = -ENOTSUP;
	}
	return err;
}

/* The pid names ourselves or a thread of ours. */
static bool is_self(pid_t pid)
{
	return pid == getpid() || syscall(SYS_tgkill, getpid(), pid, 0) == 0;
}

/* Of what `target_open_plain` does not read only whether it could be. */
static int target_check_access(struct target *t)
{
	int fd = openat(t->proc_fd, "smaps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	t->mem_fd = openat(t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int target_open_memory(struct target *t, enum target_problem *ret_problem)
{
	int err = target_check_class(t, ret_problem);

	if (err)
		return err;
	t->mem_fd = openat(t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	return target_refresh(t);
}

static int target_open_as(pid_t pid, struct worker *w, bool plain, struct target **ret, enum target_problem *ret_problem,
			  pid_t *ret_tgid)
{
	struct target *t;
	int err;

	*ret_problem = TARGET_OK;
	if (pid <= 0) {
		*ret_problem = TARGET_NO_PROCESS;
		return -ESRCH;
	}
	if (is_self(pid)) {
		*ret_problem = TARGET_SELF;
		return -EINVAL;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->pid = pid;
	t->pidfd = -1;
	t->mem_fd = -1;
	t->worker = w;
	t->module_index = hashmap_new();
	t->proc_fd = proc_open(pid);
	err = !t->module_index ? -ENOMEM : t->proc_fd < 0 ? t->proc_fd : 0;
	if (!err)
		err = target_read_identity(t, ret_problem, ret_tgid);
	if (!err)
		err = target_open_pidfd(t);
	if (!err)
		err = plain ? target_check_access(t) : target_open_memory(t, ret_problem);
	if (err < 0) {
		if (*ret_problem == TARGET_OK)
			err = problem_of(err, t, ret_problem);
		target_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

int target_open(pid_t pid, struct worker *w, struct target **ret, enum target_problem *ret_problem, pid_t *ret_tgid)
{
	return target_open_as(pid, w, false, ret, ret_problem, ret_tgid);
}

int target_open_plain(pid_t pid, struct target **ret, enum target_problem *ret_problem, pid_t *ret_tgid)
{
	return target_open_as(pid, NULL, true, ret, ret_problem, ret_tgid);
}

bool target_is_same_image(const struct target *t)
{
	struct text text = { 0 };
	struct proc_stat stat;
	int err = proc_read(t->proc_fd, "stat", &text);

	if (!err)
		err = proc_stat_parse(text_str(&text), &stat);
	text_free(&text);
	return !err && stat.start_stack_addr == t->start_stack_addr && stat.start_brk_addr == t->start_brk_addr;
}

struct target *target_free(struct target *t)
{
	if (!t)
		return NULL;
	maps_free(t->mappings, t->mappings_cnt);
	for (size_t i = 0; i < t->modules_cnt; i++)
		module_free(t->modules[i]);
	free(t->modules);
	hashmap_free(t->module_index);
	if (t->pidfd >= 0)
		close(t->pidfd);
	if (t->proc_fd >= 0)
		close(t->proc_fd);
	if (t->mem_fd >= 0)
		close(t->mem_fd);
	free(t->comm);
	free(t->exe);
	free(t);
	return NULL;
}

bool target_is_alive(const struct target *t)
{
	struct pollfd p = { .fd = t->pidfd, .events = POLLIN };

	/* a pidfd becomes readable when the last thread has ended */
	return poll(&p, 1, 0) == 0;
}

/* Whether a file was written over that is mapped. */
static bool files_changed(const struct target *t)
{
	for (size_t i = 0; i < t->mappings_cnt && !t->mappings[i].gone; i++)
		if (t->mappings[i].module && target_module_changed(t->mappings[i].module))
			return true;
	return false;
}

int target_refresh(struct target *t)
{
	struct target_mapping *maps;
	struct text text = { 0 };
	uint64_t hash;
	size_t cnt;
	int err;

	err = proc_read(t->proc_fd, "maps", &text);
	/* empty: the memory is gone already, the process is about to be */
	if (!err && !text.len)
		err = -ESRCH;
	if (err)
		goto out;
	hash = hash_bytes(text.str, text.len);
	if (hash == t->maps_hash && !files_changed(t))
		goto out;
	err = maps_parse(text.str, text.len, &maps, &cnt);
	if (err)
		goto out;
	err = modules_assign(t, maps, cnt);
	if (err) {
		maps_free(maps, cnt);
		goto out;
	}
	err = maps_replace(t, maps, cnt);
	if (err < 0)
		goto out;
	t->maps_hash = hash;
	if (err && modules_find_exe(t))
		err = -ENOMEM;
out:
	text_free(&text);
	return err;
}

const struct target_mapping *target_mapping_at(const struct target *t, uint64_t addr)
{
	size_t low = 0, high = t->mappings_cnt, i;

	/* the last living one that starts at or below addr */
	while (low < high) {
		i = low + (high - low) / 2;
		if (t->mappings[i].gone || t->mappings[i].start > addr)
			high = i;
		else
			low = i + 1;
	}
	if (low && addr < t->mappings[low - 1].end)
		return &t->mappings[low - 1];
	for (i = low; i < t->mappings_cnt; i++)
		if (t->mappings[i].gone && addr >= t->mappings[i].start && addr < t->mappings[i].end)
			return &t->mappings[i];
	return NULL;
}

/* Whether nothing else than this was ever seen there. */
static bool is_only_one(const struct target *t, uint64_t addr, const struct target_mapping *map)
{
	if (map->epoch || t->epochs_lost)
		return false;
	for (size_t i = t->mappings_cnt; i-- && t->mappings[i].gone;)
		if (t->mappings[i].epoch && addr >= t->mappings[i].start && addr < t->mappings[i].end)
			return false;
	return true;
}

const struct target_mapping *target_mapping_of(const struct target *t, uint64_t addr, uint32_t epoch)
{
	const struct target_mapping *map = target_mapping_at(t, addr);

	if (!map)
		return NULL;
	if (epoch == STACK_EPOCHS)
		return is_only_one(t, addr, map) ? map : NULL;
	if (map->epoch == epoch || map->prot[2] != 'x')	/* what is no code has no epochs */
		return map;
	for (size_t i = t->mappings_cnt; i-- && t->mappings[i].gone;) {
		map = &t->mappings[i];
		if (map->epoch == epoch && addr >= map->start && addr < map->end)
			return map;
	}
	return NULL;
}

int target_mapping_bias(const struct target_mapping *map, uint64_t *ret_bias)
{
	if (!map->module || !map->module->facts.is_elf)
		return -ENOENT;
	*ret_bias = mapping_bias(map, &map->module->facts);
	return 0;
}

int target_mapping_va(const struct target_mapping *map, uint64_t addr, uint64_t *ret_va)
{
	if (!map->module || !map->module->facts.is_elf || addr < map->start || addr >= map->end)
		return -ENOENT;
	return file_off_to_va(&map->module->facts, addr - map->start + map->off, ret_va);
}

/* Through the file, which is this process's whoever has its number by now, and which reads the vvar page, too. */
ssize_t target_read(const struct target *t, uint64_t addr, void *buf, size_t len)
{
	ssize_t got;

	if (t->mem_fd < 0)
		return -EACCES;
	got = pread(t->mem_fd, buf, len, (off_t)addr);
	if (got < 0)	/* the file says EIO for a page that is not there */
		return errno == EIO ? -EFAULT : -errno;
	return !got && len ? -ESRCH : got;
}
