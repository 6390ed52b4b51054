/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose code it is: names and paths as servers really have them. */
#include <errno.h>
#include <stdlib.h>

#include "cmd/kinds.h"
#include "test.h"

enum { APP = FRAME_APP, DEP = FRAME_DEPENDENCY, RUN = FRAME_RUNTIME, ALLOC = FRAME_ALLOCATOR, KERNEL = FRAME_KERNEL };

struct example {
	const char *module, *function;
	int kind;
	const char *file;
};

#define CHECK_KINDS(exe, examples) check_kinds(exe, examples, sizeof(examples) / sizeof((examples)[0]))

static void check_kinds(const char *exe, const struct example *examples, size_t cnt)
{
	struct kinds *k = NULL;

	if (!CHECK_EQ(kinds_open(NULL, NULL, &k), 0))
		return;
	for (size_t i = 0; i < cnt; i++) {
		const struct example *e = &examples[i];
		const struct kinds_query q = { .function = e->function, .module = e->module, .file = e->file, .exe = exe };

		if (!CHECK_EQ(kinds_of(k, &q), e->kind))
			fprintf(stderr, "of %s in %s, %s\n", e->function, e->module, e->file ? e->file : "no source file");
	}
	kinds_free(k);
}

TEST(places)
{
	static const struct example examples[] = {
		{ "/srv/app/server", "handle", APP, NULL },
		{ "/srv/app/lib/libshop.so.1", "shop::Cart::add(int)", APP, NULL },
		{ "/data/user/build/plugin.so", "f", APP, NULL },
		{ "/opt/shop/lib/libshop.so", "f", APP, NULL },
		{ "/app/bin/helper", "f", APP, NULL },
		{ "/usr/bin/other", "f", APP, NULL },
		{ "/usr/sbin/nginx", "ngx_palloc", APP, NULL },
		{ "/lib", "f", APP, NULL },
		{ "/library/x", "f", APP, NULL },
		{ "/srv/app/usr/lib/x", "f", APP, NULL },
		{ "/tmp/x (deleted)", "f", APP, NULL },
		/* the target itself, wherever it lies */
		{ "/usr/lib/postgresql/15/bin/postgres", "palloc", APP, NULL },
		{ "/usr/lib/postgresql/15/bin/postgres", "postgres+0x1234", APP, NULL },
		{ "/usr/lib/postgresql/15/bin/postgres", "start_thread", APP, NULL },
		{ "/usr/lib/postgresql/15/bin/postgres", "clone", APP, NULL },
		{ "/usr/lib/postgresql/15/bin/postgres", "_start", RUN, NULL },
		{ "/usr/lib/postgresql/15/lib/plpgsql.so", "f", DEP, NULL },
		/* distributions */
		{ "/lib/x86_64-linux-gnu/libc.so.6", "getaddrinfo", DEP, NULL },
		{ "/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6+0x1234", DEP, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libglib-2.0.so.0", "g_malloc", DEP, NULL },
		{ "/usr/lib64/libssl.so.3", "f", DEP, NULL },
		{ "/usr/lib/libcurl.so.4.8.0", "f", DEP, NULL },
		{ "/usr/libexec/x", "f", DEP, NULL },
		{ "/usr/lib/nginx/modules/ngx_stream_module.so", "f", DEP, NULL },
		{ "/usr/local/lib/libvips.so.42", "f", DEP, NULL },
		{ "/nix/store/0c7c96gikmzv87i7lv3vq5s1cmfjd6zf-openssl-3.0.12/lib/libssl.so.3", "f", DEP, NULL },
		{ "/gnu/store/abc-zlib-1.3/lib/libz.so.1", "f", DEP, NULL },
		{ "/snap/core22/1380/usr/lib/x86_64-linux-gnu/libssl.so.3", "f", DEP, NULL },
		{ "/snap/shop/12/usr/lib/libz.so.1", "f", DEP, NULL },
		{ "/snap/shop/12/bin/shop", "f", APP, NULL },
		{ "/opt/rh/gcc-toolset-12/root/usr/lib64/libfoo.so", "f", DEP, NULL },
		{ "/opt/venv/lib/python3.11/site-packages/numpy/core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", "f", DEP, NULL },
		{ "/usr/local/lib/python3.12/dist-packages/lxml/etree.so", "f", DEP, NULL },
		{ "/srv/app/node_modules/better-sqlite3/build/Release/better_sqlite3.node", "f", DEP, NULL },
		{ "/srv/app/vendor/bundle/ruby/3.2.0/gems/nokogiri-1.16/lib/nokogiri.so", "f", DEP, NULL },
		{ "/opt/conda/lib/libmkl_rt.so.2", "f", DEP, NULL },
		/* no file */
		{ "[vdso]", "__vdso_gettimeofday", RUN, NULL },
		{ "[uprobes]", "[uprobes]", RUN, NULL },
		{ "[kernel.kallsyms]", "do_syscall_64", KERNEL, NULL },
		{ "[kernel]", "do_syscall_64", KERNEL, NULL },
		{ "", "[anon+0x7f0000001234]", RUN, NULL },
		{ "", "0x7f0000001234", RUN, NULL },
		{ "", "", RUN, NULL },
		{ "[heap]", "[heap+0x55]", RUN, NULL },
		{ "/memfd:doublemapper", "memfd:doublemapper+0x1000", RUN, NULL },
		{ "/memfd:app", "memfd:app+0x1000", APP, NULL },
	};

	CHECK_KINDS("/usr/lib/postgresql/15/bin/postgres", examples);
}

TEST(allocators)
{
	static const struct example examples[] = {
		{ "/lib/x86_64-linux-gnu/libc.so.6", "malloc", ALLOC, NULL },
		{ "/lib/x86_64-linux-gnu/libc.so.6", "_int_malloc", ALLOC, NULL },
		{ "/usr/lib64/libc-2.28.so", "__libc_calloc", ALLOC, NULL },
		{ "/lib/ld-musl-x86_64.so.1", "malloc", ALLOC, NULL },
		{ "/lib/ld-musl-x86_64.so.1", "getaddrinfo", DEP, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "libjemalloc.so.2+0x8e1f", ALLOC, NULL },
		{ "/opt/lib/libtcmalloc_minimal.so.4", "tc_malloc", ALLOC, NULL },
		{ "/srv/app/libmimalloc.so.2.1", "mi_malloc", ALLOC, NULL },
		/* the name alone is not enough */
		{ "/srv/app/server", "malloc", APP, NULL },
		{ "/srv/app/server", "free", APP, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libzstd.so.1", "malloc", DEP, NULL },
		{ "/srv/app/server", "zmalloc", APP, NULL },
		{ "/srv/app/server", "je_malloc", ALLOC, NULL },
		{ "/srv/app/server", "je_arena_malloc_hard", ALLOC, NULL },
		{ "/srv/app/server", "tcmalloc::allocate_full_malloc_oom(unsigned long)", ALLOC, NULL },
		/* C++ */
		{ "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "operator new(unsigned long)", ALLOC, NULL },
		{ "/srv/app/static", "operator new[](unsigned long, std::nothrow_t const&)", ALLOC, NULL },
		{ "/srv/app/static", "operator delete(void*)", ALLOC, NULL },
		{ "/srv/app/static", "_Znwm", ALLOC, NULL },
		{ "/srv/app/server", "Pool::operator new(unsigned long)", APP, NULL },
		/* Rust, Python */
		{ "/srv/app/server", "__rust_alloc", ALLOC, NULL },
		{ "/srv/app/server", "__rustc::__rdl_alloc", ALLOC, NULL },
		{ "/srv/app/server", "alloc::alloc::alloc", ALLOC, NULL },
		{ "/usr/bin/python3.11", "PyMem_Malloc", ALLOC, NULL },
		{ "/usr/bin/python3.11", "_PyObject_GC_NewVar", ALLOC, NULL },
		{ "/srv/app/server", "PyMem_Malloc", APP, NULL },
	};

	CHECK_KINDS("/srv/app/server", examples);
}

TEST(languages)
{
	static const struct example examples[] = {
		/* C++: what templates bring is not the user's */
		{ "/srv/app/server", "void std::vector<int, std::allocator<int> >::_M_realloc_insert<int>(int&&)", RUN, NULL },
		{ "/srv/app/server", "std::__cxx11::basic_string<char>::_M_create(unsigned long&, unsigned long)", RUN, NULL },
		{ "/srv/app/server", "__gnu_cxx::new_allocator<char>::allocate(unsigned long, void const*)", RUN, NULL },
		{ "/srv/app/server", "_ZNSt6vectorIiSaIiEE17_M_realloc_insertIJiEEEvOi", RUN, NULL },
		{ "/srv/app/server", "handle(std::vector<int> const&)", APP, NULL },
		{ "/srv/app/server", "std::vector<int>* make<std::string>(int)", APP, NULL },
		{ "/srv/app/server", "Shop::operator<(std::pair<int, int> const&) const", APP, NULL },
		{ "/srv/app/server", "Shop::operator std::string() const", APP, NULL },
		{ "/srv/app/server", "(anonymous namespace)::handle(int)", APP, NULL },
		{ "/srv/app/server", "(anonymous namespace)::std_like(int)::{lambda(int)#1}::operator()(int) const", APP, NULL },
		{ "/srv/app/server", "std::function<void (int)>::operator()(int) const", RUN, NULL },
		{ "/srv/app/server", "handle", RUN, "/usr/include/c++/12/bits/alloc_traits.h" },
		{ "/srv/app/server", "handle", DEP, "/usr/include/boost/container/vector.hpp" },
		{ "/srv/app/server", "handle", APP, "/build/src/shop/server.cc" },
		{ "/srv/app/server", "boost::asio::detail::scheduler::run(boost::system::error_code&)", DEP, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "std::string::reserve(unsigned long)", RUN, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "libstdc++.so.6+0x1234", RUN, NULL },
		{ "/usr/lib/gcc/libgcc_s.so.1", "_Unwind_RaiseException", RUN, NULL },
		/* C and how it begins */
		{ "/lib/x86_64-linux-gnu/libc.so.6", "__libc_start_call_main", RUN, NULL },
		{ "/lib/x86_64-linux-gnu/libc.so.6", "start_thread", RUN, NULL },
		{ "/lib/x86_64-linux-gnu/libc.so.6", "clone3", RUN, NULL },
		{ "/lib64/ld-linux-x86-64.so.2", "_dl_start", RUN, NULL },
		{ "/lib64/ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2+0x1234", RUN, NULL },
		{ "/lib64/ld-linux-x86-64.so.2", "malloc", ALLOC, NULL },
		{ "/srv/app/server", "main", APP, NULL },
		/* Rust */
		{ "/srv/app/server", "<alloc::vec::Vec<T> as core::clone::Clone>::clone", RUN, NULL },
		{ "/srv/app/server", "core::ops::function::FnOnce::call_once{{vtable.shim}}", RUN, NULL },
		{ "/srv/app/server", "std::thread::local::LocalKey<T>::with", RUN, NULL },
		{ "/srv/app/server", "<shop::Cart as core::fmt::Display>::fmt", APP, NULL },
		{ "/srv/app/server", "shop::handle::<core::option::Option<u8>>", APP, NULL },
		{ "/srv/app/server", "alloc", RUN, "/rustc/90b35a6239c3d8bdabc530a6a0816f7ff89a0aaf/library/alloc/src/alloc.rs" },
		{ "/srv/app/server", "serde_json::de::from_str", DEP, "/data/u/.cargo/registry/src/index/serde_json-1.0.1/src/de.rs" },
		/* a name of C++ that looks like it */
		{ "/srv/app/server", "core::Engine::run(int)", APP, NULL },
		/* Go */
		{ "/srv/app/server", "runtime.mallocgc", ALLOC, NULL },
		{ "/srv/app/server", "runtime.goexit.abi0", RUN, NULL },
		{ "/srv/app/server", "net/http.(*Transport).dialConn", RUN, NULL },
		{ "/srv/app/server", "main.main", APP, NULL },
		{ "/srv/app/server", "github.com/shop/cart.Add", APP, NULL },
		{ "/srv/app/server", "github.com/lib/pq.Open", DEP, "/data/u/go/pkg/mod/github.com/lib/pq@v1.10.9/conn.go" },
	};

	CHECK_KINDS("/srv/app/server", examples);
}

TEST(interpreters)
{
	static const struct { const char *exe; int kind; } exes[] = {
		{ "/usr/bin/node", RUN }, { "/usr/local/bin/node", RUN }, { "/data/u/.nvm/versions/node/v20.1.0/bin/node", RUN },
		{ "/usr/bin/python3.11", RUN }, { "/usr/share/dotnet/dotnet", RUN }, { "/usr/bin/ruby3.1", RUN },
		{ "/usr/lib/jvm/java-17-openjdk-amd64/bin/java", RUN }, { "/usr/sbin/php-fpm8.2", RUN },
		{ "/usr/lib/erlang/erts-13.1.5/bin/beam.smp", RUN }, { "/usr/bin/perl", RUN },
		{ "/usr/bin/nodetool", APP }, { "/srv/app/mynode", APP }, { "/usr/bin/redis-server", APP }, { "/srv/shop.exe", APP },
	};
	static const struct example others[] = {
		{ "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "_PyEval_EvalFrameDefault", RUN, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libnode.so.108", "node::Start(int, char**)", RUN, NULL },
		{ "/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/libcoreclr.so", "f", RUN, NULL },
		{ "/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/System.Private.CoreLib.dll", "f", RUN, NULL },
		{ "/srv/app/Microsoft.Extensions.Logging.dll", "f", RUN, NULL },
		{ "/srv/app/Shop.dll", "f", APP, NULL },
		{ "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so", "Unsafe_AllocateMemory0", RUN, NULL },
		{ "/opt/java/openjdk/lib/libnio.so", "f", RUN, NULL },
		{ "/srv/app/lib/server/libshop.so", "f", APP, NULL },
		{ "/usr/lib/x86_64-linux-gnu/libuv.so.1", "uv_run", DEP, NULL },
	};

	for (size_t i = 0; i < sizeof(exes) / sizeof(exes[0]); i++) {
		const struct example e = { exes[i].exe, "some_function", exes[i].kind, NULL };

		check_kinds(exes[i].exe, &e, 1);
	}
	CHECK_KINDS("/usr/bin/node", others);
}

/* As perf maps have them: with --no-demangle whole, else taken apart (symbol/perfmap.c). */
TEST(jit)
{
	static const struct example examples[] = {
		{ "[jit]", "handleUpload", APP, "/srv/app/server.js" },
		{ "[jit]", "handleUpload", APP, "file:///srv/app/server.mjs" },
		{ "[jit]", "emit", RUN, "node:events" },
		{ "[jit]", "emit", RUN, "internal/timers.js" },
		{ "[jit]", "query", DEP, "/srv/app/node_modules/pg/lib/client.js" },
		{ "[jit]", "LazyCompile:*handleUpload /srv/app/server.js:41:17", APP, NULL },
		{ "[jit]", "LazyCompile:~handleUpload /srv/app/server.js:41", APP, NULL },
		{ "[jit]", "Function:*handleUpload /srv/app/server.js:41:17", APP, NULL },
		{ "[jit]", "JS:^handleUpload /srv/app/server.js:41:17", APP, NULL },
		{ "[jit]", "Script:~ /srv/app/server.js:1:1", APP, NULL },
		{ "[jit]", "LazyCompile:~emit node:events:465:44", RUN, NULL },
		{ "[jit]", "JS:~ node:internal/main/run_main_module:1:1", RUN, NULL },
		{ "[jit]", "LazyCompile:*query /srv/app/node_modules/pg/lib/client.js:10", DEP, NULL },
		{ "[jit]", "Builtin:ArrayPrototypePush", RUN, NULL },
		{ "[jit]", "BytecodeHandler:Star0", RUN, NULL },
		{ "[jit]", "RegExp:^a+$", RUN, NULL },
		{ "[jit]", "wasm-function[12]-turbofan", APP, NULL },
		/* .NET */
		{ "[jit]", "Shop.Cart::Add(class System.String)", APP, NULL },
		{ "[jit]", "System.Threading.Tasks.Task::Execute()", RUN, NULL },
		{ "[jit]", "Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http1Connection::Parse()", RUN, NULL },
		{ "[jit]", "void [System.Private.CoreLib] System.String::Concat(class System.String)[Tier0]", RUN, NULL },
		{ "[jit]", "void [Shop] Shop.Cart::Add(class System.String)[OptimizedTier1]", APP, NULL },
		{ "[jit]", "dynamicClass::IL_STUB_PInvoke(int)", RUN, NULL },
		{ "[jit]", "stub<1> AllocateTemporaryEntryPoints", RUN, NULL },
		/* Java */
		{ "[jit]", "Ljava/util/HashMap;::resize", RUN, NULL },
		{ "[jit]", "Lcom/shop/Cart;::add", APP, NULL },
		{ "[jit]", "java.util.HashMap$Node[] java.util.HashMap.resize()", RUN, NULL },
		{ "[jit]", "void com.shop.Cart.add(java.lang.String)", APP, NULL },
		{ "[jit]", "Interpreter", RUN, NULL },
		{ "[jit]", "uploadBlob", APP, NULL },
		/* Python */
		{ "[jit]", "handle", APP, "/srv/app/server.py" },
		{ "[jit]", "get", DEP, "/srv/venv/lib/python3.12/site-packages/requests/api.py" },
		{ "[jit]", "run", RUN, "/usr/lib/python3.12/threading.py" },
		{ "[jit]", "run", RUN, "/data/u/.pyenv/versions/3.12.1/lib/python3.12/threading.py" },
		{ "[jit]", "_find_and_load", RUN, "<frozen importlib._bootstrap>" },
		/* LuaJIT */
		{ "[jit]", "TRACE_12::/srv/app/handler.lua:5", APP, NULL },
	};

	CHECK_KINDS("/usr/bin/node", examples);
}

TEST(options)
{
	struct kinds_query q = { .function = "g_malloc", .module = "/usr/lib/libglib-2.0.so.0", .exe = "/srv/app/server" };
	struct kinds *k = NULL;
	char *longest;

	CHECK_EQ(kinds_open("libglib", NULL, &k), 0);
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	q.module = "/usr/lib/libz.so.1";
	CHECK_EQ(kinds_of(k, &q), FRAME_DEPENDENCY);
	q.function = "use_libglib";
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	q.function = "f";
	q.file = "/build/libglib/x.c";
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	k = kinds_free(k);
	/* both: the one that takes away wins, here and over the table */
	CHECK_EQ(kinds_open("^/srv/", "/vendor/|^handle$", &k), 0);
	q = (struct kinds_query){ .function = "f", .module = "/srv/app/server", .exe = "/srv/app/server" };
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	q.module = "/srv/app/vendor/x.so";
	CHECK_EQ(kinds_of(k, &q), FRAME_DEPENDENCY);
	q = (struct kinds_query){ .function = "handle", .module = "/srv/app/server", .exe = "/srv/app/server" };
	CHECK_EQ(kinds_of(k, &q), FRAME_DEPENDENCY);
	q.function = "malloc";
	q.module = "/srv/lib/libc.so.6";
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	k = kinds_free(k);
	CHECK_EQ(kinds_open("(", NULL, &k), -EINVAL);
	CHECK_EQ(kinds_open(NULL, "a[", &k), -EINVAL);
	CHECK_EQ(kinds_open("", "a{99999999}", &k), -EINVAL);
	CHECK(!k);
	CHECK(!kinds_free(NULL));
	/* names of any length and content */
	longest = malloc(1 << 20);
	memset(longest, '<', 1 << 20);
	longest[(1 << 20) - 1] = '\0';
	CHECK_EQ(kinds_open("(a*)*b", NULL, &k), 0);
	q = (struct kinds_query){ .function = longest, .module = longest, .file = longest, .exe = longest };
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	memset(longest, '*', 1000);
	CHECK_EQ(kinds_of(k, &q), FRAME_APP);
	free(longest);
	kinds_free(k);
}

TEST_MAIN(TEST_CASE(places), TEST_CASE(allocators), TEST_CASE(languages), TEST_CASE(interpreters), TEST_CASE(jit),
	  TEST_CASE(options))
