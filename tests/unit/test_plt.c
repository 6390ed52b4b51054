/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of PLT entries, in layouts that this machine's own programs do not have. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "child.h"
#include "elf/image.h"
#include "symbol/symtab.h"
#include "test.h"

/* How many bytes of code have this name. */
static size_t bytes_named(struct image *img, struct symtab *tab, const char *name)
{
	const struct image_segment *seg;
	size_t cnt = image_segments(img, &seg), found = 0;

	for (size_t i = 0; i < cnt; i++)
		for (uint64_t va = seg[i].va; seg[i].exec && va < seg[i].va + seg[i].file_bytes; va++) {
			const struct symtab_symbol *sym = symtab_find(tab, va);

			found += sym && !strcmp(sym->name, name);
		}
	return found;
}

/* With -z ibtplt the entries of .plt.got begin with endbr64, and are longer. */
TEST(plt_got_endbr64)
{
	char *path = child_build("ibt", "cc", "int puts(const char *); int main(void) { return puts(\"\"); }",
				 "-fcf-protection -Wl,-z,ibtplt");
	struct symtab *tab = NULL;
	struct image *img = NULL;
	int fd;

	if (!path)
		TEST_SKIP("no linker that makes such a PLT");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (CHECK_EQ(image_open(fd, &img), 0) && CHECK_EQ(symtab_new(img, NULL, 0, &tab), 0)) {
		CHECK_EQ(bytes_named(img, tab, "puts@plt"), 16);
		CHECK_EQ(bytes_named(img, tab, "__cxa_finalize@plt"), 16);
	}
	symtab_free(tab);
	image_free(img);
	close(fd);
	free(path);
}

TEST_MAIN(TEST_CASE(plt_got_endbr64))
