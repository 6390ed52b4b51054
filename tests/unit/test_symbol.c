/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of addresses, checked against nm (an independent reader of the same tables), against a small
 * library assembled here for the rules, and in child processes.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "elf/image.h"
#include "symbol/symbol.h"
#include "resolve.h"
#include "symbol/symtab.h"
#include "target/target.h"
#include "test.h"

/* One line of nm. */
struct row {
	uint64_t va, size;
	char *name;
};

struct rows {
	struct row *rows;
	size_t cnt;
	uint64_t *covered;	/* the furthest end of a row up to and with this one */
};

__attribute__((noinline)) static int symbol_of_the_test(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

/* xorshift64*, so that every run asks for the same addresses. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static int row_compare(const void *pa, const void *pb)
{
	const struct row *a = pa, *b = pb;

	return a->va != b->va ? (a->va < b->va ? -1 : 1) : (a->size > b->size) - (a->size < b->size);
}

/* Adds the functions that `nm OPTIONS path` lists. */
static void nm_add(struct rows *r, const char *path, const char *options)
{
	struct text cmd = { 0 };
	char *line = NULL;
	size_t size = 0;
	FILE *nm;

	text_printf(&cmd, "nm %s --defined-only -S '%s' 2>/dev/null", options, path);
	nm = popen(cmd.str, "r");
	text_free(&cmd);
	while (nm && getline(&line, &size, nm) > 0) {
		struct row row = { 0 };
		char type, *name = NULL;

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %c %ms", &row.va, &row.size, &type, &name) != 4) {
			free(name);
			row.size = 0;
			if (sscanf(line, "%" SCNx64 " %c %ms", &row.va, &type, &name) != 3)
				continue;
		}
		if (!strchr("TtWwi", type) || !row.va) {
			free(name);
			continue;
		}
		name[strcspn(name, "@")] = '\0';
		row.name = name;
		r->rows = realloc(r->rows, (r->cnt + 1) * sizeof(row));
		r->rows[r->cnt++] = row;
	}
	free(line);
	if (nm)
		pclose(nm);
}

static struct rows nm_read(const char *path)
{
	struct rows r = { 0 };
	uint64_t end = 0;

	nm_add(&r, path, "-D");
	nm_add(&r, path, "");
	if (r.cnt)
		qsort(r.rows, r.cnt, sizeof(*r.rows), row_compare);
	r.covered = calloc(r.cnt + 1, sizeof(*r.covered));
	for (size_t i = 0; i < r.cnt; i++) {
		if (r.rows[i].va + r.rows[i].size > end)
			end = r.rows[i].va + r.rows[i].size;
		r.covered[i] = end;
	}
	return r;
}

static void rows_free(struct rows *r)
{
	for (size_t i = 0; i < r->cnt; i++)
		free(r->rows[i].name);
	free(r->rows);
	free(r->covered);
}

