/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads and unloads libraries that take memory (plugin.c). A line of its input each:
 *
 *	use PATH N PAUSE	loads it, takes a block, waits for PAUSE ms, takes N, waits, unloads: `used PATH at ADDR`
 *	loop PATH PATH N	loads, takes two blocks of, and unloads the two by turns, N times each: `looped N at ADDR ADDR`
 *	unshare DIR		goes into namespaces of its own, with another root: `used DIR`
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void **list;	/* all blocks: nothing is freed */

static void *open_or_die(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return library;
}

/* The address of its function. */
__attribute__((noinline)) static uintptr_t use(const char *path, int cnt, int pause_ms)
{
	void *library = open_or_die(path);
	void **(*take)(void **) = (void **(*)(void **))(uintptr_t)dlsym(library, "plugin_take");

	if (!take)
		exit(1);
	for (int i = -1; i < cnt; i++) {
		list = take(list);
		if (i < 0 || i == cnt - 1)
			usleep(pause_ms * 1000);
	}
	dlclose(library);
	return (uintptr_t)take;
}

int main(void)
{
	char line[4096], a[1024], b[1024];
	int cnt, pause_ms;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %d\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "use %1023s %d %d", a, &cnt, &pause_ms) == 3) {
			printf("used %s at 0x%" PRIxPTR "\n", a, use(a, cnt, pause_ms));
		} else if (sscanf(line, "unshare %1023s", a) == 1) {
			if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS) || chroot(a) || chdir("/"))
				exit(1);
			printf("used %s\n", a);
		} else if (sscanf(line, "loop %1023s %1023s %d", a, b, &cnt) == 3) {
			uintptr_t at[2] = { 0 };

			for (int i = 0; i < cnt; i++) {
				at[0] = use(a, 1, 0);
				at[1] = use(b, 1, 0);
			}
			printf("looped %d at 0x%" PRIxPTR " 0x%" PRIxPTR "\n", cnt, at[0], at[1]);
		} else {
			fprintf(stderr, "what is %s", line);
		}
	}
	return 0;
}
