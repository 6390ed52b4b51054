/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * load OBJECT…: loads each program of each BPF object by itself and prints a line a program:
 *
 *	load OBJECT PROGRAM ok INSTRUCTIONS | load OBJECT PROGRAM refused ERRNO
 *
 * INSTRUCTIONS: what the verifier looked at. Of a refused one the end of its log follows, on lines of their own.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES	(4u << 20)
#define NAMES_MAX	64
#define SESSION_TYPE	57	/* BPF_TRACE_UPROBE_SESSION, which older headers do not have */

static char log_text[LOG_BYTES];

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

static void load_one(const char *path, const char *short_name, const char *name)
{
	struct bpf_object *obj = bpf_object__open(path);
	struct bpf_program *prog;
	const char *processed;
	size_t len;
	int err;

	if (!obj) {
		printf("load %s %s refused %d\n", short_name, name, errno);
		return;
	}
	memset(log_text, 0, sizeof(log_text));
	bpf_object__for_each_program(prog, obj) {
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
		if (strcmp(bpf_program__name(prog), name))
			continue;
		bpf_program__set_log_buf(prog, log_text, sizeof(log_text));
		bpf_program__set_log_level(prog, 1);
		if (strstr(name, "session"))
			bpf_program__set_expected_attach_type(prog, SESSION_TYPE);
	}
	err = bpf_object__load(obj);
	processed = strstr(log_text, "processed ");
	if (!err) {
		printf("load %s %s ok %ld\n", short_name, name, processed ? strtol(processed + 10, NULL, 10) : 0);
	} else {
		printf("load %s %s refused %d\n", short_name, name, -err);
		len = strlen(log_text);
		printf("%s\n", log_text + (len > 1500 ? len - 1500 : 0));
	}
	bpf_object__close(obj);
}

int main(int argc, char **argv)
{
	libbpf_set_print(quiet);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		struct bpf_object *obj = bpf_object__open(argv[i]);
		const char *slash = strrchr(argv[i], '/');
		char names[NAMES_MAX][64];
		struct bpf_program *prog;
		int cnt = 0;

		if (!obj) {
			printf("load %s - refused %d\n", argv[i], errno);
			continue;
		}
		bpf_object__for_each_program(prog, obj)
			if (cnt < NAMES_MAX)
				snprintf(names[cnt++], sizeof(names[0]), "%s", bpf_program__name(prog));
		bpf_object__close(obj);
		for (int n = 0; n < cnt; n++)
			load_one(argv[i], slash ? slash + 1 : argv[i], names[n]);
	}
	return 0;
}
