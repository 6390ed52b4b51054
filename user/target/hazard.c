/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Three sources: the symbols and sections of the mapped files (Go, sanitizers), the settings of an
 * allocator's profiler (environment, /etc/malloc.conf, the variable malloc_conf), and the status of
 * every thread (shadow stack, seccomp).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "target/candidate.h"
#include "target/hazard.h"
#include "target/proc.h"

/* A setting longer than this is cut; jemalloc's whole list of options is shorter. */
#define CONF_BYTES_MAX 1024

struct symbol_search {
	const char *go, *sanitizer;
	bool jemalloc, heap_profiler;
	uint64_t conf_va[4];	/* variables malloc_conf, je_malloc_conf … */
	size_t conf_cnt;
};

struct finding {
	struct hazards *hazards;
	bool failed;		/* memory was short */
};

/* The first of a kind stays; `what` is of our own making, `name` comes from outside. */
static void finding_add(struct finding *f, enum hazard_kind kind, const char *what, const char *name)
{
	struct text detail = { 0 };

	if (f->hazards->found[kind])
		return;
	text_add(&detail, what);
	text_add_safe(&detail, name);
	f->failed |= detail.failed;
	f->hazards->found[kind] = true;
	f->hazards->detail[kind] = detail.str;
}

static int search_symbol(const struct image_symbol *sym, void *ctx)
{
	static const char *const go[] = { "runtime.main", "go:buildid", "go.buildid", NULL };
	static const char *const sanitizers[] = {
		"__asan_init", "__tsan_init", "__msan_init", "__lsan_init", "__hwasan_init", NULL
	};
	static const char *const confs[] = { "malloc_conf", "je_malloc_conf", "_rjem_malloc_conf", NULL };
	struct symbol_search *s = ctx;

	/* most symbols of a large program, and none of these */
	if (!strncmp(sym->name, "_Z", 2))
		return 0;
	for (size_t i = 0; go[i]; i++)
		if (!strcmp(sym->name, go[i]))
			s->go = go[i];
	for (size_t i = 0; sanitizers[i]; i++)
		if (!strcmp(sym->name, sanitizers[i]) && sym->type == IMAGE_FUNC)
			s->sanitizer = sanitizers[i];
	for (size_t i = 0; confs[i]; i++)
		if (!strcmp(sym->name, confs[i]) && sym->type == IMAGE_OBJECT && s->conf_cnt < 4)
			s->conf_va[s->conf_cnt++] = sym->va;
	s->jemalloc |= !strcmp(sym->name, "mallctl") || !strcmp(sym->name, "je_mallctl") ||
		       !strcmp(sym->name, "_rjem_mallctl");
	s->heap_profiler |= !strcmp(sym->name, "HeapProfilerStart");
	return 0;
}

/*
 * jemalloc's options are "name:value,name:value", later ones win. The profiler walks the stack in
 * malloc only while prof_active is true, which it is unless said otherwise.
 */
static bool conf_profiles(const char *conf)
{
	bool prof = false, active = true;

	while (*conf) {
		size_t len = strcspn(conf, ",");

		if (len == 9 && !strncmp(conf, "prof:true", len))
			prof = true;
		else if (len == 10 && !strncmp(conf, "prof:false", len))
			prof = false;
		else if (len == 16 && !strncmp(conf, "prof_active:true", len))
			active = true;
		else if (len == 17 && !strncmp(conf, "prof_active:false", len))
			active = false;
		conf += len + (conf[len] == ',');
	}
	return prof && active;
}

static bool variable_profiles(const char *variable)
{
	static const char *const confs[] = { "MALLOC_CONF=", "JE_MALLOC_CONF=", "_RJEM_MALLOC_CONF=", NULL };
	static const char *const heaps[] = { "HEAPPROFILE=", "HEAPCHECK=", NULL };

	for (size_t i = 0; confs[i]; i++)
		if (!strncmp(variable, confs[i], strlen(confs[i])))
			return conf_profiles(variable + strlen(confs[i]));
	for (size_t i = 0; heaps[i]; i++)
		if (!strncmp(variable, heaps[i], strlen(heaps[i])))
			return variable[strlen(heaps[i])] != '\0';
	return false;
}

static const char *environ_next(const char *variable, const char *end)
{
	const char *nul = memchr(variable, '\0', end - variable);

	return nul ? nul + 1 : end;
}

const char *hazard_environ_profiler(const char *env, unsigned long len)
{
	const char *end = env + len;
	bool found;

	for (const char *v = env; v < end; v = environ_next(v, end)) {
		/* the process may have overwritten the last NUL: work on copies that have one */
		char *variable = strndup(v, end - v);

		found = variable && variable_profiles(variable);
		free(variable);
		if (found)
			return v;
	}
	return NULL;
}

bool hazard_status_has_shadow_stack(const char *status)
{
	const char *features;
	size_t len;

	/* "x86_Thread_features:\tshstk wrss"; x86_Thread_features_locked is another line */
	features = proc_status_line(status, "x86_Thread_features", &len);
	return features && memmem(features, len, "shstk", 5);
}

bool hazard_status_has_seccomp_filter(const char *status)
{
	uint64_t mode;

	/* 2 is a filter; 1, strict, kills at any system call, that of a return probe too */
	return proc_status_u64(status, "Seccomp", &mode) && mode != 0;
}

/* What it was started with. */
static void find_in_environ(const struct text *env, bool jemalloc, bool heap_profiler, struct finding *f)
{
	const char *variable, *at = text_str(env), *end = at + env->len;

	for (; at < end; at = environ_next(variable, end)) {
		variable = hazard_environ_profiler(at, end - at);
		if (!variable)
			break;
		if (!strncmp(variable, "HEAP", 4) ? heap_profiler : jemalloc)
			finding_add(f, HAZARD_PROFILER, "an allocator's own profiler is on: ", variable);
	}
}