/* How many rows begin at or before va. */
static size_t rows_upto(const struct rows *r, uint64_t va)
{
	size_t low = 0, high = r->cnt;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r->rows[mid].va <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The start of the innermost row that covers va; 0 when none does. */
static uint64_t rows_innermost(const struct rows *r, uint64_t va)
{
	for (size_t i = rows_upto(r, va); i > 0 && r->covered[i - 1] > va; i--)
		if (va - r->rows[i - 1].va < r->rows[i - 1].size)
			return r->rows[i - 1].va;
	return 0;
}

static bool rows_have(const struct rows *r, const struct symtab_symbol *sym)
{
	for (size_t i = rows_upto(r, sym->va); i > 0 && r->rows[i - 1].va == sym->va; i--)
		if (!strcmp(r->rows[i - 1].name, sym->name))
			return true;
	return false;
}

static void check_inside(struct symtab *tab, const struct rows *r, size_t cnt)
{
	uint64_t seed = 88172645463325252ull;

	for (size_t n = 0; n < cnt;) {
		const struct row *row = &r->rows[next_random(&seed) % r->cnt];
		const struct symtab_symbol *sym;
		uint64_t va;

		if (!row->size)
			continue;
		n++;
		va = row->va + next_random(&seed) % row->size;
		sym = symtab_find(tab, va);
		if (!CHECK(sym != NULL)) {
			fprintf(stderr, "  %s+%#" PRIx64 "\n", row->name, va - row->va);
			return;
		}
		if (!CHECK_EQ(sym->va, rows_innermost(r, va)) || !CHECK(va - sym->va < sym->size) ||
		    !CHECK(rows_have(r, sym)))
			return;
	}
}

/* Bytes between functions are nobody's, unless what is before them has no size. */
static size_t check_gaps(struct symtab *tab, const struct rows *r, size_t cnt)
{
	uint64_t seed = 362436069362436069ull;
	size_t found = 0;

	for (size_t n = 0; n < cnt; n++) {
		size_t i = next_random(&seed) % r->cnt;
		const struct symtab_symbol *sym;
		uint64_t gap, va = r->covered[i];

		if (i + 1 == r->cnt || r->rows[i + 1].va <= va || !r->rows[i].size)
			continue;
		gap = r->rows[i + 1].va - va;
		/* the first byte past the end is the one that is got wrong */
		va += next_random(&seed) % 2 ? 0 : next_random(&seed) % gap;
		if (!r->rows[rows_upto(r, va) - 1].size)
			continue;
		found++;
		sym = symtab_find(tab, va);
		if (!CHECK(sym == NULL)) {
			fprintf(stderr, "  %#" PRIx64 " is %s\n", va, sym->name);
			break;
		}
	}
	return found;
}

static void check_file(const char *path, size_t cnt)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct rows rows = nm_read(path);
	struct symtab *tab = NULL;
	struct image *img = NULL;

	if (CHECK(fd >= 0) && CHECK(rows.cnt > 100) && CHECK_EQ(image_open(fd, &img), 0) &&
	    CHECK_EQ(symtab_new(img, NULL, 0, &tab), 0)) {
		check_inside(tab, &rows, cnt);
		CHECK(check_gaps(tab, &rows, cnt) > cnt / 20);
		CHECK(symtab_find(tab, 0) == NULL);
		CHECK(symtab_find(tab, UINT64_MAX) == NULL);
	}
	symtab_free(tab);
	image_free(img);
	if (fd >= 0)
		close(fd);
	rows_free(&rows);
}

/* The file of a loaded library, "" when it is not there. */
static const char *library_path(const char *name)
{
	void *handle = dlopen(name, RTLD_NOW);
	struct link_map *map;

	if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map))
		return "";
	return map->l_name;
}

TEST(nm_libc)
{
	check_file(library_path("libc.so.6"), 4000);
}

TEST(nm_libstdcxx)
{
	const char *path = library_path("libstdc++.so.6");

	if (!*path)
		TEST_SKIP("no libstdc++.so.6");
	check_file(path, 4000);
}

/* nm would take /proc/self/exe for its own. */
static const char *own_path(void)
{
	static char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[len > 0 ? len : 0] = '\0';
	return path;
}

TEST(nm_self)
{
	check_file(own_path(), 2000);
}

/* The rules of symtab.c, in the assembler's words; nothing of it is ever run. */
static const char rules_source[] =
	".macro func name, bind=globl\n .\\bind \\name\n .type \\name, %function\n \\name:\n.endm\n"
	".macro sized name, size, bind=globl\n func \\name, \\bind\n .size \\name, \\size\n.endm\n"
	".text\n"
	" .zero 16\n"
	"sized outer, 64\n .zero 16\n sized inner, 16, local\n .zero 16\n func mid, local\n .zero 32\n .zero 16\n"
	"sized __best, 16\n sized best, 16, weak\n sized better, 16\n sized b, 16, local\n"
	" sized _Zbest, 16\n .zero 16\n"
	"func raw\n .zero 24\n label:\n .zero 24\n"
	"func far\n .zero 8192\n"
	"func near\n .zero 16\n .cfi_startproc\n .zero 16\n .cfi_endproc\n"
	"sized work.cold, 16, local\n .zero 16\n"
	".local plain\nplain:\n .size plain, 16\n .zero 16\n .zero 16\n"
	".local kind\nkind:\n .size kind, 16\n sized a_kind, 16, local\n .zero 16\n"
	".globl table\n .type table, %object\n .size table, 16\ntable:\n .zero 16\n"
	"sized short_one, 8\n sized short_all, 16\n .zero 16\n"
	"sized first, 32\n .zero 16\n sized second, 32\n .zero 32\n"
	"sized huge, 0xffffffffffff\n .zero 8\n"
	".section .yy, \"ax\", %progbits\nfunc last\n .zero 16\n"
	".section .zz, \"ax\", %progbits\n .zero 64\n"
	".data\nsized in_data, 16\n .zero 16\n .hidden __ehdr_start\n .quad __ehdr_start\n";

