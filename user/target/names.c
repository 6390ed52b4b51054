/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sources of the signatures: malloc(3), jemalloc(3), gperftools/tcmalloc.h, mimalloc.h (1.7 to 2.1),
 * C23 7.24.3. A function whose arguments fit no probe_kind is not here (mi_heap_realloc(heap, p, size),
 * mi_heap_calloc(heap, n, size)), and neither is what may throw, but for operator new (mi_new, tc_new: aliases of it
 * where they matter). C++ names: Itanium ABI 5.1.4 with size_t = unsigned long; C++17 [new.delete].
 */
#include <stddef.h>
#include <string.h>

#include "target/names.h"

struct name {
	const char *name;
	enum probe_kind kind;
};

static const struct name common_names[] = {
	{ "malloc", PROBE_MALLOC },
	{ "calloc", PROBE_CALLOC },
	{ "realloc", PROBE_REALLOC },
	{ "reallocarray", PROBE_REALLOCARRAY },
	{ "posix_memalign", PROBE_POSIX_MEMALIGN },
	{ "aligned_alloc", PROBE_MEMALIGN },
	{ "memalign", PROBE_MEMALIGN },
	{ "valloc", PROBE_MALLOC },
	{ "pvalloc", PROBE_MALLOC },
	{ "free", PROBE_FREE },
	{ "cfree", PROBE_FREE },
	{ "free_sized", PROBE_FREE },
	{ "free_aligned_sized", PROBE_FREE },
	{ "mallocx", PROBE_MALLOC },
	{ "rallocx", PROBE_RALLOCX },
	{ "xallocx", PROBE_XALLOCX },
	{ "sdallocx", PROBE_FREE },
	{ "dallocx", PROBE_FREE },
	{ NULL, 0 },
};

/* musl's malloc is a jump to this one, and so are its own calls of it. */
static const struct name plain_names[] = {
	{ "__libc_malloc_impl", PROBE_MALLOC },
	{ NULL, 0 },
};

/* Behind _Z. */
static const struct name operator_names[] = {
	{ "nwm", PROBE_NEW },
	{ "nam", PROBE_NEW },
	{ "nwmRKSt9nothrow_t", PROBE_NEW },
	{ "namRKSt9nothrow_t", PROBE_NEW },
	{ "nwmSt11align_val_t", PROBE_NEW },
	{ "namSt11align_val_t", PROBE_NEW },
	{ "nwmSt11align_val_tRKSt9nothrow_t", PROBE_NEW },
	{ "namSt11align_val_tRKSt9nothrow_t", PROBE_NEW },
	{ "dlPv", PROBE_FREE },
	{ "daPv", PROBE_FREE },
	{ "dlPvm", PROBE_FREE },
	{ "daPvm", PROBE_FREE },
	{ "dlPvRKSt9nothrow_t", PROBE_FREE },
	{ "daPvRKSt9nothrow_t", PROBE_FREE },
	{ "dlPvSt11align_val_t", PROBE_FREE },
	{ "daPvSt11align_val_t", PROBE_FREE },
	{ "dlPvmSt11align_val_t", PROBE_FREE },
	{ "daPvmSt11align_val_t", PROBE_FREE },
	{ "dlPvSt11align_val_tRKSt9nothrow_t", PROBE_FREE },
	{ "daPvSt11align_val_tRKSt9nothrow_t", PROBE_FREE },
	{ NULL, 0 },
};

static const struct name tc_names[] = {
	{ "malloc_skip_new_handler", PROBE_MALLOC },
	{ NULL, 0 },
};

/*
 * The size comes first in mi_malloc_aligned(size, alignment), and second where a heap comes first:
 * mi_heap_malloc(heap, size) has the shape of memalign(alignment, size).
 */
