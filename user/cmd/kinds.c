/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first rule that fits decides; what fits none is the user's own code. So whatever is not known by name or by place
 * is shown to the user rather than hidden, and --not-app takes it out.
 *
 * A pattern may have * for anything, / included; alternatives stand between bars. It must fit the whole:
 *
 *	modules     path of the mapped file, as the process sees it
 *	functions   name without return type and parameters: void std::sort<int*>(int*, int*) is std::sort<int*>
 *	files       path of the source file, as debug information or the runtime says it
 */
#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/kinds.h"

/* The user's expressions see no more of a name: regexec() may take very long for very long ones. */
#define MATCH_MAX 4096

struct rule {
	enum frame_kind kind;
	bool exe;			/* only in the process's own executable */
	const char *modules, *functions, *files;	/* NULL = any */
};

static const struct rule rules[] = {
	/* What the kernel brings. */
	{ FRAME_KERNEL, .modules = "[kernel*|[guest.kernel*" },
	{ FRAME_RUNTIME, .modules = "[vdso]|[vsyscall]|[uprobes]|[sigpage]|[vectors]" },

	/* Allocators: whole libraries, then functions by name where they are allocators' own. */
	{ FRAME_ALLOCATOR, .modules = "*/libjemalloc.so*|*/libjemalloc-*|*/libtcmalloc*|*/libmimalloc*|*/libhoard*|"
				      "*/librpmalloc*|*/libsnmalloc*|*/libscudo*|*/libc_malloc_debug*" },
	{ FRAME_ALLOCATOR, .functions = "operator new|operator new[]|operator delete|operator delete[]|"
					"_Znw*|_Zna*|_Zdl*|_Zda*" },
	{ FRAME_ALLOCATOR, .functions = "malloc|calloc|realloc|reallocarray|free|cfree|memalign|aligned_alloc|posix_memalign|"
					"valloc|pvalloc|__libc_malloc*|__libc_calloc|__libc_realloc|__libc_memalign|"
					"__libc_free|_int_malloc|_int_free*|_int_realloc|_int_memalign|sysmalloc*|tcache_*|"
					"malloc_consolidate|mallocx|rallocx|__simple_malloc|__malloc*|__libc_realloc*|"
					"__expand_heap|alloc_slot|alloc_group",
			   .modules = "*/libc.so*|*/libc-*|*/ld-musl-*|*/ld-linux*|*/ld-2.*|*/libc.musl-*" },
	/* jemalloc and its kin linked into a program: names that nobody else uses */
	{ FRAME_ALLOCATOR, .functions = "je_*|jemalloc_*|tcmalloc::*|TCMalloc*|tc_malloc*|tc_calloc|tc_realloc|tc_memalign|"
					"tc_new*|mi_malloc*|mi_calloc*|mi_realloc*|mi_heap_*|_mi_*|rpmalloc*|snmalloc::*" },
	{ FRAME_ALLOCATOR, .functions = "__rust_alloc*|__rust_realloc|__rdl_alloc*|__rdl_realloc|__rg_alloc*|__rg_realloc|"
					"*::__rust_alloc*|*::__rust_realloc|*::__rdl_alloc*|*::__rdl_realloc|"
					"alloc::alloc::*|runtime.mallocgc*" },
	{ FRAME_ALLOCATOR, .functions = "PyMem_*|_PyMem_*|PyObject_Malloc|PyObject_Calloc|PyObject_Realloc|_PyObject_Malloc*|"
					"_PyObject_Calloc|_PyObject_Realloc|pymalloc_*|PyObject_GC_New|_PyObject_GC_*",
			   .modules = "*python*" },

	/* How programs and threads begin, wherever it is linked into; names that others may have only in the C library. */
	{ FRAME_RUNTIME, .functions = "_start|_start_c|__libc_start_main*|__libc_start_call_main|libc_start_main_stage2|"
				      "__libc_csu_*|__clone|__clone3|_dl_start|_dl_start_user|_dl_start_final" },
	{ FRAME_RUNTIME, .functions = "start_thread|clone|clone3|start|_init|_fini|_dl_*",
			 .modules = "*/libc.so*|*/libc-*|*/libpthread*|*/ld-musl-*|*/libc.musl-*|*/ld-linux*|*/ld-2.*" },

	/* JavaScript: code of V8 and node itself, packages, the user's own. */
	{ FRAME_RUNTIME, .files = "node:*|ext:*|deno:*|bun:*" },
	{ FRAME_RUNTIME, .files = "internal/*|native *", .modules = "[jit]" },
	{ FRAME_DEPENDENCY, .files = "*/node_modules/*" },
	{ FRAME_DEPENDENCY, .functions = "*/node_modules/*", .modules = "[jit]" },
	{ FRAME_RUNTIME, .functions = "Builtin:*|BytecodeHandler:*|Stub:*|Handler:*|RegExp:*|js-to-wasm*|wasm-to-*|"
				      "* node:*|* internal/*|*~internal/*",
			 .modules = "[jit]" },
	/* .NET */
	{ FRAME_RUNTIME, .functions = "System.*|Microsoft.*|Interop*|Internal.*|FxResources.*|ILStubClass*|IL_STUB*|"
				      "dynamicClass::IL_STUB*|stub<*|GenerateResolveStub*|GenerateLookupStub*|"
				      "GenerateDispatchStub*|*[System.*|*[Microsoft.*",
			 .modules = "[jit]" },
	{ FRAME_RUNTIME, .modules = "*/System.*.dll|*/Microsoft.*.dll|*/mscorlib.dll|*/netstandard.dll|*/WindowsBase.dll|"
				    "*/libcoreclr*|*/libclr*|*/libhostfxr*|*/libhostpolicy*|*/libmscordaccore*|*/libSystem.*|"
				    "*/Microsoft.NETCore.App/*|*/Microsoft.AspNetCore.App/*|/memfd:doublemapper*" },
	/* Java: of agents (Ljava/util/HashMap;::get), and of the JVM itself (java.util.HashMap.get) */
	{ FRAME_RUNTIME, .functions = "Ljava/*|Ljavax/*|Ljdk/*|Lsun/*|Lcom/sun/*|java.*|javax.*|jdk.*|sun.*|com.sun.*|"
				      "Interpreter|StubRoutines*|RuntimeStub*|I2C/C2I*|vtable *|itable *|call_stub|"
				      "DeoptimizationBlob|UncommonTrapBlob|ExceptionBlob|SafepointBlob",
			 .modules = "[jit]" },
	{ FRAME_RUNTIME, .modules = "*/libjvm.so|*/libjli.so|*/jvm/*|*/jre/lib/*|/opt/java/*|*/openjdk*/lib/*|*/jdk-*/lib/*|"
				    "*.jsa" },
	/* Erlang */
	{ FRAME_RUNTIME, .functions = "$global::*|$erts_*|$erlang:*|erts_*", .modules = "[jit]" },

	/* Python: packages lie inside its own folder. */
	{ FRAME_DEPENDENCY, .files = "*/site-packages/*|*/dist-packages/*" },
	{ FRAME_RUNTIME, .files = "<frozen *|/usr/lib/python3*|/usr/lib/python2*|*/lib/python3.*|*/lib/python2.*" },

	/* Templates and inlined functions are compiled into their users: where the source says so … */
	{ FRAME_RUNTIME, .files = "*/include/c++/*|*/libstdc++-v3/*|/rustc/*|*/rust/library/*|*/rustlib/src/*" },
	{ FRAME_DEPENDENCY, .files = "/usr/include/*|/usr/local/include/*|/usr/lib/*|*/.cargo/registry/*|*/.cargo/git/*|"
				     "*/go/pkg/mod/*|*/vendor/github.com/*|*/vendor/golang.org/*" },
	{ FRAME_RUNTIME, .files = "/usr/local/go/src/*|/usr/lib/go*/src/*|/usr/share/go*/src/*" },
	/* … and where only the name does. */
	{ FRAME_RUNTIME, .functions = "std::*|__gnu_cxx::*|__gnu_debug::*|__cxxabiv1::*|__cxa_*|_Unwind_*|__gxx_personality*|"
				      "_ZNSt*|_ZNKSt*|_ZSt*|_ZN9__gnu_cxx*" },
	{ FRAME_RUNTIME, .functions = "<std::*|<core::*|<alloc::*|core::ops::*|core::iter::*|core::ptr::*|core::slice::*|"
				      "core::result::*|core::option::*|core::str::*|core::fmt::*|alloc::vec::*|alloc::string::*|"
				      "alloc::boxed::*|alloc::raw_vec::*|alloc::sync::*|alloc::rc::*|alloc::fmt::*|"
				      "alloc::collections::*|__rustc::*|rust_begin_unwind|lang_start*" },
	{ FRAME_RUNTIME, .functions = "runtime.*|runtime/*|internal/*|syscall.*|net.*|net/*|crypto/*|database/sql.*|os.(*|"
				      "io.(*|bufio.*|sync.*|reflect.*|encoding/*|golang.org/x/*|vendor/golang.org/*",
			 .exe = true },
	{ FRAME_DEPENDENCY, .functions = "boost::*|absl::*|fmt::*|Eigen::*|google::protobuf::*|grpc::*|grpc_core::*" },

	/* Programs that run other people's programs. */
	{ FRAME_RUNTIME, .exe = true,
	  .modules = "*/node|*/nodejs|*/node1*|*/node2*|*/deno|*/bun|*/java|*/dotnet|*/mono|*/mono-sgen|*/python|*/python2*|*/python3*|"
		     "*/pypy*|*/ruby|*/ruby2*|*/ruby3*|*/perl|*/perl5*|*/php|*/php7*|*/php8*|*/php-fpm*|*/php-cgi*|*/lua|*/lua5*|"
		     "*/luajit*|*/beam.smp|*/julia|*/R|*/guile*|*/tclsh*" },
	{ FRAME_RUNTIME, .modules = "*/libnode.so*|*/libpython*|*/libruby*|*/libperl.so*|*/libphp*|*/liblua*|*/libluajit*|"
				    "*/libmono*|*/libgo.so*|*/libR.so|*/libjulia*|*/libv8*|*/libguile*" },
	{ FRAME_RUNTIME, .modules = "*/libstdc++.so*|*/libc++.so*|*/libc++abi.so*|*/libgcc_s.so*|*/libgcc_s-*|*/libsupc++*|"
				    "*/libunwind.so*|*/libgomp.so*|*/libatomic.so*|*/libstd-*.so|*/ld-linux*|*/ld-2.*|*/ld.so*|"
				    "*/libasan.so*|*/libtsan.so*|*/liblsan.so*|*/libubsan.so*" },

	/* The program itself, wherever it lies. */
	{ FRAME_APP, .exe = true },

	/* Code without a name and without a file is a JIT's. */
	{ FRAME_RUNTIME, .modules = "|[anon*|[heap]|[stack]|[stack:*|//anon*|/dev/zero*|/SYSV*" },

	/* Where distributions and package managers put what they bring. */
	{ FRAME_DEPENDENCY, .modules = "*/libc.so.6|*/libc-2.*|*/ld-musl-*|*/libc.musl-*" },
	{ FRAME_DEPENDENCY, .modules = "/lib/*|/lib32/*|/lib64/*|/libx32/*|/usr/lib/*|/usr/lib32/*|/usr/lib64/*|/usr/libx32/*|"
				       "/usr/libexec/*|/usr/share/*|/usr/local/lib/*|/usr/local/lib64/*|/usr/local/share/*" },
	{ FRAME_DEPENDENCY, .modules = "/nix/store/*|/gnu/store/*|*/.linuxbrew/*" },
	{ FRAME_DEPENDENCY, .modules = "/snap/core*|/snap/bare/*|/snap/gnome-*|/snap/*/lib/*|/opt/rh/*/lib/*|/opt/rh/*/lib64/*" },
	{ FRAME_DEPENDENCY, .modules = "*/site-packages/*|*/dist-packages/*|*/node_modules/*|*/gems/*|*/.nuget/packages/*|"
				       "*/conda/lib/*|*/conda/envs/*|*/miniconda*/lib/*|*/miniconda*/envs/*|"
				       "*/anaconda*/lib/*|*/anaconda*/envs/*|*/miniforge*/lib/*|*/miniforge*/envs/*" },
};