/* Assembles a library in dir; false when there is no compiler. */
static bool rules_build(const char *dir, const char *flags, struct text *ret_path)
{
	struct text cmd = { 0 };
	FILE *cc;

	text_printf(ret_path, "%s/rules.so", dir);
	text_printf(&cmd, "cc -nostdlib %s -x assembler -o %s -", flags, ret_path->str);
	cc = popen(cmd.str, "w");
	text_free(&cmd);
	if (!cc)
		return false;
	fputs(rules_source, cc);
	return pclose(cc) == 0;
}

static uint64_t va_of(const struct rows *r, const char *name)
{
	for (size_t i = 0; i < r->cnt; i++)
		if (!strcmp(r->rows[i].name, name))
			return r->rows[i].va;
	fprintf(stderr, "nm does not know %s\n", name);
	return 0;
}

static void check_rules(struct symtab *tab, const struct rows *r)
{
	static const struct { const char *base; uint64_t off; const char *want; } cases[] = {
		{ "outer", 0, "outer" }, { "outer", 15, "outer" }, { "outer", 16, "inner" }, { "outer", 31, "inner" },
		/* mid has no size and lies in outer: it names nothing, behind the end neither */
		{ "outer", 32, "outer" }, { "outer", 63, "outer" }, { "outer", 64, NULL }, { "outer", 79, NULL },
		{ "outer", -1ull, NULL },
		/* no underscore before some, shorter before longer, global before the still shorter local */
		{ "best", 0, "best" }, { "best", 15, "best" },
		{ "raw", 0, "raw" }, { "raw", 23, "raw" }, { "raw", 24, NULL }, { "raw", 47, NULL },
		{ "far", 0, "far" }, { "far", 4095, "far" }, { "far", 4096, NULL }, { "far", 8191, NULL },
		{ "near", 15, "near" }, { "near", 16, NULL }, { "near", 31, NULL },
		{ "work.cold", 8, "work.cold" },
		/* no type, but a size: a function of careless assembly, which a typed one at the same place wins over */
		{ "plain", 0, "plain" }, { "plain", 15, "plain" }, { "plain", 16, NULL }, { "kind", 0, "a_kind" },
		/* what says that it is data is data */
		{ "table", 8, NULL },
		{ "short_one", 7, "short_one" }, { "short_one", 8, "short_all" }, { "short_one", 15, "short_all" },
		{ "first", 15, "first" }, { "first", 16, "second" }, { "first", 47, "second" }, { "first", 48, "huge" },
		{ "huge", 7, "huge" },
		/* the section behind */
		{ "huge", 8, "last" },
		{ "last", 0, "last" }, { "last", 15, "last" }, { "last", 16, NULL }, { "last", 79, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct symtab_symbol *sym = symtab_find(tab, va_of(r, cases[i].base) + cases[i].off);
		const char *got = sym ? sym->name : "nothing", *want = cases[i].want ? cases[i].want : "nothing";

		if (!CHECK_STR(got, want))
			fprintf(stderr, "  at %s+%" PRIu64 "\n", cases[i].base, cases[i].off);
	}
}

static char *scratch_dir(void)
{
	static char dir[64];

	strcpy(dir, "/tmp/ebb-test-XXXXXX");
	return mkdtemp(dir);
}

static void rules_test(const char *flags)
{
	char *dir = scratch_dir();
	struct text path = { 0 };
	struct symtab *tab = NULL;
	struct image *img = NULL;
	struct rows rows;
	int fd;

	if (!dir || !rules_build(dir, flags, &path))
		TEST_SKIP("no temporary directory, or no cc that assembles");
	fd = open(path.str, O_RDONLY | O_CLOEXEC);
	rows = nm_read(path.str);
	if (CHECK_EQ(image_open(fd, &img), 0) && CHECK_EQ(symtab_new(img, NULL, 0, &tab), 0))
		check_rules(tab, &rows);
	symtab_free(tab);
	image_free(img);
	close(fd);
	rows_free(&rows);
	unlink(path.str);
	rmdir(dir);
	text_free(&path);
}

TEST(rules)
{
	rules_test("-shared");
}

/* Where the headers of the file are in a segment with code, __ehdr_start has a place there, in no section. */
TEST(rules_headers)
{
	rules_test("-static -Wl,-z,noseparate-code -Wl,--eh-frame-hdr");
}

/* A child and what it wants to be asked about. */
struct child {
	struct worker *worker;
	pid_t pid;
	int pipe[2];
	struct target *target;
	struct symbolizer *names;
};

/* Runs fill in a child, which then waits; its addresses come back in addrs. False: it could not. */
static bool child_start(struct child *c, bool (*fill)(uint64_t *addrs), uint64_t addrs[8])
{
	const struct symbolizer_options opt = { 0 };
	enum target_problem problem;
	pid_t tgid;

	*c = (struct child){ 0 };
	if (pipe(c->pipe))
		return false;
	memset(addrs, 0, 8 * sizeof(*addrs));
	c->pid = fork();
	if (!c->pid) {
		if (fill(addrs) && write(c->pipe[1], addrs, 8 * sizeof(*addrs)) > 0)
			pause();
		_exit(1);
	}
	close(c->pipe[1]);
	if (read(c->pipe[0], addrs, 8 * sizeof(*addrs)) != 8 * sizeof(*addrs))
		return false;
	return CHECK_EQ(target_open(c->pid, NULL, &c->target, &problem, &tgid), 0) &&
	       CHECK_EQ(worker_start(&resolve_service, &c->worker), 0) &&
	       CHECK_EQ(symbolizer_new(&opt, c->worker, &c->names), 0);
}

static void child_end(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->pipe[0]);
	symbolizer_free(c->names);
	worker_stop(c->worker);
	target_free(c->target);
}

