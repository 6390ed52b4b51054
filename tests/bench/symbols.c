/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * symbols.node: what `ebb leak` needs to name 10,000 stacks of 25 to 35 frames of the node whose pid is in BENCH_NODE_PID.
 *
 * Addresses are random (seeded), nearly all different, which is the worst case: 6 of 10 in node's code, 1.5 in libc, 2.5 in
 * JIT code with a perf map. The way is that of the product: profile ▸ cmd/naming ▸ symbolizer ▸ worker; a new worker each
 * round, so that reading the files is part of it. One of the two processes waits for the other, so the result is the CPU
 * time of both, which on a machine with nothing else to do is what one waits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "base/worker.h"
#include "cmd/naming.h"
#include "cmd/parser.h"
#include "profile/profile.h"
#include "target/target.h"

#define STACKS		10000
#define ROUNDS		5

struct range {
	uint64_t start, len;
};

struct ranges {
	struct range *at;
	size_t cnt;
	uint64_t len;		/* of all together */
};

static int ranges_add(struct ranges *r, uint64_t start, uint64_t len)
{
	struct range *at = realloc(r->at, (r->cnt + 1) * sizeof(*at));

	if (!at)
		return -ENOMEM;
	r->at = at;
	at[r->cnt++] = (struct range){ .start = start, .len = len };
	r->len += len;
	return 0;
}

/* The mappings with code of a file. */
static int ranges_of_file(const struct target *t, const char *name, struct ranges *ret)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->mappings_cnt; i++) {
		const struct target_mapping *m = &t->mappings[i];
		const char *slash = strrchr(m->path, '/');

		if (m->module && slash && !strncmp(slash + 1, name, strlen(name)))
			err = ranges_add(ret, m->start, m->end - m->start);
	}
	return err ? err : ret->cnt ? 0 : -ENOENT;
}

static int ranges_of_perfmap(pid_t pid, struct ranges *ret)
{
	char path[64], line[4096];
	uint64_t start, len;
	int err = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!err && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %" SCNx64 " ", &start, &len) == 2 && len && len < 1 << 20)
			err = ranges_add(ret, start, len);
	fclose(f);
	return err ? err : ret->cnt ? 0 : -ENOENT;
}

/* xorshift64* */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static uint64_t random_addr(const struct ranges *r, uint64_t *seed)
{
	uint64_t n = next_random(seed) % r->len;
	size_t i;

	for (i = 0; i + 1 < r->cnt && n >= r->at[i].len; i++)
		n -= r->at[i].len;
	return r->at[i].start + n;
}

enum { IN_NODE, IN_LIBC, IN_JIT, PLACES };

static int stacks_add(struct profile *p, const struct ranges places[PLACES], uint64_t *seed)
{
	int process = profile_process_add(p, 1, "node"), stack = 0;
	uint64_t addrs[64];

	for (int i = 0; process >= 0 && stack >= 0 && i < STACKS; i++) {
		uint32_t cnt = 25 + next_random(seed) % 11;

		for (uint32_t k = 0; k < cnt; k++) {
			uint64_t n = next_random(seed) % 20;

			addrs[k] = random_addr(&places[n < 12 ? IN_NODE : n < 15 ? IN_LIBC : IN_JIT], seed);
		}
		stack = profile_stack(p, process, addrs, cnt, false);
	}
	return process < 0 ? process : stack < 0 ? stack : 0;
}

/* How many frames have a name that is more than a place. */
static size_t named_cnt(const struct profile *p)
{
	size_t cnt = 0;

	for (size_t i = 0; i < profile_frames_cnt(p); i++) {
		const char *name = profile_frame_at(p, i)->name;

		cnt += name && !strstr(name, "+0x") && strncmp(name, "0x", 2);
	}
	return cnt;
}

/* CPU time of children that have ended. */
static double children_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

static int round_run(struct target *t, const struct ranges places[PLACES], uint64_t *seed, double *ret_s)
{
	static const struct value_type types[] = { { "held-bytes", "bytes" }, { NULL, NULL } };
	struct naming_config config = { .target = t, .profile = profile_new(types) };
	double children = children_ns(), began, waited = 0, cpu = 0;
	size_t frames = 0, named = 0;
	struct naming n;
	int err = config.profile ? parser_start(&config.worker) : -ENOMEM;

	if (!err)
		err = stacks_add(config.profile, places, seed);
	if (err)
		goto out;
	frames = profile_frames_cnt(config.profile);
	began = now_ns();
	cpu = cpu_ns();
	err = naming_open(&n, &config);
	if (err)
		goto out;
	err = naming_update(&n, true);
	waited = now_ns() - began;
	cpu = cpu_ns() - cpu;
	named = named_cnt(config.profile);
	naming_close(&n);
out:
	config.worker = worker_stop(config.worker);
	*ret_s = (cpu + children_ns() - children) / 1e9;
	if (!err)
		printf("symbols.node: %zu addresses, %zu frames have names: %.2f s, of them in ebb itself %.2f; waited %.2f s\n", frames,
		       named, *ret_s, cpu / 1e9, waited / 1e9);
	profile_free(config.profile);
	return err;
}

int bench_symbols(void)
{
	const char *pid = getenv("BENCH_NODE_PID");
	int rounds = rounds_wanted(ROUNDS);
	struct ranges places[PLACES] = { 0 };
	uint64_t seed = 88172645463325252ull;
	enum target_problem problem;
	double s[ROUNDS_MAX];
	struct target *t = NULL;
	struct worker *w = NULL;
	pid_t tgid;
	int err = pid ? parser_start(&w) : -ESRCH;

	if (!err)
		err = target_open(atoi(pid), w, &t, &problem, &tgid);
	if (!err)
		err = ranges_of_file(t, "node", &places[IN_NODE]);
	if (!err)
		err = ranges_of_file(t, "libc.so", &places[IN_LIBC]);
	if (!err)
		err = ranges_of_perfmap(t->pid, &places[IN_JIT]);
	for (int i = 0; !err && i < rounds; i++)
		err = round_run(t, places, &seed, &s[i]);
	if (!err)
		result("symbols.node", median(s, rounds), 2, BAR_MAX, 1, "s");
	else
		fprintf(stderr, "symbols.node: %s\n", strerror(-err));
	target_free(t);
	worker_stop(w);
	for (int i = 0; i < PLACES; i++)
		free(places[i].at);
	return err;
}