#define RULES_CNT	(sizeof(rules) / sizeof(rules[0]))
#define MEMO_CNT	8
_Static_assert(RULES_CNT <= 64, "a bit for each");

/* The rules that a module does not rule out: a process has thousands of functions in a few files. */
struct module_memo {
	char *module;
	bool is_exe;
	uint64_t rules;		/* bits */
};

struct kinds {
	regex_t app, not_app;
	bool has_app, has_not_app;
	uint64_t begins[256];		/* by its first byte: the rules that a function's name does not rule out, as bits */
	struct module_memo memo[MEMO_CNT];
	unsigned int memo_next;		/* is overwritten next */
};

struct slice {
	const char *str;
	size_t len;
};

#define KINDS_JIT "[jit]"	/* module of what a perf map names: symbol/perfmap.h */

/* Whether the pattern, up to its end or a bar, fits all of s. The last * is where it tries again: no recursion. */
static bool glob_fits(const char *pattern, const struct slice *s)
{
	const char *p = pattern, *again = NULL;
	size_t i = 0, again_i = 0;

	for (;;) {
		bool ends = !*p || *p == '|';

		if (!ends && *p == '*') {
			const char *found;

			again = ++p;
			/* go at once to where all up to the next * is */
			found = memmem(s->str + i, s->len - i, p, strcspn(p, "*|"));
			if (!found)
				return false;
			again_i = i = found - s->str;
		} else if (ends && i == s->len) {
			return true;
		} else if (!ends && i < s->len && *p == s->str[i]) {
			p++;
			i++;
		} else if (again && again_i < s->len) {
			p = again;
			i = ++again_i;
		} else {
			return false;
		}
	}
}