static void check_name(struct child *c, uint64_t addr, bool is_return, const char *want, bool known)
{
	struct symbol sym = { 0 };

	CHECK_EQ(symbolizer_resolve(c->names, c->target, addr, is_return, &sym), 0);
	CHECK_STR(sym.name, want);
	CHECK_EQ(sym.known, known);
	CHECK(sym.module != NULL);
}

static bool fill_nothing(uint64_t *addrs)
{
	addrs[0] = (uintptr_t)symbol_of_the_test;
	return true;
}

TEST(own_functions)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW), *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
	struct rows rows = nm_read(own_path());
	uint64_t addrs[8], start = (uintptr_t)symbol_of_the_test, size = 0;
	struct symbol sym, again;
	struct child c;

	CHECK_EQ(symbol_of_the_test(1), 2);
	for (size_t i = 0; i < rows.cnt; i++)
		if (!strcmp(rows.rows[i].name, "symbol_of_the_test"))
			size = rows.rows[i].size;
	if (CHECK(size > 0) && child_start(&c, fill_nothing, addrs)) {
		check_name(&c, start, false, "symbol_of_the_test", true);
		check_name(&c, start + size - 1, false, "symbol_of_the_test", true);
		/* a call as the last instruction: the return address is another function's, or nobody's */
		check_name(&c, start + size, true, "symbol_of_the_test", true);
		CHECK_EQ(symbolizer_resolve(c.names, c.target, start + size, true, &sym), 0);
		CHECK_EQ(sym.off, size);
		CHECK(sym.module[0] == '/');
		CHECK_EQ(symbolizer_resolve(c.names, c.target, start + size, false, &again), 0);
		CHECK(strcmp(again.name, "symbol_of_the_test") != 0);
		CHECK_EQ(symbolizer_resolve(c.names, c.target, start, true, &again), 0);
		CHECK(strcmp(again.name, "symbol_of_the_test") != 0);
		/* the string of the first answer is still the one */
		CHECK_EQ(symbolizer_resolve(c.names, c.target, start, false, &again), 0);
		CHECK(again.name == sym.name);
		check_name(&c, (uintptr_t)dlsym(libc, "getenv"), false, "getenv", true);
		check_name(&c, (uintptr_t)dlsym(libc, "write") + 1, true, "write", true);
		if (vdso && dlsym(vdso, "__vdso_clock_gettime"))
			check_name(&c, (uintptr_t)dlsym(vdso, "__vdso_clock_gettime"), false, "clock_gettime", true);
		CHECK_EQ(symbolizer_resolve(c.names, c.target, (uintptr_t)dlsym(libc, "getenv"), false, &again), 0);
		CHECK(strstr(again.module, "libc") != NULL);
		child_end(&c);
	}
	rows_free(&rows);
}

/* Copies a file; false when that fails. */
static bool copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	char buf[65536];
	ssize_t len = -1;

	while (in >= 0 && out >= 0 && (len = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, len) != len)
			break;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return len == 0;
}