/* jemalloc takes options from the text of a symbolic link, as the target sees it. */
static void find_in_malloc_conf_link(const char *conf, struct finding *f)
{
	if (conf && conf_profiles(conf))
		finding_add(f, HAZARD_PROFILER, "jemalloc's profiler is on: /etc/malloc.conf -> ", conf);
}

/* … and from a variable of the program, const char *malloc_conf. */
static void find_in_variable(const struct target *t, const struct target_module *m,
			     const struct symbol_search *s, struct finding *f)
{
	char conf[CONF_BYTES_MAX + 1];
	uint64_t addr;
	ssize_t len;

	for (size_t i = 0; i < s->conf_cnt; i++) {
		if (target_read(t, target_addr(m, s->conf_va[i]), &addr, sizeof(addr)) != sizeof(addr) || !addr)
			continue;
		len = target_read(t, addr, conf, CONF_BYTES_MAX);
		/* the string may stand at the end of the last page that is mapped */
		if (len <= 0)
			continue;
		conf[len] = '\0';
		if (conf_profiles(conf))
			finding_add(f, HAZARD_PROFILER, "jemalloc's profiler is on: malloc_conf = ", conf);
	}
}

static bool is_sanitizer_path(const char *path)
{
	static const char *const names[] = {
		"libasan.", "libtsan.", "libmsan.", "liblsan.", "libhwasan.", "libclang_rt.asan", "libclang_rt.tsan",
		"libclang_rt.msan", "libclang_rt.lsan", "libclang_rt.hwasan", NULL
	};

	for (size_t i = 0; names[i]; i++)
		if (!strncmp(path_base(path), names[i], strlen(names[i])))
			return true;
	return false;
}

static void find_in_modules(const struct target *t, const struct images *images, const struct hazard_texts *texts,
			    struct finding *f)
{
	bool jemalloc = false, heap_profiler = false;

	for (size_t i = 0; i < t->modules_cnt; i++) {
		const struct target_module *m = t->modules[i];
		const struct image *img = images_of(images, m);
		struct symbol_search s = { 0 };

		if (is_sanitizer_path(m->path))
			finding_add(f, HAZARD_SANITIZER, "a sanitizer is mapped: ", path_base(m->path));
		if (!img || m->is_plain)
			continue;
		image_each_symbol(img, search_symbol, &s);
		if (s.sanitizer)
			finding_add(f, HAZARD_SANITIZER, "a sanitizer is linked into ", path_base(m->path));
		/* sections outlive strip */
		if (s.go || image_has_section(img, ".go.buildinfo") || image_has_section(img, ".note.go.buildid"))
			finding_add(f, HAZARD_GO, "Go code is in ", path_base(m->path));
		find_in_variable(t, m, &s, f);
		jemalloc |= s.jemalloc;
		heap_profiler |= s.heap_profiler;
	}
	find_in_environ(&texts->environ, jemalloc, heap_profiler, f);
	if (jemalloc)
		find_in_malloc_conf_link(texts->malloc_conf, f);
}

static int find_in_threads(const struct target *t, struct finding *f)
{
	struct dirent *entry;
	struct text path = { 0 }, status = { 0 };
	DIR *dir;
	int err = 0, fd;

	fd = openat(t->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		text_clear(&path);
		text_clear(&status);
		text_printf(&path, "task/%s/status", entry->d_name);
		/* it may have ended since it was listed */
		if (path.failed || proc_read(t->proc_fd, path.str, &status))
			continue;
		if (hazard_status_has_shadow_stack(text_str(&status)))
			finding_add(f, HAZARD_SHADOW_STACK, "runs with a user shadow stack: thread ", entry->d_name);
		if (hazard_status_has_seccomp_filter(text_str(&status)))
			finding_add(f, HAZARD_SECCOMP, "is under seccomp: thread ", entry->d_name);
	}
	f->failed |= path.failed || status.failed;
	closedir(dir);
	text_free(&path);
	text_free(&status);
	return 0;
}

int hazard_texts_read(const struct target *t, struct hazard_texts *ret)
{
	struct hazard_texts texts = { 0 };
	int err = proc_read(t->proc_fd, "environ", &texts.environ);

	if (err != -ENOMEM)
		err = proc_readlink(t->proc_fd, "root/etc/malloc.conf", &texts.malloc_conf);
	if (err == -ENOMEM) {
		hazard_texts_free(&texts);
		return err;
	}
	*ret = texts;
	return 0;
}

void hazard_texts_free(struct hazard_texts *texts)
{
	text_free(&texts->environ);
	free(texts->malloc_conf);
	*texts = (struct hazard_texts){ 0 };
}

int hazards_find(const struct target *t, const struct images *images, const struct hazard_texts *texts,
		 struct hazards *ret)
{
	struct hazards hazards = { 0 };
	struct finding f = { .hazards = &hazards };

	find_in_modules(t, images, texts, &f);
	if (f.failed) {
		hazards_free(&hazards);
		return -ENOMEM;
	}
	*ret = hazards;
	return 0;
}

int hazards_find_threads(const struct target *t, struct hazards *ret)
{
	struct finding f = { .hazards = ret };
	int err = find_in_threads(t, &f);

	return !err && f.failed ? -ENOMEM : err;
}

void hazards_free(struct hazards *h)
{
	for (int i = 0; i < HAZARD_KINDS; i++)
		free(h->detail[i]);
	*h = (struct hazards){ 0 };
}
