/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "source/faults_sensors.h"
#include "source/unwinder.h"

static int event_open(uint64_t config, pid_t tid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = config, .sample_period = 1,
		.inherit = cpu < 0,	/* events of a CPU see all threads anyway */
	};
	int fd = syscall(SYS_perf_event_open, &attr, tid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int event_add(struct faults_events *e, const struct bpf_program *prog, uint64_t config, pid_t tid, int cpu)
{
	int fd = event_open(config, tid, cpu);
	struct bpf_link *link;

	if (fd < 0)
		return fd;
	if (e->cnt == e->size) {
		size_t size = e->size ? e->size * 2 : 16;
		struct bpf_link **links = realloc(e->links, size * sizeof(struct bpf_link *));

		if (!links) {
			close(fd);
			return -ENOMEM;
		}
		e->links = links;
		e->size = size;
	}
	link = bpf_program__attach_perf_event(prog, fd);	/* the link owns fd then */
	if (!link) {
		int err = -errno;

		close(fd);
		return err;
	}
	e->links[e->cnt++] = link;
	return 0;
}

int faults_events_cpus(struct faults_events *e, const struct bpf_program *prog, uint64_t config)
{
	int cpus = unwinder_cpus();

	for (int cpu = 0; cpu < cpus; cpu++) {
		int err = event_add(e, prog, config, -1, cpu);

		if (err && err != -ENODEV)	/* offline */
			return err;
	}
	return e->cnt ? 0 : -ENODEV;
}

/* Those threads that are not in `done` yet; how many were new, or a negative errno. */
static int threads_pass(struct faults_events *e, const struct bpf_program *prog, uint64_t config, pid_t pid, pid_t **done,
			size_t *done_cnt)
{
	char path[48];
	struct dirent *entry;
	int err = 0, added = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!err && (entry = readdir(dir))) {
		bool known = false;
		uint64_t tid;
		pid_t *more;

		if (text_parse_u64(entry->d_name, &tid))
			continue;
		for (size_t i = 0; !known && i < *done_cnt; i++)
			known = (*done)[i] == (pid_t)tid;
		if (known)
			continue;
		more = realloc(*done, (*done_cnt + 1) * sizeof(*more));
		if (!more) {
			err = -ENOMEM;
			break;
		}
		*done = more;
		more[(*done_cnt)++] = tid;
		err = event_add(e, prog, config, tid, -1);
		if (err == -ESRCH)	/* this thread has ended */
			err = 0;
		else if (!err)
			added++;
	}
	closedir(dir);
	return err ? err : added;
}

int faults_events_threads(struct faults_events *e, const struct bpf_program *prog, uint64_t config, pid_t pid)
{
	pid_t *done = NULL;
	size_t done_cnt = 0;
	int added;

	/* a thread that has no event yet may bear another one: until a pass meets none that is new */
	do
		added = threads_pass(e, prog, config, pid, &done, &done_cnt);
	while (added > 0);
	free(done);
	return added < 0 ? added : e->cnt ? 0 : -ESRCH;
}

void faults_events_close(struct faults_events *e)
{
	for (size_t i = 0; i < e->cnt; i++)
		bpf_link__destroy(e->links[i]);
	free(e->links);
	*e = (struct faults_events){ .links = NULL };
}

bool faults_has_tracepoint(void)
{
	return libbpf_find_vmlinux_btf_id("page_fault_user", BPF_TRACE_RAW_TP) > 0;
}