static bool fits(const char *patterns, const struct slice *s)
{
	if (!patterns)
		return true;
	for (const char *p = patterns;; p++) {
		if ((*p == '*' || !s->len || *p == *s->str) && glob_fits(p, s))
			return true;
		while (*p && *p != '|')
			p++;
		if (!*p)
			return false;
	}
}

/*
 * The function's name without what stands before and behind it. Spaces count only outside of <> and (); from
 * "operator" on, these are names of operators.
 */
static struct slice function_core(const char *name)
{
	const char *start = name, *p = name;
	int depth = 0;

	for (; *p; p++) {
		if (!depth && *p == 'o' && !strncmp(p, "operator", 8) && (p == name || p[-1] == ' ' || p[-1] == ':')) {
			p += 8;
			p += !strncmp(p, "()", 2) ? 2 : 0;
			while (*p && *p != '(')
				p++;
			break;
		}
		if (*p == '(' && !strncmp(p, "(anonymous namespace)", 21)) {
			p += 20;
			continue;
		}
		if (*p == '(' && !depth && p != start)
			break;
		if (*p == '<' || *p == '(')
			depth++;
		else if ((*p == '>' && p != name && p[-1] != '-') || *p == ')')
			depth -= depth > 0;
		else if (*p == ' ' && !depth)
			start = p + 1;
	}
	return (struct slice){ start, p - start };
}