/* Maps a library and a text file, both without a name afterwards, and anonymous memory. */
static bool fill_deleted(uint64_t *addrs)
{
	const char *dir = scratch_dir(), *from = library_path("libz.so.1");
	struct text lib = { 0 }, data = { 0 };
	void *handle, *map;
	bool ok = false;
	int fd;

	if (!dir || !*from)
		return false;
	text_printf(&lib, "%s/plugin.so", dir);
	text_printf(&data, "%s/data.bin", dir);
	handle = copy_file(from, lib.str) ? dlopen(lib.str, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (handle) {
		addrs[0] = (uintptr_t)dlsym(handle, "zlibVersion");
		addrs[1] = ((struct link_map *)handle)->l_addr;
		ok = addrs[0] != 0;
	}
	fd = open(data.str, O_RDWR | O_CREAT | O_CLOEXEC, 0700);
	if (fd >= 0 && write(fd, "no ELF file", 11) == 11 && !ftruncate(fd, 8192)) {
		map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 4096);
		addrs[2] = map == MAP_FAILED ? 0 : (uintptr_t)map;
	}
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	addrs[3] = map == MAP_FAILED ? 0 : (uintptr_t)map;
	unlink(lib.str);
	unlink(data.str);
	rmdir(dir);
	text_free(&lib);
	text_free(&data);
	return ok;
}

TEST(deleted_and_anonymous)
{
	struct text anon = { 0 };
	uint64_t addrs[8];
	struct symbol sym;
	struct child c;

	if (!child_start(&c, fill_deleted, addrs)) {
		child_end(&c);
		TEST_SKIP("libz.so.1 could not be copied and loaded");
	}
	check_name(&c, addrs[0], false, "zlibVersion", true);
	CHECK_EQ(symbolizer_resolve(c.names, c.target, addrs[0], false, &sym), 0);
	CHECK(strstr(sym.module, "/plugin.so") && !strstr(sym.module, "deleted"));
	CHECK_EQ(sym.off, 0);
	/* the ELF header is no function */
	CHECK_EQ(symbolizer_resolve(c.names, c.target, addrs[1] + 0x10, false, &sym), 0);
	CHECK(!sym.known);
	if (addrs[2])
		check_name(&c, addrs[2] + 0x20, false, strstr(sym.module, "(deleted)") ? "data.bin (deleted)+0x1020" :
			   "data.bin+0x1020", false);
	if (addrs[3]) {
		text_printf(&anon, "[anon+0x%" PRIx64 "]", addrs[3] + 5);
		check_name(&c, addrs[3] + 5, false, anon.str, false);
		check_name(&c, addrs[3] + 5, true, anon.str, false);
		text_free(&anon);
	}
	check_name(&c, 0, true, "0x0", false);
	check_name(&c, 0x10, false, "0x10", false);
	check_name(&c, UINT64_MAX, false, "0xffffffffffffffff", false);
	child_end(&c);
}

/* Without a process: a file that is no ELF file, and mappings that the kernel made. */
TEST(target_by_hand)
{
	const struct symbolizer_options raw = { .no_demangle = true };
	struct target_module m = { .path = (char *)"/x/lib y.so", .bias = 0x1000000, .fd = -1 };
	struct target_mapping maps[] = {
		{ .start = 0x1000000, .end = 0x1001000, .prot = "r-xp", .path = m.path, .module = &m },
		{ .start = 0x2000000, .end = 0x2001000, .prot = "r-xp", .path = (char *)"[uprobes]" },
		{ .start = 0x3000000, .end = 0x3001000, .prot = "rwxp", .path = (char *)"[heap]" },
	};
	struct target t = { .pidfd = -1, .mappings = maps, .mappings_cnt = 3 };
	struct child c = { .target = &t };

	CHECK_EQ(symbolizer_new(&raw, NULL, &c.names), 0);
	check_name(&c, 0x1000234, false, "lib y.so+0x234", false);
	check_name(&c, 0x1000000, true, "0x1000000", false);
	/* the last byte of the mapping is the call */
	check_name(&c, 0x1001000, true, "lib y.so+0x1000", false);
	check_name(&c, 0x2000080, false, "[uprobes]", true);
	check_name(&c, 0x3000080, false, "[heap+0x3000080]", false);
	symbolizer_free(c.names);
}

TEST_MAIN(TEST_CASE(nm_libc), TEST_CASE(nm_libstdcxx), TEST_CASE(nm_self), TEST_CASE(rules), TEST_CASE(rules_headers),
	  TEST_CASE(own_functions),
	  TEST_CASE(deleted_and_anonymous), TEST_CASE(target_by_hand))
