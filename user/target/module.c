/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A mapped file is opened through /proc/PID/map_files/START-END, which is the mapped file itself,
 * whatever its name says by now: deleted, replaced by a newer version, of another mount namespace.
 * Where that is not allowed, its path below the target's root will do if device and inode are those of
 * the mapping; else it stays closed, with the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hashmap.h"
#include "target/module.h"
#include "target/proc.h"

#define DELETED " (deleted)"

/* The vdso is two to four pages; what claims to be much larger is none. */
#define VDSO_SIZE_MAX (256 << 10)

struct module_key {
	uint64_t dev, inode;
};

struct target_module *module_free(struct target_module *m)
{
	if (!m)
		return NULL;
	file_facts_free(&m->facts);
	if (m->fd >= 0)
		close(m->fd);
	free(m->path);
	free(m->attach_path);
	free(m);
	return NULL;
}

/* Opens a regular file below dir_fd without side effects: no waiting for a FIFO, no terminal, no device. */
static int open_regular(int dir_fd, const char *name, struct stat *st)
{
	int fd, err;

	/* first without opening: opening a device can do things */
	if (fstatat(dir_fd, name, st, 0))
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, st)) {
		err = -errno;
		close(fd);
		return err;
	}
	if (!S_ISREG(st->st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static void map_files_name(const struct target_mapping *map, char name[64])
{
	snprintf(name, 64, "map_files/%llx-%llx", (unsigned long long)map->start, (unsigned long long)map->end);
}

/* "root" + path: where the path leads for the target. NULL when memory is short. */
static char *root_path(const char *path)
{
	struct text t = { 0 };

	text_add(&t, "root");
	text_add(&t, path);
	if (t.failed)
		text_free(&t);
	return t.str;
}

static int open_through_root(const struct target *t, const struct target_mapping *map, const char *name)
{
	char *path;
	struct stat st;
	int fd;

	if (name[0] != '/')
		return -ENOENT;
	path = root_path(name);
	if (!path)
		return -ENOMEM;
	fd = open_regular(t->proc_fd, path, &st);
	free(path);
	if (fd >= 0 && (st.st_dev != map->dev || st.st_ino != map->inode)) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

/* The path as the kernel knows it, exact even where maps is ambiguous (a backslash, see maps.c). */
static int module_set_path(const struct target *t, const struct target_mapping *map, struct target_module *m)
{
	char name[64];

	map_files_name(map, name);
	if (!strpbrk(map->path, "\\\n") || proc_readlink(t->proc_fd, name, &m->path))
		m->path = strdup(map->path);
	return m->path ? 0 : -ENOMEM;
}

/*
 * Takes the kernel's mark for a file that has no name any more off the path. A file may as well be
 * called "x (deleted)": then the very file is found under that name.
 */
static int module_find_deleted(const struct target *t, const struct target_mapping *map, struct target_module *m)
{
	size_t len, mark_len = strlen(DELETED);
	struct stat mine = { .st_dev = map->dev, .st_ino = map->inode }, named;
	char *path;

	len = strlen(m->path);
	if (len <= mark_len || strcmp(m->path + len - mark_len, DELETED))
		return 0;
	path = root_path(m->path);
	if (!path)
		return -ENOMEM;
	if (m->fd >= 0 && fstat(m->fd, &mine))
		mine.st_ino = 0;
	m->deleted = fstatat(t->proc_fd, path, &named, AT_SYMLINK_NOFOLLOW) ||
		     named.st_dev != mine.st_dev || named.st_ino != mine.st_ino;
	free(path);
	if (m->deleted)
		m->path[len - mark_len] = '\0';
	return 0;
}

static int module_set_attach_path(const struct target *t, const struct target_mapping *map,
				  struct target_module *m)
{
	struct text path = { 0 };
	char name[64];

	if (m->fd >= 0) {
		text_printf(&path, "/proc/self/fd/%d", m->fd);
	} else {
		map_files_name(map, name);
		text_printf(&path, "/proc/%d/%s", t->pid, name);
	}
	if (path.failed)
		return -ENOMEM;
	m->attach_path = path.str;
	return 0;
}

/* A file that the worker dies of, or lies about, is one of which nothing is known. */
static int module_ask(const struct target *t, struct target_module *m)
{
	int err = file_facts_read(t->worker, m->file_key, m->fd, &m->facts);

	return err == -ENOMEM || err == -EBUSY ? err : 0;
}

static int module_open_file(const struct target *t, const struct target_mapping *map, struct target_module *m)
{
	char name[64];
	struct stat st;
	int err, fd;

	err = module_set_path(t, map, m);
	if (err)
		return err;
	map_files_name(map, name);
	m->fd = open_regular(t->proc_fd, name, &st);
	if (m->fd < 0) {
		m->open_err = m->fd;
		m->fd = -1;
		fd = open_through_root(t, map, m->path);
		if (fd >= 0) {
			m->fd = fd;
			m->open_err = 0;
		}
	}
	err = module_find_deleted(t, map, m);
	if (!err)
		err = module_set_attach_path(t, map, m);
	if (err || m->fd < 0)
		return err;
	if (!fstat(m->fd, &st)) {
		m->size_bytes = st.st_size;
		m->mtime_ns = st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec;
		m->file_key = hash_bytes((uint64_t[]){ st.st_dev, st.st_ino, m->size_bytes, m->mtime_ns }, 32);
	}
	return module_ask(t, m);
}

/* Sealed: what the worker is told of it is what everybody else reads. */
static int copy_to_memfd(const void *copy, size_t len)
{
	int fd = memfd_create("vdso", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	if (write(fd, copy, len) == (ssize_t)len && !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW))
		return fd;
	err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

/* The vdso has no file: a copy of its memory takes its place. */
static int module_open_vdso(const struct target *t, const struct target_mapping *map, struct target_module *m)
{
	size_t len = map->end - map->start;
	void *copy;
	ssize_t got;

	m->is_vdso = true;
	m->path = strdup(map->path);
	m->attach_path = strdup("");
	if (!m->path || !m->attach_path)
		return -ENOMEM;
	if (len > VDSO_SIZE_MAX)
		return 0;
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	got = target_read(t, map->start, copy, len);
	if (got == (ssize_t)len) {
		m->file_key = hash_bytes(copy, len);
		m->fd = copy_to_memfd(copy, len);
		m->open_err = m->fd < 0 ? m->fd : 0;
	} else {
		m->open_err = got < 0 ? got : -EFAULT;
	}
	free(copy);
	if (m->fd >= 0)
		return module_ask(t, m);
	m->fd = -1;
	return 0;
}

/*
 * Where the file lies in the process: the mapping begins at a page, the executable segment anywhere in
 * it, and the rest of that page of the file may belong to another segment with another distance
 * (lld packs them so). So look for the first offset that is in an executable segment.
 */
uint64_t mapping_bias(const struct target_mapping *map, const struct file_facts *facts)
{
	uint64_t page = sysconf(_SC_PAGESIZE), len = map->end - map->start, va;

	for (uint64_t i = 0; facts->is_elf && i < len && i <= page; i++)
		if (!file_off_to_va(facts, map->off + i, &va) && file_is_code(facts, va))
			return map->start + i - va;
	return map->start - map->off;
}

static int module_add(struct target *t, const struct target_mapping *map, struct target_module **ret)
{
	struct module_key key = { map->dev, map->inode };
	struct target_module **more, *m;
	int err;

	more = realloc(t->modules, (t->modules_cnt + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->modules = more;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->dev = map->dev;
	m->inode = map->inode;
	m->fd = -1;
	err = map->inode ? module_open_file(t, map, m) : module_open_vdso(t, map, m);
	if (!err)
		err = hashmap_put(t->module_index, &key, sizeof(key), t->modules_cnt);
	if (err) {
		module_free(m);
		return err;
	}
	m->index = t->modules_cnt;
	t->modules[t->modules_cnt++] = m;
	*ret = m;
	return 0;
}

/* Was this mapping there in the last reading, of the same file? */
static bool mapping_is_known(const struct target *t, const struct target_mapping *map)
{
	size_t low = 0, high = t->mappings_cnt;

	/* the gone ones stand behind the others */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct target_mapping *old = &t->mappings[mid];

		if (old->gone || old->start > map->start)
			high = mid;
		else if (old->start < map->start)
			low = mid + 1;
		else
			return old->module == map->module && old->off == map->off;
	}
	return false;
}

/* A module none of whose mappings is an old one was loaded anew: its distance is that of the new one. */
static int modules_place(const struct target *t, const struct target_mapping *maps, size_t cnt)
{
	bool *placed = calloc(t->modules_cnt + 1, sizeof(*placed));

	if (!placed)
		return -ENOMEM;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < cnt; i++) {
			const struct target_mapping *map = &maps[i];
			size_t index = map->module ? map->module->index : 0;

			if (!map->module || placed[index] || (pass == 0 && !mapping_is_known(t, map)))
				continue;
			if (pass == 1)
				map->module->bias = mapping_bias(map, &map->module->facts);
			placed[index] = true;
		}
	}
	free(placed);
	return 0;
}

bool target_module_changed(const struct target_module *m)
{
	struct stat st;

	return m->fd >= 0 && m->inode &&
	       (fstat(m->fd, &st) || (uint64_t)st.st_size != m->size_bytes ||
		st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec != m->mtime_ns);
}

bool target_module_is_mapped(const struct target *t, const struct target_module *m)
{
	for (size_t i = 0; i < t->mappings_cnt; i++)
		if (t->mappings[i].module == m && !t->mappings[i].gone)
			return true;
	return false;
}

int modules_assign(struct target *t, struct target_mapping *maps, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		struct target_mapping *map = &maps[i];
		struct module_key key = { map->dev, map->inode };
		bool is_vdso = !map->inode && !strcmp(map->path, "[vdso]");
		uint64_t index;
		int err;

		if (map->prot[2] != 'x' || (!map->inode && !is_vdso))
			continue;
		if (hashmap_get(t->module_index, &key, sizeof(key), &index)) {
			map->module = t->modules[index];
			/* written over: where it is mapped, too, there is other code by now */
			if (!target_module_changed(map->module))
				continue;
		}
		err = module_add(t, map, &map->module);
		if (err)
			return err;
	}
	return modules_place(t, maps, cnt);
}

int modules_find_exe(struct target *t)
{
	struct stat exe, st;
	char *path = NULL;
	int err;

	err = proc_readlink(t->proc_fd, "exe", &path);
	if (err)
		return err == -ENOMEM ? err : 0;
	free(t->exe);
	t->exe = path;
	if (fstatat(t->proc_fd, "exe", &exe, 0))
		exe.st_ino = 0;
	for (size_t i = 0; i < t->modules_cnt; i++) {
		struct target_module *m = t->modules[i];

		if (m->fd >= 0 && !fstat(m->fd, &st))
			m->is_exe = exe.st_ino && st.st_dev == exe.st_dev && st.st_ino == exe.st_ino;
		else
			m->is_exe = !m->is_vdso && !strcmp(m->path, path);
		if (!m->is_exe || !m->deleted)
			continue;
		/* the link carries the same mark as maps, and the module knows what it means */
		path = strdup(m->path);
		if (!path)
			return -ENOMEM;
		free(t->exe);
		t->exe = path;
	}
	return 0;
}