static struct slice slice_of(const char *str)
{
	return (struct slice){ str, strlen(str) };
}

static bool is_found(const regex_t *re, const char *str)
{
	regmatch_t range = { .rm_so = 0, .rm_eo = str ? strnlen(str, MATCH_MAX) : 0 };

	return str && !regexec(re, str, 1, &range, REG_STARTEND);
}

static bool is_found_in(const regex_t *re, const struct kinds_query *q)
{
	return is_found(re, q->function) || is_found(re, q->module) || is_found(re, q->file);
}

/* Which names fit a pattern at all, by their first byte; an empty one begins with a NUL. */
static void begins_fill(uint64_t begins[256])
{
	for (size_t i = 0; i < RULES_CNT; i++) {
		const char *p = rules[i].functions;
		bool any = !p;

		for (; p && *p; p += strcspn(p, "|"), p += *p == '|') {
			begins[*p == '|' ? 0 : (unsigned char)*p] |= 1ull << i;
			any = any || *p == '*';
		}
		for (int c = 0; any && c < 256; c++)
			begins[c] |= 1ull << i;
	}
}

static uint64_t rules_of_module(struct kinds *k, const struct kinds_query *q)
{
	bool is_exe = q->exe && *q->module && !strcmp(q->module, q->exe);
	struct slice module = slice_of(q->module);
	struct module_memo *m;
	uint64_t bits = 0;

	for (m = k->memo; m < k->memo + MEMO_CNT; m++)
		if (m->module && m->is_exe == is_exe && !strcmp(m->module, q->module))
			return m->rules;
	for (size_t i = 0; i < RULES_CNT; i++)
		if ((!rules[i].exe || is_exe) && fits(rules[i].modules, &module))
			bits |= 1ull << i;
	m = &k->memo[k->memo_next++ % MEMO_CNT];
	free(m->module);
	*m = (struct module_memo){ .module = strdup(q->module), .is_exe = is_exe, .rules = bits };
	return bits;
}