static const struct name mi_names[] = {
	{ "zalloc", PROBE_MALLOC },
	{ "malloc_small", PROBE_MALLOC },
	{ "zalloc_small", PROBE_MALLOC },
	{ "malloc_aligned", PROBE_MALLOC },
	{ "malloc_aligned_at", PROBE_MALLOC },
	{ "zalloc_aligned", PROBE_MALLOC },
	{ "zalloc_aligned_at", PROBE_MALLOC },
	{ "mallocn", PROBE_CALLOC },
	{ "calloc_aligned", PROBE_CALLOC },
	{ "calloc_aligned_at", PROBE_CALLOC },
	{ "reallocf", PROBE_REALLOC },
	{ "rezalloc", PROBE_REALLOC },
	{ "realloc_aligned", PROBE_REALLOC },
	{ "realloc_aligned_at", PROBE_REALLOC },
	{ "rezalloc_aligned", PROBE_REALLOC },
	{ "rezalloc_aligned_at", PROBE_REALLOC },
	{ "reallocn", PROBE_REALLOCARRAY },
	{ "recalloc", PROBE_REALLOCARRAY },
	{ "recalloc_aligned", PROBE_REALLOCARRAY },
	{ "recalloc_aligned_at", PROBE_REALLOCARRAY },
	{ "aligned_recalloc", PROBE_REALLOCARRAY },
	{ "aligned_offset_recalloc", PROBE_REALLOCARRAY },
	{ "heap_malloc", PROBE_MEMALIGN },
	{ "heap_zalloc", PROBE_MEMALIGN },
	{ "heap_malloc_small", PROBE_MEMALIGN },
	{ "heap_malloc_aligned", PROBE_MEMALIGN },
	{ "heap_malloc_aligned_at", PROBE_MEMALIGN },
	{ "heap_zalloc_aligned", PROBE_MEMALIGN },
	{ "heap_zalloc_aligned_at", PROBE_MEMALIGN },
	{ "free_size", PROBE_FREE },
	{ "free_aligned", PROBE_FREE },
	{ "free_size_aligned", PROBE_FREE },
	{ NULL, 0 },
};

static const struct {
	const char *prefix;
	enum names_group group;
	const struct name *names[2];
} prefixes[] = {
	{ "_Z", NAMES_PLAIN, { operator_names } },
	{ "__libc_", NAMES_PLAIN, { common_names } },
	{ "_rjem_", NAMES_RJEM, { common_names } },
	{ "je_", NAMES_JE, { common_names } },
	{ "mi_", NAMES_MI, { common_names, mi_names } },
	{ "tc_", NAMES_TC, { common_names, tc_names } },
	{ "", NAMES_PLAIN, { common_names, plain_names } },
};

static const struct {
	const char *name;
	unsigned int marks;
} mark_names[] = {
	{ "_dl_rtld_di_serinfo", NAMES_MARK_LOADER },
	{ "mallctl", NAMES_MARK_JEMALLOC },
	{ "tc_version", NAMES_MARK_TCMALLOC },
	{ "MallocExtension_GetStats", NAMES_MARK_TCMALLOC },
	/* the one that Google develops now has no tc_ functions */
	{ "TCMallocInternalMalloc", NAMES_MARK_TCMALLOC },
	{ "mi_version", NAMES_MARK_MIMALLOC },
	{ "gnu_get_libc_version", NAMES_MARK_GLIBC },
	/* linked statically, and not stripped */
	{ "_int_malloc", NAMES_MARK_GLIBC },
	{ "__libc_mallopt", NAMES_MARK_GLIBC },
	{ "__libc_malloc_impl", NAMES_MARK_MUSL },
	{ "__simple_malloc", NAMES_MARK_MUSL },
	{ "__libc_start_main", NAMES_MARK_LIBC },
};

static const struct name *list_find(const struct name *list, const char *name)
{
	for (; list && list->name; list++)
		if (!strcmp(list->name, name))
			return list;
	return NULL;
}

bool names_find(const char *symbol, enum names_group *ret_group, enum probe_kind *ret_kind)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i].prefix);

		if (strncmp(symbol, prefixes[i].prefix, len))
			continue;
		for (size_t list = 0; list < 2; list++) {
			const struct name *name = list_find(prefixes[i].names[list], symbol + len);

			if (!name)
				continue;
			*ret_group = prefixes[i].group;
			*ret_kind = name->kind;
			return true;
		}
	}
	return false;
}

unsigned int names_marks(const char *symbol)
{
	unsigned int marks = 0;

	for (size_t i = 0; i < sizeof(mark_names) / sizeof(mark_names[0]); i++)
		if (!strcmp(mark_names[i].name, symbol))
			marks |= mark_names[i].marks;
	return marks;
}

const char *names_group_family(enum names_group group)
{
	static const char *const families[NAMES_GROUPS] = {
		[NAMES_JE] = "jemalloc", [NAMES_RJEM] = "jemalloc", [NAMES_MI] = "mimalloc", [NAMES_TC] = "tcmalloc",
	};

	return families[group];
}
