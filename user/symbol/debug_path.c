/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places as in the GDB manual, "Separate Debug Files": /usr/lib/debug/.build-id/xx/yyyy.debug; the link's name beside the
 * file, in .debug beside it, and under /usr/lib/debug followed by the file's folder. What debug files have in common (dwz): by
 * its build id as well, and by what its name has behind .dwz/ in /usr/lib/debug/.dwz, where distributions put it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/openat2.h>

#include "base/text.h"
#include "symbol/debug_path.h"

#define DEBUG_ROOT	"/usr/lib/debug"

#define DWZ_FOLDER	"/.dwz/"

enum place { PLACE_BUILD_ID, PLACE_BESIDE, PLACE_SUBFOLDER, PLACE_DEBUG_ROOT, PLACES };

/* The path of a place; empty when the file says nothing that leads there. */
static void place_path(struct text *path, enum place place, const char *module_path, const struct names_wish *wish)
{
	const char *slash = strrchr(module_path, '/');

	if (place == PLACE_BUILD_ID) {
		if (wish->build_id_len < 2)
			return;
		text_printf(path, DEBUG_ROOT "/.build-id/%02x/", wish->build_id[0]);
		for (size_t i = 1; i < wish->build_id_len; i++)
			text_printf(path, "%02x", wish->build_id[i]);
		text_add(path, ".debug");
		return;
	}
	if (wish->file == NAMES_ALT_FILE) {
		const char *dwz = strstr(wish->link, DWZ_FOLDER);

		if (dwz && place == PLACE_DEBUG_ROOT && !strstr(dwz, "/.."))
			text_printf(path, DEBUG_ROOT "%s", dwz);
		return;
	}
	/* a name, never a path: it comes from the target */
	if (!*wish->link || strchr(wish->link, '/') || !slash || *module_path != '/')
		return;
	if (place == PLACE_DEBUG_ROOT)
		text_add(path, DEBUG_ROOT);
	text_add_len(path, module_path, slash - module_path);
	text_printf(path, "%s/%s", place == PLACE_SUBFOLDER ? "/.debug" : "", wish->link);
}

/* Opens a regular file below a root without leaving it, whatever links say, and without waiting for a FIFO. */
static int open_below(int root_fd, const char *path)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	struct stat st;
	int fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

static int open_place(const struct target *t, enum place place, bool ours, const char *module_path,
		      const struct names_wish *wish)
{
	struct text path = { 0 };
	int root = -1, fd = -ENOENT;

	place_path(&path, place, module_path, wish);
	if (path.len && !path.failed)
		root = ours ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) :
			      openat(t->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0) {
		fd = open_below(root, path.str);
		close(root);
	}
	text_free(&path);
	return fd;
}

/* elfutils' own program: it has the cache, the servers' names and the time-outs. Prints the path of what it got. */
static int open_debuginfod(const struct names_wish *wish)
{
	struct text command = { 0 };
	char line[4096];
	int fd = -ENOENT;
	FILE *f;

	if (wish->build_id_len < 2)
		return -ENOENT;
	text_add(&command, "exec debuginfod-find debuginfo ");
	for (size_t i = 0; i < wish->build_id_len; i++)
		text_printf(&command, "%02x", wish->build_id[i]);
	text_add(&command, " 2>/dev/null </dev/null");
	f = command.failed ? NULL : popen(command.str, "re");
	text_free(&command);
	if (!f)
		return -ENOENT;
	if (fgets(line, sizeof(line), f) && *line == '/') {
		line[strcspn(line, "\n")] = '\0';
		fd = open(line, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	}
	pclose(f);
	return fd < 0 ? -ENOENT : fd;
}

int debug_path_open(const struct target *t, const char *module_path, const struct names_wish *wish, bool debuginfod, int n)
{
	if (n < PLACES)
		return open_place(t, n, false, module_path, wish);
	if (n < 2 * PLACES)
		return open_place(t, n - PLACES, true, module_path, wish);
	return n == 2 * PLACES && debuginfod && wish->file == NAMES_DEBUG_FILE ? open_debuginfod(wish) : -ERANGE;
}
