/* SPDX-License-Identifier: GPL-2.0-only */
/* Code at one address, one file after the other: each has an epoch, by which its frames find it again. */
#include <stdbool.h>
#include <sys/mman.h>

#include "abi.h"
#include "target/maps.h"
#include "target/target.h"
#include "test.h"
#include "unit/child.h"

#define AT	0x7e0000000000ul
#define PAGES	4
#define FILES	((int)STACK_EPOCHS + 3)

/* A child that does one step a word: maps file i at AT, nothing there ('u'), or anonymous code ('j'). */
struct lab {
	pid_t pid;
	int in, out;
	struct target *t;
};

static void file_make(int i, char fill)
{
	char name[16], *path, bytes[4096];
	int fd;

	snprintf(name, sizeof(name), "%d", i);
	path = child_path(name);
	memset(bytes, fill, sizeof(bytes));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	for (int page = 0; page < PAGES; page++)
		CHECK(pwrite(fd, bytes, sizeof(bytes), page * 4096) == sizeof(bytes));
	close(fd);
	free(path);
}

static void map_at(int word)
{
	char name[16], *path;
	int fd = -1;

	munmap((void *)AT, PAGES * 4096);
	if (word == 'u')
		return;
	if (word != 'j') {
		snprintf(name, sizeof(name), "%d", word - 1000);
		path = child_path(name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	mmap((void *)AT, PAGES * 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	close(fd);
}

static bool lab_open(struct lab *lab)
{
	enum target_problem problem;
	int in[2], out[2], word = 0;
	pid_t tgid;

	for (int i = 0; i < FILES; i++)
		file_make(i, 'a');
	if (!CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC)))
		return false;
	lab->pid = fork();
	if (!lab->pid) {
		while (write(out[1], "r", 1) == 1 && read(in[0], &word, sizeof(word)) == sizeof(word))
			map_at(word);
		_exit(0);
	}
	lab->in = in[1];
	lab->out = out[0];
	close(in[0]), close(out[1]);
	return CHECK_EQ(read(out[0], &word, 1), 1) && CHECK_EQ(target_open(lab->pid, NULL, &lab->t, &problem, &tgid), 0);
}

static void lab_close(struct lab *lab)
{
	target_free(lab->t);
	child_stop(lab->pid);
	close(lab->in), close(lab->out);
}

/* What is there afterwards. */
static const struct target_mapping *step(struct lab *lab, int word)
{
	char byte;

	CHECK(write(lab->in, &word, sizeof(word)) == sizeof(word) && read(lab->out, &byte, 1) == 1);
	CHECK(target_refresh(lab->t) >= 0);
	return target_mapping_at(lab->t, AT + 4096);
}

static const struct target_mapping *step_file(struct lab *lab, int i)
{
	return step(lab, 1000 + i);
}

/* The name of the file of an epoch; "" for none. */
static const char *file_of(const struct lab *lab, uint32_t epoch)
{
	const struct target_mapping *map = target_mapping_of(lab->t, AT + 4096, epoch);

	return map && map->module ? strrchr(map->module->path, '/') + 1 : "";
}

TEST(one_after_the_other)
{
	struct lab lab;

	if (!lab_open(&lab))
		return;
	CHECK_EQ(step_file(&lab, 0)->epoch, 0);
	CHECK_STR(file_of(&lab, 0), "0");
	CHECK_STR(file_of(&lab, STACK_EPOCHS), "0");	/* the only one */
	CHECK_EQ(step_file(&lab, 1)->epoch, 1);
	CHECK_STR(file_of(&lab, 0), "0");
	CHECK_STR(file_of(&lab, 1), "1");
	CHECK_STR(file_of(&lab, 2), "");
	CHECK_STR(file_of(&lab, STACK_EPOCHS), "");	/* nobody knows which */
	/* the first one again */
	CHECK_EQ(step_file(&lab, 0)->epoch, 0);
	CHECK_EQ(step(&lab, 'u')->epoch, 0);
	CHECK_STR(file_of(&lab, 0), "0");
	CHECK_STR(file_of(&lab, 1), "1");
	/* and code that is no file's */
	CHECK_EQ(step(&lab, 'j')->epoch, 2);
	CHECK_EQ(target_refresh(lab.t), 0);
	CHECK_EQ(target_mapping_at(lab.t, AT)->epoch, 2);
	CHECK_STR(file_of(&lab, 1), "1");
	lab_close(&lab);
}

/* Written over, it is another file, also where nothing else has changed. */
TEST(written_over)
{
	struct lab lab;
	const struct target_module *m;

	if (!lab_open(&lab))
		return;
	m = step_file(&lab, 0)->module;
	CHECK(!target_module_changed(m));
	usleep(20000);	/* the clock of the file system */
	file_make(0, 'b');
	CHECK(target_module_changed(m));
	CHECK_EQ(target_refresh(lab.t), 1);
	CHECK_EQ(target_mapping_at(lab.t, AT)->epoch, 1);
	CHECK(target_mapping_at(lab.t, AT)->module != m);
	CHECK(target_mapping_of(lab.t, AT, 0)->module == m);
	CHECK_EQ(target_refresh(lab.t), 0);
	lab_close(&lab);
}

/* More than there are numbers: the last ones have none of their own, and no name is taken for another. */
TEST(too_many)
{
	struct lab lab;
	char name[16];

	if (!lab_open(&lab))
		return;
	for (int i = 0; i < FILES; i++)
		CHECK_EQ(step_file(&lab, i)->epoch, i < (int)STACK_EPOCHS ? i : (int)STACK_EPOCHS);
	for (int i = 0; i < (int)STACK_EPOCHS; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK_STR(file_of(&lab, i), name);
	}
	CHECK_STR(file_of(&lab, STACK_EPOCHS), "");
	lab_close(&lab);
}

TEST_MAIN(TEST_CASE(one_after_the_other), TEST_CASE(written_over), TEST_CASE(too_many))