enum frame_kind kinds_of(struct kinds *k, const struct kinds_query *q)
{
	bool is_jit = !strcmp(q->module, KINDS_JIT);	/* each runtime has its own way to write names */
	struct slice function = function_core(q->function), whole = slice_of(q->function), file = { 0 };
	uint64_t begins;

	if (k->has_not_app && is_found_in(&k->not_app, q))
		return FRAME_DEPENDENCY;
	if (k->has_app && is_found_in(&k->app, q))
		return FRAME_APP;
	if (q->file)
		file = slice_of(q->file);
	begins = k->begins[function.len ? (unsigned char)*function.str : 0];
	if (is_jit)
		begins |= k->begins[(unsigned char)*whole.str];
	for (uint64_t left = rules_of_module(k, q) & begins; left; left &= left - 1) {
		const struct rule *r = &rules[__builtin_ctzll(left)];

		if ((!r->files || q->file) && (fits(r->functions, &function) || (is_jit && fits(r->functions, &whole))) &&
		    fits(r->files, &file))
			return r->kind;
	}
	return FRAME_APP;
}

static int regex_open(const char *option, const char *pattern, regex_t *re, bool *ret_has)
{
	int code = pattern ? regcomp(re, pattern, REG_EXTENDED | REG_NOSUB) : 0;
	char *safe, why[128];

	if (!code) {
		*ret_has = pattern;
		return 0;
	}
	if (code == REG_ESPACE)
		return -ENOMEM;
	regerror(code, re, why, sizeof(why));
	safe = text_safe(pattern);
	log_error(-EINVAL, "%s: '%s' is no regular expression: %s", option, safe ? safe : "", why);
	free(safe);
	return -EINVAL;
}

int kinds_open(const char *app, const char *not_app, struct kinds **ret)
{
	struct kinds *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	begins_fill(k->begins);
	err = regex_open("--app", app, &k->app, &k->has_app);
	if (!err)
		err = regex_open("--not-app", not_app, &k->not_app, &k->has_not_app);
	if (err)
		kinds_free(k);
	else
		*ret = k;
	return err;
}

struct kinds *kinds_free(struct kinds *k)
{
	if (!k)
		return NULL;
	if (k->has_app)
		regfree(&k->app);
	if (k->has_not_app)
		regfree(&k->not_app);
	for (int i = 0; i < MEMO_CNT; i++)
		free(k->memo[i].module);
	free(k);
	return NULL;
}
