/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * load [NAME=VALUE…] OBJECT…: loads each program of each BPF object by itself and prints a line a program:
 *
 *	load OBJECT PROGRAM ok INSTRUCTIONS | load OBJECT PROGRAM refused ERRNO
 *
 *	load OBJECT PROGRAM private-stack	a uprobe program without USE_TASK_STACK: see task_stack.bpf.h
 *
 * INSTRUCTIONS: what the verifier looked at. Of a refused one the end of its log follows, on lines of their own.
 *
 * NAME=VALUE is a constant of the objects that have it: the verifier leaves out what a constant makes unreachable, so
 * they are to be those with which ebb loads its programs.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constant.h"

#define LOG_BYTES	(4u << 20)
#define NAMES_MAX	64
#define SESSION_TYPE	57	/* BPF_TRACE_UPROBE_SESSION, which older headers do not have */

static char log_text[LOG_BYTES];

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

/* Sets a constant as "NAME=VALUE" says; false when the argument is none. */
static bool constant_parse(struct bpf_object *obj, const char *argument)
{
	const char *equals = strchr(argument, '=');
	char name[64];

	if (!equals || (size_t)(equals - argument) >= sizeof(name))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(equals - argument), argument);
	if (obj)
		constant_set(obj, name, strtoul(equals + 1, NULL, 0));	/* not every object has each */
	return true;
}

static bool has_tail_call(const struct bpf_program *prog)
{
	const struct bpf_insn *insns = bpf_program__insns(prog);

	for (size_t i = 0; i < bpf_program__insn_cnt(prog); i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg && insns[i].imm == BPF_FUNC_tail_call)
			return true;
	return false;
}

static void load_one(const char *path, const char *short_name, const char *name, char **constants)
{
	struct bpf_object *obj = bpf_object__open(path);
	struct bpf_program *prog;
	const char *processed;
	bool private = false;
	size_t len;
	int err;

	if (!obj) {
		printf("load %s %s refused %d\n", short_name, name, errno);
		return;
	}
	while (*constants && constant_parse(obj, *constants))
		constants++;
	memset(log_text, 0, sizeof(log_text));
	bpf_object__for_each_program(prog, obj) {
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
		if (strcmp(bpf_program__name(prog), name))
			continue;
		private = bpf_program__type(prog) == BPF_PROG_TYPE_KPROBE && !has_tail_call(prog);
		bpf_program__set_log_buf(prog, log_text, sizeof(log_text));
		bpf_program__set_log_level(prog, 1);
		if (strstr(name, "session"))
			bpf_program__set_expected_attach_type(prog, SESSION_TYPE);
	}
	err = bpf_object__load(obj);
	processed = strstr(log_text, "processed ");
	if (private) {
		printf("load %s %s private-stack\n", short_name, name);
	} else if (!err) {
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
		struct bpf_object *obj;
		const char *slash = strrchr(argv[i], '/');
		char names[NAMES_MAX][64];
		struct bpf_program *prog;
		int cnt = 0;

		if (constant_parse(NULL, argv[i]))
			continue;
		obj = bpf_object__open(argv[i]);
		if (!obj) {
			printf("load %s - refused %d\n", argv[i], errno);
			continue;
		}
		bpf_object__for_each_program(prog, obj)
			if (cnt < NAMES_MAX)
				snprintf(names[cnt++], sizeof(names[0]), "%s", bpf_program__name(prog));
		bpf_object__close(obj);
		for (int n = 0; n < cnt; n++)
			load_one(argv[i], slash ? slash + 1 : argv[i], names[n], argv + 1);
	}
	return 0;
}
